//! World: devices, brokers and an operator around one relay, in virtual time. It stands for the kernel
//! ([`Wire`]): while the relay waits, the others act.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, bounded, unbounded};
use ringbeam_proto::billing::Counts;
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::session::{Opening, Session};
use zeroize::Zeroizing;

use super::super::inbox::SharedInbox;
use super::super::wire::Wire;
use super::super::{FlowId, Message, Record, Renewed, Renewing, Seam, Unrenewed, Upstream};
use super::dice::Dice;
use super::network::Network;
use super::packets;
use super::peer::Peer;
use super::plan::{Plan, address, identity};
use super::renewal::{self, Dialing, Errand, Minds};
use super::secure::{Clear, Secure};
use crate::fleet::{Destination, DestinationKind, Fleet, Limits};
use crate::limits::INBOX_MESSAGES;
use crate::shard::admission::Place;
use crate::shard::counters::SimSession;
use crate::shard::report::{
    Ask, ConnectionFilter, ConnectionId, ConnectionPage, Done, Ends, Imsis, TapEvent, TapRequest,
    Tapping, UsageShare,
};
use crate::shard::rivals::Contender;
use crate::shard::{Settings, Snapshot};
use crate::sys::pipe::Pipe;
use crate::sys::ring::{Completions, Event, Intake, Sends, Token, Wait};
use crate::tls::{Clients, Roots};

/// Milliseconds after which a leg that takes nothing ends its session.
pub(super) const STALL_MS: u64 = 8_000;
/// Milliseconds that an upstream has for its CONNACK.
pub(super) const CONNACK_MS: u64 = 5_000;
/// Most sessions of one seed.
const SESSIONS: usize = 4;
/// Exchanges in a row that may come to nothing though the relay had no time to wait.
const IN_VAIN: usize = 3;
/// Rounds that a question about all sessions may take.
const WALK: usize = 1 + SESSIONS / 2;
/// Exchanges in a row in which no byte may move, nobody else acts and no time comes.
const IDLE: usize = 300;

/// A session as both peers see it.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) opening: Opening,
    pub(super) device: Peer,
    pub(super) broker: Peer,
    /// Those that were replaced.
    pub(super) earlier: Vec<Peer>,
    pub(super) minds: Option<Minds>,
    /// What passed on the upstream's leg, where that is over TLS; at the end.
    pub(super) clear: Option<Clear>,
    /// What was read of the device behind its CONNECT before the relay had it.
    pub(super) read_ahead: Vec<u8>,
    /// What goes to the upstream first.
    pub(super) connect: Vec<u8>,
    pub(super) began_ms: u64,
    /// What the relay told of its billed packets, all of it together; at the end.
    pub(super) billed: Counts,
}

/// What the operator does.
#[derive(Clone, Copy, Debug)]
enum Act {
    Join,
    /// A CONNECT is under way, and comes to nothing.
    Contend(u64),
    Withdraw(u64),
    Report,
    Drain(usize),
    Fleet(usize),
    /// Another fleet, or none, and some SIMs of which connections may have to end for it.
    Sims(Option<usize>, usize),
    /// Usage is collected, and whether anybody waits for the answer.
    Collect(bool),
    /// A session is closed, or one that is not there.
    Close(FlowId),
    List,
    /// Somebody looks at what passes in the sessions of a SIM, for so many milliseconds.
    Tap(usize, u64),
    Stop,
}

/// Whoever asked for the end of some SIMs' connections.
#[derive(Debug)]
pub(super) struct Awaited {
    pub(super) is_done: Receiver<()>,
    /// Pairs that end, of those that there were.
    pub(super) pairs: Vec<usize>,
    /// Whether they do so at once.
    pub(super) is_abrupt: bool,
    /// Bytes that their sockets had taken when it was done.
    pub(super) taken: Option<Vec<usize>>,
}

/// What the relay shares with its surroundings.
#[derive(Debug)]
pub(super) struct Outside {
    pub(super) inbox: SharedInbox<Message>,
    pub(super) live: Arc<AtomicUsize>,
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
}

