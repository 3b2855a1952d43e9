//! Allowance: when a SIM may send more. What was read from it goes in, with the time; out comes when reading
//! may go on. It has no clock, reads nothing and drops nothing: what was read beyond the limits is owed, and
//! time pays for it.

use crate::fleet::Limits;

/// Parts of a message or byte. A rate per second is as many parts per millisecond, so that no time is
/// rounded away.
const PARTS: u32 = 1_000;

/// What a SIM may send, in one direction: a token bucket for messages and one for bytes.
#[derive(Clone, Debug)]
pub struct Allowance {
    messages: Bucket,
    bytes: Bucket,
    /// When both were as they are, in milliseconds.
    at_ms: u64,
}

impl Allowance {
    /// That of a SIM which has been silent: one second's worth may come at once.
    #[must_use]
    pub fn new(limits: Limits, now_ms: u64) -> Self {
        Self {
            messages: Bucket::full(limits.messages_per_second),
            bytes: Bucket::full(limits.bytes_per_second),
            at_ms: now_ms,
        }
    }

    /// Other limits from now on. What is owed stays owed, and is paid at the new rate.
    pub fn set_limits(&mut self, limits: Limits, now_ms: u64) {
        self.settle(now_ms);
        self.messages.set_rate(limits.messages_per_second);
        self.bytes.set_rate(limits.bytes_per_second);
    }

    /// So much has been read. It may be more than there was room for: what has been read has been read.
    pub fn spend(&mut self, messages: u32, bytes: usize, now_ms: u64) {
        self.settle(now_ms);
        self.messages.spend(u64::from(messages));
        self.bytes.spend(u64::try_from(bytes).unwrap_or(u64::MAX));
    }

    /// When more may be read, in milliseconds: `None` is now, anything else is later than now. Whoever
    /// comes less than a second after that time loses nothing of the rate.
    #[must_use]
    pub fn ready_ms(&self, now_ms: u64) -> Option<u64> {
        let wait_ms = self.messages.wait_ms().max(self.bytes.wait_ms());
        let ready_ms = self.at_ms.saturating_add(wait_ms);
        (wait_ms > 0 && ready_ms > now_ms).then_some(ready_ms)
    }

    /// Adds what the time since the last look is worth. A clock that steps back is worth nothing.
    fn settle(&mut self, now_ms: u64) {
        let elapsed_ms = now_ms.saturating_sub(self.at_ms);
        self.messages.fill(elapsed_ms);
        self.bytes.fill(elapsed_ms);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

const _: () = assert!(size_of::<Allowance>() <= 40);

/// One rate and what is there of it.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// 0 is no limit; then the level stays 0.
    per_second: u32,
    /// In parts; below 0 it is owed.
    level: i64,
}

impl Bucket {
    fn full(per_second: u32) -> Self {
        Self {
            per_second,
            level: burst(per_second),
        }
    }

    fn set_rate(&mut self, per_second: u32) {
        if self.per_second == 0 || per_second == 0 {
            *self = Self::full(per_second);
        } else {
            self.per_second = per_second;
            self.level = self.level.min(burst(per_second));
        }
    }

    fn fill(&mut self, elapsed_ms: u64) {
        // 32 bits by 64 fit, so that a deep debt is paid exactly after a long time.
        let worth = i128::from(self.per_second) * i128::from(elapsed_ms);
        let level = i64::try_from(i128::from(self.level) + worth).unwrap_or(i64::MAX);
        self.level = level.min(burst(self.per_second));
    }

    fn spend(&mut self, count: u64) {
        if self.per_second > 0 {
            let parts = i64::try_from(count.saturating_mul(u64::from(PARTS))).unwrap_or(i64::MAX);
            self.level = self.level.saturating_sub(parts);
        }
    }

    /// Milliseconds until nothing is owed.
    fn wait_ms(self) -> u64 {
        let owed = self.level.min(0).unsigned_abs();
        // Without a limit nothing is owed.
        owed.div_ceil(u64::from(self.per_second).max(1))
    }
}

/// The most that a bucket holds, in parts: one second's worth, which is one message or byte at least.
fn burst(per_second: u32) -> i64 {
    i64::from(per_second) * i64::from(PARTS)
}

#[cfg(test)]
mod tests;
