//! Server: the engine as a whole. Starts the shards, hands them a new fleet, drains and stops them. It
//! is what `ringbeam serve`, the demo and the tests have in common.

mod asking;

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use ipnet::IpNet;

use crate::config::Config;
use crate::fleet::Fleet;
use crate::limits::{
    DESCRIPTORS_PER_SESSION, Extras, LISTEN_BACKLOG, MemoryMax, USAGE_SHARES, descriptors_reserved,
    waiting_bytes,
};
use crate::resolver::Resolver;
use crate::shard::admission::Admission;
use crate::shard::mailbox::{Mailbox, Message, mailbox};
use crate::shard::pace::Pace;
use crate::shard::report::{Audience, UsageShare};
use crate::shard::spare::Spare;
use crate::shard::{Left, Settings, Setup, Snapshot, run};
use crate::sys::host::{Unsuitable, check, processors, raise_descriptor_limit};
use crate::sys::listen::{listen, probe_source};
use crate::sys::memory::{Allowed, allowed};
use crate::sys::ring::Features;
use crate::sys::thread::spawn;
use crate::tls::Clients;

/// Why the engine does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The host cannot run it.
    #[error(transparent)]
    Host(#[from] Unsuitable),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}", describe_listen(.error))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// More sessions are asked for than descriptors allow.
    #[error(
        "engine.max_sessions = {asked} needs more than the {limit} file descriptors allowed here, which \
         serve {fits}; raise the limit (LimitNOFILE in systemd, ulimit -Hn) or lower max_sessions"
    )]
    Descriptors {
        /// Sessions asked for.
        asked: usize,
        /// Descriptors allowed.
        limit: u64,
        /// Sessions that fit.
        fits: usize,
    },
    /// An address that upstream connections shall come from is not this host's.
    #[error("upstream.source_addresses: {address}: {error}")]
    Source {
        /// The address.
        address: IpAddr,
        /// What the kernel said.
        error: io::Error,
    },
    /// Something else that the kernel refused.
    #[error("{what}: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// A shard ended before it accepted.
    #[error("shard {0} did not start")]
    Shard(usize),
}

fn describe_listen(error: &io::Error) -> String {
    let known = [
        (io::ErrorKind::AddrInUse, "the port is in use"),
        (
            io::ErrorKind::PermissionDenied,
            "not permitted; ports below 1024 need CAP_NET_BIND_SERVICE",
        ),
        (
            io::ErrorKind::AddrNotAvailable,
            "this host has no such address",
        ),
    ];
    let known = known.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or_else(|| error.to_string(), |(_, text)| (*text).to_owned())
}

/// A shard has ended: its number, and what it leaves behind unless it failed.
#[derive(Debug)]
pub struct ShardEnded {
    /// Its number.
    pub index: usize,
    /// What it counted and what was billed and not collected, or why it ended.
    pub result: Result<Left, String>,
}

/// A running engine.
#[derive(Debug)]
pub struct Server {
    mailboxes: Arc<[Mailbox]>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    admission: Arc<Admission>,
    addresses: Vec<(Arc<str>, SocketAddr)>,
    threads: Vec<JoinHandle<()>>,
    ended: Receiver<ShardEnded>,
    /// What shards tell of usage, until somebody takes it. Where it is full they keep it.
    usage: (Sender<UsageShare>, Receiver<UsageShare>),
    descriptor_limit: u64,
    /// Bytes that may wait in sessions, and what host or control group allows of memory.
    memory: (usize, Option<Allowed>),
    coalesce_us: u32,
    features: Features,
    /// Held by whoever changes fleet or settings.
    changing: Changing,
    /// Whether it was told to drain or to stop.
    is_ending: AtomicBool,
}

/// One change of fleet or settings at a time.
#[derive(Debug, Default)]
#[expect(
    clippy::disallowed_types,
    reason = "no shard ever takes it: they read the snapshot"
)]
struct Changing(std::sync::Mutex<()>);

impl Server {
    /// Starts every shard and returns once all accept.
    ///
    /// # Errors
    /// When the host, its limits or an address stand in the way.
    pub fn start(config: &Config, fleet: Fleet, tls: Clients) -> Result<Self, StartError> {
        let resolver = Resolver::start().map_err(|error| StartError::System {
            what: "starting the resolver",
            error,
        })?;
        Self::start_with(config, fleet, tls, &resolver)
    }

