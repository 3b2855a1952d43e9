//! Pump: moves bytes of both directions through the session as far as the sockets allow, and says when
//! it ends. It never waits.
//!
//! ```text
//! device leg --read--> batch --session--> pieces --send--> upstream leg
//!      ^                         |
//!      +------ own bytes <-------+   and the same the other way round
//! ```

use std::io::{self, IoSlice};
use std::rc::Rc;

use ringbeam_proto::error::{Cause, Phase, Refusal};
use ringbeam_proto::limits::{BATCH_INSERT_BYTES, REPLY_BYTES};
use ringbeam_proto::session::{Next, Session, Side};

use super::leg::{Leg, Sent};
use crate::limits::{BUFFER_BYTES, READS_IN_A_ROW, SEND_PIECES};
use crate::shard::buffers::{Batch, Pool};
use crate::sys::socket::Socket;

/// One direction.
#[derive(Debug, Default)]
struct Direction {
    /// Bytes under way.
    batch: Option<Batch>,
    /// A packet's beginning, kept small while its rest has not come.
    stash: Vec<u8>,
    /// What the packet at the front needs to go on, in bytes.
    need: usize,
    /// What is there has been looked at, and is not enough.
    wants_more: bool,
    /// What is there has to wait until the other side is heard: for the CONNACK, or for what a renewal
    /// awaits.
    is_held: bool,
    /// Ends the session once everything before it is sent.
    ending: Option<Cause>,
}

/// Both directions.
#[derive(Debug)]
pub(super) struct Pump {
    device: Leg,
    upstream: Leg,
    from_device: Direction,
    from_upstream: Direction,
    session: Session,
    pool: Rc<Pool>,
    /// Since when the device is not read though both legs take what they are sent, in milliseconds.
    stuck_ms: Option<u64>,
    stage: Stage,
    /// The upstream's bytes need not be held any longer.
    has_released_upstream: bool,
}

/// How the two sides stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joined,
    /// The upstream is about to be left for another.
    Leaving,
    /// The device has closed, and may still read.
    HalfClosed,
}

/// What one attempt came to.
enum Progress {
    /// Something moved; go on.
    Moved,
    /// Nothing more can be done now.
    Waits,
    /// It is over.
    Ends(Cause),
}

impl Pump {
    pub(super) fn new(
        device: Leg,
        upstream: Leg,
        session: Session,
        batch: Option<Batch>,
        pool: Rc<Pool>,
    ) -> Self {
        let from_device = Direction {
            batch,
            ..Direction::default()
        };
        let from_upstream = Direction {
            wants_more: true,
            ..Direction::default()
        };
        Self {
            device,
            upstream,
            from_device,
            from_upstream,
            session,
            pool,
            stuck_ms: None,
            stage: Stage::Joined,
            has_released_upstream: false,
        }
    }

    pub(super) const fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Whether nothing is on its way in either direction, and nothing is unanswered (B-TOK-1).
    pub(super) fn is_quiet(&self) -> bool {
        let is_flushed = self.device.own_bytes() == 0 && self.upstream.own_bytes() == 0;
        !self.from_device.has_unsent()
            && !self.from_upstream.has_unsent()
            && is_flushed
            && self.session.is_quiet()
    }

    /// Whether the device has not taken yet what its upstream sent. A new upstream's CONNACK would have to
    /// wait behind it.
    pub(super) fn has_undelivered(&self) -> bool {
        self.from_upstream.has_unsent()
    }

    /// From now on the device is taken no further than what completes.
    pub(super) fn begin_renewal(&mut self) {
        self.stage = Stage::Leaving;
        self.session.begin_renewal();
    }

    /// The device is taken as before.
    pub(super) fn abandon_renewal(&mut self) {
        self.stage = Stage::Joined;
        self.session.abandon_renewal();
        self.from_device.is_held = false;
    }

    /// Gives up the upstream; another follows. What was on its way to it and has to arrive is with the
    /// session; what came from it and has passed the session goes on to the device.
    pub(super) fn leave_upstream(&mut self) -> Option<Rc<Socket>> {
        let has_undelivered = self.has_undelivered();
        let batch = self.from_upstream.batch.take();
        let undelivered = batch.filter(|_| has_undelivered);
        self.from_upstream = Direction {
            batch: undelivered.map(|mut batch| {
                batch.drop_input();
                batch
            }),
            wants_more: true,
            ..Direction::default()
        };
        self.drop_unsent();
        self.from_device.is_held = false;
        self.stage = Stage::Joined;
        self.session.upstream_left(self.device.own());
        self.upstream.leave()
    }

