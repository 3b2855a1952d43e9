//! Messages: what a relay is told by its shard's front, how its thread is started, and how it ends.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::{Sender, bounded};
use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Imsi;
use tracing::warn;

use super::inbox::{Full, SharedInbox, shared};
use super::renewing::{Renewed, Unrenewed};
use super::wire::Wire;
use super::{FlowId, Relay, Seam, Shared};
use crate::limits::INBOX_MESSAGES;
use crate::shard::Left;
use crate::shard::counters::Totals;
use crate::shard::mailbox;
use crate::shard::report::Ask;
use crate::shard::rivals::Contender;
use crate::sys::clock::now_us;
use crate::sys::ring::{Buffers, Ring, RingWaker};
use crate::sys::thread::{pin, spawn};

/// What a relay is told.
#[derive(Debug)]
pub(in crate::shard) enum Message {
    /// A session begins.
    Join(Box<Seam>),
    /// A CONNECT of a SIM is under way that older sessions of it must not get in the way of (B-TOK-2).
    Contend(Imsi, Box<Contender>),
    /// That one is over, unless its session has begun.
    Withdraw(Imsi, u64),
    /// Another upstream was opened for a session, or not.
    Dialed(FlowId, Box<Result<Renewed, Unrenewed>>),
    /// The fleet was replaced.
    FleetChanged,
    /// Send a copy of the totals.
    Report(Sender<(usize, Totals)>),
    /// Something that whoever runs the engine wants done or known.
    Ask(Ask),
    /// Nothing: how long it waits tells how long everything does.
    Probe,
    /// The operator stops the engine: so many sessions end now.
    Drain {
        /// How many.
        sessions: usize,
    },
    /// End at once.
    Stop,
}

/// A running relay, as its front sees it.
#[derive(Debug)]
pub(in crate::shard) struct Handle {
    inbox: SharedInbox<Message>,
    waker: RingWaker,
    live: Arc<AtomicUsize>,
    thread: JoinHandle<io::Result<Left>>,
}

/// Sends to a relay.
#[derive(Clone, Debug)]
pub(in crate::shard) struct Caller {
    inbox: SharedInbox<Message>,
    waker: RingWaker,
    live: Arc<AtomicUsize>,
}

/// Starts the relay of a shard, on the front's processor.
///
/// # Errors
/// When its ring cannot be set up.
pub(in crate::shard) fn start(
    name: &str,
    processor: Option<usize>,
    sessions: usize,
    parts: Shared,
) -> io::Result<Handle> {
    let inbox = shared();
    let live = Arc::new(AtomicUsize::new(0));
    let (ready, is_ready) = bounded(1);
    let thread = spawn(name, {
        let (inbox, live) = (Arc::clone(&inbox), Arc::clone(&live));
        move || {
            if let Some(processor) = processor {
                pin(processor)?;
            }
            let buffers = Buffers::new()?;
            let ring = Ring::new(&buffers, parts.features)?;
            let relay = Relay::new(ring, buffers, inbox, parts, (live, sessions));
            // Whoever started it may have given up.
            drop(ready.send(relay.wire.waker()));
            relay.run()
        }
    })?;
    match is_ready.recv() {
        Ok(waker) => Ok(Handle {
            inbox,
            waker,
            live,
            thread,
        }),
        Err(_) => Err(match thread.join() {
            Ok(Err(error)) => error,
            Ok(Ok(_)) | Err(_) => io::Error::other("the relay ended before it began"),
        }),
    }
}

impl Handle {
    /// What others send by.
    pub(in crate::shard) fn caller(&self) -> Caller {
        Caller {
            inbox: Arc::clone(&self.inbox),
            waker: self.waker.clone(),
            live: Arc::clone(&self.live),
        }
    }

    /// Ends it at once, and waits for that.
    ///
    /// # Errors
    /// When its ring failed, or it panicked.
    pub(in crate::shard) fn stop(self) -> io::Result<Left> {
        let caller = self.caller();
        let mut message = Message::Stop;
        while !self.thread.is_finished()
            && let Err(refused) = caller.send(message)
        {
            message = refused;
            std::thread::yield_now();
        }
        self.thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the relay panicked")))
    }
}

impl Caller {
    /// Tells the relay, unless its queue is full; then the message comes back.
    ///
    /// # Errors
    /// With the message.
    pub(in crate::shard) fn send(&self, message: Message) -> Result<(), Message> {
        let is_session = matches!(message, Message::Join(_));
        if is_session {
            self.live.fetch_add(1, Ordering::Relaxed);
        }
        self.inbox.lag.sending(now_us());
        match self.inbox.push(message, INBOX_MESSAGES) {
            Ok(true) => {
                self.waker.wake();
                Ok(())
            }
            Ok(false) => Ok(()),
            Err(Full(message)) => {
                if is_session {
                    self.live.fetch_sub(1, Ordering::Relaxed);
                }
                Err(message)
            }
        }
    }

