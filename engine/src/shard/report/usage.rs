//! Usage: what was billed, by SIM, platform version and protocol of the upstream's leg (B-BILL-1, B-BILL-2).

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::platform::Platform;

/// Packets billed to a SIM that nobody was told of before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Whose.
    pub imsi: Imsi,
    /// The platform version that decided what is billed.
    pub platform: Platform,
    /// Whether the upstream's leg is over TLS: `outMqtts`, otherwise `outMqtt`.
    pub over_tls: bool,
    /// How many, by leg; never none on both.
    pub counts: Counts,
}

/// What one shard has to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageShare {
    /// Which one.
    pub shard: usize,
    /// One entry for each SIM, platform version and protocol.
    pub usage: Vec<Usage>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    imsi: Imsi,
    platform: Platform,
    over_tls: bool,
}

/// Sums of usage that are not told yet: one for each key, however many sessions there were.
#[derive(Debug, Default)]
pub(in crate::shard) struct Book {
    sums: HashMap<Key, Counts, RandomState>,
}

impl Book {
    /// Adds what some session was billed.
    pub(in crate::shard) fn add(&mut self, usage: Usage) {
        let Usage {
            imsi,
            platform,
            over_tls,
            counts,
        } = usage;
        if counts != Counts::default() {
            let key = Key {
                imsi,
                platform,
                over_tls,
            };
            self.sums.entry(key).or_default().add(counts);
        }
    }

    /// Adds everything that is in another one.
    pub(in crate::shard) fn add_all(&mut self, other: Self) {
        other
            .into_usage()
            .into_iter()
            .for_each(|usage| self.add(usage));
    }

    /// Everything that is in it.
    pub(in crate::shard) fn into_usage(self) -> Vec<Usage> {
        let sums = self.sums.into_iter();
        sums.map(|(key, counts)| Usage {
            imsi: key.imsi,
            platform: key.platform,
            over_tls: key.over_tls,
            counts,
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_bill_1_usage_adds_up_by_sim_platform_and_protocol() {
        let mut book = Book::default();
        let usage = |imsi: &str, platform, over_tls, counts: (u64, u64)| Usage {
            imsi: imsi.parse().unwrap(),
            platform,
            over_tls,
            counts: Counts {
                device_leg: counts.0,
                upstream_leg: counts.1,
            },
        };
        let one = "440100000000001";
        let other = "440100000000002";
        let new = Platform::V201912;
        for added in [
            usage(one, new, false, (1, 2)),
            usage(one, new, false, (0, 3)),
            usage(one, new, true, (1, 0)),
            usage(one, Platform::V201509, false, (7, 7)),
            usage(other, new, false, (0, 0)),
        ] {
            book.add(added);
        }
        let mut told = book.into_usage();
        told.sort_by_key(|usage| usage.counts.device_leg + 10 * usage.counts.upstream_leg);
        let expected = [
            usage(one, new, true, (1, 0)),
            usage(one, new, false, (1, 5)),
            usage(one, Platform::V201509, false, (7, 7)),
        ];
        assert_eq!(told, expected);
    }
}
