//! Connections: what a shard knows of each live one, and how it is told to end. A connection's task
//! waits for bytes and for this together.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ringbeam_proto::error::Cause;
use ringbeam_proto::farewell::{Manner, Manners};
use ringbeam_proto::identity::Identity;
use slab::Slab;

use super::admission::Seat;
use super::deadlines::Timed;
use crate::fleet::{Fleet, Sim};

/// One live connection.
#[derive(Debug)]
pub struct Connection {
    /// The network it came in by.
    pub network: Arc<str>,
    /// The device's address.
    pub peer: SocketAddr,
    /// Whose address it came from, since it was accepted; `None` was nobody's.
    pub identity: Cell<Option<Identity>>,
    /// Whether its CONNECT was served.
    pub has_session: Cell<bool>,
    /// Whether its address may be somebody's since it was looked up.
    is_given: Cell<bool>,
    /// Never given twice.
    number: u64,
    /// What its entry point has said of an upstream that cannot be had (B-CON-4).
    pub when_unavailable: Cell<Manner>,
    deadline_ms: Cell<u64>,
    visit_ms: Cell<u64>,
    is_due: Cell<bool>,
    /// Why it is to end, and whether its task knows.
    end: Cell<Option<Cause>>,
    knows_end: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// What interrupts a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interrupt {
    /// The deadline has come.
    Due,
    /// It is to end.
    End(Cause),
}

/// A shard's live connections.
#[derive(Debug, Default)]
pub struct Connections {
    live: RefCell<Slab<Rc<Connection>>>,
    /// The next one's number.
    next: Cell<u64>,
    /// Woken when the last one goes.
    idle: RefCell<Vec<Waker>>,
}

/// Keeps a connection listed while it lives.
#[derive(Debug)]
pub struct Listed {
    connections: Rc<Connections>,
    key: usize,
    connection: Rc<Connection>,
}

impl Connection {
    /// The SIM whose address it comes from now (B-ID-1, B-ID-3).
    pub fn sim(&self, fleet: &Fleet) -> Option<Sim> {
        fleet.find(&self.network, self.peer.ip())
    }

    /// One that is listed nowhere.
    pub fn new(network: Arc<str>, peer: SocketAddr, identity: Option<Identity>) -> Self {
        Self {
            network,
            peer,
            identity: Cell::new(identity),
            has_session: Cell::new(false),
            is_given: Cell::new(false),
            number: 0,
            when_unavailable: Cell::new(Manners::default().upstream),
            deadline_ms: Cell::new(u64::MAX),
            visit_ms: Cell::new(u64::MAX),
            is_due: Cell::new(false),
            end: Cell::new(None),
            knows_end: Cell::new(false),
            waker: RefCell::new(None),
        }
    }

    /// Ends it with `cause`, unless it is ending already.
    pub fn end(&self, cause: Cause) {
        if self
            .end
            .get()
            .is_none_or(|earlier| cause.is_abrupt() && !earlier.is_abrupt())
        {
            self.end.set(Some(cause));
            self.knows_end.set(false);
            self.wake();
        }
    }

    /// Has its task, where that waits for it, look up its address once more (B-ID-8).
    pub fn look_again(&self) {
        self.is_given.set(true);
        self.wake();
    }

    /// Whether it is to be looked up once more. Asking takes it.
    pub fn is_given(&self) -> bool {
        self.is_given.take()
    }

    /// What has come up, if anything. Asking takes it.
    pub fn interrupt(&self) -> Option<Interrupt> {
        if let Some(cause) = self.end.get()
            && !self.knows_end.replace(true)
        {
            // What was due before has no meaning for the end.
            self.is_due.set(false);
            return Some(Interrupt::End(cause));
        }
        self.is_due.take().then_some(Interrupt::Due)
    }

    /// Has the task of `context` woken when something comes up.
    pub fn listen(&self, context: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|waker| waker.will_wake(context.waker()))
        {
            *waker = Some(context.waker().clone());
        }
    }

    /// Waits for `future`, unless something comes up first; then the future is dropped.
    ///
    /// # Errors
    /// With what came up.
    pub async fn guard<T>(&self, future: impl Future<Output = T>) -> Result<T, Interrupt> {
        let mut future = pin!(future);
        poll_fn(|context| {
            self.listen(context);
            if let Some(interrupt) = self.interrupt() {
                return Poll::Ready(Err(interrupt));
            }
            future.as_mut().poll(context).map(Ok)
        })
        .await
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

impl Timed for Connection {
    fn deadline_ms(&self) -> &Cell<u64> {
        &self.deadline_ms
    }

    fn visit_ms(&self) -> &Cell<u64> {
        &self.visit_ms
    }

    fn expire(&self) {
        self.is_due.set(true);
        self.wake();
    }
}

impl Connections {
    /// Lists a connection.
    pub fn list(
        self: &Rc<Self>,
        network: Arc<str>,
        peer: SocketAddr,
        identity: Option<Identity>,
    ) -> Listed {
        let number = self.next.get();
        self.next.set(number.wrapping_add(1));
        let connection = Rc::new(Connection {
            number,
            ..Connection::new(network, peer, identity)
        });
        let key = self.live.borrow_mut().insert(Rc::clone(&connection));
        Listed {
            connections: Rc::clone(self),
            key,
            connection,
        }
    }

    /// The one that has a seat, while it has.
    #[must_use]
    pub fn at(&self, seat: Seat) -> Option<Rc<Connection>> {
        let live = self.live.borrow();
        let connection = live.get(seat.key)?;
        (connection.number == seat.number).then(|| Rc::clone(connection))
    }

    /// How many are live.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those live now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Rc<Connection>> {
        self.live
            .borrow()
            .iter()
            .map(|(_, connection)| Rc::clone(connection))
            .collect()
    }

    /// Waits until none is live.
    pub async fn drained(&self) {
        poll_fn(|context| {
            if self.is_empty() {
                return Poll::Ready(());
            }
            self.idle.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

impl Listed {
    /// The connection.
    #[must_use]
    pub fn connection(&self) -> &Rc<Connection> {
        &self.connection
    }

    /// Where it is found on this shard.
    #[must_use]
    pub fn seat(&self, shard: usize) -> Seat {
        Seat {
            shard,
            key: self.key,
            number: self.connection.number,
        }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.connections.live.borrow_mut().remove(self.key);
        if self.connections.is_empty() {
            let waiting = std::mem::take(&mut *self.connections.idle.borrow_mut());
            waiting.into_iter().for_each(Waker::wake);
        }
    }
}
