//! Broker: a server that knows its protocol and accepts nothing that it cannot explain. It may keep the
//! session of a client that comes again, or lose it.

use std::collections::BTreeMap;

use ringbeam_proto::packet::Version;

use super::wire::{Dice, Message, Packet, acknowledgement, connack, granted, publish};

/// Packet identifiers that the broker uses: few, so that they are used again.
const IDS: u16 = 6;

#[derive(Debug)]
struct Outgoing {
    message: Message,
    is_received: bool,
}

/// How it bends the standard.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(crate) struct Habits {
    /// It may answer messages of QoS 2 by PUBACK, another way with each connection (RabbitMQ 3.10).
    pub(crate) downgrades: bool,
    /// A session that it keeps has no filters of QoS 0 (RabbitMQ 3.10).
    pub(crate) forgets_plain_filters: bool,
    /// A filter that is named twice has one code (aedes).
    pub(crate) merges_codes: bool,
    /// It closes at the message of QoS 1 or 2 with this number or a later one.
    pub(crate) poison: Option<u32>,
}

#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(crate) struct Broker {
    version: Version,
    habits: Habits,
    /// It answers messages of QoS 2 by PUBACK now.
    is_downgrading: bool,
    /// It has closed.
    pub(crate) is_closed: bool,
    /// The message that it closed at first, and how often that came.
    pub(crate) poisoned: Option<(u32, usize)>,
    /// What it was sent and has not read, and what it has written.
    pub(crate) inbox: Vec<u8>,
    pub(crate) outbox: Vec<u8>,
    pub(crate) subscriptions: BTreeMap<String, u8>,
    /// Messages of QoS 2 that were not released, by identifier.
    incoming: BTreeMap<u16, u32>,
    /// Whether it hands such a message on when it is released, as it may, or at once.
    waits_for_release: bool,
    outgoing: Vec<Outgoing>,
    next_number: u32,
    /// How often it was given a message, by number.
    pub(crate) delivered: BTreeMap<u32, usize>,
    /// QoS of what it has sent, by number.
    pub(crate) sent: BTreeMap<u32, u8>,
    pub(crate) has_lost_sessions: bool,
}

impl Broker {
    pub(crate) fn new(version: Version, waits_for_release: bool, habits: Habits) -> Self {
        Self {
            version,
            habits,
            is_downgrading: habits.downgrades && !waits_for_release,
            is_closed: false,
            poisoned: None,
            inbox: Vec::new(),
            outbox: connack(version, false, 0),
            subscriptions: BTreeMap::new(),
            incoming: BTreeMap::new(),
            waits_for_release,
            outgoing: Vec::new(),
            next_number: 0,
            delivered: BTreeMap::new(),
            sent: BTreeMap::new(),
            has_lost_sessions: false,
        }
    }

    /// Its connection is gone; what was on the way is lost.
    pub(crate) fn disconnected(&mut self) {
        self.inbox.clear();
        self.outbox.clear();
    }

    /// Refuses a connection for now.
    pub(crate) fn refuse(&mut self) {
        let code = if self.version == Version::V5 { 0x88 } else { 3 };
        self.outbox = connack(self.version, false, code);
    }

    /// Accepts a connection, with or without the session of the last one.
    pub(crate) fn accept(&mut self, keeps: bool, dice: &mut Dice) {
        self.outbox = connack(self.version, keeps, 0);
        self.is_closed = false;
        self.is_downgrading = self.habits.downgrades && dice.once_in(2);
        if self.habits.forgets_plain_filters {
            self.subscriptions.retain(|_, qos| *qos > 0);
        }
        if !keeps {
            self.has_lost_sessions = true;
            self.subscriptions.clear();
            self.incoming.clear();
            self.outgoing.clear();
            return;
        }
        for one in &mut self.outgoing {
            if one.is_received {
                self.outbox.extend(acknowledgement(0x62, one.message.id));
            } else {
                one.message.dup = true;
                self.outbox.extend(publish(self.version, &one.message, 3));
            }
        }
    }

    /// Whether nothing is on its way through it.
    pub(crate) fn is_idle(&self) -> bool {
        self.inbox.is_empty() && self.outbox.is_empty() && self.outgoing.is_empty()
    }

    /// Sends a message to a subscription, if there is one.
    pub(crate) fn act(&mut self, dice: &mut Dice) {
        let index = dice.below(self.subscriptions.len());
        let Some((topic, qos)) = self.subscriptions.iter().nth(index) else {
            return;
        };
        let (topic, qos) = (topic.clone(), *qos);
        let qos = qos.min(u8::try_from(dice.below(3)).unwrap());
        self.send(topic, qos, false);
    }

