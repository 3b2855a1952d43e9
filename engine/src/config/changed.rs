//! Defaults that are others than those of version 0.1: a configuration that left them alone behaves otherwise since the upgrade, and
//! whoever runs it is told so once, until the keys stand there.

use super::raw::RawEngine;

/// What `raw` leaves to defaults that have changed, as one sentence.
pub(super) fn relied_on(raw: &RawEngine) -> Option<String> {
    let rows = [
        (
            raw.connect_timeout_ms.is_some(),
            "connect_timeout_ms is 30000 (was 10000)",
        ),
        (
            raw.max_sessions_per_sim.is_some(),
            "max_sessions_per_sim is 32 (was 256)",
        ),
        (
            raw.when_unavailable.is_some(),
            "when_unavailable, and whenUnavailable of an entry point, is \"close\" (a device was told CONNACK 3)",
        ),
    ];
    let changed: Vec<&str> = rows
        .into_iter()
        .filter(|(is_written, _)| !is_written)
        .map(|(_, text)| text)
        .collect();
    (!changed.is_empty()).then(|| {
        format!(
            "defaults of [engine] have changed since version 0.1: {}; write a key down to have either, and no warning",
            changed.join("; ")
        )
    })
}
