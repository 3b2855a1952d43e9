//! Pump: what has come from one side goes through the session and into the round's sends. Bytes are dealt with
//! where they arrived; only a packet's beginning is kept.

use ringbeam_proto::error::Cause;
use ringbeam_proto::limits::REPLY_BYTES;
use ringbeam_proto::session::{Next, Side};
use zeroize::Zeroizing;

use super::batch::Source;
use super::flow::Stage;
use super::leg::{Reading, Receiving, Segment};
use super::sends::block;
use super::taps::{Before, Made};
use super::wire::Wire;
use super::{Relay, enter, leg_of};
use crate::limits::{BUFFER_BYTES, FRONT_BYTES, LARGE_HEAD_BYTES, RECEIVE_BYTES};
use crate::sys::ring::{BufferId, End, Event};

impl<W: Wire> Relay<W> {
    /// Deals with what has happened.
    pub(super) fn event(&mut self, event: Event) {
        match event {
            Event::Received {
                token,
                buffer,
                length,
                goes_on,
            } => {
                self.buffers.taken();
                let (index, side) = leg_of(token);
                if !goes_on {
                    self.receive_ended(index, side, length >= ROOM);
                }
                self.received(index, side, buffer, length);
            }
            Event::ReceiveEnded { token, end } => {
                let (index, side) = leg_of(token);
                self.receive_ended(index, side, end == End::NoBuffer);
                self.read_end(index, side, end);
            }
            Event::Sent {
                token,
                bytes,
                result,
            } => {
                let (index, side) = leg_of(token);
                self.sent(index, side, bytes, result);
            }
            Event::Ready { token, is_writable } => {
                let (index, side) = leg_of(token);
                if let Some(flow) = self.flows.get_mut(index as usize) {
                    let polls = &mut flow.leg_mut(side).polls;
                    if is_writable {
                        polls.writable = false;
                    } else {
                        polls.readable = false;
                    }
                    if !is_writable && flow.leg(side).receiving == Receiving::Polled {
                        self.queue_turn(index, side);
                    }
                    self.attend_to(index);
                }
            }
            Event::Timer => self.is_time = true,
            Event::Woken => self.read_messages(),
        }
    }

