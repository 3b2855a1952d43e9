//! Unstored: what was told or asked for while the registry could not be written (B-ID-6). What it takes is in effect as a
//! doubt that lies over the fleet; here it is kept in order, and stored before anything else is. Then there is no doubt
//! any more, and fleet and registry say the same.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use tracing::{error, info, warn};

use super::change::Act;
use super::error::ApiError;
use super::limits::{AUDIT_UNSTORED, EVENTS_AT_ONCE, EVENTS_UNSTORED, REQUESTS_UNSTORED};
use super::sessions::{claimed, end_unallowed, follow, taken};
use super::state::State;
use crate::fleet::Taken;
use crate::radius::{AccountingEvent, Act as Accounting, Kept as Told};
use crate::registry::sessions::{Applied, SessionAct, SessionChange, SessionEvent};
use crate::registry::{EmbeddedRegistry, Refusal as _, Scope, StoreError, Unwritten};
use crate::server::Server;
use crate::shard::report::Imsis;
use crate::sys::clock::unix_ms;

/// A request that can be made once more.
pub(super) trait Again: Send + Sync {
    /// Makes it.
    fn again(&self, registry: &EmbeddedRegistry, state: &State) -> Result<(), ApiError>;
}

/// Of two that are about the same thing, the later one is kept.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key(&'static str, Arc<str>, Arc<str>, Arc<str>);

#[derive(Clone)]
enum Kept {
    Event(Box<SessionEvent>),
    Request(Arc<dyn Again>),
}

/// What waits to be stored.
#[derive(Default)]
pub(super) struct Unstored {
    /// In the order in which it came.
    kept: BTreeMap<u64, (Key, Kept)>,
    places: HashMap<Key, u64, RandomState>,
    next: u64,
    requests: usize,
    /// What was done and is not in the audit log, with its time.
    audit: VecDeque<(i64, Act)>,
    is_in_doubt: bool,
    /// What found no room.
    lost: usize,
}

/// What is stored next.
enum Part {
    Events(Vec<(u64, SessionEvent)>),
    Request(u64, Key, Arc<dyn Again>),
}

impl Unstored {
    /// How much waits.
    pub(super) fn len(&self) -> usize {
        self.kept.len().saturating_add(self.audit.len())
    }

    pub(super) fn is_waiting(&self) -> bool {
        self.is_in_doubt || self.len() > 0
    }

    /// Has an act noted as soon as that can be done.
    pub(super) fn note(&mut self, act: Act, time_ms: i64) {
        if self.audit.len() >= AUDIT_UNSTORED {
            self.lost = self.lost.saturating_add(1);
            error!(
                user = act.user,
                action = act.action,
                resource = act.resource,
                "not in the audit log: too much waits"
            );
            return;
        }
        self.audit.push_back((time_ms, act));
    }

    /// Keeps a request; false where there is no room.
    pub(super) fn keep_request(&mut self, act: &Act, request: Arc<dyn Again>) -> bool {
        let key = Key(
            act.action,
            Arc::from(&*act.resource),
            Arc::from(""),
            Arc::from(""),
        );
        if self.requests >= REQUESTS_UNSTORED && !self.places.contains_key(&key) {
            return false;
        }
        self.keep(key, Kept::Request(request));
        true
    }

    fn keep_event(&mut self, event: SessionEvent) {
        let Some(key) = key(&event.act) else {
            return;
        };
        let events = self.kept.len().saturating_sub(self.requests);
        if events >= EVENTS_UNSTORED && !self.places.contains_key(&key) {
            self.lost = self.lost.saturating_add(1);
            return;
        }
        self.keep(key, Kept::Event(Box::new(event)));
    }

    fn keep(&mut self, key: Key, kept: Kept) {
        if let Some(before) = self.places.get(&key).copied() {
            self.done(before);
        }
        self.requests = self
            .requests
            .saturating_add(usize::from(matches!(kept, Kept::Request(_))));
        self.places.insert(key.clone(), self.next);
        self.kept.insert(self.next, (key, kept));
        self.next = self.next.saturating_add(1);
    }

    fn done(&mut self, place: u64) {
        if let Some((key, kept)) = self.kept.remove(&place) {
            self.places.remove(&key);
            self.requests = self
                .requests
                .saturating_sub(usize::from(matches!(kept, Kept::Request(_))));
        }
    }

    /// Events up to the next request, or one request.
    fn part(&self) -> Option<Part> {
        let mut events = Vec::new();
        for (place, (key, kept)) in self.kept.iter().take(EVENTS_AT_ONCE) {
            match kept {
                Kept::Event(event) => events.push((*place, SessionEvent::clone(event))),
                Kept::Request(request) if events.is_empty() => {
                    return Some(Part::Request(*place, key.clone(), Arc::clone(request)));
                }
                Kept::Request(_) => break,
            }
        }
        (!events.is_empty()).then_some(Part::Events(events))
    }
}

