//! SIMs: `/v1/sims`, `/v1/subscribers` and `/v1/groups/{id}/subscribers`: the same SIMs, named by SIM id or by IMSI. A member of
//! a range that is changed stands by itself from then on.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, Uri};
use ipnet::IpNet;
use ringbeam_proto::identity::Imsi;
use serde::Deserialize;
use serde_json::{Value, json};

use super::change::{self, Act, Change};
use super::error::ApiError;
use super::extract::{Asked, Body, Segments, User};
use super::groups::{TagFilter, fields, one as group, tag_pairs};
use super::ids::digits;
use super::lookup::{Found, Part, SimName, find, list};
use super::page::{Page, Paging};
use super::sessions::{end_all, end_unallowed, follow, taken};
use super::sim_shape::Seen;
use super::state::State;
use crate::fleet::{ACTIVE, Fleet, Taken};
use crate::registry::sessions::{SessionAct, SessionEvent, Source};
use crate::registry::{
    EmbeddedRegistry, Matching, Moment, Scope, SimField, SimFilter, SimOrder, SimQuery, StoreError,
};
use crate::server::Server;
use crate::shard::report::Imsis;
use crate::sys::clock::unix_ms;

/// What a SIM is shown as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Sim,
    Subscriber,
}

impl Shape {
    /// A name of this shape.
    fn name(self, text: String) -> SimName {
        match self {
            Self::Sim => SimName::Id(text),
            Self::Subscriber => SimName::Imsi(text),
        }
    }

    pub(super) const fn order(self) -> SimOrder {
        match self {
            Self::Sim => SimOrder::SimId,
            Self::Subscriber => SimOrder::Imsi,
        }
    }

    pub(super) fn show(self, seen: &Seen, operator_id: &str) -> Value {
        match self {
            Self::Sim => seen.sim(operator_id),
            Self::Subscriber => seen.subscriber(operator_id),
        }
    }
}

/// A SIM with its sessions.
///
/// # Errors
/// When the database refuses.
pub(super) fn see(moment: &Moment<'_>, found: Found) -> Result<Seen, StoreError> {
    let imsi: Option<Imsi> = found.text("imsi").parse().ok();
    let sessions = match imsi {
        Some(imsi) => moment.sessions_of(&imsi)?,
        None => Vec::new(),
    };
    Ok(Seen { found, sessions })
}

/// `GET /v1/sims`
pub(super) async fn list_sims(
    state: Shared<Arc<State>>,
    paging: Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    listed(state, Shape::Sim, SimQuery::default(), paging.0, uri).await
}

/// What subscribers are listed by.
#[derive(Deserialize)]
pub(super) struct SubscriberFilter {
    tag_name: Option<String>,
    tag_value: Option<String>,
    tag_value_match_mode: Option<String>,
    status_filter: Option<String>,
    speed_class_filter: Option<String>,
    serial_number_filter: Option<String>,
}

