//! Renewing: another upstream for a session whose device stays (B-TOK-1): before a token expires, and when
//! the upstream closed or broke. It decides when; the session knows what has to be said again, and
//! whoever opened the first connection opens the others.
//!
//! ```text
//! Settled --token runs out--> Quieting --all answered--+
//!    |                                                 v
//!    +----------upstream lost------------------> Dialing <--+ failed: again, after a while
//!    ^          newer session there: Barred <----------+    |
//!    +------------------CONNACK------------------ Opening --+
//! ```

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use ringbeam_proto::error::Cause;
use ringbeam_proto::session::{LEAVE, NotRenewable, Side};
use tracing::info;
use zeroize::Zeroizing;

use super::flow::{Flow, Stage, Way};
use super::leg::{Leg, Reading};
use super::sealing::Sealing;
use super::wire::Wire;
use super::{FlowId, Relay, Upstream};
use crate::limits::{
    RENEWAL_DELAY_MS, RENEWAL_MS_MAX, RENEWAL_PROVED_MS, RENEWAL_QUIET_MS, RENEWAL_RETRY_MS,
};
use crate::shard::counters::Counters;

/// Opens other connections to the upstream.
pub(in crate::shard) trait Redial: Send {
    /// Has one opened; whoever does tells the relay what it came to. False when that cannot be asked for
    /// now.
    fn dial(&self, id: FlowId, attempt: Attempt) -> bool;

    /// Nobody needs the one that is being opened.
    fn give_up(&self, id: FlowId);

    /// Whether what it would log in with is there: nothing good is left for something that cannot be.
    fn can_log_in(&self) -> bool;
}

/// What an attempt begins with.
#[derive(Debug)]
pub(in crate::shard) struct Attempt {
    /// How long it waits before anything.
    pub(in crate::shard) delay: Duration,
    /// The connection that was left in good order: the upstream has to have closed it first, or it would
    /// take the new one for an intruder.
    pub(in crate::shard) left: Option<OwnedFd>,
    /// By when it must have come to something, in milliseconds, its CONNACK with it.
    pub(in crate::shard) deadline_ms: u64,
    /// v5: clean start is 0.
    pub(in crate::shard) continues: bool,
    /// v5: the client id that the first upstream assigned.
    pub(in crate::shard) client_id: Option<String>,
}

/// Another connection, and what is said first on it.
#[derive(Debug)]
pub(in crate::shard) struct Renewed {
    /// Open.
    pub(in crate::shard) upstream: Upstream,
    /// The CONNECT.
    pub(in crate::shard) connect: Zeroizing<Vec<u8>>,
    /// When to renew it again, in milliseconds.
    pub(in crate::shard) renew_at_ms: Option<u64>,
    /// By when its CONNACK must be here, in milliseconds.
    pub(in crate::shard) connack_deadline_ms: u64,
}

/// Why there is none.
#[derive(Debug)]
pub(in crate::shard) struct Unrenewed {
    /// For the log.
    pub(in crate::shard) detail: String,
    /// Whether another attempt makes sense.
    pub(in crate::shard) is_final: bool,
}

/// How far it is. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The upstream is there.
    Settled,
    /// Nothing new is begun until everything is answered, or until this time.
    Quieting(u64),
    /// The old connection is being given up; then another is opened after so long.
    Parting(u64),
    /// Whoever opens connections has too much to do; it is asked again at this time.
    Postponed(u64),
    /// A newer session of the same client is being opened; that is awaited until this time (B-TOK-2).
    Barred(u64),
    /// Another connection is being opened.
    Dialing,
    /// It is open, and its CONNACK must be here by this time.
    Opening(u64),
}

/// What a renewal under way has come to.
#[derive(Debug, Default)]
struct Progress {
    began_ms: u64,
    attempts: u32,
    is_planned: bool,
    /// When the new upstream's token is to be renewed.
    renew_at_ms: Option<u64>,
    /// Why the last attempt failed, or why there was need of one.
    detail: Option<String>,
}

/// One session's renewals.
pub(in crate::shard) struct Renewing {
    redial: Box<dyn Redial>,
    state: State,
    renew_at_ms: Option<u64>,
    progress: Progress,
    /// When the last one was done, in milliseconds.
    renewed_ms: Option<u64>,
    /// What is being opened is not wanted any more; whoever opens it tells when that has ended.
    is_recalled: bool,
    /// Makes the waits of many sessions differ.
    seed: u64,
}

