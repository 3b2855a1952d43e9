//! Turns: in which order the relay deals with what has come. Of one connection a few buffers go at a time, then
//! others have their turn, and who had none in a round comes first in the next: who sends as much as it can does not
//! go before who sends a little.

use super::wire::Wire;
use super::{Relay, leg_of};
use crate::limits::READS_IN_A_ROW;
use crate::sys::ring::{Event, Token};

impl<W: Wire> Relay<W> {
    /// Deals with what has come, as far as it fits the round. Who had no turn in it comes first in the next one.
    pub(super) fn deal(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let mut first = None;
        let mut is_shared = false;
        for _ in 0..self.pending.len() {
            let Some(event) = self.pending.pop_front() else {
                break;
            };
            let token = whose(&event);
            if let Some(token) = token {
                is_shared |= *first.get_or_insert(token) != token;
            }
            if self.batch.is_full() {
                let had_turns = token.is_some_and(|token| self.turns(token) > 0);
                let left = if had_turns {
                    &mut self.put_off
                } else {
                    &mut self.unserved
                };
                left.push_back(event);
            } else if token.is_none_or(|token| self.take_turn(token) <= READS_IN_A_ROW) {
                self.event(event);
            } else {
                self.put_off.push_back(event);
            }
        }
        for left in [&mut self.put_off, &mut self.unserved] {
            while let Some(event) = left.pop_back() {
                self.pending.push_front(event);
            }
        }
        // With nobody else there one goes on.
        while !is_shared
            && !self.batch.is_full()
            && let Some(event) = self.pending.pop_front()
        {
            self.event(event);
        }
    }

    /// Takes one more turn for a connection: how many it has had in this round.
    fn take_turn(&mut self, token: Token) -> usize {
        let (index, side) = leg_of(token);
        let rounds = self.rounds;
        let flow = self.flows.get_mut(index as usize);
        flow.map_or(0, |flow| flow.leg_mut(side).take_turn(rounds))
    }

    /// How many turns a connection has had in this round.
    fn turns(&self, token: Token) -> usize {
        let (index, side) = leg_of(token);
        let flow = self.flows.get(index as usize);
        flow.map_or(0, |flow| flow.leg(side).turns(self.rounds))
    }
}

/// The connection that something has come from.
const fn whose(event: &Event) -> Option<Token> {
    match event {
        Event::Received { token, .. } | Event::ReceiveEnded { token, .. } => Some(*token),
        Event::Sent { .. } | Event::Ready { .. } | Event::Timer | Event::Woken => None,
    }
}
