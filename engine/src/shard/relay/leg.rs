//! Leg: one of a session's two connections as the relay sees it: whether it is received from, whether it
//! takes what it is sent, and what waits while it does not.

use std::collections::VecDeque;
use std::fmt;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use zeroize::Zeroizing;

use super::batch::NONE;
use super::sealing::Sealing;

/// Whether the ring receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Receiving {
    /// No.
    Off,
    /// Whatever comes.
    Armed,
    /// One buffer of it.
    Once,
    /// The ring tells when something is there.
    Polled,
    /// Something is there, and its turn comes.
    Queued,
    /// What is there, now.
    Taking,
    /// It was told to stop, and has not said that it has.
    Cancelling,
}

/// What can still come from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Open,
    /// Nothing: it has closed.
    Closed,
    /// Nothing: the connection broke.
    Broken,
    /// Nothing: what it says is no TLS.
    Faulty,
}

/// What can still be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Open,
    /// Nothing any more; what is meant for the peer is dropped.
    Broken,
}

/// What the ring was asked to tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Polls {
    pub(super) readable: bool,
    pub(super) writable: bool,
}

/// One connection.
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Leg {
    socket: Option<OwnedFd>,
    pub(super) receiving: Receiving,
    pub(super) reading: Reading,
    pub(super) sending: Sending,
    /// It was given up, and goes as soon as the ring is done with it.
    pub(super) is_left: bool,
    /// Whether it is received from one buffer at a time: much comes, or what comes cannot go on.
    pub(super) is_bulk: bool,
    /// It had its turn taken by others: no buffer was left.
    pub(super) is_starved: bool,
    /// More is there than was received last.
    pub(super) has_more: bool,
    /// Whether it stands in line for a turn, and buffers that it has asked for.
    pub(super) is_in_line: bool,
    pub(super) taking: u8,
    /// Bytes that were read away since the end.
    pub(super) discarded: u32,
    /// Whether the ring will tell when it can be read from, and sent to.
    pub(super) polls: Polls,
    /// Its entry in the batch.
    pub(super) entry: u32,
    /// The round in which it had its last turn, and how many it had in that.
    round: u32,
    turns: u8,
    /// The round in which something of it had to wait, last.
    refused: u32,
    pub(super) tls: Option<Box<Sealing>>,
    slow: Option<Box<Slow>>,
}

/// What there is to keep while a leg takes nothing, or in the middle of something.
#[derive(Debug, Default)]
struct Slow {
    /// What the kernel has not taken, in order.
    queue: VecDeque<Segment>,
    /// Whether the front of it is with the ring.
    is_sending: bool,
    /// Since when the peer takes nothing, in milliseconds.
    blocked_ms: Option<u64>,
    /// What the kernel had not delivered then, in bytes.
    undelivered: usize,
    /// Own bytes that have to wait for the end of a message.
    due: Vec<u8>,
    /// Bytes of memory that the queue takes, what the ring has of it included.
    queued_bytes: usize,
}

/// Bytes that wait to be sent.
pub(super) struct Segment {
    pub(super) bytes: Zeroizing<Vec<u8>>,
    sent: usize,
    /// Bytes of memory that it takes, also while the ring has them.
    held: usize,
    /// Where billed packets end.
    billed_ends: VecDeque<usize>,
    is_own: bool,
}

impl Segment {
    pub(super) fn own(bytes: Vec<u8>) -> Self {
        Self {
            held: bytes.capacity(),
            bytes: Zeroizing::new(bytes),
            sent: 0,
            billed_ends: VecDeque::new(),
            is_own: true,
        }
    }

    pub(super) fn relayed(bytes: Vec<u8>, billed_ends: Vec<usize>) -> Self {
        Self {
            billed_ends: billed_ends.into(),
            is_own: false,
            ..Self::own(bytes)
        }
    }

    fn left(&self) -> usize {
        self.bytes.len().saturating_sub(self.sent)
    }
}

impl fmt::Debug for Segment {
    /// Without the bytes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Segment")
            .field("left", &self.left())
            .field("is_own", &self.is_own)
            .finish_non_exhaustive()
    }
}

impl Leg {
    pub(super) fn new(socket: OwnedFd, tls: Option<Box<Sealing>>) -> Self {
        Self {
            socket: Some(socket),
            tls,
            ..Self::absent()
        }
    }

