//! Leg: one of a session's two connections, and what waits to be sent on it beside the relayed bytes.

use std::io::{self, IoSlice};

use crate::sys::socket::Socket;

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    /// The kernel took this many bytes.
    Taken(usize),
    /// It took nothing for now, or the connection waits to.
    Blocked,
    /// The connection is broken: so many bytes go nowhere.
    Dropped(usize),
}

/// What can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// Nothing, until the ring says so.
    Idle,
    /// Something, or an end.
    Ready,
    /// Nothing more ever.
    Ended,
}

/// What can be sent. Times are in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    /// The peer keeps up.
    Open,
    /// The kernel takes nothing, since this time.
    Blocked(u64),
    /// It may take something again, after taking nothing since this time.
    Unblocked(u64),
    /// Nothing any more; what is meant for the peer is dropped.
    Broken,
}

/// One connection.
#[derive(Debug)]
pub(super) struct Leg<'a> {
    socket: &'a Socket,
    /// Own bytes, in front of which nothing relayed may be left half sent.
    own: Vec<u8>,
    own_sent: usize,
    reading: Reading,
    sending: Sending,
}

impl<'a> Leg<'a> {
    /// A connection with bytes of our own to send first.
    pub(super) const fn new(socket: &'a Socket, own: Vec<u8>) -> Self {
        Self {
            socket,
            own,
            own_sent: 0,
            reading: Reading::Idle,
            sending: Sending::Open,
        }
    }

    pub(super) fn wants_to_read(&self) -> bool {
        self.reading == Reading::Idle
    }

    pub(super) const fn wants_to_send(&self) -> bool {
        matches!(self.sending, Sending::Blocked(_))
    }

    pub(super) fn became_readable(&mut self) {
        if self.reading == Reading::Idle {
            self.reading = Reading::Ready;
        }
    }

    /// Leaves the rest for the ring's next round, in which other sessions have their turn.
    pub(super) fn yield_reading(&mut self) {
        if self.reading == Reading::Ready {
            self.reading = Reading::Idle;
        }
    }

    pub(super) const fn became_writable(&mut self) {
        if let Sending::Blocked(since_ms) = self.sending {
            self.sending = Sending::Unblocked(since_ms);
        }
    }

    pub(super) fn is_readable(&self) -> bool {
        self.reading == Reading::Ready
    }

    pub(super) fn is_ended(&self) -> bool {
        self.reading == Reading::Ended
    }

    /// Since when the peer takes nothing.
    pub(super) const fn blocked_ms(&self) -> Option<u64> {
        match self.sending {
            Sending::Blocked(since_ms) | Sending::Unblocked(since_ms) => Some(since_ms),
            Sending::Open | Sending::Broken => None,
        }
    }

    /// Own bytes that wait.
    pub(super) const fn own_bytes(&self) -> usize {
        self.own.len().saturating_sub(self.own_sent)
    }

    /// Whether own bytes are half sent: nothing else may go before the rest.
    pub(super) const fn is_amid_own(&self) -> bool {
        self.own_sent > 0
    }

    /// Own bytes to be sent.
    pub(super) const fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Sends own bytes, and says whether none is left.
    pub(super) fn send_own(&mut self, now_ms: u64) -> bool {
        let own = std::mem::take(&mut self.own);
        while let Some(rest) = own.get(self.own_sent..).filter(|rest| !rest.is_empty()) {
            match self.socket_send(&[IoSlice::new(rest)], rest.len(), now_ms) {
                Sent::Taken(count) | Sent::Dropped(count) => {
                    self.own_sent = self.own_sent.saturating_add(count);
                }
                Sent::Blocked => {
                    self.own = own;
                    return false;
                }
            }
        }
        self.own_sent = 0;
        true
    }

    /// Sends relayed bytes.
    pub(super) fn send(&mut self, slices: &[IoSlice<'_>], now_ms: u64) -> Sent {
        let total = slices.iter().map(|slice| slice.len()).sum();
        self.socket_send(slices, total, now_ms)
    }

    fn socket_send(&mut self, slices: &[IoSlice<'_>], total: usize, now_ms: u64) -> Sent {
        match self.sending {
            Sending::Broken => return Sent::Dropped(total),
            Sending::Blocked(_) => return Sent::Blocked,
            Sending::Open | Sending::Unblocked(_) => {}
        }
        match self.socket.send(slices) {
            Ok(count) => {
                self.sending = if count < total {
                    Sending::Blocked(now_ms)
                } else {
                    Sending::Open
                };
                Sent::Taken(count)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.sending = Sending::Blocked(self.blocked_ms().unwrap_or(now_ms));
                Sent::Blocked
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Sent::Taken(0),
            Err(_) => {
                // What the peer said last may still be there to read; that ends the session.
                self.sending = Sending::Broken;
                Sent::Dropped(total)
            }
        }
    }

    /// Reads what is there: `None` when nothing is, 0 at the end.
    ///
    /// # Errors
    /// When the connection broke.
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.socket.receive(buffer) {
            // Sending has taken the error that reading would have met.
            Ok(0) if self.sending == Sending::Broken => {
                self.reading = Reading::Ended;
                Err(io::ErrorKind::ConnectionReset.into())
            }
            Ok(count) => {
                self.reading = match count {
                    0 => Reading::Ended,
                    // What was not filled has emptied the kernel's queue.
                    count if count < buffer.len() => Reading::Idle,
                    _ => Reading::Ready,
                };
                Ok(Some(count))
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.reading = Reading::Idle;
                Ok(None)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(None),
            Err(error) => {
                self.reading = Reading::Ended;
                self.sending = Sending::Broken;
                Err(error)
            }
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish_sending(&self) {
        self.socket.finish_sending();
    }
}
