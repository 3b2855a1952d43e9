//! Relay: what happens to a session from its upstream's connection to its end, on a thread of its own beside
//! the shard's front. In: two connections, the session, the bytes already read from the device, the CONNECT to
//! send. Out: counts, and a line in the log. It looks up nothing on a message's way.
//!
//! ```text
//! exchange with the ring: all sends of the round, and wait
//!    -> settle: what was not taken waits in its leg (leg)
//!    -> events: bytes through the session into the next round's sends (turns, pump, batch)
//!    -> attention: sessions of which an event does not tell everything (attend, ending, renewing)
//! ```

mod attend;
mod batch;
mod company;
mod ending;
mod flow;
mod greed;
mod inbox;
mod lag;
mod leg;
mod messages;
mod pump;
#[cfg(test)]
mod real;
mod renewing;
mod rivals;
mod sealing;
mod sends;
#[cfg(test)]
mod simulation;
mod splice;
mod taps;
mod telling;
mod turns;
mod waiting;
mod walks;
mod wire;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use ahash::RandomState;
use arc_swap::ArcSwap;
use hashbrown::HashMap;
use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::session::{Session, Side};
use slab::Slab;
use zeroize::Zeroizing;

use self::batch::{Batch, NONE};
use self::company::Company;
pub(super) use self::flow::{Faults, Record};
use self::flow::{Flow, Stage, Way};
use self::greed::Greed;
use self::leg::{Leg, Receiving};
pub(super) use self::messages::{Caller, Message, start};
pub(super) use self::renewing::{Attempt, Redial, Renewed, Renewing, Unrenewed};
use self::rivals::Rivals;
use self::sealing::Sealing;
use self::sends::Sending;
use self::taps::Taps;
use self::waiting::Waiting;
use self::walks::Walk;
use self::wire::Wire;
use super::Snapshot;
use super::allowance::Allowance;
use super::counters::Counters;
use super::deadlines::Wheel;
use super::figures::Work;
use super::mailbox::Mailbox;
use super::report::{Audience, Book, Teller};
use super::rivals::Contender;
use crate::fleet::Limits;
use crate::sys::pipe::Pipe;
use crate::sys::ring::{Buffers, Completions, Event, Features, Token, Wait};
use crate::tls::{Link, Workspace};

/// An open connection to an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The connection.
    pub(super) socket: OwnedFd,
    /// Its TLS, where it has any, with the handshake behind it.
    pub(super) tls: Option<Box<Link>>,
}

/// What passes from the front to the relay.
#[derive(Debug)]
pub(super) struct Seam {
    /// The device's connection.
    pub(super) device: OwnedFd,
    /// The upstream's, open.
    pub(super) upstream: Upstream,
    /// The session, awaiting its CONNACK.
    pub(super) session: Session,
    /// What the device sent behind its CONNECT.
    pub(super) read_ahead: Zeroizing<Vec<u8>>,
    /// The CONNECT for the upstream.
    pub(super) connect: Zeroizing<Vec<u8>>,
    /// When the CONNACK must be here, in milliseconds.
    pub(super) connack_deadline_ms: u64,
    /// How long one side may take nothing, in milliseconds.
    pub(super) stall_timeout_ms: u64,
    /// How its upstream is replaced, where it is to be.
    pub(super) renewing: Option<Box<Renewing>>,
    /// What its SIM may send.
    pub(super) limits: Limits,
    /// Who it is to its upstream, where that matters to a renewal (B-TOK-2).
    pub(super) contender: Option<Contender>,
    /// What there is to know of it beside.
    pub(super) record: Box<Record>,
}

/// Names a session of one relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct FlowId {
    pub(super) index: u32,
    pub(super) generation: u32,
}

/// What a relay shares with others.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) snapshot: Arc<ArcSwap<Snapshot>>,
    /// All fronts', its own among them.
    pub(super) mailboxes: Arc<[Mailbox]>,
    pub(super) index: usize,
    /// Microseconds that a message may wait for company under load.
    pub(super) coalesce_us: u32,
    /// Bytes that sessions may hold together while one of their sides is stopped.
    pub(super) waiting_bytes: usize,
    /// What the kernel's rings can do.
    pub(super) features: Features,
    /// Who listens.
    pub(super) audience: Audience,
}

