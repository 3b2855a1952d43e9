//! Clock: the one place that reads the time.

use rustix::time::{ClockId, clock_gettime};

/// Milliseconds of the monotonic clock.
#[must_use]
pub fn now_ms() -> u64 {
    now_us() / 1000
}

/// Microseconds of the monotonic clock.
#[must_use]
pub fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let micros = u64::try_from(now.tv_nsec / 1_000).unwrap_or_default();
    seconds.saturating_mul(1_000_000).saturating_add(micros)
}

/// Seconds since the Unix epoch, by the wall clock: for tokens and certificates alone.
#[must_use]
pub fn unix_seconds() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or_default()
}

/// Milliseconds since the Unix epoch, by the wall clock: for what people and other programs are told.
#[must_use]
pub fn unix_ms() -> i64 {
    let now = clock_gettime(ClockId::Realtime);
    let millis = now.tv_nsec / 1_000_000;
    now.tv_sec.saturating_mul(1000).saturating_add(millis)
}

/// When something was, in milliseconds since the Unix epoch, that was at `at_ms` of the monotonic clock.
#[must_use]
pub fn unix_ms_of(at_ms: u64) -> i64 {
    let ago_ms = now_ms().saturating_sub(at_ms);
    unix_ms().saturating_sub(i64::try_from(ago_ms).unwrap_or(i64::MAX))
}
