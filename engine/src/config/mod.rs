//! Configuration: ringbeam.toml in, a resolved [`Config`] out, or every refusal with file, line and
//! column. It reads that one file and no other.

mod changed;
mod raw;
mod resolve;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringbeam_proto::farewell::{Manner, Manners};

use crate::fleet::{Limits, PubnubHost};
use crate::open5gs::Url;
use crate::problem::{Position, Problem};
use crate::radius::{Clients, Networks};

/// Where the configuration is looked for if no path is given, in this order.
pub const PLACES: [&str; 2] = ["ringbeam.toml", "/etc/ringbeam/ringbeam.toml"];

/// The configuration, resolved: every value there, in range, and with its unit. Its default has no
/// listener, which a file must name.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where devices connect.
    pub listeners: Vec<Listener>,
    /// The engine.
    pub engine: EngineConfig,
    /// Where the fleet comes from.
    pub registry: RegistryConfig,
    /// The upstream side.
    pub upstream: UpstreamConfig,
    /// What one SIM may send, unless its entry point says otherwise.
    pub limits: Limits,
    /// Where the control plane listens.
    pub control: ControlConfig,
    /// Where packet cores tell of sessions.
    pub radius: Vec<RadiusConfig>,
    /// Where sessions are asked for.
    pub open5gs: Vec<Open5gsConfig>,
    /// What the file says without effect.
    pub warnings: Vec<String>,
    /// What the file leaves to defaults that were others in version 0.1.
    pub changed_defaults: Option<String>,
}

/// One listening address. Its network's name is half of every identity on it (B-ID-3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The network's name.
    pub network: Arc<str>,
    /// The address; port 0 lets the kernel choose.
    pub address: SocketAddr,
}

/// The engine's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// Shards; 0 is one per CPU that this process may use.
    pub shards: usize,
    /// Whether each shard keeps to its CPU.
    pub pin: bool,
    /// Microseconds that a message may wait for company under load; 0 is none.
    pub coalesce_us: u32,
    /// Sessions; 0 is what the descriptor limit allows.
    pub max_sessions: usize,
    /// Bytes that blocked sessions may hold together; 0 is a quarter of what host or control group allows.
    pub waiting_bytes: usize,
    /// By when a device's CONNECT must be whole (B-CON-3).
    pub connect_timeout: Duration,
    /// What the engine's own refusals look like that pass by themselves (B-CON-4).
    pub when_unavailable: Manner,
    /// What it looks like where nobody is served (B-ID-2).
    pub when_refused: Manner,
    /// By when an upstream must have answered (B-CON-4).
    pub upstream_timeout: Duration,
    /// How long sessions may take to end when the process stops.
    pub drain_timeout: Duration,
    /// How long a leg may take nothing (B-KEEP-5).
    pub stall_timeout: Duration,
    /// How long a CONNECT waits for its address to be somebody's, where sessions are told of (B-ID-8); zero is not at
    /// all.
    pub unknown_address_wait: Duration,
    /// Sessions of one SIM (B-ID-5).
    pub max_sessions_per_sim: u32,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            shards: 0,
            pin: true,
            coalesce_us: 0,
            max_sessions: 0,
            waiting_bytes: 0,
            connect_timeout: Duration::from_secs(30),
            when_unavailable: Manners::default().engine,
            when_refused: Manners::default().stranger,
            upstream_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(30),
            stall_timeout: Duration::from_secs(60),
            unknown_address_wait: Duration::from_secs(7),
            max_sessions_per_sim: 32,
        }
    }
}

impl EngineConfig {
    /// What refusals look like, where an entry point does not say otherwise of its upstream.
    #[must_use]
    pub fn manners(&self) -> Manners {
        Manners {
            engine: self.when_unavailable,
            stranger: self.when_refused,
            ..Manners::default()
        }
    }
}

/// Where the fleet comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryConfig {
    /// A fleet document, read at the start and at every reload.
    File {
        /// Its path.
        path: PathBuf,
    },
    /// A database that this program alone writes.
    Embedded {
        /// Its path.
        path: PathBuf,
        /// The file of the key that its secrets are encrypted by, where the environment has none.
        secret_key_file: Option<PathBuf>,
    },
}

impl RegistryConfig {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            Self::File { path } | Self::Embedded { path, .. } => path,
        }
    }
}

impl Default for RegistryConfig {
    fn default() -> Self {
        Self::File {
            path: PathBuf::from(FLEET_FILE),
        }
    }
}

/// The fleet document's name where the configuration names none.
const FLEET_FILE: &str = "fleet.json";

/// The database's.
const DATABASE_FILE: &str = "ringbeam.db";

/// The upstream side's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamConfig {
    /// A file of authorities that upstreams' certificates may come from, beside the system's.
    pub ca_file: Option<PathBuf>,
    /// Local addresses to connect from; the kernel chooses where there are none.
    pub source_addresses: Vec<IpAddr>,
    /// Connects per second to one destination, by all shards together; 0 is no limit.
    pub connects_per_second: u32,
    /// Where PubNub is (B-PN-1).
    pub pubnub_host: PubnubHost,
    /// How long tokens are good for (B-TOK-1); shorter than an hour for tests alone.
    pub token_lifetime: Duration,
}