/// What an event is about. What an operator asks for is a request.
fn key(act: &SessionAct) -> Option<Key> {
    let none = || Arc::from("");
    match act {
        SessionAct::Accounting(AccountingEvent {
            nas, client, act, ..
        }) => {
            let (nas, client) = (Arc::clone(nas), Arc::clone(client));
            Some(match act {
                Accounting::Bind {
                    is_start: true,
                    session_id,
                    ..
                } => Key("start", client, nas, Arc::clone(session_id)),
                Accounting::Bind { session_id, .. } => {
                    Key("interim", client, nas, Arc::clone(session_id))
                }
                Accounting::Stop { session_id, .. } => {
                    Key("stop", client, nas, Arc::clone(session_id))
                }
                Accounting::On => Key("on", client, nas, none()),
                Accounting::Off => Key("off", client, nas, none()),
            })
        }
        SessionAct::Replace { network, url, .. } => {
            Some(Key("list", none(), Arc::clone(network), Arc::clone(url)))
        }
        SessionAct::Bind { .. } | SessionAct::Unbind { .. } | SessionAct::UnbindSim { .. } => None,
    }
}

/// Has nobody be served by what a change takes, and ends the connections that it ends.
pub(super) fn withhold(state: &State, taken: &Taken) {
    let server: &Server = &state.server;
    server.snapshot().fleet.doubt(taken);
    state.unstored.with(|unstored| unstored.is_in_doubt = true);
    if taken.has_groups() {
        server.fleet_changed();
    }
    if !taken.losers().is_empty() {
        end_unallowed(server, Imsis::from_iter(taken.losers().iter().copied()));
    }
}

/// Stores what happened to sessions, and has the fleet follow. Where it cannot be stored what it takes is in effect all
/// the same, and it is kept. Call it exclusively, on the writer's thread.
///
/// # Errors
/// When it is not stored.
pub(super) fn events(
    registry: &EmbeddedRegistry,
    state: &State,
    events: Vec<SessionEvent>,
) -> Result<Told, ApiError> {
    let stored = settle(registry, state).and_then(|()| Ok(apply(registry, state, &events)?));
    let error = match stored {
        Ok(told) => return Ok(told),
        Err(error) => error,
    };
    let Some(why) = error.unwritten() else {
        return Err(error);
    };
    let scope = Scope::Sessions(&events);
    let changes: Result<Vec<SessionChange>, StoreError> =
        registry.rehearse(scope, |moment| moment.apply_sessions(&events));
    let snapshot = state.server.snapshot();
    let taken = match changes {
        Ok(changes) => taken(&snapshot.fleet, &changes),
        Err(error) => {
            error!(%error, "sessions cannot be read either; only what events themselves name is withheld");
            claimed(&snapshot.fleet, &events)
        }
    };
    let was_told = state.unstored.with(|unstored| {
        let was_told = !unstored.kept.is_empty();
        events
            .into_iter()
            .for_each(|event| unstored.keep_event(event));
        was_told
    });
    if !taken.is_empty() {
        withhold(state, &taken);
    }
    if !was_told {
        error!(
            %why,
            "sessions cannot be stored: addresses that they take are nobody's until that can be done, and so are those \
             that they give"
        );
    }
    Err(error)
}

fn apply(
    registry: &EmbeddedRegistry,
    state: &State,
    events: &[SessionEvent],
) -> Result<Told, StoreError> {
    let Applied { changes, kept } = registry.change(|moment| moment.apply_told(events))?;
    follow(&state.server, &changes);
    Ok(kept)
}

/// Stores what waits, in its order. Call it exclusively, on the writer's thread, before anything is changed: what comes later
/// must not be stored earlier.
///
/// # Errors
/// When the registry cannot be written; then the rest goes on waiting.
pub(super) fn settle(registry: &EmbeddedRegistry, state: &State) -> Result<(), ApiError> {
    if registry.unwritten().is_some() {
        // A small attempt, instead of all of it each time.
        registry.change(|moment| moment.touch(unix_ms()))?;
    }
    if !state.unstored.with(|unstored| unstored.is_waiting()) {
        return Ok(());
    }
    let mut count: usize = 0;
    while let Some(part) = state.unstored.with(|unstored| unstored.part()) {
        match part {
            Part::Events(part) => {
                let (places, events): (Vec<u64>, Vec<SessionEvent>) = part.into_iter().unzip();
                settle_events(registry, state, &events)?;
                count = count.saturating_add(places.len());
                state
                    .unstored
                    .with(|unstored| places.into_iter().for_each(|place| unstored.done(place)));
            }
            Part::Request(place, key, request) => {
                match request.again(registry, state) {
                    Ok(()) => {}
                    Err(error) if error.unwritten().is_some() => return Err(error),
                    Err(error) => {
                        let Key(action, resource, ..) = key;
                        warn!(action, %resource, %error, "what could not be stored when it was asked for is refused now");
                    }
                }
                count = count.saturating_add(1);
                state.unstored.with(|unstored| unstored.done(place));
            }
        }
    }
    settle_audit(registry, state)?;
    let (was_in_doubt, lost) = state.unstored.with(|unstored| {
        (
            std::mem::take(&mut unstored.is_in_doubt),
            std::mem::take(&mut unstored.lost),
        )
    });
    if was_in_doubt {
        state.server.snapshot().fleet.trust();
        // B-ID-8: who waits at an address that was in doubt may be served now.
        state.server.look_again();
    }
    if was_in_doubt || count > 0 || lost > 0 {
        info!(
            stored = count,
            lost, "what could not be stored is stored; every address is whose the registry says"
        );
    }
    Ok(())
}

