//! Metric: what every figure is, its unit, how it is taken, and which one a scenario is judged by.

use std::collections::BTreeSet;

use crate::summary::Summary;

/// One measured quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// As in `raw.json`.
    pub(super) name: &'static str,
    /// A few words, unit included, for a table's row or an axis.
    pub(super) label: &'static str,
    /// One sentence: what it is and how it is measured.
    pub(super) meaning: &'static str,
}

const fn metric(name: &'static str, label: &'static str, meaning: &'static str) -> Metric {
    Metric {
        name,
        label,
        meaning,
    }
}

/// All that are known, in the order in which tables show them. Others are shown behind them, by name.
pub(super) const METRICS: &[Metric] = &[
    metric(
        "cpu_us_per_msg",
        "CPU µs per message",
        "Processor time of all the proxy's processes and threads, read from the kernel at both ends of the measured window, over the messages that arrived in it.",
    ),
    metric(
        "core_busy_us_per_msg",
        "core busy µs per message",
        "Time in which the proxy's processors were not idle, from `/proc/stat`, over the messages that arrived: with the kernel's work on the proxy's behalf. Sampled in ticks of 10 ms, which is coarse for a few seconds. Absent where load and proxy share a core.",
    ),
    metric(
        "core_busy_share",
        "core busy, share",
        "Time in which the proxy's processors were not idle, over all the time that they had. Below about 0.9 in a window scenario the load, not the proxy, was the limit.",
    ),
    metric(
        "cpu_us_per_connect",
        "CPU µs per connect",
        "Processor time of the proxy, from before the first connection, over the sessions that were opened. In `storm` until all are back for the last time: each session publishes one checked message, and three of four are cut, so both are in it.",
    ),
    metric(
        "cpu_us_per_mib",
        "CPU µs per MiB",
        "Processor time of the proxy over the payload that arrived, in MiB.",
    ),
    metric(
        "pss_bytes_per_session",
        "PSS bytes per session",
        "Proportional set size of the proxy's processes with all sessions open and idle, less what it was before the first, over the sessions.",
    ),
    metric(
        "rss_bytes_per_session",
        "RSS bytes per session",
        "The same with the resident set size, which counts shared pages in full in each process.",
    ),
    metric(
        "rss_bytes",
        "RSS bytes",
        "Resident set size of the proxy's processes with all sessions open and idle.",
    ),
    metric(
        "slab_bytes_per_session",
        "host slab bytes per session",
        "Growth of the host's kernel slab (`Slab` of `/proc/meminfo`) over the sessions. It is the whole host's: sockets of the load's two ends are included.",
    ),
    metric(
        "idle_cpu_us_per_s",
        "idle CPU µs per second",
        "Processor time of the proxy in each second in which all sessions are open and nothing is sent.",
    ),
    metric(
        "syscalls_per_msg",
        "system calls per message",
        "System calls of the proxy over the messages that arrived, from an extra round under `strace -c -f`; no other figure is taken from that round.",
    ),
    metric(
        "msgs_per_s",
        "messages per second, arrived",
        "Messages that arrived and were checked, over the measured window. Where the rate is set this says that it was kept, not what the proxy could do.",
    ),
    metric(
        "msgs_per_s_sent",
        "messages per second, sent",
        "Messages that the generator sent, over the measured window.",
    ),
    metric(
        "mib_per_s",
        "MiB per second",
        "Payload that arrived, over the measured window.",
    ),
    metric(
        "conns_per_s",
        "connects per second",
        "Sessions opened, over the time in which they were opened.",
    ),
    metric(
        "connect_us_p50",
        "connect µs, p50",
        "From the start of a connection to its CONNACK, median.",
    ),
    metric(
        "connect_us_p90",
        "connect µs, p90",
        "The same, 90th percentile.",
    ),
    metric(
        "connect_us_p99",
        "connect µs, p99",
        "The same, 99th percentile.",
    ),
    metric(
        "connect_us_p999",
        "connect µs, p99.9",
        "The same, 99.9th percentile.",
    ),
    metric(
        "connect_us_max",
        "connect µs, max",
        "The same, the slowest session.",
    ),
    metric(
        "latency_us_p50",
        "latency µs, p50",
        "From a message's intended send time to its arrival, median: a late generator or a full queue counts as latency.",
    ),
    metric(
        "latency_us_p90",
        "latency µs, p90",
        "The same, 90th percentile.",
    ),
    metric(
        "latency_us_p99",
        "latency µs, p99",
        "The same, 99th percentile.",
    ),
    metric(
        "latency_us_p999",
        "latency µs, p99.9",
        "The same, 99.9th percentile.",
    ),
    metric(
        "latency_us_max",
        "latency µs, max",
        "The same, the slowest message.",
    ),
    metric(
        "flood_mib_per_s",
        "flood, MiB/s",
        "What the neighbour's connections sent meanwhile, and nobody checked.",
    ),
    metric(
        "generator_lag_us_p99",
        "generator lag µs, p99",
        "How far behind its own schedule the generator sent, 99th percentile.",
    ),
    metric(
        "generator_too_late",
        "generator too late",
        "1 for a round in which the generator fell so far behind that latency includes its own delay; do not read latency from it.",
    ),
    metric("lost", "lost", "Messages sent that never arrived."),
    metric(
        "duplicated",
        "duplicated",
        "Messages that arrived more often than they were sent.",
    ),
    metric(
        "reordered",
        "reordered",
        "Messages that overtook an earlier one of the same session.",
    ),
    metric(
        "corrupted",
        "corrupted",
        "Messages whose checksum was wrong.",
    ),
    metric(
        "wrong_topic",
        "wrong topic",
        "Messages under another topic than the rewriting asks for.",
    ),
    metric(
        "misrouted",
        "misrouted",
        "Messages that arrived in another SIM's session.",
    ),
    metric(
        "stalled",
        "stalled",
        "Messages that took longer than a second; they are right, only late.",
    ),
    metric(
        "resumed_share",
        "share of resumed handshakes",
        "TLS handshakes at the upstream that took up an earlier session, out of all.",
    ),
    metric(
        "errors",
        "errors",
        "Connections that failed or ended early.",
    ),
];