impl Renewing {
    /// A session whose upstream is to be renewed at a time, if at any.
    pub(in crate::shard) fn new(
        redial: Box<dyn Redial>,
        renew_at_ms: Option<u64>,
        seed: u64,
    ) -> Self {
        Self {
            redial,
            state: State::Settled,
            renew_at_ms,
            progress: Progress::default(),
            renewed_ms: None,
            is_recalled: false,
            seed,
        }
    }

    /// When it wants to be asked again, in milliseconds.
    pub(super) const fn deadline_ms(&self) -> Option<u64> {
        match self.state {
            State::Settled => self.renew_at_ms,
            State::Quieting(deadline_ms)
            | State::Opening(deadline_ms)
            | State::Postponed(deadline_ms)
            | State::Barred(deadline_ms) => Some(deadline_ms),
            State::Parting(_) | State::Dialing => None,
        }
    }

    /// The session has ended.
    pub(super) fn end(&mut self, id: FlowId) -> Option<String> {
        if self.state == State::Dialing {
            self.redial.give_up(id);
        }
        self.progress.detail.take()
    }

    /// Whether it has lasted long enough to be a trouble of its own.
    fn is_same_trouble(&self, now_ms: u64) -> bool {
        self.renewed_ms
            .is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < RENEWAL_PROVED_MS)
    }

    /// How long the next attempt waits, unless there was time enough.
    fn next_delay_ms(&mut self, now_ms: u64) -> Option<u64> {
        let (first_ms, last_ms) = RENEWAL_DELAY_MS;
        let doublings = self.progress.attempts.min(16);
        let delay_ms = first_ms.saturating_mul(1 << doublings).min(last_ms);
        let delay_ms = (delay_ms / 2).saturating_add(self.jitter_ms(delay_ms / 2));
        let spent_ms = now_ms.saturating_sub(self.progress.began_ms);
        (spent_ms.saturating_add(delay_ms) <= RENEWAL_MS_MAX).then_some(delay_ms)
    }

    /// From 0 to `most_ms`, another one each time: a sequence of Weyl's.
    fn jitter_ms(&mut self, most_ms: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (self.seed >> 32) % most_ms.saturating_add(1)
    }
}