/// One that the database takes never must not keep the others waiting.
fn settle_events(
    registry: &EmbeddedRegistry,
    state: &State,
    events: &[SessionEvent],
) -> Result<(), ApiError> {
    let Err(error) = apply(registry, state, events) else {
        return Ok(());
    };
    if error.unwritten().is_some() {
        return Err(error.into());
    }
    for event in events {
        match apply(registry, state, std::slice::from_ref(event)) {
            Err(error) if error.unwritten().is_some() => return Err(error.into()),
            Err(error) => error!(%error, "an event of a session cannot be stored, and is left out"),
            Ok(_) => {}
        }
    }
    Ok(())
}

fn settle_audit(registry: &EmbeddedRegistry, state: &State) -> Result<(), ApiError> {
    let acts: Vec<(i64, Act)> = state
        .unstored
        .with(|unstored| unstored.audit.iter().cloned().collect());
    if acts.is_empty() {
        return Ok(());
    }
    registry.change(|moment| {
        acts.iter()
            .try_for_each(|(time_ms, act)| act.note(moment, *time_ms))
    })?;
    // Others are noted behind them, none is taken away.
    state
        .unstored
        .with(|unstored| drop(unstored.audit.drain(..acts.len())));
    Ok(())
}

/// What of a change that cannot be stored is in effect, in words.
pub(super) fn reason(why: Unwritten, effect: Effect) -> String {
    let effect = match effect {
        Effect::None => "nothing has changed",
        Effect::Kept => {
            "what it takes away is in effect, what it gives waits, and it is stored as soon as that can be done"
        }
        Effect::Unkept => {
            "what it takes away is in effect until the registry can be written; ask again then"
        }
    };
    format!("it cannot be stored now, since {why}: {effect}")
}

/// What of a change that cannot be stored is in effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    None,
    Kept,
    /// There is no room to keep it.
    Unkept,
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nothing;

    impl Again for Nothing {
        fn again(&self, _: &EmbeddedRegistry, _: &State) -> Result<(), ApiError> {
            Ok(())
        }
    }

    fn stop(id: &str, time_ms: i64) -> SessionEvent {
        SessionEvent::from(AccountingEvent {
            nas: "n".into(),
            client: "".into(),
            networks: [].into(),
            request: None,
            own_ms: None,
            time_ms,
            act: Accounting::Stop {
                session_id: id.into(),
                imsi: None,
            },
        })
    }

    fn act(resource: &str) -> Act {
        Act::new("u".to_owned(), "a", resource)
    }

    #[test]
    fn b_id_6_what_waits_keeps_its_order_and_what_comes_again_waits_once() {
        let mut unstored = Unstored::default();
        for (id, time_ms) in [("1", 1), ("2", 2), ("1", 3)] {
            unstored.keep_event(stop(id, time_ms));
        }
        assert!(unstored.keep_request(&act("x"), Arc::new(Nothing)));
        unstored.keep_event(stop("3", 4));
        assert!(unstored.keep_request(&act("x"), Arc::new(Nothing)));
        let mut order = Vec::new();
        while let Some(part) = unstored.part() {
            match part {
                Part::Events(events) => {
                    for (place, event) in events {
                        order.push(event.time_ms);
                        unstored.done(place);
                    }
                }
                Part::Request(place, ..) => {
                    order.push(0);
                    unstored.done(place);
                }
            }
        }
        // The later one of two stands where it came.
        assert_eq!(order, [2, 3, 4, 0]);
        assert!(!unstored.is_waiting() && unstored.requests == 0 && unstored.places.is_empty());
    }

    #[test]
    fn b_id_6_what_waits_is_bounded_and_what_is_lost_is_counted() {
        let mut unstored = Unstored::default();
        for number in 0..EVENTS_UNSTORED + 2 {
            unstored.keep_event(stop(&number.to_string(), 1));
        }
        // What is there already finds room.
        unstored.keep_event(stop("0", 2));
        assert_eq!((unstored.len(), unstored.lost), (EVENTS_UNSTORED, 2));
        for number in 0..REQUESTS_UNSTORED {
            assert!(unstored.keep_request(&act(&number.to_string()), Arc::new(Nothing)));
        }
        assert!(!unstored.keep_request(&act("more"), Arc::new(Nothing)));
        assert!(unstored.keep_request(&act("0"), Arc::new(Nothing)));
        for number in 0..=AUDIT_UNSTORED {
            unstored.note(act(&number.to_string()), 1);
        }
        assert_eq!((unstored.audit.len(), unstored.lost), (AUDIT_UNSTORED, 3));
    }
}
