//! Outgoing: what a device sends, when it is due and as far as the connection takes it.

use std::io;
use std::rc::Rc;

use super::Device;
use crate::fleet::{Fleet, Span};
use crate::message::Stamp;
use crate::sys::monotonic_ns;
use crate::wire::{Qos, encode, kind};

/// Bytes that are put together before they are sent.
const BATCH_BYTES: usize = 64 * 1024;

/// What becomes of a device after its turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is due again at this time, in ns.
    At(u64),
    /// It waits for the connection, an acknowledgement or a credit.
    Waits,
    /// There is nothing more to send.
    Finished,
}

impl Device {
    /// Sends what is due by now, by the schedule.
    pub fn send_due(self: &Rc<Self>, fleet: &Rc<Fleet>, now_ns: u64) -> Next {
        let span = fleet.span.get();
        loop {
            if !self.is_open() {
                return Next::Finished;
            }
            let due_ns = span.due(self.traffic.borrow().times.peek());
            if due_ns >= span.end_ns {
                self.flush(fleet);
                return Next::Finished;
            }
            if due_ns > now_ns {
                self.flush(fleet);
                return if self.is_blocked() {
                    Next::Waits
                } else {
                    Next::At(due_ns)
                };
            }
            if self.is_blocked() || !self.has_room() {
                self.flush(fleet);
                return Next::Waits;
            }
            let released_ns = {
                let mut traffic = self.traffic.borrow_mut();
                traffic.times.advance();
                traffic.released_ns
            };
            // What the entry point has held back is late for its reasons, not for ours.
            if due_ns >= released_ns && due_ns >= span.measure_ns {
                fleet.tally.lag.with(|lag| lag.record(now_ns - due_ns));
            }
            self.append(fleet, due_ns);
        }
    }

    /// Sends as many messages as it has credits.
    pub fn send_credits(self: &Rc<Self>, fleet: &Rc<Fleet>, now_ns: u64) -> Next {
        if !self.is_open() || now_ns >= fleet.span.get().end_ns {
            return Next::Finished;
        }
        while self.traffic.borrow().credits > 0 && !self.is_blocked() && self.has_room() {
            self.traffic.borrow_mut().credits -= 1;
            self.append(fleet, now_ns);
        }
        self.flush(fleet);
        Next::Waits
    }

    /// Sends one message now.
    pub fn send_one(self: &Rc<Self>, fleet: &Rc<Fleet>) {
        self.append(fleet, monotonic_ns());
        self.flush(fleet);
    }

    /// Adds credits: so many messages may be sent.
    pub fn add_credits(&self, credits: u32) {
        self.traffic.borrow_mut().credits += credits;
    }

    /// Marks it as in the sender's queue or not; returns whether that is a change.
    pub fn set_queued(&self, is_queued: bool) -> bool {
        std::mem::replace(&mut self.traffic.borrow_mut().is_queued, is_queued) != is_queued
    }

    /// How many messages were due by then and have not been sent, by the schedule.
    pub fn missed(&self, span: Span, now_ns: u64) -> u64 {
        let until_ns = now_ns.min(span.end_ns);
        let mut times = self.traffic.borrow().times.clone();
        let mut missed = 0;
        while span.due(times.peek()) < until_ns {
            times.advance();
            missed += 1;
        }
        missed
    }

    /// Sends a PINGREQ unless something was sent since then, in ns.
    pub fn ping(self: &Rc<Self>, fleet: &Rc<Fleet>, since_ns: u64) {
        if self.is_open() && self.last_sent_ns.get() <= since_ns {
            fleet.tally.pings.increment();
            self.send(fleet, |out| encode::bare(out, kind::PINGREQ));
        }
    }

