//! Metrics: `/metrics`, gathered from the shards when somebody asks, as Prometheus reads it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::State as Shared;
use axum::http::header;
use axum::response::IntoResponse;
use ringbeam_proto::packet::Kind;
use ringbeam_proto::packet::codes::Shown;
use ringbeam_proto::session::Side;

use super::error::ApiError;
use super::state::State;
use crate::shard::counters::{LEVEL_OTHER, Totals};
use crate::shard::figures::{BUCKET_SECONDS, Histogram};
use crate::sys::clock::unix_ms;

/// The form of the text, which scrapers are told.
const FORM: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Metrics as text.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    /// Begins a metric. Writing to a String does not fail.
    fn begin(&mut self, name: &str, kind: &str, help: &str) {
        let _ = writeln!(
            self.text,
            "# HELP ringbeam_{name} {help}\n# TYPE ringbeam_{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl std::fmt::Display) {
        let _ = write!(self.text, "ringbeam_{name}");
        for (index, (label, text)) in labels.iter().enumerate() {
            let before = if index == 0 { '{' } else { ',' };
            let text = text
                .replace('\\', "\\\\")
                .replace('"', "\\\"")
                .replace('\n', "\\n");
            let _ = write!(self.text, "{before}{label}=\"{text}\"");
        }
        let after = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{after} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.begin(name, kind, help);
        self.sample(name, &[], value);
    }

    fn counters(&mut self, counters: &[(&str, &str, u64)]) {
        for (name, help, value) in counters {
            self.one(name, "counter", help, value);
        }
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.begin(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut count = 0_u64;
        for (bound, more) in BUCKET_SECONDS.iter().zip(histogram.counts) {
            count = count.saturating_add(more);
            self.sample(&bucket, &[("le", &bound.to_string())], count);
        }
        self.sample(&bucket, &[("le", "+Inf")], histogram.count());
        #[expect(
            clippy::cast_precision_loss,
            reason = "seconds to six places are enough"
        )]
        let seconds = histogram.sum_us as f64 / 1e6;
        self.sample(&format!("{name}_sum"), &[], seconds);
        self.sample(&format!("{name}_count"), &[], histogram.count());
    }
}

/// `GET /metrics`
pub(super) async fn metrics(
    Shared(state): Shared<Arc<State>>,
) -> Result<impl IntoResponse, ApiError> {
    let reports = state.reports().await?;
    let mut page = Page::default();
    let mut totals = Totals::default();
    reports.iter().for_each(|(_, share)| totals.add(share));
    process(&mut page, &state);
    connections(&mut page, &totals);
    live(&mut page, &totals);
    traffic(&mut page, &totals);
    rounds(&mut page, &totals);
    shards(&mut page, &reports);
    beside(&mut page, &state);
    Ok(([(header::CONTENT_TYPE, FORM)], page.text))
}

fn process(page: &mut Page, state: &State) {
    let version = env!("CARGO_PKG_VERSION");
    page.begin("build_info", "gauge", "Which version runs.");
    page.sample("build_info", &[("version", version)], 1);
    let uptime_ms = unix_ms().saturating_sub(state.started_ms);
    page.one(
        "uptime_seconds",
        "gauge",
        "Seconds since the start.",
        uptime_ms / 1000,
    );
    let (sessions, _) = state.server.capacity();
    page.one("sessions_max", "gauge", "Sessions that fit.", sessions);
    page.one("shards", "gauge", "Shards.", state.server.shards());
    let counts = state.server.snapshot().fleet.counts();
    page.one(
        "fleet_groups",
        "gauge",
        "Groups of the fleet.",
        counts.groups,
    );
    page.one(
        "fleet_sims",
        "gauge",
        "SIMs of the fleet that stand by themselves.",
        counts.sims,
    );
    page.one(
        "fleet_sim_ranges",
        "gauge",
        "Ranges of SIMs.",
        counts.ranges,
    );
    page.one(
        "registry_writable",
        "gauge",
        "Whether what was written to the registry last is stored.",
        u8::from(state.unwritten().is_none()),
    );
    page.one(
        "registry_unstored",
        "gauge",
        "Changes, events of sessions and acts that wait to be stored.",
        state.unstored.with(|unstored| unstored.len()),
    );
}

