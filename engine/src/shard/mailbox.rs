//! Mailbox: how other threads talk to a shard. A bounded queue, and the wake-up of the shard's ring.

use std::fmt;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};

use ringbeam_proto::identity::Identity;

use super::admission::{Place, Seat};
use super::counters::Totals;
use super::front::Errand;
use super::relay::FlowId;
use super::report::Ask;
use crate::limits::INBOX_MESSAGES;

/// A connection on its way to the shard that owns its SIM.
pub struct Handoff {
    /// The connection.
    pub descriptor: OwnedFd,
    /// The network it came in by.
    pub network: Arc<str>,
    /// The device's address.
    pub peer: SocketAddr,
    /// Whose address it came from.
    pub identity: Option<Identity>,
    /// What was read of it: its CONNECT, whole, and what came behind.
    pub bytes: Bytes,
    /// Its place among the sessions.
    pub place: Place,
}

impl fmt::Debug for Handoff {
    /// Without the CONNECT, in which a password may be.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Handoff")
            .field("peer", &self.peer)
            .field("network", &self.network)
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// What a shard is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Take over a connection.
    Handoff(Box<Handoff>),
    /// The fleet was replaced.
    FleetChanged,
    /// The address of a connection that waits for that may be somebody's by now (B-ID-8).
    Given(Seat),
    /// The same for all of them.
    LookAgain,
    /// Places are short, and a half CONNECT is to end.
    MakeRoom(Seat),
    /// Send a copy of the totals.
    Report(Sender<(usize, Totals)>),
    /// Something that whoever runs the engine wants done or known.
    Ask(Ask),
    /// Stop accepting and end the sessions within so many milliseconds, then stop.
    Drain {
        /// In milliseconds.
        window_ms: u64,
    },
    /// End at once.
    Stop,
    /// An upstream took a connection and did not answer.
    AddressFailed(SocketAddr),
    /// Open another connection for a session of the relay.
    Redial(Box<Errand>),
    /// Nobody needs that one any more.
    GiveUp(FlowId),
    /// The relay has ended.
    RelayEnded,
}

/// Sends to a shard.
#[derive(Debug)]
pub struct Mailbox {
    sender: Sender<Message>,
    waker: Arc<AtomicWaker>,
}

/// Receives on the shard.
#[derive(Debug)]
pub struct Inbox {
    receiver: Receiver<Message>,
    waker: Arc<AtomicWaker>,
}

/// A shard's two ends.
#[must_use]
pub fn mailbox() -> (Mailbox, Inbox) {
    let (sender, receiver) = bounded(INBOX_MESSAGES);
    let waker = Arc::new(AtomicWaker::new());
    (
        Mailbox {
            sender,
            waker: Arc::clone(&waker),
        },
        Inbox { receiver, waker },
    )
}

impl Drop for Inbox {
    /// Whoever waits for an answer learns that there will be none.
    fn drop(&mut self) {
        while self.receiver.try_recv().is_ok() {}
    }
}

impl Mailbox {
    /// Sends and wakes the shard.
    ///
    /// # Errors
    /// Gives the message back when the queue is full or the shard is gone.
    pub(crate) fn send(&self, message: Message) -> Result<(), TrySendError<Message>> {
        self.sender.try_send(message)?;
        self.waker.wake();
        Ok(())
    }
}

impl Inbox {
    /// The next message, waited for.
    pub(crate) async fn next(&mut self) -> Message {
        poll_fn(|context| {
            if let Ok(message) = self.receiver.try_recv() {
                return Poll::Ready(message);
            }
            self.waker.register(context.waker());
            // Whatever was sent before the waker was there.
            self.receiver.try_recv().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_mailbox_gives_the_message_back() {
        let (mailbox, inbox) = mailbox();
        for _ in 0..INBOX_MESSAGES {
            mailbox.send(Message::FleetChanged).unwrap();
        }
        let refused = mailbox.send(Message::Drain { window_ms: 7 });
        assert!(matches!(
            refused,
            Err(TrySendError::Full(Message::Drain { window_ms: 7 }))
        ));
        inbox.receiver.try_recv().unwrap();
        mailbox.send(Message::FleetChanged).unwrap();
        drop(inbox);
        let refused = mailbox.send(Message::Stop);
        assert!(matches!(refused, Err(TrySendError::Disconnected(_))));
    }
}
