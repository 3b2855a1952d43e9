//! Decode: bytes of one connection, as they come, into packets. A PUBLISH is checked while its payload comes
//! in and is never collected; any other packet is dealt with whole.

use super::{Qos, Version, kind};
use crate::message::{Check, Damaged, HEAD_BYTES, Stamp};

/// Largest packet other than PUBLISH, and largest part of a PUBLISH before its payload, in bytes.
pub const HEAD_MAX: usize = 512 * 1024;

/// Bytes that are no MQTT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed packet: {0}")]
pub struct Malformed(pub &'static str);

/// One packet.
#[derive(Debug, PartialEq, Eq)]
pub enum Packet<'a> {
    /// A device introduces itself.
    Connect {
        /// Its version, which the packets after it are read by.
        version: Version,
        /// Its client id.
        client_id: &'a [u8],
    },
    /// The answer to it.
    Connack {
        /// 0 accepts.
        code: u8,
        /// Messages of QoS 1 and 2 that may be in flight.
        receive_maximum: u16,
    },
    /// A message, all of whose payload has come in.
    Publish(Publish<'a>),
    /// PUBACK, PUBREC, PUBREL or PUBCOMP.
    Acknowledgement {
        /// Which of them.
        kind: u8,
        /// Of which packet.
        id: u16,
        /// 0x80 and above refuses.
        reason: u8,
    },
    /// SUBSCRIBE or UNSUBSCRIBE.
    Subscribe {
        /// Which of them.
        kind: u8,
        /// Its packet id.
        id: u16,
        /// The codes that grant all of it.
        granted: Vec<u8>,
    },
    /// SUBACK or UNSUBACK.
    Suback {
        /// Its packet id.
        id: u16,
        /// What was granted, per filter.
        codes: &'a [u8],
    },
    /// PINGREQ or PINGRESP.
    Ping {
        /// Which of them.
        kind: u8,
    },
    /// The end of a session.
    Disconnect {
        /// Why; 0 in versions that do not say.
        reason: u8,
    },
}

/// A message.
#[derive(Debug, PartialEq, Eq)]
pub struct Publish<'a> {
    /// How it is delivered.
    pub qos: Qos,
    /// Its packet id; 0 at QoS 0.
    pub id: u16,
    /// Where it was published.
    pub topic: &'a [u8],
    /// What it says of itself.
    pub stamp: Result<Stamp, Damaged>,
    /// Run and device that its head names, though the rest may be damaged.
    pub claims: Option<(u32, u32)>,
}

/// The reader of one connection.
#[derive(Debug)]
pub struct Decoder {
    version: Version,
    /// The beginning of a packet, of which more is to come.
    carry: Vec<u8>,
    payload: Option<Payload>,
}

/// A message whose payload is under way.
#[derive(Debug)]
struct Payload {
    qos: Qos,
    id: u16,
    topic: Vec<u8>,
    check: Result<Check, Damaged>,
    remaining: usize,
}

enum Step<'a> {
    More,
    Took(usize, Option<Packet<'a>>),
}

impl Decoder {
    /// Reads a connection of a version; a CONNECT changes it.
    #[must_use]
    pub fn new(version: Version) -> Self {
        Self {
            version,
            carry: Vec::new(),
            payload: None,
        }
    }