fn connections(page: &mut Page, totals: &Totals) {
    let counters = [
        (
            "connections_accepted_total",
            "Connections accepted.",
            totals.accepted,
        ),
        (
            "connections_dropped_total",
            "Connections closed at once because even refusing them was too much.",
            totals.dropped,
        ),
        (
            "connections_handed_over_total",
            "Connections handed to the shard that owns their SIM.",
            totals.handed_over,
        ),
        (
            "sessions_established_total",
            "Sessions whose CONNACK has come.",
            totals.established,
        ),
        (
            "renewals_total",
            "Upstreams that were replaced while their devices stayed.",
            totals.renewed,
        ),
        (
            "renewals_failed_total",
            "Attempts at that which failed.",
            totals.renewals_failed,
        ),
        (
            "sim_events_lost_total",
            "Events of SIMs that nobody was told.",
            totals.events_lost,
        ),
    ];
    page.counters(&counters);
    page.histogram(
        "upstream_connect_seconds",
        "How long reaching an upstream took where that succeeded: name, pace, connection, TLS.",
        &totals.upstream_connects,
    );
    page.histogram(
        "connack_seconds",
        "How long it took from a served CONNECT to its CONNACK.",
        &totals.connacks,
    );
}

fn live(page: &mut Page, totals: &Totals) {
    page.one("connections", "gauge", "Connections live now.", totals.live);
    page.begin("sessions", "gauge", "Sessions now, by platform version.");
    for (platform, count) in &totals.live_by_platform {
        page.sample("sessions", &[("version", platform)], count);
    }
    page.begin(
        "sessions_by_destination",
        "gauge",
        "Sessions now, by kind of destination.",
    );
    for (destination, count) in &totals.live_by_destination {
        page.sample(
            "sessions_by_destination",
            &[("destination", destination)],
            count,
        );
    }
    page.begin(
        "connections_ended_total",
        "counter",
        "Connections that have ended, by reason; refused_* and upstream_closed_before_connack never became sessions.",
    );
    for (reason, count) in &totals.ended {
        page.sample("connections_ended_total", &[("reason", reason)], count);
    }
    reasons(page, totals);
}

/// What is behind some of these reasons, as far as its labels are few.
fn reasons(page: &mut Page, totals: &Totals) {
    page.begin(
        "upstream_reasons_total",
        "counter",
        "CONNACKs of upstreams that refused, and their DISCONNECTs that said why.",
    );
    for ((packet, code, meaning), count) in &totals.partings {
        let code = Shown(*code).to_string();
        let labels = [("packet", *packet), ("code", &code), ("meaning", meaning)];
        page.sample("upstream_reasons_total", &labels, count);
    }
    page.begin(
        "levels_refused_total",
        "counter",
        "CONNECTs refused for their protocol level.",
    );
    for (level, count) in &totals.levels {
        let shown = match *level {
            LEVEL_OTHER => "other".to_owned(),
            level => level.to_string(),
        };
        page.sample("levels_refused_total", &[("level", &shown)], count);
    }
}

fn traffic(page: &mut Page, totals: &Totals) {
    for (name, help, is_bytes) in [
        (
            "packets_total",
            "Packets that came, by direction and type; CONNECTs are connections.",
            false,
        ),
        (
            "packet_bytes_total",
            "Bytes of them, headers included.",
            true,
        ),
    ] {
        page.begin(name, "counter", help);
        for (direction, side) in [("up", Side::Device), ("down", Side::Upstream)] {
            for kind in Kind::ALL {
                let came = totals.traffic.of(side, kind);
                let value = if is_bytes { came.bytes } else { came.packets };
                if came.packets > 0 {
                    page.sample(
                        name,
                        &[("direction", direction), ("type", kind.as_str())],
                        value,
                    );
                }
            }
        }
    }
    page.begin("billed_packets_total", "counter", "Billed packets, by leg.");
    for (leg, count) in [
        ("device", totals.billed.device_leg),
        ("upstream", totals.billed.upstream_leg),
    ] {
        page.sample("billed_packets_total", &[("leg", leg)], count);
    }
}