    /// Whether the relay has more to do than it can, so that sessions should not be added. Asking keeps the
    /// answer fresh.
    pub(in crate::shard) fn is_overloaded(&self) -> bool {
        let (is_overloaded, is_asked) = self.inbox.lag.look(now_us());
        if is_overloaded && !is_asked {
            // A full queue tells by itself.
            drop(self.send(Message::Probe));
        }
        is_overloaded
    }

    /// Sessions that it has, and those on their way to it.
    pub(in crate::shard) fn live(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }
}

/// Tells the front when the relay ends, however it does.
struct Alarm {
    parts: (Arc<[mailbox::Mailbox]>, usize),
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let (mailboxes, index) = &self.parts;
        if let Some(mailbox) = mailboxes.get(*index) {
            // A full queue is read by a front that joins this thread in the end.
            drop(mailbox.send(mailbox::Message::RelayEnded));
        }
    }
}

impl Relay<Ring> {
    /// Runs until it is told to stop.
    fn run(mut self) -> io::Result<Left> {
        let _alarm = Alarm {
            parts: (Arc::clone(&self.shared.mailboxes), self.shared.index),
        };
        self.read_messages();
        loop {
            self.round()?;
            if self.is_stopping && self.flows.is_empty() && self.walks.is_empty() {
                return Ok(Left {
                    totals: self.totals(),
                    usage: std::mem::take(&mut self.usage).into_usage(),
                });
            }
        }
    }
}

impl<W: Wire> Relay<W> {
    /// Deals with what other threads have to say.
    pub(super) fn read_messages(&mut self) {
        let mut messages = std::mem::take(&mut self.messages);
        self.inbox.take(&mut messages);
        self.inbox.lag.taken(self.wire.now_us());
        for message in messages.drain(..) {
            match message {
                Message::Join(seam) => {
                    let index = self.join(*seam);
                    if self.is_stopping {
                        self.end(index, Cause::Stopped);
                    }
                }
                Message::Contend(imsi, contender) => self.contend(imsi, *contender),
                Message::Withdraw(imsi, order) => self.withdraw(imsi, order),
                Message::Dialed(id, result) => self.dialed(id, *result),
                Message::FleetChanged => self.recheck(),
                // Whoever asked may be gone.
                Message::Report(reply) => {
                    drop(reply.send((self.shared.index, self.totals())));
                }
                Message::Ask(ask) => self.ask(ask),
                Message::Probe => {}
                Message::Drain { sessions } => self.drain(sessions),
                Message::Stop => {
                    self.is_stopping = true;
                    for index in self.indices() {
                        self.end(index, Cause::Stopped);
                    }
                }
            }
        }
        self.messages = messages;
    }

    /// The fleet changed: sessions that it no longer allows end (B-ID-4, B-CFG-5), all others stay.
    fn recheck(&mut self) {
        let snapshot = self.shared.snapshot.load_full();
        for index in self.indices() {
            let Some(flow) = self.flows.get(index as usize) else {
                continue;
            };
            let record = &flow.record;
            let imsi = flow.session.opening().identity.imsi;
            let cause = snapshot.ends(&record.network, record.peer.ip(), imsi, true);
            if let Some(cause) = cause {
                self.end(index, cause);
            }
        }
    }

    fn drain(&mut self, sessions: usize) {
        let open = self.flows.iter().filter(|(_, flow)| !flow.has_ended());
        let chosen: Vec<_> = open.map(|(index, _)| index).take(sessions).collect();
        for index in chosen {
            self.end(u32::try_from(index).unwrap_or(u32::MAX), Cause::Draining);
        }
    }

    fn indices(&self) -> Vec<u32> {
        let indices = self.flows.iter();
        indices
            .filter_map(|(index, _)| u32::try_from(index).ok())
            .collect()
    }

    pub(super) fn totals(&self) -> Totals {
        let mut totals = self.counters.totals();
        totals.traffic = self.batch.outputs.tally;
        totals.work = self.work;
        totals.live = self.flows.len();
        totals.buffers_in_use = self.buffers.in_use();
        totals.waiting_bytes = self.waiting.bytes;
        totals
    }

    /// Tells the front something that it can do without.
    pub(super) fn tell_front(&self, message: mailbox::Message) {
        let Shared {
            mailboxes, index, ..
        } = &self.shared;
        if let Some(mailbox) = mailboxes.get(*index)
            && mailbox.send(message).is_err()
        {
            warn!("the front has too much to do");
        }
    }
}
