//! Flow: one session being relayed: both legs, what has come in each direction and could not go on, how far
//! it is. It decides and keeps; it moves nothing itself.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::Arc;

use ringbeam_proto::billing::Counts;
use ringbeam_proto::error::{Cause, Phase, Refusal};
use ringbeam_proto::limits::REPLY_BYTES;
use ringbeam_proto::packet::parting::Parting;
use ringbeam_proto::session::{Next, Session, Side};
use zeroize::Zeroizing;

use super::leg::{Leg, Reading, Receiving};
use super::renewing::Renewing;
use crate::fleet::DestinationKind;
use crate::limits::{ANSWERS_MS, BUFFER_BYTES, LINGER_BYTES, LINGER_MS, SPLICE_BYTES};
use crate::shard::admission::Place;
use crate::shard::allowance::Allowance;
use crate::shard::counters::SimSession;
use crate::shard::report::Done;
use crate::sys::pipe::Pipe;
use crate::sys::socket::words_of;

/// What there is to know of a session beside its bytes.
#[derive(Debug)]
pub(in crate::shard) struct Record {
    /// The network that the device came in by.
    pub(in crate::shard) network: Arc<str>,
    /// The device's address.
    pub(in crate::shard) peer: SocketAddr,
    /// The upstream's.
    pub(in crate::shard) upstream: SocketAddr,
    /// Whether the upstream is over TLS.
    pub(in crate::shard) is_tls: bool,
    /// What kind of destination that is.
    pub(in crate::shard) destination: DestinationKind,
    /// When it was opened, in milliseconds.
    pub(in crate::shard) opened_ms: u64,
    /// B-BILL-1: what somebody was told of its billed packets.
    pub(in crate::shard) told: Counts,
    /// Its place among the sessions, given back with it.
    #[expect(dead_code, reason = "being there is all it does")]
    pub(in crate::shard) place: Place,
    /// Its place among those of its SIM.
    pub(in crate::shard) sim: SimSession,
    /// What the kernel said first when the connections broke.
    pub(in crate::shard) faults: Faults,
    /// Why a peer refused or left, in its own words.
    pub(in crate::shard) parting: Option<Box<Parting>>,
}

/// The kernel's numbers for what broke a session's connections first.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::shard) struct Faults {
    device: Option<NonZero<u8>>,
    upstream: Option<NonZero<u8>>,
}

impl Faults {
    const fn of(&mut self, side: Side) -> &mut Option<NonZero<u8>> {
        match side {
            Side::Device => &mut self.device,
            Side::Upstream => &mut self.upstream,
        }
    }

    /// What came first is the reason.
    pub(super) fn note(&mut self, side: Side, error: i32) {
        let number = u8::try_from(error).ok().and_then(NonZero::new);
        let fault = self.of(side);
        *fault = fault.or(number);
    }

    /// There is another connection.
    pub(super) fn forget(&mut self, side: Side) {
        *self.of(side) = None;
    }

    /// The kernel's words.
    pub(super) fn words(mut self, side: Side) -> Option<String> {
        let number = self.of(side).map(NonZero::get)?;
        Some(words_of(&io::Error::from_raw_os_error(number.into())))
    }

    /// Whether the kernel gave the peer up because it had not acknowledged anything for too long.
    fn are_given_up(mut self, side: Side) -> bool {
        let timed_out = u8::try_from(libc::ETIMEDOUT).ok().and_then(NonZero::new);
        *self.of(side) == timed_out
    }
}

