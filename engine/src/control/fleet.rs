//! Fleet: the operator's own way to SIMs and the whole fleet, beside the vendor's: SIMs with their addresses, sessions
//! by hand, whole documents in and out, and what a change of an entry point would do.

use std::sync::Arc;

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use ringbeam_proto::identity::{Imei, Imsi};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::change::Act;
use super::error::ApiError;
use super::extract::{Asked, Body, Document, Segments, User, parsed};
use super::groups::{check_tags, fields, one as stored_group};
use super::lookup::SimName;
use super::mask;
use super::sims::{lend, put};
use super::state::State;
use super::unstored::settle;
use crate::explain::{Query, Subject, explain};
use crate::fleet::{
    ENTRY_POINT_KEY, Fleet, KEYS, NAMESPACE, NETWORK_DEFAULT, SecretValue, parse_addresses,
};
use crate::registry::sessions::SessionAct;
use crate::registry::{EmbeddedRegistry, Moment, Sealed};
use crate::sys::memory::give_back;

/// `PUT /ringbeam/v1/sims`: a SIM as a fleet document has it, in the place of the one that is there.
pub(super) async fn put_sim(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let sim_id = body.required_text("simId")?.to_owned();
    let object = body.0.0.clone();
    check_tags(&object)?;
    let act = Act::new(user, "putSim", sim_id.clone());
    let put = put(&state, act, SimName::Id(sim_id), move |_| {
        Ok(Some(object.clone()))
    });
    let (seen, is_new) = put.await?;
    let status = if is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    Ok((status, Json(seen.sim(&state.operator_id))))
}

/// `DELETE /ringbeam/v1/sims/{sim_id}`
pub(super) async fn delete_sim(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(sim_id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteSim", sim_id.clone());
    let deleted = put(&state, act, SimName::Id(sim_id), |found| {
        let found = found?;
        if !found.is_explicit {
            let message = "the SIM is a member of a range, which only a fleet document can change";
            return Err(ApiError::bad_request(message));
        }
        Ok(None)
    });
    drop(deleted.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// `PUT /ringbeam/v1/sims/{sim_id}/session`: an address is this SIM's until somebody says otherwise.
pub(super) async fn bind(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(sim_id): Segments<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let network: Arc<str> = Arc::from(body.text("network")?.unwrap_or(NETWORK_DEFAULT));
    let ip = body.required_text("ip")?;
    let block = parse_addresses(ip).map_err(|error| {
        ApiError::bad_request(format!(
            "ip: found \"{ip}\" ({error}); accepted: an address or a prefix"
        ))
    })?;
    let wanted: Option<Imsi> = parsed("imsi", body.text("imsi")?)?;
    let imei: Option<Imei> = parsed("imei", body.text("imei")?)?;
    let act = Act::new(user, "putSession", format!("{sim_id} {network} {block}"));
    let what = move |imsi| {
        if wanted.is_some_and(|wanted| wanted != imsi) {
            let message = format!("imsi: the SIM's is {imsi}");
            return Err(ApiError::bad_request(message));
        }
        Ok(SessionAct::Bind {
            network: Arc::clone(&network),
            block,
            imsi,
            imei,
        })
    };
    let seen = lend(&state, act, SimName::Id(sim_id), (what, false)).await?;
    Ok(Json(seen.sim(&state.operator_id)))
}

/// `DELETE /ringbeam/v1/sims/{sim_id}/session`: the SIM has its own addresses alone.
pub(super) async fn unbind(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(sim_id): Segments<String>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteSession", sim_id.clone());
    let what = |imsi| Ok(SessionAct::UnbindSim { imsi });
    drop(lend(&state, act, SimName::Id(sim_id), (what, false)).await?);
    Ok(StatusCode::NO_CONTENT)
}

/// `GET /ringbeam/v1/fleet`: the whole fleet as a document, without its secrets.
pub(super) async fn export(
    Shared(state): Shared<Arc<State>>,
) -> Result<impl IntoResponse, ApiError> {
    let document = state.store()?.read(|registry| {
        let mut document = Vec::new();
        registry.export_shown(&mut document, mask_object)?;
        Ok::<_, ApiError>(document)
    });
    let headers = [(header::CONTENT_TYPE, "application/json")];
    Ok((headers, HttpBody::from(document.await??)))
}

fn mask_object(table: Sealed, object: &mut Value) {
    match table {
        Sealed::Groups => mask::group(object),
        Sealed::Credentials => mask::credential(object),
    }
}

/// `PUT /ringbeam/v1/fleet`: a whole document in the place of the fleet that is there. Secrets that are masked in it
/// stay as they are.
pub(super) async fn import(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Document(document): Document,
) -> Result<Json<Value>, ApiError> {
    let act = Act::new(user, "importFleet", "fleet");
    let server = Arc::clone(&state.server);
    let pubnub_host = state.current.load().upstream.pubnub_host.clone();
    let asked = Arc::clone(&state);
    let imported = state.store()?.write(move |registry: &EmbeddedRegistry| {
        server
            .exclusively(|| {
                settle(registry, &asked)?;
                let note = |moment: &Moment<'_>, now_ms: i64| act.note(moment, now_ms);
                let fleet = registry
                    .import_kept(&document, mask::keep_object, note)?
                    .map_err(|problems| ApiError::refused(&problems))?;
                let counts = fleet.counts();
                let fleet = fleet.with_pubnub_host(&pubnub_host);
                let snapshot = server.prepare(fleet).map_err(ApiError::bad_request)?;
                server.put(snapshot);
                Ok::<_, ApiError>(counts)
            })
            .inspect(|_| {
                drop(document);
                give_back();
            })
    });
    let counts = imported.await??;
    Ok(Json(json!({
        "groups": counts.groups,
        "sims": counts.sims,
        "simRanges": counts.ranges,
    })))
}

/// For which SIM the preview explains.
#[derive(Debug, Deserialize)]
pub(super) struct PreviewFor {
    imsi: Option<String>,
}

/// `POST /ringbeam/v1/groups/{group_id}/preview`: what would change by this entry point, and what it would lead to.
/// Nothing changes.
pub(super) async fn preview(
    Shared(state): Shared<Arc<State>>,
    Segments(group_id): Segments<String>,
    Asked(asked): Asked<PreviewFor>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let imsi = asked.imsi.filter(|text| !text.is_empty());
    let imsi: Option<Imsi> = parsed("imsi", imsi.as_deref())?;
    let mut entry_point = SecretValue(body.0.0.clone());
    let (server, config) = (Arc::clone(&state.server), state.current.load_full());
    let previewed = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let before = stored_group(moment, &group_id)?;
            mask::keep_entry_point(&mut entry_point.0, &before.object.0)
                .map_err(|problem| ApiError::refused(&[problem]))?;
            let mut after = before.object;
            set_entry_point(&mut after.0, std::mem::take(&mut entry_point.0))?;
            let (mut groups, credentials) = moment.sections()?;
            for group in groups.0.as_array_mut().into_iter().flatten() {
                if group.get("groupId") == after.0.get("groupId") {
                    *group = after.0.clone();
                }
            }
            let now = &server.snapshot().fleet;
            let fleet = now
                .with_sections(groups, credentials)
                .map_err(|problems| ApiError::refused(&problems))?;
            let fleet = fleet.with_pubnub_host(&config.upstream.pubnub_host);
            let explained = imsi.map(|imsi| {
                let query = Query {
                    subject: Subject::Imsi(imsi),
                    network: None,
                };
                explain(&config, &fleet, &query).unwrap_or_default()
            });
            Ok::<_, ApiError>(json!({
                "changes": changes(now, &fleet, &group_id),
                "warnings": warnings(&fleet, &group_id),
                "explain": explained,
            }))
        })
    });
    Ok(Json(previewed.await??))
}