    /// The same with a resolver that is there.
    ///
    /// # Errors
    /// As above.
    pub fn start_with(
        config: &Config,
        fleet: Fleet,
        tls: Clients,
        resolver: &Resolver,
    ) -> Result<Self, StartError> {
        Self::start_before(config, fleet, tls, resolver, Audience::default())
    }

    /// The same before somebody who listens to the shards.
    ///
    /// # Errors
    /// As above.
    pub fn start_before(
        config: &Config,
        fleet: Fleet,
        tls: Clients,
        resolver: &Resolver,
        audience: Audience,
    ) -> Result<Self, StartError> {
        let system = |what| move |error| StartError::System { what, error };
        let features = check()?;
        probe_sources(&config.upstream.source_addresses)?;
        let limit = raise_descriptor_limit().map_err(system("raising the descriptor limit"))?;
        let processors = processors().map_err(system("asking for processors"))?;
        let shards = match config.engine.shards {
            0 => processors.len().max(1),
            shards => shards,
        };
        let reserved = descriptors_reserved(as_u64(shards), as_u64(config.listeners.len()));
        let room = room(config.engine.max_sessions, limit, reserved)?;
        let settings = settings(config);
        let snapshot = Arc::new(ArcSwap::from_pointee(Snapshot {
            fleet,
            tls,
            settings,
        }));
        let memory = memory(config);
        let admission = Admission::new(room.sessions, room.descriptors);
        let (pace, spare) = (Arc::<Pace>::default(), Arc::<Spare>::default());
        let (addresses, listeners) = open_listeners(config, shards)?;
        let (mailboxes, inboxes): (Vec<_>, Vec<_>) = (0..shards).map(|_| mailbox()).unzip();
        let mailboxes: Arc<[Mailbox]> = mailboxes.into();
        let (ended_sender, ended) = bounded(shards);
        let mut server = Self {
            mailboxes: Arc::clone(&mailboxes),
            snapshot: Arc::clone(&snapshot),
            admission: Arc::clone(&admission),
            addresses,
            threads: Vec::with_capacity(shards),
            ended,
            usage: bounded(USAGE_SHARES * shards),
            descriptor_limit: limit,
            memory,
            coalesce_us: config.engine.coalesce_us,
            features,
            changing: Changing::default(),
            is_ending: AtomicBool::new(false),
        };
        for (index, (inbox, listeners)) in inboxes.into_iter().zip(listeners).enumerate() {
            let processor = processors.get(index % processors.len().max(1)).copied();
            let (ready, is_ready) = bounded(1);
            let setup = Setup {
                index,
                processor: processor.filter(|_| config.engine.pin),
                listeners,
                mailboxes: Arc::clone(&mailboxes),
                inbox,
                snapshot: Arc::clone(&snapshot),
                admission: Arc::clone(&admission),
                resolver: resolver.clone(),
                pace: Arc::clone(&pace),
                spare: Arc::clone(&spare),
                coalesce_us: config.engine.coalesce_us,
                waiting_bytes: memory.0 / shards,
                features,
                audience: audience.clone(),
                ready,
            };
            let ended_sender = ended_sender.clone();
            let thread = spawn(&format!("shard-{index}"), move || {
                supervise(setup, &ended_sender);
            })
            .map_err(system("starting a shard"))?;
            server.threads.push(thread);
            if is_ready.recv().is_err() {
                return Err(not_started(&server.ended));
            }
        }
        Ok(server)
    }

    /// Where it listens, by network.
    #[must_use]
    pub fn addresses(&self) -> &[(Arc<str>, SocketAddr)] {
        &self.addresses
    }

