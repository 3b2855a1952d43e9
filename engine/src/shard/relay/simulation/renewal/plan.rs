//! Plan: what the peers of such a session do.

use std::cell::RefCell;
use std::rc::Rc;

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;

use super::super::dice::Dice;
use super::super::peer::Step;
use super::super::plan::{Part, Plan, identity};
use super::broker::{Broker, Seat, Verdict};
use super::client::Client;

/// Something that a peer begins.
#[derive(Clone, Debug)]
pub(in super::super) enum Request {
    Publish { qos: u8, payload_bytes: usize },
    Subscribe(Vec<(String, u8)>),
    Unsubscribe(String),
    Ping,
}

/// The peers of a session, as they remember it, and how its upstream is renewed.
#[derive(Clone, Debug)]
pub(in super::super) struct Minds {
    pub(super) client: Rc<RefCell<Client>>,
    pub(super) broker: Rc<RefCell<Broker>>,
    /// The device's clean session is 0.
    pub(in super::super) keeps_session: bool,
    /// Milliseconds until the first renewal that is planned.
    pub(in super::super) renew_in_ms: Option<u64>,
    /// See the one who dials.
    pub(in super::super) is_busy: usize,
    pub(in super::super) can_log_in: bool,
    pub(in super::super) version: Version,
    legs: usize,
}

impl Minds {
    pub(in super::super) fn client(&self) -> super::Mind {
        super::Mind::Client(Rc::clone(&self.client))
    }

    /// The broker's end of another connection, and what happens there.
    pub(in super::super) fn seat(&mut self, dice: &mut Dice) -> (super::Mind, Part) {
        let is_first = self.legs == 0;
        let (verdict, steps) = leg(self, is_first, dice);
        let seat = Seat {
            broker: Rc::clone(&self.broker),
            leg: self.legs,
            verdict,
            client: Rc::clone(&self.client),
            has_connect: false,
        };
        self.legs += 1;
        (super::Mind::Broker(seat), Part::brisk(steps, dice))
    }
}

/// A session whose upstream is replaced.
pub(in super::super) fn plan(number: usize, dice: &mut Dice) -> Plan {
    let version = [Version::V31, Version::V311, Version::V5][dice.below(3)];
    let mut plan = Plan::of(Platform::V201912, Vec::new(), Vec::new());
    plan.opening.identity = identity(number);
    plan.opening.device_version = version;
    plan.opening.upstream_version = version;
    plan.opening.rules.topics.append_imsi = dice.once_in(2);
    let mut topic = b"t".to_vec();
    if plan.opening.rules.topics.append_imsi {
        topic.push(b'/');
        topic.extend_from_slice(plan.opening.identity.imsi.as_str().as_bytes());
    }
    let broker = Broker::new(version, topic);
    let client = Client::new(version, Rc::clone(&broker.published));
    plan.device = Part::brisk(device(dice), dice);
    plan.minds = Some(Minds {
        client: Rc::new(RefCell::new(client)),
        broker: Rc::new(RefCell::new(broker)),
        // No CONNACK of 3.1 says whether it was.
        keeps_session: version != Version::V31 && dice.once_in(2),
        renew_in_ms: dice.once_in(2).then(|| dice.below_ms(20_000)),
        is_busy: [0, 2, 5][dice.below(3)],
        can_log_in: !dice.once_in(6),
        version,
        legs: 0,
    });
    plan
}

fn publish(dice: &mut Dice) -> Request {
    let most = match dice.below(60) {
        0 => 100_000,
        1..4 => 20_000,
        4..10 => 3_000,
        _ => 60,
    };
    Request::Publish {
        qos: u8::try_from(dice.below(3)).unwrap(),
        payload_bytes: dice.below(most),
    }
}

fn filter(dice: &mut Dice) -> String {
    let stem = if dice.once_in(6) { "refused" } else { "filter" };
    format!("{stem}/{}", dice.below(5))
}

fn device(dice: &mut Dice) -> Vec<Step> {
    let mut steps = vec![Step::Listen];
    for _ in 0..dice.below(30) {
        let request = match dice.below(10) {
            0 => {
                let qos = |dice: &mut Dice| u8::try_from(dice.below(3)).unwrap();
                let mut filters = vec![(filter(dice), qos(dice))];
                if dice.once_in(2) {
                    filters.push((format!("other/{}", dice.below(3)), qos(dice)));
                }
                Request::Subscribe(filters)
            }
            1 => Request::Unsubscribe(filter(dice)),
            2 => Request::Ping,
            _ => publish(dice),
        };
        steps.push(Step::Ask(request));
        match dice.below(20) {
            0..8 => steps.push(Step::Wait(dice.below_ms(3_000))),
            8 => steps.push(Step::Wait(dice.below_ms(12_000))),
            9 => steps.push(Step::Stall(dice.below_ms(3_000))),
            _ => {}
        }
    }
    match dice.below(8) {
        0..5 => {
            steps.push(Step::Settle);
            if dice.once_in(2) {
                steps.push(Step::Wait(20_000));
            }
            steps.extend([Step::Say(vec![0xe0, 0]), Step::Close]);
        }
        5 => steps.push(Step::Close),
        6 => steps.push(Step::Reset),
        // It stays.
        _ => steps.push(Step::Settle),
    }
    steps
}

/// What becomes of a broker's connection.
fn leg(minds: &Minds, is_first: bool, dice: &mut Dice) -> (Verdict, Vec<Step>) {
    let is_v5 = minds.version == Version::V5;
    let can_keep = is_v5 || (minds.version == Version::V311 && minds.keeps_session);
    let verdict = match dice.below(if is_first { 100 } else { 20 }) {
        0 => Verdict::Silence,
        1 | 2 => Verdict::Refuse(if is_v5 { 0x88 } else { 3 }),
        3 if dice.once_in(3) => Verdict::Refuse(if is_v5 { 0x87 } else { 5 }),
        _ => Verdict::Accept {
            keeps: can_keep && !dice.once_in(4),
        },
    };
    if dice.once_in(if is_first { 50 } else { 8 }) {
        let end = [Step::Close, Step::Reset, Step::Finish];
        return (
            verdict,
            end.into_iter().skip(dice.below(3)).take(1).collect(),
        );
    }
    let mut steps = vec![Step::Listen];
    for _ in 0..dice.below(8) {
        steps.push(Step::Ask(publish(dice)));
        if dice.once_in(2) {
            steps.push(Step::Wait(dice.below_ms(2_000)));
        }
    }
    if dice.once_in(3) {
        steps.push(Step::Wait(dice.below_ms(15_000)));
    }
    match dice.below(if is_first { 9 } else { 15 }) {
        0 => steps.push(Step::Close),
        1 => steps.push(Step::Finish),
        2 => steps.push(Step::Reset),
        // Amid what it answers and says.
        3 => steps.extend([Step::Ask(publish(dice)), Step::Reset]),
        4 => {
            steps.retain(|step| !matches!(step, Step::Ask(_)));
            steps.push(Step::Wait(dice.below_ms(8_000)));
            steps.push(Step::Reset);
        }
        5 if is_v5 => {
            // It shuts down; now and then it says that another connection is no use.
            let code = if dice.once_in(6) { 0x8e } else { 0x8b };
            steps.extend([Step::Say(vec![0xe0, 1, code]), Step::Close]);
        }
        _ => {}
    }
    (verdict, steps)
}
