//! Usage: billed packets on their way from the shards to the registry (B-BILL-1). What was collected and is not stored
//! yet stays here; stored is stored once, with its whole share.

use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::platform::Platform;
use tracing::error;

use super::calendar::Period;
use super::limits::{GROUPS_COUNTED, USAGE_PATIENCE};
use super::state::State;
use crate::fleet::Fleet;
use crate::registry::{EmbeddedRegistry, UsageCounts, UsageShare};
use crate::server::Server;
use crate::shard::report::Usage;
use crate::sys::clock::unix_ms;

/// Groups beyond those that are counted one by one.
const OTHER_GROUPS: &str = "other";

/// What is added up: a SIM's packets of one platform version and protocol, in one bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    imsi: Imsi,
    platform: Platform,
    over_tls: bool,
    /// When the bucket begins, in seconds since 1970.
    start: i64,
}

/// What was collected and is not stored.
#[derive(Debug)]
pub(super) struct Pending {
    shares: HashMap<Key, Counts, RandomState>,
    /// When shards were asked last, in seconds since 1970: what they tell next was counted since then.
    since_seconds: i64,
    /// Billed packets of groups since the start, for the metrics.
    groups: HashMap<Arc<str>, Counts, RandomState>,
}

impl Default for Pending {
    fn default() -> Self {
        Self {
            shares: HashMap::default(),
            since_seconds: now_seconds(),
            groups: HashMap::default(),
        }
    }
}

impl Pending {
    /// Takes what was counted since shards were asked last. It belongs to the bucket of that time: they are asked anew
    /// whenever one ends.
    pub(super) fn add(&mut self, usage: &[Usage], fleet: &Fleet) {
        let start = Period::Minutes.start(self.since_seconds);
        for share in usage {
            let key = Key {
                imsi: share.imsi,
                platform: share.platform,
                over_tls: share.over_tls,
                start,
            };
            self.shares.entry(key).or_default().add(share.counts);
            self.count_group(share, fleet);
        }
    }

    fn count_group(&mut self, share: &Usage, fleet: &Fleet) {
        let sim = fleet.sim(&share.imsi);
        let group = sim.and_then(|sim| fleet.group(sim.group?));
        let Some(group) = group else {
            return;
        };
        let is_known = self.groups.contains_key(&group.id);
        let name = if is_known || self.groups.len() < GROUPS_COUNTED {
            Arc::clone(&group.id)
        } else {
            Arc::from(OTHER_GROUPS)
        };
        self.groups.entry(name).or_default().add(share.counts);
    }

    fn take(&mut self) -> Vec<(Key, Counts)> {
        self.shares.drain().collect()
    }

    /// Billed packets of groups since the start.
    pub(super) fn groups(&self) -> Vec<(Arc<str>, Counts)> {
        let groups = self.groups.iter();
        groups
            .map(|(name, counts)| (Arc::clone(name), *counts))
            .collect()
    }
}

/// Collects from all shards and stores. On the writer's thread, so that it happens once at a time.
pub(super) fn collect(registry: &EmbeddedRegistry, state: &State) {
    let server: &Server = &state.server;
    let asked_seconds = now_seconds();
    let answers = server.collect_usage();
    let snapshot = server.snapshot();
    let take = |share: &[Usage]| {
        state
            .usage
            .with(|pending| pending.add(share, &snapshot.fleet));
    };
    for _ in 0..server.shards() {
        match answers.recv_timeout(USAGE_PATIENCE) {
            Ok(share) => take(&share.usage),
            // A shard that has ended leaves what it had to whoever ends the engine.
            Err(_) => break,
        }
    }
    while let Ok(share) = answers.try_recv() {
        take(&share.usage);
    }
    state
        .usage
        .with(|pending| pending.since_seconds = asked_seconds);
    store(registry, state);
}

/// Stores what was collected; where that fails it stays for the next time.
pub(super) fn store(registry: &EmbeddedRegistry, state: &State) {
    let usage = state.usage.with(Pending::take);
    if usage.is_empty() {
        return;
    }
    let shares: Vec<UsageShare> = usage.iter().map(share).collect();
    let stored = registry.change(|moment| moment.add_usage(&shares));
    if let Err(error) = stored {
        error!(%error, "billing figures cannot be stored; they are kept and tried again");
        state.usage.with(|pending| {
            for (key, counts) in usage {
                pending.shares.entry(key).or_default().add(counts);
            }
        });
    }
}

/// B-BILL-2: `inMqtt` is the device's leg, `outMqtt` or `outMqtts` the upstream's.
fn share((key, counts): &(Key, Counts)) -> UsageShare {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let Counts {
        device_leg,
        upstream_leg,
    } = *counts;
    let out = count(upstream_leg);
    UsageShare {
        imsi: key.imsi.to_string(),
        platform: key.platform.as_str(),
        starts: (key.start, Period::Day.start(key.start)),
        counts: UsageCounts {
            in_mqtt: count(device_leg),
            out_mqtt: if key.over_tls { 0 } else { out },
            out_mqtts: if key.over_tls { out } else { 0 },
        },
    }
}

fn now_seconds() -> i64 {
    unix_ms().div_euclid(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_bill_1_what_was_counted_before_a_bucket_ended_belongs_to_it() {
        let fleet = Fleet::default();
        let usage = [Usage {
            imsi: "440100000000001".parse().unwrap(),
            platform: Platform::V201912,
            over_tls: true,
            counts: Counts {
                device_leg: 2,
                upstream_leg: 3,
            },
        }];
        let mut pending = Pending {
            since_seconds: 1_709_218_799,
            ..Pending::default()
        };
        // It is told when the next day has begun.
        pending.add(&usage, &fleet);
        pending.since_seconds = 1_709_218_801;
        pending.add(&usage, &fleet);
        pending.add(&usage, &fleet);
        let mut shares: Vec<UsageShare> = pending.take().iter().map(share).collect();
        shares.sort_by_key(|share| share.starts);
        let told: Vec<_> = shares
            .iter()
            .map(|share| (share.starts, share.counts))
            .collect();
        let counts = |times: i64| UsageCounts {
            in_mqtt: 2 * times,
            out_mqtt: 0,
            out_mqtts: 3 * times,
        };
        assert_eq!(
            told,
            [
                ((1_709_218_500, 1_709_218_800 - 86_400), counts(1)),
                ((1_709_218_800, 1_709_218_800), counts(2)),
            ]
        );
    }
}
