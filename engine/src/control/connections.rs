//! Connections: the sessions that are relayed now: listed, looked for, closed one by one.

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use ringbeam_proto::identity::Imsi;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::Act;
use super::error::ApiError;
use super::extract::{Asked, Segments, User};
use super::limits::REPORT_PATIENCE;
use super::page::{Page, Paging};
use super::state::State;
use crate::fleet::Fleet;
use crate::shard::report::{ConnectionFilter, ConnectionId, LiveConnection};

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
    let imsi = imsi.map(|text| text.parse::<Imsi>()).transpose();
    let imsi = imsi.map_err(|error| ApiError::bad_request(format!("imsi: {error}")))?;
    let after = Some(paging.after()).filter(|after| !after.is_empty());
    let after = after.map(str::parse::<ConnectionId>).transpose();
    let after =
        after.map_err(|error| ApiError::bad_request(format!("last_evaluated_key: {error}")))?;
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
        let mut found: Vec<LiveConnection> = Vec::new();
        let mut is_last = true;
        for _ in 0..server.shards() {
            // A shard that has ended has no sessions.
            let Ok(page) = pages.recv_timeout(REPORT_PATIENCE) else {
                break;
            };
            is_last &= page.is_complete;
            found.extend(page.connections);
        }
        found.sort_unstable_by_key(|connection| connection.id);
        is_last &= found.len() <= limit;
        found.truncate(limit);
        (found, is_last)
    });
    let (found, is_last) = found.await.map_err(|_| ApiError::internal())?;
    let snapshot = state.server.snapshot();
    let key = |connection: &LiveConnection| connection.id.to_string();
    let show = |connection| shown(&connection, &snapshot.fleet);
    Ok(Page::whole(&uri, found, is_last, key, show))
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