    /// The version that packets are read by.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Takes what came in and hands over each packet that is complete by it.
    ///
    /// # Errors
    /// When it is no MQTT; the connection is of no use after that.
    pub fn decode(
        &mut self,
        input: &[u8],
        mut handle: impl FnMut(Version, &Packet<'_>),
    ) -> Result<(), Malformed> {
        let mut joined = std::mem::take(&mut self.carry);
        let mut bytes = if joined.is_empty() {
            input
        } else {
            joined.extend_from_slice(input);
            joined.as_slice()
        };
        while !bytes.is_empty() {
            let step = match self.payload.take() {
                Some(payload) => self.go_on(payload, bytes, &mut handle),
                None => self.step(bytes)?,
            };
            match step {
                Step::More => {
                    self.carry = bytes.to_vec();
                    return Ok(());
                }
                Step::Took(length, packet) => {
                    if let Some(packet) = packet {
                        if let Packet::Connect { version, .. } = packet {
                            self.version = version;
                        }
                        handle(self.version, &packet);
                    }
                    bytes = bytes.get(length..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }

    /// The next part of a payload.
    fn go_on<'a>(
        &mut self,
        mut payload: Payload,
        bytes: &'a [u8],
        handle: &mut impl FnMut(Version, &Packet<'_>),
    ) -> Step<'a> {
        let part = bytes.get(..payload.remaining).unwrap_or(bytes);
        if let Ok(check) = &mut payload.check {
            check.update(part);
        }
        payload.remaining -= part.len();
        if payload.remaining == 0 {
            let claims = payload.check.as_ref().ok().map(Check::claims);
            let publish = Publish {
                qos: payload.qos,
                id: payload.id,
                topic: &payload.topic,
                stamp: payload.check.and_then(Check::finish),
                claims,
            };
            handle(self.version, &Packet::Publish(publish));
        } else {
            self.payload = Some(payload);
        }
        Step::Took(part.len(), None)
    }

    /// The next packet, or the head of a large message.
    fn step<'a>(&mut self, bytes: &'a [u8]) -> Result<Step<'a>, Malformed> {
        let Some((first, body_length, start)) = fixed_header(bytes)? else {
            return Ok(Step::More);
        };
        let rest = bytes.get(start..).unwrap_or_default();
        let body = rest.get(..body_length);
        if first >> 4 == kind::PUBLISH {
            return self.publish(first, body.unwrap_or(rest), (start, body_length));
        }
        match body {
            Some(body) => {
                let packet = packet(self.version, first, body)?;
                Ok(Step::Took(start + body_length, Some(packet)))
            }
            None if body_length > HEAD_MAX => Err(Malformed("a packet beyond 512 KiB")),
            None => Ok(Step::More),
        }
    }

    fn publish<'a>(
        &mut self,
        first: u8,
        available: &'a [u8],
        (start, body_length): (usize, usize),
    ) -> Result<Step<'a>, Malformed> {
        let more = || {
            if available.len() == body_length {
                Err(Malformed("a PUBLISH that ends too early"))
            } else if available.len() > HEAD_MAX {
                Err(Malformed("the head of a PUBLISH beyond 512 KiB"))
            } else {
                Ok(Step::More)
            }
        };
        let Some(qos) = Qos::from_bits(first >> 1 & 3) else {
            return Err(Malformed("a PUBLISH of QoS 3"));
        };
        let mut fields = Fields(available);
        let Some(topic) = fields.text() else {
            return more();
        };
        let id = match qos {
            Qos::AtMostOnce => Some(0),
            Qos::AtLeastOnce | Qos::ExactlyOnce => fields.number(),
        };
        let Some(id) = id else { return more() };
        if self.version.has_properties() && fields.properties()?.is_none() {
            return more();
        }
        let head_length = available.len() - fields.0.len();
        let payload_length = body_length - head_length;
        let Some((head, after)) = fields.0.split_first_chunk::<HEAD_BYTES>() else {
            if fields.0.len() < payload_length {
                return more();
            }
            // Shorter than anything that was sent.
            let packet = Packet::Publish(Publish {
                qos,
                id,
                topic,
                stamp: Err(Damaged),
                claims: None,
            });
            return Ok(Step::Took(start + body_length, Some(packet)));
        };
        let mut check = Check::begin(head);
        if available.len() < body_length {
            if let Ok(check) = &mut check {
                check.update(after);
            }
            self.payload = Some(Payload {
                qos,
                id,
                topic: topic.to_vec(),
                check,
                remaining: body_length - available.len(),
            });
            return Ok(Step::Took(start + available.len(), None));
        }
        if let Ok(check) = &mut check {
            check.update(after);
        }
        let packet = Packet::Publish(Publish {
            qos,
            id,
            topic,
            claims: check.as_ref().ok().map(Check::claims),
            stamp: check.and_then(Check::finish),
        });
        Ok(Step::Took(start + body_length, Some(packet)))
    }
}

/// First byte, length of the body and where it begins; `None` where more is to come.
fn fixed_header(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, Malformed> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let Some((length, bytes_used)) = variable(rest)? else {
        return Ok(None);
    };
    Ok(Some((*first, length, 1 + bytes_used)))
}

/// A number of seven bits a byte, and how many bytes it took.
fn variable(bytes: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((value, index + 1)));
        }
    }
    if bytes.len() < 4 {
        Ok(None)
    } else {
        Err(Malformed("a length of more than four bytes"))
    }
}