fn set_entry_point(group: &mut Value, entry_point: Value) -> Result<(), ApiError> {
    let mut place = group;
    for key in ["configuration", NAMESPACE] {
        place = fields(place)?.entry(key).or_insert_with(|| json!({}));
        if place.is_null() {
            *place = json!({});
        }
    }
    fields(place)?.insert(ENTRY_POINT_KEY.to_owned(), entry_point);
    Ok(())
}

/// B-CFG-2: every key whose value would be another one, what is omitted at its default.
fn changes(before: &Fleet, after: &Fleet, group_id: &str) -> Vec<Value> {
    let shown = |fleet: &Fleet, key: &crate::fleet::Key| {
        let group = fleet.group_of(group_id);
        let entry_point = group.and_then(|group| group.entry_point.as_ref());
        let value = entry_point.and_then(|entry_point| entry_point.settings.shown(key));
        value.unwrap_or_else(|| format!("default {}", key.default))
    };
    // What is masked looks alike though it is not.
    let has_other_secret = |key: &crate::fleet::Key| {
        let secret = |fleet: &Fleet| {
            let group = fleet.group_of(group_id)?;
            let settings = &group.entry_point.as_ref()?.settings;
            let is_masked = settings.shown(key)?.contains(mask::MASK);
            let value = settings.value(key.name).filter(|_| is_masked)?;
            Some(SecretValue(value.clone()))
        };
        secret(before) != secret(after)
    };
    let mut changes = Vec::new();
    for key in &KEYS {
        let (old, new) = (shown(before, key), shown(after, key));
        // That what held by itself is written down now changes nothing.
        let effective = |text: &str| text.strip_prefix("default ").unwrap_or(text).to_owned();
        if effective(&old) != effective(&new) || has_other_secret(key) {
            let mut change = Map::new();
            change.insert("key".to_owned(), json!(key.name));
            change.insert("before".to_owned(), json!(old));
            change.insert("after".to_owned(), json!(new));
            changes.push(Value::Object(change));
        }
    }
    changes
}

fn warnings(fleet: &Fleet, group_id: &str) -> Vec<String> {
    let group = fleet.group_of(group_id);
    let Some(entry_point) = group.and_then(|group| group.entry_point.as_ref()) else {
        return Vec::new();
    };
    let mut warnings = entry_point.warnings.clone();
    let notes = entry_point.destination_notes().into_iter();
    warnings.extend(notes.map(str::to_owned));
    warnings
}
