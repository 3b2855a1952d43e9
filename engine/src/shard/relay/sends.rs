//! Sends: what a round has to send becomes records where there is TLS, goes to the ring, and is settled when the
//! kernel has had it: taken and billed, or to wait for room.

use std::os::fd::BorrowedFd;

use ringbeam_proto::session::Side;
use slab::Slab;

use super::batch::{Batch, NONE};
use super::flow::Flow;
use super::leg::{self, Leg, Segment};
use super::wire::Wire;
use super::{Relay, enter, token};
use crate::sys::ring::{Buffers, Sends};

/// The sends of a round, as the ring sees them.
pub(super) struct Sending<'s> {
    pub(super) flows: &'s Slab<Flow>,
    pub(super) batch: &'s Batch,
    pub(super) buffers: &'s Buffers,
}

impl Sends for Sending<'_> {
    fn each<'a, F>(&'a self, mut visit: F)
    where
        F: FnMut(BorrowedFd<'a>, u32, &mut dyn Iterator<Item = &'a [u8]>),
    {
        for (number, entry) in (0..).zip(self.batch.entries()) {
            let Some(flow) = self.flows.get(entry.flow as usize) else {
                continue;
            };
            let leg = flow.leg(entry.side);
            let Some(socket) = leg.socket() else {
                continue;
            };
            match leg.tls.as_deref() {
                None => visit(socket, number, &mut self.batch.slices(self.buffers, entry)),
                Some(tls) => visit(socket, number, &mut std::iter::once(tls.outgoing())),
            }
        }
    }
}

impl<W: Wire> Relay<W> {
    /// The kernel has had the round's sends: what it took is billed, what it did not take waits.
    pub(super) fn settle(&mut self) {
        let mut failed = std::mem::take(&mut self.completions.failed);
        for failure in failed.drain(..) {
            self.batch.fail(failure.number, failure.result);
        }
        self.completions.failed = failed;
        for number in 0..self.batch.entries().len() {
            self.settle_entry(number);
        }
        let Self { batch, buffers, .. } = self;
        batch.clear(|buffer| buffers.give_back(buffer));
    }

    fn settle_entry(&mut self, number: usize) {
        let Some(entry) = self.batch.entries().get(number).copied() else {
            return;
        };
        let Some(flow) = self.flows.get_mut(entry.flow as usize) else {
            return;
        };
        let leg = flow.leg_mut(entry.side);
        leg.entry = NONE;
        let is_first_tls = match leg.tls.as_deref_mut() {
            Some(tls) if entry.failed.is_none() => tls.sent(&mut self.tls_workspace),
            _ => false,
        };
        if is_first_tls && let Some(socket) = leg.socket() {
            // Tickets come before the CONNACK, in segments of their own.
            self.wire.acknowledge_soon(socket);
        }
        match entry.failed {
            None if leg.is_absent() || leg.sending == leg::Sending::Broken => {}
            // B-BILL-1
            None => flow.session.count_sent(entry.side, u64::from(entry.billed)),
            Some(Ok(taken)) => self.queue_rest(number, taken),
            Some(Err(error)) => {
                flow.record.faults.note(entry.side, error);
                let leg = flow.leg_mut(entry.side);
                // What the peer said last may still be there to read; that ends the session.
                if let Some(tls) = leg.tls.as_deref_mut() {
                    tls.sent(&mut self.tls_workspace);
                }
                leg.break_sending();
                self.attend_to(entry.flow);
            }
        }
    }

