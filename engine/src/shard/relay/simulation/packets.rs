//! Packets: what devices and brokers of the simulation write, and whole packets off the front of a stream, without
//! the crate that the relay takes them apart with.

use ringbeam_proto::packet::Version;

use super::dice::Dice;
use crate::limits::SPLICE_BYTES;

/// Bytes that payloads are cut out of; no part of them is like another.
fn noise() -> &'static [u8] {
    static NOISE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
        let mut dice = Dice::new(1);
        std::iter::repeat_with(|| u8::try_from(dice.below(256)).unwrap())
            .take(512 * 1024)
            .collect()
    });
    &NOISE
}

/// So many bytes of it.
pub(super) fn noise_of(start: usize, bytes: usize) -> &'static [u8] {
    let start = start % (noise().len() - bytes);
    &noise()[start..start + bytes]
}

/// A packet of this first byte and body.
pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length % 128).unwrap();
        length /= 128;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.extend_from_slice(&u16::try_from(text.len()).unwrap().to_be_bytes());
    body.extend_from_slice(text.as_bytes());
}

fn put_id(body: &mut Vec<u8>, dice: &mut Dice) {
    let id = 1 + u16::try_from(dice.below(60_000)).unwrap();
    body.extend_from_slice(&id.to_be_bytes());
}

fn topic(dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => "t/{{imsi}}/x".to_owned(),
        1 => "{{simId}}{{imei}}".to_owned(),
        2 => format!("long/{}/{{{{imsi}}}}", "x".repeat(dice.below(900))),
        3 => "é{{imsi".to_owned(),
        _ => "sensors/temperature".to_owned(),
    }
}

/// A PUBLISH, small most of the time.
pub(super) fn publish(version: Version, dice: &mut Dice) -> Vec<u8> {
    let most = match dice.below(40) {
        0 => 300_000,
        1..4 => 20_000,
        4..10 => 3_000,
        _ => 60,
    };
    let length = dice.below(most);
    publish_of(length, version, dice)
}

/// A PUBLISH so large that what has not come of it is worth splicing.
pub(super) fn large(version: Version, dice: &mut Dice) -> Vec<u8> {
    let most = if dice.once_in(10) { 400_000 } else { 60_000 };
    let length = SPLICE_BYTES + dice.below(most);
    publish_of(length, version, dice)
}

fn publish_of(length: usize, version: Version, dice: &mut Dice) -> Vec<u8> {
    let qos = u8::try_from(dice.below(3)).unwrap();
    let mut body = Vec::new();
    put_text(&mut body, &topic(dice));
    if qos > 0 {
        put_id(&mut body, dice);
    }
    if version == Version::V5 {
        if dice.once_in(3) {
            body.extend_from_slice(b"\x07\x26\x00\x01k\x00\x01v");
        } else {
            body.push(0);
        }
    }
    let start = dice.below(noise().len() - length);
    body.extend_from_slice(&noise()[start..start + length]);
    let flags = (qos << 1) | u8::from(dice.once_in(4));
    packet(0x30 | flags, &body)
}

/// A legal packet that a device sends.
pub(super) fn from_device(version: Version, dice: &mut Dice) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    let mut body = Vec::new();
    match dice.below(10) {
        0 => vec![0xc0, 0],
        1 => {
            put_id(&mut body, dice);
            body.extend_from_slice(properties);
            for _ in 0..=dice.below(3) {
                put_text(&mut body, &topic(dice));
                body.push(u8::try_from(dice.below(3)).unwrap());
            }
            packet(0x82, &body)
        }
        2 => {
            put_id(&mut body, dice);
            body.extend_from_slice(properties);
            put_text(&mut body, &topic(dice));
            packet(0xa2, &body)
        }
        3 => {
            // Whatever it acknowledges.
            put_id(&mut body, dice);
            packet([0x40, 0x50, 0x62, 0x70][dice.below(4)], &body)
        }
        _ => publish(version, dice),
    }
}

/// A CONNECT as the front of a shard writes it.
pub(super) fn connect(version: Version) -> Vec<u8> {
    packet(
        0x10,
        match version {
            Version::V31 => b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
            Version::V311 => b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
            Version::V5 => b"\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
        },
    )
}

/// A CONNACK with this code.
pub(super) fn connack(version: Version, code: u8) -> Vec<u8> {
    if version == Version::V5 {
        vec![0x20, 3, 0, code, 0]
    } else {
        vec![0x20, 2, 0, code]
    }
}

/// What a peer answers to a packet, if it does.
pub(super) fn answer(packet_bytes: &[u8], version: Version) -> Option<Vec<u8>> {
    let (first, body) = (packet_bytes[0], body(packet_bytes));
    let with_id = |first| Some(vec![first, 2, body[0], body[1]]);
    let is_v5 = version == Version::V5;
    match first >> 4 {
        3 => {
            let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
            let id = body.get(2 + topic..4 + topic)?;
            match first >> 1 & 3 {
                1 => Some(vec![0x40, 2, id[0], id[1]]),
                2 => Some(vec![0x50, 2, id[0], id[1]]),
                _ => None,
            }
        }
        5 => with_id(0x62),
        6 => with_id(0x70),
        8 if is_v5 => Some(packet(0x90, &[body[0], body[1], 0, 1])),
        8 => Some(packet(0x90, &[body[0], body[1], 1])),
        10 if is_v5 => Some(packet(0xb0, &[body[0], body[1], 0, 0])),
        10 => with_id(0xb0),
        12 => Some(vec![0xd0, 0]),
        _ => None,
    }
}

/// The bytes of the packet at the front, whether or not all of them are there; `None` while its length is not.
pub(super) fn packet_bytes(stream: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (index, byte) in stream.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some(index + 2 + length);
        }
    }
    None
}

/// What stands behind a packet's length.
pub(super) fn body(packet: &[u8]) -> &[u8] {
    let length_bytes = packet[1..].iter().take_while(|byte| **byte >= 0x80).count() + 1;
    &packet[1 + length_bytes..]
}