    /// A leg without a connection.
    pub(super) const fn absent() -> Self {
        Self {
            socket: None,
            receiving: Receiving::Off,
            reading: Reading::Open,
            sending: Sending::Open,
            is_left: false,
            is_bulk: false,
            is_starved: false,
            has_more: false,
            is_in_line: false,
            taking: 0,
            polls: Polls {
                readable: false,
                writable: false,
            },
            discarded: 0,
            entry: NONE,
            round: 0,
            turns: 0,
            refused: 0,
            tls: None,
            slow: None,
        }
    }

    pub(super) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(OwnedFd::as_fd)
    }

    /// Whether there is no connection for the session.
    pub(super) const fn is_absent(&self) -> bool {
        self.is_left || self.socket.is_none()
    }

    /// Gives up the connection, of which nothing may be under way.
    pub(super) fn take_socket(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// Whether the ring still has something to do with it.
    pub(super) fn is_busy(&self) -> bool {
        let Polls { readable, writable } = self.polls;
        self.receiving != Receiving::Off || self.is_sending() || readable || writable
    }

    /// Whether a waiting send is with the ring.
    pub(super) fn is_sending(&self) -> bool {
        self.slow.as_ref().is_some_and(|slow| slow.is_sending)
    }

    /// Whether nothing waits to be sent.
    pub(super) fn is_clear(&self) -> bool {
        self.slow.as_ref().is_none_or(|slow| slow.queue.is_empty())
    }

    /// Whether relayed bytes wait.
    pub(super) fn has_relayed(&self) -> bool {
        let slow = self.slow.as_ref();
        slow.is_some_and(|slow| slow.queue.iter().any(|segment| !segment.is_own))
    }

    /// Own bytes that wait.
    pub(super) fn own_bytes(&self) -> usize {
        self.slow.as_ref().map_or(0, |slow| {
            let own = slow.queue.iter().filter(|segment| segment.is_own);
            own.map(Segment::left)
                .fold(slow.due.len(), usize::saturating_add)
        })
    }

    /// Bytes of memory that wait to be sent.
    pub(super) fn waiting_bytes(&self) -> usize {
        self.slow.as_ref().map_or(0, |slow| {
            slow.queued_bytes.saturating_add(slow.due.capacity())
        })
    }

    /// Since when the peer takes nothing, in milliseconds.
    pub(super) fn blocked_ms(&self) -> Option<u64> {
        self.slow.as_ref()?.blocked_ms
    }

    /// Own bytes that wait for the end of a message.
    pub(super) fn take_due(&mut self) -> Vec<u8> {
        self.slow
            .as_deref_mut()
            .map(|slow| std::mem::take(&mut slow.due))
            .unwrap_or_default()
    }

    /// Has own bytes wait for the end of a message.
    pub(super) fn put_due(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.slow().due.extend_from_slice(bytes);
        }
    }

    /// Bytes that the kernel did not take wait, in order.
    pub(super) fn queue(&mut self, segment: Segment) {
        if segment.left() > 0 && self.sending == Sending::Open {
            let slow = self.slow();
            slow.queued_bytes = slow.queued_bytes.saturating_add(segment.held);
            slow.queue.push_back(segment);
        }
    }

    /// The peer takes nothing from now on; `undelivered` bytes are on their way to it.
    pub(super) fn block(&mut self, now_ms: u64, undelivered: usize) {
        let slow = self.slow();
        slow.blocked_ms = Some(now_ms);
        slow.undelivered = undelivered;
    }

    /// The peer takes something again.
    pub(super) fn unblock(&mut self) {
        if let Some(slow) = self.slow.as_deref_mut() {
            slow.blocked_ms = None;
            if slow.queue.is_empty() && slow.due.is_empty() {
                self.slow = None;
            }
        }
    }

    /// Whether the peer has taken something since it was blocked.
    pub(super) fn has_delivered(&self, undelivered: usize) -> bool {
        let slow = self.slow.as_ref();
        slow.is_some_and(|slow| undelivered < slow.undelivered)
    }

    /// What waits at the front, to be given to the ring: the bytes, and from which on.
    pub(super) fn begin_sending(&mut self) -> Option<(Vec<u8>, usize)> {
        let slow = self.slow.as_deref_mut()?;
        if slow.is_sending {
            return None;
        }
        let segment = slow.queue.front_mut()?;
        slow.is_sending = true;
        Some((std::mem::take(&mut *segment.bytes), segment.sent))
    }

    /// The ring has given back what it was given, `count` bytes of it sent. Returns how many billed packets
    /// ended in those.
    pub(super) fn sent(&mut self, bytes: Vec<u8>, count: usize) -> u32 {
        let Some(slow) = self.slow.as_deref_mut() else {
            return 0;
        };
        slow.is_sending = false;
        let Some(segment) = slow.queue.front_mut() else {
            return 0;
        };
        segment.bytes = Zeroizing::new(bytes);
        segment.sent = segment.sent.saturating_add(count);
        let sent = segment.sent;
        let mut billed = 0;
        while segment
            .billed_ends
            .pop_front_if(|end| *end <= sent)
            .is_some()
        {
            billed += 1;
        }
        if segment.left() == 0 {
            slow.queued_bytes = slow.queued_bytes.saturating_sub(segment.held);
            slow.queue.pop_front();
        }
        if slow.queue.is_empty() {
            slow.blocked_ms = None;
            if slow.due.is_empty() {
                self.slow = None;
            }
        }
        billed
    }

    /// Nothing can be sent any more: what waits is dropped.
    pub(super) fn break_sending(&mut self) {
        self.sending = Sending::Broken;
        self.drop_unsent();
    }

    /// Drops what waits. Nothing of it may be with the ring.
    pub(super) fn drop_unsent(&mut self) {
        debug_assert!(!self.is_sending(), "the ring has to give it back first");
        self.slow = None;
    }

    /// One more turn in a round.
    pub(super) const fn take_turn(&mut self, round: u32) {
        if self.round != round {
            self.round = round;
            self.turns = 0;
        }
        self.turns = self.turns.saturating_add(1);
    }

    /// Something of it has to wait in a round.
    pub(super) const fn refuse(&mut self, round: u32) {
        self.refused = round;
    }

    /// Whether something of it had to wait in a round: what came behind that waits as well.
    pub(super) const fn was_refused(&self, round: u32) -> bool {
        self.refused == round
    }

    /// How many turns it has had in a round.
    pub(super) const fn turns(&self, round: u32) -> usize {
        if self.round == round {
            self.turns as usize
        } else {
            0
        }
    }

    /// What TLS said when it failed, once.
    pub(super) fn take_failure(&mut self) -> Option<String> {
        self.tls.as_deref_mut()?.take_failure()
    }

    fn slow(&mut self) -> &mut Slow {
        self.slow.get_or_insert_default()
    }
}

