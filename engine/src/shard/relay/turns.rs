//! Turns: in which order the relay deals with what has come. Of one connection a few buffers go at a time, then
//! others have their turn: who sends as much as it can does not go before who sends a little.

use super::wire::Wire;
use super::{Relay, leg_of};
use crate::limits::READS_IN_A_ROW;
use crate::sys::ring::{Event, Token};

impl<W: Wire> Relay<W> {
    /// Deals with what has come, as far as it fits the round.
    pub(super) fn deal(&mut self) {
        self.rounds = self.rounds.wrapping_add(1);
        let mut first = None;
        let mut is_shared = false;
        for _ in 0..self.pending.len() {
            if self.batch.is_full() {
                break;
            }
            let Some(event) = self.pending.pop_front() else {
                break;
            };
            if let Some(token) = whose(&event) {
                is_shared |= *first.get_or_insert(token) != token;
                if !self.has_turn(token) {
                    self.put_off.push_back(event);
                    continue;
                }
            }
            self.event(event);
        }
        while let Some(event) = self.put_off.pop_back() {
            self.pending.push_front(event);
        }
        // With nobody else there one goes on.
        while !is_shared
            && !self.batch.is_full()
            && let Some(event) = self.pending.pop_front()
        {
            self.event(event);
        }
    }

    /// Whether it is a connection's turn; that takes one from its share of the round.
    fn has_turn(&mut self, token: Token) -> bool {
        let (index, side) = leg_of(token);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return true;
        };
        flow.leg_mut(side).take_turn(self.rounds) <= READS_IN_A_ROW
    }
}

/// The connection that something has come from.
const fn whose(event: &Event) -> Option<Token> {
    match event {
        Event::Received { token, .. } | Event::ReceiveEnded { token, .. } => Some(*token),
        Event::Sent { .. } | Event::Ready { .. } | Event::Timer | Event::Woken => None,
    }
}
