//! From ringbeam.toml as typed to the configuration as resolved: defaults filled in, ranges checked,
//! and a warning for every part that is not there yet.

mod sources;

use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ringbeam_proto::farewell::Manner;
use toml::Spanned;

use super::changed::relied_on;
use super::raw::{
    RawConfig, RawControl, RawEngine, RawLimits, RawListener, RawRegistry, RawUpstream, Written,
};
use super::{
    Config, ControlConfig, DATABASE_FILE, EngineConfig, FLEET_FILE, Listener, RegistryConfig,
    UpstreamConfig,
};
use crate::fleet::{InvalidHost, Limits, NETWORK_DEFAULT, PubnubHost};
use crate::limits::{COALESCE_US_MAX, WAITING_BYTES_MIN};
use crate::problem::{Position, Problem, Problems, quoted};

/// More shards than this are a slip of the keyboard.
const SHARDS: RangeInclusive<usize> = 0..=1024;

/// Descriptors run out long before.
const MAX_SESSIONS: RangeInclusive<usize> = 0..=100_000_000;
const WAITING_BYTES: RangeInclusive<usize> = WAITING_BYTES_MIN..=1 << 50;

/// Sessions of one SIM: none at all would refuse every device.
const MAX_SESSIONS_PER_SIM: RangeInclusive<u32> = 1..=1_000_000;

/// Time-outs in milliseconds: shorter ones fire before a packet has crossed a mobile network, and
/// longer ones than an hour never help.
const TIMEOUT_MS: RangeInclusive<u64> = 10..=3_600_000;

/// Milliseconds that a CONNECT waits for its address to be somebody's; 0 is not at all, and devices do not wait for hours.
const UNKNOWN_ADDRESS_WAIT_MS: RangeInclusive<u64> = 0..=3_600_000;

/// How long a token is good for, in seconds: its upstream must be reached before it is over, and clouds
/// refuse longer ones than a day.
const TOKEN_LIFETIME_SECONDS: RangeInclusive<u64> = 5..=86_400;

/// What a message may wait for company, in microseconds.
const COALESCE_US: RangeInclusive<u32> = 0..=COALESCE_US_MAX;

/// Connects per second to one destination; 0 is no limit, and more than a million is none either.
const CONNECTS_PER_SECOND: RangeInclusive<u32> = 0..=1_000_000;

/// Messages or bytes of one SIM per second; 0 is no limit.
const RATE: RangeInclusive<u32> = 0..=u32::MAX;

const NO_EFFECT: &str = "no effect while registry.kind is \"file\"";

/// Fills in, checks, warns.
pub(super) fn resolve(raw: &RawConfig, text: &str, file: &Path) -> Result<Config, Vec<Problem>> {
    let mut resolver = Resolver {
        text,
        file,
        problems: Problems::default(),
        warnings: Vec::new(),
    };
    let listeners = resolver.listeners(&raw.listener);
    let engine = resolver.engine(&raw.engine);
    let registry = resolver.registry(&raw.registry);
    let upstream = resolver.upstream(&raw.upstream);
    let limits = resolver.limits(&raw.limits);
    let control = resolver.control(&raw.control);
    let (radius, open5gs) = resolver.session_sources(raw, &registry);
    resolver.unknown_networks(&listeners, raw);
    let Resolver {
        problems, warnings, ..
    } = resolver;
    problems.into_result(Some(Config {
        listeners,
        engine,
        registry,
        upstream,
        limits,
        control,
        radius,
        open5gs,
        warnings,
        changed_defaults: relied_on(&raw.engine),
    }))
}

struct Resolver<'a> {
    text: &'a str,
    file: &'a Path,
    problems: Problems,
    warnings: Vec<String>,
}

