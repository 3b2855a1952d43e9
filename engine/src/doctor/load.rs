//! Load: what the host shall carry, from the configuration and the fleet, or the reference load where
//! there is none.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::fleet::Fleet;
use crate::limits::{DESCRIPTORS_PER_SESSION, descriptors_reserved};

/// Sessions that a host is judged by where nothing says how many it shall carry.
const SESSIONS_REFERENCE: u64 = 1_000_000;

/// What is asked of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The configuration that says so; none is the reference load.
    pub configuration: Option<PathBuf>,
    /// Sessions at the same time.
    pub sessions: u64,
    /// Where that number comes from.
    pub sessions_from: &'static str,
    /// Shards; 0 is one per processor.
    pub shards: u64,
    /// Listening ports, 0 for any left out.
    pub ports: BTreeSet<u16>,
    /// Listeners.
    pub listeners: u64,
    /// Different upstreams of enabled entry points.
    pub destinations: u64,
    /// Local addresses that upstream connections come from; 0 leaves it to the kernel, which takes one.
    pub source_addresses: u64,
}

impl Load {
    /// A million sessions to one destination.
    #[must_use]
    pub fn reference() -> Self {
        Self {
            configuration: None,
            sessions: SESSIONS_REFERENCE,
            sessions_from: "the reference load",
            shards: 0,
            ports: BTreeSet::from([1883]),
            listeners: 1,
            destinations: 1,
            source_addresses: 0,
        }
    }

    /// What this configuration and this fleet ask for.
    #[must_use]
    pub fn of(path: &Path, config: &Config, fleet: &Fleet) -> Self {
        let addresses = u64::try_from(fleet.counts().addresses).unwrap_or(u64::MAX);
        let (sessions, sessions_from) = match as_u64(config.engine.max_sessions) {
            0 if addresses < SESSIONS_REFERENCE => (addresses, "one for each address of the fleet"),
            0 => (SESSIONS_REFERENCE, "the reference load"),
            sessions => (sessions, "engine.max_sessions"),
        };
        let ports = config.listeners.iter().map(|entry| entry.address.port());
        let destinations: BTreeSet<String> = fleet
            .groups()
            .iter()
            .filter_map(|group| group.entry_point.as_ref())
            .filter(|entry_point| entry_point.enabled)
            .map(|entry_point| entry_point.destination.to_string())
            .collect();
        Self {
            configuration: Some(path.to_owned()),
            sessions,
            sessions_from,
            shards: as_u64(config.engine.shards),
            ports: ports.filter(|port| *port != 0).collect(),
            listeners: as_u64(config.listeners.len()),
            destinations: as_u64(destinations.len()),
            source_addresses: as_u64(config.upstream.source_addresses.len()),
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

    /// Descriptors that all of it takes.
    #[must_use]
    pub const fn descriptors(&self, shards: u64) -> u64 {
        self.sessions
            .saturating_mul(DESCRIPTORS_PER_SESSION)
            .saturating_add(self.descriptors_reserved(shards))
    }
}

fn as_u64(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
