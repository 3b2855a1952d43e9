//! Node: this process: its state and configuration, and what an operator may have it do.

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::Request;
use super::change::Act;
use super::error::ApiError;
use super::extract::{Asked, User, parsed};
use super::page::{Page, Paging};
use super::state::State;
use crate::config::{Config, RegistryConfig};
use crate::explain::{Query, Subject, explain as answer};
use crate::registry::AuditEntry;

/// `GET /ringbeam/v1/node`
pub(super) async fn node(Shared(state): Shared<Arc<State>>) -> Result<Json<Value>, ApiError> {
    let reports = state.reports().await?;
    let (sessions_max, _) = state.server.capacity();
    let mut shards: Vec<Value> = Vec::new();
    let mut sessions = 0_usize;
    for index in 0..state.server.shards() {
        let of_shard = reports.iter().filter(|(shard, _)| *shard == index);
        let (mut connections, mut relayed) = (0_usize, 0_usize);
        for (_, share) in of_shard {
            connections = connections.saturating_add(share.live);
            let live = share.live_by_platform.values().sum::<usize>();
            relayed = relayed.saturating_add(live);
        }
        sessions = sessions.saturating_add(relayed);
        shards.push(json!({"index": index, "connections": connections, "sessions": relayed}));
    }
    let listeners =
        state.server.addresses().iter().map(
            |(network, address)| json!({"network": &**network, "address": address.to_string()}),
        );
    let kind = match state.config.registry {
        RegistryConfig::File { .. } => "file",
        RegistryConfig::Embedded { .. } => "embedded",
    };
    Ok(Json(json!({
        "version": env!("CARGO_PKG_VERSION"),
        "startedTime": state.started_ms,
        "operatorId": state.operator_id,
        "draining": state.server.is_ending(),
        "registry": {"kind": kind},
        "listeners": listeners.collect::<Vec<_>>(),
        "sessions": sessions,
        "sessionsMax": sessions_max,
        "shards": shards,
    })))
}

/// `POST /ringbeam/v1/drain`: sessions end in order, then the process.
pub(super) async fn drain(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
) -> Result<StatusCode, ApiError> {
    // First, for the process may be gone before whoever asked is answered otherwise.
    state.note(Act::new(user, "drain", "node")).await?;
    let asked = state.requests.try_send(Request::Drain);
    asked.map_err(|_| ApiError::busy())?;
    Ok(StatusCode::ACCEPTED)
}

/// `POST /ringbeam/v1/reload`
pub(super) async fn reload(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
) -> Result<Json<Value>, ApiError> {
    state.note(Act::new(user, "reload", "node")).await?;
    let (reply, answer) = oneshot::channel();
    let asked = state.requests.try_send(Request::Reload(reply));
    asked.map_err(|_| ApiError::busy())?;
    let groups = answer.await.map_err(|_| ApiError::busy())?;
    let groups = groups.map_err(|problems| ApiError::refused(&problems))?;
    Ok(Json(json!({"groups": groups})))
}

/// Which SIM is asked about.
#[derive(Debug, Deserialize)]
pub(super) struct Question {
    ip: Option<IpAddr>,
    imsi: Option<String>,
    network: Option<String>,
}

/// `GET /ringbeam/v1/explain`
pub(super) async fn explain(
    Shared(state): Shared<Arc<State>>,
    Asked(question): Asked<Question>,
) -> Result<Json<Value>, ApiError> {
    let imsi = parsed("imsi", question.imsi.as_deref())?;
    let subject = match (question.ip, imsi) {
        (Some(ip), None) => Subject::Address(ip),
        (None, Some(imsi)) => Subject::Imsi(imsi),
        _ => return Err(ApiError::bad_request("one of ip and imsi is needed")),
    };
    let query = Query {
        subject,
        network: question.network,
    };
    let snapshot = state.server.snapshot();
    let text =
        answer(&state.current.load(), &snapshot.fleet, &query).map_err(ApiError::bad_request)?;
    Ok(Json(json!({"text": text})))
}

/// `GET /ringbeam/v1/config`: as it was read last, what waits for a restart included. Secrets stand in files, of which this names the paths.
pub(super) async fn config(Shared(state): Shared<Arc<State>>) -> Json<Value> {
    Json(shown(&state.current.load()))
}

