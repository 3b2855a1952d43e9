//! Device: a client that knows its protocol and accepts nothing that it cannot explain. It never learns
//! that its upstream was replaced.

use std::collections::{BTreeMap, BTreeSet};

use ringbeam_proto::packet::Version;

use super::wire::{Dice, Message, Packet, acknowledgement, filters, publish};

/// Packet identifiers that the device uses: few, so that they are used again.
const IDS: u16 = 12;

/// How far a request is.
#[derive(Debug, PartialEq)]
enum State {
    Puback,
    Pubrec,
    /// Its PUBREL is to be sent, or was.
    Pubcomp,
    Suback(Vec<(String, u8)>),
    Unsuback(Vec<(String, u8)>),
}

pub(crate) struct Device {
    version: Version,
    /// What it was sent and has not read, what it has written, and answers that it has not written.
    pub(crate) inbox: Vec<u8>,
    pub(crate) outbox: Vec<u8>,
    answers: Vec<Vec<u8>>,
    requests: BTreeMap<u16, State>,
    pings: usize,
    next_number: u32,
    /// QoS of what it published, by number.
    pub(crate) published: BTreeMap<u32, u8>,
    pub(crate) subscriptions: BTreeMap<String, u8>,
    /// How often a filter's retained message may come.
    asked: BTreeMap<String, usize>,
    /// Identifiers of messages that it has and has not acknowledged, or not yet been released.
    unacknowledged: BTreeSet<u16>,
    unreleased: BTreeSet<u16>,
    /// How often it was given a message, by number.
    pub(crate) delivered: BTreeMap<u32, usize>,
    retained: BTreeMap<String, usize>,
}

impl Device {
    pub(crate) fn new(version: Version) -> Self {
        Self {
            version,
            inbox: Vec::new(),
            outbox: Vec::new(),
            answers: Vec::new(),
            requests: BTreeMap::new(),
            pings: 0,
            next_number: 0,
            published: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            asked: BTreeMap::new(),
            unacknowledged: BTreeSet::new(),
            unreleased: BTreeSet::new(),
            delivered: BTreeMap::new(),
            retained: BTreeMap::new(),
        }
    }

    /// It does not know, but the model does: what it asks for now is asked twice, and may have been before.
    pub(crate) fn upstream_lost(&mut self) {
        for state in self.requests.values() {
            let State::Suback(wanted) = state else {
                continue;
            };
            for (filter, _) in wanted {
                *self.asked.entry(filter.clone()).or_default() += 2;
            }
        }
    }

    /// Whether it waits for nothing and owes nothing.
    pub(crate) fn is_done(&self) -> bool {
        self.requests.is_empty() && self.pings == 0 && self.is_idle()
    }