impl Default for UpstreamConfig {
    fn default() -> Self {
        Self {
            ca_file: None,
            source_addresses: Vec::new(),
            connects_per_second: 0,
            pubnub_host: PubnubHost::default(),
            token_lifetime: Duration::from_secs(3600),
        }
    }
}

/// The control plane's settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlConfig {
    /// Where it listens; `None` is nowhere.
    pub address: Option<SocketAddr>,
    /// Whether the file says so: what it does not say must not keep the engine from starting.
    pub is_written: bool,
    /// The files of its certificate and its key, where it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// The control plane's port where the configuration names none.
const CONTROL_PORT: u16 = 8080;

impl Default for ControlConfig {
    fn default() -> Self {
        Self {
            address: Some(SocketAddr::from((Ipv4Addr::LOCALHOST, CONTROL_PORT))),
            is_written: false,
            tls: None,
        }
    }
}

/// One address where packet cores tell by RADIUS accounting which SIM has which address (B-ID-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RadiusConfig {
    /// The address.
    pub address: SocketAddr,
    /// Which network's addresses an access point gives.
    pub networks: Networks,
    /// Who may send, with their secrets.
    pub clients: Clients,
    /// Whether every request has to say when it happened.
    pub require_event_timestamp: bool,
    /// Whether every request has to be signed as a whole.
    pub require_message_authenticator: bool,
}

/// One Open5GS that is asked which SIM has which address (B-ID-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open5gsConfig {
    /// Where.
    pub url: Url,
    /// How often.
    pub interval: Duration,
    /// The network that its addresses belong to.
    pub network: Arc<str>,
}

impl Config {
    /// Reads the configuration at `path`, or at the first of [`PLACES`] that there is.
    ///
    /// # Errors
    /// Every refusal. Where there is no file, the one problem says where it was looked for.
    pub fn load(path: Option<&Path>) -> Result<Self, Vec<Problem>> {
        match path {
            Some(path) => Self::read(path),
            None => Self::read(&locate(&PLACES.map(Path::new))?),
        }
    }

    /// Whether going over from `running` to this takes more than a reload.
    #[must_use]
    pub fn needs_restart(&self, running: &Self) -> bool {
        let fixed = |config: &Self| {
            (
                config.engine.shards,
                config.engine.pin,
                config.engine.coalesce_us,
                config.engine.max_sessions,
                config.control.clone(),
            )
        };
        let radius = |config: &Self| -> Vec<SocketAddr> {
            let listeners = config.radius.iter();
            listeners.map(|listener| listener.address).collect()
        };
        self.listeners != running.listeners
            || fixed(self) != fixed(running)
            || radius(self) != radius(running)
            || self.open5gs != running.open5gs
    }

    /// The networks whose sessions packet cores tell of (B-ID-8), each once.
    #[must_use]
    pub fn told_networks(&self) -> Vec<Arc<str>> {
        let of_radius = self.radius.iter().flat_map(|radius| radius.networks.all());
        let of_open5gs = self.open5gs.iter().map(|open5gs| &open5gs.network);
        let all: BTreeSet<&Arc<str>> = of_radius.chain(of_open5gs).collect();
        all.into_iter().map(Arc::clone).collect()
    }

    fn read(path: &Path) -> Result<Self, Vec<Problem>> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            let found = format!("no readable file ({error})");
            vec![Problem::new("", found, "a configuration in TOML").in_file(path)]
        })?;
        Self::from_toml(&text, path)
    }

    /// The configuration that a text describes. Relative paths in it start at `file`'s directory.
    ///
    /// # Errors
    /// Every refusal with its line and column in `file`; a text that is no TOML, or has an unknown
    /// key, ends at the first.
    pub fn from_toml(text: &str, file: &Path) -> Result<Self, Vec<Problem>> {
        let raw = toml::from_str(text).map_err(|error: toml::de::Error| {
            let problem = Problem::new("", error.message().trim(), "").in_file(file);
            let offset = error.span().map(|span| span.start);
            vec![match offset {
                Some(offset) => problem.at(Position::of_offset(text, offset)),
                None => problem,
            }]
        })?;
        resolve::resolve(&raw, text, file)
    }
}

/// The first of these files that there is.
fn locate(places: &[&Path]) -> Result<PathBuf, Vec<Problem>> {
    let found = places.iter().find(|place| place.exists());
    found.map(|place| place.to_path_buf()).ok_or_else(|| {
        let here = std::env::current_dir().unwrap_or_default();
        let looked: Vec<String> = places
            .iter()
            .map(|place| here.join(place).display().to_string())
            .collect();
        let found = format!("no configuration; looked for {}", looked.join(" and "));
        vec![Problem::new(
            "",
            found,
            "one of these files, or --config with the path of another",
        )]
    })
}

#[cfg(test)]
mod tests;