/// `GET /v1/subscribers`
pub(super) async fn list_subscribers(
    Shared(state): Shared<Arc<State>>,
    Asked(asked): Asked<SubscriberFilter>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let mode = asked.tag_value_match_mode.as_deref();
    let tags = TagFilter::new(asked.tag_name, asked.tag_value, mode)?;
    let mut listing = SimQuery::default();
    let words = |text: Option<String>| {
        let text = text.unwrap_or_default();
        let words = text.split('|').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let statuses = words(asked.status_filter);
    if !statuses.is_empty() {
        listing.filters.push(SimFilter {
            field: SimField::Status,
            texts: statuses,
            matching: Matching::Exact,
        });
    }
    if let Some((name, value, is_prefix)) = tags.wanted() {
        listing.filters.push(SimFilter {
            field: SimField::Tag(name.clone()),
            texts: vec![value.clone()],
            matching: if *is_prefix {
                Matching::Prefix
            } else {
                Matching::Exact
            },
        });
    }
    // All SIMs here are of one class, and none has a serial number.
    let classes = words(asked.speed_class_filter);
    let is_of_class = classes.is_empty() || classes.iter().any(|class| class == "s1.standard");
    if !is_of_class || !words(asked.serial_number_filter).is_empty() {
        return Ok(Page::empty());
    }
    listed(Shared(state), Shape::Subscriber, listing, paging, uri).await
}

/// `GET /v1/groups/{group_id}/subscribers`
pub(super) async fn list_group(
    Shared(state): Shared<Arc<State>>,
    Segments(group_id): Segments<String>,
    Asked(paging): Asked<Paging>,
    uri: Uri,
) -> Result<Page, ApiError> {
    let asked = group_id.clone();
    let there = state
        .store()?
        .read(move |registry| registry.read(|moment| group(moment, &asked).map(drop)));
    there.await??;
    let filter = SimFilter {
        field: SimField::GroupId,
        texts: vec![group_id],
        matching: Matching::Exact,
    };
    let listing = SimQuery {
        filters: vec![filter],
        ..SimQuery::default()
    };
    // The vendor's key here is an IMSI, and its elements are SIMs.
    let limit = paging.limit()?;
    let part = read_list(&state, SimOrder::Imsi, listing, &paging, limit).await?;
    let show = |seen: Seen| seen.sim(&state.operator_id);
    Ok(Page::part(&uri, part.found, part.next, show))
}

async fn listed(
    Shared(state): Shared<Arc<State>>,
    shape: Shape,
    listing: SimQuery,
    paging: Paging,
    uri: Uri,
) -> Result<Page, ApiError> {
    let limit = paging.limit()?;
    let part = read_list(&state, shape.order(), listing, &paging, limit).await?;
    let show = |seen: Seen| shape.show(&seen, &state.operator_id);
    Ok(Page::part(&uri, part.found, part.next, show))
}

/// SIMs with their sessions.
pub(super) async fn read_list(
    state: &Arc<State>,
    order: SimOrder,
    wanted: SimQuery,
    paging: &Paging,
    limit: usize,
) -> Result<Part<Seen>, ApiError> {
    let after = paging.after().to_owned();
    let found = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let Part { found, next } = list(moment, order, &wanted, &after, limit)?;
            let seen = found.into_iter().map(|found| see(moment, found));
            let found = seen.collect::<Result<Vec<_>, _>>()?;
            Ok::<_, ApiError>(Part { found, next })
        })
    });
    found.await?
}

/// `GET /v1/sims/{sim_id}`
pub(super) async fn read_sim(
    state: Shared<Arc<State>>,
    Segments(sim_id): Segments<String>,
) -> Result<Json<Value>, ApiError> {
    read(state, Shape::Sim, sim_id).await
}

/// `GET /v1/subscribers/{imsi}`
pub(super) async fn read_subscriber(
    state: Shared<Arc<State>>,
    Segments(imsi): Segments<String>,
) -> Result<Json<Value>, ApiError> {
    read(state, Shape::Subscriber, imsi).await
}

async fn read(
    Shared(state): Shared<Arc<State>>,
    shape: Shape,
    name: String,
) -> Result<Json<Value>, ApiError> {
    let name = shape.name(name);
    let seen = state.store()?.read(move |registry| {
        registry.read(|moment| {
            let found = find(moment, &name)?;
            Ok::<_, ApiError>(see(moment, found)?)
        })
    });
    Ok(Json(shape.show(&seen.await??, &state.operator_id)))
}

/// `POST /v1/sims`: a virtual SIM with new numbers, without an address.
pub(super) async fn create_sim(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    body: Body,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    for (key, accepted) in [("type", "virtual"), ("subscription", "planArc01")] {
        if body.required_text(key)? != accepted {
            return Err(ApiError::bad_request(format!(
                "{key}: accepted: {accepted}"
            )));
        }
    }
    let sim_id = digits("89423100", 11)?;
    let sim = json!({"simId": sim_id, "imsi": digits("00101", 10)?, "tags": {}});
    let act = Act::new(user, "createSim", sim_id.clone());
    let (seen, _) = put(&state, act, SimName::Id(sim_id), move |_| {
        Ok(Some(sim.clone()))
    })
    .await?;
    Ok((StatusCode::CREATED, Json(seen.sim(&state.operator_id))))
}