fn packet(version: Version, first: u8, body: &[u8]) -> Result<Packet<'_>, Malformed> {
    let mut fields = Fields(body);
    let short = Malformed("a packet that ends too early");
    match first >> 4 {
        kind::CONNECT => connect(fields),
        kind::CONNACK => {
            let [_, code] = fields.number().ok_or(short)?.to_be_bytes();
            let receive_maximum = receive_maximum(&mut fields).unwrap_or(u16::MAX);
            Ok(Packet::Connack {
                code,
                receive_maximum,
            })
        }
        kind @ (kind::PUBACK | kind::PUBREC | kind::PUBREL | kind::PUBCOMP) => {
            let id = fields.number().ok_or(short)?;
            let reason = fields.byte().unwrap_or_default();
            Ok(Packet::Acknowledgement { kind, id, reason })
        }
        kind @ (kind::SUBSCRIBE | kind::UNSUBSCRIBE) => {
            let id = fields.number().ok_or(short)?;
            if version.has_properties() {
                fields.properties()?.ok_or(short)?;
            }
            let mut granted = Vec::new();
            while !fields.0.is_empty() {
                fields.text().ok_or(short)?;
                granted.push(if kind == kind::SUBSCRIBE {
                    fields.byte().ok_or(short)? & 3
                } else {
                    0
                });
            }
            Ok(Packet::Subscribe { kind, id, granted })
        }
        kind::SUBACK | kind::UNSUBACK => {
            let id = fields.number().ok_or(short)?;
            if version.has_properties() {
                fields.properties()?.ok_or(short)?;
            }
            Ok(Packet::Suback {
                id,
                codes: fields.0,
            })
        }
        kind @ (kind::PINGREQ | kind::PINGRESP) => Ok(Packet::Ping { kind }),
        kind::DISCONNECT => Ok(Packet::Disconnect {
            reason: fields.byte().unwrap_or_default(),
        }),
        _ => Err(Malformed("a packet of a type that has no place here")),
    }
}

fn connect(mut fields: Fields<'_>) -> Result<Packet<'_>, Malformed> {
    let short = Malformed("a CONNECT that ends too early");
    let name = fields.text().ok_or(short)?;
    let version = match (name, fields.byte().ok_or(short)?) {
        (b"MQIsdp", 3) => Version::V31,
        (b"MQTT", 4) => Version::V311,
        (b"MQTT", 5) => Version::V5,
        _ => return Err(Malformed("a CONNECT of an unknown version")),
    };
    fields.byte().ok_or(short)?;
    fields.number().ok_or(short)?;
    if version.has_properties() {
        fields.properties()?.ok_or(short)?;
    }
    let client_id = fields.text().ok_or(short)?;
    Ok(Packet::Connect { version, client_id })
}

/// The Receive Maximum among the properties of a CONNACK (MQTT 5 section 3.2.2.3), where there is one.
fn receive_maximum(fields: &mut Fields<'_>) -> Option<u16> {
    let (length, used) = variable(fields.0).ok()??;
    let mut properties = Fields(fields.0.get(used..used + length)?);
    loop {
        match properties.byte()? {
            0x21 => return properties.number(),
            0x11 | 0x27 => {
                properties.number()?;
                properties.number()?;
            }
            0x13 | 0x22 => {
                properties.number()?;
            }
            0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
                properties.byte()?;
            }
            0x26 => {
                properties.text()?;
                properties.text()?;
            }
            _ => {
                properties.text()?;
            }
        }
    }
}

