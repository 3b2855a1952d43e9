//! Drain: the operator stops the engine. Sessions end one after another, so that neither the upstream
//! nor the devices' reconnecting comes as one wave (B-KEEP-4).

use std::rc::Rc;
use std::time::Duration;

use crossbeam_channel::TrySendError;
use ringbeam_proto::error::Cause;

use super::Shard;
use super::mailbox::Message;
use super::relay;
use crate::limits::{DRAIN_SESSIONS_PER_SECOND, DRAIN_STEP_MS};

/// Ends all sessions within `window_ms`, sooner when they are few, then stops the shard.
pub(super) async fn drain(shard: Rc<Shard>, window_ms: u64) {
    let count = shard.connections.len().saturating_add(shard.relay.live());
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    let pace_ms = count.saturating_mul(1000) / DRAIN_SESSIONS_PER_SECOND;
    let mut steps = usize::try_from(pace_ms.min(window_ms) / DRAIN_STEP_MS + 1).unwrap_or(1);
    let step = || monoio::time::sleep(Duration::from_millis(DRAIN_STEP_MS));
    while !shard.connections.is_empty() || shard.relay.live() > 0 {
        let mut connections = shard.connections.snapshot();
        let share = connections.len().div_ceil(steps);
        for connection in connections.split_off(connections.len().saturating_sub(share)) {
            connection.end(Cause::Draining);
        }
        let sessions = shard.relay.live().div_ceil(steps);
        shard.tell_relay(relay::Message::Drain { sessions });
        steps = steps.saturating_sub(1).max(1);
        step().await;
    }
    let Some(mailbox) = shard.mailboxes.get(shard.index) else {
        return;
    };
    while let Err(TrySendError::Full(_)) = mailbox.send(Message::Stop) {
        step().await;
    }
}