impl<W: Wire> Relay<W> {
    /// The session has come to an end, which may be the upstream's alone: then another one follows.
    ///
    /// # Errors
    /// With the cause that ends the session.
    pub(super) fn survive(&mut self, index: u32, cause: Cause) -> Result<(), Cause> {
        let now_ms = self.now_ms;
        let is_accepted = |flow: &Flow| {
            let state = flow.renewing.as_deref().map(|renewing| renewing.state);
            matches!(state, Some(State::Opening(_))) && !flow.session.is_without_upstream()
        };
        if self.flows.get(index as usize).is_some_and(is_accepted) {
            // Its CONNACK has come in the same round: messages may be under way since.
            self.renewal_moved(index)?;
        }
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return Err(cause);
        };
        match renewing.state {
            State::Opening(_) if is_loss(cause) || cause == Cause::UpstreamRefused => {
                let detail = refusal(flow, cause, &self.counters);
                self.renewal_failed(index, detail)
            }
            State::Opening(_) if cause == Cause::RenewalFailed => {
                let detail = refusal(flow, cause, &self.counters);
                if let Some(renewing) = flow.renewing.as_deref_mut() {
                    renewing.progress.detail = Some(detail);
                }
                Err(cause)
            }
            State::Settled | State::Quieting(_)
                if is_loss(cause) && flow.session.can_renew().is_ok() =>
            {
                let said = flow.record.parting.take();
                if let Some(parting) = said.as_deref() {
                    self.counters.parted(parting);
                }
                let said = said.as_ref().map(ToString::to_string);
                let failure = || flow.upstream.take_failure();
                let detail = said.or_else(failure);
                let detail = detail.or_else(|| flow.record.faults.words(Side::Upstream));
                // B-TOK-2
                flow.session.upstream_lost();
                if renewing.is_same_trouble(now_ms) {
                    let detail = detail.unwrap_or_else(|| cause.name().to_owned());
                    return self.renewal_failed(index, detail);
                }
                renewing.progress = Progress {
                    began_ms: now_ms,
                    ..Progress::default()
                };
                let delay_ms = renewing.jitter_ms(RENEWAL_DELAY_MS.0);
                let (imsi, peer) = (flow.session.opening().identity.imsi, flow.record.peer);
                info!(%imsi, %peer, reason = cause.name(), detail, "upstream lost");
                self.part(index, delay_ms)
            }
            State::Settled
            | State::Quieting(_)
            | State::Parting(_)
            | State::Postponed(_)
            | State::Barred(_)
            | State::Dialing
            | State::Opening(_) => Err(cause),
        }
    }

    /// Something may have moved that a renewal awaits.
    pub(super) fn renewal_moved(&mut self, index: u32) -> Result<(), Cause> {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let is_quiet = flow.is_quiet();
        let has_upstream = !flow.session.is_without_upstream();
        let (imsi, peer) = (flow.session.opening().identity.imsi, flow.record.peer);
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return Ok(());
        };
        match renewing.state {
            State::Quieting(_) if is_quiet && flow.session.can_renew().is_ok() => {
                self.leave_in_order(index)
            }
            State::Quieting(_) if is_quiet => {
                self.abandon_renewal(index);
                Ok(())
            }
            State::Opening(_) if has_upstream => {
                renewing.state = State::Settled;
                renewing.renew_at_ms = renewing.progress.renew_at_ms;
                renewing.renewed_ms = Some(now_ms);
                renewing.progress.detail = None;
                let Progress {
                    attempts,
                    is_planned,
                    began_ms,
                    ..
                } = renewing.progress;
                let took_ms = now_ms.saturating_sub(began_ms);
                info!(%imsi, %peer, planned = is_planned, attempts, took_ms, "upstream renewed");
                self.counters.update(|totals| totals.renewed += 1);
                Ok(())
            }
            State::Settled
            | State::Quieting(_)
            | State::Parting(_)
            | State::Postponed(_)
            | State::Barred(_)
            | State::Dialing
            | State::Opening(_) => Ok(()),
        }
    }

    /// A time has come, or may have.
    pub(super) fn renewal_due(&mut self, index: u32) -> Result<(), Cause> {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let imsi = flow.session.opening().identity.imsi;
        let (may_begin, has_undelivered) = (may_begin(flow), flow.has_undelivered());
        let may_begin = may_begin && !self.is_barred(imsi, index);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return Ok(());
        };
        if renewing
            .deadline_ms()
            .is_none_or(|deadline_ms| now_ms < deadline_ms)
        {
            return Ok(());
        }
        match renewing.state {
            State::Settled if !may_begin || !renewing.redial.can_log_in() => {
                renewing.renew_at_ms = Some(now_ms.saturating_add(RENEWAL_RETRY_MS));
                Ok(())
            }
            State::Settled => {
                renewing.renew_at_ms = None;
                renewing.state = State::Quieting(now_ms.saturating_add(RENEWAL_QUIET_MS));
                flow.stage = Stage::Leaving;
                flow.session.begin_renewal();
                Ok(())
            }
            // What is unanswered is said again, unless that would be half a message.
            State::Quieting(_) if flow.session.can_renew().is_ok() && !has_undelivered => {
                self.leave_in_order(index)
            }
            State::Quieting(_) => {
                self.abandon_renewal(index);
                Ok(())
            }
            // It has come with the deadline.
            State::Opening(_) if !flow.session.is_without_upstream() => Ok(()),
            State::Opening(_) => {
                let detail = "it did not answer the CONNECT in time".to_owned();
                self.renewal_failed(index, detail)
            }
            State::Postponed(_) => {
                renewing.state = State::Parting(0);
                self.parted(index)
            }
            State::Barred(_) => Err(Cause::RenewalFailed),
            State::Parting(_) | State::Dialing => Ok(()),
        }
    }

    /// A connection that was being opened has come to something.
    pub(super) fn dialed(&mut self, id: FlowId, result: Result<Renewed, Unrenewed>) {
        let flow = self.flows.get_mut(id.index as usize);
        let flow = flow.filter(|flow| flow.generation == id.generation && !flow.has_ended());
        let Some(flow) = flow else {
            return;
        };
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return;
        };
        let followed = match result {
            // B-TOK-2: whatever it has come to is closed.
            _ if renewing.is_recalled => {
                renewing.is_recalled = false;
                renewing.state = State::Parting(renewing.jitter_ms(RENEWAL_DELAY_MS.0));
                self.parted(id.index)
            }
            Ok(renewed) => {
                renewing.progress.renew_at_ms = renewed.renew_at_ms;
                renewing.state = State::Opening(renewed.connack_deadline_ms);
                let Upstream { socket, tls } = renewed.upstream;
                flow.upstream = Leg::new(socket, tls.map(Sealing::new));
                self.open_upstream(id.index, renewed.connect);
                Ok(())
            }
            Err(Unrenewed { detail, is_final }) if is_final => {
                renewing.progress.detail = Some(detail);
                Err(Cause::RenewalFailed)
            }
            Err(Unrenewed { detail, .. }) => self.renewal_failed(id.index, detail),
        };
        self.follow(id.index, followed);
        self.attend_to(id.index);
    }

    /// The ring is done with an upstream that was left: another one is opened.
    pub(super) fn parted(&mut self, index: u32) -> Result<(), Cause> {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        if flow.upstream.is_busy() {
            return Ok(());
        }
        let imsi = flow.session.opening().identity.imsi;
        let is_barred = self.is_barred(imsi, index);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let socket = flow.upstream.take_socket();
        flow.upstream = Leg::absent();
        let state = flow.renewing.as_deref().map(|renewing| renewing.state);
        let (Some(State::Parting(delay_ms)), Some(renewing)) =
            (state, flow.renewing.as_deref_mut())
        else {
            if let Some(socket) = socket {
                self.wire.close(socket);
            }
            return Ok(());
        };
        if is_barred {
            let deadline_ms = renewing.progress.began_ms.saturating_add(RENEWAL_MS_MAX);
            renewing.state = State::Barred(deadline_ms);
            let detail = || "a newer session of its client was being opened".to_owned();
            renewing.progress.detail.get_or_insert_with(detail);
            if let Some(socket) = socket {
                self.wire.close(socket);
            }
            self.attend_to(index);
            return Ok(());
        }
        let is_in_order = renewing.progress.is_planned && renewing.progress.attempts == 0;
        let left = if is_in_order {
            socket
        } else {
            if let Some(socket) = socket {
                self.wire.close(socket);
            }
            None
        };
        renewing.progress.attempts = renewing.progress.attempts.saturating_add(1);
        let connect = flow.session.renewal_connect();
        let attempt = Attempt {
            delay: Duration::from_millis(delay_ms),
            left,
            deadline_ms: renewing.progress.began_ms.saturating_add(RENEWAL_MS_MAX),
            continues: connect.continues,
            client_id: connect.client_id.map(str::to_owned),
        };
        renewing.state = State::Dialing;
        let id = FlowId {
            index,
            generation: flow.generation,
        };
        if !renewing.redial.dial(id, attempt) {
            renewing.state = State::Postponed(self.now_ms.saturating_add(RENEWAL_DELAY_MS.0));
            self.attend_to(index);
        }
        Ok(())
    }

    /// B-TOK-2: a newer session of the same client is being opened: whatever another upstream has come to is
    /// given up before that one's CONNECT is sent.
    pub(super) fn let_go(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let has_upstream = !flow.session.is_without_upstream();
        let id = FlowId {
            index,
            generation: flow.generation,
        };
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return;
        };
        match renewing.state {
            State::Quieting(_) => self.abandon_renewal(index),
            State::Dialing => {
                if !std::mem::replace(&mut renewing.is_recalled, true) {
                    renewing.redial.give_up(id);
                }
            }
            // Its CONNECT may have been heard: in good order, so that no will is published for it.
            State::Opening(_) if !has_upstream => {
                self.say_leave(index);
                let parted = self.part(index, 0);
                self.follow(index, parted);
            }
            State::Settled
            | State::Parting(_)
            | State::Postponed(_)
            | State::Barred(_)
            | State::Opening(_) => {}
        }
    }

    /// B-TOK-2: the newer session was refused: another upstream is opened, if there is need of one.
    pub(super) fn take_up_again(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if let Some(renewing) = flow.renewing.as_deref_mut()
            && let State::Barred(_) = renewing.state
        {
            renewing.state = State::Parting(renewing.jitter_ms(RENEWAL_DELAY_MS.0));
            let parted = self.parted(index);
            self.follow(index, parted);
            self.attend_to(index);
        }
    }

    /// Goes on with the upstream that there is, and tries again later.
    fn abandon_renewal(&mut self, index: u32) {
        let retry_ms = self.now_ms.saturating_add(RENEWAL_RETRY_MS);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        flow.stage = Stage::Joined;
        flow.session.abandon_renewal();
        flow.from_device.is_held = false;
        if let Some(renewing) = flow.renewing.as_deref_mut() {
            renewing.renew_at_ms = Some(retry_ms);
            renewing.state = State::Settled;
        }
        self.attend_to(index);
    }

    /// Tells the upstream that it is left in good order, so that it publishes no will.
    fn say_leave(&mut self, index: u32) {
        self.say(index, Side::Upstream, &LEAVE);
        self.flush();
        self.close_tls(index);
        // Where the kernel has no room for it, closing says it less well.
        self.flush();
    }

    /// Leaves the upstream in good order.
    fn leave_in_order(&mut self, index: u32) -> Result<(), Cause> {
        self.say_leave(index);
        let now_ms = self.now_ms;
        if let Some(flow) = self.flows.get_mut(index as usize)
            && let Some(renewing) = flow.renewing.as_deref_mut()
        {
            renewing.progress = Progress {
                began_ms: now_ms,
                is_planned: true,
                ..Progress::default()
            };
        }
        self.part(index, 0)
    }

    /// An attempt failed: another one follows, unless there was time enough.
    fn renewal_failed(&mut self, index: u32, detail: String) -> Result<(), Cause> {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let Some(renewing) = flow.renewing.as_deref_mut() else {
            return Ok(());
        };
        self.counters.update(|totals| totals.renewals_failed += 1);
        renewing.progress.detail = Some(detail);
        // A renewal that was planned has one connection to leave in good order, and has left it.
        renewing.progress.attempts = renewing.progress.attempts.max(1);
        match renewing.next_delay_ms(now_ms) {
            Some(delay_ms) => self.part(index, delay_ms),
            None => Err(Cause::RenewalFailed),
        }
    }

    /// Gives up the upstream; another follows after `delay_ms`. What was on its way to it and has to arrive is
    /// with the session; what came from it and has passed the session goes on to the device.
    fn part(&mut self, index: u32, delay_ms: u64) -> Result<(), Cause> {
        let mut said = Vec::new();
        for side in [Side::Device, Side::Upstream] {
            self.end_splice(index, side);
        }
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Ok(());
        };
        let dropped = std::mem::replace(
            &mut flow.from_upstream,
            Way {
                wants_more: true,
                ..Way::default()
            },
        );
        flow.from_device.is_held = false;
        flow.from_device.ending = None;
        flow.stage = Stage::Joined;
        flow.session.upstream_left(&mut said);
        if let Some(renewing) = flow.renewing.as_deref_mut() {
            renewing.state = State::Parting(delay_ms);
        }
        flow.record.faults.forget(Side::Upstream);
        flow.upstream.is_left = true;
        flow.upstream.tls = None;
        flow.upstream.reading = Reading::Closed;
        self.forget_kept(dropped.kept.len());
        self.say(index, Side::Device, &said);
        self.stop(index, Side::Upstream);
        self.attend_to(index);
        self.parted(index)
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Renewing")
            .field("state", &self.state)
            .field("renew_at_ms", &self.renew_at_ms)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// Whether a planned renewal can come to something: what stands in its way may pass by itself.
fn may_begin(flow: &Flow) -> bool {
    match flow.session.can_renew() {
        Ok(()) | Err(NotRenewable::AmidMessage | NotRenewable::TooLarge) => true,
        Err(
            NotRenewable::Off
            | NotRenewable::BeforeConnack
            | NotRenewable::Subscriptions
            | NotRenewable::InFlight
            | NotRenewable::UnknownSession
            | NotRenewable::Dismissed
            | NotRenewable::SameRequest,
        ) => false,
    }
}

/// Whether a session ends for this because its upstream is gone.
const fn is_loss(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::UpstreamClosed
            | Cause::UpstreamReset
            | Cause::UpstreamTls
            | Cause::UpstreamStalled
            | Cause::UpstreamDisconnect
    )
}

/// Why a new upstream did not take the session.
fn refusal(flow: &mut Flow, cause: Cause, counters: &Counters) -> String {
    if let Some(parting) = flow.record.parting.take() {
        counters.parted(&parting);
        return parting.to_string();
    }
    match flow.take_failure(Side::Upstream) {
        Some(failure) => format!("{}: {failure}", cause.name()),
        None => cause.name().to_owned(),
    }
}
