//! ringbeam.toml as it was typed: every key that exists, none at its default yet. Numbers and
//! addresses keep their place in the file, for refusals.

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

/// A value with its place in the file; `None` where it is not written.
pub(super) type Written<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub(super) listener: Vec<RawListener>,
    pub(super) engine: RawEngine,
    pub(super) registry: RawRegistry,
    pub(super) upstream: RawUpstream,
    pub(super) limits: RawLimits,
    pub(super) control: RawControl,
    pub(super) radius: Vec<RawRadius>,
    pub(super) open5gs: Vec<RawOpen5gs>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    pub(super) network: Written<String>,
    pub(super) address: Spanned<String>,
    pub(super) proxy_protocol: Written<Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEngine {
    pub(super) shards: Written<i64>,
    pub(super) pin: Option<bool>,
    pub(super) coalesce_us: Written<i64>,
    pub(super) max_sessions: Written<i64>,
    pub(super) waiting_bytes: Written<i64>,
    pub(super) connect_timeout_ms: Written<i64>,
    pub(super) when_unavailable: Written<String>,
    pub(super) when_refused: Written<String>,
    pub(super) upstream_timeout_ms: Written<i64>,
    pub(super) drain_timeout_ms: Written<i64>,
    pub(super) stall_timeout_ms: Written<i64>,
    pub(super) unknown_address_wait_ms: Written<i64>,
    pub(super) max_sessions_per_sim: Written<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawRegistry {
    pub(super) kind: Written<String>,
    pub(super) path: Written<String>,
    pub(super) secret_key_file: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawUpstream {
    pub(super) ca_file: Option<String>,
    pub(super) source_addresses: Vec<Spanned<String>>,
    pub(super) connects_per_second: Written<i64>,
    pub(super) pubnub_host: Written<String>,
    pub(super) token_lifetime_seconds: Written<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawLimits {
    pub(super) messages_per_second: Written<i64>,
    pub(super) bytes_per_second: Written<i64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawControl {
    pub(super) address: Written<String>,
    pub(super) tls_cert_file: Written<String>,
    pub(super) tls_key_file: Written<String>,
    pub(super) insecure_off_loopback: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRadius {
    pub(super) address: Spanned<String>,
    pub(super) networks: Spanned<BTreeMap<String, Spanned<String>>>,
    pub(super) require_event_timestamp: Option<bool>,
    pub(super) require_message_authenticator: Option<bool>,
    pub(super) clients: Spanned<Vec<RawClient>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawClient {
    pub(super) cidr: Spanned<String>,
    pub(super) secret_file: Spanned<String>,
    #[serde(default)]
    pub(super) networks: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) nas: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawOpen5gs {
    pub(super) url: Spanned<String>,
    pub(super) interval_ms: Written<i64>,
    pub(super) network: Written<String>,
}
