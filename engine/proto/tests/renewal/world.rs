//! World: a device, a session and a broker, and chance between them. Bytes arrive in any pieces; the
//! upstream goes at any byte.

use std::mem::take;

use ringbeam_proto::error::Cause;
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::Rules;
use ringbeam_proto::session::{LEAVE, Next, NotRenewable, Opening, Outputs, Session, Side};

use super::broker::{Broker, Habits};
use super::device::Device;
use super::wire::Dice;

#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(crate) struct World {
    version: Version,
    platform: Platform,
    dice: Dice,
    session: Session,
    device: Device,
    broker: Broker,
    /// Bytes that the session has not dealt with, by the side they come from.
    pending: [Vec<u8>; 2],
    /// Answers of the session that wait for the end of a message, by the side they go to.
    own: [Vec<u8>; 2],
    /// Bytes on the way to the broker.
    to_broker: Vec<u8>,
    is_connected: bool,
    /// The broker has lost the session, and nobody has heard of it.
    is_loss_unheard: bool,
    /// Steps that a planned renewal still waits for quiet.
    patience: Option<usize>,
    /// The session has ended, as one without renewal would.
    has_ended: bool,
    /// Messages of QoS 2 come once, and every answer of the broker was heard.
    is_exact: bool,
}

impl World {
    /// A broker that bends the standard in every way, but for half of the seeds.
    pub(crate) fn new(version: Version, platform: Platform, seed: u64) -> Self {
        let may_bend = seed & 2 != 0;
        let habits = Habits {
            downgrades: may_bend && seed & 4 != 0,
            forgets_plain_filters: may_bend,
            // What such a SUBACK means under 201509 a device cannot know.
            merges_codes: may_bend && platform == Platform::V201912,
            poison: None,
        };
        Self::with(version, platform, seed, habits)
    }

    pub(crate) fn with(version: Version, platform: Platform, seed: u64, habits: Habits) -> Self {
        let opening = Opening {
            identity: Identity {
                imsi: "440100000000001".parse().unwrap(),
                sim_id: "8981100000000000000001".parse().unwrap(),
                imei: None,
            },
            rules: Rules {
                platform,
                ..Rules::default()
            },
            device_version: version,
            upstream_version: version,
            keep_alive_seconds: 60,
            has_authentication_method: false,
            manners: Manners::default(),
        };
        let mut world = Self {
            version,
            platform,
            dice: Dice(seed),
            session: Session::renewing(opening, false, 0),
            device: Device::new(version),
            broker: Broker::new(version, seed.is_multiple_of(2), habits),
            pending: [Vec::new(), Vec::new()],
            own: [Vec::new(), Vec::new()],
            to_broker: Vec::new(),
            is_connected: true,
            is_loss_unheard: false,
            patience: None,
            has_ended: false,
            is_exact: !habits.downgrades,
        };
        world.pending[1] = take(&mut world.broker.outbox);
        world.pump();
        // The device's own CONNACK.
        world.device.inbox.clear();
        world
    }

    /// B-TOK-2: a broker closes at a message; how often it gets that one until the session ends, which it
    /// does as without renewal. Nothing where the session ends for another reason, or an answer of the broker
    /// was not heard.
    pub(crate) fn run_poisoned(mut self) -> Option<usize> {
        for _ in 0..10_000 {
            if self.has_ended {
                let is_blamed = self.session.can_renew() == Err(NotRenewable::SameRequest);
                let (_, times) = self.broker.poisoned?;
                return (is_blamed && self.is_exact).then_some(times);
            }
            match self.dice.below(12) {
                0..=2 => self.device.act(&mut self.dice),
                3 => self.broker_acts(),
                11 if !self.is_connected => self.connect(),
                _ => self.step(),
            }
        }
        panic!("it goes on and on: {:?}", self.broker.poisoned);
    }

    pub(crate) fn run(mut self) {
        for _ in 0..400 {
            match self.dice.below(12) {
                0..=2 => self.device.act(&mut self.dice),
                3 => self.broker_acts(),
                11 => self.disturb(),
                _ => self.step(),
            }
        }
        self.patience = None;
        self.session.abandon_renewal();
        for _ in 0..100_000 {
            if !self.is_connected {
                self.connect();
            }
            self.step();
            if self.is_connected && self.device.is_done() && self.is_idle() {
                break;
            }
        }
        self.check();
    }

    fn is_idle(&self) -> bool {
        self.broker.is_idle()
            && self.to_broker.is_empty()
            && self.pending.iter().all(Vec::is_empty)
            && self.session.is_quiet()
    }

    fn broker_acts(&mut self) {
        if self.is_connected && !self.session.is_without_upstream() {
            self.broker.act(&mut self.dice);
        }
    }

    /// Something moves.
    fn step(&mut self) {
        match self.dice.below(5) {
            0 => self.device.read(),
            1 => self.device.answer(),
            2 => {
                let bytes = self.dice.take(&mut self.device.outbox);
                self.pending[0].extend(bytes);
                self.pump();
            }
            3 => {
                let bytes = self.dice.take(&mut self.broker.outbox);
                self.pending[1].extend(bytes);
                self.pump();
            }
            _ => {
                let bytes = self.dice.take(&mut self.to_broker);
                self.broker.inbox.extend(bytes);
                self.broker.read();
                self.follow_close();
            }
        }
        self.go_on_leaving();
    }

