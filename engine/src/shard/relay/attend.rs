//! Attend: what an event alone does not tell. A session that waits, ends or changes is looked at once more,
//! before the relay sleeps, until nothing about it is special.

use ringbeam_proto::session::Side;

use super::batch::NONE;
use super::flow::{Flow, Stage};
use super::leg::Receiving;
use super::wire::Wire;
use super::{Relay, token};
use crate::sys::ring::Intake;

impl<W: Wire> Relay<W> {
    /// Looks at a session.
    pub(super) fn attend(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        flow.is_queued = false;
        if flow.device.entry != NONE || flow.upstream.entry != NONE {
            // What became of the round's sends has to be known. In a later round ever more of the session could be in
            // the way.
            self.flush();
        }
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if flow.upstream.is_left {
            let parted = self.parted(index);
            self.follow(index, parted);
        }
        for side in [Side::Upstream, Side::Device] {
            let is_unseen = self.flows.get(index as usize).is_some_and(|flow| {
                !flow.discards(side) && flow.has_unseen(side) && flow.may_process(side)
            });
            if is_unseen {
                self.process_kept(index, side);
            }
        }
        let Some(flow) = self.flows.get(index as usize) else {
            return;
        };
        if flow.device.entry != NONE || flow.upstream.entry != NONE {
            return self.attend_to(index);
        }
        for side in [Side::Upstream, Side::Device] {
            self.splice(index, side);
        }
        if self.greet(index) {
            self.prevail(index);
        }
        let Some(flow) = self.flows.get(index as usize) else {
            return;
        };
        if flow.has_ended() {
            self.go_on_ending(index);
        } else {
            let sides = [Side::Upstream, Side::Device];
            let over = sides.into_iter().find_map(|side| flow.over(side));
            let outcome = match over {
                Some(cause) => {
                    self.attend_to(index);
                    self.survive(index, cause)
                }
                None => self.renewal_moved(index),
            };
            self.follow(index, outcome);
        }
        self.regulate(index);
    }

    /// Has the ring receive what is wanted, and the wheel look when it has to.
    fn regulate(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        flow.note_limited(now_ms);
        flow.note_withheld(now_ms);
        for side in [Side::Device, Side::Upstream] {
            self.regulate_receiving(index, side);
        }
        self.trim(index);
        self.count_waiting(index);
        if let Some(flow) = self.flows.get_mut(index as usize) {
            flow.is_special = !flow.is_plain();
        }
        self.arm(index);
    }

    /// Has the ring receive from a side what is wanted.
    fn regulate_receiving(&mut self, index: u32, side: Side) {
        let is_greedy = self.is_greedy(index);
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let wants = flow.wants_to_receive(side, now_ms);
        let leg = flow.leg_mut(side);
        match leg.receiving {
            Receiving::Off if wants && is_greedy => self.wait_for_turn(index, side),
            Receiving::Off if wants && leg.is_starved => self.wait_for_buffer(index, side),
            Receiving::Off if wants => {
                if let Some(socket) = leg.socket() {
                    let (intake, receiving) = if leg.is_bulk {
                        (Intake::Once, Receiving::Once)
                    } else {
                        (Intake::Armed, Receiving::Armed)
                    };
                    self.wire.receive(socket, token(index, side), intake);
                    leg.receiving = receiving;
                }
            }
            Receiving::Armed if !wants || leg.is_bulk || is_greedy => {
                self.wire.cancel_receive(token(index, side));
                leg.receiving = Receiving::Cancelling;
            }
            Receiving::Once if !wants => {
                self.wire.cancel_receive(token(index, side));
                leg.receiving = Receiving::Cancelling;
            }
            Receiving::Queued if !wants => leg.receiving = Receiving::Off,
            Receiving::Off
            | Receiving::Armed
            | Receiving::Once
            | Receiving::Polled
            | Receiving::Queued
            | Receiving::Taking
            | Receiving::Cancelling => {}
        }
    }

    /// Has the wheel look at a session no later than when it is due.
    fn arm(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let Some(due_ms) = flow.due_ms(now_ms) else {
            return;
        };
        if due_ms < flow.visit_ms {
            flow.visit_ms = due_ms;
            self.wheel.visit(due_ms, (index, flow.generation));
            self.wire.set_timer(self.wheel.next_ms());
        }
    }

    /// The time that was set has come.
    pub(super) fn timer(&mut self) {
        let now_ms = self.now_ms;
        let mut visited = Vec::new();
        self.wheel
            .advance(now_ms, |visit_ms, key| visited.push((visit_ms, key)));
        for (visit_ms, (index, generation)) in visited {
            if index == NONE {
                self.tend_taps();
                continue;
            }
            let flow = self.flows.get_mut(index as usize);
            let is_current =
                |flow: &&mut Flow| flow.generation == generation && flow.visit_ms == visit_ms;
            let Some(flow) = flow.filter(is_current) else {
                continue;
            };
            flow.visit_ms = u64::MAX;
            if flow.due_ms(now_ms).is_some_and(|due_ms| due_ms <= now_ms) {
                self.due(index);
            }
            // It is put where it belongs now, and goes on if it waited for this time alone.
            self.attend_to(index);
        }
        let next_ms = self.wheel.next_ms();
        if next_ms != u64::MAX {
            self.wire.set_timer(next_ms);
        }
    }

    /// A deadline of a session has come.
    fn due(&mut self, index: u32) {
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if flow.has_ended() {
            flow.stage = Stage::Reaping;
            return;
        }
        // B-KEEP-5: what the peer has taken since is progress, though the kernel calls for more only when a good
        // part of its queue is free.
        for side in [Side::Device, Side::Upstream] {
            let leg = flow.leg_mut(side);
            let Some(socket) = leg.blocked_ms().and_then(|_| leg.socket()) else {
                continue;
            };
            let undelivered = self.wire.undelivered(socket);
            if leg.has_delivered(undelivered) {
                leg.block(now_ms, undelivered);
            }
        }
        let overdue = flow
            .deadline()
            .filter(|(deadline_ms, _)| *deadline_ms <= now_ms);
        let outcome = match overdue {
            Some((_, cause)) => self.survive(index, cause),
            None => Ok(()),
        };
        let outcome = outcome.and_then(|()| self.renewal_due(index));
        self.follow(index, outcome);
    }
}
