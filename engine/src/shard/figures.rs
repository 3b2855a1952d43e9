//! Figures: what is counted beyond plain numbers: how long something took, and what a relay's rounds were made of.

/// Seconds up to which a time falls into each bucket of a [`Histogram`]; longer ones fall into one more.
pub const BUCKET_SECONDS: [f64; 13] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];

/// The same in microseconds.
const BUCKET_US: [u64; BUCKET_SECONDS.len()] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    5_000_000, 10_000_000,
];

/// How long something took, how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How many times fell into each bucket of [`BUCKET_SECONDS`], and how many were longer; each is counted once.
    pub counts: [u64; BUCKET_SECONDS.len() + 1],
    /// All times together, in microseconds.
    pub sum_us: u64,
}

impl Histogram {
    /// Something took so many microseconds.
    pub fn observe(&mut self, us: u64) {
        let bucket = BUCKET_US.partition_point(|bound_us| *bound_us < us);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count = count.saturating_add(1);
        }
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Adds another one's.
    pub fn add(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(other.counts) {
            *mine = mine.saturating_add(theirs);
        }
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
    }
}

/// What a relay's rounds were made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Rounds.
    pub rounds: u64,
    /// Exchanges with the ring: one call of the kernel each, as a rule.
    pub exchanges: u64,
    /// What the ring has told.
    pub events: u64,
    /// Sends that were submitted, at most one for each connection and exchange.
    pub sends: u64,
    /// Those of them of which the kernel did not take all.
    pub short_sends: u64,
    /// Moves out of pipes into connections.
    pub splices: u64,
    /// Bytes that passed so.
    pub spliced_bytes: u64,
}

impl Work {
    /// Adds another relay's.
    pub const fn add(&mut self, other: &Self) {
        self.rounds += other.rounds;
        self.exchanges += other.exchanges;
        self.events += other.events;
        self.sends += other.sends;
        self.short_sends += other.short_sends;
        self.splices += other.splices;
        self.spliced_bytes += other.spliced_bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_falls_into_the_first_bucket_that_it_fits() {
        for (seconds, us) in BUCKET_SECONDS.iter().zip(BUCKET_US) {
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let in_seconds = us as f64 / 1e6;
            assert!((seconds - in_seconds).abs() < 1e-9, "{seconds}");
        }
        let mut histogram = Histogram::default();
        for us in [0, 1_000, 1_001, 10_000_000, 10_000_001, u64::MAX] {
            histogram.observe(us);
        }
        let counts = histogram.counts;
        assert_eq!((counts[0], counts[1], counts[12], counts[13]), (2, 1, 1, 2));
        assert_eq!((histogram.count(), histogram.sum_us), (6, u64::MAX));
        let mut both = histogram.clone();
        both.add(&histogram);
        assert_eq!((both.count(), both.counts[0]), (12, 4));
    }
}
