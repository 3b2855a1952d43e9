//! Waiting: the memory that sessions hold while one of their sides is stopped, or a packet is not whole. It has a ceiling
//! of its own. When it is reached whoever holds most ends first, so that a few that are stuck cannot take what all others
//! live on.

use ringbeam_proto::error::Cause;
use ringbeam_proto::session::Side;
use zeroize::Zeroizing;

use super::Relay;
use super::flow::Flow;
use super::leg::{Receiving, Sending};
use super::wire::Wire;
use crate::limits::{RECEIVE_BYTES, WAITING_ROOM_SHARE};

/// What waits in a relay.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) bytes: usize,
    pub(super) max: usize,
    /// It is more than that.
    pub(super) is_exhausted: bool,
}

impl Waiting {
    pub(super) const fn new(max: usize) -> Self {
        Self {
            bytes: 0,
            max,
            is_exhausted: false,
        }
    }

    /// One session holds so much now, which was so much before.
    const fn change(&mut self, before: usize, now: usize) {
        self.bytes = self.bytes.saturating_sub(before).saturating_add(now);
        self.is_exhausted |= self.bytes > self.max;
    }
}

impl Flow {
    /// Bytes of memory that wait in it.
    fn waiting_bytes(&self) -> usize {
        let legs = self.device.waiting_bytes() + self.upstream.waiting_bytes();
        legs + self.from_device.kept.capacity() + self.from_upstream.kept.capacity()
    }
}

impl<W: Wire> Relay<W> {
    /// Counts what waits in a session anew.
    pub(super) fn count_waiting(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let now = flow.waiting_bytes();
        let before = std::mem::replace(&mut flow.waiting, now);
        self.waiting.change(before, now);
    }

    /// Nothing of a session waits any more: it is gone.
    pub(super) const fn forget_waiting(&mut self, flow: &Flow) {
        self.waiting.change(flow.waiting, 0);
    }

    /// Gives back what grew beyond what is kept of a side that is not received from now.
    pub(super) fn trim(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        for side in [Side::Device, Side::Upstream] {
            let is_received = flow.leg(side).receiving != Receiving::Off;
            let kept = &mut flow.way_mut(side).kept;
            if !is_received && kept.capacity() > kept.len().saturating_add(RECEIVE_BYTES) {
                let trimmed = Vec::with_capacity(kept.len());
                let before = std::mem::replace(kept, Zeroizing::new(trimmed));
                kept.extend_from_slice(&before);
            }
        }
    }

    /// Where more waits than may, whoever holds most ends, and others until there is some room again.
    pub(super) fn make_room(&mut self) {
        if !std::mem::take(&mut self.waiting.is_exhausted) {
            return;
        }
        let enough = self.waiting.max - self.waiting.max / WAITING_ROOM_SHARE;
        // What has ended already gives its memory back by itself.
        let mut waiting: Vec<_> = self
            .flows
            .iter()
            .filter(|(_, flow)| flow.waiting > 0 && !flow.has_ended())
            .map(|(index, flow)| (flow.waiting, index))
            .collect();
        waiting.sort_unstable();
        let leaving = self.flows.iter().filter(|(_, flow)| flow.has_ended());
        let leaving: usize = leaving.map(|(_, flow)| flow.waiting).sum();
        let mut left = self.waiting.bytes.saturating_sub(leaving);
        while left > enough
            && let Some((bytes, index)) = waiting.pop()
        {
            left = left.saturating_sub(bytes);
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            self.end(index, Cause::WaitingExhausted);
            self.shed(index);
        }
    }

    /// Gives up what waits in a session that has ended: what was received goes nowhere, and a side that takes nothing gets
    /// nothing more.
    fn shed(&mut self, index: u32) {
        for side in [Side::Device, Side::Upstream] {
            let Some(flow) = self.flows.get_mut(index as usize) else {
                return;
            };
            let way = flow.way_mut(side);
            let length = std::mem::take(&mut way.kept).len();
            way.ending = None;
            self.forget_kept(length);
            let Some(flow) = self.flows.get_mut(index as usize) else {
                return;
            };
            let leg = flow.leg_mut(side);
            if leg.is_clear() {
                continue;
            }
            leg.sending = Sending::Broken;
            if leg.is_sending() {
                // The rest of it is dropped when the ring has given it back.
                self.wire.cancel_send(super::token(index, side));
            } else {
                leg.drop_unsent();
            }
        }
        self.count_waiting(index);
        self.attend_to(index);
    }
}