/// What came from one side and has not gone on.
#[derive(Debug, Default)]
pub(super) struct Way {
    /// In clear, in order. A packet's beginning most of the time.
    pub(super) kept: Zeroizing<Vec<u8>>,
    /// What is there has been looked at, and is not enough.
    pub(super) wants_more: bool,
    /// What is there has to wait until the other side is heard: for the CONNACK, or for what a renewal
    /// awaits.
    pub(super) is_held: bool,
    /// Ends the session once everything before it is sent.
    pub(super) ending: Option<Cause>,
    /// The rest of a large message passes through it.
    pub(super) pipe: Option<Box<Pipe>>,
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is relayed.
    Joined,
    /// The upstream is about to be left for another.
    Leaving,
    /// It has ended; the last words are on their way.
    Finishing,
    /// The device has closed or said DISCONNECT, and may still read what its upstream says.
    HalfClosed,
    /// Both sides are closed for sending; what still comes is read away.
    Closing,
    /// Nothing more is done but to wait for the ring.
    Reaping,
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) cause: Cause,
    pub(super) detail: Option<String>,
    /// B-ID-4: who waits until nothing of it is relayed any more; as many as ask while it closes.
    pub(super) awaited: Vec<Arc<Done>>,
}

/// A session.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Flow {
    pub(super) session: Session,
    pub(super) device: Leg,
    pub(super) upstream: Leg,
    pub(super) from_device: Way,
    pub(super) from_upstream: Way,
    pub(super) stage: Stage,
    /// Whether it waits to be attended to.
    pub(super) is_queued: bool,
    /// Whether an event alone does not tell what has to be done.
    pub(super) is_special: bool,
    /// It was told that its CONNACK has come.
    pub(super) is_greeted: bool,
    /// Somebody looks at what passes.
    pub(super) is_tapped: bool,
    /// Stands for this session where its place may have been given to another.
    pub(super) generation: u32,
    pub(super) stall_timeout_ms: u64,
    /// When the CONNACK must be here, in milliseconds; after the end, when everything is cut.
    pub(super) limit_ms: u64,
    /// When the wheel looks at it next, in milliseconds.
    pub(super) visit_ms: u64,
    /// Since when the device is not read though both legs take what they are sent, in milliseconds.
    pub(super) stuck_ms: Option<u64>,
    pub(super) renewing: Option<Box<Renewing>>,
    /// What its SIM may still send, where that is limited; shared by all sessions of the SIM.
    pub(super) allowance: Option<Rc<RefCell<Allowance>>>,
    /// Until when the device is not read because its SIM has sent enough, in milliseconds.
    pub(super) limited_ms: u64,
    /// Bytes of memory that waited in it when they were counted last.
    pub(super) waiting: usize,
    pub(super) record: Box<Record>,
    pub(super) verdict: Option<Box<Verdict>>,
}

