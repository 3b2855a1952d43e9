//! Schedule: when each message of each device should be sent. It follows from the seed alone, never from
//! what the entry point does: a stalled entry point finds the messages waiting, with their times.

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// How the messages of a device are spread over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Evenly, with the devices one after another.
    Uniform,
    /// At random, independent of each other, as from a large fleet (exponential gaps).
    Poisson,
}

/// The times of one device's messages, in ns from the beginning of the schedule; never ends.
#[derive(Clone, Debug)]
pub struct Times {
    spread: Spread,
    /// Gap between two messages, in ns: exact, or on average.
    gap_ns: f64,
    next_ns: f64,
    random: SmallRng,
}

impl Times {
    /// Device `index` of `devices`, which send `rate` messages a second together.
    #[must_use]
    pub fn new(spread: Spread, rate: f64, (index, devices): (u32, u32), seed: u64) -> Self {
        let gap_ns = 1e9 * f64::from(devices.max(1)) / rate;
        // Every device has a stream of its own, whatever thread it is on.
        let mut random = SmallRng::seed_from_u64(seed ^ (u64::from(index) << 32 | 0x5bd1));
        let next_ns = match spread {
            Spread::Uniform => gap_ns * f64::from(index) / f64::from(devices.max(1)),
            Spread::Poisson => exponential(&mut random) * gap_ns,
        };
        Self {
            spread,
            gap_ns,
            next_ns,
            random,
        }
    }

    /// When the next message is due.
    #[must_use]
    pub fn peek(&self) -> u64 {
        whole(self.next_ns)
    }

    /// Goes on to the message after it.
    pub fn advance(&mut self) {
        self.next_ns += match self.spread {
            Spread::Uniform => self.gap_ns,
            Spread::Poisson => exponential(&mut self.random) * self.gap_ns,
        };
    }
}

/// Exponentially distributed with mean 1.
fn exponential(random: &mut SmallRng) -> f64 {
    let uniform: f64 = random.random();
    // 1 - u is in (0, 1], so that its logarithm is finite.
    -(1.0 - uniform).ln()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "times are positive, and the cast saturates"
)]
fn whole(nanoseconds: f64) -> u64 {
    nanoseconds as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(spread: Spread, devices: u32, seed: u64, until_ns: u64) -> Vec<(u64, u32)> {
        let mut all = Vec::new();
        for index in 0..devices {
            let mut times = Times::new(spread, 1000.0, (index, devices), seed);
            while times.peek() < until_ns {
                all.push((times.peek(), index));
                times.advance();
            }
        }
        all.sort_unstable();
        all
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        for spread in [Spread::Uniform, Spread::Poisson] {
            let first = times(spread, 50, 1, 2_000_000_000);
            assert_eq!(first, times(spread, 50, 1, 2_000_000_000), "{spread:?}");
        }
        let poisson = times(Spread::Poisson, 50, 1, 2_000_000_000);
        assert_ne!(poisson, times(Spread::Poisson, 50, 2, 2_000_000_000));
    }

    #[test]
    fn uniform_times_are_evenly_spaced_over_all_devices() {
        let all = times(Spread::Uniform, 50, 1, 1_000_000_000);
        assert_eq!(all.len(), 1000);
        for (number, (moment, device)) in (0_u32..).zip(&all) {
            assert_eq!(*device, number % 50);
            assert!(
                moment.abs_diff(u64::from(number) * 1_000_000) <= 1,
                "{moment}"
            );
        }
    }

    #[test]
    fn poisson_times_have_the_rate_and_the_spread_of_poisson() {
        let all = times(Spread::Poisson, 20, 1, 60_000_000_000);
        let count = f64::from(u32::try_from(all.len()).unwrap());
        assert!(
            (count - 60_000.0).abs() < 4.0 * 60_000_f64.sqrt(),
            "{count}"
        );
        // Among exponential gaps, exp(-1) are longer than the mean.
        let gaps = all.windows(2).map(|pair| pair[1].0 - pair[0].0);
        let long = gaps.filter(|gap| *gap > 1_000_000).count();
        let share = f64::from(u32::try_from(long).unwrap()) / count;
        assert!((share - (-1_f64).exp()).abs() < 0.01, "{share}");
    }
}
