//! Subscriptions: what the device is subscribed to, as its upstream was asked. Learns from SUBSCRIBE and
//! SUBACK; writes the SUBSCRIBEs for an upstream that knows nothing of it, and checks its answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::matching::matches;
use super::requests::Requests;
use crate::frame::Varint;
use crate::limits::{RENEWAL_FILTER_BYTES, RENEWAL_FILTERS_MAX, RENEWAL_SUBSCRIBE_BYTES};
use crate::packet::properties::{self, Place, Value, id};
use crate::packet::read::Reader;
use crate::packet::subscribe::Filters;
use crate::packet::{Kind, Version};

/// v5, Retain Handling: the two bits, and their values for "only where the subscription is new" and "none".
const RETAIN_HANDLING: u8 = 0b0011_0000;
const RETAINED_IF_NEW: u8 = 0b0001_0000;
const NO_RETAINED: u8 = 0b0010_0000;

/// v5, Retain As Published: every message keeps the flag that its publisher gave it.
const RETAIN_AS_PUBLISHED: u8 = 0b0000_1000;

/// One filter.
#[derive(Clone)]
struct Subscription {
    filter: Box<str>,
    /// As asked upstream.
    options: u8,
    /// v5: the identifier as written; empty without one.
    identifier: Box<[u8]>,
    /// The quality of service that was granted.
    granted: u8,
    /// It was asked for here, and not by the device since.
    is_restored: bool,
}

impl fmt::Debug for Subscription {
    /// Without the filter: it is the device's data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("granted", &self.granted)
            .field("is_restored", &self.is_restored)
            .finish_non_exhaustive()
    }
}

/// A SUBSCRIBE of ours that is not answered.
#[derive(Clone, Debug)]
struct Asked {
    packet_id: u16,
    /// The least that each of its filters must be granted.
    granted: Vec<u8>,
}

/// All of one session's.
#[derive(Clone, Debug)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// Bytes of all filters and identifiers.
    bytes: usize,
    /// Some are not in the list.
    is_overrun: bool,
    asked: Vec<Asked>,
    /// An upstream was gone before it had answered everything that was asked of it.
    is_unanswered: bool,
    version: Version,
}

