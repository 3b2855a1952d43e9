//! Broker: an upstream that keeps to MQTT, over one connection after another. It keeps the session in between, or
//! forgets it. It panics when it is told what cannot be.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use ringbeam_proto::packet::Version;

use super::super::packets;
use super::Request;
use super::message::{self, Message, Sent, acknowledgement, granted, packet_id, read_filters};

/// A message on its way to the device.
#[derive(Clone, Copy, Debug)]
struct Delivery {
    packet_id: u16,
    number: usize,
    is_released: bool,
}

/// A message that was taken of the device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Accepted {
    pub(super) number: usize,
    /// The connection that it came over.
    leg: usize,
}

/// A broker.
#[derive(Debug)]
pub(super) struct Broker {
    version: Version,
    topic: Vec<u8>,
    /// The connection that has the session.
    pub(super) leg: usize,
    pub(super) connected_ms: u64,
    /// What it has published, by number.
    pub(super) published: Rc<RefCell<Vec<Sent>>>,
    deliveries: Vec<Delivery>,
    /// Messages of QoS 2 that are not released, by their identifiers.
    held: BTreeMap<u16, usize>,
    /// Identifiers of those that were.
    completed: BTreeSet<u16>,
    pub(super) accepted: Vec<Accepted>,
    pub(super) filters: BTreeMap<String, u8>,
    /// Whether something came after the CONNACK that said that the session is new.
    is_heard: bool,
    /// Whether it has forgotten the session once.
    pub(super) has_forgotten: bool,
}

/// What a CONNECT is answered with.
#[derive(Clone, Copy, Debug)]
pub(in super::super) enum Verdict {
    /// It is accepted; the session goes on where it is known and kept.
    Accept {
        keeps: bool,
    },
    Refuse(u8),
    /// By nothing.
    Silence,
}

/// A broker's end of one connection.
#[derive(Debug)]
pub(in super::super) struct Seat {
    pub(super) broker: Rc<RefCell<Broker>>,
    pub(super) leg: usize,
    pub(super) verdict: Verdict,
    pub(super) client: Rc<RefCell<super::Client>>,
    pub(super) has_connect: bool,
}

impl Seat {
    pub(super) fn hear(&mut self, packet: &[u8], now_ms: u64) -> Vec<u8> {
        let mut broker = self.broker.borrow_mut();
        if packet[0] >> 4 == 1 {
            assert!(!self.has_connect, "a second CONNECT");
            self.has_connect = true;
            return match self.verdict {
                Verdict::Accept { keeps } => {
                    broker.connected_ms = now_ms;
                    broker.accept(self.leg, keeps)
                }
                Verdict::Refuse(code) => packets::connack(broker.version, code),
                Verdict::Silence => Vec::new(),
            };
        }
        assert!(self.has_connect, "{packet:02x?} before the CONNECT");
        // Another connection has taken the session over.
        if broker.leg != self.leg {
            return Vec::new();
        }
        broker.hear(packet, &self.client.borrow().sent)
    }

    pub(super) fn ask(&self, request: &Request) -> Vec<u8> {
        let mut broker = self.broker.borrow_mut();
        if broker.leg != self.leg {
            return Vec::new();
        }
        let Request::Publish { qos, payload_bytes } = request else {
            return Vec::new();
        };
        broker.publish(*qos, *payload_bytes)
    }
}

impl Broker {
    pub(super) fn new(version: Version, topic: Vec<u8>) -> Self {
        Self {
            version,
            topic,
            leg: usize::MAX,
            connected_ms: 0,
            published: Rc::default(),
            deliveries: Vec::new(),
            held: BTreeMap::new(),
            completed: BTreeSet::new(),
            accepted: Vec::new(),
            filters: BTreeMap::new(),
            is_heard: false,
            has_forgotten: false,
        }
    }

    fn accept(&mut self, leg: usize, keeps: bool) -> Vec<u8> {
        let is_first = self.leg == usize::MAX;
        self.leg = leg;
        // A known gap: nobody sees that a session was lost whose CONNACK was lost, too.
        let is_present = keeps && !is_first && self.is_heard;
        if !is_present {
            self.is_heard = false;
            self.has_forgotten |= !is_first;
            self.deliveries.clear();
            self.held.clear();
            self.completed.clear();
            self.filters.clear();
        }
        let mut answer = packets::connack(self.version, 0);
        answer[2] = u8::from(is_present);
        let published = self.published.borrow();
        for delivery in &self.deliveries {
            let Delivery {
                packet_id, number, ..
            } = *delivery;
            answer.extend(if delivery.is_released {
                acknowledgement(0x62, packet_id)
            } else {
                let sent = published[number];
                message::publish(self.version, sent, (number, packet_id), true)
            });
        }
        answer
    }

