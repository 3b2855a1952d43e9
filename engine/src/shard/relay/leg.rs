//! Leg: one of a session's two connections, and what waits to be sent on it beside the relayed bytes.
//! Whether it is TLS makes no difference to whoever uses it.

use std::fmt;
use std::io::{self, IoSlice};
use std::rc::Rc;

use zeroize::Zeroizing;

use super::sealing::Sealing;
use crate::sys::socket::Socket;
use crate::tls::Received;

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

/// What the kernel took of one send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Took {
    /// Everything, which is so many bytes of the caller's.
    All(usize),
    /// Not everything, and so many whole bytes of the caller's.
    Some(usize),
    /// Nothing for now.
    Nothing,
    /// Nothing ever.
    Broken,
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
    /// There is no connection.
    Absent,
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
    /// There is no connection; what is meant for the peer waits for the next one.
    Absent,
}

/// One connection.
pub(super) struct Leg {
    socket: Option<Rc<Socket>>,
    tls: Option<Box<Sealing>>,
    /// Own bytes, in front of which nothing relayed may be left half sent. The first are a CONNECT, with a
    /// password in it: they are erased.
    own: Zeroizing<Vec<u8>>,
    own_sent: usize,
    reading: Reading,
    sending: Sending,
}

impl Leg {
    /// A connection with bytes of our own to send first.
    pub(super) fn new(
        socket: Rc<Socket>,
        tls: Option<Box<Sealing>>,
        own: Zeroizing<Vec<u8>>,
    ) -> Self {
        let has_clear = tls.as_deref().is_some_and(Sealing::has_clear);
        Self {
            socket: Some(socket),
            tls,
            own,
            own_sent: 0,
            reading: if has_clear {
                Reading::Ready
            } else {
                Reading::Idle
            },
            sending: Sending::Open,
        }
    }

    /// The connection, unless there is none.
    pub(super) const fn socket(&self) -> Option<&Rc<Socket>> {
        self.socket.as_ref()
    }

    /// Gives up the connection; the leg waits for another. What was to be sent is forgotten.
    pub(super) fn leave(&mut self) -> Option<Rc<Socket>> {
        self.tls = None;
        self.own.clear();
        self.own_sent = 0;
        self.reading = Reading::Absent;
        self.sending = Sending::Absent;
        self.socket.take()
    }

    /// What TLS said when it failed, once.
    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.tls.as_deref_mut()?.take_failure()
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
        // What is in clear already makes no socket readable.
        let has_clear = self.tls.as_deref().is_some_and(Sealing::has_clear);
        if self.reading == Reading::Ready && !has_clear {
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
            Sending::Open | Sending::Broken | Sending::Absent => None,
        }
    }

    /// Own bytes that wait.
    pub(super) fn own_bytes(&self) -> usize {
        self.own.len().saturating_sub(self.own_sent)
    }

    /// Whether own bytes are half sent: nothing else may go before the rest.
    pub(super) fn is_amid_own(&self) -> bool {
        self.own_sent > 0 || self.tls.as_deref().is_some_and(Sealing::is_amid_own)
    }

    /// Own bytes to be sent.
    pub(super) fn own(&mut self) -> &mut Vec<u8> {
        &mut self.own
    }

    /// Sends own bytes, and says whether none is left.
    pub(super) fn send_own(&mut self, now_ms: u64) -> bool {
        let own = std::mem::take(&mut self.own);
        while let Some(rest) = own.get(self.own_sent..).filter(|rest| !rest.is_empty()) {
            match self.socket_send(&[IoSlice::new(rest)], true, now_ms) {
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
        self.socket_send(slices, false, now_ms)
    }

    /// Sends what TLS has to say by itself. Says whether none of it is left; on a plain connection there
    /// is none.
    pub(super) fn send_records(&mut self, now_ms: u64) -> bool {
        let waits = self.tls.as_deref().is_some_and(Sealing::has_own_records);
        !waits || self.socket_send(&[], false, now_ms) != Sent::Blocked
    }

    fn socket_send(&mut self, slices: &[IoSlice<'_>], is_own: bool, now_ms: u64) -> Sent {
        let total: usize = slices.iter().map(|slice| slice.len()).sum();
        match self.sending {
            Sending::Broken => return Sent::Dropped(total),
            Sending::Blocked(_) | Sending::Absent => return Sent::Blocked,
            Sending::Open | Sending::Unblocked(_) => {}
        }
        let Some(socket) = self.socket.as_deref() else {
            return Sent::Blocked;
        };
        let took = match self.tls.as_deref_mut() {
            None => send_plain(socket, slices, total),
            Some(tls) => tls.send(socket, slices, is_own),
        };
        match took {
            Took::All(count) => {
                self.sending = Sending::Open;
                Sent::Taken(count)
            }
            Took::Some(0) => {
                self.sending = Sending::Blocked(now_ms);
                Sent::Blocked
            }
            Took::Some(count) => {
                self.sending = Sending::Blocked(now_ms);
                Sent::Taken(count)
            }
            Took::Nothing => {
                self.sending = Sending::Blocked(self.blocked_ms().unwrap_or(now_ms));
                Sent::Blocked
            }
            Took::Broken => {
                // What the peer said last may still be there to read; that ends the session.
                self.sending = Sending::Broken;
                Sent::Dropped(total)
            }
        }
    }

    /// Reads what is there: `None` when nothing is, 0 at the end.
    ///
    /// # Errors
    /// When the connection broke, or its TLS (`InvalidData`).
    pub(super) fn receive(&mut self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        let Some(socket) = self.socket.as_deref() else {
            return Ok(None);
        };
        let received = match self.tls.as_deref_mut() {
            None => socket.receive(buffer).map(|count| Received {
                clear: count,
                // What was not filled has emptied the kernel's queue.
                is_filled: count == buffer.len(),
                is_end: count == 0,
            }),
            Some(tls) => tls.receive(socket, buffer),
        };
        match received {
            Ok(received) if received.is_end => {
                self.reading = Reading::Ended;
                if self.sending == Sending::Broken {
                    // Sending has taken the error that reading would have met.
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                Ok(Some(0))
            }
            Ok(received) => {
                self.reading = if received.is_filled {
                    Reading::Ready
                } else {
                    Reading::Idle
                };
                Ok((received.clear > 0).then_some(received.clear))
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

    /// Has TLS say that nothing more will be sent.
    pub(super) fn close_tls(&mut self) {
        if let Some(tls) = self.tls.as_deref_mut() {
            tls.close();
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish_sending(&self) {
        if let Some(socket) = &self.socket {
            socket.finish_sending();
        }
    }
}

impl fmt::Debug for Leg {
    /// Without what is to be sent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Leg")
            .field("own_bytes", &self.own_bytes())
            .field("reading", &self.reading)
            .field("sending", &self.sending)
            .finish_non_exhaustive()
    }
}

fn send_plain(socket: &Socket, slices: &[IoSlice<'_>], total: usize) -> Took {
    match socket.send(slices) {
        Ok(count) if count >= total => Took::All(count),
        Ok(count) => Took::Some(count),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Took::Nothing,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Took::All(0),
        Err(_) => Took::Broken,
    }
}