    fn send(&mut self, topic: String, qos: u8, retain: bool) {
        let in_use = |id: &u16| self.outgoing.iter().any(|one| one.message.id == *id);
        let Some(id) = (1..=IDS).find(|id| !in_use(id)) else {
            return;
        };
        let number = self.next_number;
        self.next_number += 1;
        let message = Message {
            topic,
            qos,
            dup: false,
            retain,
            id,
            number,
        };
        self.outbox.extend(publish(self.version, &message, 3));
        if !retain {
            self.sent.insert(number, qos);
        }
        if qos > 0 {
            self.outgoing.push(Outgoing {
                message,
                is_received: false,
            });
        }
    }

    /// Reads everything that is there.
    pub(crate) fn read(&mut self) {
        while !self.is_closed
            && let Some(packet) = Packet::next(&mut self.inbox)
        {
            self.handle(&packet);
        }
    }

    fn handle(&mut self, packet: &Packet) {
        let version = self.version;
        match packet.first >> 4 {
            3 => self.receive(&packet.message(version)),
            8 => {
                let wanted = packet.filters(version);
                let is_last = |index: usize, filter: &String| {
                    !wanted[index + 1..].iter().any(|(other, _)| other == filter)
                };
                let codes: Vec<u8> = wanted
                    .iter()
                    .enumerate()
                    .filter(|(index, (filter, _))| {
                        !self.habits.merges_codes || is_last(*index, filter)
                    })
                    .map(|(_, (_, options))| options & 3)
                    .collect();
                self.outbox
                    .extend(granted(version, 0x90, packet.id(), &codes));
                for (filter, options) in wanted {
                    let qos = options & 3;
                    self.subscriptions.insert(filter.clone(), qos);
                    // v5: Retain Handling 2 asks for none.
                    if options & 0x30 != 0x20 {
                        self.send(filter, qos, true);
                    }
                }
            }
            10 => {
                let unwanted = packet.filters(version);
                let codes = vec![0; unwanted.len()];
                for (filter, _) in unwanted {
                    self.subscriptions.remove(&filter);
                }
                self.outbox
                    .extend(granted(version, 0xb0, packet.id(), &codes));
            }
            12 => self.outbox.extend([0xd0, 0]),
            14 => {}
            _ => self.acknowledged(packet.first, packet.id()),
        }
    }

    fn receive(&mut self, message: &Message) {
        let id = message.id;
        if message.qos > 0
            && self
                .habits
                .poison
                .is_some_and(|poison| message.number >= poison)
        {
            self.is_closed = true;
            let (number, times) = self.poisoned.get_or_insert((message.number, 0));
            *times += usize::from(*number == message.number);
            return;
        }
        if message.qos == 2 && self.is_downgrading {
            self.incoming.remove(&id);
            *self.delivered.entry(message.number).or_default() += 1;
            self.outbox.extend(acknowledgement(0x40, id));
            return;
        }
        let is_new = message.qos < 2 || self.incoming.insert(id, message.number).is_none();
        if is_new && !(message.qos == 2 && self.waits_for_release) {
            *self.delivered.entry(message.number).or_default() += 1;
        }
        match message.qos {
            0 => {}
            1 => self.outbox.extend(acknowledgement(0x40, id)),
            _ => self.outbox.extend(acknowledgement(0x50, id)),
        }
    }

    fn acknowledged(&mut self, first: u8, id: u16) {
        if first == 0x62 {
            if let Some(number) = self.incoming.remove(&id)
                && self.waits_for_release
            {
                *self.delivered.entry(number).or_default() += 1;
            }
            self.outbox.extend(acknowledgement(0x70, id));
            return;
        }
        let known = self.outgoing.iter().position(|one| one.message.id == id);
        let Some(index) = known else {
            panic!("0x{first:02x} for {id}, which was not sent");
        };
        let one = &mut self.outgoing[index];
        match (first, one.message.qos, one.is_received) {
            (0x40, 1, _) | (0x70, 2, true) => {
                self.outgoing.remove(index);
            }
            (0x50, 2, _) => {
                one.is_received = true;
                self.outbox.extend(acknowledgement(0x62, id));
            }
            _ => panic!("0x{first:02x} for {one:?}"),
        }
    }
}
