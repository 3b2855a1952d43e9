//! Connections: the sessions that are relayed now: listed, looked for, closed one by one.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use crossbeam_channel::{Receiver, RecvTimeoutError};
use ringbeam_proto::identity::Imsi;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::Act;
use super::error::ApiError;
use super::extract::{Asked, Segments, User, parsed};
use super::limits::REPORT_PATIENCE;
use super::page::{Page, Paging};
use super::state::State;
use crate::fleet::Fleet;
use crate::shard::report::{ConnectionFilter, ConnectionId, ConnectionPage, LiveConnection};

/// Which ones.
#[derive(Debug, Deserialize)]
pub(super) struct Filter {
    imsi: Option<String>,
    network: Option<String>,
}

/// `GET /ringbeam/v1/connections`
pub(super) async fn list(
    Shared(state): Shared<Arc<State>>,
    Asked(filter): Asked<Filter>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let limit = paging.limit()?;
    let imsi = filter.imsi.filter(|text| !text.is_empty());
    let imsi: Option<Imsi> = parsed("imsi", imsi.as_deref())?;
    let after = Some(paging.after()).filter(|after| !after.is_empty());
    let after: Option<ConnectionId> = parsed("last_evaluated_key", after)?;
    let network = filter.network.filter(|text| !text.is_empty());
    let filter = ConnectionFilter {
        imsi,
        network: network.map(Arc::from),
        after,
        limit,
    };
    let server = Arc::clone(&state.server);
    let found = tokio::task::spawn_blocking(move || {
        let pages = server.connections(&filter);
        let gathered = gather(&pages, server.shards(), || server.is_ending());
        let (mut found, mut is_last) = gathered?;
        found.sort_unstable_by_key(|connection| connection.id);
        is_last &= found.len() <= limit;
        found.truncate(limit);
        Ok((found, is_last))
    });
    let found: Result<_, ApiError> = found.await.map_err(|_| ApiError::internal())?;
    let (found, is_last) = found?;
    let snapshot = state.server.snapshot();
    let key = |connection: &LiveConnection| connection.id.to_string();
    let show = |connection| shown(&connection, &snapshot.fleet);
    Ok(Page::whole(&uri, found, is_last, key, show))
}

/// What all shards list, and whether none of them has more.
///
/// # Errors
/// When one does not answer that may have sessions: what is listed would lack them.
fn gather(
    pages: &Receiver<ConnectionPage>,
    shards: usize,
    is_ending: impl Fn() -> bool,
) -> Result<(Vec<LiveConnection>, bool), ApiError> {
    let mut found: Vec<LiveConnection> = Vec::new();
    let mut is_last = true;
    for _ in 0..shards {
        match pages.recv_timeout(REPORT_PATIENCE) {
            Ok(page) => {
                is_last &= page.is_complete;
                found.extend(page.connections);
            }
            // While the engine ends, a shard that has ended has no sessions.
            Err(RecvTimeoutError::Disconnected) if is_ending() => break,
            Err(_) => return Err(ApiError::busy()),
        }
    }
    Ok((found, is_last))
}

fn shown(connection: &LiveConnection, fleet: &Fleet) -> Value {
    let identity = &connection.identity;
    let sim = fleet.sim(&identity.imsi);
    let group = sim.and_then(|sim| fleet.group(sim.group?));
    let out = if connection.over_tls {
        "outMqtts"
    } else {
        "outMqtt"
    };
    let mut shown = Map::new();
    let mut put = |key: &str, value: Value| shown.insert(key.to_owned(), value);
    put("id", json!(connection.id.to_string()));
    put("imsi", json!(identity.imsi.to_string()));
    put("simId", json!(identity.sim_id.to_string()));
    put("groupId", json!(group.map(|group| group.id.to_string())));
    put("network", json!(&*connection.network));
    put("peer", json!(connection.peer.to_string()));
    put("upstream", json!(connection.upstream.to_string()));
    put("destination", json!(connection.destination.as_str()));
    put("platform", json!(connection.platform.as_str()));
    put("mqttVersion", json!(connection.device_version.as_str()));
    put("tls", json!(connection.over_tls));
    put("established", json!(connection.is_established));
    put("openedTime", json!(connection.opened_unix_ms));
    put("inMqtt", json!(connection.counts.device_leg));
    put(out, json!(connection.counts.upstream_leg));
    Value::Object(shown)
}

/// `DELETE /ringbeam/v1/connections/{id}`
pub(super) async fn close(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let connection: ConnectionId = id
        .parse()
        .map_err(|_| ApiError::not_found("the connection"))?;
    let server = Arc::clone(&state.server);
    let closed = tokio::task::spawn_blocking(move || {
        let answer = server.close_connection(connection);
        answer.recv_timeout(REPORT_PATIENCE).unwrap_or(false)
    });
    if !closed.await.map_err(|_| ApiError::internal())? {
        return Err(ApiError::not_found("the connection"));
    }
    state.note(Act::new(user, "closeConnection", id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_lacks_a_shard_is_no_list() {
        let page = || ConnectionPage {
            shard: 0,
            connections: Vec::new(),
            is_complete: true,
        };
        let (sender, pages) = crossbeam_channel::bounded(2);
        sender.send(page()).unwrap();
        sender.send(page()).unwrap();
        assert!(gather(&pages, 2, || false).unwrap().1);
        // One answers and the other takes too long.
        sender.send(page()).unwrap();
        assert_eq!(gather(&pages, 2, || true).unwrap_err(), ApiError::busy());
        // One answers and the other dropped the question.
        sender.send(page()).unwrap();
        drop(sender);
        assert_eq!(gather(&pages, 2, || false).unwrap_err(), ApiError::busy());
        assert!(gather(&pages, 2, || true).unwrap().1);
    }
}