/// Everything but the relay.
#[derive(Debug)]
pub(super) struct World {
    pub(super) network: Network,
    pub(super) pairs: Vec<Pair>,
    /// In the order of their times.
    acts: VecDeque<(u64, Act)>,
    /// Sessions that begin first, before others that the dice decide.
    plans: VecDeque<Plan>,
    /// Those of sessions that are each other's rivals.
    orders: VecDeque<u64>,
    dialing: Dialing,
    timer_ms: Option<u64>,
    inbox: SharedInbox<Message>,
    is_woken: bool,
    live: Arc<AtomicUsize>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// What was asked of the relay, and is answered at some time.
    pub(super) collecting: Vec<Receiver<UsageShare>>,
    pub(super) awaited: Vec<Awaited>,
    pub(super) listing: Vec<Receiver<ConnectionPage>>,
    /// What is shown of the sessions of a SIM, by its number.
    pub(super) tapped: Vec<(usize, Receiver<TapEvent>)>,
    tapping: Tapping,
    /// When the operator cut sessions that may have been ending.
    pub(super) cut_ms: u64,
    /// Nothing can happen any more.
    pub(super) is_over: bool,
    idle: usize,
    in_vain: usize,
    /// Questions that were asked, and rounds that the relay may take for those that it has read.
    asked: usize,
    walking: usize,
}

/// Who a session is that is every other's rival.
fn contender(order: u64) -> Contender {
    Contender {
        order,
        destination: Destination {
            host: "h".into(),
            port: 1883,
            tls: false,
        },
        client_id: Some("c".into()),
        renews: true,
    }
}

/// Fleets that know all SIMs, every other one, and all of an entry point that is closed.
pub(super) fn snapshots() -> &'static [Arc<Snapshot>] {
    static SNAPSHOTS: LazyLock<Vec<Arc<Snapshot>>> = LazyLock::new(|| {
        let tls = Clients::new(Roots::system(), [], None).unwrap();
        let fleet = |is_served: bool, step: usize| {
            let sims: Vec<_> = (0..SESSIONS)
                .step_by(step)
                .map(|number| {
                    let Identity { imsi, sim_id, .. } = identity(number);
                    let ip = address(number).ip();
                    serde_json::json!({"simId": sim_id.as_str(), "imsi": imsi.as_str(),
                        "ip": ip.to_string(), "groupId": "g"})
                })
                .collect();
            let entry_point = serde_json::json!({"destination": "mqtt://h", "enabled": is_served});
            let group = serde_json::json!({"groupId": "g", "configuration":
                {"SoracomBeam": {"mqtt://beam.soracom.io:1883": entry_point}}});
            let fleet = serde_json::json!({"sims": sims, "groups": [group]});
            Arc::new(Snapshot {
                fleet: Fleet::from_json("fleet", fleet.to_string()).unwrap(),
                tls: tls.clone(),
                settings: Settings {
                    connect_timeout_ms: 0,
                    manners: Manners::default(),
                    upstream_timeout_ms: CONNACK_MS,
                    stall_timeout_ms: STALL_MS,
                    unknown_address_wait_ms: 0,
                    told_networks: Arc::default(),
                    sessions_per_sim: 1,
                    source_addresses: Vec::new(),
                    connects_per_second: 0,
                    token_lifetime_seconds: 0,
                    limits: Limits::default(),
                },
            })
        };
        vec![fleet(true, 1), fleet(true, 2), fleet(false, 1)]
    });
    &SNAPSHOTS
}

impl World {
    /// Whatever the dice say.
    pub(super) fn any(mut network: Network, outside: Outside) -> Self {
        let dice = &mut network.dice;
        let mut acts: Vec<(u64, Act)> = (0..=dice.below(SESSIONS))
            .map(|_| (dice.below_ms(3_000), Act::Join))
            .collect();
        let act = match dice.below(14) {
            0 => Some(Act::Drain(1 + dice.below(3))),
            1 => Some(Act::Fleet(1 + dice.below(2))),
            2 => Some(Act::Stop),
            3 => Some(Act::Report),
            4 => Some(Act::Sims(None, dice.below(1 << SESSIONS))),
            5 => Some(Act::Sims(
                Some(1 + dice.below(2)),
                dice.below(1 << SESSIONS),
            )),
            6 => Some(Act::Close(any_flow(dice))),
            _ => None,
        };
        acts.extend(act.map(|act| (dice.below_ms(6_000), act)));
        acts.extend(asking(dice, 6_000));
        acts.sort_by_key(|(at_ms, _)| *at_ms);
        Self::new(network, outside, acts, VecDeque::new())
    }

