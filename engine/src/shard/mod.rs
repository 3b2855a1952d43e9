//! Shard: one core's share of the engine, on a thread of its own. It owns the sessions of its SIMs and
//! everything that is counted about them; other threads talk to it through its mailbox alone.

pub mod addresses;
pub mod admission;
pub mod allowance;
pub mod buffers;
mod close;
pub mod connections;
pub mod counters;
pub mod deadlines;
mod drain;
pub mod figures;
mod front;
pub mod mailbox;
pub mod pace;
mod relay;
pub mod report;
mod rivals;
pub mod share;
pub mod spare;

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd as _, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;
use arc_swap::ArcSwap;
use crossbeam_channel::Sender;
use hashbrown::HashMap;
use ringbeam_proto::error::Cause;
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::identity::Imsi;

use self::addresses::Addresses;
use self::admission::{Admission, Seat};
use self::buffers::Pool;
use self::connections::{Connection, Connections};
use self::counters::{Counters, Totals};
use self::deadlines::Deadlines;
use self::mailbox::{Inbox, Mailbox, Message};
use self::pace::Pace;
use self::relay::FlowId;
use self::report::{Ask, Audience, Ends, SimEvent, Teller, Usage};
use self::spare::Spare;
use crate::fleet::{Fleet, Limits};
use crate::limits::{RING_ENTRIES, TICK_MS};
use crate::resolver::Resolver;
use crate::sys::clock::now_ms;
use crate::sys::ring::Features;
use crate::sys::thread::pin;
use crate::tls::{Clients, Workspace};

/// What may change while the engine runs: read once per CONNECT, replaced as a whole.
#[derive(Debug)]
pub struct Snapshot {
    /// Who the SIMs are.
    pub fleet: Fleet,
    /// Who the entry point is to upstreams over TLS.
    pub tls: Clients,
    /// Times and limits.
    pub settings: Settings,
}

impl Snapshot {
    /// Why the connection of a SIM from an address ends under this fleet, if it does (B-ID-4); one that is served
    /// also when its entry point is not any more (B-CFG-5).
    fn ends(&self, network: &str, ip: IpAddr, imsi: Imsi, has_session: bool) -> Option<Cause> {
        match self.fleet.find_open(network, ip) {
            Some(sim) if sim.identity.imsi == imsi => {
                let is_served = self.fleet.entry_point(&sim).is_ok();
                (has_session && !is_served).then_some(Cause::EntryPointClosed)
            }
            _ => Some(Cause::SimSessionEnded),
        }
    }
}

/// Times in milliseconds, and limits.
#[derive(Clone, Debug)]
pub struct Settings {
    /// A device's CONNECT must be whole by then.
    pub connect_timeout_ms: u64,
    /// What refusals look like; what an entry point says of its upstream goes before it (B-CON-4, B-ID-2).
    pub manners: Manners,
    /// The upstream's CONNACK must be here by then.
    pub upstream_timeout_ms: u64,
    /// A leg may take nothing for so long (B-KEEP-5).
    pub stall_timeout_ms: u64,
    /// How long a CONNECT waits for its address to be somebody's where sessions are told of (B-ID-8); 0 is not at all.
    pub unknown_address_wait_ms: u64,
    /// The networks whose sessions are told of.
    pub told_networks: Arc<[Arc<str>]>,
    /// Sessions of one SIM, and half CONNECTs (B-ID-5).
    pub sessions_per_sim: u32,
    /// What one SIM may send, unless its entry point says otherwise.
    pub limits: Limits,
    /// Local addresses to connect from; empty leaves it to the kernel.
    pub source_addresses: Vec<IpAddr>,
    /// Connects per second to one destination; 0 is no limit.
    pub connects_per_second: u32,
    /// How long tokens are good for, in seconds (B-TOK-1).
    pub token_lifetime_seconds: u64,
}

impl Settings {
    /// B-ID-8: whether an address of a network that is nobody's may be somebody's in a moment.
    #[must_use]
    pub fn waits(&self, network: &str) -> bool {
        let is_told = || self.told_networks.iter().any(|told| **told == *network);
        self.unknown_address_wait_ms > 0 && is_told()
    }
}

/// What a shard is started with.
#[derive(Debug)]
pub struct Setup {
    /// Its number.
    pub index: usize,
    /// The processor it is pinned to.
    pub processor: Option<usize>,
    /// Its listeners, each with its network's name.
    pub listeners: Vec<(Arc<str>, TcpListener)>,
    /// All shards' mailboxes, its own among them.
    pub mailboxes: Arc<[Mailbox]>,
    /// Its own inbox.
    pub inbox: Inbox,
    /// Fleet and settings.
    pub snapshot: Arc<ArcSwap<Snapshot>>,
    /// Room for sessions.
    pub admission: Arc<Admission>,
    /// Names to addresses.
    pub resolver: Resolver,
    /// When upstream connections may begin.
    pub pace: Arc<Pace>,
    /// Room for further attempts to connect.
    pub spare: Arc<Spare>,
    /// Microseconds that a message may wait for company under load.
    pub coalesce_us: u32,
    /// Bytes that its sessions may hold together while one of their sides is stopped.
    pub waiting_bytes: usize,
    /// What the kernel's rings can do.
    pub features: Features,
    /// Who listens to it.
    pub audience: Audience,
    /// Told once the shard accepts.
    pub ready: Sender<()>,
}