    fn publish(&mut self, qos: u8, payload_bytes: usize) -> Vec<u8> {
        let is_used = |id: &u16| self.deliveries.iter().any(|one| one.packet_id == *id);
        let Some(packet_id) = (1..=6).find(|id| !is_used(id)) else {
            return Vec::new();
        };
        let mut published = self.published.borrow_mut();
        let number = published.len();
        let sent = Sent {
            qos,
            payload_bytes,
            is_taken: false,
        };
        published.push(sent);
        if qos > 0 {
            self.deliveries.push(Delivery {
                packet_id,
                number,
                is_released: false,
            });
        }
        message::publish(self.version, sent, (number, packet_id), false)
    }

    fn hear(&mut self, packet: &[u8], sent: &[Sent]) -> Vec<u8> {
        self.is_heard = true;
        match packet[0] >> 4 {
            3 => return self.take(packet, sent),
            12 => return vec![0xd0, 0],
            14 => return Vec::new(),
            _ => {}
        }
        let id = packet_id(packet);
        match packet[0] >> 4 {
            4 => self.finished(id, 1, true),
            5 => {
                let published = self.published.borrow();
                let one = self.deliveries.iter_mut().find(|one| {
                    one.packet_id == id && published[one.number].qos == 2 && !one.is_released
                });
                let one = one.unwrap_or_else(|| panic!("PUBREC {id} for nothing"));
                one.is_released = true;
                let number = one.number;
                drop(published);
                self.published.borrow_mut()[number].is_taken = true;
                acknowledgement(0x62, id)
            }
            6 => {
                let is_known = self.held.remove(&id).is_some() || self.completed.contains(&id);
                assert!(is_known, "PUBREL {id} for nothing");
                self.completed.insert(id);
                acknowledgement(0x70, id)
            }
            7 => self.finished(id, 2, false),
            8 => {
                let mut codes = Vec::new();
                for (filter, qos) in read_filters(packet, self.version) {
                    let code = granted(&filter, qos);
                    codes.push(code);
                    if code < 0x80 {
                        self.filters.insert(filter, qos);
                    }
                }
                self.answer(0x90, id, &codes)
            }
            10 => {
                let filters = read_filters(packet, self.version);
                for (filter, _) in &filters {
                    self.filters.remove(filter);
                }
                let codes = match self.version {
                    Version::V5 => vec![0; filters.len()],
                    Version::V31 | Version::V311 => Vec::new(),
                };
                self.answer(0xb0, id, &codes)
            }
            kind => panic!("a packet of type {kind}"),
        }
    }

    fn answer(&self, first: u8, id: u16, codes: &[u8]) -> Vec<u8> {
        let mut body = id.to_be_bytes().to_vec();
        if self.version == Version::V5 {
            body.push(0);
        }
        body.extend_from_slice(codes);
        packets::packet(first, &body)
    }

    /// A delivery is acknowledged to its end.
    fn finished(&mut self, id: u16, qos: u8, takes: bool) -> Vec<u8> {
        let mut published = self.published.borrow_mut();
        let place = self.deliveries.iter().position(|one| {
            let is_right = published[one.number].qos == qos && one.is_released != takes;
            one.packet_id == id && is_right
        });
        let place =
            place.unwrap_or_else(|| panic!("{id} of QoS {qos} is acknowledged for nothing"));
        let one = self.deliveries.remove(place);
        published[one.number].is_taken = true;
        Vec::new()
    }

    /// A message of the device.
    fn take(&mut self, packet: &[u8], sent: &[Sent]) -> Vec<u8> {
        let message = Message::read(packet, self.version);
        message.check(sent);
        assert_eq!(message.topic, self.topic, "topic");
        let Message {
            qos,
            packet_id,
            number,
            is_dup,
            ..
        } = message;
        let leg = self.leg;
        let before: Vec<_> = self
            .accepted
            .iter()
            .filter(|it| it.number == number)
            .collect();
        let is_known = self.held.get(&packet_id) == Some(&number) && qos == 2;
        if !before.is_empty() {
            assert!(qos > 0, "{number} twice, of QoS 0");
            assert!(is_dup, "{number} again, as if for the first time");
            let is_twice = before.iter().any(|it| it.leg == leg);
            assert!(!is_twice, "{number} twice over one connection");
        }
        assert!(!is_dup || leg > 0, "{number} was never sent before");
        if qos == 2 && !is_known {
            let in_use = self.held.insert(packet_id, number);
            assert_eq!(in_use, None, "{packet_id} is in use");
            self.completed.remove(&packet_id);
        }
        if !is_known {
            let last = self
                .accepted
                .iter()
                .filter(|it| it.leg == leg)
                .map(|it| it.number)
                .max();
            assert!(
                last.is_none_or(|last| last < number),
                "{number} after {last:?}"
            );
            self.accepted.push(Accepted { number, leg });
        }
        match qos {
            0 => Vec::new(),
            1 => acknowledgement(0x40, packet_id),
            _ => acknowledgement(0x50, packet_id),
        }
    }
}