    /// Sessions whose upstreams are replaced.
    pub(super) fn renewing(mut network: Network, outside: Outside) -> Self {
        let dice = &mut network.dice;
        let count = 1 + dice.below(3);
        let plans = (0..count)
            .map(|number| renewal::plan(number, dice))
            .collect();
        let mut acts: Vec<_> = (0..count)
            .map(|_| (dice.below_ms(3_000), Act::Join))
            .collect();
        let act = match dice.below(20) {
            0 => Some(Act::Drain(1 + dice.below(3))),
            1 => Some(Act::Stop),
            2 => Some(Act::Sims(None, dice.below(1 << SESSIONS))),
            3 => Some(Act::Close(any_flow(dice))),
            _ => None,
        };
        acts.extend(act.map(|act| (dice.below_ms(40_000), act)));
        acts.extend(asking(dice, 40_000));
        acts.sort_by_key(|(at_ms, _)| *at_ms);
        Self::new(network, outside, acts, plans)
    }

    /// Sessions of one SIM that are the same client to one upstream, one after the other.
    pub(super) fn rivals(mut network: Network, outside: Outside) -> Self {
        let dice = &mut network.dice;
        let mut acts = Vec::new();
        let mut orders = VecDeque::new();
        let mut at_ms = 0;
        for order in 0..2 + dice.below(6) as u64 {
            at_ms += dice.below_ms(12_000);
            acts.push((at_ms, Act::Contend(order)));
            at_ms += dice.below_ms(3_000);
            if orders.len() < SESSIONS && (order == 0 || dice.once_in(2)) {
                orders.push_back(order);
                acts.push((at_ms, Act::Join));
            }
            // Also where its session has begun.
            acts.push((at_ms, Act::Withdraw(order)));
        }
        let plans = orders.iter().map(|_| renewal::plan(0, dice)).collect();
        let mut world = Self::new(network, outside, acts, plans);
        world.orders = orders;
        world
    }

    /// These sessions, all at once.
    pub(super) fn of(network: Network, outside: Outside, plans: Vec<Plan>) -> Self {
        let acts = plans.iter().map(|_| (0, Act::Join)).collect();
        Self::new(network, outside, acts, plans.into())
    }

    fn new(
        network: Network,
        outside: Outside,
        acts: Vec<(u64, Act)>,
        plans: VecDeque<Plan>,
    ) -> Self {
        let Outside {
            inbox,
            live,
            snapshot,
        } = outside;
        Self {
            network,
            pairs: Vec::new(),
            acts: acts.into(),
            plans,
            orders: VecDeque::new(),
            dialing: Dialing::new(),
            timer_ms: None,
            inbox,
            is_woken: false,
            live,
            snapshot,
            collecting: Vec::new(),
            awaited: Vec::new(),
            listing: Vec::new(),
            tapped: Vec::new(),
            tapping: Tapping::default(),
            cut_ms: u64::MAX,
            is_over: false,
            idle: 0,
            in_vain: 0,
            asked: 0,
            walking: 0,
        }
    }

    fn tell(&mut self, message: Message) {
        self.asked += usize::from(matches!(message, Message::Ask(_)));
        self.is_woken |= self.inbox.push(message, INBOX_MESSAGES).unwrap();
    }

    /// A device and its broker appear.
    fn join(&mut self) {
        let number = self.pairs.len();
        let plan = match self.plans.pop_front() {
            Some(plan) => plan,
            None => Plan::any(number, &mut self.network.dice),
        };
        self.begin(number, plan);
    }

    fn begin(&mut self, number: usize, plan: Plan) {
        let now_ms = self.network.now_ms;
        let Plan {
            opening,
            read_ahead,
            connack,
            device,
            mut broker,
            tls,
            mut minds,
        } = plan;
        let mut broker_mind = None;
        if let Some(minds) = &mut minds {
            let (mind, part) = minds.seat(&mut self.network.dice);
            (broker_mind, broker) = (Some(mind), part);
        }
        let (device_socket, device_number) = self.network.connect(device.rooms);
        let (upstream, broker_number) = self.network.connect(broker.rooms);
        let (device_version, upstream_version) = (opening.device_version, opening.upstream_version);
        let device_peer = Peer::new(
            device_number,
            device_version,
            device,
            None,
            minds.as_ref().map(Minds::client),
        );
        let mut broker = Peer::new(
            broker_number,
            upstream_version,
            broker,
            connack,
            broker_mind,
        );
        let tls = tls.map(|is_new| {
            let (secure, link, records) = Secure::pair(is_new);
            broker.secure(secure, &records);
            link
        });
        let connect = packets::connect(upstream_version);
        let (session, renewing) = self.open(opening, minds.as_ref());
        let seam = Seam {
            device: device_socket,
            upstream: Upstream {
                socket: upstream,
                tls,
            },
            session,
            read_ahead: Zeroizing::new(read_ahead.clone()),
            connect: Zeroizing::new(connect.clone()),
            connack_deadline_ms: now_ms + CONNACK_MS,
            stall_timeout_ms: STALL_MS,
            renewing,
            limits: Limits::default(),
            contender: self.orders.pop_front().map(contender),
            record: Box::new(known(number, now_ms)),
        };
        self.pairs.push(Pair {
            opening,
            device: device_peer,
            broker,
            earlier: Vec::new(),
            minds,
            clear: None,
            read_ahead,
            connect,
            began_ms: now_ms,
            billed: Counts::default(),
        });
        self.live.fetch_add(1, Ordering::Relaxed);
        self.tell(Message::Join(Box::new(seam)));
    }