impl Subscriptions {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            list: Vec::new(),
            bytes: 0,
            is_overrun: false,
            asked: Vec::new(),
            is_unanswered: false,
            version,
        }
    }

    pub(super) const fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Whether every SUBSCRIBE of ours is answered.
    pub(super) const fn is_settled(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whether a SUBSCRIBE of ours has this packet identifier.
    pub(super) fn uses(&self, packet_id: u16) -> bool {
        self.asked.iter().any(|asked| asked.packet_id == packet_id)
    }

    /// The upstream has answered a SUBSCRIBE of the device; without its copy nothing is learnt from it.
    pub(super) fn subscribed(&mut self, copy: Option<&[u8]>, codes: &[u8]) {
        let Some((identifier, filters)) = copy.and_then(|copy| self.read(Kind::Subscribe, copy))
        else {
            self.is_overrun = true;
            return;
        };
        for (entry, code) in filters.entries().zip(codes) {
            if *code >= 0x80 {
                continue;
            }
            self.forget(entry.filter);
            let added = entry.filter.len().saturating_add(identifier.len());
            if self.list.len() >= RENEWAL_FILTERS_MAX
                || self.bytes.saturating_add(added) > RENEWAL_FILTER_BYTES
            {
                self.is_overrun = true;
                continue;
            }
            self.bytes = self.bytes.saturating_add(added);
            self.list.push(Subscription {
                filter: Box::from(entry.filter),
                options: entry.options.unwrap_or_default(),
                identifier: identifier.clone(),
                granted: *code,
                is_restored: false,
            });
        }
    }

    /// The upstream has answered an UNSUBSCRIBE of the device.
    pub(super) fn unsubscribed(&mut self, copy: Option<&[u8]>, codes: &[u8]) {
        let Some((_, filters)) = copy.and_then(|copy| self.read(Kind::Unsubscribe, copy)) else {
            self.is_overrun = true;
            return;
        };
        // Before v5 there are no codes: it always succeeds.
        for (index, entry) in filters.entries().enumerate() {
            if codes.get(index).is_none_or(|code| *code < 0x80) {
                self.forget(entry.filter);
            }
        }
    }

    fn forget(&mut self, filter: &str) {
        if let Some(index) = self.list.iter().position(|one| *one.filter == *filter) {
            let one = self.list.remove(index);
            let bytes = one.filter.len().saturating_add(one.identifier.len());
            self.bytes = self.bytes.saturating_sub(bytes);
        }
    }

    /// The subscription identifier as written, and the filters, of a packet that was sent upstream.
    fn read<'a>(&self, kind: Kind, packet: &'a [u8]) -> Option<(Box<[u8]>, Filters<'a>)> {
        let header = crate::frame::fixed_header(packet).ok()??;
        let body = packet.get(header.header_bytes..)?;
        let filters = Filters::read(kind, body, self.version).ok()?;
        let mut number = None;
        if self.version == Version::V5 {
            let mut reader = Reader::new(filters.before);
            reader.packet_id().ok()?;
            properties::read(&mut reader, Place::Device(kind), &mut |id, value| {
                if let (id::SUBSCRIPTION_IDENTIFIER, Value::Number(value)) = (id, value) {
                    number = usize::try_from(value).ok();
                }
            })
            .ok()?;
        }
        let mut identifier = Vec::new();
        if let Some(number) = number {
            identifier.push(id::SUBSCRIPTION_IDENTIFIER);
            identifier.extend_from_slice(Varint::encode(number)?.as_bytes());
        }
        Some((identifier.into_boxed_slice(), filters))
    }

    /// The upstream is gone, and with it our questions.
    pub(super) fn upstream_left(&mut self) {
        self.is_unanswered |= !self.asked.is_empty();
        self.asked.clear();
    }

    /// A new upstream has said whether it kept the session. Unless it knows everything, it is asked for
    /// everything, with packet identifiers that the device does not use.
    pub(super) fn renewed(
        &mut self,
        session_present: bool,
        requests: &Requests,
        upstream: &mut Vec<u8>,
    ) {
        if session_present && !self.is_unanswered {
            return;
        }
        self.is_unanswered = false;
        let mut free = (1..=u16::MAX).rev().filter(|id| !requests.uses(*id));
        let mut start = 0_usize;
        while let Some(first) = self.list.get(start) {
            let Some(packet_id) = free.next() else {
                return;
            };
            let mut body = packet_id.to_be_bytes().to_vec();
            if self.version == Version::V5 {
                // At most five bytes: its length is one.
                body.push(u8::try_from(first.identifier.len()).unwrap_or_default());
                body.extend_from_slice(&first.identifier);
            }
            let identifier = first.identifier.clone();
            let mut granted = Vec::new();
            for one in self.list.iter_mut().skip(start) {
                let is_full = body.len().saturating_add(one.filter.len()) > RENEWAL_SUBSCRIBE_BYTES;
                if one.identifier != identifier || (is_full && !granted.is_empty()) {
                    break;
                }
                one.is_restored = true;
                granted.push(one.granted);
                let length = u16::try_from(one.filter.len()).unwrap_or_default();
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(one.filter.as_bytes());
                body.push(restored_options(one.options, self.version));
            }
            start = start.saturating_add(granted.len());
            if let Some(length) = Varint::encode(body.len()) {
                upstream.push(0x82);
                upstream.extend_from_slice(length.as_bytes());
                upstream.append(&mut body);
            }
            self.asked.push(Asked { packet_id, granted });
        }
    }

    /// Whether a SUBACK answers a SUBSCRIBE of ours; if so, whether everything is granted that was before.
    pub(super) fn answered(&mut self, packet_id: u16, codes: &[u8]) -> Option<bool> {
        let index = self
            .asked
            .iter()
            .position(|one| one.packet_id == packet_id)?;
        let asked = self.asked.remove(index);
        let is_kept = |(code, before): (&u8, &u8)| *code < 0x80 && code >= before;
        Some(codes.len() == asked.granted.len() && codes.iter().zip(&asked.granted).all(is_kept))
    }

    /// Whether a retained message comes only because we have asked again. Under Retain As Published the
    /// flag does not say, but there the upstream is asked to send none.
    pub(super) fn is_repeat(&self, topic: &str, requests: &Requests) -> bool {
        let mut is_restored = false;
        for one in self.list.iter().filter(|one| matches(&one.filter, topic)) {
            let keeps_flag = self.version == Version::V5 && one.options & RETAIN_AS_PUBLISHED != 0;
            if !one.is_restored || keeps_flag {
                return false;
            }
            is_restored = true;
        }
        is_restored
            && !requests.subscribes().any(|copy| {
                self.read(Kind::Subscribe, copy)
                    .is_some_and(|(_, filters)| {
                        filters.entries().any(|entry| matches(entry.filter, topic))
                    })
            })
    }
}

/// The options for asking again: retained messages have been delivered once. Where the upstream sends them
/// for a new session all the same they are held back, if they can be told from others.
fn restored_options(options: u8, version: Version) -> u8 {
    let handling = match version {
        Version::V31 | Version::V311 => return options,
        Version::V5 if options & RETAIN_AS_PUBLISHED != 0 => NO_RETAINED,
        Version::V5 => RETAINED_IF_NEW,
    };
    (options & !RETAIN_HANDLING) | handling
}
