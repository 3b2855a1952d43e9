//! Encode: packets into bytes, appended to what is to be sent.

use super::{Qos, Version, kind};

/// Appends a CONNECT that begins a clean session.
pub fn connect(out: &mut Vec<u8>, version: Version, client_id: &str, keep_alive_seconds: u16) {
    const CLEAN: u8 = 2;
    let name: &[u8] = if version == Version::V31 {
        b"MQIsdp"
    } else {
        b"MQTT"
    };
    let mut body = Vec::with_capacity(32 + client_id.len());
    text(&mut body, name);
    body.push(version.level());
    body.push(CLEAN);
    body.extend_from_slice(&keep_alive_seconds.to_be_bytes());
    no_properties(&mut body, version);
    text(&mut body, client_id.as_bytes());
    packet(out, kind::CONNECT << 4, &body);
}

/// Appends a CONNACK: 0 accepts.
pub fn connack(out: &mut Vec<u8>, version: Version, code: u8) {
    let mut body = vec![0, code];
    no_properties(&mut body, version);
    packet(out, kind::CONNACK << 4, &body);
}

/// Appends a SUBSCRIBE to one filter.
pub fn subscribe(out: &mut Vec<u8>, version: Version, id: u16, filter: &str, qos: Qos) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(&mut body, version);
    text(&mut body, filter.as_bytes());
    body.push(qos.bits());
    packet(out, kind::SUBSCRIBE << 4 | 2, &body);
}

/// Appends a SUBACK or an UNSUBACK with the codes given.
pub fn granted(out: &mut Vec<u8>, version: Version, (which, id): (u8, u16), codes: &[u8]) {
    let mut body = id.to_be_bytes().to_vec();
    no_properties(&mut body, version);
    body.extend_from_slice(codes);
    packet(out, which << 4, &body);
}

/// Appends a PUBACK, PUBREC, PUBREL or PUBCOMP that reports success.
pub fn acknowledge(out: &mut Vec<u8>, which: u8, id: u16) {
    let flags = if which == kind::PUBREL { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    out.extend_from_slice(&[which << 4 | flags, 2, high, low]);
}

/// Appends a packet that has no body: PINGREQ, PINGRESP, DISCONNECT.
pub fn bare(out: &mut Vec<u8>, which: u8) {
    out.extend_from_slice(&[which << 4, 0]);
}

/// What all messages of one device begin with: everything up to the payload, but for the packet id.
#[derive(Clone, Debug)]
pub struct PublishPrefix {
    bytes: Vec<u8>,
    id_at: Option<usize>,
}

impl PublishPrefix {
    /// For one topic and a fixed length of payload, in bytes.
    #[must_use]
    pub fn new(version: Version, qos: Qos, topic: &str, payload_length: usize) -> Self {
        let mut head = Vec::new();
        text(&mut head, topic.as_bytes());
        let id_at = (qos != Qos::AtMostOnce).then_some(head.len());
        if id_at.is_some() {
            head.extend_from_slice(&[0, 0]);
        }
        no_properties(&mut head, version);
        let mut bytes = vec![kind::PUBLISH << 4 | qos.bits() << 1];
        remaining_length(&mut bytes, head.len() + payload_length);
        let start = bytes.len();
        bytes.extend_from_slice(&head);
        Self {
            bytes,
            id_at: id_at.map(|at| start + at),
        }
    }

    /// Appends it, with a packet id where the QoS asks for one.
    pub fn append(&self, out: &mut Vec<u8>, id: u16) {
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        if let Some(place) = self
            .id_at
            .and_then(|at| out.get_mut(start + at..start + at + 2))
        {
            place.copy_from_slice(&id.to_be_bytes());
        }
    }
}

/// Appends a PUBLISH of version 5 at QoS 0 without a payload, with user properties of so many bytes or a few more.
pub fn publish_with_properties(out: &mut Vec<u8>, topic: &str, bytes: usize) {
    /// Bytes of the longest value: what a text may have, in round numbers.
    const VALUE_BYTES: usize = 60_000;
    const USER_PROPERTY: u8 = 0x26;
    let mut properties = Vec::new();
    while properties.len() < bytes {
        let value = "x".repeat((bytes - properties.len()).min(VALUE_BYTES));
        properties.push(USER_PROPERTY);
        text(&mut properties, b"k");
        text(&mut properties, value.as_bytes());
    }
    let mut body = Vec::new();
    text(&mut body, topic.as_bytes());
    remaining_length(&mut body, properties.len());
    body.extend_from_slice(&properties);
    packet(out, kind::PUBLISH << 4, &body);
}

fn packet(out: &mut Vec<u8>, first: u8, body: &[u8]) {
    out.push(first);
    remaining_length(out, body.len());
    out.extend_from_slice(body);
}

fn no_properties(body: &mut Vec<u8>, version: Version) {
    if version.has_properties() {
        body.push(0);
    }
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    let length = u16::try_from(text.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(text.get(..usize::from(length)).unwrap_or_default());
}

/// Seven bits a byte, the low ones first (MQTT 5 section 1.5.5).
fn remaining_length(out: &mut Vec<u8>, mut length: usize) {
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap_or_default();
        length >>= 7;
        if length == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}
