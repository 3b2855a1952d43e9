//! Renewal as both peers see it: a device and a broker of a model talk through a session whose upstream is
//! lost at any byte or left as planned, and comes again with or without what it knew (B-TOK-1).
//!
//! `RENEWAL_SEEDS` sets how many seeds are tried with each MQTT and platform version.

#[cfg(test)]
mod broker;
#[cfg(test)]
mod device;
#[cfg(test)]
mod wire;
#[cfg(test)]
mod world;

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

    use ringbeam_proto::packet::Version;
    use ringbeam_proto::platform::Platform;

    use super::broker::Habits;
    use super::world::World;

    fn check(version: Version, platform: Platform) {
        for_seeds(version, platform, |seed| {
            World::new(version, platform, seed).run();
        });
    }

    fn for_seeds(version: Version, platform: Platform, mut check: impl FnMut(u64)) {
        let seeds = std::env::var("RENEWAL_SEEDS")
            .ok()
            .and_then(|seeds| seeds.parse().ok())
            .unwrap_or(500);
        for seed in 0..seeds {
            if let Err(panic) = catch_unwind(AssertUnwindSafe(|| check(seed))) {
                // Nothing else names the seed.
                std::io::Write::write_all(
                    &mut std::io::stderr(),
                    format!("{version:?} {platform:?} seed {seed}\n").as_bytes(),
                )
                .unwrap();
                resume_unwind(panic);
            }
        }
    }

    #[test]
    fn b_tok_2_a_message_that_a_broker_closes_at_comes_twice_whatever_stands_around_it() {
        for version in [Version::V31, Version::V311, Version::V5] {
            let platform = Platform::V201912;
            let mut ended = 0;
            for_seeds(version, platform, |seed| {
                let habits = Habits {
                    poison: Some(u32::try_from(seed % 10).unwrap()),
                    ..Habits::default()
                };
                let times = World::with(version, platform, seed, habits).run_poisoned();
                assert!(
                    times.is_none_or(|times| times == 2),
                    "it came {times:?} times"
                );
                ended += usize::from(times.is_some());
            });
            assert!(ended > 100, "{ended} sessions ended for it");
        }
    }

    #[test]
    fn b_tok_1_a_3_1_device_does_not_notice() {
        check(Version::V31, Platform::V201912);
    }

    #[test]
    fn b_tok_1_a_3_1_1_device_does_not_notice() {
        check(Version::V311, Platform::V201912);
    }

    #[test]
    fn b_tok_1_a_v5_device_does_not_notice() {
        check(Version::V5, Platform::V201912);
    }

    #[test]
    fn b_tok_1_a_device_of_201509_does_not_notice() {
        check(Version::V311, Platform::V201509);
    }
}