fn rounds(page: &mut Page, totals: &Totals) {
    let counters = [
        (
            "buffers_exhausted_total",
            "Times that a relay had no buffer.",
            totals.buffers_exhausted,
        ),
        (
            "relay_rounds_total",
            "Rounds of the relays.",
            totals.work.rounds,
        ),
        (
            "relay_exchanges_total",
            "Calls of the kernel by the relays.",
            totals.work.exchanges,
        ),
        (
            "relay_events_total",
            "Events that the rings told.",
            totals.work.events,
        ),
        (
            "relay_sends_total",
            "Sends that were submitted.",
            totals.work.sends,
        ),
        (
            "relay_short_sends_total",
            "Sends of which not all was taken.",
            totals.work.short_sends,
        ),
        (
            "relay_splices_total",
            "Moves out of pipes.",
            totals.work.splices,
        ),
        (
            "relay_spliced_bytes_total",
            "Bytes that passed so.",
            totals.work.spliced_bytes,
        ),
    ];
    page.counters(&counters);
    page.one(
        "buffers_in_use",
        "gauge",
        "Buffers in use now.",
        totals.buffers_in_use,
    );
    page.one(
        "waiting_bytes",
        "gauge",
        "Bytes that wait in sessions now: a side is stopped, or a packet is not whole.",
        totals.waiting_bytes,
    );
}

fn shards(page: &mut Page, reports: &[(usize, Totals)]) {
    page.begin("shard_connections", "gauge", "Connections now, by shard.");
    let mut by_shard: Vec<(usize, Totals)> = Vec::new();
    for (shard, share) in reports {
        match by_shard.iter_mut().find(|(known, _)| known == shard) {
            Some((_, sum)) => sum.add(share),
            None => by_shard.push((*shard, share.clone())),
        }
    }
    by_shard.sort_by_key(|(shard, _)| *shard);
    for (shard, share) in &by_shard {
        page.sample(
            "shard_connections",
            &[("shard", &shard.to_string())],
            share.live,
        );
    }
    page.begin(
        "shard_packets_total",
        "counter",
        "PUBLISH packets that came, by shard.",
    );
    for (shard, share) in &by_shard {
        let publishes = [Side::Device, Side::Upstream]
            .map(|side| share.traffic.of(side, Kind::Publish).packets);
        let [up, down] = publishes;
        page.sample(
            "shard_packets_total",
            &[("shard", &shard.to_string())],
            up.saturating_add(down),
        );
    }
}

fn beside(page: &mut Page, state: &State) {
    page.begin(
        "group_billed_packets_total",
        "counter",
        "Billed packets of the first groups that had any, by leg; the others together.",
    );
    for (group, counts) in state.usage.with(|usage| usage.groups()) {
        for (leg, count) in [
            ("device", counts.device_leg),
            ("upstream", counts.upstream_leg),
        ] {
            page.sample(
                "group_billed_packets_total",
                &[("group", &group), ("leg", leg)],
                count,
            );
        }
    }
    page.begin(
        "radius_requests_total",
        "counter",
        "RADIUS datagrams, by what became of them.",
    );
    for (outcome, count) in state.radius.values() {
        page.sample("radius_requests_total", &[("outcome", outcome)], count);
    }
    page.one(
        "open5gs_odd_entries_total",
        "counter",
        "Entries of Open5GS' lists that could not be read, in each list anew.",
        state.open5gs_odd.load(Ordering::Relaxed),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_look_as_prometheus_reads_them() {
        let mut page = Page::default();
        page.begin("x_total", "counter", "What it is.");
        page.sample("x_total", &[("a", "1\"\\\n"), ("b", "2")], 7);
        page.one("y", "gauge", "One.", 3);
        assert_eq!(
            page.text,
            "# HELP ringbeam_x_total What it is.\n# TYPE ringbeam_x_total counter\n\
             ringbeam_x_total{a=\"1\\\"\\\\\\n\",b=\"2\"} 7\n\
             # HELP ringbeam_y One.\n# TYPE ringbeam_y gauge\nringbeam_y 3\n"
        );
        let mut histogram = Histogram::default();
        histogram.observe(2_000);
        histogram.observe(20_000_000);
        let mut page = Page::default();
        page.histogram("h_seconds", "H.", &histogram);
        assert!(page.text.contains("h_seconds_bucket{le=\"0.001\"} 0\n"));
        assert!(page.text.contains("h_seconds_bucket{le=\"0.0025\"} 1\n"));
        assert!(page.text.contains("h_seconds_bucket{le=\"+Inf\"} 2\n"));
        assert!(page.text.contains("h_seconds_sum 20.002\n"));
    }
}