    /// The broker may have closed, behind all that it had to say.
    fn follow_close(&mut self) {
        if !self.broker.is_closed || !self.is_connected {
            return;
        }
        let said = take(&mut self.broker.outbox);
        self.pending[1].extend(said);
        self.pump();
        // An answer may stand behind what waits for the device.
        self.is_exact &= self.pending[1].is_empty();
        if self.session.can_renew().is_ok() {
            self.session.upstream_lost();
            self.lose();
        } else {
            self.has_ended = true;
        }
    }

    /// The upstream is lost, a planned renewal begins, or a new connection comes.
    fn disturb(&mut self) {
        if !self.is_connected {
            if self.dice.once_in(4) {
                self.is_connected = true;
                self.broker.refuse();
            } else {
                self.connect();
            }
        } else if self.patience.is_none() && self.dice.once_in(3) {
            if !self.session.is_without_upstream() {
                self.session.begin_renewal();
                self.patience = Some(self.dice.below(100));
            }
        } else if self.dice.once_in(2) {
            // What the session has seen so far decides whether it can go on.
            if self.session.can_renew().is_ok() {
                let bytes = self.dice.take(&mut self.to_broker);
                self.broker.inbox.extend(bytes);
                self.broker.read();
                self.session.upstream_lost();
                self.lose();
            }
        }
    }

    fn go_on_leaving(&mut self) {
        let Some(patience) = self.patience else {
            return;
        };
        self.patience = patience.checked_sub(1);
        if self.session.is_quiet() || self.patience.is_none() {
            self.patience = None;
            if self.session.can_renew().is_err() {
                self.session.abandon_renewal();
                self.pump();
                return;
            }
            let mut bytes = take(&mut self.to_broker);
            bytes.extend(LEAVE);
            self.broker.inbox.extend(bytes);
            self.broker.read();
            self.lose();
        }
    }

    fn lose(&mut self) {
        self.is_connected = false;
        self.patience = None;
        self.broker.disconnected();
        self.device.upstream_lost();
        self.to_broker.clear();
        self.pending[1].clear();
        self.own[1].clear();
        self.session.upstream_left(&mut self.own[0]);
        self.flush_own();
        self.pump();
    }

    fn connect(&mut self) {
        // 3.1 says nothing of a kept session; and a session that begins anew with a CONNACK that nobody
        // gets is taken for the old one by every client.
        let may_keep = self.version != Version::V31 && !self.is_loss_unheard;
        let keeps = may_keep && self.dice.once_in(2);
        self.broker.accept(keeps, &mut self.dice);
        self.is_loss_unheard = !keeps;
        self.is_connected = true;
    }

    /// Gives the session what is there, as long as it takes something.
    fn pump(&mut self) {
        let mut is_moving = true;
        while is_moving {
            is_moving = false;
            for side in [Side::Device, Side::Upstream] {
                is_moving |= self.receive(side);
            }
        }
    }

    fn receive(&mut self, from: Side) -> bool {
        let index = usize::from(from == Side::Upstream);
        let input = take(&mut self.pending[index]);
        if input.is_empty() {
            return false;
        }
        let other = 1 - index;
        let mut outputs = Outputs {
            due: take(&mut self.own[other]),
            ..Outputs::default()
        };
        let received = self.session.receive(from, &input, 0, &mut outputs);
        let forwarded: Vec<u8> = outputs.forward.slices(&input).flatten().copied().collect();
        match from {
            Side::Device => self.to_broker.extend(forwarded),
            Side::Upstream => self.device.inbox.extend(forwarded),
        }
        self.own[other] = outputs.due;
        self.own[index].extend(outputs.reply);
        self.flush_own();
        self.pending[index] = input[received.consumed..].to_vec();
        self.is_loss_unheard &= self.session.is_without_upstream();
        let is_refused = outputs.parting.is_some();
        match received.next {
            Next::Read(_) | Next::Hold => received.consumed > 0,
            Next::Send => true,
            Next::End(Cause::UpstreamRefused) if is_refused => {
                self.lose();
                true
            }
            Next::End(cause) => panic!("it ended: {cause:?}"),
        }
    }

    /// Answers go between two messages.
    fn flush_own(&mut self) {
        if !self.session.is_amid_message(Side::Upstream) {
            self.device.inbox.append(&mut self.own[0]);
        }
        if !self.session.is_amid_message(Side::Device) {
            self.to_broker.append(&mut self.own[1]);
        }
    }

    fn check(&self) {
        assert!(self.device.is_done(), "{}", self.device.waits_for());
        assert!(self.is_idle(), "something is left");
        let keeps_all = !self.broker.has_lost_sessions;
        assert_eq!(self.device.subscriptions, self.broker.subscriptions);
        for (number, qos) in &self.device.published {
            let count = self.broker.delivered.get(number).copied().unwrap_or(0);
            match (self.platform, qos) {
                (Platform::V201912, 1) => assert!(count >= 1, "{number} is lost"),
                (Platform::V201912, 2) if keeps_all && self.is_exact => {
                    assert_eq!(count, 1, "{number}");
                }
                (Platform::V201912, 2) => assert!(count >= 1, "{number} is lost"),
                _ => assert!(count <= 1, "{number} came {count} times"),
            }
        }
        for (number, count) in &self.device.delivered {
            assert!(*count == 1 || self.broker.sent[number] == 1, "{number}");
        }
        for (number, qos) in &self.broker.sent {
            let count = self.device.delivered.get(number).copied().unwrap_or(0);
            assert!(*qos == 0 || !keeps_all || count >= 1, "{number} is lost");
        }
    }
}