/// What a shard leaves behind.
#[derive(Debug, Default)]
pub struct Left {
    /// What it counted.
    pub totals: Totals,
    /// What was billed and is not told yet (B-BILL-1).
    pub usage: Vec<Usage>,
}

/// A running shard, seen by its tasks.
#[derive(Debug)]
struct Shard {
    index: usize,
    mailboxes: Arc<[Mailbox]>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    admission: Arc<Admission>,
    resolver: Resolver,
    pace: Arc<Pace>,
    spare: Arc<Spare>,
    addresses: Addresses,
    connections: Rc<Connections>,
    deadlines: Deadlines<Connection>,
    pool: Rc<Pool>,
    /// What the TLS of all its connections works in.
    tls_workspace: Rc<RefCell<Workspace>>,
    counters: Counters,
    teller: RefCell<Teller>,
    /// Its sessions.
    relay: relay::Caller,
    /// Connections that are being opened for sessions of the relay.
    errands: RefCell<HashMap<FlowId, Rc<Connection>, RandomState>>,
    /// The number of the next session that may be another's rival.
    orders: Cell<u64>,
    is_closing: Cell<bool>,
    /// Where chance is wanted, so that sessions do not act as one.
    jitter: RandomState,
}

/// Runs a shard on the calling thread until it is told to stop.
///
/// # Errors
/// When its ring cannot be set up, or its listeners cannot be taken over.
pub fn run(setup: Setup) -> io::Result<Left> {
    if let Some(processor) = setup.processor {
        pin(processor)?;
    }
    let shared = relay::Shared {
        snapshot: Arc::clone(&setup.snapshot),
        mailboxes: Arc::clone(&setup.mailboxes),
        index: setup.index,
        coalesce_us: setup.coalesce_us,
        waiting_bytes: setup.waiting_bytes,
        features: setup.features,
        audience: setup.audience.clone(),
    };
    let name = format!("relay-{}", setup.index);
    let handle = relay::start(&name, setup.processor, setup.admission.max(), shared)?;
    let served = front(setup, handle.caller());
    let relayed = handle.stop();
    // A relay that has failed is the reason where the front has one as well.
    let (served, mut left) = match (served, relayed) {
        (_, Err(error)) | (Err(error), Ok(_)) => return Err(error),
        (Ok(served), Ok(relayed)) => (served, relayed),
    };
    left.totals.add(&served);
    Ok(left)
}

fn front(setup: Setup, relay: relay::Caller) -> io::Result<Totals> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()?;
    runtime.block_on(serve(setup, relay))
}

async fn serve(setup: Setup, relay: relay::Caller) -> io::Result<Totals> {
    let Setup {
        listeners,
        mut inbox,
        ready,
        ..
    } = setup;
    let shard = Rc::new(Shard {
        index: setup.index,
        mailboxes: setup.mailboxes,
        snapshot: setup.snapshot,
        admission: setup.admission,
        resolver: setup.resolver,
        pace: setup.pace,
        spare: setup.spare,
        addresses: Addresses::new(setup.index),
        connections: Rc::default(),
        deadlines: Deadlines::new(now_ms()),
        pool: Rc::default(),
        tls_workspace: Rc::default(),
        counters: Counters::default(),
        teller: RefCell::new(Teller::new(setup.audience.events)),
        relay,
        errands: RefCell::default(),
        orders: Cell::new(0),
        is_closing: Cell::new(false),
        jitter: RandomState::new(),
    });
    let mut listening = Vec::with_capacity(listeners.len());
    for (network, listener) in listeners {
        listening.push(listener.as_fd().try_clone_to_owned()?);
        let listener = monoio::net::TcpListener::from_std(listener)?;
        monoio::spawn(front::accept(Rc::clone(&shard), listener, network));
    }
    monoio::spawn(tick(Rc::clone(&shard)));
    let _ = ready.send(());
    loop {
        match inbox.next().await {
            Message::Handoff(handoff) => front::adopt(&shard, *handoff),
            Message::FleetChanged => shard.recheck(),
            Message::Given(seat) => shard.at(seat, Connection::look_again),
            Message::LookAgain => shard.look_again(),
            Message::MakeRoom(seat) => shard.at(seat, |half| half.end(Cause::MadeRoom)),
            Message::Report(reply) => {
                drop(reply.send((shard.index, shard.totals())));
                shard.tell_relay(relay::Message::Report(reply));
            }
            Message::AddressFailed(address) => shard.addresses.failed(address, now_ms()),
            Message::Redial(errand) => front::redial(&shard, *errand),
            Message::GiveUp(id) => shard.give_up(id),
            Message::RelayEnded => return Err(io::Error::other("its relay has ended")),
            Message::Ask(ask) => shard.ask(ask),
            Message::Drain { window_ms } => {
                shard.stop_accepting(&listening);
                monoio::spawn(drain::drain(Rc::clone(&shard), window_ms));
            }
            Message::Stop => {
                shard.stop_accepting(&listening);
                for connection in shard.connections.snapshot() {
                    connection.end(Cause::Stopped);
                }
                // Their tasks run before this one goes on.
                shard.connections.drained().await;
                return Ok(shard.totals());
            }
        }
    }
}

