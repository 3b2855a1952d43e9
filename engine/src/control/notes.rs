//! Notes: what happened to SIMs' connections, on its way from the shards to the vendor's log. What was taken and is not stored
//! yet stays here.

use crossbeam_channel::Receiver;
use serde_json::{Map, Value, json};
use tracing::error;

use super::limits::EVENTS_AT_ONCE;
use super::state::Shared;
use crate::registry::{EmbeddedRegistry, LogEntry};
use crate::shard::report::{SimEvent, SimEventKind};

/// What was taken and is not stored: one transaction of entries at most. While it stays, events wait with the shards, which count
/// what is too many.
#[derive(Debug, Default)]
pub(super) struct Notes {
    entries: Vec<LogEntry>,
    /// Whether the last attempt to store failed.
    has_failed: bool,
}

/// Stores as much as one transaction takes; where that fails it stays for the next time. Whether there may be more.
/// On the writer's thread, so that it happens once at a time.
pub(super) fn store(
    registry: &EmbeddedRegistry,
    notes: &Shared<Notes>,
    events: &Receiver<SimEvent>,
) -> bool {
    let mut entries = notes.with(|notes| std::mem::take(&mut notes.entries));
    let room = EVENTS_AT_ONCE.saturating_sub(entries.len());
    let taken: Vec<SimEvent> = events.try_iter().take(room).collect();
    entries.extend(taken.iter().filter_map(entry));
    if entries.is_empty() {
        return !taken.is_empty();
    }
    let stored = registry.change(|moment| moment.add_logs(&entries));
    notes.with(|notes| match stored {
        Ok(()) => {
            notes.has_failed = false;
            true
        }
        Err(error) => {
            // It is tried again in a moment, and said once.
            if !notes.has_failed {
                error!(%error, "events of SIMs cannot be stored; they are kept and tried again");
            }
            notes.has_failed = true;
            notes.entries = entries;
            false
        }
    })
}

/// An event as an entry of the vendor's log; an address that is nobody's has none.
fn entry(event: &SimEvent) -> Option<LogEntry> {
    let identity = event.identity?;
    let mut body = Map::new();
    let mut put = |key: &str, value: Value| body.insert(key.to_owned(), value);
    put("network", json!(&*event.network));
    put("peer", json!(event.peer.to_string()));
    let level = match &event.what {
        SimEventKind::Refused {
            device_version,
            reason,
            detail,
        } => {
            put("message", json!("connection refused"));
            put("reason", json!(reason));
            if let Some(version) = device_version {
                put("mqtt", json!(version.as_str()));
            }
            if let Some(detail) = detail {
                put("detail", json!(detail));
            }
            "error"
        }
        SimEventKind::Established {
            id,
            platform,
            device_version,
            destination,
            upstream,
            took_ms,
        } => {
            put("message", json!("session established"));
            put("connection", json!(id.to_string()));
            put("platform", json!(platform.as_str()));
            put("mqtt", json!(device_version.as_str()));
            put("destination", json!(destination.as_str()));
            put("upstream", json!(upstream.to_string()));
            put("tookMs", json!(took_ms));
            "info"
        }
        SimEventKind::Ended {
            id,
            was_established,
            reason,
            detail,
            duration_ms,
            counts,
        } => {
            put("message", json!("session ended"));
            put("connection", json!(id.to_string()));
            put("reason", json!(reason));
            if let Some(detail) = detail {
                put("detail", json!(detail));
            }
            put("durationMs", json!(duration_ms));
            put("deviceLeg", json!(counts.device_leg));
            put("upstreamLeg", json!(counts.upstream_leg));
            if *was_established { "info" } else { "error" }
        }
    };
    Some(LogEntry {
        id: 0,
        time_ms: event.at_unix_ms,
        imsi: identity.imsi.to_string(),
        level: level.to_owned(),
        body: Value::Object(body),
    })
}