    /// A session, and what replaces its upstream.
    fn open(&self, opening: Opening, minds: Option<&Minds>) -> (Session, Option<Box<Renewing>>) {
        let now_ms = self.network.now_ms;
        let Some(minds) = minds else {
            return (Session::new(opening, now_ms), None);
        };
        let session = Session::renewing(opening, minds.keeps_session, now_ms);
        let caller = self.dialing.caller(minds.is_busy, minds.can_log_in);
        let renew_at_ms = minds.renew_in_ms.map(|in_ms| now_ms + in_ms);
        let renewing = Renewing::new(caller, renew_at_ms, 1);
        (session, Some(Box::new(renewing)))
    }

    /// Another upstream was opened for a session, or not.
    fn dialed(&mut self, errand: &Errand) {
        let now_ms = self.network.now_ms;
        let dice = &mut self.network.dice;
        if dice.once_in(6) || now_ms >= errand.deadline_ms {
            let result = Err(Unrenewed {
                detail: "refused".to_owned(),
                is_final: dice.once_in(20),
            });
            return self.tell(Message::Dialed(errand.id, Box::new(result)));
        }
        let renew_at_ms = dice.once_in(3).then(|| now_ms + dice.below_ms(30_000));
        let pair = &mut self.pairs[errand.id.generation as usize - 1];
        let minds = pair.minds.as_mut().unwrap();
        let (mind, part) = minds.seat(dice);
        let version = minds.version;
        let (socket, number) = self.network.connect(part.rooms);
        let broker = Peer::new(number, version, part, None, Some(mind));
        pair.earlier
            .push(std::mem::replace(&mut pair.broker, broker));
        self.dialing.tell(errand.id, number);
        let result = Ok(Renewed {
            upstream: Upstream { socket, tls: None },
            connect: Zeroizing::new(packets::connect(version)),
            renew_at_ms,
            connack_deadline_ms: (now_ms + CONNACK_MS).min(errand.deadline_ms),
        });
        self.tell(Message::Dialed(errand.id, Box::new(result)));
    }

    fn act(&mut self, act: Act) {
        if matches!(act, Act::Fleet(_) | Act::Sims(..) | Act::Stop) {
            self.cut_ms = self.network.now_ms;
        }
        match act {
            Act::Join => self.join(),
            Act::Contend(order) => {
                let contender = Box::new(contender(order));
                self.tell(Message::Contend(identity(0).imsi, contender));
            }
            Act::Withdraw(order) => self.tell(Message::Withdraw(identity(0).imsi, order)),
            Act::Report => {
                let (sender, _) = bounded(1);
                self.tell(Message::Report(sender));
            }
            Act::Drain(sessions) => self.tell(Message::Drain { sessions }),
            Act::Fleet(which) => {
                self.snapshot.store(Arc::clone(&snapshots()[which]));
                self.tell(Message::FleetChanged);
            }
            Act::Sims(which, mask) => {
                if let Some(which) = which {
                    self.snapshot.store(Arc::clone(&snapshots()[which]));
                }
                self.end(mask, which);
            }
            Act::Collect(is_waiting) => {
                let (sender, receiver) = bounded(1);
                self.tell(Message::Ask(Ask::Usage(sender)));
                self.collecting.extend(is_waiting.then_some(receiver));
            }
            Act::Close(flow) => {
                let (sender, _) = bounded(1);
                let id = ConnectionId::new(0, flow);
                self.tell(Message::Ask(Ask::Close(id, sender)));
            }
            Act::List => {
                let (sender, receiver) = bounded(1);
                let filter = ConnectionFilter {
                    imsi: None,
                    network: None,
                    after: None,
                    limit: 2,
                };
                self.tell(Message::Ask(Ask::List(filter, sender)));
                self.listing.push(receiver);
            }
            Act::Tap(number, ms) => {
                let (events, shown) = unbounded();
                self.tell(Message::Ask(Ask::Tap(TapRequest {
                    imsi: identity(number).imsi,
                    until_ms: self.network.now_ms + ms,
                    events,
                    is_wanted: self.tapping.watch(),
                })));
                self.tapped.push((number, shown));
            }
            Act::Stop => self.tell(Message::Stop),
        }
    }