fn shown(config: &Config) -> Value {
    let engine = &config.engine;
    let upstream = &config.upstream;
    let path =
        |path: &Option<std::path::PathBuf>| path.as_ref().map(|path| path.display().to_string());
    let (kind, secret_key_file) = match &config.registry {
        RegistryConfig::File { .. } => ("file", None),
        RegistryConfig::Embedded {
            secret_key_file, ..
        } => ("embedded", path(secret_key_file)),
    };
    let listeners = config.listeners.iter().map(
        |listener| json!({"network": &*listener.network, "address": listener.address.to_string()}),
    );
    let radius = config.radius.iter().map(
        |radius| json!({"address": radius.address.to_string(), "clients": radius.clients.len()}),
    );
    let open5gs = config.open5gs.iter().map(|open5gs| {
        let interval_ms = open5gs.interval.as_millis();
        json!({"url": open5gs.url.to_string(), "interval_ms": interval_ms, "network": &*open5gs.network})
    });
    let tls = config.control.tls.as_ref();
    json!({
        "listener": listeners.collect::<Vec<_>>(),
        "engine": {
            "shards": engine.shards,
            "pin": engine.pin,
            "coalesce_us": engine.coalesce_us,
            "max_sessions": engine.max_sessions,
            "waiting_bytes": engine.waiting_bytes,
            "connect_timeout_ms": engine.connect_timeout.as_millis(),
            "when_unavailable": engine.when_unavailable.as_str(),
            "when_refused": engine.when_refused.as_str(),
            "upstream_timeout_ms": engine.upstream_timeout.as_millis(),
            "drain_timeout_ms": engine.drain_timeout.as_millis(),
            "stall_timeout_ms": engine.stall_timeout.as_millis(),
            "unknown_address_wait_ms": engine.unknown_address_wait.as_millis(),
            "max_sessions_per_sim": engine.max_sessions_per_sim,
        },
        "registry": {
            "kind": kind,
            "path": config.registry.path().display().to_string(),
            "secret_key_file": secret_key_file,
        },
        "upstream": {
            "ca_file": path(&upstream.ca_file),
            "source_addresses": upstream.source_addresses,
            "connects_per_second": upstream.connects_per_second,
            "pubnub_host": upstream.pubnub_host.destination().to_string(),
            "token_lifetime_seconds": upstream.token_lifetime.as_secs(),
        },
        "limits": {
            "messages_per_second": config.limits.messages_per_second,
            "bytes_per_second": config.limits.bytes_per_second,
        },
        "control": {
            "address": config.control.address.map(|address| address.to_string()),
            "tls_cert_file": tls.map(|(cert, _)| cert.display().to_string()),
            "tls_key_file": tls.map(|(_, key)| key.display().to_string()),
        },
        "radius": radius.collect::<Vec<_>>(),
        "open5gs": open5gs.collect::<Vec<_>>(),
    })
}

/// `GET /ringbeam/v1/audit`
pub(super) async fn audit(
    Shared(state): Shared<Arc<State>>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let (limit, before) = (paging.limit()?, paging.before_number()?);
    let entries = state.store()?.read(move |registry| {
        registry.read(|moment| moment.audit(before, limit.saturating_add(1)))
    });
    let show = |entry: AuditEntry| {
        let mut shown = Map::new();
        let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
        put("time", json!(entry.time_ms));
        put("user", json!(entry.user));
        put("action", json!(entry.action));
        put("resource", json!(entry.resource));
        Value::Object(shown)
    };
    let key = |entry: &AuditEntry| entry.id.to_string();
    Ok(Page::new(&uri, entries.await??, limit, key, show))
}

/// `GET /healthz`: the process answers.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: devices are served, and what was written last is stored, whatever it was.
pub(super) async fn readyz(Shared(state): Shared<Arc<State>>) -> (StatusCode, Cow<'static, str>) {
    if state.server.is_ending() {
        return (StatusCode::SERVICE_UNAVAILABLE, Cow::Borrowed("draining\n"));
    }
    if let Some(why) = state.unwritten() {
        let text = format!("the registry cannot be written: {why}\n");
        return (StatusCode::SERVICE_UNAVAILABLE, Cow::Owned(text));
    }
    (StatusCode::OK, Cow::Borrowed("ready\n"))
}
