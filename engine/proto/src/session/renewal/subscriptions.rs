//! Subscriptions: what the device is subscribed to, as its upstream was asked. Learns from SUBSCRIBE and
//! SUBACK; writes the SUBSCRIBEs for an upstream that knows nothing of it, and checks its answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use super::matching::matches;
use super::requests::Requests;
use crate::frame::Varint;
use crate::limits::{RENEWAL_FILTER_BYTES, RENEWAL_FILTERS_MAX, RENEWAL_SUBSCRIBE_BYTES};
use crate::packet::properties::{self, Value, id};
use crate::packet::publish::Head;
use crate::packet::read::Reader;
use crate::packet::subscribe::Filters;
use crate::packet::{Kind, Qos, Version};

/// v5, Retain Handling: the two bits, and their values for "only where the subscription is new" and "none".
const RETAIN_HANDLING: u8 = 0b0011_0000;
const RETAINED_IF_NEW: u8 = 0b0001_0000;
const NO_RETAINED: u8 = 0b0010_0000;

/// The quality of service in the options.
const QOS: u8 = 0b0011;

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
    /// Nobody can tell what was granted: it is what was asked for.
    is_assumed: bool,
    asked_by: AskedBy,
}

/// Who asked the present upstream for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AskedBy {
    /// The device.
    Device,
    /// The session, when the device's own upstream was gone.
    Session,
    /// Nobody: it has kept it.
    Nobody,
}

impl fmt::Debug for Subscription {
    /// Without the filter: it is the device's data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Subscription")
            .field("granted", &self.granted)
            .field("asked_by", &self.asked_by)
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
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub(super) struct Subscriptions {
    list: Vec<Subscription>,
    /// Bytes of all filters and identifiers.
    bytes: usize,
    /// Some are not in the list.
    is_overrun: bool,
    asked: Vec<Asked>,
    /// The present upstream kept the session, and was asked for the filters of QoS 0 alone.
    is_kept: bool,
    /// An upstream was gone before it had answered everything that was asked of it.
    is_unanswered: bool,
    /// It was lost then, and had answered nothing of it (B-TOK-2).
    is_suspect: bool,
    version: Version,
}

impl Subscriptions {
    pub(super) const fn new(version: Version) -> Self {
        Self {
            list: Vec::new(),
            bytes: 0,
            is_overrun: false,
            asked: Vec::new(),
            is_kept: false,
            is_unanswered: false,
            is_suspect: false,
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
        // aedes answers a filter that is named twice once: whose a code is cannot be told then, and what was
        // asked for counts as granted.
        let is_assumed = codes.len() != filters.entries().count();
        if is_assumed && is_refusal(codes) {
            return;
        }
        for (index, entry) in filters.entries().enumerate() {
            let options = entry.options.unwrap_or_default();
            let granted = match codes.get(index) {
                Some(code) if !is_assumed => *code,
                Some(_) | None => options & QOS,
            };
            if granted >= 0x80 {
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
                options,
                identifier: identifier.clone(),
                granted,
                is_assumed,
                asked_by: AskedBy::Device,
            });
        }
    }

    /// The upstream has answered an UNSUBSCRIBE of the device.
    pub(super) fn unsubscribed(&mut self, copy: Option<&[u8]>, codes: &[u8]) {
        let Some((_, filters)) = copy.and_then(|copy| self.read(Kind::Unsubscribe, copy)) else {
            self.is_overrun = true;
            return;
        };
        // Before v5 there are no codes: it always succeeds. So it does where a code's filter cannot be told.
        let is_assumed = codes.len() != filters.entries().count();
        for (index, entry) in filters.entries().enumerate() {
            if is_assumed || codes.get(index).is_none_or(|code| *code < 0x80) {
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
            reader.two_bytes().ok()?;
            let properties = properties::take(&mut reader).ok()?;
            properties::each(properties, &mut |id, value| {
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

    /// B-TOK-2: the upstream is lost; perhaps what was asked of it here is why.
    pub(super) fn suspect(&mut self) {
        self.is_suspect = !self.asked.is_empty();
    }

    /// B-TOK-2: whether a loss now would be the second one upon what was asked for here.
    pub(super) const fn has_culprit(&self) -> bool {
        self.is_suspect && !self.asked.is_empty()
    }

    /// A new upstream has said whether it kept the session. If it did it is asked for the filters of QoS 0
    /// alone, which some forget (RabbitMQ 3.10); unless it knows everything, it is asked for everything. Packet
    /// identifiers are those that the device does not use.
    pub(super) fn renewed(
        &mut self,
        session_present: bool,
        requests: &Requests,
        upstream: &mut Vec<u8>,
    ) {
        self.is_kept = session_present && !self.is_unanswered;
        self.is_unanswered = false;
        for one in &mut self.list {
            one.asked_by = if self.is_kept && one.granted > 0 {
                AskedBy::Nobody
            } else {
                AskedBy::Session
            };
        }
        let mut wanted: Vec<&Subscription> = self
            .list
            .iter()
            .filter(|one| one.asked_by == AskedBy::Session)
            .collect();
        let mut free = (1..=u16::MAX).rev().filter(|id| !requests.uses(*id));
        while let Some(first) = wanted.first() {
            let Some(packet_id) = free.next() else {
                return;
            };
            let mut body = packet_id.to_be_bytes().to_vec();
            if self.version == Version::V5 {
                // At most five bytes: its length is one.
                body.push(u8::try_from(first.identifier.len()).unwrap_or_default());
                body.extend_from_slice(&first.identifier);
            }
            let mut granted = Vec::new();
            for one in &wanted {
                let is_full = body.len().saturating_add(one.filter.len()) > RENEWAL_SUBSCRIBE_BYTES;
                if one.identifier != first.identifier || (is_full && !granted.is_empty()) {
                    break;
                }
                granted.push(if one.is_assumed { 0 } else { one.granted });
                let length = u16::try_from(one.filter.len()).unwrap_or_default();
                body.extend_from_slice(&length.to_be_bytes());
                body.extend_from_slice(one.filter.as_bytes());
                body.push(restored_options(one.options, self.version));
            }
            wanted.drain(..granted.len());
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
        self.is_suspect = false;
        if codes.len() != asked.granted.len() {
            return Some(!is_refusal(codes));
        }
        let is_kept = |(code, before): (&u8, &u8)| *code < 0x80 && code >= before;
        Some(codes.iter().zip(&asked.granted).all(is_kept))
    }

    /// Whether a retained message comes only because we have asked again. Under Retain As Published the
    /// flag does not say, but there the upstream is asked to send none. What one that kept the session still had
    /// to send is none: it is of a higher quality of service than the filters that were asked for again, or said
    /// again itself.
    pub(super) fn is_repeat(
        &self,
        head: &Head<'_, [u8]>,
        is_dup: bool,
        requests: &Requests,
    ) -> bool {
        if head.qos != Qos::AtMostOnce && (self.is_kept || is_dup) {
            return false;
        }
        let topic = head.topic_text();
        let mut is_restored = false;
        for one in self.list.iter().filter(|one| matches(&one.filter, topic)) {
            let keeps_flag = self.version == Version::V5 && one.options & RETAIN_AS_PUBLISHED != 0;
            if one.asked_by == AskedBy::Device || keeps_flag {
                return false;
            }
            is_restored |= one.asked_by == AskedBy::Session;
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

/// Whether nothing is granted.
fn is_refusal(codes: &[u8]) -> bool {
    !codes.is_empty() && codes.iter().all(|code| *code >= 0x80)
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
