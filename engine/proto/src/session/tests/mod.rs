//! Tests of the session: what plays the caller, and what writes packets.

mod bent;
mod culprits;
mod device;
mod ending;
mod illegal;
mod odd_brokers;
mod renewal;
mod splice;
mod tallied;
mod topics;
mod upstream;
mod versions;

use std::vec::Vec;

use super::*;
use crate::farewell::Manner;
use crate::frame::Varint;
use crate::platform::Platform;
use crate::rules::TopicRules;

const VERSIONS: [Version; 3] = [Version::V31, Version::V311, Version::V5];
const NONE: TopicRules = TopicRules {
    append_imsi: false,
    replace_placeholders: false,
    rewrite_will: false,
};
const APPEND: TopicRules = TopicRules {
    append_imsi: true,
    ..NONE
};
const REPLACE: TopicRules = TopicRules {
    replace_placeholders: true,
    ..NONE
};
const BOTH: TopicRules = TopicRules {
    append_imsi: true,
    ..REPLACE
};

const IMSI: &str = "440100000000001";
const SIM_ID: &str = "8981100000000000001";

/// Both peers and the caller between them, without sockets.
struct Pair {
    session: Session,
    /// Bytes that the session has not dealt with, by the side they come from.
    pending: [Vec<u8>; 2],
    /// What each side has been sent.
    sent: [Vec<u8>; 2],
    end: Option<Cause>,
    /// Why the peer refused or left that ended it.
    parting: Option<Parting>,
    now_ms: u64,
    tally: Tallies,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Device => 0,
        Side::Upstream => 1,
    }
}

impl Pair {
    /// The CONNECT has gone upstream.
    fn connecting(version: Version, platform: Platform, topics: TopicRules) -> Self {
        Self::with(Opening {
            identity: identity(),
            rules: Rules { platform, topics },
            device_version: version,
            upstream_version: platform.upstream_version(version).unwrap(),
            keep_alive_seconds: 60,
            has_authentication_method: false,
            manners: Manners::default(),
        })
    }

    fn with(opening: Opening) -> Self {
        Self {
            session: Session::new(opening, 0),
            pending: [Vec::new(), Vec::new()],
            sent: [Vec::new(), Vec::new()],
            end: None,
            parting: None,
            now_ms: 0,
            tally: Tallies::default(),
        }
    }

    /// The CONNACK has come.
    fn open(version: Version, platform: Platform, topics: TopicRules) -> Self {
        let mut pair = Self::connecting(version, platform, topics);
        let connack = connack(pair.session.opening().upstream_version);
        pair.feed(Side::Upstream, connack);
        assert_eq!(pair.session.phase(), Phase::Established);
        pair.sent = [Vec::new(), Vec::new()];
        pair
    }

    /// Bytes come from one side.
    fn feed(&mut self, from: Side, bytes: &[u8]) {
        self.pending[index(from)].extend_from_slice(bytes);
        let phase = self.session.phase();
        self.pump(from);
        // The CONNACK releases what the device sent before it.
        if self.session.phase() != phase {
            self.pump(Side::Device);
        }
    }

    fn pump(&mut self, from: Side) {
        let input = core::mem::take(&mut self.pending[index(from)]);
        let mut consumed = 0;
        while self.end.is_none() && consumed < input.len() {
            let mut outputs = Outputs::default();
            let rest = &input[consumed..];
            let received = self.session.receive(from, rest, self.now_ms, &mut outputs);
            consumed += received.consumed;
            self.tally.add(&outputs.tally);
            for slice in outputs.forward.slices(rest) {
                self.sent[index(from.other())].extend_from_slice(slice);
            }
            let billed = outputs.forward.take(outputs.forward.pending_bytes());
            self.session.count_sent(from.other(), billed);
            self.parting = outputs.parting.take();
            self.sent[index(from)].append(&mut outputs.reply);
            match received.next {
                Next::Send => {}
                Next::Read(_) | Next::Hold => break,
                Next::End(cause) => self.finish(cause),
            }
        }
        self.pending[index(from)] = input[consumed..].to_vec();
    }

    fn finish(&mut self, cause: Cause) {
        let [device, upstream] = &mut self.sent;
        self.session.farewell(cause, device, upstream);
        self.end = Some(cause);
    }

    /// What one side has been sent since the last time.
    fn sent(&mut self, to: Side) -> Vec<u8> {
        core::mem::take(&mut self.sent[index(to)])
    }
}

fn identity() -> Identity {
    Identity {
        imsi: IMSI.parse().unwrap(),
        sim_id: SIM_ID.parse().unwrap(),
        imei: None,
    }
}

fn connack(version: Version) -> &'static [u8] {
    match version {
        Version::V31 | Version::V311 => &[0x20, 2, 0, 0],
        Version::V5 => &[0x20, 3, 0, 0, 0],
    }
}

fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let length = Varint::encode(body.len()).unwrap();
    [&[first], length.as_bytes(), body].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

/// A PUBLISH of any version without properties; its identifier is 7 where it has one.
fn publish(version: Version, flags: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if flags & 0b0110 == 0 { &[] } else { &[0, 7] };
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(
        0x30 | flags,
        &[&text(topic), id, properties, payload].concat(),
    )
}

/// A SUBSCRIBE of any version without properties, identifier 9.
fn subscribe(version: Version, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = filters_start(version);
    for (filter, options) in filters {
        body.append(&mut text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// An UNSUBSCRIBE of any version without properties, identifier 9.
fn unsubscribe(version: Version, filters: &[&str]) -> Vec<u8> {
    let mut body = filters_start(version);
    for filter in filters {
        body.append(&mut text(filter));
    }
    packet(0xa2, &body)
}

fn filters_start(version: Version) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    [&[0, 9], properties].concat()
}

/// `input` of an established 201912 session goes upstream as `expected`.
fn check(version: Version, topics: TopicRules, input: &[u8], expected: &[u8]) {
    let mut pair = Pair::open(version, Platform::V201912, topics);
    pair.feed(Side::Device, input);
    assert_eq!(pair.end, None, "{version:?} {input:02x?}");
    let sent = pair.sent(Side::Upstream);
    assert_eq!(sent, expected, "{version:?} {input:02x?}");
    assert_eq!(pair.sent(Side::Device), b"", "{version:?} {input:02x?}");
}

/// `input` ends an established session of 3.1.1 and one of 5 for `offence`; nothing of it goes upstream,
/// and a v5 device is told `code`.
fn check_refused(
    topics: TopicRules,
    make: impl Fn(Version) -> Vec<u8>,
    offence: Offence,
    code: u8,
) {
    for version in [Version::V311, Version::V5] {
        let input = make(version);
        let mut pair = Pair::open(version, Platform::V201912, topics);
        pair.feed(Side::Device, &input);
        assert_eq!(pair.end, Some(Cause::DeviceOffence(offence)), "{version:?}");
        assert_eq!(pair.sent(Side::Upstream), b"", "{version:?}");
        let told: &[u8] = if version == Version::V5 {
            &[0xe0, 1, code]
        } else {
            &[]
        };
        assert_eq!(pair.sent(Side::Device), told, "{version:?}");
    }
}