/// What is done to a SIM by a word behind its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Activate,
    Deactivate,
    SetGroup,
    UnsetGroup,
    DeleteSession,
}

impl Verb {
    const fn action(self) -> &'static str {
        match self {
            Self::Activate => "activateSim",
            Self::Deactivate => "deactivateSim",
            Self::SetGroup => "setGroup",
            Self::UnsetGroup => "unsetGroup",
            Self::DeleteSession => "deleteSession",
        }
    }

    /// `POST …/{name}/{verb}`
    pub(super) async fn run(
        self,
        state: Arc<State>,
        user: String,
        (shape, name): (Shape, String),
        body: Option<Body>,
    ) -> Result<Json<Value>, ApiError> {
        let group_id = match (self, body) {
            (Self::SetGroup, Some(body)) => Some(body.required_text("groupId")?.to_owned()),
            _ => None,
        };
        let act = Act::new(user, self.action(), name.clone());
        let name = shape.name(name);
        let seen = if self == Self::DeleteSession {
            delete_session(&state, act, name).await?
        } else {
            let (seen, _) = put(&state, act, name, move |found| {
                self.change(found?, group_id.as_deref())
            })
            .await?;
            seen
        };
        Ok(Json(shape.show(&seen, &state.operator_id)))
    }

    /// The SIM's object as it is to be.
    fn change(self, found: Found, group_id: Option<&str>) -> Result<Option<Value>, ApiError> {
        let mut sim = found.sim.object;
        let fields = fields(&mut sim)?;
        match self {
            Self::Activate => drop(fields.insert("status".to_owned(), json!(ACTIVE))),
            Self::Deactivate => drop(fields.insert("status".to_owned(), json!("inactive"))),
            Self::SetGroup => drop(fields.insert("groupId".to_owned(), json!(group_id))),
            Self::UnsetGroup => {
                let group = fields.remove("groupId");
                if group.is_none_or(|group| group.is_null()) {
                    return Err(ApiError::not_found("the SIM's group"));
                }
            }
            Self::DeleteSession => {}
        }
        Ok(Some(sim))
    }
}

/// `PUT /v1/sims/{sim_id}/tags`
pub(super) async fn put_tags(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments(sim_id): Segments<String>,
    body: Body,
) -> Result<Json<Value>, ApiError> {
    let tags = tag_pairs(&body.0.0)?;
    let act = Act::new(user, "putSimTags", sim_id.clone());
    let seen = put(&state, act, SimName::Id(sim_id), move |found| {
        let mut sim = found?.sim.object;
        let all = fields(&mut sim)?;
        let stored = all.entry("tags").or_insert_with(|| json!({}));
        if stored.is_null() {
            *stored = json!({});
        }
        fields(stored)?.extend(tags.iter().cloned());
        Ok(Some(sim))
    });
    let (seen, _) = seen.await?;
    Ok(Json(seen.sim(&state.operator_id)))
}

/// `DELETE /v1/sims/{sim_id}/tags/{tag_name}`
pub(super) async fn delete_tag(
    Shared(state): Shared<Arc<State>>,
    User(user): User,
    Segments((sim_id, tag_name)): Segments<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let act = Act::new(user, "deleteSimTag", format!("{sim_id}/{tag_name}"));
    let deleted = put(&state, act, SimName::Id(sim_id), move |found| {
        let mut sim = found?.sim.object;
        let tags = sim.get_mut("tags").and_then(Value::as_object_mut);
        let removed = tags.and_then(|tags| tags.remove(&tag_name));
        removed.ok_or_else(|| ApiError::not_found("the tag"))?;
        Ok(Some(sim))
    });
    drop(deleted.await?);
    Ok(StatusCode::NO_CONTENT)
}

/// Puts a SIM's object in the place of the one that is there: `edit` says which, from what was found. `None` removes
/// it. What the fleet does not allow then ends. True beside the SIM where it did not stand by itself before.
pub(super) async fn put<F>(
    state: &Arc<State>,
    note: Act,
    name: SimName,
    edit: F,
) -> Result<(Seen, bool), ApiError>
where
    F: Fn(Result<Found, ApiError>) -> Result<Option<Value>, ApiError> + Send + Sync + 'static,
{
    let put = Put {
        note,
        asked_ms: unix_ms(),
        name,
        edit,
    };
    change::run(state, put).await
}