impl Flow {
    pub(super) const fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Device => &self.device,
            Side::Upstream => &self.upstream,
        }
    }

    pub(super) const fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Device => &mut self.device,
            Side::Upstream => &mut self.upstream,
        }
    }

    pub(super) const fn way(&self, from: Side) -> &Way {
        match from {
            Side::Device => &self.from_device,
            Side::Upstream => &self.from_upstream,
        }
    }

    pub(super) const fn way_mut(&mut self, from: Side) -> &mut Way {
        match from {
            Side::Device => &mut self.from_device,
            Side::Upstream => &mut self.from_upstream,
        }
    }

    pub(super) fn is_established(&self) -> bool {
        self.session.phase() == Phase::Established
    }

    /// Whether it has ended.
    pub(super) const fn has_ended(&self) -> bool {
        self.verdict.is_some()
    }

    /// Whether what comes from a side is of no interest any more.
    pub(super) fn discards(&self, from: Side) -> bool {
        match self.stage {
            Stage::Joined | Stage::Leaving => false,
            Stage::HalfClosed => from == Side::Device,
            Stage::Finishing => from == Side::Device || !self.becomes_half_closed(),
            Stage::Closing | Stage::Reaping => true,
        }
    }

    /// Whether the session, which has ended, has its upstream's last words still to pass.
    pub(super) fn becomes_half_closed(&self) -> bool {
        let cause = self.verdict.as_ref().map(|verdict| verdict.cause);
        let is_of_device = matches!(cause, Some(Cause::DeviceClosed | Cause::DeviceDisconnect));
        is_of_device && !self.upstream.is_absent() && !self.session.is_without_upstream()
    }

    /// Whether the device has said DISCONNECT and neither it nor its upstream has closed, which does so when it has
    /// answered what came before.
    pub(super) fn awaits_answers(&self, now_ms: u64) -> bool {
        let cause = self.verdict.as_ref().map(|verdict| verdict.cause);
        self.stage == Stage::Finishing
            && cause == Some(Cause::DeviceDisconnect)
            && self.becomes_half_closed()
            && self.device.reading == Reading::Open
            && self.over(Side::Upstream).is_none()
            && now_ms < self.answers_until_ms()
    }

    /// Until when answers are awaited, in milliseconds.
    const fn answers_until_ms(&self) -> u64 {
        self.limit_ms.saturating_sub(LINGER_MS - ANSWERS_MS)
    }

    /// Whether the session may deal with more of what came from a side.
    pub(super) fn may_process(&self, from: Side) -> bool {
        let way = self.way(from);
        !way.is_held
            && way.pipe.is_none()
            && way.ending.is_none()
            && self.leg(from.other()).is_clear()
            && self.leg(from).own_bytes() < REPLY_BYTES
    }

    /// Whether something came from a side that the session has not looked at.
    pub(super) fn has_unseen(&self, from: Side) -> bool {
        let way = self.way(from);
        !way.kept.is_empty() && !way.wants_more
    }

    /// What is here cannot go on, or what is due here has to be taken first, so that nothing more is read.
    pub(super) fn is_stuck(&self, from: Side) -> bool {
        let waits = self.has_unseen(from) && !self.way(from).is_held;
        let is_full = self.leg(from).own_bytes() >= REPLY_BYTES;
        waits || is_full || self.has_unsent(from) || !self.leg(from.other()).is_clear()
    }

    /// Whether the rest of a large message should be spliced.
    pub(super) fn wants_to_splice(&self, from: Side) -> bool {
        self.session.payload_left(from) >= SPLICE_BYTES
            && self.session.may_splice(from)
            && self.leg(from).tls.is_none()
            && self.leg(from.other()).tls.is_none()
            && !self.has_ended()
            // What is spliced cannot be looked at.
            && !self.is_tapped
            // A limit lets little through at a time.
            && self.allowance.is_none()
    }

    /// Whether something has passed the session and is not all with the kernel.
    pub(super) fn has_unsent(&self, from: Side) -> bool {
        let pipe = self.way(from).pipe.as_ref();
        pipe.is_some_and(|pipe| pipe.bytes() > 0) || self.leg(from.other()).has_relayed()
    }

    /// Notes what follows after the session dealt with what came from a side, of which so many bytes are left.
    #[inline]
    pub(super) fn note_next(&mut self, from: Side, next: Next, left: usize) {
        let way = self.way_mut(from);
        way.wants_more = false;
        match next {
            Next::Send => {}
            Next::Read(need) => {
                way.wants_more = true;
                if need > BUFFER_BYTES && left > 0 {
                    way.kept.reserve(left);
                }
            }
            Next::Hold => way.is_held = true,
            Next::End(cause) => way.ending = Some(cause),
        }
        let is_special = way.is_held || way.ending.is_some() || !way.wants_more;
        self.is_special |= is_special;
    }

    /// Why a side's connection broke, if it did: what TLS said, or the kernel.
    pub(super) fn take_failure(&mut self, side: Side) -> Option<String> {
        let said = self.leg_mut(side).take_failure();
        said.or_else(|| self.record.faults.words(side))
    }

    /// Notes what its SIM has sent.
    pub(super) fn spend(&mut self, messages: u64, bytes: usize, now_ms: u64) {
        let Some(allowance) = &self.allowance else {
            return;
        };
        let messages = u32::try_from(messages).unwrap_or(u32::MAX);
        allowance.borrow_mut().spend(messages, bytes, now_ms);
        self.is_special = true;
    }

    /// Looks whether its SIM has sent enough for now. B-KEEP-5: for half a keep alive at most, so that a PINGREQ
    /// comes through.
    pub(super) fn note_limited(&mut self, now_ms: u64) {
        let Some(allowance) = &self.allowance else {
            return;
        };
        // What is read beyond the limit is one buffer.
        self.device.is_bulk = true;
        if self.is_limited(Side::Device, now_ms) {
            return;
        }
        let keep_alive_ms = u64::from(self.session.opening().keep_alive_seconds) * 1000;
        let longest_ms = match keep_alive_ms {
            0 => u64::MAX,
            some_ms => now_ms.saturating_add(some_ms / 2),
        };
        let ready_ms = allowance.borrow().ready_ms(now_ms).unwrap_or_default();
        self.limited_ms = ready_ms.min(longest_ms);
    }

    /// Whether its SIM has sent enough for now.
    pub(super) const fn is_limited(&self, from: Side, now_ms: u64) -> bool {
        matches!(from, Side::Device) && self.limited_ms > now_ms
    }

    /// Whether more should be received from a side.
    pub(super) fn wants_to_receive(&self, side: Side, now_ms: u64) -> bool {
        let leg = self.leg(side);
        if leg.is_absent() || leg.reading != Reading::Open {
            return false;
        }
        if self.is_limited(side, now_ms) && !self.has_ended() {
            return false;
        }
        if self.stage == Stage::Reaping {
            return false;
        }
        if self.discards(side) {
            return leg.discarded < LINGER_BYTES;
        }
        let way = self.way(side);
        if way.pipe.is_some() {
            false
        } else if way.is_held {
            // B-CON-4: before the CONNACK one buffer is all.
            way.kept.len() < BUFFER_BYTES
        } else {
            self.may_process(side) && !self.has_unseen(side)
        }
    }

    /// Why the session ends for what one side did, if it does: it closed or broke, and all that it said before
    /// has gone on.
    pub(super) fn over(&self, from: Side) -> Option<Cause> {
        let leg = self.leg(from);
        let way = self.way(from);
        if self.has_unsent(from) {
            return None;
        }
        if let Some(cause) = way.ending {
            return Some(cause);
        }
        let is_answered = self.is_established();
        let is_given_up = self.record.faults.are_given_up(from);
        let cause = match (leg.reading, from) {
            (Reading::Open, _) => return None,
            // Another one follows.
            _ if leg.is_absent() => return None,
            (Reading::Faulty, _) => Cause::UpstreamTls,
            // B-KEEP-7: the kernel has waited for it as long as the relay would.
            (Reading::Broken, Side::Device) if is_given_up => Cause::DeviceStalled,
            (Reading::Broken, Side::Upstream) if is_given_up => Cause::UpstreamStalled,
            // B-CON-4: it takes connections and does not answer the CONNECT.
            (Reading::Closed | Reading::Broken, Side::Upstream) if !is_answered => {
                Cause::Refused(Refusal::UpstreamClosed)
            }
            (Reading::Closed, Side::Device) => Cause::DeviceClosed,
            (Reading::Closed, Side::Upstream) => Cause::UpstreamClosed,
            (Reading::Broken, Side::Device) => Cause::DeviceReset,
            (Reading::Broken, Side::Upstream) => Cause::UpstreamReset,
        };
        // What an upstream is held with only another device's acknowledgement could release.
        let is_released = !way.is_held || from == Side::Upstream;
        let is_blocked = self.has_unseen(from) && !way.is_held;
        (is_released && !is_blocked).then_some(cause)
    }

    /// B-KEEP-5: whether the engine itself keeps from reading the device.
    pub(super) fn is_withheld(&self, now_ms: u64) -> bool {
        let is_waiting = self.is_stuck(Side::Device)
            || self.from_device.is_held
            || self.is_limited(Side::Device, now_ms);
        self.is_established() && is_waiting
    }

    /// Notes whether the engine itself keeps from reading the device, and since when nothing explains that.
    pub(super) fn note_withheld(&mut self, now_ms: u64) {
        let is_withheld = self.is_withheld(now_ms);
        self.session.withhold(is_withheld, now_ms);
        // Neither leg is blocked: the upstream has stopped in the middle of a message, and what the device
        // is to be told waits behind it.
        let is_blocked = self.device.blocked_ms().is_some() || self.upstream.blocked_ms().is_some();
        // A renewal that waits has times of its own.
        let is_renewing = self.stage == Stage::Leaving || self.session.is_without_upstream();
        let is_limited = self.is_limited(Side::Device, now_ms);
        let is_stuck = is_withheld && !is_blocked && !is_renewing && !is_limited;
        self.stuck_ms = is_stuck.then(|| self.stuck_ms.unwrap_or(now_ms));
    }

    /// Whether an event alone tells what has to be done: nothing waits anywhere.
    pub(super) fn is_plain(&self) -> bool {
        let is_free = |from: Side| {
            let (leg, way) = (self.leg(from), self.way(from));
            leg.is_clear()
                && leg.own_bytes() == 0
                && leg.reading == Reading::Open
                && leg.receiving == Receiving::Armed
                && !self.has_unseen(from)
                && !way.is_held
                && way.pipe.is_none()
                && way.ending.is_none()
        };
        self.stage == Stage::Joined
            && self.renewing.is_none()
            && self.allowance.is_none()
            && self.is_established()
            && is_free(Side::Device)
            && is_free(Side::Upstream)
    }

    /// When the session ends unless something moves, in milliseconds, and why it does.
    pub(super) fn deadline(&self) -> Option<(u64, Cause)> {
        let connack = (self.limit_ms, Cause::Refused(Refusal::UpstreamTimeout));
        let connack = (!self.is_established()).then_some(connack);
        let stall = |since_ms: Option<u64>, cause| {
            Some((since_ms?.saturating_add(self.stall_timeout_ms), cause))
        };
        [
            connack,
            self.session.deadline(),
            stall(self.device.blocked_ms(), Cause::DeviceStalled),
            stall(self.upstream.blocked_ms(), Cause::UpstreamStalled),
            stall(self.stuck_ms, Cause::UpstreamStalled),
        ]
        .into_iter()
        .flatten()
        .min_by_key(|(deadline_ms, _)| *deadline_ms)
    }

    /// When the wheel has to look at it, in milliseconds.
    pub(super) fn due_ms(&self, now_ms: u64) -> Option<u64> {
        if self.has_ended() {
            if self.awaits_answers(now_ms) {
                return Some(self.answers_until_ms());
            }
            return (self.stage != Stage::Reaping).then_some(self.limit_ms);
        }
        let deadline = self.deadline().map(|(deadline_ms, _)| deadline_ms);
        let renewing = self.renewing.as_deref().and_then(Renewing::deadline_ms);
        let limited = self
            .is_limited(Side::Device, now_ms)
            .then_some(self.limited_ms);
        [deadline, renewing, limited].into_iter().flatten().min()
    }

    /// Whether nothing is on its way in either direction, and nothing is unanswered (B-TOK-1).
    pub(super) fn is_quiet(&self) -> bool {
        let is_flushed = |leg: &Leg| leg.is_clear() && leg.own_bytes() == 0;
        is_flushed(&self.device) && is_flushed(&self.upstream) && self.session.is_quiet()
    }

    /// Whether the device has not taken yet what its upstream sent. A new upstream's CONNACK would have to
    /// wait behind it.
    pub(super) fn has_undelivered(&self) -> bool {
        self.has_unsent(Side::Upstream)
    }
}

const _: () = assert!(
    size_of::<Flow>() + size_of::<Record>() + size_of::<crate::shard::counters::SimRecord>()
        <= crate::limits::SESSION_BYTES,
    "it is said at start"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_broke_a_connection_first_is_the_reason() {
        let mut faults = Faults::default();
        assert!(faults.words(Side::Upstream).is_none() && !faults.are_given_up(Side::Upstream));
        faults.note(Side::Upstream, libc::ETIMEDOUT);
        faults.note(Side::Upstream, libc::EPIPE);
        assert!(faults.are_given_up(Side::Upstream) && !faults.are_given_up(Side::Device));
        let words = faults.words(Side::Upstream);
        assert_eq!(words.as_deref(), Some("Connection timed out"));
        faults.forget(Side::Upstream);
        assert!(faults.words(Side::Upstream).is_none());
    }
}
