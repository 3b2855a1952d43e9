//! Report: what a shard is asked by whoever runs the engine, and what it tells. Nothing of it is on a message's
//! way: a shard answers between two rounds, in slices.

mod connection;
mod event;
mod tap;
mod usage;

use std::sync::Arc;

use ahash::RandomState;
use crossbeam_channel::{Receiver, Sender, bounded};
use hashbrown::HashSet;
use ringbeam_proto::identity::Imsi;

pub use self::connection::{
    ConnectionFilter, ConnectionId, ConnectionPage, InvalidConnectionId, LiveConnection,
};
pub(in crate::shard) use self::event::Teller;
pub use self::event::{SimEvent, SimEventKind};
pub(crate) use self::tap::TapRequest;
pub use self::tap::{TapDirection, TapEvent, TapEventKind, Tapping};
pub(in crate::shard) use self::usage::Book;
pub use self::usage::{Usage, UsageShare};

/// Some SIMs.
pub type Imsis = HashSet<Imsi, RandomState>;

/// Who listens to what the shards have to tell; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct Audience {
    /// Whether usage is kept until it is collected (B-BILL-1). Where nobody collects it would only grow.
    pub collects_usage: bool,
    /// Where it is told what happens to SIMs' connections, if anywhere. What finds no room is lost and counted
    /// ([`crate::limits::SIM_EVENTS`] is room enough).
    pub events: Option<Sender<SimEvent>>,
}

/// What a shard is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// To end connections of these SIMs.
    End(Ends),
    /// To say what was billed since it was asked last.
    Usage(Sender<UsageShare>),
    /// To list sessions.
    List(ConnectionFilter, Sender<ConnectionPage>),
    /// To end one session, and to say whether there was one.
    Close(ConnectionId, Sender<bool>),
    /// To show what passes in the sessions of a SIM.
    Tap(TapRequest),
}

/// Connections that are to end (B-ID-4).
#[derive(Clone, Debug)]
pub(crate) struct Ends {
    /// Whose.
    pub(crate) imsis: Arc<Imsis>,
    /// All of them; otherwise those that the fleet does not allow any more.
    pub(crate) are_all: bool,
    /// Held for as long as something of them may be relayed.
    pub(crate) done: Arc<Done>,
}

/// Tells when everybody who had something to do has done it: the last one drops it.
#[derive(Debug)]
pub(crate) struct Done(Sender<()>);

impl Done {
    /// One, and what hears it.
    pub(crate) fn new() -> (Arc<Self>, Receiver<()>) {
        let (sender, receiver) = bounded(1);
        (Arc::new(Self(sender)), receiver)
    }
}

impl Drop for Done {
    fn drop(&mut self) {
        // Whoever waited may be gone.
        let _ = self.0.try_send(());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_done_when_the_last_one_has_done_it() {
        let (done, is_done) = Done::new();
        let other = Arc::clone(&done);
        drop(done);
        assert!(is_done.is_empty());
        drop(other);
        is_done.try_recv().unwrap();
    }
}