    /// Whether nothing is on its way through it.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty() && self.answers.is_empty()
    }

    /// What it still waits for.
    pub(crate) fn waits_for(&self) -> String {
        format!("{:?} pings {}", self.requests, self.pings)
    }

    /// Begins something.
    pub(crate) fn act(&mut self, dice: &mut Dice) {
        let Some(id) = (1..=IDS).find(|id| !self.requests.contains_key(id)) else {
            return;
        };
        match dice.below(8) {
            0 => {
                self.pings += 1;
                self.outbox.extend([0xc0, 0]);
            }
            1 => {
                let mut wanted = some_filters(dice);
                if dice.once_in(3) {
                    wanted.push(wanted[0].clone());
                }
                for (_, options) in &mut wanted {
                    *options = u8::try_from(dice.below(3)).unwrap();
                }
                for (filter, _) in &wanted {
                    // What is asked for again beside it may bring the retained message, too.
                    let count = 1 + usize::from(self.subscriptions.contains_key(filter));
                    *self.asked.entry(filter.clone()).or_default() += count;
                }
                self.outbox.extend(filters(self.version, 0x82, id, &wanted));
                self.requests.insert(id, State::Suback(wanted));
            }
            2 => {
                let unwanted = some_filters(dice);
                self.outbox
                    .extend(filters(self.version, 0xa2, id, &unwanted));
                self.requests.insert(id, State::Unsuback(unwanted));
            }
            _ => self.publish(id, dice),
        }
    }

    fn publish(&mut self, id: u16, dice: &mut Dice) {
        let qos = u8::try_from(dice.below(3)).unwrap();
        let number = self.next_number;
        self.next_number += 1;
        self.published.insert(number, qos);
        let message = Message {
            topic: "up".to_owned(),
            qos,
            dup: false,
            retain: false,
            id,
            number,
        };
        let sizes = if dice.once_in(5) { 6 } else { 3 };
        let size = [0, 5, 200, 5_000, 30_000, 70_000][dice.below(sizes)];
        self.outbox.extend(publish(self.version, &message, size));
        match qos {
            0 => {}
            1 => assert_eq!(self.requests.insert(id, State::Puback), None),
            _ => assert_eq!(self.requests.insert(id, State::Pubrec), None),
        }
    }

    /// Writes one answer that is due.
    pub(crate) fn answer(&mut self) {
        if self.answers.is_empty() {
            return;
        }
        let answer = self.answers.remove(0);
        let packet = Packet::next(&mut answer.clone()).unwrap();
        if packet.first == 0x40 {
            self.unacknowledged.remove(&packet.id());
        }
        self.outbox.extend(answer);
    }

    /// Reads one packet, if there is one.
    pub(crate) fn read(&mut self) {
        let Some(packet) = Packet::next(&mut self.inbox) else {
            return;
        };
        if packet.first >> 4 == 3 {
            self.deliver(&packet.message(self.version));
            return;
        }
        if packet.first == 0xd0 {
            self.pings = self.pings.checked_sub(1).expect("a PINGRESP too many");
            return;
        }
        let id = packet.id();
        if packet.first == 0x62 {
            assert!(self.unreleased.remove(&id), "unknown PUBREL {id}");
            self.answers.push(acknowledgement(0x70, id));
            return;
        }
        match (packet.first, self.requests.remove(&id)) {
            // One of QoS 2 may be answered so, unless it was answered otherwise before.
            (0x40, Some(State::Puback | State::Pubrec)) | (0x70, Some(State::Pubcomp)) => {}
            (0x50, Some(State::Pubrec)) => {
                self.requests.insert(id, State::Pubcomp);
                self.answers.push(acknowledgement(0x62, id));
            }
            (0x90, Some(State::Suback(wanted))) => {
                let start = 2 + usize::from(self.version == Version::V5);
                let codes = &packet.body[start..];
                let is_told = codes.len() == wanted.len();
                for (index, (filter, asked)) in wanted.into_iter().enumerate() {
                    let granted = if is_told { codes[index] } else { asked };
                    self.subscriptions.insert(filter, granted);
                }
            }
            (0xb0, Some(State::Unsuback(unwanted))) => {
                for (filter, _) in unwanted {
                    self.subscriptions.remove(&filter);
                }
            }
            (_, state) => panic!("{packet:02x?} while {state:?}"),
        }
    }

    fn deliver(&mut self, message: &Message) {
        let id = message.id;
        if message.qos > 0 {
            assert!(
                !self.unacknowledged.contains(&id),
                "{message:?} with an identifier in use"
            );
        }
        match message.qos {
            0 => {}
            1 => {
                assert!(!self.unreleased.contains(&id), "{message:?} in use");
                self.unacknowledged.insert(id);
                self.answers.push(acknowledgement(0x40, id));
            }
            _ => {
                self.answers.push(acknowledgement(0x50, id));
                if !self.unreleased.insert(id) {
                    assert!(message.dup, "{message:?} in use");
                    return;
                }
            }
        }
        // Sent again by an upstream that kept the session, one of QoS 1 may come twice.
        if message.retain && !message.dup {
            let count = self.retained.entry(message.topic.clone()).or_default();
            *count += 1;
            let asked = self.asked.get(&message.topic).copied().unwrap_or_default();
            assert!(*count <= asked, "{message:?} again");
        } else if !message.retain {
            *self.delivered.entry(message.number).or_default() += 1;
        }
    }
}

fn some_filters(dice: &mut Dice) -> Vec<(String, u8)> {
    let count = 1 + dice.below(3);
    let first = dice.below(6);
    (0..count)
        .map(|offset| (format!("f/{}", (first + offset) % 6), 0))
        .collect()
}