impl Resolver<'_> {
    fn refuse(
        &mut self,
        span: Range<usize>,
        key: &str,
        found: impl Display,
        accepted: impl Display,
    ) {
        let (text, file) = (self.text, self.file);
        self.problems.add(|| {
            let position = Position::of_offset(text, span.start);
            Problem::new(key, found, accepted)
                .in_file(file)
                .at(position)
        });
    }

    fn warn(&mut self, key: &str) {
        self.warnings.push(format!("{key}: {NO_EFFECT}"));
    }

    /// A number in its range.
    fn number<T>(
        &mut self,
        key: &str,
        written: &Written<i64>,
        default: T,
        range: RangeInclusive<T>,
    ) -> T
    where
        T: TryFrom<i64> + PartialOrd + Display,
    {
        let Some(spanned) = written else {
            return default;
        };
        let number = T::try_from(*spanned.get_ref())
            .ok()
            .filter(|number| range.contains(number));
        number.unwrap_or_else(|| {
            let accepted = format!("{} to {}", range.start(), range.end());
            self.refuse(spanned.span(), key, spanned.get_ref(), accepted);
            default
        })
    }

    /// 0 leaves it to the engine.
    fn waiting_bytes(&mut self, written: &Written<i64>, default: usize) -> usize {
        match written {
            Some(spanned) if *spanned.get_ref() != 0 => {
                self.number("engine.waiting_bytes", written, default, WAITING_BYTES)
            }
            _ => default,
        }
    }

    fn timeout(&mut self, key: &str, written: &Written<i64>, default: Duration) -> Duration {
        let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(key, written, default_ms, TIMEOUT_MS))
    }

    fn listeners(&mut self, raw: &[RawListener]) -> Vec<Listener> {
        if raw.is_empty() {
            let problem = Problem::new("listener", "none", "one [[listener]] or more");
            let file = self.file;
            self.problems.add(|| problem.in_file(file));
        }
        let mut listeners: Vec<Listener> = Vec::with_capacity(raw.len());
        for entry in raw {
            let span = entry.address.span();
            let network = self.network("listener.network", entry.network.as_ref());
            if let Some(ranges) = entry.proxy_protocol.as_ref()
                && !ranges.get_ref().is_empty()
            {
                let accepted = "[]; the PROXY protocol is not in this version";
                self.refuse(
                    ranges.span(),
                    "listener.proxy_protocol",
                    "a list of ranges",
                    accepted,
                );
            }
            let text = entry.address.get_ref();
            let Ok(address) = text.parse::<SocketAddr>() else {
                let accepted = "IP:port, such as \"0.0.0.0:1883\" or \"[::]:1883\"";
                self.refuse(span, "listener.address", quoted(text), accepted);
                continue;
            };
            let twin = |other: &&Listener| overlap(other.address, address);
            if address.port() != 0 && listeners.iter().any(|other| twin(&other)) {
                let found = format!("{}, which an earlier listener has", quoted(text));
                self.refuse(
                    span,
                    "listener.address",
                    found,
                    "an address for each listener",
                );
                continue;
            }
            listeners.push(Listener { network, address });
        }
        listeners
    }

    fn network(&mut self, key: &str, written: Option<&Spanned<String>>) -> Arc<str> {
        if let Some(spanned) = written {
            let name = spanned.get_ref();
            // It stands in lines that are read word by word.
            let is_word = |character: char| !character.is_control() && !character.is_whitespace();
            if !name.is_empty() && name.chars().all(is_word) {
                return Arc::from(name.as_str());
            }
            self.refuse(spanned.span(), key, quoted(name), "a name without spaces");
        }
        Arc::from(NETWORK_DEFAULT)
    }

    fn engine(&mut self, raw: &RawEngine) -> EngineConfig {
        let default = EngineConfig::default();
        EngineConfig {
            shards: self.number("engine.shards", &raw.shards, default.shards, SHARDS),
            pin: raw.pin.unwrap_or(default.pin),
            coalesce_us: self.number(
                "engine.coalesce_us",
                &raw.coalesce_us,
                default.coalesce_us,
                COALESCE_US,
            ),
            max_sessions: self.number(
                "engine.max_sessions",
                &raw.max_sessions,
                default.max_sessions,
                MAX_SESSIONS,
            ),
            waiting_bytes: self.waiting_bytes(&raw.waiting_bytes, default.waiting_bytes),
            connect_timeout: self.timeout(
                "engine.connect_timeout_ms",
                &raw.connect_timeout_ms,
                default.connect_timeout,
            ),
            when_unavailable: self.manner(
                "engine.when_unavailable",
                raw.when_unavailable.as_ref(),
                default.when_unavailable,
            ),
            when_refused: self.manner(
                "engine.when_refused",
                raw.when_refused.as_ref(),
                default.when_refused,
            ),
            upstream_timeout: self.timeout(
                "engine.upstream_timeout_ms",
                &raw.upstream_timeout_ms,
                default.upstream_timeout,
            ),
            drain_timeout: self.timeout(
                "engine.drain_timeout_ms",
                &raw.drain_timeout_ms,
                default.drain_timeout,
            ),
            stall_timeout: self.timeout(
                "engine.stall_timeout_ms",
                &raw.stall_timeout_ms,
                default.stall_timeout,
            ),
            unknown_address_wait: self.unknown_address_wait(raw, default.unknown_address_wait),
            max_sessions_per_sim: self.number(
                "engine.max_sessions_per_sim",
                &raw.max_sessions_per_sim,
                default.max_sessions_per_sim,
                MAX_SESSIONS_PER_SIM,
            ),
        }
    }

    fn unknown_address_wait(&mut self, raw: &RawEngine, default: Duration) -> Duration {
        let default_ms = u64::try_from(default.as_millis()).unwrap_or(u64::MAX);
        Duration::from_millis(self.number(
            "engine.unknown_address_wait_ms",
            &raw.unknown_address_wait_ms,
            default_ms,
            UNKNOWN_ADDRESS_WAIT_MS,
        ))
    }

    /// What refusals of a kind look like.
    fn manner(&mut self, key: &str, written: Option<&Spanned<String>>, default: Manner) -> Manner {
        let Some(spanned) = written else {
            return default;
        };
        let text = spanned.get_ref();
        text.parse().unwrap_or_else(|_| {
            let accepted = "\"close\", \"connack\"";
            self.refuse(spanned.span(), key, quoted(text), accepted);
            default
        })
    }

    fn registry(&mut self, raw: &RawRegistry) -> RegistryConfig {
        let mut is_embedded = false;
        if let Some(kind) = &raw.kind {
            let name = kind.get_ref().as_str();
            let accepted = match name {
                "file" => None,
                "embedded" => {
                    is_embedded = true;
                    None
                }
                "redis" => Some("\"file\", \"embedded\"; redis is not in this version"),
                _ => Some("\"file\", \"embedded\""),
            };
            if let Some(accepted) = accepted {
                self.refuse(kind.span(), "registry.kind", quoted(name), accepted);
            }
        }
        let written = raw.path.as_ref();
        if let Some(path) = written.filter(|path| path.get_ref().is_empty()) {
            self.refuse(
                path.span(),
                "registry.path",
                "an empty string",
                "the path of a file",
            );
        }
        let default = if is_embedded {
            DATABASE_FILE
        } else {
            FLEET_FILE
        };
        let path = written.map_or(default, |path| path.get_ref());
        let directory = self.file.parent().unwrap_or_else(|| Path::new(""));
        let path = directory.join(path);
        let key_file = raw.secret_key_file.as_ref();
        let key_file = key_file.filter(|file| !file.is_empty());
        match (is_embedded, key_file) {
            (true, key_file) => RegistryConfig::Embedded {
                path,
                secret_key_file: key_file.map(|file| directory.join(file)),
            },
            (false, Some(_)) => {
                self.warn("registry.secret_key_file");
                RegistryConfig::File { path }
            }
            (false, None) => RegistryConfig::File { path },
        }
    }

    fn ca_file(&self, raw: &RawUpstream) -> Option<PathBuf> {
        let path = raw.ca_file.as_ref().filter(|path| !path.is_empty())?;
        let directory = self.file.parent().unwrap_or_else(|| Path::new(""));
        Some(directory.join(path))
    }

    fn upstream(&mut self, raw: &RawUpstream) -> UpstreamConfig {
        let default = UpstreamConfig::default();
        let token_lifetime_seconds = self.number(
            "upstream.token_lifetime_seconds",
            &raw.token_lifetime_seconds,
            default.token_lifetime.as_secs(),
            TOKEN_LIFETIME_SECONDS,
        );
        UpstreamConfig {
            ca_file: self.ca_file(raw),
            source_addresses: self.sources(&raw.source_addresses),
            connects_per_second: self.number(
                "upstream.connects_per_second",
                &raw.connects_per_second,
                0,
                CONNECTS_PER_SECOND,
            ),
            pubnub_host: self.pubnub_host(raw.pubnub_host.as_ref()),
            token_lifetime: Duration::from_secs(token_lifetime_seconds),
        }
    }

    fn limits(&mut self, raw: &RawLimits) -> Limits {
        let default = Limits::default();
        Limits {
            messages_per_second: self.number(
                "limits.messages_per_second",
                &raw.messages_per_second,
                default.messages_per_second,
                RATE,
            ),
            bytes_per_second: self.number(
                "limits.bytes_per_second",
                &raw.bytes_per_second,
                default.bytes_per_second,
                RATE,
            ),
        }
    }

    /// Where the control plane listens: off loopback it would show passwords and tokens to whoever is on the way.
    fn control(&mut self, raw: &RawControl) -> ControlConfig {
        let default = ControlConfig::default();
        let tls = self.control_tls(raw);
        let Some(spanned) = &raw.address else {
            return ControlConfig { tls, ..default };
        };
        let text = spanned.get_ref();
        let off = ControlConfig {
            address: None,
            is_written: true,
            tls: None,
        };
        if text.is_empty() {
            return off;
        }
        let Ok(address) = text.parse::<SocketAddr>() else {
            let accepted = "IP:port, such as \"127.0.0.1:8080\", or \"\" for none";
            self.refuse(spanned.span(), "control.address", quoted(text), accepted);
            return off;
        };
        let is_safe = address.ip().to_canonical().is_loopback() || tls.is_some();
        if !is_safe && raw.insecure_off_loopback != Some(true) {
            let found = format!("{}, off loopback and without TLS", quoted(text));
            let accepted = "a loopback address, or control.tls_cert_file and tls_key_file, or \
                            insecure_off_loopback = true where nobody else is on the way";
            self.refuse(spanned.span(), "control.address", found, accepted);
        }
        ControlConfig {
            address: Some(address),
            is_written: true,
            tls,
        }
    }

    fn control_tls(&mut self, raw: &RawControl) -> Option<(PathBuf, PathBuf)> {
        let directory = self.file.parent().unwrap_or_else(|| Path::new(""));
        let path = |written: &Written<String>| {
            let text = written.as_ref().map(|spanned| spanned.get_ref());
            let text = text.filter(|text| !text.is_empty());
            text.map(|text| directory.join(text))
        };
        match (path(&raw.tls_cert_file), path(&raw.tls_key_file)) {
            (Some(cert_file), Some(key_file)) => Some((cert_file, key_file)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                let written = raw.tls_cert_file.as_ref().or(raw.tls_key_file.as_ref());
                let span = written.map(Spanned::span).unwrap_or_default();
                let accepted = "both of tls_cert_file and tls_key_file, or none";
                self.refuse(
                    span,
                    "control.tls_cert_file",
                    "one without the other",
                    accepted,
                );
                None
            }
        }
    }

    /// B-PN-1
    fn pubnub_host(&mut self, written: Option<&Spanned<String>>) -> PubnubHost {
        let Some(spanned) = written else {
            return PubnubHost::default();
        };
        let text = spanned.get_ref();
        text.parse().unwrap_or_else(|error: InvalidHost| {
            // What stands before an @ may be a password.
            let found = if text.contains('@') {
                error.to_string()
            } else {
                format!("{} ({error})", quoted(text))
            };
            let key = "upstream.pubnub_host";
            self.refuse(spanned.span(), key, found, PubnubHost::ACCEPTED);
            PubnubHost::default()
        })
    }

    fn sources(&mut self, raw: &[Spanned<String>]) -> Vec<IpAddr> {
        let key = "upstream.source_addresses";
        let mut sources = Vec::with_capacity(raw.len());
        for entry in raw {
            let text = entry.get_ref();
            match text.parse::<IpAddr>() {
                Ok(address) if address.is_unspecified() || address.is_multicast() => {
                    let accepted = "addresses that this host has";
                    self.refuse(entry.span(), key, quoted(text), accepted);
                }
                Ok(address) if sources.contains(&address) => {
                    let found = format!("{} twice", quoted(text));
                    self.refuse(entry.span(), key, found, "each address once");
                }
                Ok(address) => sources.push(address),
                Err(_) => self.refuse(entry.span(), key, quoted(text), "IP addresses"),
            }
        }
        sources
    }
}

/// The address with IPv4 as IPv4.
fn canonical(address: SocketAddr) -> (IpAddr, u16) {
    (address.ip().to_canonical(), address.port())
}

/// Whether two listeners cannot be there together: one address, or all addresses of its family and one
/// of them, on one port.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_same_family = one.is_ipv4() == other.is_ipv4();
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    canonical(one) == canonical(other) || (one.port() == other.port() && is_same_family && is_every)
}
