//! Change: from what was asked to what shards look up in. First the registry, where it is checked as a whole and
//! lasts; then the fleet that is in use. One change at a time.

use std::sync::Arc;

use super::error::ApiError;
use super::state::State;
use crate::registry::{EmbeddedRegistry, Moment, StoreError};
use crate::server::Server;
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

/// Changes groups or credentials. What `act` leaves behind is refused as a whole where an entry point could not be
/// served by it (B-CFG-4).
///
/// # Errors
/// Those of `act`, and what is refused.
pub(super) async fn sections<T: Send + 'static>(
    state: &Arc<State>,
    note: Act,
    act: impl FnOnce(&Moment<'_>, i64) -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    let (server, pubnub_host) = (
        Arc::clone(&state.server),
        state.current.load().upstream.pubnub_host.clone(),
    );
    let change = move |registry: &EmbeddedRegistry| {
        server.exclusively(|| {
            let fleet = &server.snapshot().fleet;
            let (done, snapshot) = registry.change(|moment| {
                let now_ms = unix_ms();
                let done = act(moment, now_ms)?;
                note.note(moment, now_ms)?;
                let (groups, credentials) = moment.sections()?;
                let changed = fleet
                    .with_sections(groups, credentials)
                    .map_err(|problems| ApiError::refused(&problems))?;
                let changed = changed.with_pubnub_host(&pubnub_host);
                let snapshot = server.prepare(changed).map_err(ApiError::bad_request)?;
                Ok::<_, ApiError>((done, snapshot))
            })?;
            server.put(snapshot);
            Ok(done)
        })
    };
    state.store()?.write(change).await?
}

/// Changes something of one SIM, or of several, in the registry and at once in the fleet that is in use: `act` does
/// the first and says what does the second.
///
/// # Errors
/// Those of `act`.
pub(super) async fn sims<T, F>(
    state: &Arc<State>,
    note: Act,
    act: impl FnOnce(&Moment<'_>, &Server, i64) -> Result<(T, F), ApiError> + Send + 'static,
) -> Result<T, ApiError>
where
    T: Send + 'static,
    F: FnOnce(&Server),
{
    let server = Arc::clone(&state.server);
    let change = move |registry: &EmbeddedRegistry| {
        server.exclusively(|| {
            let (done, apply) = registry.change(|moment| {
                let now_ms = unix_ms();
                let done = act(moment, &server, now_ms)?;
                note.note(moment, now_ms)?;
                Ok::<_, ApiError>(done)
            })?;
            apply(&server);
            Ok(done)
        })
    };
    state.store()?.write(change).await?
}