    /// Whether messages wait for company under load, in words: the kernel may not know how.
    #[must_use]
    pub const fn coalesces(&self) -> &'static str {
        match (self.coalesce_us, self.features.min_wait) {
            (0, _) => "off",
            (_, true) => "on",
            (_, false) => "not on this kernel: 6.12 is needed",
        }
    }

    /// How many shards it has.
    #[must_use]
    pub fn shards(&self) -> usize {
        self.mailboxes.len()
    }

    /// Sessions that fit, and the descriptors that allow them.
    #[must_use]
    pub fn capacity(&self) -> (usize, u64) {
        (self.admission.max(), self.descriptor_limit)
    }

    /// The most memory that it can come to, and what host or control group allows.
    #[must_use]
    pub fn memory(&self) -> (MemoryMax, Option<Allowed>) {
        let (waiting, allowed) = self.memory;
        let fleet = &self.snapshot().fleet;
        let extras = Extras {
            tls: fleet.has_tls(),
            renewal: fleet.renews(),
        };
        let memory = MemoryMax::new(self.admission.max(), self.shards(), extras, waiting);
        (memory, allowed)
    }

    /// Fleet and settings as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Has nobody else change fleet or settings meanwhile: what is read of them, or of the registry behind them, is
    /// still so when it is replaced.
    pub fn exclusively<T>(&self, act: impl FnOnce() -> T) -> T {
        // What a panic left is a whole snapshot, as always.
        let _held = self
            .changing
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        act()
    }

    /// Replaces fleet and settings at once (B-CFG-5, B-ID-4). Call it exclusively.
    pub fn replace(&self, config: &Config, fleet: Fleet, tls: Clients) {
        self.replace_quietly(config, fleet, tls);
        self.fleet_changed();
    }

    /// The same, where whoever calls knows of which SIMs connections may have to end, and goes on to
    /// [`Self::sims_changed`].
    pub fn replace_quietly(&self, config: &Config, mut fleet: Fleet, tls: Clients) {
        // B-ID-6: what is read anew is what is stored.
        fleet.inherit_doubts(&self.snapshot.load().fleet);
        self.snapshot.store(Arc::new(Snapshot {
            fleet,
            tls,
            settings: settings(config),
        }));
    }

    /// What another fleet would be served by, with the settings as they are.
    ///
    /// # Errors
    /// When what it presents or trusts cannot be used.
    pub fn prepare(&self, fleet: Fleet) -> Result<Snapshot, String> {
        let now = self.snapshot();
        let tls = Clients::new(now.tls.roots().clone(), fleet.presented(), Some(&now.tls))?;
        Ok(Snapshot {
            fleet,
            tls,
            settings: now.settings.clone(),
        })
    }

    /// Serves by this from now on; sessions that it does not allow end. Call it exclusively.
    pub fn put(&self, mut snapshot: Snapshot) {
        snapshot.fleet.inherit_doubts(&self.snapshot.load().fleet);
        self.snapshot.store(Arc::new(snapshot));
        self.fleet_changed();
    }

    /// SIMs of the fleet have changed: sessions that it does not allow any more end (B-ID-4).
    pub fn fleet_changed(&self) {
        self.tell_all(|| Message::FleetChanged);
    }

    /// These addresses of networks are somebody's now, and the fleet says so: whoever waits for that is looked up again
    /// (B-ID-8).
    pub fn addresses_given<'a>(&self, given: impl IntoIterator<Item = (&'a Arc<str>, IpNet)>) {
        for seat in self.admission.strangers_at(given) {
            self.tell(seat.shard, Message::Given(seat));
        }
    }

    /// Any address may be somebody's now: whoever waits for that is looked up again (B-ID-8).
    pub fn look_again(&self) {
        self.tell_all(|| Message::LookAgain);
    }

    /// Whether it was told to drain or to stop.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Begins to stop: no new connections; sessions end within the window (B-KEEP-4).
    pub fn drain(&self, window_ms: u64) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.tell_all(|| Message::Drain { window_ms });
    }

    /// Ends at once.
    pub fn stop(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        self.tell_all(|| Message::Stop);
    }

    /// Shards that have ended.
    #[must_use]
    pub const fn ended(&self) -> &Receiver<ShardEnded> {
        &self.ended
    }

    fn tell_all(&self, message: impl Fn() -> Message) {
        for shard in 0..self.mailboxes.len() {
            self.tell(shard, message());
        }
    }

    fn tell(&self, shard: usize, message: Message) {
        let Some(mailbox) = self.mailboxes.get(shard) else {
            return;
        };
        let mut message = message;
        // A full queue empties by itself; a shard that is gone needs to be told nothing.
        while let Err(TrySendError::Full(refused)) = mailbox.send(message) {
            message = refused;
            std::thread::yield_now();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
        for thread in self.threads.drain(..) {
            drop(thread.join());
        }
    }
}

/// A listening address with its network's name.
type Listening = (Arc<str>, SocketAddr);

/// A shard's listeners, each with its network's name.
type Share = Vec<(Arc<str>, TcpListener)>;

/// Refuses addresses that are not this host's.
fn probe_sources(addresses: &[IpAddr]) -> Result<(), StartError> {
    let refused = |address, error| StartError::Source { address, error };
    addresses
        .iter()
        .try_for_each(|address| probe_source(*address).map_err(|error| refused(*address, error)))
}

