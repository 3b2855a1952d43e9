//! Greed: how SIMs are received from that send more than their share of a round. Nothing of theirs is armed, so that
//! they cannot have the buffers that others need: the ring tells when something is there, and they take what it is in
//! turn, SIM by SIM and connection by connection, so many buffers a round and no more.
//!
//! ```text
//! Off -> Polled (nothing is there) -> Queued (its turn comes) -> Taking (what is there, now) -> Off
//!     \_______ more is there _______/
//! ```

use std::collections::VecDeque;

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::session::Side;

use super::leg::Receiving;
use super::wire::Wire;
use super::{Relay, token};
use crate::limits::{BUFFERS, GREEDY_BUFFERS, READS_IN_A_ROW};
use crate::sys::ring::Intake;

/// Who waits for a turn.
#[derive(Debug, Default)]
pub(super) struct Greed {
    /// Until when somebody takes more than their share, in milliseconds.
    pub(super) until_ms: u64,
    /// SIMs in their order, and the legs of each in theirs. One that waits no longer is passed over.
    sims: VecDeque<Imsi>,
    legs: HashMap<Imsi, VecDeque<(u32, Side, u32)>, RandomState>,
    /// Legs that wait.
    waiting: usize,
    /// Buffers that were asked for and are not dealt with.
    pub(super) asked: usize,
    /// Legs of anybody that found no buffer.
    pub(super) starved: VecDeque<(u32, Side, u32)>,
}

impl Greed {
    fn push(&mut self, imsi: Imsi, leg: (u32, Side, u32)) {
        let legs = self.legs.entry(imsi).or_default();
        if legs.is_empty() {
            self.sims.push_back(imsi);
        }
        legs.push_back(leg);
        self.waiting += 1;
    }

    /// Whose turn it is, and whether others of that SIM wait still.
    fn pop(&mut self) -> Option<((u32, Side, u32), bool)> {
        let imsi = self.sims.pop_front()?;
        let legs = self.legs.get_mut(&imsi)?;
        let leg = legs.pop_front()?;
        self.waiting = self.waiting.saturating_sub(1);
        let has_others = !legs.is_empty();
        if has_others {
            self.sims.push_back(imsi);
        } else {
            self.legs.remove(&imsi);
        }
        Some((leg, has_others))
    }
}

impl<W: Wire> Relay<W> {
    /// Whether a session's SIM takes more than its share.
    pub(super) fn is_greedy(&self, index: u32) -> bool {
        self.now_ms < self.greed.until_ms
            && self
                .flows
                .get(index as usize)
                .is_some_and(|flow| flow.record.sim.share().is_greedy(self.now_ms))
    }

    /// A leg is to be received from when its turn comes, as soon as something is there.
    pub(super) fn wait_for_turn(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg_mut(side);
        if leg.has_more {
            self.queue_turn(index, side);
        } else if leg.polls.readable {
            leg.receiving = Receiving::Polled;
        } else if let Some(socket) = leg.socket() {
            self.wire.poll(socket, token(index, side), false);
            leg.polls.readable = true;
            leg.receiving = Receiving::Polled;
        }
    }

    /// Something is there.
    pub(super) fn queue_turn(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let (imsi, generation) = (flow.session.opening().identity.imsi, flow.generation);
        let leg = flow.leg_mut(side);
        leg.receiving = Receiving::Queued;
        if !std::mem::replace(&mut leg.is_in_line, true) {
            self.greed.push(imsi, (index, side, generation));
        }
    }

    /// A leg that found no buffer is received from when there are some, in the order in which that happened: asking anew
    /// in each round would be work for nothing.
    pub(super) fn wait_for_buffer(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let generation = flow.generation;
        let leg = flow.leg_mut(side);
        leg.receiving = Receiving::Queued;
        if !std::mem::replace(&mut leg.is_in_line, true) {
            self.greed.starved.push_back((index, side, generation));
        }
    }

    /// Lets those that found no buffer have one each, as far as there are any.
    pub(super) fn feed(&mut self) {
        let mut left = usize::from(BUFFERS).saturating_sub(self.buffers.in_use());
        while left > 0
            && let Some((index, side, generation)) = self.greed.starved.pop_front()
        {
            let flow = self.flows.get_mut(index as usize);
            let Some(flow) = flow.filter(|flow| flow.generation == generation) else {
                continue;
            };
            let leg = flow.leg_mut(side);
            leg.is_in_line = false;
            if leg.receiving != Receiving::Queued {
                continue;
            }
            let Some(socket) = leg.socket() else {
                continue;
            };
            self.wire.receive(socket, token(index, side), Intake::Once);
            leg.receiving = Receiving::Once;
            left -= 1;
        }
    }

    /// Lets those whose turn it is take what is there.
    pub(super) fn grant(&mut self) {
        let mut left = GREEDY_BUFFERS.saturating_sub(self.greed.asked);
        while left > 0 {
            let each = left / self.greed.waiting.max(1);
            let Some(((index, side, generation), has_others)) = self.greed.pop() else {
                return;
            };
            let flow = self.flows.get_mut(index as usize);
            let Some(flow) = flow.filter(|flow| flow.generation == generation) else {
                continue;
            };
            if has_others || flow.leg(side).has_more {
                let until_ms = flow.record.sim.share().exceed(self.now_ms);
                self.greed.until_ms = self.greed.until_ms.max(until_ms);
            }
            let leg = flow.leg_mut(side);
            leg.is_in_line = false;
            if leg.receiving != Receiving::Queued {
                continue;
            }
            let most = if leg.is_bulk { 1 } else { left };
            let count = each.max(READS_IN_A_ROW).min(most);
            let buffers = u8::try_from(count).unwrap_or(u8::MAX);
            let Some(socket) = leg.socket() else {
                continue;
            };
            self.wire
                .receive(socket, token(index, side), Intake::Now(buffers));
            leg.receiving = Receiving::Taking;
            leg.taking = buffers;
            leg.has_more = false;
            self.greed.asked += usize::from(buffers);
            left -= usize::from(buffers);
        }
    }
}

const _: () = assert!(GREEDY_BUFFERS <= u8::MAX as usize);
