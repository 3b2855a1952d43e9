//! Splice: the rest of a large message goes from one socket to the other through a pipe, without coming into user
//! space. Its head was rewritten as any other; what follows it is read as before.

use std::io;

use ringbeam_proto::session::Side;

use super::leg::{Reading, Receiving, Sending};
use super::sends::block;
use super::wire::Wire;
use super::{Relay, token};
use crate::limits::{PIPE_BYTES, PIPES, SPLICES_IN_A_ROW};
use crate::sys::pipe::Pipe;

/// What holds up a message that is being spliced.
enum Wait {
    /// Its sender has nothing more there.
    Source,
    /// Its receiver takes nothing.
    Target,
    /// Others have their turn.
    Turn,
}

impl<W: Wire> Relay<W> {
    /// Begins to splice what comes from a side, where that pays, or goes on with it.
    pub(super) fn splice(&mut self, index: u32, from: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        // What its upstream still says reaches a device that has closed for sending alone.
        if flow.discards(from) {
            return self.end_splice(index, from);
        }
        if flow.way(from).pipe.is_none() {
            let is_free = flow.leg(from).receiving == Receiving::Off
                && flow.leg(from).reading == Reading::Open
                && flow.leg(from.other()).sending == Sending::Open
                && flow.leg(from.other()).is_clear()
                && !flow.leg(from.other()).is_absent()
                && flow.way(from).kept.is_empty()
                && flow.way(from).ending.is_none();
            if !is_free || !flow.wants_to_splice(from) {
                return;
            }
            for socket in [flow.device.socket(), flow.upstream.socket()] {
                if !socket.is_some_and(|socket| self.wire.never_wait(socket)) {
                    return;
                }
            }
            let Some(pipe) = self.take_pipe() else {
                return;
            };
            if let Some(flow) = self.flows.get_mut(index as usize) {
                flow.way_mut(from).pipe = Some(pipe);
            }
        }
        self.go_on_splicing(index, from);
    }

    fn go_on_splicing(&mut self, index: u32, from: Side) {
        let to = from.other();
        let now_ms = self.now_ms;
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let polls = (flow.leg(from).polls.readable, flow.leg(to).polls.writable);
        if polls != (false, false) {
            return;
        }
        let before = flow.session.payload_left(from);
        let Some(mut pipe) = flow.way_mut(from).pipe.take() else {
            return;
        };
        let wait = self.pump_pipe(index, from, &mut pipe);
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let left = flow.session.payload_left(from);
        if left < before {
            flow.leg_mut(to).unblock();
        }
        let is_over = flow.leg(from).reading != Reading::Open && pipe.bytes() == 0;
        let is_lost = flow.leg(to).sending != Sending::Open;
        let unsent = pipe.bytes();
        flow.way_mut(from).pipe = Some(pipe);
        if is_lost {
            // What follows in the stream is understood all the same.
            self.lost(index, from, unsent);
            return self.end_splice(index, from);
        }
        if left == 0 || is_over {
            return self.end_splice(index, from);
        }
        match wait {
            Wait::Turn => self.attend_to(index),
            Wait::Source => {
                let leg = flow.leg_mut(from);
                if let Some(socket) = leg.socket() {
                    self.wire.poll(socket, token(index, from), false);
                    leg.polls.readable = true;
                }
            }
            Wait::Target => {
                let leg = flow.leg_mut(to);
                if let Some(socket) = leg.socket() {
                    self.wire.poll(socket, token(index, to), true);
                    leg.polls.writable = true;
                }
                let leg = flow.leg_mut(to);
                if leg.blocked_ms().is_none() {
                    block(&mut self.wire, leg, now_ms);
                }
            }
        }
    }

