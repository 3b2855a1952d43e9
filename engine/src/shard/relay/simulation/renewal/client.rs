//! Client: a device that keeps to MQTT. It panics when it is told what cannot be.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use ringbeam_proto::packet::Version;

use super::Request;
use super::message::{self, Message, Sent, acknowledgement, granted, packet_id};

/// What an acknowledgement is awaited for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Awaited {
    Puback(usize),
    Pubrec(usize),
    Pubcomp,
    Suback(Vec<(String, u8)>),
    Unsuback(String),
}

/// A device.
#[derive(Debug)]
pub(in super::super) struct Client {
    version: Version,
    awaited: BTreeMap<u16, Awaited>,
    pings: usize,
    has_connack: bool,
    /// By number.
    pub(super) sent: Vec<Sent>,
    /// Messages of QoS 2 that are not released, by their identifiers.
    held: BTreeMap<u16, usize>,
    /// What came, in order: number, quality of service, whether it was called a repetition.
    pub(super) got: Vec<(usize, u8, bool)>,
    /// What was granted.
    pub(super) filters: BTreeMap<String, u8>,
    /// What the broker has published, by number.
    published: Rc<RefCell<Vec<Sent>>>,
}

impl Client {
    pub(super) fn new(version: Version, published: Rc<RefCell<Vec<Sent>>>) -> Self {
        Self {
            version,
            awaited: BTreeMap::new(),
            pings: 0,
            has_connack: false,
            sent: Vec::new(),
            held: BTreeMap::new(),
            got: Vec::new(),
            filters: BTreeMap::new(),
            published,
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.awaited.is_empty() && self.pings == 0 && self.held.is_empty()
    }

    /// One of few, so that they are used again soon.
    fn free_id(&self) -> Option<u16> {
        (1..=6).find(|id| !self.awaited.contains_key(id))
    }

    pub(super) fn ask(&mut self, request: &Request) -> Vec<u8> {
        if let Request::Ping = request {
            self.pings += 1;
            return vec![0xc0, 0];
        }
        let Some(id) = self.free_id() else {
            return Vec::new();
        };
        match request {
            Request::Ping => unreachable!(),
            Request::Publish { qos, payload_bytes } => {
                let number = self.sent.len();
                let sent = Sent {
                    qos: *qos,
                    payload_bytes: *payload_bytes,
                    is_taken: false,
                };
                self.sent.push(sent);
                match qos {
                    0 => {}
                    1 => drop(self.awaited.insert(id, Awaited::Puback(number))),
                    _ => drop(self.awaited.insert(id, Awaited::Pubrec(number))),
                }
                message::publish(self.version, sent, (number, id), false)
            }
            Request::Subscribe(filters) => {
                let asked = Awaited::Suback(filters.clone());
                self.awaited.insert(id, asked);
                let filters: Vec<_> = filters
                    .iter()
                    .map(|(filter, qos)| (filter.clone(), Some(*qos)))
                    .collect();
                message::filters(self.version, 0x82, id, &filters)
            }
            Request::Unsubscribe(filter) => {
                self.awaited.insert(id, Awaited::Unsuback(filter.clone()));
                message::filters(self.version, 0xa2, id, &[(filter.clone(), None)])
            }
        }
    }

    pub(super) fn hear(&mut self, packet: &[u8]) -> Vec<u8> {
        match packet[0] >> 4 {
            2 => {
                assert!(!self.has_connack, "a second CONNACK");
                self.has_connack = true;
                Vec::new()
            }
            3 => self.deliver(packet),
            6 => {
                let id = packet_id(packet);
                let held = self.held.remove(&id);
                assert!(held.is_some(), "PUBREL {id} for nothing");
                acknowledgement(0x70, id)
            }
            13 => {
                assert!(self.pings > 0, "PINGRESP for nothing");
                self.pings -= 1;
                Vec::new()
            }
            14 => Vec::new(),
            _ => self.acknowledged(packet),
        }
    }

    fn deliver(&mut self, packet: &[u8]) -> Vec<u8> {
        let message = Message::read(packet, self.version);
        message.check(&self.published.borrow());
        let Message {
            is_dup,
            qos,
            packet_id,
            number,
            ..
        } = message;
        if qos == 2 {
            if let Some(held) = self.held.insert(packet_id, number) {
                assert_eq!(held, number, "{packet_id} is in use");
            } else {
                self.got.push((number, qos, is_dup));
            }
            return acknowledgement(0x50, packet_id);
        }
        self.got.push((number, qos, is_dup));
        match qos {
            0 => Vec::new(),
            _ => acknowledgement(0x40, packet_id),
        }
    }

    fn acknowledged(&mut self, packet: &[u8]) -> Vec<u8> {
        let (kind, id) = (packet[0] >> 4, packet_id(packet));
        let awaited = self.awaited.remove(&id);
        match (kind, awaited) {
            (4, Some(Awaited::Puback(number))) => self.sent[number].is_taken = true,
            (5, Some(Awaited::Pubrec(number))) => {
                self.sent[number].is_taken = true;
                self.awaited.insert(id, Awaited::Pubcomp);
                return acknowledgement(0x62, id);
            }
            (7, Some(Awaited::Pubcomp)) => {}
            (9, Some(Awaited::Suback(filters))) => {
                let codes = &packet[packet.len() - filters.len()..];
                for ((filter, qos), code) in filters.into_iter().zip(codes) {
                    assert_eq!(*code, granted(&filter, qos), "{filter}");
                    if *code < 0x80 {
                        self.filters.insert(filter, qos);
                    }
                }
            }
            (11, Some(Awaited::Unsuback(filter))) => {
                self.filters.remove(&filter);
            }
            (kind, awaited) => panic!("{kind} for {id}, which awaits {awaited:?}"),
        }
        Vec::new()
    }
}
