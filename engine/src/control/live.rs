//! Live: figures of every second, for as long as somebody looks, as server-sent events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Shared;
use axum::response::IntoResponse;
use ringbeam_proto::packet::Kind;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::error::ApiError;
use super::events_stream::events;
use super::state::State;
use crate::shard::counters::Totals;
use crate::sys::clock::unix_ms;

/// How often figures come.
const INTERVAL: Duration = Duration::from_secs(1);

/// Reasons of ends that are no errors.
const GOOD_ENDS: [&str; 4] = [
    "device_disconnect",
    "device_closed",
    "draining",
    "entry_point_closed",
];

/// `GET /ringbeam/v1/live`
pub(super) async fn live(Shared(state): Shared<Arc<State>>) -> Result<impl IntoResponse, ApiError> {
    let place = state.stream()?;
    let before = state.reports().await?;
    let (stream, sender) = events();
    tokio::spawn(async move {
        let mut before = before;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.tick().await;
        let mut last = Instant::now();
        loop {
            let now = ticks.tick().await;
            let Ok(reports) = state.reports().await else {
                break;
            };
            let seconds = now.duration_since(last).as_secs_f64().max(0.001);
            last = now;
            let figures = figures(&before, &reports, seconds);
            if sender.send("figures", &figures).await.is_err() {
                break;
            }
            before = reports;
        }
        drop(place);
    });
    Ok(stream.response())
}

type Reports = [(usize, Totals)];

fn figures(before: &Reports, now: &Reports, seconds: f64) -> Value {
    let sum = |reports: &Reports| {
        let mut totals = Totals::default();
        reports.iter().for_each(|(_, share)| totals.add(share));
        totals
    };
    let (old, new) = (sum(before), sum(now));
    let rate = |old: u64, new: u64| {
        #[expect(clippy::cast_precision_loss, reason = "a rate for people to look at")]
        let difference = new.saturating_sub(old) as f64;
        (difference / seconds * 10.0).round() / 10.0
    };
    let mut messages = Map::new();
    for platform in [Platform::V201912, Platform::V201509] {
        let of = |totals: &Totals, side| publishes(totals, platform, side);
        let [up, down] =
            [Side::Device, Side::Upstream].map(|side| rate(of(&old, side), of(&new, side)));
        messages.insert(
            platform.as_str().to_owned(),
            json!({"up": up, "down": down}),
        );
    }
    let mut errors: BTreeMap<&str, f64> = BTreeMap::new();
    for (reason, count) in &new.ended {
        let earlier = old.ended.get(reason).copied().unwrap_or_default();
        let more = rate(earlier, *count);
        if more > 0.0 && !GOOD_ENDS.contains(reason) {
            errors.insert(reason, more);
        }
    }
    let shard = |reports: &Reports, index: usize| {
        let of_shard = reports.iter().filter(|(shard, _)| *shard == index);
        let mut totals = Totals::default();
        of_shard.for_each(|(_, share)| totals.add(share));
        totals
    };
    let all = |totals: &Totals| {
        let of = |platform, side| publishes(totals, platform, side);
        let sums = [Platform::V201912, Platform::V201509].map(|platform| {
            of(platform, Side::Device).saturating_add(of(platform, Side::Upstream))
        });
        sums.iter().sum::<u64>()
    };
    let indexes = now.iter().map(|(shard, _)| *shard).max();
    let shards = (0..=indexes.unwrap_or_default()).map(|index| {
        let (old, new) = (shard(before, index), shard(now, index));
        let sessions: usize = new.live_by_platform.values().sum();
        json!({"index": index, "sessions": sessions, "messages": rate(all(&old), all(&new))})
    });
    json!({
        "time": unix_ms(),
        "connections": new.live,
        "sessions": new.live_by_platform,
        "messages": messages,
        // The sum of none is -0.
        "errors": errors.values().sum::<f64>() + 0.0,
        "errorsByReason": errors,
        "shards": shards.collect::<Vec<_>>(),
    })
}

/// PUBLISH packets that came from one side.
fn publishes(totals: &Totals, platform: Platform, side: Side) -> u64 {
    let tally = totals.traffic.under(platform);
    tally.of(side, Kind::Publish).packets
}
