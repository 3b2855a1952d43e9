//! Renewing: another upstream for a session whose device stays (B-TOK-1): before a token expires, and when
//! the upstream closed or broke. It decides when; the session knows what has to be said again, and
//! whoever opened the first connection opens the others.
//!
//! ```text
//! Settled --token runs out--> Quieting --all answered--+
//!    |                                                 v
//!    +----------upstream lost------------------> Dialing <--+ failed: again, after a while
//!    ^                                                 |    |
//!    +------------------CONNACK------------------ Opening --+
//! ```

use std::fmt;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringbeam_proto::error::Cause;
use ringbeam_proto::session::{LEAVE, NotRenewable, Side};
use zeroize::Zeroizing;

use super::Upstream;
use super::leg::Leg;
use super::pump::Pump;
use crate::limits::{
    RENEWAL_DELAY_MS, RENEWAL_MS_MAX, RENEWAL_PROVED_MS, RENEWAL_QUIET_MS, RENEWAL_RETRY_MS,
};
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;

/// Opens other connections to the upstream.
pub(in crate::shard) trait Redial {
    /// Begins to open one.
    fn dial(&self, attempt: Attempt) -> Dialing;

    /// Whether what it would log in with is there: nothing good is left for something that cannot be.
    fn can_log_in(&self) -> bool;
}

/// One that is being opened.
pub(in crate::shard) type Dialing = Pin<Box<dyn Future<Output = Result<Renewed, Unrenewed>>>>;

/// What an attempt begins with.
#[derive(Debug)]
pub(in crate::shard) struct Attempt {
    /// How long it waits before anything.
    pub(in crate::shard) delay: Duration,
    /// The connection that was left in good order: the upstream has to have closed it first, or it would
    /// take the new one for an intruder.
    pub(in crate::shard) left: Option<Rc<Socket>>,
    /// By when it must have come to something, in milliseconds, its CONNACK with it.
    pub(in crate::shard) deadline_ms: u64,
    /// v5: clean start is 0.
    pub(in crate::shard) continues: bool,
    /// v5: the client id that the first upstream assigned.
    pub(in crate::shard) client_id: Option<String>,
}

