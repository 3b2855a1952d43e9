//! Pace: when a connect to a destination may begin, so that a broker that comes back is not met by the
//! whole fleet at once (B-CON-4). One schedule per destination for all shards together, with time as an
//! argument: whoever asks gets the next slot. It never waits itself.

use std::sync::PoisonError;
use std::time::Duration;

use ahash::RandomState;
use hashbrown::HashMap;

use crate::limits::PACE_DESTINATIONS;

/// The schedules of all destinations.
#[derive(Debug, Default)]
pub struct Pace {
    #[expect(
        clippy::disallowed_types,
        reason = "taken once per connect where a rate is configured, for as long as a look into a map"
    )]
    schedules: std::sync::Mutex<Schedules>,
}

const NANOS_PER_SECOND: u64 = 1_000_000_000;
const NANOS_PER_MS: u64 = 1_000_000;

/// By host and port, when the next slot is, in nanoseconds.
type Schedules = HashMap<(String, u16), u64, RandomState>;

/// How a destination may be connected to.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// Connects per second; 0 is no limit.
    pub per_second: u32,
    /// The most that one may wait for its slot, in milliseconds.
    pub patience_ms: u64,
}

/// Too many wait already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{waiting} connects wait for their turn, at {per_second} per second")]
pub struct Crowded {
    waiting: u64,
    per_second: u32,
}

impl Pace {
    /// Takes the next slot to connect to a destination: how long until then. A slot that is not used
    /// after all passes unused; it is not given to anybody else.
    ///
    /// # Errors
    /// When it would come too late. Then none is taken.
    pub fn take(
        &self,
        host: &str,
        port: u16,
        rate: Rate,
        now_ms: u64,
    ) -> Result<Duration, Crowded> {
        if rate.per_second == 0 {
            return Ok(Duration::ZERO);
        }
        let interval = NANOS_PER_SECOND.div_ceil(u64::from(rate.per_second));
        let now = now_ms.saturating_mul(NANOS_PER_MS);
        let mut schedules = self
            .schedules
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        // One broker, however its name is written.
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let name = (host, port);
        if schedules.len() >= PACE_DESTINATIONS && !schedules.contains_key(&name) {
            // Those whose time has passed are as good as new.
            schedules.retain(|_, next| *next > now);
            if schedules.len() >= PACE_DESTINATIONS {
                return Ok(Duration::ZERO);
            }
        }
        let next = schedules.entry(name).or_insert(now);
        let slot = (*next).max(now);
        let wait = slot.saturating_sub(now);
        if wait > rate.patience_ms.saturating_mul(NANOS_PER_MS) {
            return Err(Crowded {
                waiting: wait / interval,
                per_second: rate.per_second,
            });
        }
        *next = slot.saturating_add(interval);
        Ok(Duration::from_nanos(wait))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE_MS: u64 = 5_000;

    /// Takes a slot: milliseconds until it, rounded up.
    fn take(pace: &Pace, host: &str, per_second: u32, now_ms: u64) -> Result<u64, Crowded> {
        let rate = Rate {
            per_second,
            patience_ms: PATIENCE_MS,
        };
        let wait = pace.take(host, 1883, rate, now_ms)?;
        Ok(u64::try_from(wait.as_nanos())
            .unwrap()
            .div_ceil(NANOS_PER_MS))
    }

    /// The most that begin within any second, when so many ask per millisecond for three seconds.
    fn busiest_second(per_second: u32, asking_per_ms: u32) -> usize {
        let pace = Pace::default();
        let mut begun: Vec<u64> = (0..3_000)
            .flat_map(|now_ms| (0..asking_per_ms).map(move |_| now_ms))
            .filter_map(|now_ms| Some(now_ms + take(&pace, "a", per_second, now_ms).ok()?))
            .collect();
        begun.sort_unstable();
        let within = |from: u64| {
            begun
                .iter()
                .filter(|at| (from..from + 1_000).contains(at))
                .count()
        };
        begun.iter().map(|from| within(*from)).max().unwrap()
    }

    #[test]
    fn b_con_4_no_second_sees_more_connects_than_the_rate() {
        assert_eq!(busiest_second(1, 1), 1);
        assert_eq!(busiest_second(50, 1), 50);
        assert_eq!(busiest_second(500, 2), 500);
    }

    #[test]
    fn b_con_4_one_goes_at_once_and_the_rest_in_turn() {
        let pace = Pace::default();
        let waits: Vec<_> = (0..4).map(|_| take(&pace, "a", 50, 7).unwrap()).collect();
        assert_eq!(waits, [0, 20, 40, 60]);
        // One broker, however its name is written.
        assert_eq!(take(&pace, "A.", 50, 7), Ok(80));
        // Another destination has a schedule of its own, and a limit of 0 is none.
        assert_eq!(take(&pace, "b", 50, 7), Ok(0));
        assert_eq!(take(&pace, "a", 0, 7), Ok(0));
        // At a slow rate one goes at once.
        assert_eq!(
            [take(&pace, "c", 1, 0), take(&pace, "c", 1, 0)],
            [Ok(0), Ok(1_000)]
        );
    }

    #[test]
    fn b_con_4_whoever_would_come_too_late_is_refused_and_takes_no_slot() {
        let pace = Pace::default();
        for number in 0..=5 {
            assert_eq!(take(&pace, "a", 1, 0), Ok(number * 1_000));
        }
        let crowded = take(&pace, "a", 1, 0).unwrap_err();
        assert_eq!(
            crowded.to_string(),
            "6 connects wait for their turn, at 1 per second"
        );
        take(&pace, "a", 1, 999).unwrap_err();
        assert_eq!(take(&pace, "a", 1, 1_000), Ok(5_000));
    }

    #[test]
    fn b_con_4_a_new_rate_holds_from_the_next_connect_on() {
        let pace = Pace::default();
        for _ in 0..4 {
            take(&pace, "a", 1, 0).unwrap();
        }
        assert_eq!(take(&pace, "a", 10, 0), Ok(4_000));
        assert_eq!(take(&pace, "a", 10, 0), Ok(4_100));
    }

    #[test]
    fn destinations_that_nobody_connects_to_are_forgotten() {
        let pace = Pace::default();
        for number in 0..PACE_DESTINATIONS {
            take(&pace, &number.to_string(), 10, 0).unwrap();
        }
        // All of them are in use: one more is not held back.
        assert_eq!(
            [take(&pace, "a", 1, 99), take(&pace, "a", 1, 99)],
            [Ok(0), Ok(0)]
        );
        assert_eq!(
            [take(&pace, "a", 1, 100), take(&pace, "a", 1, 100)],
            [Ok(0), Ok(1_000)]
        );
        assert_eq!(pace.schedules.lock().unwrap().len(), 1);
    }
}
