//! Packets: MQTT packets written in the plainest way, as input and as what has to come out.

use ringbeam_proto::packet::Version;

/// What a CONNECT says beside its client identifier, clean session and a keep alive of 60 s.
#[derive(Clone, Copy)]
pub(super) struct Connect<'a> {
    pub(super) version: Version,
    /// Topic and payload of a will at QoS 1.
    pub(super) will: Option<(&'a str, &'a str)>,
    /// User name and password.
    pub(super) credentials: Option<(&'a str, &'a str)>,
}

impl Connect<'_> {
    pub(super) fn bytes(self) -> Vec<u8> {
        let (name, level) = match self.version {
            Version::V31 => ("MQIsdp", 3),
            Version::V311 => ("MQTT", 4),
            Version::V5 => ("MQTT", 5),
        };
        let mut flags = 0b0000_0010;
        let mut fields = text("meter-17");
        if let Some((topic, payload)) = self.will {
            flags |= 0b0000_1100;
            fields.extend(self.properties(&[0x18, 0, 0, 0, 5]));
            fields.extend([text(topic), text(payload)].concat());
        }
        if let Some((username, password)) = self.credentials {
            flags |= 0b1100_0000;
            fields.extend([text(username), text(password)].concat());
        }
        let properties = self.properties(&[0x11, 0, 0, 0x0e, 0x10]);
        let head = [text(name), vec![level, flags, 0, 60]].concat();
        packet(0x10, &[head, properties, fields].concat())
    }

    /// These properties with their length in front, where the version has them.
    fn properties(self, bytes: &[u8]) -> Vec<u8> {
        if self.version == Version::V5 {
            [&varint(bytes.len()), bytes].concat()
        } else {
            Vec::new()
        }
    }
}

/// A PUBLISH of MQTT 3.1 or 3.1.1, with packet identifier 7 where its QoS has one.
pub(super) fn publish(topic: &str, qos: u8, payload: &[u8]) -> Vec<u8> {
    let id: &[u8] = if qos == 0 { &[] } else { &[0, 7] };
    packet(0x30 | qos << 1, &[&text(topic), id, payload].concat())
}

/// A PUBLISH of MQTT 5 at QoS 1, with a content type and a user property.
pub(super) fn publish_v5(topic: &str, payload: &[u8]) -> Vec<u8> {
    let content_type = [vec![0x03], text("text/plain")].concat();
    let user_property = [vec![0x26], text("unit"), text("celsius")].concat();
    let properties = [content_type, user_property].concat();
    let body = [
        text(topic),
        vec![0, 7],
        varint(properties.len()),
        properties,
        payload.to_vec(),
    ];
    packet(0x32, &body.concat())
}

/// A SUBSCRIBE of MQTT 3.1 or 3.1.1 for one filter.
pub(super) fn subscribe(filter: &str, qos: u8) -> Vec<u8> {
    packet(0x82, &[vec![0, 7], text(filter), vec![qos]].concat())
}

pub(super) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &varint(body.len())[..], body].concat()
}

fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).unwrap();
    [&length.to_be_bytes(), text.as_bytes()].concat()
}

fn varint(mut value: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(value % 128).unwrap();
        value /= 128;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
