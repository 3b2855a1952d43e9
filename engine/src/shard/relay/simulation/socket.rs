//! Socket: a model of one connection in the kernel, and what the ring does for it.

use super::dice::Dice;
use crate::sys::ring::{End, Intake, Token};

/// Bytes in order; they come in at the end and leave at the front.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    bytes: Vec<u8>,
    start: usize,
}

impl Pipe {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.start
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The first bytes, so many at most.
    pub(super) fn front(&self, most: usize) -> &[u8] {
        &self.bytes[self.start..self.bytes.len().min(self.start + most)]
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.start += count;
        if self.start == self.bytes.len() {
            self.clear();
        }
    }

    /// Leaves so many bytes.
    pub(super) fn truncate(&mut self, count: usize) {
        self.bytes.truncate(self.start + count);
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.start = 0;
    }
}

/// A receive that the ring does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receive {
    pub(super) token: Token,
    pub(super) intake: Intake,
    pub(super) is_cancelled: bool,
}

/// A waiting send that the ring does.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) token: Token,
    pub(super) bytes: Vec<u8>,
    pub(super) from: usize,
    pub(super) is_cancelled: bool,
    /// It was submitted just now, so that any room will do.
    pub(super) is_fresh: bool,
}

/// What the ring was asked to tell.
#[derive(Clone, Copy, Debug)]
pub(super) struct Poll {
    pub(super) token: Token,
    pub(super) is_cancelled: bool,
}

/// A connection of the relay, and the peer's end of it.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Socket {
    /// What the peer has sent and the relay has not received.
    pub(super) inbound: Pipe,
    pub(super) inbound_room: usize,
    /// Since when something of it is there, in milliseconds.
    pub(super) unread_ms: Option<u64>,
    /// The peer sends nothing more.
    pub(super) has_peer_finished: bool,
    /// The peer does not read any more: what is sent to it breaks the connection.
    pub(super) has_peer_left: bool,
    /// What the kernel took from the relay and the peer has not.
    pub(super) outbound: Pipe,
    pub(super) outbound_room: usize,
    /// The relay sends nothing more.
    pub(super) has_finished: bool,
    /// The connection broke.
    pub(super) is_broken: bool,
    /// A receive has told that.
    pub(super) has_told_broken: bool,
    pub(super) receive: Option<Receive>,
    pub(super) sending: Option<Waiting>,
    /// When it can be read from, and sent to.
    polls: [Option<Poll>; 2],
    pub(super) is_closed: bool,
    /// From which byte on the peer says what is no TLS.
    pub(super) lies_from: Option<usize>,
    /// The session has ended.
    pub(super) is_ending: bool,
    /// What a receive said at the end.
    pub(super) told: Option<End>,
    /// A send has failed.
    pub(super) has_send_failed: bool,
    /// Everything that the relay received.
    pub(super) received: Vec<u8>,
    /// Everything that the kernel took from the relay.
    pub(super) taken: Vec<u8>,
    /// Closing it lost what the peer had not taken.
    pub(super) has_lost: bool,
    /// When something was received last, when the peer took something last, and when it was closed.
    pub(super) received_ms: u64,
    pub(super) delivered_ms: u64,
    pub(super) closed_ms: u64,
}

impl Socket {
    pub(super) fn new([inbound_room, outbound_room]: [usize; 2], now_ms: u64) -> Self {
        Self {
            inbound: Pipe::default(),
            inbound_room,
            unread_ms: None,
            has_peer_finished: false,
            has_peer_left: false,
            outbound: Pipe::default(),
            outbound_room,
            has_finished: false,
            is_broken: false,
            has_told_broken: false,
            receive: None,
            sending: None,
            polls: [None; 2],
            is_closed: false,
            lies_from: None,
            is_ending: false,
            told: None,
            has_send_failed: false,
            received: Vec::new(),
            taken: Vec::new(),
            has_lost: false,
            received_ms: now_ms,
            delivered_ms: now_ms,
            closed_ms: 0,
        }
    }

    pub(super) fn can_receive(&self) -> bool {
        let is_over = self.is_broken || self.has_peer_finished;
        self.receive
            .is_some_and(|receive| receive.is_cancelled || self.inbound.len() > 0 || is_over)
    }

