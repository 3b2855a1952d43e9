//! Forgetting: what is old goes, now and then, by a clock that never jumps (B-ID-7).

use std::sync::Arc;

use tracing::error;

use super::limits::{
    AUDIT_KEPT, CLOCK_LAG_MS, DAYS_KEPT_SECONDS, LOGS_KEPT, LOGS_KEPT_MS, MINUTES_KEPT_SECONDS,
    PRUNE_INTERVAL, SESSION_EVENTS_KEPT, SESSION_EVENTS_KEPT_MS, SESSIONS_OVER_KEPT_MS,
};
use super::state::State;
use super::store::Store;
use crate::registry::{EmbeddedRegistry, StoreError};
use crate::sys::clock::{now_ms, unix_ms};

/// Forgets for as long as the control plane runs.
pub(super) async fn forget(state: Arc<State>, store: Store) {
    // When it was last believed how late it is, by the monotonic clock, and when it was last told that this is doubted.
    let mut believed_at_ms = now_ms();
    let mut told_at_ms: Option<u64> = None;
    loop {
        let at_ms = now_ms();
        state.exports.with(|exports| exports.forget(at_ms));
        let passed_ms = i64::try_from(at_ms.saturating_sub(believed_at_ms)).unwrap_or(i64::MAX);
        let forgotten = store.write(move |registry| once(registry, passed_ms)).await;
        match forgotten {
            Ok(Ok(Forgotten { rows, lag_ms })) => {
                believed_at_ms = at_ms;
                let is_told = told_at_ms
                    .is_some_and(|told| at_ms.saturating_sub(told) < CLOCK_LAG_MS.unsigned_abs());
                if lag_ms >= CLOCK_LAG_MS && !is_told {
                    told_at_ms = Some(at_ms);
                    let ahead_hours = lag_ms / 3_600_000;
                    error!(
                        ahead_hours,
                        "this host's clock has jumped ahead, or the engine was off for as long: nothing is forgotten for that; old figures and events stay longer"
                    );
                }
                if rows > 0 {
                    continue;
                }
            }
            Ok(Err(error)) => error!(%error, "what is old cannot be forgotten"),
            Err(_) => {}
        }
        tokio::time::sleep(PRUNE_INTERVAL).await;
    }
}

struct Forgotten {
    /// Rows that went; while there are some, there may be more.
    rows: usize,
    /// How far the host's clock is ahead of what is believed.
    lag_ms: i64,
}

fn once(registry: &EmbeddedRegistry, passed_ms: i64) -> Result<Forgotten, StoreError> {
    let shown_ms = unix_ms();
    let now_ms = registry.change(|moment| {
        let now_ms = moment.believe_clock(passed_ms, shown_ms)?;
        let now = now_ms.div_euclid(1000);
        let before = |kept_seconds: i64| now.saturating_sub(kept_seconds);
        moment.prune_usage(before(MINUTES_KEPT_SECONDS), before(DAYS_KEPT_SECONDS))?;
        moment.prune_records(now_ms.saturating_sub(LOGS_KEPT_MS), LOGS_KEPT, AUDIT_KEPT)?;
        Ok::<_, StoreError>(now_ms)
    })?;
    // In parts, so that others have their turn between.
    let rows = registry.change(|moment| {
        let events = now_ms.saturating_sub(SESSION_EVENTS_KEPT_MS);
        let over = now_ms.saturating_sub(SESSIONS_OVER_KEPT_MS);
        moment.prune_sessions(events, SESSION_EVENTS_KEPT, over)
    })?;
    Ok(Forgotten {
        rows,
        lag_ms: shown_ms.saturating_sub(now_ms),
    })
}