const FIRST_FIGURES: &[(&str, &str)] = &[
    ("latency", "latency_us_p99"),
    ("neighbour-", "latency_us_p99"),
    ("connect", "cpu_us_per_connect"),
    ("storm", "cpu_us_per_connect"),
    ("tls-connect", "cpu_us_per_connect"),
    ("idle-", "pss_bytes_per_session"),
    ("tls-idle", "pss_bytes_per_session"),
    ("bulk-", "cpu_us_per_mib"),
];

/// Cost per message, what most scenarios are judged by.
pub(super) const COST: &str = "cpu_us_per_msg";

/// The one metric that a scenario is run for.
#[must_use]
pub(crate) fn purpose(scenario: &str) -> &'static str {
    FIRST_FIGURES
        .iter()
        .find(|(start, _)| scenario.starts_with(start))
        .map_or(COST, |(_, metric)| metric)
}

/// What a scenario is judged by in this run: its purpose, or where nothing has that the first metric of [`METRICS`]
/// that is there, such as messages per second from a host whose processors cannot be looked at.
#[must_use]
pub(super) fn headline(summary: &Summary, scenario: &str) -> String {
    let purpose = purpose(scenario);
    let present = present(summary, scenario);
    if present.is_empty() || present.contains(purpose) {
        return purpose.to_owned();
    }
    in_order(&present).swap_remove(0)
}

/// The metrics that a scenario has figures of, known ones first.
#[must_use]
pub(super) fn of_scenario(summary: &Summary, scenario: &str) -> Vec<String> {
    in_order(&present(summary, scenario))
}

/// The known metrics that this run has figures of.
pub(super) fn of_run(summary: &Summary) -> impl Iterator<Item = &'static Metric> {
    let present: BTreeSet<&str> = summary
        .scenarios
        .iter()
        .flat_map(|scenario| present(summary, scenario))
        .collect();
    METRICS
        .iter()
        .filter(move |metric| present.contains(metric.name))
}

/// A metric's name in words; its own name where it is not known.
#[must_use]
pub(super) fn label(name: &str) -> &str {
    let known = METRICS.iter().find(|metric| metric.name == name);
    known.map_or(name, |metric| metric.label)
}

fn present<'a>(summary: &'a Summary, scenario: &str) -> BTreeSet<&'a str> {
    summary
        .subjects
        .iter()
        .filter_map(|(_, by_scenario)| by_scenario.get(scenario))
        .flat_map(|figures| figures.keys().map(String::as_str))
        .collect()
}

fn in_order(present: &BTreeSet<&str>) -> Vec<String> {
    let known = METRICS.iter().map(|metric| metric.name);
    let others = present
        .iter()
        .copied()
        .filter(|name| METRICS.iter().all(|metric| metric.name != *name));
    known
        .filter(|name| present.contains(name))
        .chain(others)
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_has_its_purpose() {
        let check =
            |scenario: &str, expected: &str| assert_eq!(purpose(scenario), expected, "{scenario}");
        for scenario in [
            "lockstep-1",
            "rate-80k",
            "window-32",
            "scale-9k",
            "qos1",
            "qos2",
            "fanout",
        ] {
            check(scenario, "cpu_us_per_msg");
        }
        check("tls-32", "cpu_us_per_msg");
        check("latency", "latency_us_p99");
        check("neighbour-12k", "latency_us_p99");
        check("connect", "cpu_us_per_connect");
        check("tls-connect", "cpu_us_per_connect");
        check("tls-connect-full", "cpu_us_per_connect");
        check("storm", "cpu_us_per_connect");
        check("idle-9k", "pss_bytes_per_session");
        check("tls-idle", "pss_bytes_per_session");
        check("bulk-1m", "cpu_us_per_mib");
    }

    #[test]
    fn every_purpose_is_a_known_metric() {
        for (_, name) in FIRST_FIGURES {
            assert_ne!(label(name), *name);
        }
        assert_ne!(label(COST), COST);
        let names: BTreeSet<_> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
    }
}
