//! Events: what happened to SIMs: their sessions with the packet core, and their connections here (`/v1/logs`).

use std::sync::Arc;

use axum::extract::State as Shared;
use axum::http::Uri;
use ringbeam_proto::identity::Imsi;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::ApiError;
use super::extract::{Asked, Segments};
use super::lookup::{SimName, find};
use super::page::{Page, Paging};
use super::state::State;
use crate::registry::sessions::HistoryEvent;
use crate::registry::{LogEntry, LogQuery};

/// A span of time, in milliseconds since 1970.
#[derive(Debug, Deserialize)]
pub(super) struct Span {
    from: Option<i64>,
    to: Option<i64>,
}

/// `GET /v1/sims/{sim_id}/events/sessions`
pub(super) async fn of_sim(
    state: Shared<Arc<State>>,
    Segments(sim_id): Segments<String>,
    Asked(span): Asked<Span>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    sessions(state, SimName::Id(sim_id), span, paging, uri).await
}

/// `GET /v1/subscribers/{imsi}/events/sessions`
pub(super) async fn of_subscriber(
    state: Shared<Arc<State>>,
    Segments(imsi): Segments<String>,
    Asked(span): Asked<Span>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    sessions(state, SimName::Imsi(imsi), span, paging, uri).await
}

async fn sessions(
    Shared(state): Shared<Arc<State>>,
    name: SimName,
    span: Span,
    paging: Paging,
    uri: Uri,
) -> Result<Page, ApiError> {
    let limit = paging.limit()?;
    let before = paging.before_number()?;
    let (from, to) = (span.from.unwrap_or(0), span.to.unwrap_or(i64::MAX));
    let found = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let found = find(moment, &name)?;
            let imsi: Imsi = found
                .text("imsi")
                .parse()
                .map_err(|_| ApiError::internal())?;
            let sim_id = found.text("simId").to_owned();
            let events = moment.session_events(&imsi, (from, to), limit, before)?;
            Ok::<_, ApiError>((sim_id, events))
        })
    });
    let (sim_id, events) = found.await??;
    let operator_id = state.operator_id.clone();
    let show = |event: HistoryEvent| {
        let mut shown = json!({
            "event": event.kind.name(),
            "time": event.time_ms,
            "createdTime": event.time_ms.to_string(),
            "imsi": event.imsi.to_string(),
            "simId": sim_id,
            "operatorId": operator_id,
            "ueIpAddress": event.address,
        });
        let known = [
            ("imei", event.imei.map(|imei| imei.to_string())),
            ("apn", Some(event.apn)),
            ("sessionId", Some(event.session_id)),
        ];
        if let Some(fields) = shown.as_object_mut() {
            for (key, text) in known {
                if let Some(text) = text.filter(|text| !text.is_empty()) {
                    fields.insert(key.to_owned(), Value::from(text));
                }
            }
        }
        shown
    };
    // What happened at one time belongs to one page, which may be longer for it.
    let is_whole = events.len() < limit;
    let key = |event: &HistoryEvent| event.time_ms.to_string();
    Ok(Page::whole(&uri, events, is_whole, key, show))
}

/// Which entries.
#[derive(Debug, Deserialize)]
pub(super) struct LogFilter {
    resource_type: Option<String>,
    resource_id: Option<String>,
    service: Option<String>,
    from: Option<i64>,
    to: Option<i64>,
}

/// What resources entries can be of, as the vendor has them; here there are SIMs alone.
pub(super) const RESOURCE_TYPES: [&str; 4] = ["Subscriber", "Device", "LoraDevice", "SigfoxDevice"];

/// The vendor's services; here there is one.
pub(super) const SERVICES: [&str; 8] = [
    "Beam", "Air", "Funk", "Funnel", "Harvest", "Napter", "Orbit", "Unified",
];

/// `GET /v1/logs`
pub(super) async fn logs(
    Shared(state): Shared<Arc<State>>,
    Asked(filter): Asked<LogFilter>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let is_ours = |key: &str, text: Option<String>, known: &[&str]| match text {
        None => Ok(true),
        Some(text) if known.contains(&text.as_str()) => {
            Ok(Some(text.as_str()) == known.first().copied())
        }
        Some(_) => {
            let accepted = known.join(", ");
            Err(ApiError::bad_request(format!(
                "{key}: accepted: {accepted}"
            )))
        }
    };
    let is_subscriber = is_ours("resource_type", filter.resource_type, &RESOURCE_TYPES)?;
    let is_beam = is_ours("service", filter.service, &SERVICES)?;
    let limit = paging.limit()?;
    let before = paging.before_number()?;
    if !is_subscriber || !is_beam {
        return Ok(Page::empty());
    }
    let entries = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let query = LogQuery {
                imsi: filter.resource_id.as_deref(),
                from_ms: filter.from,
                to_ms: filter.to,
                before,
            };
            moment.logs(query, limit.saturating_add(1))
        })
    });
    let operator_id = state.operator_id.clone();
    let show = |entry: LogEntry| {
        json!({
            "time": entry.time_ms,
            "resourceType": "Subscriber",
            "resourceId": entry.imsi,
            "service": "Beam",
            "logLevel": entry.level,
            "operatorId": operator_id,
            "body": entry.body,
        })
    };
    let key = |entry: &LogEntry| entry.id.to_string();
    Ok(Page::new(&uri, entries.await??, limit, key, show))
}