/// Lets time pass for the deadlines, while there are any.
async fn tick(shard: Rc<Shard>) {
    loop {
        shard.deadlines.wanted().await;
        monoio::time::sleep(Duration::from_millis(TICK_MS)).await;
        shard.deadlines.advance(now_ms());
    }
}

impl Shard {
    /// The shard that owns a SIM (B-ID-5): the same for all its sessions.
    fn owner(&self, imsi: &Imsi) -> usize {
        owner(imsi, self.mailboxes.len())
    }

    fn stop_accepting(&self, listeners: &[OwnedFd]) {
        self.is_closing.set(true);
        for listener in listeners {
            // The pending accept ends with an error; dropping it would leak a descriptor.
            let _ = rustix::net::shutdown(listener, rustix::net::Shutdown::Both);
        }
    }

    /// Does something about a connection of this shard, while it is there.
    fn at(&self, seat: Seat, act: impl FnOnce(&Connection)) {
        if let Some(connection) = self.connections.at(seat) {
            act(&connection);
        }
    }

    /// Has a half CONNECT of any shard make room; false where that is not possible now.
    fn has_make_room(&self, seat: Seat) -> bool {
        let mailbox = self.mailboxes.get(seat.shard);
        mailbox.is_some_and(|mailbox| mailbox.send(Message::MakeRoom(seat)).is_ok())
    }

    /// A renewal's connect is not wanted any more.
    fn give_up(&self, id: FlowId) {
        if let Some(errand) = self.errands.borrow().get(&id) {
            errand.end(Cause::Stopped);
        }
    }

    /// B-ID-8: addresses that were nobody's may be somebody's.
    fn look_again(&self) {
        for connection in self.connections.snapshot() {
            if connection.identity.get().is_none() {
                connection.look_again();
            }
        }
    }

    /// The fleet changed: connections that it no longer allows end (B-ID-4), all others stay.
    fn recheck(&self) {
        let snapshot = self.snapshot.load_full();
        for connection in self.connections.snapshot() {
            let Some(identity) = connection.identity.get() else {
                connection.look_again();
                continue;
            };
            if let Some(cause) = shall_end(&snapshot, &connection, identity.imsi) {
                connection.end(cause);
            }
        }
        self.tell_relay(relay::Message::FleetChanged);
    }

    /// Does the front's part of what is asked, and has the relay do the rest where there is anything for it to do.
    fn ask(&self, ask: Ask) {
        if let Ask::End(ends) = &ask {
            self.end_opening(ends);
            if !self.counters.has_any_of(&ends.imsis) {
                return;
            }
        }
        self.tell_relay(relay::Message::Ask(ask));
    }

    /// B-ID-4: ends connections of some SIMs that are no sessions yet. They are few, and nothing is relayed of one that was
    /// told to end.
    fn end_opening(&self, Ends { imsis, are_all, .. }: &Ends) {
        let snapshot = self.snapshot.load_full();
        for connection in self.connections.snapshot() {
            let identity = connection.identity.get();
            if let Some(identity) = identity
                && imsis.contains(&identity.imsi)
            {
                let cause = if *are_all {
                    Some(Cause::SimSessionEnded)
                } else {
                    shall_end(&snapshot, &connection, identity.imsi)
                };
                if let Some(cause) = cause {
                    connection.end(cause);
                }
            }
        }
    }

    /// Tells the relay something that must not get lost. It empties its queue as long as it lives.
    fn tell_relay(&self, message: relay::Message) {
        let mut message = message;
        while let Err(refused) = self.relay.send(message) {
            message = refused;
            std::thread::yield_now();
        }
    }

    /// Tells an event to whoever wants to hear it.
    fn tell(&self, event: impl FnOnce() -> SimEvent) {
        if !self.teller.borrow_mut().tell(event) {
            self.counters.update(|totals| totals.events_lost += 1);
        }
    }

    fn totals(&self) -> Totals {
        let mut totals = self.counters.totals();
        totals.live = self.connections.len();
        totals.buffers_in_use = self.pool.in_use();
        totals
    }
}

/// The one of so many shards that owns a SIM.
pub(crate) fn owner(imsi: &Imsi, shards: usize) -> usize {
    // FNV-1a: fixed, so that shards agree.
    let hash = imsi
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let shards = u64::try_from(shards).unwrap_or(1).max(1);
    usize::try_from((hash >> 16) % shards).unwrap_or_default()
}

/// Why the connection of a SIM ends under a fleet, if it does.
fn shall_end(snapshot: &Snapshot, connection: &Connection, imsi: Imsi) -> Option<Cause> {
    let has_session = connection.has_session.get();
    snapshot.ends(&connection.network, connection.peer.ip(), imsi, has_session)
}
