//! What whoever runs the engine asks of its shards, and what they tell.

mod connections;
mod ends;
mod events;
mod figures;
mod taps;
mod usage;

use std::collections::BTreeMap;

use ringbeam::config::EngineConfig;
use ringbeam::server::Server;
use ringbeam::shard::report::{Audience, Usage};

use super::harness::PATIENCE;

/// So many shards.
fn shards(count: usize) -> EngineConfig {
    EngineConfig {
        shards: count,
        ..EngineConfig::default()
    }
}

/// Somebody who collects usage.
fn collector() -> Audience {
    Audience {
        collects_usage: true,
        ..Audience::default()
    }
}

/// Billed packets by IMSI: those of the device's leg and those of the upstream's.
type Billed = BTreeMap<String, (u64, u64)>;

fn add(billed: &mut Billed, usage: Vec<Usage>) {
    for Usage { imsi, counts, .. } in usage {
        let sum = billed.entry(imsi.to_string()).or_default();
        sum.0 += counts.device_leg;
        sum.1 += counts.upstream_leg;
    }
}

/// What was billed since the last time.
fn collect(server: &Server, billed: &mut Billed) {
    let shares = server.collect_usage();
    for _ in 0..server.shards() {
        add(billed, shares.recv_timeout(PATIENCE).unwrap().usage);
    }
}