    /// What was on its way to an upstream that is gone.
    fn drop_unsent(&mut self) {
        if let Some(batch) = self.from_device.batch.as_mut() {
            batch.outputs.forward.clear(2 * BATCH_INSERT_BYTES);
        }
    }

    /// Goes on with another upstream, whose first bytes are its CONNECT.
    pub(super) fn attach_upstream(&mut self, upstream: Leg) {
        self.upstream = upstream;
    }

    pub(super) fn is_established(&self) -> bool {
        self.session.phase() == Phase::Established
    }

    pub(super) fn into_session(self) -> Session {
        self.session
    }

    pub(super) const fn leg_mut(&mut self, side: Side) -> &mut Leg {
        match side {
            Side::Device => &mut self.device,
            Side::Upstream => &mut self.upstream,
        }
    }

    const fn leg(&self, side: Side) -> &Leg {
        match side {
            Side::Device => &self.device,
            Side::Upstream => &self.upstream,
        }
    }

    const fn direction(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Device => &mut self.from_device,
            Side::Upstream => &mut self.from_upstream,
        }
    }

    /// Moves what can be moved. Returns why the session ends, if it does.
    pub(super) fn drive(&mut self, now_ms: u64) -> Option<Cause> {
        // The upstream first: its CONNACK releases what the device sent before.
        loop {
            self.has_released_upstream = false;
            for side in [Side::Upstream, Side::Device] {
                if let Some(cause) = self.drive_side(side, now_ms) {
                    return Some(cause);
                }
            }
            if !self.has_released_upstream {
                break;
            }
        }
        // B-KEEP-5
        let is_waiting = self.from_device.is_stuck() || self.from_device.is_held;
        let is_withheld = self.is_established() && is_waiting;
        self.session.withhold(is_withheld, now_ms);
        // Neither leg is blocked: the upstream has stopped in the middle of a message, and what the device
        // is to be told waits behind it.
        let is_blocked = self.device.blocked_ms().is_some() || self.upstream.blocked_ms().is_some();
        // A renewal that waits has times of its own.
        let is_renewing = self.stage == Stage::Leaving || self.session.is_without_upstream();
        let is_stuck = is_withheld && !is_blocked && !is_renewing;
        self.stuck_ms = is_stuck.then(|| self.stuck_ms.unwrap_or(now_ms));
        None
    }

    fn drive_side(&mut self, from: Side, now_ms: u64) -> Option<Cause> {
        let mut reads_left = READS_IN_A_ROW;
        loop {
            let progress = match self.flush(from, now_ms) {
                Progress::Moved => match self.process(from, now_ms) {
                    Progress::Moved => continue,
                    Progress::Waits => self.read(from, &mut reads_left),
                    ends @ Progress::Ends(_) => ends,
                },
                waits_or_ends @ (Progress::Waits | Progress::Ends(_)) => waits_or_ends,
            };
            match progress {
                Progress::Moved => {}
                Progress::Waits => return None,
                Progress::Ends(cause) => return Some(cause),
            }
        }
    }

    /// Sends what this direction has produced. `Moved` when nothing of it is left.
    fn flush(&mut self, from: Side, now_ms: u64) -> Progress {
        self.flush_own(from, now_ms);
        let to = from.other();
        while let Some(batch) = self.direction(from).batch.take() {
            if batch.outputs.forward.is_empty() {
                self.direction(from).batch = Some(batch);
                break;
            }
            let (batch, is_blocked) = self.send_pieces(batch, to, now_ms);
            self.direction(from).batch = Some(batch);
            if is_blocked {
                return Progress::Waits;
            }
        }
        self.flush_own(to, now_ms);
        match self.direction(from).ending {
            Some(cause) => Progress::Ends(cause),
            None => Progress::Moved,
        }
    }

    /// Sends some pieces of a batch; the other value says whether the leg takes no more.
    fn send_pieces(&mut self, mut batch: Batch, to: Side, now_ms: u64) -> (Batch, bool) {
        let leg = self.leg_mut(to);
        if leg.is_amid_own() && !leg.send_own(now_ms) {
            return (batch, true);
        }
        let mut slices = [IoSlice::new(&[]); SEND_PIECES];
        let count = batch.slices(&mut slices);
        match leg.send(slices.get(..count).unwrap_or_default(), now_ms) {
            Sent::Taken(bytes) => {
                // B-BILL-1
                let billed = batch.outputs.forward.take(bytes);
                self.session.count_sent(to, billed);
                (batch, false)
            }
            Sent::Dropped(bytes) => {
                batch.outputs.forward.take(bytes);
                (batch, false)
            }
            Sent::Blocked => (batch, true),
        }
    }

    /// Sends a leg's own bytes, unless a relayed message is half sent there.
    fn flush_own(&mut self, to: Side, now_ms: u64) {
        if !self.leg_mut(to).send_records(now_ms) {
            return;
        }
        let from = to.other();
        let is_amid_relayed =
            self.session.is_amid_message(from) || self.direction(from).has_unsent();
        let leg = self.leg_mut(to);
        if leg.is_amid_own() || (leg.own_bytes() > 0 && !is_amid_relayed) {
            leg.send_own(now_ms);
        }
    }

    /// Lets the session deal with what is there. `Waits` when it needs more.
    fn process(&mut self, from: Side, now_ms: u64) -> Progress {
        let own_bytes = self.leg(from).own_bytes();
        let direction = self.direction(from);
        let Some(mut batch) = direction.batch.take() else {
            return Progress::Waits;
        };
        if batch.input().is_empty()
            || direction.wants_more
            || direction.is_held
            || own_bytes >= REPLY_BYTES
        {
            direction.batch = Some(batch);
            return Progress::Waits;
        }
        // Own bytes of the other leg go between two messages of this direction.
        let other = self.leg_mut(from.other());
        if other.own_bytes() > 0 && !other.is_amid_own() {
            batch.outputs.due.append(other.own());
        }
        let received = batch.receive(&mut self.session, from, now_ms);
        self.leg_mut(from.other())
            .own()
            .append(&mut batch.outputs.due);
        self.leg_mut(from).own().append(&mut batch.outputs.reply);
        let direction = self.direction(from);
        match received.next {
            Next::Send => {}
            Next::Read(need) => {
                direction.wants_more = true;
                direction.need = need;
            }
            Next::Hold => direction.is_held = true,
            Next::End(cause) => direction.ending = Some(cause),
        }
        direction.batch = Some(batch);
        if received.consumed > 0 {
            // Perhaps this is what the other direction waits for.
            let was_held = std::mem::take(&mut self.direction(from.other()).is_held);
            self.has_released_upstream |= was_held && from == Side::Device;
        }
        Progress::Moved
    }

    /// Reads more, once everything read before is on its way.
    fn read(&mut self, from: Side, reads_left: &mut usize) -> Progress {
        let pool = Rc::clone(&self.pool);
        let (leg, direction) = match from {
            Side::Device => (&mut self.device, &mut self.from_device),
            Side::Upstream => (&mut self.upstream, &mut self.from_upstream),
        };
        let may_read = direction.wants_more || direction.is_held || direction.batch.is_none();
        if !may_read {
            return Progress::Waits;
        }
        if *reads_left == 0 {
            leg.yield_reading();
        }
        if !leg.is_readable() {
            direction.settle();
            // What an upstream is held with only another device's acknowledgement could release.
            let is_over = leg.is_ended() && (!direction.is_held || from == Side::Upstream);
            return if is_over {
                Progress::Ends(closed(from))
            } else {
                Progress::Waits
            };
        }
        let mut batch = direction.batch.take().unwrap_or_else(|| {
            let batch = pool.take(&direction.stash);
            direction.stash = Vec::new();
            batch
        });
        if batch.free().is_empty() {
            // B-CON-4: before the CONNACK one buffer is all.
            if direction.is_held {
                direction.batch = Some(batch);
                return Progress::Waits;
            }
            if batch.make_room(direction.need).is_err() {
                return Progress::Ends(Cause::HeadMemory);
            }
        }
        let read = leg.receive(batch.free());
        *reads_left = reads_left.saturating_sub(1);
        match read {
            Ok(Some(0) | None) => direction.wants_more |= batch.input().is_empty(),
            Ok(Some(count)) => {
                batch.filled(count);
                direction.wants_more = false;
            }
            Err(error) => return Progress::Ends(broken(from, &error)),
        }
        direction.batch = Some(batch);
        Progress::Moved
    }

    /// When the session ends unless something moves, in milliseconds, and why it does.
    pub(super) fn deadline(&self, connack_ms: u64, stall_timeout_ms: u64) -> Option<(u64, Cause)> {
        let connack = (connack_ms, Cause::Refused(Refusal::UpstreamTimeout));
        let connack = (!self.is_established()).then_some(connack);
        let stall = |since_ms: Option<u64>, cause| {
            Some((since_ms?.saturating_add(stall_timeout_ms), cause))
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

    /// Why the session ends now that its deadline seems to have come, if it does. Both sides are tried
    /// once more before: the ring calls for a blocked one only when a good part of its queue is free.
    pub(super) fn overdue(
        &mut self,
        now_ms: u64,
        connack_ms: u64,
        stall_timeout_ms: u64,
    ) -> Option<Cause> {
        for leg in [&mut self.device, &mut self.upstream] {
            leg.became_readable();
            leg.became_writable();
        }
        self.drive(now_ms).or_else(|| {
            let (deadline_ms, cause) = self.deadline(connack_ms, stall_timeout_ms)?;
            (deadline_ms <= now_ms).then_some(cause)
        })
    }

    /// The session has ended: last words to both sides, behind what is on its way.
    pub(super) fn finish(&mut self, cause: Cause) {
        let Self {
            session,
            device,
            upstream,
            ..
        } = self;
        session.farewell(cause, device.own(), upstream.own());
        for (side, leg) in [(Side::Device, device), (Side::Upstream, upstream)] {
            // A message that broke off leaves nothing to say.
            let is_amid = session.is_amid_message(side.other()) && !leg.is_amid_own();
            if is_amid || leg.socket().is_none() {
                leg.own().clear();
            }
        }
        let is_joined = upstream.socket().is_some() && !session.is_without_upstream();
        if cause == Cause::DeviceClosed && is_joined {
            self.stage = Stage::HalfClosed;
        }
        if self.upstream.socket().is_none() {
            self.drop_unsent();
        }
    }

    /// Sends what is left; says whether all of it is gone.
    pub(super) fn has_finished(&mut self, now_ms: u64) -> bool {
        let mut is_done = true;
        for side in [Side::Upstream, Side::Device] {
            self.direction(side).ending = None;
            is_done &= !matches!(self.flush(side, now_ms), Progress::Waits);
        }
        is_done &= self.device.own_bytes() == 0 && self.upstream.own_bytes() == 0;
        if !is_done {
            return false;
        }
        for leg in [&mut self.device, &mut self.upstream] {
            leg.close_tls();
            is_done &= leg.send_records(now_ms);
        }
        if is_done && self.stage == Stage::HalfClosed {
            // The device may have closed its sending side only: it still gets what the upstream says.
            self.upstream.finish_sending();
            return self.drive_side(Side::Upstream, now_ms).is_some();
        }
        is_done
    }
}

impl Direction {
    /// What has passed the session and is not all sent.
    fn has_unsent(&self) -> bool {
        let batch = self.batch.as_ref();
        batch.is_some_and(|batch| !batch.outputs.forward.is_empty())
    }

    /// What is here cannot go on, so that nothing more is read.
    fn is_stuck(&self) -> bool {
        let batch = self.batch.as_ref();
        let has_input = batch.is_some_and(|batch| !batch.input().is_empty());
        (has_input && !self.wants_more && !self.is_held) || self.has_unsent()
    }

    /// Nothing more is there for now: keeps a packet's beginning without holding a buffer.
    fn settle(&mut self) {
        if self.is_held {
            return;
        }
        let Some(batch) = self.batch.take() else {
            return;
        };
        if batch.input().len() > BUFFER_BYTES / 2 {
            self.batch = Some(batch);
        } else {
            self.stash = batch.input().to_vec();
        }
    }
}

/// The peer closed.
const fn closed(side: Side) -> Cause {
    match side {
        Side::Device => Cause::DeviceClosed,
        Side::Upstream => Cause::UpstreamClosed,
    }
}

/// The peer's connection broke, or its TLS.
fn broken(side: Side, error: &io::Error) -> Cause {
    match side {
        Side::Device => Cause::DeviceReset,
        Side::Upstream if error.kind() == io::ErrorKind::InvalidData => Cause::UpstreamTls,
        Side::Upstream => Cause::UpstreamReset,
    }
}
