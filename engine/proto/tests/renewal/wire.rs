//! Wire: whole packets off the front of a stream, and packets of a model, both without the crate under
//! test; and what decides in a model.

use ringbeam_proto::packet::Version;

/// The same seed decides the same.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Once in `times`.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    /// Takes some bytes, at least one, off the front of `stream`.
    pub(crate) fn take(&mut self, stream: &mut Vec<u8>) -> Vec<u8> {
        // Large messages are cut less often, to be quick.
        let scale = if stream.len() > 2000 {
            100_000
        } else {
            [4, 30, 2000][self.below(3)]
        };
        let count = 1 + self.below(scale);
        stream.drain(..count.min(stream.len())).collect()
    }
}

/// A packet as a peer reads it.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

/// A message as a peer reads it.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) topic: String,
    pub(crate) qos: u8,
    pub(crate) dup: bool,
    pub(crate) retain: bool,
    pub(crate) id: u16,
    /// Which of the sender's messages it is.
    pub(crate) number: u32,
}

impl Packet {
    /// The next whole packet of `stream`.
    pub(crate) fn next(stream: &mut Vec<u8>) -> Option<Self> {
        let mut length = 0;
        for (index, byte) in stream.iter().skip(1).take(4).enumerate() {
            length |= usize::from(byte & 0x7f) << (7 * index);
            if byte & 0x80 == 0 {
                let start = index + 2;
                if stream.len() < start + length {
                    return None;
                }
                let packet: Vec<u8> = stream.drain(..start + length).collect();
                return Some(Self {
                    first: packet[0],
                    body: packet[start..].to_vec(),
                });
            }
        }
        None
    }

    /// The packet identifier at its front.
    pub(crate) fn id(&self) -> u16 {
        u16::from_be_bytes([self.body[0], self.body[1]])
    }

    pub(crate) fn message(&self, version: Version) -> Message {
        let length = usize::from(self.id());
        let qos = self.first >> 1 & 3;
        let mut rest = &self.body[2 + length..];
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if version == Version::V5 {
            assert_eq!(rest[0], 0, "a model sends no properties");
            rest = &rest[1..];
        }
        Message {
            topic: String::from_utf8(self.body[2..2 + length].to_vec()).unwrap(),
            qos,
            dup: self.first & 8 != 0,
            retain: self.first & 1 != 0,
            id,
            number: u32::from_be_bytes(rest[..4].try_into().unwrap()),
        }
    }

    /// The filters of a SUBSCRIBE or UNSUBSCRIBE, with their options.
    pub(crate) fn filters(&self, version: Version) -> Vec<(String, u8)> {
        let mut rest = &self.body[2 + usize::from(version == Version::V5)..];
        let mut filters = Vec::new();
        while !rest.is_empty() {
            let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
            let filter = String::from_utf8(rest[2..2 + length].to_vec()).unwrap();
            rest = &rest[2 + length..];
            let mut options = 0;
            if self.first == 0x82 {
                options = rest[0];
                rest = &rest[1..];
            }
            filters.push((filter, options));
        }
        filters
    }
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut length = body.len();
    while length >= 128 {
        bytes.push(u8::try_from(length % 128).unwrap() | 0x80);
        length /= 128;
    }
    bytes.push(u8::try_from(length).unwrap());
    bytes.extend(body);
    bytes
}

/// An acknowledgement.
pub(crate) fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

fn no_properties(version: Version) -> &'static [u8] {
    if version == Version::V5 { &[0] } else { &[] }
}

pub(crate) fn publish(version: Version, message: &Message, size: usize) -> Vec<u8> {
    let mut body = text(&message.topic);
    if message.qos > 0 {
        body.extend(message.id.to_be_bytes());
    }
    body.extend(no_properties(version));
    body.extend(message.number.to_be_bytes());
    body.resize(body.len() + size, 0);
    let dup = u8::from(message.dup) << 3;
    packet(
        0x30 | dup | message.qos << 1 | u8::from(message.retain),
        &body,
    )
}

/// A SUBSCRIBE with options, or an UNSUBSCRIBE.
pub(crate) fn filters(version: Version, first: u8, id: u16, filters: &[(String, u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes(), no_properties(version)].concat();
    for (filter, options) in filters {
        body.extend(text(filter));
        if first == 0x82 {
            body.push(*options);
        }
    }
    packet(first, &body)
}

/// A SUBACK or UNSUBACK.
pub(crate) fn granted(version: Version, first: u8, id: u16, codes: &[u8]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes(), no_properties(version)].concat();
    if first == 0x90 || version == Version::V5 {
        body.extend(codes);
    }
    packet(first, &body)
}

pub(crate) fn connack(version: Version, session_present: bool, code: u8) -> Vec<u8> {
    let start = [u8::from(session_present), code];
    packet(0x20, &[&start, no_properties(version)].concat())
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}
