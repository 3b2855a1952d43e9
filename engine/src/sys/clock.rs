//! Clock: the one place that reads the time.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the monotonic clock.
#[must_use]
pub fn now_ms() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let millis = u64::try_from(now.tv_nsec / 1_000_000).unwrap_or_default();
    seconds.saturating_mul(1000).saturating_add(millis)
}
