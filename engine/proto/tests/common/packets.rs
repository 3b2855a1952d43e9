//! Packets: legal ones of every version, made from any bytes, by a writer that shares nothing with the
//! one under test. The same bytes make the same packets.

use std::ops::Range;

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::{Rules, TopicRules};

/// Bytes that decide. When they run out, every decision is the first one.
pub(crate) struct Source<'a>(pub(crate) &'a [u8]);

/// Packets in a row.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    pub(crate) bytes: Vec<u8>,
    /// Where payloads stand in it.
    pub(crate) payloads: Vec<Range<usize>>,
    /// Published topics, and filters, in order.
    pub(crate) topics: Vec<String>,
}

const TOPIC_PARTS: [&str; 14] = [
    "a",
    "/",
    "{{imsi}}",
    "{{simId}}",
    "{{imei}}",
    "{",
    "}",
    "{{",
    "}}",
    "imsi",
    "日本",
    "$share",
    " ",
    "{{IMSI}}",
];

impl Source<'_> {
    pub(crate) fn byte(&mut self) -> u8 {
        let [first, rest @ ..] = self.0 else { return 0 };
        self.0 = rest;
        *first
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        let high = if end > 256 {
            usize::from(self.byte()) << 8
        } else {
            0
        };
        (high | usize::from(self.byte())) % end.max(1)
    }

    pub(crate) fn coin(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    pub(crate) fn version(&mut self) -> Version {
        self.pick(&[Version::V311, Version::V31, Version::V5])
    }

    /// Rules that serve `version`.
    pub(crate) fn rules(&mut self, version: Version) -> Rules {
        let old = self.coin() && version != Version::V5;
        Rules {
            platform: if old {
                Platform::V201509
            } else {
                Platform::V201912
            },
            topics: TopicRules {
                append_imsi: self.coin(),
                replace_placeholders: self.coin(),
                rewrite_will: self.coin(),
            },
        }
    }

    fn bytes(&mut self, end: usize) -> Vec<u8> {
        (0..self.below(end)).map(|_| self.byte()).collect()
    }

    /// A legal topic name.
    pub(crate) fn topic(&mut self) -> String {
        let mut topic: String = (0..=self.below(7))
            .map(|_| self.pick(&TOPIC_PARTS))
            .collect();
        if self.below(16) == 1 {
            topic.push_str(&"t".repeat(self.below(2000)));
        }
        topic
    }

    /// A legal topic filter.
    fn filter(&mut self) -> String {
        let mut levels: Vec<String> = Vec::new();
        for _ in 0..=self.below(3) {
            levels.push(if self.below(3) == 1 {
                "+".to_owned()
            } else {
                self.topic()
            });
        }
        if self.below(3) == 1 {
            levels.push("#".to_owned());
        }
        let filter = levels.join("/");
        match self.below(4) {
            1 => ["$share/g{{imsi}}/", &filter].concat(),
            // What begins so without being meant so is not legal in v5.
            _ if filter.starts_with("$share/") => ["x", &filter].concat(),
            _ => filter,
        }
    }

    fn packet_id(&mut self) -> [u8; 2] {
        [self.byte(), self.byte() | 1]
    }

    /// Properties with their length; nothing before v5.
    fn properties(&mut self, version: Version, legal: &[u8]) -> Vec<u8> {
        if version != Version::V5 {
            return Vec::new();
        }
        let mut properties = Vec::new();
        for id in legal {
            if self.below(4) != 1 {
                continue;
            }
            properties.push(*id);
            match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 => properties.push(self.byte() & 1),
                0x02 | 0x11 | 0x18 => properties.extend((0..4).map(|_| self.byte())),
                0x27 => properties.extend([1, self.byte(), 0, 0]),
                0x03 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => {
                    properties.append(&mut text(&self.topic()));
                }
                0x08 => properties.append(&mut text(&self.topic())),
                0x09 | 0x16 => {
                    let data = self.bytes(20);
                    properties.append(&mut binary(&data));
                }
                0x0b => properties.append(&mut varint(1 + self.below(30_000))),
                0x13 | 0x22 => properties.extend([self.byte(), self.byte()]),
                0x21 | 0x23 => properties.extend([self.byte(), self.byte() | 1]),
                _ => {
                    properties.append(&mut text(&self.topic()));
                    properties.append(&mut text(&self.topic()));
                }
            }
        }
        [varint(properties.len()), properties].concat()
    }

    /// A CONNECT, as the writer under test would order it.
    pub(crate) fn connect(&mut self, version: Version) -> Vec<u8> {
        let has_will = self.coin();
        let has_username = self.coin();
        let has_password = self.coin() && (has_username || version == Version::V5);
        let mut flags = if self.coin() { 2 } else { 0 };
        let mut body: Vec<u8> = match version {
            Version::V31 => [&text("MQIsdp")[..], &[3, 0]].concat(),
            Version::V311 => [&text("MQTT")[..], &[4, 0]].concat(),
            Version::V5 => [&text("MQTT")[..], &[5, 0]].concat(),
        };
        let flags_at = body.len() - 1;
        body.extend(self.pick(&[60_u16, 0, 5, 1200]).to_be_bytes());
        body.append(
            &mut self.properties(version, &[0x11, 0x15, 0x17, 0x19, 0x21, 0x22, 0x26, 0x27]),
        );
        let length = self.below(400);
        let needs_id = version == Version::V31 || (version == Version::V311 && flags == 0);
        body.append(&mut text(&"i".repeat(length.max(usize::from(needs_id)))));
        if has_will {
            flags |= 4 | (self.pick(&[0, 1, 2]) << 3) | if self.coin() { 0x20 } else { 0 };
            body.append(&mut self.properties(version, &[0x01, 0x02, 0x03, 0x08, 0x09, 0x18, 0x26]));
            body.append(&mut text(&self.topic()));
            let payload = self.bytes(300);
            body.append(&mut binary(&payload));
        }
        if has_username {
            flags |= 0x80;
            body.append(&mut text(&self.topic()));
        }
        if has_password {
            flags |= 0x40;
            let password = self.bytes(20);
            body.append(&mut binary(&password));
        }
        body[flags_at] = flags;
        packet(0x10, &body)
    }

    /// Legal packets of the device but CONNECT and DISCONNECT.
    pub(crate) fn device_stream(&mut self, version: Version) -> Stream {
        let mut stream = Stream::default();
        for _ in 0..self.below(12) {
            match self.below(8) {
                0..=3 => self.publish(
                    version,
                    &[0x01, 0x02, 0x03, 0x08, 0x09, 0x26, 0x23],
                    &mut stream,
                ),
                4 => self.filters(version, 0x82, &mut stream),
                5 => self.filters(version, 0xa2, &mut stream),
                6 => self.acknowledgement(version, &mut stream),
                _ => stream.bytes.extend([0xc0, 0]),
            }
        }
        stream
    }

    /// Legal packets of the upstream but CONNACK and DISCONNECT.
    pub(crate) fn upstream_stream(&mut self, version: Version) -> Stream {
        let mut stream = Stream::default();
        for _ in 0..self.below(12) {
            match self.below(8) {
                0..=3 => {
                    self.publish(
                        version,
                        &[0x01, 0x02, 0x03, 0x08, 0x09, 0x26, 0x23, 0x0b, 0x0b],
                        &mut stream,
                    );
                }
                4 => {
                    let id = self.packet_id();
                    let properties = self.properties(version, &[0x1f, 0x26, 0x26]);
                    let codes: Vec<u8> =
                        (0..=self.below(5)).map(|_| self.pick(&[0, 1, 2])).collect();
                    stream
                        .bytes
                        .append(&mut packet(0x90, &[&id[..], &properties, &codes].concat()));
                }
                5 => {
                    let id = self.packet_id();
                    let mut body = [&id[..], &self.properties(version, &[0x1f, 0x26])].concat();
                    if version == Version::V5 {
                        body.extend((0..=self.below(5)).map(|_| self.pick(&[0, 0x11, 0x80])));
                    }
                    stream.bytes.append(&mut packet(0xb0, &body));
                }
                6 => self.acknowledgement(version, &mut stream),
                _ => stream.bytes.extend([0xd0, 0]),
            }
        }
        stream
    }

    fn publish(&mut self, version: Version, properties: &[u8], stream: &mut Stream) {
        let qos = self.pick(&[0, 1, 2]);
        let dup = if qos > 0 && self.coin() { 8 } else { 0 };
        let first = 0x30 | dup | (qos << 1) | (self.byte() & 1);
        let alias_alone = version == Version::V5 && self.below(8) == 1;
        let topic = if alias_alone {
            String::new()
        } else {
            self.topic()
        };
        let mut head = text(&topic);
        if qos > 0 {
            head.extend(self.packet_id());
        }
        if alias_alone {
            head.extend([3, 0x23, 0, 1]);
        } else {
            head.append(&mut self.properties(version, properties));
        }
        let length = self.pick(&[0, 1, 30, 200, 20_000]);
        let payload = vec![self.byte(); length];
        let bytes = packet(first, &[head, payload].concat());
        stream.bytes.extend(bytes);
        let end = stream.bytes.len();
        stream.payloads.push(end - length..end);
        stream.topics.push(topic);
    }

    /// A SUBSCRIBE or UNSUBSCRIBE.
    pub(crate) fn filters(&mut self, version: Version, first: u8, stream: &mut Stream) {
        let ids: &[u8] = if first == 0x82 {
            &[0x0b, 0x26]
        } else {
            &[0x26, 0x26]
        };
        let id = self.packet_id();
        let mut body = [&id[..], &self.properties(version, ids)].concat();
        for _ in 0..=self.below(4) {
            let filter = self.filter();
            body.append(&mut text(&filter));
            if first == 0x82 {
                let qos = self.pick(&[0, 1, 2]);
                let extra = if version == Version::V5 {
                    self.pick(&[0, 0x08, 0x18, 0x20])
                } else {
                    0
                };
                body.push(qos | extra);
            }
            stream.topics.push(filter);
        }
        stream.bytes.extend(packet(first, &body));
    }

    fn acknowledgement(&mut self, version: Version, stream: &mut Stream) {
        let first = self.pick(&[0x40, 0x50, 0x62, 0x70]);
        let id = self.packet_id();
        let mut body = id.to_vec();
        if version == Version::V5 && self.coin() {
            body.push(0);
            if self.coin() {
                body.append(&mut self.properties(version, &[0x1f, 0x26, 0x26]));
            }
        }
        stream.bytes.extend(packet(first, &body));
    }
}

pub(crate) fn varint(mut value: usize) -> Vec<u8> {
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

pub(crate) fn binary(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes(), bytes].concat()
}

pub(crate) fn text(text: &str) -> Vec<u8> {
    binary(text.as_bytes())
}

pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    [&[first], &varint(body.len())[..], body].concat()
}