/// Opens every listener once for every shard.
fn open_listeners(
    config: &Config,
    shards: usize,
) -> Result<(Vec<Listening>, Vec<Share>), StartError> {
    let mut addresses = Vec::with_capacity(config.listeners.len());
    let mut shares: Vec<Share> = std::iter::repeat_with(Vec::new).take(shards).collect();
    for listener in &config.listeners {
        let address = listener.address;
        let sockets = listen(address, shards, LISTEN_BACKLOG)
            .map_err(|error| StartError::Listen { address, error })?;
        let bound = sockets.first().and_then(|socket| socket.local_addr().ok());
        addresses.push((Arc::clone(&listener.network), bound.unwrap_or(address)));
        for (share, socket) in shares.iter_mut().zip(sockets) {
            share.push((Arc::clone(&listener.network), socket));
        }
    }
    Ok((addresses, shares))
}

/// Why a shard has ended before it accepted.
fn not_started(ended: &Receiver<ShardEnded>) -> StartError {
    let reason = ended.recv().ok().and_then(|ended| ended.result.err());
    StartError::System {
        what: "starting a shard",
        error: io::Error::other(reason.unwrap_or_default()),
    }
}

/// Runs a shard and reports its end, a panic included.
fn supervise(setup: Setup, ended: &Sender<ShardEnded>) {
    let index = setup.index;
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(setup)));
    let result = match outcome {
        Ok(Ok(left)) => Ok(left),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("it panicked".to_owned()),
    };
    drop(ended.send(ShardEnded { index, result }));
}

/// Bytes that may wait in sessions, and what memory is allowed.
fn memory(config: &Config) -> (usize, Option<Allowed>) {
    let allowed = allowed(Path::new("/"));
    let bytes = allowed.map(|allowed| allowed.bytes);
    (waiting_bytes(config.engine.waiting_bytes, bytes), allowed)
}

fn settings(config: &Config) -> Settings {
    let (engine, upstream) = (&config.engine, &config.upstream);
    let millis =
        |duration: std::time::Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    Settings {
        connect_timeout_ms: millis(engine.connect_timeout),
        manners: engine.manners(),
        upstream_timeout_ms: millis(engine.upstream_timeout),
        stall_timeout_ms: millis(engine.stall_timeout),
        unknown_address_wait_ms: millis(engine.unknown_address_wait),
        told_networks: config.told_networks().into(),
        sessions_per_sim: engine.max_sessions_per_sim,
        limits: config.limits,
        source_addresses: upstream.source_addresses.clone(),
        connects_per_second: upstream.connects_per_second,
        token_lifetime_seconds: upstream.token_lifetime.as_secs(),
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// What there is for devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Room {
    sessions: usize,
    descriptors: usize,
}

/// What fits into so many descriptors.
fn room(asked: usize, limit: u64, reserved: u64) -> Result<Room, StartError> {
    let free = limit.saturating_sub(reserved.min(limit / 4));
    let count = |descriptors: u64| usize::try_from(descriptors).unwrap_or(usize::MAX);
    let (descriptors, fits) = (count(free), count(free / DESCRIPTORS_PER_SESSION));
    let sessions = match asked {
        0 => fits,
        asked if asked <= fits => asked,
        asked => return Err(StartError::Descriptors { asked, limit, fits }),
    };
    Ok(Room {
        sessions,
        descriptors,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Limits;

    #[test]
    fn b_cfg_5_limits_reach_the_shards_with_every_reload() {
        let limits = Limits {
            messages_per_second: 5,
            bytes_per_second: 1_000,
        };
        let config = Config {
            limits,
            ..Config::default()
        };
        assert_eq!(settings(&config).limits, limits);
        assert!(settings(&Config::default()).limits.is_none());
    }

    #[test]
    fn sessions_follow_from_descriptors() {
        let reserved = descriptors_reserved(2, 1);
        let sessions = |asked, limit, reserved| room(asked, limit, reserved).unwrap().sessions;
        assert_eq!(sessions(0, 20_000, reserved), 9_630);
        assert_eq!(sessions(100, 20_000, reserved), 100);
        assert_eq!(sessions(0, 1_024, reserved), 384);
        assert_eq!(sessions(0, 20_000, descriptors_reserved(128, 4)), 7_500);
        // B-ID-8: what sessions do not have others may have.
        assert_eq!(room(100, 20_000, reserved).unwrap().descriptors, 19_260);
        let error = room(10_000, 20_000, reserved).unwrap_err().to_string();
        assert!(error.contains("LimitNOFILE"), "{error}");
    }
}