    pub(super) fn disconnect(&self, fleet: &Fleet) {
        let mut link = self.link.borrow_mut();
        encode::bare(&mut link.out, kind::DISCONNECT);
        let Some(socket) = link.socket.clone() else {
            return;
        };
        // If the connection takes no more, it is cut off as it is.
        let rest = link.rest();
        if socket.send(rest).ok() != Some(rest.len()) {
            fleet.tally.error("DISCONNECT could not be sent");
        }
    }

    /// Sends a packet.
    pub(super) fn send(self: &Rc<Self>, fleet: &Rc<Fleet>, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.link.borrow_mut().out);
        self.flush(fleet);
    }

    pub(super) fn has_room(&self) -> bool {
        self.qos == Qos::AtMostOnce || self.traffic.borrow().in_flight.has_room()
    }

    fn is_blocked(&self) -> bool {
        self.link.borrow().is_blocked
    }

    /// Puts a message behind what is to be sent.
    fn append(self: &Rc<Self>, fleet: &Rc<Fleet>, intended_ns: u64) {
        let span = fleet.span.get();
        let is_warm_up = intended_ns < span.measure_ns;
        let mut traffic = self.traffic.borrow_mut();
        let stamp = Stamp {
            run: fleet.run,
            device: self.number,
            sequence: traffic.sequence,
            intended_ns: intended_ns.wrapping_add(fleet.clock_offset_ns),
            clock: fleet.clock,
            is_warm_up,
            topic_sum: self.topic_sum,
        };
        traffic.sequence = traffic.sequence.wrapping_add(1);
        let id = match self.qos {
            Qos::AtMostOnce => 0,
            Qos::AtLeastOnce | Qos::ExactlyOnce => {
                fleet.tally.awaited.increment();
                traffic.in_flight.begin(intended_ns)
            }
        };
        drop(traffic);
        let mut link = self.link.borrow_mut();
        self.prefix.append(&mut link.out, id);
        link.out.extend_from_slice(&stamp.head(&fleet.filler));
        link.out.extend_from_slice(fleet.filler.bytes());
        let is_full = link.out.len() >= BATCH_BYTES;
        drop(link);
        fleet.tally.sent.increment();
        if !is_warm_up {
            fleet.tally.measured.increment();
        }
        if is_full {
            self.flush(fleet);
        }
    }

    /// Sends what there is; what the kernel does not take goes out when it does.
    pub(super) fn flush(self: &Rc<Self>, fleet: &Rc<Fleet>) {
        let mut link = self.link.borrow_mut();
        let Some(socket) = link.socket.clone() else {
            link.clear();
            return;
        };
        if link.is_blocked || link.out.is_empty() {
            return;
        }
        self.last_sent_ns.set(fleet.now_ns.get());
        match socket.send(&link.out) {
            Ok(length) if length == link.out.len() => {
                link.clear();
                if link.out.capacity() > 2 * BATCH_BYTES {
                    link.out = Vec::new();
                }
                return;
            }
            Ok(length) => link.taken = length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // Whoever reads the connection finds it broken, and says so.
            Err(_) => {
                link.clear();
                return;
            }
        }
        link.is_blocked = true;
        drop(link);
        monoio::spawn(Rc::clone(self).unblock(Rc::clone(fleet), socket));
    }

    /// Waits until the connection has taken everything, then lets the schedule go on.
    async fn unblock(self: Rc<Self>, fleet: Rc<Fleet>, socket: Rc<crate::sys::Socket>) {
        loop {
            if socket.writable().await.is_err() {
                return;
            }
            let mut link = self.link.borrow_mut();
            let is_current = link
                .socket
                .as_ref()
                .is_some_and(|current| Rc::ptr_eq(current, &socket));
            if !is_current {
                return;
            }
            match socket.send(link.rest()) {
                Ok(length) => link.taken += length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                Err(_) => return,
            }
            if link.rest().is_empty() {
                link.clear();
                break;
            }
        }
        self.traffic.borrow_mut().released_ns = monotonic_ns();
        fleet.queue(&self);
    }
}