    pub(super) fn can_send(&self) -> bool {
        let is_over = self.is_over_for_sending();
        self.sending.as_ref().is_some_and(|waiting| {
            let is_free = self.has_good_room() || (waiting.is_fresh && self.room() > 0);
            waiting.is_cancelled || is_free || is_over
        })
    }

    /// Once something waits, the kernel goes on with it only when a good part is free.
    fn has_good_room(&self) -> bool {
        self.room() >= self.outbound_room / 3
    }

    pub(super) const fn poll_mut(&mut self, is_writable: bool) -> &mut Option<Poll> {
        let [readable, writable] = &mut self.polls;
        if is_writable { writable } else { readable }
    }

    /// Whether a poll has something to tell.
    pub(super) fn is_ready(&self, is_writable: bool) -> bool {
        let [readable, writable] = self.polls;
        if is_writable {
            let is_free = self.has_good_room() || self.is_over_for_sending();
            writable.is_some_and(|poll| poll.is_cancelled || is_free)
        } else {
            let is_over = self.is_broken || self.has_peer_finished;
            let has_come = self.inbound.len() > 0 || is_over;
            readable.is_some_and(|poll| poll.is_cancelled || has_come)
        }
    }

    /// Whether the ring has nothing to do with it.
    pub(super) fn is_free(&self) -> bool {
        let is_polled = self.polls.iter().any(Option::is_some);
        self.receive.is_none() && self.sending.is_none() && !is_polled
    }

    /// The relay has received so many bytes.
    pub(super) fn came_off(&mut self, count: usize, now_ms: u64) {
        self.received_ms = now_ms;
        self.inbound.skip(count);
        self.unread_ms = (self.inbound.len() > 0).then_some(now_ms);
    }

    /// Why a receive ends where nothing is there.
    pub(super) fn receive_end(&mut self) -> End {
        let end = if self.is_broken && !self.has_told_broken {
            self.has_told_broken = true;
            End::Broken(libc::ECONNRESET)
        } else if self.is_broken || self.has_peer_finished {
            End::Closed
        } else {
            return End::Cancelled;
        };
        self.told.get_or_insert(end);
        end
    }

    pub(super) fn room(&self) -> usize {
        self.outbound_room.saturating_sub(self.outbound.len())
    }

    /// What the peer may send now, in bytes.
    pub(super) fn peer_room(&self) -> usize {
        self.inbound_room.saturating_sub(self.inbound.len())
    }

    /// Whether the peer has something to read.
    pub(super) fn has_outbound(&self) -> bool {
        self.outbound.len() > 0
    }

    /// Whether the peer can read that it is over.
    pub(super) const fn is_over(&self) -> bool {
        self.has_finished || self.is_closed || self.is_broken
    }

    pub(super) const fn is_closed(&self) -> bool {
        self.is_closed
    }

    pub(super) const fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Whether the ring has a waiting send of it.
    pub(super) const fn is_sending(&self) -> bool {
        self.sending.is_some()
    }

    /// The session has ended. What is no TLS must not come behind its end: where rustls has said its last word it
    /// takes the answer to that for a mistake of its own, in a debug build.
    pub(super) fn end(&mut self) {
        self.is_ending = true;
        if let Some(from) = self.lies_from {
            self.inbound
                .truncate(from.saturating_sub(self.received.len()));
        }
    }

    /// Whether nothing can be sent any more.
    pub(super) const fn is_over_for_sending(&self) -> bool {
        self.is_broken || self.has_finished
    }

    /// The kernel takes so many of these bytes.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        most: usize,
        dice: &mut Dice,
    ) -> Result<usize, i32> {
        if self.is_over_for_sending() {
            self.has_send_failed = true;
            return Err(if dice.once_in(2) {
                libc::EPIPE
            } else {
                libc::ECONNRESET
            });
        }
        let count = bytes.len().min(most);
        self.taken.extend_from_slice(&bytes[..count]);
        if !self.has_peer_left {
            self.outbound.push(&bytes[..count]);
        } else if count > 0 {
            self.is_broken = true;
        }
        Ok(count)
    }

    /// What the peer has not read is lost.
    pub(super) fn lose(&mut self) {
        self.has_lost |= self.outbound.len() > 0;
        self.outbound.clear();
        self.inbound.clear();
        self.is_broken = true;
    }
}
