//! Drain: the operator stops the engine. Sessions end one after another, so that neither the upstream
//! nor the devices' reconnecting comes as one wave (B-KEEP-4).

use std::rc::Rc;
use std::time::Duration;

use crossbeam_channel::TrySendError;
use ringbeam_proto::error::Cause;

use super::Shard;
use super::mailbox::Message;
use crate::limits::{DRAIN_SESSIONS_PER_SECOND, DRAIN_STEP_MS};

/// Ends all sessions within `window_ms`, sooner when they are few, then stops the shard.
pub(super) async fn drain(shard: Rc<Shard>, window_ms: u64) {
    let mut connections = shard.connections.snapshot();
    let count = u64::try_from(connections.len()).unwrap_or(u64::MAX);
    let pace_ms = count.saturating_mul(1000) / DRAIN_SESSIONS_PER_SECOND;
    let mut steps = pace_ms.min(window_ms) / DRAIN_STEP_MS + 1;
    while !connections.is_empty() {
        let share = connections
            .len()
            .div_ceil(usize::try_from(steps).unwrap_or(1).max(1));
        for connection in connections.split_off(connections.len().saturating_sub(share)) {
            connection.end(Cause::Draining);
        }
        steps = steps.saturating_sub(1).max(1);
        monoio::time::sleep(Duration::from_millis(DRAIN_STEP_MS)).await;
    }
    shard.connections.drained().await;
    let Some(mailbox) = shard.mailboxes.get(shard.index) else {
        return;
    };
    while let Err(TrySendError::Full(_)) = mailbox.send(Message::Stop) {
        monoio::time::sleep(Duration::from_millis(DRAIN_STEP_MS)).await;
    }
}