    /// Moves what can be moved.
    fn pump_pipe(&mut self, index: u32, from: Side, pipe: &mut Pipe) -> Wait {
        let to = from.other();
        for _ in 0..SPLICES_IN_A_ROW {
            let Some(flow) = self.flows.get_mut(index as usize) else {
                return Wait::Turn;
            };
            let left = flow.session.payload_left(from).saturating_sub(pipe.bytes());
            let room = PIPE_BYTES.saturating_sub(pipe.bytes()).min(left);
            let mut is_source_empty = room == 0;
            let leg = flow.leg_mut(from);
            if room > 0
                && leg.reading == Reading::Open
                && let Some(socket) = leg.socket()
            {
                match self.wire.fill(pipe, socket, room) {
                    Ok(0) => leg.reading = Reading::Closed,
                    Ok(_) => {}
                    Err(error) if is_later(&error) => is_source_empty = true,
                    Err(error) => {
                        leg.reading = Reading::Broken;
                        let error = error.raw_os_error().unwrap_or_default();
                        flow.record.faults.note(from, error);
                    }
                }
            }
            if pipe.bytes() == 0 {
                return Wait::Source;
            }
            let leg = flow.leg_mut(to);
            let moved = match leg.socket() {
                Some(socket) => self.wire.drain(pipe, socket),
                None => Ok(0),
            };
            match moved {
                Ok(count) => self.passed(index, from, count),
                Err(error) if is_later(&error) => return Wait::Target,
                Err(error) => {
                    leg.break_sending();
                    let error = error.raw_os_error().unwrap_or_default();
                    flow.record.faults.note(to, error);
                    return Wait::Turn;
                }
            }
            if is_source_empty && pipe.bytes() == 0 {
                return Wait::Source;
            }
        }
        Wait::Turn
    }

    /// Bytes of a message are with the kernel.
    fn passed(&mut self, index: u32, from: Side, count: usize) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if from == Side::Upstream {
            // B-KEEP-5: a message that goes on slowly has not stopped.
            flow.stuck_ms = flow.stuck_ms.map(|_| self.now_ms);
        }
        self.work.splices += 1;
        self.work.spliced_bytes += count as u64;
        let outputs = &mut self.batch.outputs;
        flow.session
            .passed_elsewhere(from, count, self.now_ms, outputs);
        let reply = std::mem::take(&mut outputs.reply);
        self.say(index, from, &reply);
    }

    /// Bytes of a message came to a leg that takes nothing any more.
    fn lost(&mut self, index: u32, from: Side, count: usize) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let outputs = &mut self.batch.outputs;
        flow.session.lost_elsewhere(from, count, outputs);
        let reply = std::mem::take(&mut outputs.reply);
        self.say(index, from, &reply);
    }

    /// A message has passed, or never will.
    pub(super) fn end_splice(&mut self, index: u32, from: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let Some(pipe) = flow.way_mut(from).pipe.take() else {
            return;
        };
        let to = from.other();
        for (leg, is_writable) in [(from, false), (to, true)] {
            let polls = flow.leg(leg).polls;
            let is_set = if is_writable {
                polls.writable
            } else {
                polls.readable
            };
            if is_set {
                self.wire.cancel_poll(token(index, leg), is_writable);
            }
        }
        // The next one may be as large: little of it shall be received before that is known.
        // What waited for the end of the message comes now.
        let due = flow.leg_mut(to).take_due();
        self.say(index, to, &due);
        self.attend_to(index);
        self.give_back_pipe(pipe);
    }

    /// Whether there is a pipe for one more.
    pub(super) fn has_pipe(&self) -> bool {
        !self.pipes.is_empty() || self.pipe_count < PIPES
    }

    fn take_pipe(&mut self) -> Option<Box<Pipe>> {
        if let Some(pipe) = self.pipes.pop() {
            return Some(pipe);
        }
        if self.pipe_count >= PIPES {
            return None;
        }
        let pipe = self.wire.pipe()?;
        self.pipe_count += 1;
        Some(Box::new(pipe))
    }

    fn give_back_pipe(&mut self, pipe: Box<Pipe>) {
        if pipe.bytes() == 0 {
            self.pipes.push(pipe);
        } else {
            // Half a message is in it.
            self.pipe_count -= 1;
        }
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