    /// What the kernel did not take of an entry waits for room.
    fn queue_rest(&mut self, number: usize, taken: usize) {
        let Some(entry) = self.batch.entries().get(number).copied() else {
            return;
        };
        let Self {
            batch,
            buffers,
            flows,
            tls_workspace,
            ..
        } = self;
        let Some(flow) = flows.get_mut(entry.flow as usize) else {
            return;
        };
        let leg = flow.leg_mut(entry.side);
        let (bytes, billed_ends) = match leg.tls.as_deref_mut() {
            None => {
                let number = u32::try_from(number).unwrap_or(NONE);
                batch.rest(buffers, number, taken)
            }
            Some(tls) => {
                // A message counts with the last of its records.
                let rest = tls.take(tls_workspace, taken);
                let ends = vec![rest.len(); entry.billed as usize];
                (rest, ends)
            }
        };
        let left = u32::try_from(billed_ends.len()).unwrap_or(u32::MAX);
        let billed = entry.billed.saturating_sub(left);
        leg.queue(Segment::relayed(bytes, billed_ends));
        flow.session.count_sent(entry.side, u64::from(billed));
        flow.leg_mut(entry.side.other()).is_bulk = true;
        self.block(entry.flow, entry.side);
        self.attend_to(entry.flow);
    }

    /// A leg takes nothing for now.
    pub(super) fn block(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        block(&mut self.wire, flow.leg_mut(side), self.now_ms);
        self.send_on(index, side);
    }

    /// Gives the ring what waits at the front of a leg, if nothing of it is there yet.
    pub(super) fn send_on(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        if leg.is_left || leg.socket().is_none() {
            return;
        }
        if let Some((bytes, from)) = leg.begin_sending()
            && let Some(socket) = leg.socket()
        {
            self.wire
                .send_waiting(socket, token(index, side), bytes, from);
        }
    }

    /// Turns what goes to legs over TLS into records.
    pub(super) fn seal(&mut self) {
        let Self {
            flows,
            batch,
            buffers,
            tls_workspace,
            wire,
            ..
        } = self;
        for number in 0..batch.entries().len() {
            let Some(entry) = batch.entries().get(number).copied() else {
                return;
            };
            let Some(flow) = flows.get_mut(entry.flow as usize) else {
                continue;
            };
            let leg = flow.leg_mut(entry.side);
            let Some(tls) = leg.tls.as_deref_mut() else {
                continue;
            };
            let sealed = tls.seal(tls_workspace, batch.slices(buffers, &entry));
            if sealed.is_err() {
                batch.unbill(number);
                // Where reading has met the end of it, an alert is on its way.
                if leg.reading == leg::Reading::Open
                    && let Some(socket) = leg.socket()
                {
                    wire.cut(socket);
                    leg.reading = leg::Reading::Faulty;
                }
            }
        }
    }

    /// Says something of the relay's own to one side: between two messages.
    pub(super) fn say(&mut self, index: u32, side: Side, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let Self {
            flows,
            batch,
            tls_workspace,
            taps,
            ..
        } = self;
        let Some(flow) = flows.get_mut(index as usize) else {
            return;
        };
        let is_tapped = flow.is_tapped;
        let is_amid = flow.session.is_amid_message(side.other());
        let leg = flow.leg_mut(side);
        if leg.is_absent() || leg.sending == leg::Sending::Broken {
            return;
        }
        if is_amid {
            leg.put_due(bytes);
            return;
        }
        if is_tapped {
            taps.said(index, side, bytes, false);
        }
        if leg.is_clear() {
            let number = enter(batch, leg, index, side);
            batch.say(number, bytes);
            return;
        }
        let bytes = match leg.tls.as_deref_mut() {
            None => bytes.to_vec(),
            Some(tls) => {
                // It cannot be said; reading meets the end of the connection.
                drop(tls.seal(tls_workspace, std::iter::once(bytes)));
                tls.take(tls_workspace, 0)
            }
        };
        leg.queue(Segment::own(bytes));
        self.send_on(index, side);
    }
}

/// A leg takes nothing from now on, beyond what the kernel has for its peer.
pub(super) fn block(wire: &mut impl Wire, leg: &mut Leg, now_ms: u64) {
    let undelivered = leg.socket().map(|socket| wire.undelivered(socket));
    leg.block(now_ms, undelivered.unwrap_or_default());
}
