//! An MQTT client that notices everything it should not see: its handshakes go by the book, it keeps what
//! arrives in order, and an answer to nothing fails the test.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::harness::PATIENCE;
use crate::harness::peer::{Peer, packet, string};

use super::{acknowledgement, no_properties};

/// How a client connects.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    pub version: u8,
    pub client_id: &'a str,
    /// Clean session; otherwise v5 asks for an hour.
    pub is_clean: bool,
    /// A will to this topic.
    pub will: Option<&'a str>,
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaited {
    Puback,
    Pubrec,
    Pubcomp,
    Suback,
}

/// A client.
pub struct Client {
    peer: Peer,
    version: u8,
    last_id: u16,
    awaited: BTreeMap<u16, Awaited>,
    /// Messages of QoS 2 that are not released.
    unreleased: BTreeSet<u16>,
    /// Topic, QoS and payload of every message, in order.
    received: Vec<(String, u8, String)>,
}

impl Client {
    /// Connects, and waits until it may go on.
    pub fn connect(from: Ipv4Addr, to: SocketAddr, login: Login<'_>) -> Self {
        let Login {
            version,
            client_id,
            is_clean,
            will,
        } = login;
        let flags = if is_clean { 2 } else { 0 } | if will.is_some() { 0b1100 } else { 0 };
        let mut body = [b"\x00\x04MQTT", &[version, flags, 0, 60][..]].concat();
        match (version, is_clean) {
            (5, false) => body.extend([5, 0x11, 0, 0, 14, 16]),
            _ => body.extend(no_properties(version)),
        }
        body.extend(string(client_id));
        if let Some(topic) = will {
            body.extend(no_properties(version));
            body.extend([string(topic), string("gone")].concat());
        }
        let mut peer = Peer::connect(from, to);
        peer.send(&packet(0x10, &body));
        let connack = peer.packet();
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        Self {
            peer,
            version,
            last_id: 0,
            awaited: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            received: Vec::new(),
        }
    }

    /// Subscribes, and waits until it is.
    pub fn subscribe(&mut self, filter: &str, qos: u8) {
        let id = self.begin(Awaited::Suback);
        self.peer
            .send(&super::subscribe(self.version, id, &[(filter, qos)]));
        self.settle();
    }

    /// Sends a message of QoS 1 or 2 and waits for nothing.
    pub fn publish(&mut self, topic: &str, qos: u8, payload: &str) {
        let id = self.begin(if qos == 1 {
            Awaited::Puback
        } else {
            Awaited::Pubrec
        });
        let body = [
            &string(topic)[..],
            &id.to_be_bytes(),
            no_properties(self.version),
            payload.as_bytes(),
        ];
        self.peer.send(&packet(0x30 | (qos << 1), &body.concat()));
    }

    /// What it has received so far.
    pub fn received(&self) -> &[(String, u8, String)] {
        &self.received
    }

    /// Goes on until everything it has sent is answered.
    pub fn settle(&mut self) {
        self.turn_until("answers", |client| {
            client.awaited.is_empty() && client.unreleased.is_empty()
        });
    }

    /// Goes on until a message with this payload has come.
    pub fn turn_until_payload(&mut self, payload: &str) {
        self.turn_until(payload, |client| {
            client.received.iter().any(|(.., one)| one == payload)
        });
    }

    /// Goes on until a condition holds.
    pub fn turn_until(&mut self, what: &str, condition: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !condition(self) {
            assert!(
                start.elapsed() < PATIENCE,
                "waited in vain for {what}: {:?}",
                self.awaited
            );
            self.turn(Duration::from_millis(50));
        }
    }

    /// Deals with the next packet, if one comes within a while.
    pub fn turn(&mut self, duration: Duration) -> bool {
        if !self.peer.answers_within(duration) {
            return false;
        }
        let packet = self.peer.packet();
        let id_at = |index: usize| u16::from_be_bytes([packet[index], packet[index + 1]]);
        match packet[0] >> 4 {
            3 => self.delivered(&packet),
            4 => self.answered(id_at(2), Awaited::Puback, None),
            5 => {
                self.answered(id_at(2), Awaited::Pubrec, Some(Awaited::Pubcomp));
                self.peer.send(&acknowledgement(6, id_at(2)));
            }
            6 => {
                let id = id_at(2);
                assert!(
                    self.unreleased.remove(&id),
                    "PUBREL {id}, which is nothing's"
                );
                self.peer.send(&acknowledgement(7, id));
            }
            7 => self.answered(id_at(2), Awaited::Pubcomp, None),
            9 => self.answered(id_at(2), Awaited::Suback, None),
            _ => panic!("not expected: {packet:02x?}"),
        }
        true
    }

    fn begin(&mut self, awaited: Awaited) -> u16 {
        self.last_id += 1;
        self.awaited.insert(self.last_id, awaited);
        self.last_id
    }

    fn answered(&mut self, id: u16, by: Awaited, next: Option<Awaited>) {
        let awaited = match next {
            Some(next) => self.awaited.insert(id, next),
            None => self.awaited.remove(&id),
        };
        assert_eq!(awaited, Some(by), "{id}");
    }

    fn delivered(&mut self, packet: &[u8]) {
        // The remaining length of these tests' messages is one byte or two.
        let head = if packet[1] & 0x80 == 0 { 2 } else { 3 };
        let qos = (packet[0] >> 1) & 3;
        let topic_bytes = usize::from(u16::from_be_bytes([packet[head], packet[head + 1]]));
        let (topic, mut rest) = packet[head + 2..].split_at(topic_bytes);
        let mut id = 0;
        if qos > 0 {
            id = u16::from_be_bytes([rest[0], rest[1]]);
            rest = &rest[2..];
        }
        if self.version >= 5 {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        match qos {
            0 => {}
            1 => self.peer.send(&acknowledgement(4, id)),
            _ => {
                self.peer.send(&acknowledgement(5, id));
                if !self.unreleased.insert(id) {
                    // Said again before it was released: it is the same message.
                    return;
                }
            }
        }
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        self.received.push((text(topic), qos, text(rest)));
    }
}
