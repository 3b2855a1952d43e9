//! Throttle: how often somebody may fail to sign in. By address and by name, so that neither one guesser nor many
//! get far.

use ahash::RandomState;
use hashbrown::HashMap;

use super::limits::{THROTTLED, TRIES, TRIES_MS};

/// Failures of late, by whoever failed.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// How many, and since when.
    failures: HashMap<String, (u32, u64), RandomState>,
}

impl Throttle {
    /// Seconds that any of these has to wait, if so.
    pub(super) fn wait_seconds(&mut self, names: &[&str], now_ms: u64) -> Option<u64> {
        self.failures
            .retain(|_, (_, since_ms)| now_ms.saturating_sub(*since_ms) < TRIES_MS);
        let waits = names.iter().filter_map(|name| {
            let (count, since_ms) = self.failures.get(*name)?;
            let over_ms = since_ms.saturating_add(TRIES_MS);
            (*count >= TRIES).then(|| over_ms.saturating_sub(now_ms).div_ceil(1000).max(1))
        });
        waits.max()
    }

    /// One more failure.
    pub(super) fn failed(&mut self, names: &[&str], now_ms: u64) {
        for name in names {
            if self.failures.len() < THROTTLED || self.failures.contains_key(*name) {
                let entry = self.failures.entry((*name).to_owned());
                let (count, _) = entry.or_insert((0, now_ms));
                *count = count.saturating_add(1);
            }
        }
    }

    /// A success: the name's failures are forgotten.
    pub(super) fn succeeded(&mut self, name: &str) {
        self.failures.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_fails_too_often_waits() {
        let mut throttle = Throttle::default();
        for _ in 0..TRIES {
            assert_eq!(throttle.wait_seconds(&["a", "x"], 0), None);
            throttle.failed(&["a", "x"], 0);
        }
        assert_eq!(throttle.wait_seconds(&["a", "y"], 1), Some(TRIES_MS / 1000));
        assert_eq!(throttle.wait_seconds(&["b", "x"], 1), Some(TRIES_MS / 1000));
        assert_eq!(throttle.wait_seconds(&["b", "y"], 1), None);
        assert_eq!(throttle.wait_seconds(&["a"], TRIES_MS), None);
        throttle.failed(&["c"], 0);
        throttle.succeeded("c");
        assert!(throttle.failures.is_empty());
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut throttle = Throttle::default();
        for number in 0..THROTTLED + 10 {
            throttle.failed(&[&number.to_string()], 0);
        }
        assert_eq!(throttle.failures.len(), THROTTLED);
    }
}
