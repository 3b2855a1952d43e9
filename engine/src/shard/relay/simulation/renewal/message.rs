//! Message: what both sides publish, so numbered that each knows what it has before it; filters and identifiers.

use ringbeam_proto::packet::Version;

use super::super::packets;

/// A message as it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) qos: u8,
    pub(super) payload_bytes: usize,
    /// Whether it was acknowledged.
    pub(super) is_taken: bool,
}

/// A PUBLISH as it came.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) is_dup: bool,
    pub(super) qos: u8,
    pub(super) topic: &'a [u8],
    pub(super) packet_id: u16,
    pub(super) number: usize,
    payload: &'a [u8],
}

/// The payload of a message: its number, and what nothing else could be taken for.
fn payload(number: usize, bytes: usize) -> Vec<u8> {
    let mut payload = u32::try_from(number).unwrap().to_be_bytes().to_vec();
    payload.extend_from_slice(packets::noise_of(number * 1_001, bytes));
    payload
}

/// Writes one.
pub(super) fn publish(
    version: Version,
    sent: Sent,
    (number, packet_id): (usize, u16),
    is_dup: bool,
) -> Vec<u8> {
    let mut body = b"\x00\x01t".to_vec();
    if sent.qos > 0 {
        body.extend_from_slice(&packet_id.to_be_bytes());
    }
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(payload(number, sent.payload_bytes));
    let first = 0x30 | (sent.qos << 1) | (u8::from(is_dup) << 3);
    packets::packet(first, &body)
}

impl<'a> Message<'a> {
    /// Reads one.
    pub(super) fn read(packet: &'a [u8], version: Version) -> Self {
        let (first, body) = (packet[0], packets::body(packet));
        let (length, rest) = body.split_at(2);
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        let (topic, mut rest) = rest.split_at(length);
        let qos = first >> 1 & 3;
        let mut packet_id = 0;
        if qos > 0 {
            packet_id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if version == Version::V5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        let number = u32::from_be_bytes(rest[..4].try_into().unwrap());
        Self {
            is_dup: first & 8 != 0,
            qos,
            topic,
            packet_id,
            number: usize::try_from(number).unwrap(),
            payload: rest,
        }
    }

    /// It is what was published under its number.
    pub(super) fn check(&self, sent: &[Sent]) {
        let Sent {
            qos, payload_bytes, ..
        } = sent[self.number];
        assert_eq!(qos, self.qos, "quality of service");
        let is_same = self.payload == payload(self.number, payload_bytes);
        assert!(is_same, "another message than {}", self.number);
    }
}

/// The packet identifier at the front of a packet that begins with one.
pub(super) fn packet_id(packet: &[u8]) -> u16 {
    let body = packets::body(packet);
    u16::from_be_bytes([body[0], body[1]])
}

/// A packet that consists of an identifier.
pub(super) fn acknowledgement(first: u8, packet_id: u16) -> Vec<u8> {
    let [high, low] = packet_id.to_be_bytes();
    vec![first, 2, high, low]
}

/// Writes a SUBSCRIBE, or an UNSUBSCRIBE where filters have no options.
pub(super) fn filters(
    version: Version,
    first: u8,
    packet_id: u16,
    filters: &[(String, Option<u8>)],
) -> Vec<u8> {
    let mut body = packet_id.to_be_bytes().to_vec();
    if version == Version::V5 {
        body.push(0);
    }
    for (filter, options) in filters {
        body.extend_from_slice(&u16::try_from(filter.len()).unwrap().to_be_bytes());
        body.extend_from_slice(filter.as_bytes());
        body.extend(options);
    }
    packets::packet(first, &body)
}

/// The filters of a packet, with the quality of service that is asked for.
pub(super) fn read_filters(packet: &[u8], version: Version) -> Vec<(String, u8)> {
    let mut rest = &packets::body(packet)[2..];
    if version == Version::V5 {
        rest = &rest[1 + usize::from(rest[0])..];
    }
    let has_options = packet[0] >> 4 == 8;
    let mut filters = Vec::new();
    while !rest.is_empty() {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let filter = str::from_utf8(&rest[2..2 + length]).unwrap().to_owned();
        rest = &rest[2 + length..];
        let mut qos = 0;
        if has_options {
            qos = rest[0] & 3;
            rest = &rest[1..];
        }
        filters.push((filter, qos));
    }
    filters
}

/// What is granted for a filter.
pub(super) fn granted(filter: &str, qos: u8) -> u8 {
    if filter.starts_with("refused") {
        0x80
    } else {
        qos
    }
}