/// All sessions of a shard.
struct Relay<W> {
    wire: W,
    buffers: Buffers,
    flows: Slab<Flow>,
    batch: Batch,
    completions: Completions,
    /// Events that are not dealt with.
    pending: VecDeque<Event>,
    /// Those of them that wait for their turn, while a round is under way.
    put_off: VecDeque<Event>,
    /// Those of connections that have had none, and those of whose SIMs none has had any.
    passed_over: VecDeque<Event>,
    unserved: VecDeque<Event>,
    greed: Greed,
    /// Rounds so far.
    rounds: u32,
    /// Sessions to be attended to.
    attention: VecDeque<u32>,
    wheel: Wheel<(u32, u32)>,
    inbox: inbox::SharedInbox<Message>,
    messages: VecDeque<Message>,
    /// What is asked of all sessions, and how far it is.
    walks: VecDeque<Walk>,
    /// One beyond the highest place that a session has had.
    places: u32,
    /// What sessions that are gone were billed and nobody was told, where somebody will ask.
    usage: Book,
    counters: Counters,
    /// What its rounds were made of.
    work: Work,
    teller: Teller,
    taps: Taps,
    tls_workspace: Workspace,
    shared: Shared,
    /// Sessions, those that are on their way here included.
    live: Arc<AtomicUsize>,
    generation: u32,
    /// Of SIMs that have sessions and limits.
    allowances: HashMap<Imsi, Rc<RefCell<Allowance>>, RandomState>,
    rivals: Rivals,
    /// Pipes that nobody uses, and how many there are in all.
    #[expect(clippy::vec_box, reason = "they go into sessions as they are")]
    pipes: Vec<Box<Pipe>>,
    pipe_count: usize,
    /// Bytes that are kept of packets larger than a buffer.
    large_bytes: usize,
    /// What waits in sessions, of whatever size.
    waiting: Waiting,
    is_stopping: bool,
    /// The time that was set has come.
    is_time: bool,
    now_ms: u64,
    /// Whether what comes has company, so that waiting for more of it pays.
    company: Company,
    /// Why the ring does not go on.
    failure: Option<io::Error>,
}

/// A leg's token.
const fn token(index: u32, side: Side) -> Token {
    let side = match side {
        Side::Device => 0,
        Side::Upstream => 1,
    };
    ((index as u64) << 1) | side
}

/// The leg of a token.
const fn leg_of(token: Token) -> (u32, Side) {
    let side = if token & 1 == 0 {
        Side::Device
    } else {
        Side::Upstream
    };
    #[expect(clippy::cast_possible_truncation, reason = "made of 32 bits above")]
    ((token >> 1) as u32, side)
}

impl<W: Wire> Relay<W> {
    fn new(
        mut wire: W,
        buffers: Buffers,
        inbox: inbox::SharedInbox<Message>,
        shared: Shared,
        (live, sessions): (Arc<AtomicUsize>, usize),
    ) -> Self {
        let now_ms = wire.now_us() / 1000;
        let company = Company::new(shared.coalesce_us);
        Self {
            wire,
            buffers,
            // Room for all is reserved at once, and becomes memory as sessions come.
            flows: Slab::with_capacity(sessions),
            batch: Batch::default(),
            completions: Completions::default(),
            pending: VecDeque::new(),
            put_off: VecDeque::new(),
            passed_over: VecDeque::new(),
            unserved: VecDeque::new(),
            greed: Greed::default(),
            rounds: 0,
            attention: VecDeque::new(),
            wheel: Wheel::new(now_ms),
            inbox,
            messages: VecDeque::new(),
            walks: VecDeque::new(),
            places: 0,
            usage: Book::default(),
            counters: Counters::default(),
            work: Work::default(),
            teller: Teller::new(shared.audience.events.clone()),
            taps: Taps::new(shared.index),
            tls_workspace: Workspace::default(),
            waiting: Waiting::new(shared.waiting_bytes),
            shared,
            live,
            generation: 0,
            allowances: HashMap::default(),
            rivals: Rivals::default(),
            pipes: Vec::new(),
            pipe_count: 0,
            large_bytes: 0,
            is_stopping: false,
            is_time: false,
            now_ms,
            company,
            failure: None,
        }
    }

    /// One round: what there is to send goes out, what has come is dealt with.
    fn round(&mut self) -> io::Result<()> {
        self.work.rounds += 1;
        // Whoever waits for a buffer has one when the last round's are free.
        let is_idle = self.attention.is_empty()
            && self.pending.is_empty()
            && self.walks.is_empty()
            && self.greed.starved.is_empty();
        let wait = if is_idle {
            self.company.wait()
        } else {
            // A session that is always attended to, as one that is spliced, must not keep the others from being heard.
            Wait::Look
        };
        self.exchange(wait);
        if let Some(failure) = self.failure.take() {
            return Err(failure);
        }
        let now_us = self.wire.now_us();
        self.now_ms = now_us / 1000;
        if is_idle {
            self.company.came(self.pending.len(), now_us);
        }
        self.deal();
        // What came in time is heard before anything is found to be too late.
        if std::mem::take(&mut self.is_time) {
            self.timer();
        }
        self.walk();
        self.sweep_taps();
        for _ in 0..self.attention.len() {
            if let Some(index) = self.attention.pop_front() {
                self.attend(index);
            }
        }
        self.make_room();
        self.feed();
        // Behind whoever else is armed anew.
        self.grant();
        Ok(())
    }

    /// Sends everything that there is, at once.
    fn flush(&mut self) {
        if !self.batch.entries().is_empty() {
            self.exchange(Wait::No);
        }
    }

