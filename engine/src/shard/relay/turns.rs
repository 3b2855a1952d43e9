//! Turns: in which order the relay deals with what has come. While more is there than a round takes, each SIM has its
//! share of the round and each connection a few buffers of it, and who had no turn in a round comes first in the next:
//! who sends as much as it can, by as many connections as it likes, does not go before who sends a little.

use ringbeam_proto::identity::Imsi;

use super::leg::Receiving;
use super::wire::Wire;
use super::{Relay, leg_of};
use crate::limits::{BATCH_BYTES, READS_IN_A_ROW, SHARE_BYTES};
use crate::sys::ring::{End, Event};

/// Whether an event is dealt with now, or how far from the front it waits.
enum Turn {
    Now,
    /// Nothing of its SIM was dealt with in this round.
    First,
    /// Nothing of its connection was.
    Second,
    Last,
}

impl<W: Wire> Relay<W> {
    /// Deals with what has come, as far as it fits the round.
    pub(super) fn deal(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let bytes: usize = self.pending.iter().map(bytes_of).sum();
        if bytes <= BATCH_BYTES {
            self.deal_with_all();
        } else {
            self.deal_in_turn();
        }
        for left in [&mut self.put_off, &mut self.passed_over, &mut self.unserved] {
            while let Some(event) = left.pop_back() {
                self.pending.push_front(event);
            }
        }
    }

    /// What has come fits the round: what was granted to greedy SIMs comes behind all else.
    fn deal_with_all(&mut self) {
        for _ in 0..self.pending.len() {
            let Some(event) = self.pending.pop_front() else {
                break;
            };
            if self.greed.asked > 0 && self.was_granted(&event) {
                self.put_off.push_back(event);
            } else if self.batch.is_full() {
                self.unserved.push_back(event);
            } else {
                self.event(event);
            }
        }
        while !self.batch.is_full()
            && let Some(event) = self.put_off.pop_front()
        {
            self.event(event);
        }
    }

    /// More has come than the round takes.
    fn deal_in_turn(&mut self) {
        let mut first = None;
        let mut is_shared = false;
        for _ in 0..self.pending.len() {
            let Some(event) = self.pending.pop_front() else {
                break;
            };
            if let Some(imsi) = self.imsi_of(&event) {
                is_shared |= *first.get_or_insert(imsi) != imsi;
            }
            match self.turn(&event) {
                Turn::Now => self.event(event),
                Turn::First => self.unserved.push_back(event),
                Turn::Second => self.passed_over.push_back(event),
                Turn::Last => self.put_off.push_back(event),
            }
        }
        // With nobody else there one goes on.
        while !is_shared
            && !self.batch.is_full()
            && let Some(event) = self
                .passed_over
                .pop_front()
                .or_else(|| self.put_off.pop_front())
        {
            self.event(event);
        }
    }

    /// When an event is dealt with, of more than the round takes.
    fn turn(&mut self, event: &Event) -> Turn {
        let is_full = self.batch.is_full();
        let round = self.rounds;
        let token = match event {
            Event::Received { token, .. } | Event::ReceiveEnded { token, .. } => *token,
            Event::Sent { .. } | Event::Ready { .. } | Event::Timer | Event::Woken => {
                return if is_full { Turn::First } else { Turn::Now };
            }
        };
        let (index, side) = leg_of(token);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return Turn::Now;
        };
        let had = flow.record.sim.share().had(round);
        let turns = flow.leg(side).turns(round);
        if is_starved(event) && !flow.leg(side).was_refused(round) {
            // It costs nothing, and whoever it is about may have had no turn.
            return Turn::Now;
        }
        if !is_full && had < SHARE_BYTES && turns < READS_IN_A_ROW {
            let share = flow.record.sim.share();
            share.take(round, bytes_of(event).max(1));
            // Nothing that is armed of a greedy SIM stays so.
            flow.is_special |= share.is_greedy(self.now_ms);
            flow.leg_mut(side).take_turn(round);
            return Turn::Now;
        }
        flow.leg_mut(side).refuse(round);
        if had >= SHARE_BYTES {
            let until_ms = flow.record.sim.share().exceed(self.now_ms);
            self.greed.until_ms = self.greed.until_ms.max(until_ms);
            let leg = flow.leg_mut(side);
            if leg.receiving == Receiving::Armed {
                // It would go on taking buffers until it is attended to.
                leg.receiving = Receiving::Cancelling;
                self.wire.cancel_receive(token);
            }
        }
        match (had, turns) {
            (0, _) => Turn::First,
            (_, 0) => Turn::Second,
            _ => Turn::Last,
        }
    }

    /// Whether a greedy SIM's turn brought it.
    fn was_granted(&self, event: &Event) -> bool {
        let (Event::Received { token, .. } | Event::ReceiveEnded { token, .. }) = event else {
            return false;
        };
        let (index, side) = leg_of(*token);
        let flow = self.flows.get(index as usize);
        flow.is_some_and(|flow| flow.leg(side).receiving == Receiving::Taking)
    }

    /// Whose SIM's connection something has come from.
    fn imsi_of(&self, event: &Event) -> Option<Imsi> {
        let (Event::Received { token, .. } | Event::ReceiveEnded { token, .. }) = event else {
            return None;
        };
        let flow = self.flows.get(leg_of(*token).0 as usize)?;
        Some(flow.session.opening().identity.imsi)
    }
}

/// Whether an event says that no buffer was left.
const fn is_starved(event: &Event) -> bool {
    matches!(
        event,
        Event::ReceiveEnded {
            end: End::NoBuffer,
            ..
        }
    )
}

/// Bytes that came with an event.
const fn bytes_of(event: &Event) -> usize {
    match event {
        Event::Received { length, .. } => *length,
        Event::ReceiveEnded { .. }
        | Event::Sent { .. }
        | Event::Ready { .. }
        | Event::Timer
        | Event::Woken => 0,
    }
}