    /// Has connections of some SIMs end.
    fn end(&mut self, mask: usize, which: Option<usize>) {
        let numbers = (0..SESSIONS).filter(|number| mask & (1 << number) != 0);
        let imsis: Imsis = numbers
            .clone()
            .map(|number| identity(number).imsi)
            .collect();
        let (done, is_done) = Done::new();
        // The fleet of every other SIM allows those.
        let pairs = numbers.filter(|number| which != Some(1) || number % 2 == 1);
        self.awaited.push(Awaited {
            is_done,
            pairs: pairs.filter(|number| *number < self.pairs.len()).collect(),
            is_abrupt: which != Some(2),
            taken: None,
        });
        self.tell(Message::Ask(Ask::End(Ends {
            imsis: Arc::new(imsis),
            are_all: which.is_none(),
            done,
        })));
    }

    /// Everyone whose time has come does something.
    fn act_all(&mut self) {
        let now_ms = self.network.now_ms;
        while self.acts.front().is_some_and(|(at_ms, _)| *at_ms <= now_ms)
            && let Some((_, act)) = self.acts.pop_front()
        {
            self.act(act);
        }
        while let Some(errand) = self.dialing.next(&mut self.network) {
            self.dialed(&errand);
        }
        let Self { network, pairs, .. } = self;
        for pair in pairs {
            for peer in [&mut pair.device, &mut pair.broker]
                .into_iter()
                .chain(&mut pair.earlier)
            {
                if peer.next_ms(network) <= now_ms {
                    peer.act(network);
                    network.has_moved = true;
                }
            }
        }
    }

    /// When something happens next without the relay, in milliseconds.
    fn next_ms(&self) -> u64 {
        if self.is_woken || self.network.is_ready() {
            return self.network.now_ms + 1;
        }
        let peers = self.pairs.iter();
        let peers = peers.flat_map(|it| [&it.device, &it.broker].into_iter().chain(&it.earlier));
        let peer_ms = peers.map(|peer| peer.next_ms(&self.network)).min();
        let act_ms = self.acts.front().map(|(at_ms, _)| *at_ms);
        let dialing_ms = self.dialing.next_ms(&self.network);
        let times = [peer_ms, act_ms, dialing_ms, self.timer_ms];
        times.into_iter().flatten().min().unwrap_or(u64::MAX)
    }

    /// What has happened to the relay's operations by now.
    fn happen(&mut self, events: &mut Vec<Event>) {
        if self.is_woken && !self.network.dice.once_in(4) {
            self.is_woken = false;
            self.idle = 0;
            self.walking += WALK * std::mem::take(&mut self.asked);
            events.push(Event::Woken);
        }
        let now_ms = self.network.now_ms;
        if self.timer_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.timer_ms = None;
            self.idle = 0;
            events.push(Event::Timer);
        }
        self.network.progress(events);
        if std::mem::take(&mut self.network.has_moved) {
            self.idle = 0;
        }
    }
}

/// A session, or one that is not there.
fn any_flow(dice: &mut Dice) -> FlowId {
    let [index, generation] = [0, 1].map(|first| first + dice.below(SESSIONS));
    FlowId {
        index: u32::try_from(index).unwrap(),
        generation: u32::try_from(generation).unwrap(),
    }
}

/// What is asked meanwhile, that nobody notices but whoever asks.
fn asking(dice: &mut Dice, within_ms: u64) -> Vec<(u64, Act)> {
    let mut acts = Vec::new();
    while dice.once_in(2) {
        let act = match dice.below(6) {
            0 => Act::List,
            1 => Act::Collect(false),
            2 => Act::Tap(dice.below(SESSIONS), dice.below_ms(2 * within_ms)),
            // From the beginning on.
            3 => {
                acts.push((0, Act::Tap(dice.below(SESSIONS), 2 * within_ms)));
                continue;
            }
            _ => Act::Collect(true),
        };
        acts.push((dice.below_ms(within_ms), act));
    }
    acts
}

