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

#[cfg(test)]
mod tests {
    use ringbeam_proto::identity::Identity;

    use super::*;
    use crate::registry::{LogQuery, SecretKey};

    fn event(identity: Option<Identity>) -> SimEvent {
        SimEvent {
            at_unix_ms: 1,
            identity,
            network: "default".into(),
            peer: std::net::SocketAddr::from(([10, 0, 0, 1], 1)),
            what: SimEventKind::Refused {
                device_version: None,
                reason: "connect_timeout",
                detail: None,
            },
        }
    }

    #[test]
    fn what_cannot_be_stored_is_stored_later() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("db");
        let key = SecretKey::from_hex(&[b'1'; 64]).unwrap();
        let registry = EmbeddedRegistry::open_or_create(&path, key).unwrap();
        let rename = |from: &str, to: &str| {
            let database = rusqlite::Connection::open(&path).unwrap();
            let rename = format!("ALTER TABLE {from} RENAME TO {to}");
            database.execute_batch(&rename).unwrap();
        };
        let somebody = Identity {
            imsi: "440100000000001".parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: None,
        };
        let (sender, events) = crossbeam_channel::unbounded();
        let notes = Shared::default();
        rename("logs", "elsewhere");
        for _ in 0..2 * EVENTS_AT_ONCE {
            sender.send(event(Some(somebody))).unwrap();
        }
        assert!(!store(&registry, &notes, &events));
        assert!(!store(&registry, &notes, &events));
        // No more of it is held here than one transaction takes.
        assert_eq!(events.len(), EVENTS_AT_ONCE);
        rename("elsewhere", "logs");
        while store(&registry, &notes, &events) {}
        let all = 3 * EVENTS_AT_ONCE;
        let stored = registry.read(|moment| moment.logs(LogQuery::default(), all));
        assert_eq!(stored.unwrap().len(), 2 * EVENTS_AT_ONCE);
    }

    #[test]
    fn what_is_nobodys_does_not_keep_the_rest_waiting() {
        let folder = tempfile::TempDir::new().unwrap();
        let key = SecretKey::from_hex(&[b'1'; 64]).unwrap();
        let path = folder.path().join("db");
        let registry = EmbeddedRegistry::open_or_create(&path, key).unwrap();
        let (sender, events) = crossbeam_channel::unbounded();
        for _ in 0..=EVENTS_AT_ONCE {
            sender.send(event(None)).unwrap();
        }
        while store(&registry, &Shared::default(), &events) {}
        assert!(events.is_empty());
    }
}