/// Another connection, and what is said first on it.
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
enum State {
    /// The upstream is there.
    Settled,
    /// Nothing new is begun until everything is answered, or until this time.
    Quieting(u64),
    /// Another connection is being opened.
    Dialing(Dialing),
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

/// What has happened that the log should know of.
#[derive(Debug)]
pub(super) enum Event {
    /// The upstream is gone without our doing.
    Lost(Cause, Option<String>),
    /// There is another one.
    Renewed {
        is_planned: bool,
        attempts: u32,
        took_ms: u64,
    },
}

/// One session's renewals.
pub(in crate::shard) struct Renewing {
    redial: Box<dyn Redial>,
    state: State,
    renew_at_ms: Option<u64>,
    progress: Progress,
    /// When the last one was done, in milliseconds.
    renewed_ms: Option<u64>,
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
            seed,
        }
    }

    /// When there is something to do, in milliseconds.
    pub(super) fn deadline_ms(&self) -> Option<u64> {
        match &self.state {
            State::Settled => self.renew_at_ms,
            State::Quieting(until_ms) | State::Opening(until_ms) => Some(*until_ms),
            State::Dialing(_) => None,
        }
    }

    /// Whether a connection that is being opened has come to something.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Result<Renewed, Unrenewed>> {
        match &mut self.state {
            State::Dialing(dialing) => dialing.as_mut().poll(context),
            State::Settled | State::Quieting(_) | State::Opening(_) => Poll::Pending,
        }
    }

    /// What the end that the pump has come to means: the session's end, or that of its upstream.
    pub(super) fn ended(
        &mut self,
        pump: &mut Pump,
        cause: Cause,
        now_ms: u64,
    ) -> Result<Option<Event>, Cause> {
        match self.state {
            State::Opening(_) if is_loss(cause) || cause == Cause::UpstreamRefused => {
                let detail = refusal(pump, cause);
                self.failed(pump, detail, now_ms)?;
                Ok(None)
            }
            State::Opening(_) if cause == Cause::RenewalFailed => {
                self.progress.detail = Some(refusal(pump, cause));
                Err(cause)
            }
            State::Settled | State::Quieting(_)
                if is_loss(cause) && pump.session().can_renew().is_ok() =>
            {
                let detail = pump.leg_mut(Side::Upstream).take_failure();
                let is_same_trouble = self
                    .renewed_ms
                    .is_some_and(|at_ms| now_ms.saturating_sub(at_ms) < RENEWAL_PROVED_MS);
                if is_same_trouble {
                    let detail = detail.unwrap_or_else(|| cause.name().to_owned());
                    self.failed(pump, detail, now_ms)?;
                    return Ok(None);
                }
                self.progress = Progress {
                    began_ms: now_ms,
                    ..Progress::default()
                };
                drop(pump.leave_upstream());
                let delay_ms = self.jitter_ms(RENEWAL_DELAY_MS.0);
                self.dial(pump, None, delay_ms);
                Ok(Some(Event::Lost(cause, detail)))
            }
            State::Settled | State::Quieting(_) | State::Dialing(_) | State::Opening(_) => {
                Err(cause)
            }
        }
    }

    /// The pump has moved what it could: goes on where that was awaited.
    pub(super) fn moved(&mut self, pump: &mut Pump, now_ms: u64) -> Option<Event> {
        match self.state {
            State::Quieting(_) if pump.is_quiet() => {
                if pump.session().can_renew().is_ok() {
                    self.leave(pump, now_ms);
                } else {
                    self.abandon(pump, now_ms);
                }
                None
            }
            State::Opening(_) if !pump.session().is_without_upstream() => {
                self.state = State::Settled;
                self.renew_at_ms = self.progress.renew_at_ms;
                self.renewed_ms = Some(now_ms);
                self.progress.detail = None;
                Some(Event::Renewed {
                    is_planned: self.progress.is_planned,
                    attempts: self.progress.attempts,
                    took_ms: now_ms.saturating_sub(self.progress.began_ms),
                })
            }
            State::Settled | State::Quieting(_) | State::Dialing(_) | State::Opening(_) => None,
        }
    }

    /// A time has come, or may have.
    pub(super) fn due(&mut self, pump: &mut Pump, now_ms: u64) -> Result<(), Cause> {
        if self
            .deadline_ms()
            .is_none_or(|deadline_ms| now_ms < deadline_ms)
        {
            return Ok(());
        }
        match self.state {
            State::Settled if !may_begin(pump) || !self.redial.can_log_in() => {
                self.renew_at_ms = Some(now_ms.saturating_add(RENEWAL_RETRY_MS));
            }
            State::Settled => {
                self.renew_at_ms = None;
                pump.begin_renewal();
                self.state = State::Quieting(now_ms.saturating_add(RENEWAL_QUIET_MS));
            }
            // What is unanswered is said again, unless that would be half a message.
            State::Quieting(_) if pump.session().can_renew().is_ok() && !pump.has_undelivered() => {
                self.leave(pump, now_ms);
            }
            State::Quieting(_) => self.abandon(pump, now_ms),
            // It has come with the deadline.
            State::Opening(_) if !pump.session().is_without_upstream() => {}
            State::Opening(_) => {
                let detail = "it did not answer the CONNECT in time".to_owned();
                self.failed(pump, detail, now_ms)?;
            }
            State::Dialing(_) => {}
        }
        Ok(())
    }

    /// A connection that was being opened has come to something.
    pub(super) fn dialed(
        &mut self,
        pump: &mut Pump,
        result: Result<Renewed, Unrenewed>,
        attach: impl FnOnce(Upstream, Zeroizing<Vec<u8>>) -> Leg,
    ) -> Result<(), Cause> {
        match result {
            Ok(renewed) => {
                pump.attach_upstream(attach(renewed.upstream, renewed.connect));
                self.progress.renew_at_ms = renewed.renew_at_ms;
                self.state = State::Opening(renewed.connack_deadline_ms);
                Ok(())
            }
            Err(Unrenewed { detail, is_final }) if is_final => {
                self.progress.detail = Some(detail);
                Err(Cause::RenewalFailed)
            }
            Err(Unrenewed { detail, .. }) => self.failed(pump, detail, now_ms()),
        }
    }

    /// Why the last attempt failed, once.
    pub(super) const fn take_detail(&mut self) -> Option<String> {
        self.progress.detail.take()
    }

    /// Goes on with the upstream that there is, and tries again later.
    fn abandon(&mut self, pump: &mut Pump, now_ms: u64) {
        pump.abandon_renewal();
        self.renew_at_ms = Some(now_ms.saturating_add(RENEWAL_RETRY_MS));
        self.state = State::Settled;
    }

    /// Leaves the upstream in good order, so that it publishes no will.
    fn leave(&mut self, pump: &mut Pump, now_ms: u64) {
        let leg = pump.leg_mut(Side::Upstream);
        leg.own().extend_from_slice(&LEAVE);
        // Where the kernel has no room for it, closing says it less well.
        leg.send_own(now_ms);
        leg.close_tls();
        leg.send_records(now_ms);
        let left = pump.leave_upstream();
        self.progress = Progress {
            began_ms: now_ms,
            is_planned: true,
            ..Progress::default()
        };
        self.dial(pump, left, 0);
    }

    /// An attempt failed: another one follows, unless there was time enough.
    fn failed(&mut self, pump: &mut Pump, detail: String, now_ms: u64) -> Result<(), Cause> {
        drop(pump.leave_upstream());
        self.progress.detail = Some(detail);
        let (first_ms, last_ms) = RENEWAL_DELAY_MS;
        let doublings = self.progress.attempts.min(16);
        let delay_ms = first_ms.saturating_mul(1 << doublings).min(last_ms);
        let delay_ms = (delay_ms / 2).saturating_add(self.jitter_ms(delay_ms / 2));
        let spent_ms = now_ms.saturating_sub(self.progress.began_ms);
        if spent_ms.saturating_add(delay_ms) > RENEWAL_MS_MAX {
            return Err(Cause::RenewalFailed);
        }
        self.dial(pump, None, delay_ms);
        Ok(())
    }

    fn dial(&mut self, pump: &mut Pump, left: Option<Rc<Socket>>, delay_ms: u64) {
        self.progress.attempts = self.progress.attempts.saturating_add(1);
        let connect = pump.session().renewal_connect();
        let attempt = Attempt {
            delay: Duration::from_millis(delay_ms),
            left,
            deadline_ms: self.progress.began_ms.saturating_add(RENEWAL_MS_MAX),
            continues: connect.continues,
            client_id: connect.client_id.map(str::to_owned),
        };
        self.state = State::Dialing(self.redial.dial(attempt));
    }

    /// From 0 to `most_ms`, another one each time: a sequence of Weyl's.
    fn jitter_ms(&mut self, most_ms: u64) -> u64 {
        self.seed = self.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        (self.seed >> 32) % most_ms.saturating_add(1)
    }
}

impl fmt::Debug for Renewing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Renewing")
            .field("renew_at_ms", &self.renew_at_ms)
            .field("progress", &self.progress)
            .finish_non_exhaustive()
    }
}

/// Whether a planned renewal can come to something: what stands in its way may pass by itself.
fn may_begin(pump: &mut Pump) -> bool {
    match pump.session().can_renew() {
        Ok(()) | Err(NotRenewable::AmidMessage | NotRenewable::TooLarge) => true,
        Err(
            NotRenewable::Off
            | NotRenewable::BeforeConnack
            | NotRenewable::Subscriptions
            | NotRenewable::InFlight
            | NotRenewable::UnknownSession
            | NotRenewable::Dismissed,
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
fn refusal(pump: &mut Pump, cause: Cause) -> String {
    let code = pump.session().renewal_refusal();
    let failure = pump.leg_mut(Side::Upstream).take_failure();
    match (code, failure) {
        (Some(code), _) => format!("CONNACK 0x{code:02x}"),
        (None, Some(failure)) => format!("{}: {failure}", cause.name()),
        (None, None) => cause.name().to_owned(),
    }
}