/// What is left of a packet's body.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    fn number(&mut self) -> Option<u16> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u16::from_be_bytes(*bytes))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let mut rest = Fields(self.0);
        let length = rest.number()?;
        let (text, rest) = rest.0.split_at_checked(length.into())?;
        self.0 = rest;
        Some(text)
    }

    /// Steps over properties.
    fn properties(&mut self) -> Result<Option<()>, Malformed> {
        let Some((length, used)) = variable(self.0)? else {
            return Ok(None);
        };
        let rest = self.0.get(used + length..);
        self.0 = rest.unwrap_or(self.0);
        Ok(rest.map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::encode;
    use super::*;
    use crate::message::{Clock, Filler, topic_sum};

    fn stamp() -> Stamp {
        Stamp {
            run: 1,
            device: 2,
            sequence: 3,
            intended_ns: 4,
            clock: Clock::Monotonic,
            is_warm_up: false,
            topic_sum: topic_sum(b"a/b"),
        }
    }

    fn message(version: Version, qos: Qos, length: usize) -> Vec<u8> {
        let filler = Filler::new(length, 1);
        let mut out = Vec::new();
        encode::PublishPrefix::new(version, qos, "a/b", HEAD_BYTES + length).append(&mut out, 9);
        out.extend_from_slice(&stamp().head(&filler));
        out.extend_from_slice(filler.bytes());
        out
    }

    fn decode(version: Version, input: &[u8], part: usize) -> Result<Vec<String>, Malformed> {
        let mut decoder = Decoder::new(version);
        let mut packets = Vec::new();
        for bytes in input.chunks(part) {
            decoder.decode(bytes, |_, packet| packets.push(format!("{packet:?}")))?;
        }
        Ok(packets)
    }

    #[test]
    fn packets_come_out_as_they_went_in_however_they_are_split() {
        for version in [Version::V31, Version::V311, Version::V5] {
            let mut stream = Vec::new();
            encode::connect(&mut stream, version, "device-1", 60);
            encode::connack(&mut stream, version, 5);
            encode::subscribe(&mut stream, version, 7, "x/#", Qos::ExactlyOnce);
            encode::granted(&mut stream, version, (kind::SUBACK, 7), &[2]);
            encode::acknowledge(&mut stream, kind::PUBREL, 11);
            encode::bare(&mut stream, kind::PINGREQ);
            for length in [0, 1, 500] {
                stream.extend(message(version, Qos::AtMostOnce, length));
                stream.extend(message(version, Qos::AtLeastOnce, length));
            }
            encode::bare(&mut stream, kind::DISCONNECT);
            let whole = decode(version, &stream, stream.len()).unwrap();
            assert_eq!(whole.len(), 13);
            assert!(
                whole[0].contains(&format!("version: {version:?}")),
                "{}",
                whole[0]
            );
            assert_eq!(whole[1], "Connack { code: 5, receive_maximum: 65535 }");
            assert_eq!(whole[2], "Subscribe { kind: 8, id: 7, granted: [2] }");
            assert_eq!(whole[3], "Suback { id: 7, codes: [2] }");
            let first = format!(
                "{:?}",
                Packet::Publish(Publish {
                    qos: Qos::AtMostOnce,
                    id: 0,
                    topic: b"a/b",
                    stamp: Ok(stamp()),
                    claims: Some((1, 2)),
                })
            );
            assert_eq!(whole[6], first);
            assert!(whole[7].contains("id: 9"), "{}", whole[7]);
            for part in 1..stream.len() {
                assert_eq!(decode(version, &stream, part).unwrap(), whole, "{part}");
            }
        }
    }

    #[test]
    fn the_receive_maximum_of_a_connack_is_found() {
        // Maximum QoS 1, a user property, Receive Maximum 20, a reason string.
        let properties = b"\x24\x01\x26\x00\x01a\x00\x01b\x21\x00\x14\x1f\x00\x01x";
        let length = u8::try_from(properties.len()).unwrap();
        let mut connack = vec![0x20, 3 + length, 0, 0, length];
        connack.extend_from_slice(properties);
        let found = decode(Version::V5, &connack, 100).unwrap();
        assert_eq!(found, ["Connack { code: 0, receive_maximum: 20 }"]);
    }

    #[test]
    fn damage_is_noticed_in_any_part_of_a_message() {
        let mut stream = message(Version::V311, Qos::AtMostOnce, 500);
        let at = stream.len() - 1;
        stream[at] ^= 1;
        for part in [1, 40, stream.len()] {
            let found = decode(Version::V311, &stream, part).unwrap();
            assert!(
                found[0].contains("stamp: Err(Damaged), claims: Some((1, 2))"),
                "{}",
                found[0]
            );
        }
        // A payload of three bytes.
        let found = decode(Version::V311, &[0x30, 6, 0, 1, b'a', 1, 2, 3], 100).unwrap();
        assert!(found[0].contains("Err(Damaged)"), "{}", found[0]);
    }

    #[test]
    fn what_is_no_mqtt_is_refused() {
        for wrong in [
            &[0x10, 0xff, 0xff, 0xff, 0xff, 1][..],
            &[0x10, 0xff, 0xff, 0xff, 0x7f, 0],
            &[0x36, 4, 0, 1, b'a', 0],
            &[0x30, 2, 0, 5],
            &[0x10, 3, 0, 4, b'M'],
            &[0xf0, 0],
            &[0x40, 1, 0],
        ] {
            assert!(
                decode(Version::V311, wrong, wrong.len()).is_err(),
                "{wrong:x?}"
            );
        }
    }
}
