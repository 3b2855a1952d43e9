//! Load: what the host shall carry, from the configuration and the fleet, or the reference load where
//! there is none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::fleet::Fleet;
use crate::limits::{
    DESCRIPTORS_PER_SESSION, Extras, MemoryMax, descriptors_reserved, waiting_bytes,
};

/// Sessions that a host is judged by where nothing says how many it shall carry.
const SESSIONS_REFERENCE: u64 = 1_000_000;

/// Where the number of sessions comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionsFrom {
    /// Nothing says how many.
    Reference,
    /// One for each address of the fleet.
    Fleet,
    /// `engine.max_sessions`: the engine does not start where fewer fit.
    Configuration,
}

impl SessionsFrom {
    /// As printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reference => "the reference load",
            Self::Fleet => "one for each address of the fleet",
            Self::Configuration => "engine.max_sessions",
        }
    }
}

/// What is asked of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The configuration that says so; none is the reference load.
    pub configuration: Option<PathBuf>,
    /// Sessions at the same time.
    pub sessions: u64,
    /// Where that number comes from.
    pub sessions_from: SessionsFrom,
    /// Shards; 0 is one per processor.
    pub shards: u64,
    /// Listening ports, 0 for any left out.
    pub ports: BTreeSet<u16>,
    /// Listeners.
    pub listeners: u64,
    /// Different upstreams of enabled entry points.
    pub destinations: u64,
    /// Pairs of a source address and a destination of its family. A destination that no source address fits
    /// has one, which the kernel takes.
    pub address_pairs: u64,
    /// Whether messages may wait for company.
    pub coalesces: bool,
    /// What sessions may need beside.
    pub extras: Extras,
    /// `engine.waiting_bytes`; 0 is a part of what is allowed.
    pub waiting_bytes: usize,
}

impl Load {
    /// A million sessions to one destination.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            configuration: None,
            sessions: SESSIONS_REFERENCE,
            sessions_from: SessionsFrom::Reference,
            shards: 0,
            ports: BTreeSet::from([1883]),
            listeners: 1,
            destinations: 1,
            address_pairs: 1,
            coalesces: false,
            extras: Extras::default(),
            waiting_bytes: 0,
        }
    }

    /// What this configuration and this fleet ask for.
    #[must_use]
    pub fn of(path: &Path, config: &Config, fleet: &Fleet) -> Self {
        let addresses = u64::try_from(fleet.counts().addresses).unwrap_or(u64::MAX);
        let (sessions, sessions_from) = match as_u64(config.engine.max_sessions) {
            0 if addresses < SESSIONS_REFERENCE => (addresses, SessionsFrom::Fleet),
            0 => (SESSIONS_REFERENCE, SessionsFrom::Reference),
            sessions => (sessions, SessionsFrom::Configuration),
        };
        let ports = config.listeners.iter().map(|entry| entry.address.port());
        let destinations: BTreeMap<String, &str> = fleet
            .groups()
            .filter_map(|group| group.entry_point.as_ref())
            .filter(|entry_point| entry_point.enabled)
            .map(|entry_point| &entry_point.destination)
            .map(|destination| (destination.to_string(), destination.host.as_ref()))
            .collect();
        let sources = &config.upstream.source_addresses;
        let pairs = destinations.values().map(|host| sources_for(sources, host));
        Self {
            configuration: Some(path.to_owned()),
            sessions,
            sessions_from,
            shards: as_u64(config.engine.shards),
            ports: ports.filter(|port| *port != 0).collect(),
            listeners: as_u64(config.listeners.len()),
            destinations: as_u64(destinations.len()),
            address_pairs: pairs.fold(0, u64::saturating_add),
            coalesces: config.engine.coalesce_us > 0,
            extras: Extras {
                tls: fleet.has_tls(),
                renewal: fleet.renews(),
            },
            waiting_bytes: config.engine.waiting_bytes,
        }
    }

    /// Shards on a host with so many processors.
    #[must_use]
    pub const fn shards_on(&self, processors: u64) -> u64 {
        if self.shards == 0 {
            processors
        } else {
            self.shards
        }
    }

    /// Descriptors that are not for sessions, as the engine keeps them.
    #[must_use]
    pub const fn descriptors_reserved(&self, shards: u64) -> u64 {
        descriptors_reserved(shards, self.listeners)
    }

    /// The most memory that it comes to, on so many shards and where so many bytes are allowed.
    #[must_use]
    pub fn memory_max(&self, shards: u64, allowed_bytes: u64) -> MemoryMax {
        let count = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        let waiting = waiting_bytes(self.waiting_bytes, Some(allowed_bytes));
        MemoryMax::new(count(self.sessions), count(shards), self.extras, waiting)
    }

    /// Descriptors that all of it takes.
    #[must_use]
    pub const fn descriptors(&self, shards: u64) -> u64 {
        self.sessions
            .saturating_mul(DESCRIPTORS_PER_SESSION)
            .saturating_add(self.descriptors_reserved(shards))
    }
}

/// Source addresses that connections to a host leave from. Which family a name has is not known here: it
/// counts as the one that has more of them.
fn sources_for(sources: &[IpAddr], host: &str) -> u64 {
    let ipv4 = as_u64(sources.iter().filter(|source| source.is_ipv4()).count());
    let ipv6 = as_u64(sources.len()).saturating_sub(ipv4);
    let fitting = match host.parse() {
        Ok(IpAddr::V4(_)) => ipv4,
        Ok(IpAddr::V6(_)) => ipv6,
        Err(_) => ipv4.max(ipv6),
    };
    fitting.max(1)
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
