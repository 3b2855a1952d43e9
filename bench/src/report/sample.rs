//! Sample: a run as it could have been, for the tests.

use std::collections::BTreeMap;

use crate::model::{Host, Row, Run, Settings};

/// What each subject is made of here: its name and how its costs compare.
const SUBJECTS: &[(&str, f64)] = &[
    ("direct", 0.4),
    ("ringbeam-201912", 0.83),
    ("ringbeam-201509", 0.86),
    ("haproxy", 1.0),
    ("haproxy-splice", 1.04),
    ("nginx", 1.21),
    ("mosquitto-bridge", 1.66),
];

/// Scenarios that are about the cost of a message, with haproxy's µs.
const COSTS: &[(&str, f64)] = &[
    ("lockstep-1", 14.8),
    ("lockstep-8", 9.5),
    ("lockstep-128", 11.1),
    ("rate-20k", 22.5),
    ("rate-50k", 14.2),
    ("rate-80k", 12.9),
    ("window-32", 10.4),
    ("qos1", 31.2),
    ("qos2", 55.8),
    ("fanout", 9.1),
    ("scale-100", 17.9),
    ("scale-1k", 20.6),
    ("scale-5k", 25.3),
    ("scale-9k", 28.7),
];

/// Three rounds of everything; one subject fails one round, another all of one scenario.
pub(super) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for round in 1..=3 {
        for (subject, factor) in SUBJECTS {
            for (scenario, metrics) in scenarios(subject, *factor, f64::from(round)) {
                rows.push(Row {
                    subject: (*subject).to_owned(),
                    scenario: scenario.to_owned(),
                    round,
                    failure: failure(subject, scenario, round),
                    metrics,
                });
            }
        }
    }
    rows.sort_by_key(|row| position(&row.scenario));
    rows.push(Row {
        subject: "haproxy".to_owned(),
        scenario: "lockstep-1".to_owned(),
        round: 0,
        failure: None,
        metrics: metrics(&[("syscalls_per_msg", 4.8)]),
    });
    rows
}

fn position(scenario: &str) -> usize {
    let order = COSTS.iter().map(|(name, _)| *name);
    order
        .chain([
            "latency", "connect", "storm", "idle-1k", "idle-5k", "idle-9k", "bulk-1m",
        ])
        .position(|name| name == scenario)
        .unwrap()
}

fn failure(subject: &str, scenario: &str, round: u32) -> Option<String> {
    match (subject, scenario, round) {
        ("nginx", "rate-80k", 2) => {
            Some("3 messages lost | sink saw 239,997 of 240,000".to_owned())
        }
        ("mosquitto-bridge", "qos2", _) => Some("it closed 12 connections".to_owned()),
        _ => None,
    }
}

fn metrics(values: &[(&str, f64)]) -> BTreeMap<String, f64> {
    values
        .iter()
        .map(|(name, value)| ((*name).to_owned(), *value))
        .collect()
}

/// What one subject measures in one round; rounds, scenarios and subjects waver by a few hundredths.
fn scenarios(subject: &str, factor: f64, round: f64) -> Vec<(&'static str, BTreeMap<String, f64>)> {
    let drift = factor * (1.0 + 0.01 * (round - 2.0));
    let mut all = Vec::new();
    if subject != "direct" {
        for (scenario, cost) in COSTS {
            let rate = 1e6 / (cost * drift);
            all.push((
                *scenario,
                metrics(&[
                    ("cpu_us_per_msg", cost * drift),
                    ("msgs_per_s", rate),
                    ("lost", 0.0),
                ]),
            ));
        }
        for (scenario, share) in [("idle-1k", 1.9), ("idle-5k", 1.1), ("idle-9k", 1.0)] {
            let proxy = if subject.starts_with("ringbeam") {
                998.0
            } else {
                4999.0 * factor
            };
            all.push((
                scenario,
                metrics(&[
                    ("pss_bytes_per_session", proxy * share * drift / factor),
                    (
                        "rss_bytes_per_session",
                        proxy * share * 1.08 * drift / factor,
                    ),
                    ("slab_bytes_per_session", 11_870.0 + 300.0 * drift),
                    (
                        "idle_cpu_us_per_s",
                        if subject.starts_with("ringbeam") {
                            0.0
                        } else {
                            170.0
                        },
                    ),
                ]),
            ));
        }
        all.push(("storm", metrics(&[("cpu_us_per_connect", 63.0 * drift)])));
        all.push(("bulk-1m", metrics(&[("cpu_us_per_mib", 612.0 * drift)])));
    }
    let p50 = 61.0 + 90.0 * drift;
    all.push((
        "latency",
        metrics(&[
            ("latency_us_p50", p50),
            ("latency_us_p90", p50 * 1.6),
            ("latency_us_p99", p50 * 2.9),
            ("latency_us_p999", p50 * 7.1),
            ("latency_us_max", p50 * 31.0 / factor.sqrt()),
            (
                "generator_too_late",
                f64::from(u8::from(subject == "nginx" && round > 2.5)),
            ),
            ("fog_density", 0.25),
        ]),
    ));
    all.push((
        "connect",
        metrics(&[
            ("cpu_us_per_connect", 58.0 * drift),
            ("conns_per_s", 9_000.0),
        ]),
    ));
    for (scenario, metrics) in &mut all {
        waver(subject, scenario, round, metrics);
    }
    all
}

/// What the machine does meanwhile.
fn waver(subject: &str, scenario: &str, round: f64, metrics: &mut BTreeMap<String, f64>) {
    let letters = subject.bytes().chain(scenario.bytes());
    let seed = letters.map(f64::from).sum::<f64>() + round * round * 3.0;
    for value in metrics.values_mut().filter(|value| **value > 1.0) {
        *value *= 1.0 + (seed % 11.0) / 110.0;
    }
}

/// What they were measured on.
pub(super) fn run() -> Run {
    let names = |pairs: &[(&str, &str)]| {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    };
    Run {
        title: "quick comparison".to_owned(),
        command: "ringbeam-bench compare --quick --rounds 3".to_owned(),
        started: "2026-11-23T16:02:11Z".to_owned(),
        seconds: 587.4,
        is_interrupted: false,
        commit: "8777ab9".to_owned(),
        host: Host {
            name: "bench-1".to_owned(),
            kernel: "6.18.44".to_owned(),
            distribution: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            processor: "AMD EPYC 7R13".to_owned(),
            processors: 2,
            memory_bytes: 24_900_000_000,
            hypervisor: "KVM".to_owned(),
            governor: String::new(),
            descriptors: 20_000,
            notes: names(&[("spectre_v2", "Mitigation: Retpolines; <IBPB> conditional")]),
        },
        settings: Settings {
            is_quick: true,
            rounds: 3,
            baseline: "haproxy".to_owned(),
            proxy_cpus: "0".to_owned(),
            load_cpus: "1".to_owned(),
            shards: vec![1],
            clock: "monotonic".to_owned(),
            remote_target: None,
        },
        versions: names(&[("haproxy", "HAProxy 2.6.12"), ("nginx", "nginx 1.22.1")]),
        missing: names(&[("haproxy-tls/tls-1", "certificates | could not be made")]),
    }
}
