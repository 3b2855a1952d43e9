//! Throttle: how often somebody may fail to sign in. By address and by name, so that neither one guesser nor many
//! get far.

use std::net::{IpAddr, Ipv6Addr};

use ahash::RandomState;
use hashbrown::HashMap;

use super::limits::{THROTTLED, TRIES, TRIES_MS};
use crate::registry::hash_text;

/// Who tries.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The hash of a name: always as large, however long that is.
    Name(Vec<u8>),
    /// An address, or what stands for all of its block.
    Block(IpAddr),
}

impl Who {
    /// Whoever says that this is their name.
    pub(super) fn name(name: &str) -> Self {
        Self::Name(hash_text(name))
    }

    /// Whoever has this address. Of IPv6 anybody has a whole /64.
    pub(super) fn address(address: IpAddr) -> Self {
        Self::Block(match address.to_canonical() {
            IpAddr::V6(address) => {
                let block = address.to_bits() & !u128::from(u64::MAX);
                Ipv6Addr::from_bits(block).into()
            }
            address => address,
        })
    }
}

/// Attempts of late, by whoever made them.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    /// How many, and since when.
    attempts: HashMap<Who, (u32, u64), RandomState>,
}

impl Throttle {
    /// One more attempt, which counts from now on, so that many at once are not more than one after the other.
    ///
    /// # Errors
    /// When one of them has to wait: for how many seconds.
    pub(super) fn attempt(&mut self, whose: &[Who], now_ms: u64) -> Result<(), u64> {
        self.attempts
            .retain(|_, (_, since_ms)| now_ms.saturating_sub(*since_ms) < TRIES_MS);
        let waits = whose.iter().filter_map(|who| {
            let (count, since_ms) = self.attempts.get(who)?;
            let over_ms = since_ms.saturating_add(TRIES_MS);
            (*count >= TRIES).then(|| over_ms.saturating_sub(now_ms).div_ceil(1000).max(1))
        });
        if let Some(seconds) = waits.max() {
            return Err(seconds);
        }
        for who in whose {
            if self.attempts.len() >= THROTTLED && !self.attempts.contains_key(who) {
                self.forget_oldest();
            }
            let (count, _) = self.attempts.entry(who.clone()).or_insert((0, now_ms));
            *count = count.saturating_add(1);
        }
        Ok(())
    }

    fn forget_oldest(&mut self) {
        let attempts = self.attempts.iter();
        let oldest = attempts.min_by_key(|(_, (_, since_ms))| *since_ms);
        if let Some(who) = oldest.map(|(who, _)| who.clone()) {
            self.attempts.remove(&who);
        }
    }

    /// An attempt was no failure.
    pub(super) fn give_back(&mut self, whose: &[Who]) {
        for who in whose {
            if let Some((count, _)) = self.attempts.get_mut(who) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.attempts.remove(who);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whose(name: &str, address: &str) -> [Who; 2] {
        [Who::name(name), Who::address(address.parse().unwrap())]
    }

    #[test]
    fn whoever_fails_too_often_waits() {
        let mut throttle = Throttle::default();
        let (x, y) = ("10.0.0.1", "10.0.0.2");
        for _ in 0..TRIES {
            throttle.attempt(&whose("a", x), 0).unwrap();
        }
        let wait = Err(TRIES_MS / 1000);
        assert_eq!(throttle.attempt(&whose("a", y), 1), wait);
        assert_eq!(throttle.attempt(&whose("b", x), 1), wait);
        assert_eq!(throttle.attempt(&whose("b", "::ffff:10.0.0.1"), 1), wait);
        throttle.attempt(&whose("b", y), 1).unwrap();
        throttle.attempt(&whose("a", x), TRIES_MS).unwrap();
    }

    #[test]
    fn a_success_does_not_count() {
        let mut throttle = Throttle::default();
        for _ in 0..2 * TRIES {
            throttle.attempt(&whose("a", "::1"), 0).unwrap();
            throttle.give_back(&whose("a", "::1"));
        }
        assert!(throttle.attempts.is_empty());
    }

    #[test]
    fn a_whole_subnet_is_one_guesser() {
        let mut throttle = Throttle::default();
        for number in 0..TRIES {
            let address = format!("2001:db8:0:1::{number}");
            let whose = whose(&format!("a{number}"), &address);
            throttle.attempt(&whose, 0).unwrap();
        }
        throttle
            .attempt(&whose("b", "2001:db8:0:1:2::"), 0)
            .unwrap_err();
        throttle.attempt(&whose("b", "2001:db8:0:2::"), 0).unwrap();
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_oldest_is_forgotten() {
        let mut throttle = Throttle::default();
        let name = |number: usize| [Who::name(&number.to_string())];
        for number in 0..THROTTLED {
            throttle
                .attempt(&name(number), u64::from(number > 0))
                .unwrap();
        }
        for _ in 0..TRIES {
            throttle.attempt(&name(THROTTLED), 2).unwrap();
        }
        throttle.attempt(&name(THROTTLED), 2).unwrap_err();
        assert_eq!(throttle.attempts.len(), THROTTLED);
        assert!(!throttle.attempts.contains_key(&name(0)[0]));
    }
}