impl fmt::Debug for Leg {
    /// Without what is to be sent.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Leg")
            .field("receiving", &self.receiving)
            .field("reading", &self.reading)
            .field("sending", &self.sending)
            .field("own_bytes", &self.own_bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leg() -> Leg {
        Leg::new(std::fs::File::open("/dev/null").unwrap().into(), None)
    }

    #[test]
    fn b_bill_1_packets_count_when_their_last_byte_is_taken() {
        let mut leg = leg();
        assert!(leg.is_clear() && leg.begin_sending().is_none());
        leg.queue(Segment::relayed(vec![0; 30], vec![10, 30]));
        leg.queue(Segment::own(vec![0; 4]));
        leg.block(1, 100);
        assert_eq!((leg.own_bytes(), leg.has_relayed()), (4, true));
        let (bytes, from) = leg.begin_sending().unwrap();
        assert_eq!((bytes.len(), from), (30, 0));
        assert!(leg.is_sending() && leg.begin_sending().is_none());
        assert_eq!(leg.sent(bytes, 9), 0);
        let (bytes, from) = leg.begin_sending().unwrap();
        assert_eq!((bytes.len(), from), (30, 9));
        assert_eq!(leg.sent(bytes, 1), 1);
        let (bytes, from) = leg.begin_sending().unwrap();
        assert_eq!(from, 10);
        assert_eq!(leg.sent(bytes, 20), 1);
        assert!(!leg.has_relayed() && leg.blocked_ms().is_some());
        let (bytes, _) = leg.begin_sending().unwrap();
        assert_eq!(leg.sent(bytes, 4), 0);
        assert!(leg.is_clear() && leg.blocked_ms().is_none() && leg.slow.is_none());
    }

    #[test]
    fn b_keep_5_delivery_is_progress() {
        let mut leg = leg();
        leg.queue(Segment::own(vec![0; 4]));
        leg.block(1, 100);
        assert!(!leg.has_delivered(100) && leg.has_delivered(99));
    }

    #[test]
    fn nothing_waits_for_a_broken_connection() {
        let mut leg = leg();
        leg.put_due(&[1, 2]);
        leg.queue(Segment::own(vec![0; 4]));
        leg.break_sending();
        leg.queue(Segment::own(vec![0; 4]));
        assert!(leg.is_clear() && leg.own_bytes() == 0);
    }
}