struct Put<F> {
    note: Act,
    asked_ms: i64,
    name: SimName,
    edit: F,
}

/// What is put in the place of what.
struct Plan {
    /// What was there, if anything.
    found: Option<Found>,
    after: Option<Value>,
}

impl Plan {
    /// The SIM as it stands in the registry by itself.
    fn stored(&self) -> Option<&Value> {
        let found = self.found.as_ref().filter(|found| found.is_explicit);
        found.map(|found| &found.sim.object)
    }

    /// The SIM that is not there any more then.
    fn gone(&self) -> Option<Imsi> {
        let imsi_of = |object: &Value| object.get("imsi").and_then(Value::as_str)?.parse().ok();
        let old = self.stored().and_then(imsi_of);
        old.filter(|old| self.after.as_ref().and_then(imsi_of) != Some(*old))
    }
}

impl<F> Put<F>
where
    F: Fn(Result<Found, ApiError>) -> Result<Option<Value>, ApiError>,
{
    /// Writes nothing.
    fn plan(&self, moment: &Moment<'_>, fleet: &Fleet) -> Result<Plan, ApiError> {
        let before = find(moment, &self.name);
        let found = before.as_ref().ok().cloned();
        let after = (self.edit)(before)?;
        let plan = Plan { found, after };
        fleet
            .check_sim(plan.stored(), plan.after.as_ref())
            .map_err(|problems| ApiError::refused(&problems))?;
        Ok(plan)
    }

    fn write(&self, moment: &Moment<'_>, plan: &Plan) -> Result<Found, ApiError> {
        match &plan.after {
            Some(object) => {
                let sim_id = object.get("simId").and_then(Value::as_str);
                let sim_id = sim_id.unwrap_or_default();
                if moment.sim(sim_id)?.is_some() && plan.stored().is_none() {
                    return Err(ApiError::conflict("another SIM has this simId"));
                }
                moment.put_sim(sim_id, object, self.asked_ms)?;
                find(moment, &SimName::Id(sim_id.to_owned()))
            }
            None => {
                let found = plan.found.clone();
                let found = found.ok_or_else(|| ApiError::not_found("the SIM"))?;
                moment.delete_sim(found.text("simId"))?;
                Ok(found)
            }
        }
    }
}