/// What is known of a session beside.
fn known(number: usize, now_ms: u64) -> Record {
    Record {
        network: "default".into(),
        peer: address(number),
        upstream: address(100),
        is_tls: false,
        destination: DestinationKind::Mqtt,
        opened_ms: now_ms,
        told: Counts::default(),
        place: Place::of_a_session(),
        sim: SimSession::begin(Arc::default(), 1).unwrap(),
        faults: crate::shard::relay::Faults::default(),
        parting: None,
    }
}

impl Wire for World {
    fn now_us(&mut self) -> u64 {
        self.network.now_ms * 1000
    }

    fn receive(&mut self, socket: BorrowedFd<'_>, token: Token, intake: Intake) {
        self.network.receive(socket, token, intake);
    }

    fn cancel_receive(&mut self, token: Token) {
        self.network.cancel_receive(token);
    }

    fn send_waiting(&mut self, socket: BorrowedFd<'_>, token: Token, bytes: Vec<u8>, from: usize) {
        self.network.send_waiting(socket, token, bytes, from);
    }

    fn cancel_send(&mut self, token: Token) {
        self.network.cancel_send(token);
    }

    fn set_timer(&mut self, at_ms: u64) {
        if self.timer_ms.is_none_or(|set_ms| set_ms > at_ms) {
            self.timer_ms = Some(at_ms);
        }
    }

    fn exchange<S: Sends>(
        &mut self,
        sends: &S,
        wait: Wait,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.idle += 1;
        assert!(self.idle < IDLE, "it is busy with nothing");
        self.dialing.hear(&mut self.network);
        for id in std::mem::take(&mut self.dialing.given_up) {
            let result = Err(Unrenewed {
                detail: "given up".to_owned(),
                is_final: true,
            });
            self.tell(Message::Dialed(id, Box::new(result)));
        }
        let has_spliced = std::mem::take(&mut self.network.has_spliced);
        let submitted = self.network.submit(sends, completions);
        if self.network.dice.once_in(2) {
            self.network.pass();
            self.act_all();
        }
        self.happen(&mut completions.events);
        if matches!(wait, Wait::No | Wait::Look) {
            let is_vain = submitted == 0 && completions.events.is_empty() && !has_spliced;
            self.in_vain = if is_vain { self.in_vain + 1 } else { 0 };
            let rounds = IN_VAIN + self.walking;
            assert!(self.in_vain <= rounds, "it does not wait, for nothing");
            return Ok(());
        }
        self.in_vain = 0;
        self.walking = 0;
        while completions.events.is_empty() && completions.failed.is_empty() {
            let next_ms = self.next_ms();
            if next_ms == u64::MAX {
                self.is_over = true;
                break;
            }
            self.network.now_ms = self.network.now_ms.max(next_ms);
            self.act_all();
            self.happen(&mut completions.events);
        }
        Ok(())
    }

    fn finish_sending(&mut self, socket: BorrowedFd<'_>) {
        self.network.finish_sending(socket);
    }

    fn cut(&mut self, socket: BorrowedFd<'_>) {
        self.network.cut(socket);
    }

    fn undelivered(&mut self, socket: BorrowedFd<'_>) -> usize {
        self.network.undelivered(socket)
    }

    fn acknowledge_soon(&mut self, _: BorrowedFd<'_>) {}

    fn poll(&mut self, socket: BorrowedFd<'_>, token: Token, is_writable: bool) {
        self.network.poll(socket, token, is_writable);
    }

    fn cancel_poll(&mut self, token: Token, is_writable: bool) {
        self.network.cancel_poll(token, is_writable);
    }

    fn pipe(&mut self) -> Option<Pipe> {
        self.network.pipe()
    }

    fn never_wait(&mut self, socket: BorrowedFd<'_>) -> bool {
        self.network.never_wait(socket)
    }

    fn fill(&mut self, pipe: &mut Pipe, from: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        self.network.fill(pipe, from, count)
    }

    fn drain(&mut self, pipe: &mut Pipe, to: BorrowedFd<'_>) -> io::Result<usize> {
        self.network.drain(pipe, to)
    }

    fn close(&mut self, socket: OwnedFd) {
        self.network.close(socket);
    }
}
