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
use crate::registry::{EmbeddedRegistry, StoreError, UsageCounts, UsageShare};
use crate::server::Server;
use crate::shard::report::Usage;
use crate::sys::clock::unix_ms;

/// Groups beyond those that are counted one by one.
const OTHER_GROUPS: &str = "other";

/// What was collected and is not stored.
#[derive(Debug, Default)]
pub(super) struct Pending {
    shares: HashMap<(Imsi, Platform, bool), Counts, RandomState>,
    /// Billed packets of groups since the start, for the metrics.
    groups: HashMap<Arc<str>, Counts, RandomState>,
    /// Whether the last attempt to store failed.
    has_failed: bool,
}

impl Pending {
    pub(super) fn add(&mut self, usage: &[Usage], fleet: &Fleet) {
        for share in usage {
            let key = (share.imsi, share.platform, share.over_tls);
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

    fn take(&mut self) -> Vec<Usage> {
        let shares = self.shares.drain();
        let usage = shares.map(|((imsi, platform, over_tls), counts)| Usage {
            imsi,
            platform,
            over_tls,
            counts,
        });
        usage.collect()
    }

    /// Billed packets of groups since the start.
    pub(super) fn groups(&self) -> Vec<(Arc<str>, Counts)> {
        let groups = self.groups.iter();
        groups
            .map(|(name, counts)| (Arc::clone(name), *counts))
            .collect()
    }

    /// Whether what is billed reaches the registry.
    pub(super) const fn is_stored(&self) -> bool {
        !self.has_failed
    }
}

/// Collects from all shards and stores. On the writer's thread, so that it happens once at a time.
pub(super) fn collect(registry: &EmbeddedRegistry, state: &State) {
    let server: &Server = &state.server;
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
    store(registry, state);
}

/// Stores what was collected; where that fails it stays for the next time.
pub(super) fn store(registry: &EmbeddedRegistry, state: &State) {
    let usage = state.usage.with(Pending::take);
    if usage.is_empty() {
        return;
    }
    let now_seconds = unix_ms().div_euclid(1000);
    let shares: Vec<UsageShare> = usage.iter().map(share).collect();
    let (minutes, day) = (
        Period::Minutes.start(now_seconds),
        Period::Day.start(now_seconds),
    );
    let stored = registry.change(|moment| {
        moment.add_usage(&shares, minutes, day)?;
        Ok::<_, StoreError>(())
    });
    let has_failed = stored.is_err();
    if let Err(error) = stored {
        error!(%error, "billing figures cannot be stored; they are kept and tried again");
    }
    state.usage.with(|pending| {
        pending.has_failed = has_failed;
        if has_failed {
            for share in &usage {
                let key = (share.imsi, share.platform, share.over_tls);
                pending.shares.entry(key).or_default().add(share.counts);
            }
        }
    });
}

/// B-BILL-2: `inMqtt` is the device's leg, `outMqtt` or `outMqtts` the upstream's.
fn share(usage: &Usage) -> UsageShare {
    let count = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let Counts {
        device_leg,
        upstream_leg,
    } = usage.counts;
    let out = count(upstream_leg);
    UsageShare {
        imsi: usage.imsi.to_string(),
        platform: usage.platform.as_str(),
        counts: UsageCounts {
            in_mqtt: count(device_leg),
            out_mqtt: if usage.over_tls { 0 } else { out },
            out_mqtts: if usage.over_tls { out } else { 0 },
        },
    }
}