impl<F> Change for Put<F>
where
    F: Fn(Result<Found, ApiError>) -> Result<Option<Value>, ApiError> + Send + Sync + 'static,
{
    type Done = (Seen, bool);

    fn act(&self) -> &Act {
        &self.note
    }

    fn make(&self, registry: &EmbeddedRegistry, state: &State) -> Result<(Seen, bool), ApiError> {
        let server: &Server = &state.server;
        let snapshot = server.snapshot();
        let (plan, seen, released) = registry.change(|moment| {
            let plan = self.plan(moment, &snapshot.fleet)?;
            let found = self.write(moment, &plan)?;
            // Addresses that were lent to a SIM that is not there any more are nobody's.
            let unbind = plan.gone().map(|imsi| SessionEvent {
                time_ms: self.asked_ms,
                act: SessionAct::UnbindSim { imsi },
            });
            let released = match unbind {
                Some(unbind) => moment.apply_sessions(&[unbind])?,
                None => Vec::new(),
            };
            let seen = see(moment, found)?;
            self.note.note(moment, self.asked_ms)?;
            Ok::<_, ApiError>((plan, seen, released))
        })?;
        let change = snapshot.fleet.check_sim(plan.stored(), plan.after.as_ref());
        // It was checked a moment ago, and nobody else changes anything.
        if let Ok(change) = change {
            let concerned = snapshot.fleet.change_sim(&change);
            if !concerned.is_empty() {
                end_unallowed(server, Imsis::from_iter(concerned));
            }
        }
        follow(server, &released);
        // B-ID-8: the SIM may have an address that somebody waits at.
        server.look_again();
        Ok((seen, plan.stored().is_none()))
    }

    fn take(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Taken, ApiError> {
        let fleet = &state.server.snapshot().fleet;
        let plan = registry.read(|moment| self.plan(moment, fleet))?;
        let before = plan.found.as_ref().map(|found| &found.sim.object);
        Ok(fleet.taken_by_sim(before, plan.after.as_ref()))
    }
}

/// Takes all addresses from a SIM that it has for now, and ends its connections. Its own addresses stay valid.
async fn delete_session(state: &Arc<State>, act: Act, name: SimName) -> Result<Seen, ApiError> {
    let what = |imsi| Ok(SessionAct::UnbindSim { imsi });
    lend(state, act, name, (what, true)).await
}

/// Gives a SIM addresses for now, or takes them: `what` says which, and whether all of its connections end.
pub(super) async fn lend<F>(
    state: &Arc<State>,
    note: Act,
    name: SimName,
    (what, ends_all): (F, bool),
) -> Result<Seen, ApiError>
where
    F: Fn(Imsi) -> Result<SessionAct, ApiError> + Send + Sync + 'static,
{
    let lend = Lend {
        note,
        asked_ms: unix_ms(),
        name,
        what,
        ends_all,
    };
    change::run(state, lend).await
}

struct Lend<F> {
    note: Act,
    asked_ms: i64,
    name: SimName,
    what: F,
    ends_all: bool,
}

/// An address that Open5GS tells another SIM to have would be that one's again at the next list, so that it is refused (B-ID-7).
fn may_bind(
    moment: &Moment<'_>,
    network: &str,
    block: &IpNet,
    imsi: &Imsi,
) -> Result<(), ApiError> {
    let held = moment.session_at(network, &block.trunc())?;
    match held.filter(|held| held.source == Source::Open5gs && held.imsi != *imsi) {
        None => Ok(()),
        Some(held) => Err(ApiError::conflict(format!(
            "ip: {} tells that {} has it, and would do so again: end that session there first",
            held.nas, held.imsi
        ))),
    }
}

impl<F: Fn(Imsi) -> Result<SessionAct, ApiError>> Lend<F> {
    /// Writes nothing.
    fn plan(&self, moment: &Moment<'_>) -> Result<(Found, Imsi, SessionEvent), ApiError> {
        let found = find(moment, &self.name)?;
        let imsi = found.text("imsi").parse();
        let imsi: Imsi = imsi.map_err(|_| ApiError::internal())?;
        let act = (self.what)(imsi)?;
        if let SessionAct::Bind { network, block, .. } = &act {
            may_bind(moment, network, block, &imsi)?;
        }
        let time_ms = self.asked_ms;
        Ok((found, imsi, SessionEvent { time_ms, act }))
    }
}

impl<F> Change for Lend<F>
where
    F: Fn(Imsi) -> Result<SessionAct, ApiError> + Send + Sync + 'static,
{
    type Done = Seen;

    fn act(&self) -> &Act {
        &self.note
    }

    fn make(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Seen, ApiError> {
        let seen = self.make_again(registry, state)?;
        if self.ends_all
            && let Ok(imsi) = seen.found.text("imsi").parse()
        {
            end_all(&state.server, imsi);
        }
        Ok(seen)
    }

    /// Connections that came after it was asked for are none of its concern.
    fn make_again(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Seen, ApiError> {
        let (seen, changes) = registry.change(|moment| {
            let (found, _, event) = self.plan(moment)?;
            let changes = moment.apply_sessions(&[event])?;
            let seen = see(moment, found)?;
            self.note.note(moment, self.asked_ms)?;
            Ok::<_, ApiError>((seen, changes))
        })?;
        follow(&state.server, &changes);
        Ok(seen)
    }

    fn take(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Taken, ApiError> {
        let server: &Server = &state.server;
        let (_, imsi, event) = registry.read(|moment| self.plan(moment))?;
        let events = [event];
        let scope = Scope::Sessions(&events);
        let changes: Result<_, StoreError> =
            registry.rehearse(scope, |moment| moment.apply_sessions(&events));
        let mut taken = taken(&server.snapshot().fleet, &changes?);
        if self.ends_all {
            end_all(server, imsi);
            taken.connections(imsi);
        }
        Ok(taken)
    }
}