    fn exchange(&mut self, wait: Wait) {
        self.seal();
        let Self {
            wire,
            buffers,
            flows,
            batch,
            completions,
            ..
        } = self;
        buffers.offer();
        let sending = Sending {
            flows,
            batch,
            buffers,
        };
        if let Err(error) = wire.exchange(&sending, wait, completions) {
            self.failure.get_or_insert(error);
        }
        self.work.exchanges += 1;
        self.work.events += self.completions.events.len() as u64;
        self.work.sends += self.batch.entries().len() as u64;
        self.work.short_sends += self.completions.failed.len() as u64;
        self.pending.extend(self.completions.events.drain(..));
        self.settle();
    }

    /// Has a session looked at before the relay sleeps.
    fn attend_to(&mut self, index: u32) {
        if let Some(flow) = self.flows.get_mut(index as usize)
            && !flow.is_queued
        {
            flow.is_queued = true;
            flow.is_special = true;
            self.attention.push_back(index);
        }
    }

    /// A session begins.
    fn join(&mut self, seam: Seam) -> u32 {
        let Seam {
            device,
            upstream: Upstream { socket, tls },
            session,
            read_ahead,
            connect,
            connack_deadline_ms,
            stall_timeout_ms,
            renewing,
            limits,
            contender,
            record,
        } = seam;
        let imsi = session.opening().identity.imsi;
        let allowance = self.allowance(imsi, limits);
        self.generation = self.generation.wrapping_add(1);
        let index = self.flows.insert(Flow {
            session,
            device: Leg::new(device, None),
            upstream: Leg::new(socket, tls.map(Sealing::new)),
            from_device: Way {
                kept: read_ahead,
                ..Way::default()
            },
            from_upstream: Way::default(),
            stage: Stage::Joined,
            is_queued: false,
            is_special: true,
            is_greeted: false,
            is_tapped: false,
            generation: self.generation,
            stall_timeout_ms,
            limit_ms: connack_deadline_ms,
            visit_ms: u64::MAX,
            stuck_ms: None,
            renewing,
            allowance,
            limited_ms: 0,
            waiting: 0,
            record,
            verdict: None,
        });
        let index = u32::try_from(index).unwrap_or(NONE);
        self.places = self.places.max(index.saturating_add(1));
        self.begun(index);
        self.tap_new(index);
        let may_open = contender.is_none_or(|contender| self.may_open(imsi, contender, index));
        if may_open {
            self.open_upstream(index, connect);
        } else {
            self.end(index, Cause::TakenOver);
        }
        self.attend_to(index);
        index
    }

    /// What a SIM may still send, where that is limited.
    fn allowance(&mut self, imsi: Imsi, limits: Limits) -> Option<Rc<RefCell<Allowance>>> {
        if limits.is_none() {
            return None;
        }
        let now_ms = self.now_ms;
        let allowance = self
            .allowances
            .entry(imsi)
            .or_insert_with(|| Rc::new(RefCell::new(Allowance::new(limits, now_ms))));
        allowance.borrow_mut().set_limits(limits, now_ms);
        Some(Rc::clone(allowance))
    }

    /// An upstream's connection is there: its CONNECT goes first.
    fn open_upstream(&mut self, index: u32, connect: Zeroizing<Vec<u8>>) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = &mut flow.upstream;
        let length = connect.len();
        if let Some(tls) = leg.tls.as_deref_mut() {
            flow.from_upstream.kept = Zeroizing::new(tls.take_clear());
        }
        let number = enter(&mut self.batch, leg, index, Side::Upstream);
        if flow.is_tapped {
            self.taps.said(index, Side::Upstream, &connect, true);
        }
        let source = self.batch.retain(connect);
        self.batch.pass(number, source, 0..length);
    }

    /// Has the ring end everything that it does for a leg.
    fn stop(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        match leg.receiving {
            Receiving::Armed | Receiving::Once => {
                leg.receiving = Receiving::Cancelling;
                self.wire.cancel_receive(token(index, side));
            }
            Receiving::Polled | Receiving::Queued => leg.receiving = Receiving::Off,
            // What does not wait is over by itself.
            Receiving::Off | Receiving::Taking | Receiving::Cancelling => {}
        }
        if leg.is_sending() {
            self.wire.cancel_send(token(index, side));
        }
        for (is_set, is_writable) in [(leg.polls.readable, false), (leg.polls.writable, true)] {
            if is_set {
                self.wire.cancel_poll(token(index, side), is_writable);
            }
        }
    }

    /// Follows up what ended a session, if something did.
    fn follow(&mut self, index: u32, outcome: Result<(), Cause>) {
        if let Err(cause) = outcome {
            self.end(index, cause);
        }
    }
}

/// A leg's entry in the batch.
fn enter(batch: &mut Batch, leg: &mut Leg, index: u32, side: Side) -> u32 {
    if leg.entry == NONE {
        leg.entry = batch.begin(index, side);
    }
    leg.entry
}