    /// A receive is over, or one of those that were asked for at once, and is to be begun anew if more is wanted.
    fn receive_ended(&mut self, index: u32, side: Side, has_more: bool) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        leg.has_more = has_more;
        if leg.receiving == Receiving::Taking {
            self.greed.asked = self.greed.asked.saturating_sub(1);
            leg.taking = leg.taking.saturating_sub(1);
            if leg.taking > 0 {
                return;
            }
        }
        leg.receiving = Receiving::Off;
        self.attend_to(index);
    }

    fn read_end(&mut self, index: u32, side: Side, end: End) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        match end {
            // It said so before, in TLS.
            End::Closed if leg.reading != Reading::Open => {}
            End::Closed => {
                leg.reading = match leg.tls.as_deref_mut() {
                    None if leg.sending == super::leg::Sending::Broken => Reading::Broken,
                    None => Reading::Closed,
                    Some(tls) => {
                        tls.was_cut();
                        Reading::Broken
                    }
                };
            }
            End::NoBuffer => {
                leg.is_starved = true;
                self.buffers.ran_out();
                self.counters.update(|totals| totals.buffers_exhausted += 1);
            }
            End::Cancelled | End::Nothing => {}
            End::Broken(error) => {
                flow.record.faults.note(side, error);
                let leg = flow.leg_mut(side);
                if leg.reading == Reading::Open {
                    leg.reading = Reading::Broken;
                }
                if !leg.is_sending() {
                    leg.break_sending();
                }
            }
        }
    }

    /// A waiting send has come back.
    fn sent(&mut self, index: u32, side: Side, bytes: Vec<u8>, result: Result<usize, i32>) {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        match result {
            Ok(count) => {
                let billed = leg.sent(bytes, count);
                if count > 0 && leg.blocked_ms().is_some() {
                    block(&mut self.wire, leg, now_ms);
                }
                if !leg.is_left {
                    // B-BILL-1
                    flow.session.count_sent(side, u64::from(billed));
                }
                let leg = flow.leg_mut(side);
                if leg.sending == super::leg::Sending::Broken {
                    // It was given up meanwhile.
                    leg.drop_unsent();
                } else if flow.stage != Stage::Reaping {
                    self.send_on(index, side);
                }
            }
            Err(error) => {
                flow.record.faults.note(side, error);
                let leg = flow.leg_mut(side);
                leg.sent(Vec::new(), 0);
                leg.break_sending();
            }
        }
        self.attend_to(index);
    }

    /// Bytes have come into a buffer.
    fn received(&mut self, index: u32, side: Side, buffer: BufferId, length: usize) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            self.buffers.give_back(buffer);
            return;
        };
        let is_discarded = flow.discards(side);
        let leg = flow.leg_mut(side);
        leg.is_starved = false;
        if is_discarded {
            let bytes = u32::try_from(length).unwrap_or(u32::MAX);
            leg.discarded = leg.discarded.saturating_add(bytes);
            self.attend_to(index);
        }
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg(side);
        if leg.is_left || (is_discarded && leg.tls.is_none()) {
            self.buffers.give_back(buffer);
            return;
        }
        if leg.tls.is_some() {
            self.open_records(index, side, buffer, length);
        } else {
            let way = flow.way(side);
            let range = if way.kept.is_empty() {
                Some(FRONT_BYTES..FRONT_BYTES.saturating_add(length))
            } else if flow.may_process(side) && way.kept.len() <= FRONT_BYTES {
                // A packet's beginning goes right in front of its rest.
                let range = self.buffers.prepend(&buffer, length, &way.kept);
                if range.is_some() {
                    flow.way_mut(side).kept = Zeroizing::default();
                }
                range
            } else {
                None
            };
            let source = self.batch.hold(buffer, length);
            match range {
                Some(range) => self.take_in(index, side, source, range),
                None => {
                    let range = FRONT_BYTES..FRONT_BYTES.saturating_add(length);
                    self.take_in_behind(index, side, source, range);
                }
            }
        }
        let has_pipe = self.has_pipe();
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let is_large = has_pipe && flow.wants_to_splice(side);
        let leg = flow.leg_mut(side);
        if is_large {
            let was_bulk = std::mem::replace(&mut leg.is_bulk, true);
            flow.is_special |= !was_bulk;
        } else if leg.is_bulk && length < ROOM {
            // All that was there has been received.
            leg.is_bulk = false;
        }
        let is_special = flow.is_special;
        // A packet that is not whole waits as well, and nothing else tells of it.
        let is_counted = flow.waiting > 0 || !flow.way(side).kept.is_empty();
        if is_special {
            self.attend_to(index);
        } else if is_counted {
            self.count_waiting(index);
        }
    }

    /// Records have come into a buffer.
    fn open_records(&mut self, index: u32, side: Side, buffer: BufferId, length: usize) {
        let Self {
            flows,
            buffers,
            batch,
            tls_workspace,
            ..
        } = self;
        let Some(flow) = flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        let Some(tls) = leg.tls.as_deref_mut() else {
            return;
        };
        let start = batch.clear.len();
        let range = FRONT_BYTES..FRONT_BYTES.saturating_add(length);
        let opened = tls.open(buffers.bytes_mut(&buffer, range), &mut batch.clear);
        buffers.give_back(buffer);
        leg.reading = match opened {
            Ok(false) => leg.reading,
            Ok(true) => Reading::Closed,
            Err(_) => Reading::Faulty,
        };
        if !tls.outgoing().is_empty() {
            // An answer of TLS itself, or an alert that tells why it is over.
            if leg.is_clear() {
                enter(batch, leg, index, side);
            } else if let Some(tls) = leg.tls.as_deref_mut() {
                let answer = tls.take(tls_workspace, 0);
                leg.queue(Segment::own(answer));
            }
        }
        let has_ended = leg.reading != Reading::Open;
        let range = start..batch.clear.len();
        if has_ended {
            self.attend_to(index);
        }
        if !range.is_empty() {
            self.take_in_clear(index, side, Source::Clear, range);
        }
    }

    /// Bytes in clear have come.
    fn take_in_clear(
        &mut self,
        index: u32,
        side: Side,
        source: Source,
        range: std::ops::Range<usize>,
    ) {
        let Some(flow) = self.flows.get(index as usize) else {
            return;
        };
        if flow.discards(side) {
            return;
        }
        if flow.way(side).kept.is_empty() {
            self.take_in(index, side, source, range);
        } else {
            self.take_in_behind(index, side, source, range);
        }
    }

    /// Bytes have come behind what is kept.
    fn take_in_behind(
        &mut self,
        index: u32,
        side: Side,
        source: Source,
        range: std::ops::Range<usize>,
    ) {
        self.keep(index, side, source, range);
        self.process_kept(index, side);
    }

    /// Bytes have come that nothing waits in front of.
    fn take_in(&mut self, index: u32, side: Side, source: Source, range: std::ops::Range<usize>) {
        let may_process = self
            .flows
            .get(index as usize)
            .is_some_and(|flow| flow.may_process(side));
        let consumed = if may_process {
            self.process(index, side, source, range.clone())
        } else {
            0
        };
        let rest = range.start.saturating_add(consumed)..range.end;
        if !rest.is_empty() {
            self.keep(index, side, source, rest);
            if !may_process {
                self.unseen(index, side);
            }
        }
    }

    /// What is kept of a side has not been looked at.
    fn unseen(&mut self, index: u32, side: Side) {
        if let Some(flow) = self.flows.get_mut(index as usize) {
            flow.way_mut(side).wants_more = false;
            self.attend_to(index);
        }
    }

    /// Keeps bytes that cannot go on.
    fn keep(&mut self, index: u32, side: Side, source: Source, range: std::ops::Range<usize>) {
        let Self {
            flows,
            batch,
            buffers,
            large_bytes,
            ..
        } = self;
        let Some(flow) = flows.get_mut(index as usize) else {
            return;
        };
        let way = flow.way_mut(side);
        let before = large(way.kept.len());
        way.kept
            .extend_from_slice(batch.input(buffers, source, range));
        let after = large(way.kept.len());
        *large_bytes = large_bytes.saturating_sub(before).saturating_add(after);
        // B-ERR-5: whole heads have to be kept; what is merely not read on is bounded by itself.
        let is_head = way.wants_more && after > before;
        if is_head && *large_bytes > LARGE_HEAD_BYTES {
            way.ending = Some(Cause::HeadMemory);
            self.attend_to(index);
        }
    }

    /// Lets the session deal with what was kept of a side, as far as it may.
    pub(super) fn process_kept(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if !flow.may_process(side) {
            self.unseen(index, side);
            return;
        }
        let way = flow.way_mut(side);
        let kept = std::mem::take(&mut way.kept);
        let length = kept.len();
        self.forget_kept(length);
        let source = self.batch.retain(kept);
        let consumed = self.process(index, side, source, 0..length);
        if consumed == 0 {
            // Nothing came of it: it goes back as it is.
            if let Some(flow) = self.flows.get_mut(index as usize) {
                flow.way_mut(side).kept = self.batch.take_back(source);
                self.large_bytes = self.large_bytes.saturating_add(large(length));
            }
        } else if consumed < length {
            self.keep(index, side, source, consumed..length);
        }
    }

    /// Lets the session deal with bytes of a side, and says how many it has dealt with.
    fn process(
        &mut self,
        index: u32,
        side: Side,
        source: Source,
        range: std::ops::Range<usize>,
    ) -> usize {
        let Self {
            flows,
            batch,
            buffers,
            taps,
            now_ms,
            ..
        } = self;
        let Some(flow) = flows.get_mut(index as usize) else {
            return 0;
        };
        let to = side.other();
        let mut start = range.start;
        let mut has_replied = false;
        let mut is_released = false;
        let counted = flow.session.counts().device_leg;
        loop {
            let due = flow.leg_mut(to).take_due();
            let (input, outputs) = batch.session(buffers, source, start..range.end);
            outputs.due = due;
            let before = flow.is_tapped.then(|| Before::of(&flow.session, side));
            let received = flow.session.receive(side, input, *now_ms, outputs);
            let due = std::mem::take(&mut outputs.due);
            let has_output = outputs.forward.produced_bytes() > 0;
            if let Some(before) = before {
                let output = (!flow.leg(to).is_absent()).then_some(&outputs.forward);
                let made = Made::of(side, before, (input, received.consumed), output);
                taps.passed(index, &made);
            }
            has_replied |= !outputs.reply.is_empty();
            if !due.is_empty() {
                flow.leg_mut(to).put_due(&due);
            }
            if has_output && !flow.leg(to).is_absent() {
                let number = enter(batch, flow.leg_mut(to), index, to);
                batch.forward(number, source, start);
            }
            start = start.saturating_add(received.consumed);
            if received.consumed > 0 {
                // Perhaps this is what the other direction waits for.
                is_released |= std::mem::take(&mut flow.way_mut(to).is_held);
                if side == Side::Upstream {
                    // B-KEEP-5: a message that goes on slowly has not stopped.
                    flow.stuck_ms = flow.stuck_ms.map(|_| *now_ms);
                }
            }
            if matches!(received.next, Next::Send) && batch.outputs.reply.len() < REPLY_BYTES {
                continue;
            }
            if matches!(received.next, Next::End(_)) {
                flow.record.parting = batch.outputs.parting.take().map(Box::new);
            }
            flow.note_next(side, received.next, range.end.saturating_sub(start));
            break;
        }
        if side == Side::Device && flow.allowance.is_some() {
            let messages = flow.session.counts().device_leg.saturating_sub(counted);
            flow.spend(messages, start.saturating_sub(range.start), *now_ms);
        }
        if has_replied {
            let reply = std::mem::take(&mut self.batch.outputs.reply);
            self.say(index, side, &reply);
            self.batch.outputs.reply = reply;
            self.batch.outputs.reply.clear();
        }
        if is_released {
            self.attend_to(index);
        }
        start.saturating_sub(range.start)
    }
}

impl<W> Relay<W> {
    /// So many bytes are not kept any more.
    pub(super) fn forget_kept(&mut self, bytes: usize) {
        self.large_bytes = self.large_bytes.saturating_sub(large(bytes));
    }
}

/// What the kernel has room for in a buffer.
pub(super) const ROOM: usize = RECEIVE_BYTES - FRONT_BYTES;

/// What is kept beyond a buffer's worth.
const fn large(bytes: usize) -> usize {
    bytes.saturating_sub(BUFFER_BYTES)
}
