//! Change: from what was asked to what shards look up in. First the registry, where it is checked as a whole and
//! lasts; then the fleet that is in use. One change at a time. Where the registry cannot be written, what a change takes
//! away is in effect all the same, and the change is kept (B-ID-6).

use std::sync::Arc;

use super::error::ApiError;
use super::state::State;
use super::unstored::{Again, Effect, settle, withhold};
use crate::fleet::{Fleet, Taken};
use crate::registry::{EmbeddedRegistry, Moment, Refusal as _, Scope, StoreError};
use crate::sys::clock::unix_ms;

/// Who changes what, for the audit log.
#[derive(Clone, Debug)]
pub(super) struct Act {
    pub(super) user: String,
    pub(super) action: &'static str,
    pub(super) resource: String,
}

impl Act {
    pub(super) fn new(user: String, action: &'static str, resource: impl Into<String>) -> Self {
        Self {
            user,
            action,
            resource: resource.into(),
        }
    }

    /// Notes it where it is made.
    pub(super) fn note(&self, moment: &Moment<'_>, now_ms: i64) -> Result<(), StoreError> {
        moment.add_audit(&self.user, self.action, &self.resource, now_ms)
    }
}

/// Something that was asked for. It can be made more than once, until it is stored.
pub(super) trait Change: Send + Sync + 'static {
    type Done: Send + 'static;

    /// Who asked for what.
    fn act(&self) -> &Act;

    /// Makes it, in the registry and in the fleet that is in use.
    ///
    /// # Errors
    /// Why it is refused, or cannot be stored; then nothing has changed.
    fn make(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Self::Done, ApiError>;

    /// Makes it once more, when it can be stored at last.
    ///
    /// # Errors
    /// As above.
    fn make_again(
        &self,
        registry: &EmbeddedRegistry,
        state: &State,
    ) -> Result<Self::Done, ApiError> {
        self.make(registry, state)
    }

    /// What it takes from whom, where it cannot be stored.
    ///
    /// # Errors
    /// Why it is refused.
    fn take(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Taken, ApiError>;
}

/// A change that is kept.
struct Kept<C>(C);

impl<C: Change> Again for Kept<C> {
    fn again(&self, registry: &EmbeddedRegistry, state: &State) -> Result<(), ApiError> {
        self.0.make_again(registry, state).map(drop)
    }
}

/// Makes a change; whoever asked is told whether it is stored, and where not how much of it is in effect.
///
/// # Errors
/// Why it is refused, or cannot be stored.
pub(super) async fn run<C: Change>(state: &Arc<State>, change: C) -> Result<C::Done, ApiError> {
    let asked = Arc::clone(state);
    let job = move |registry: &EmbeddedRegistry| {
        let server = Arc::clone(&asked.server);
        server.exclusively(|| {
            let made = settle(registry, &asked).and_then(|()| change.make(registry, &asked));
            match made {
                Err(error) if error.unwritten().is_some() => {
                    Err(unstored(registry, &asked, change, error))
                }
                made => made,
            }
        })
    };
    state.store()?.write(job).await?
}

/// What takes is in effect, and kept.
fn unstored<C: Change>(
    registry: &EmbeddedRegistry,
    state: &State,
    change: C,
    error: ApiError,
) -> ApiError {
    let Some(why) = error.unwritten() else {
        return error;
    };
    match change.take(registry, state) {
        Ok(taken) if taken.is_empty() => ApiError::unstored(why, Effect::None),
        Ok(taken) => {
            let act = change.act().clone();
            let request = Arc::new(Kept(change));
            let is_kept = state
                .unstored
                .with(|unstored| unstored.keep_request(&act, request));
            withhold(state, &taken);
            let effect = if is_kept {
                Effect::Kept
            } else {
                Effect::Unkept
            };
            ApiError::unstored(why, effect)
        }
        // It cannot be read either.
        Err(error) if error.unwritten().is_some() => ApiError::unstored(why, Effect::None),
        Err(refused) => refused,
    }
}

/// Changes groups or credentials. What `act` leaves behind is refused as a whole where an entry point could not be
/// served by it (B-CFG-4).
///
/// # Errors
/// Those of `act`, and what is refused.
pub(super) async fn sections<T: Send + 'static>(
    state: &Arc<State>,
    note: Act,
    act: impl Fn(&Moment<'_>, i64) -> Result<T, ApiError> + Send + Sync + 'static,
) -> Result<T, ApiError> {
    let asked_ms = unix_ms();
    run(
        state,
        Sections {
            note,
            asked_ms,
            act,
        },
    )
    .await
}

struct Sections<F> {
    note: Act,
    asked_ms: i64,
    act: F,
}

impl<T, F> Sections<F>
where
    F: Fn(&Moment<'_>, i64) -> Result<T, ApiError>,
{
    /// What it leaves behind.
    fn change(&self, moment: &Moment<'_>, fleet: &Fleet) -> Result<(T, Fleet), ApiError> {
        let done = (self.act)(moment, self.asked_ms)?;
        let (groups, credentials) = moment.sections()?;
        let changed = fleet
            .with_sections(groups, credentials)
            .map_err(|problems| ApiError::refused(&problems))?;
        Ok((done, changed))
    }
}

impl<T, F> Change for Sections<F>
where
    T: Send + 'static,
    F: Fn(&Moment<'_>, i64) -> Result<T, ApiError> + Send + Sync + 'static,
{
    type Done = T;

    fn act(&self) -> &Act {
        &self.note
    }

    fn make(&self, registry: &EmbeddedRegistry, state: &State) -> Result<T, ApiError> {
        let server = &state.server;
        let fleet = &server.snapshot().fleet;
        let (done, snapshot) = registry.change(|moment| {
            let (done, changed) = self.change(moment, fleet)?;
            self.note.note(moment, self.asked_ms)?;
            let pubnub_host = &state.current.load().upstream.pubnub_host;
            let changed = changed.with_pubnub_host(pubnub_host);
            let snapshot = server.prepare(changed).map_err(ApiError::bad_request)?;
            Ok::<_, ApiError>((done, snapshot))
        })?;
        server.put(snapshot);
        Ok(done)
    }

    fn take(&self, registry: &EmbeddedRegistry, state: &State) -> Result<Taken, ApiError> {
        let fleet = &state.server.snapshot().fleet;
        let rehearsed = registry.rehearse(Scope::Sections, |moment| self.change(moment, fleet));
        let (_, changed) = rehearsed?;
        Ok(fleet.taken_by_groups(&changed))
    }
}
