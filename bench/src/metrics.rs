//! Metrics: from readings and the generator's verdict to a row's figures. One that does not apply is absent.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::load::{Handshakes, Percentiles, Phase, Verdict};
use crate::memory::Memory;
use crate::scenario::{Scenario, Work};

/// The metric of the extra run under strace.
pub const SYSCALLS: &str = "syscalls_per_msg";

/// A reading.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sample {
    /// When.
    pub at: Option<Instant>,
    /// Processor time of the subject so far; `None` where there is no process.
    pub worked: Option<Duration>,
    /// Busy time of its processors so far; `None` where others are on them too.
    pub busy: Option<Duration>,
    /// Messages sent so far.
    pub sent: u64,
    /// Messages received so far.
    pub received: u64,
}

/// All readings of a round.
#[derive(Debug, Default)]
pub struct Samples {
    /// Before the load is told to begin; the subject is at rest.
    pub start: Sample,
    /// At the entry of each phase.
    pub phases: BTreeMap<Phase, Sample>,
    /// While sessions are held: at the beginning and at the end.
    pub hold: Vec<Sample>,
    /// Memory before the first connection.
    pub before: Memory,
    /// Memory at the end of a hold.
    pub during: Memory,
    /// How many processors the subject has, which [`Sample::busy`] is about.
    pub proxy_cpus: u32,
}

type Metrics = BTreeMap<String, f64>;

/// The figures of a round.
#[must_use]
pub fn of(scenario: &Scenario, samples: &Samples, verdict: &Verdict) -> Metrics {
    let mut metrics = Metrics::new();
    let mut put = |name: &str, value: Option<f64>| {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            metrics.insert(name.to_owned(), value);
        }
    };
    match scenario.work {
        Work::Rate { .. } | Work::Window(_) | Work::Lockstep | Work::Fanout(_) => {
            messages(scenario, samples, verdict, &mut put);
        }
        Work::Hold(_) if scenario.ramp == 0 => set_up(scenario, samples, verdict, &mut put),
        Work::Hold(_) => idle(samples, verdict, &mut put),
        Work::Storm(_) => set_up(scenario, samples, verdict, &mut put),
    }
    if scenario.has_messages() {
        let counts = [
            ("lost", verdict.lost),
            ("duplicated", verdict.duplicated),
            ("reordered", verdict.reordered),
            ("corrupted", verdict.corrupted),
            ("wrong_topic", verdict.wrong_topic),
            ("misrouted", verdict.misrouted),
            ("stalled", verdict.stalled),
        ];
        for (name, count) in counts {
            put(name, Some(count as f64));
        }
    }
    put("errors", Some(verdict.errors.values().sum::<u64>() as f64));
    metrics
}

/// Adds system calls per message, from calls per second under strace.
pub fn add_calls(metrics: &mut Metrics, verdict: &Verdict, calls_per_s: f64) {
    if verdict.measured_received > 0 {
        let per_message = calls_per_s * verdict.measured_seconds / verdict.measured_received as f64;
        metrics.insert(SYSCALLS.to_owned(), per_message);
    }
}

type Put<'a> = dyn FnMut(&str, Option<f64>) + 'a;

fn messages(scenario: &Scenario, samples: &Samples, verdict: &Verdict, put: &mut Put<'_>) {
    let per_second = |count: u64| {
        (verdict.measured_seconds > 0.0).then(|| count as f64 / verdict.measured_seconds)
    };
    let rate = per_second(verdict.measured_received);
    put("msgs_per_s", rate);
    put("msgs_per_s_sent", per_second(verdict.measured_sent));
    let window = Window::of(samples, Phase::Measure, Phase::Drain);
    let cost = |time: fn(&Window) -> Option<f64>| {
        let window = window.as_ref()?;
        Some(time(window)? / window.received)
    };
    let worked = cost(|window| window.worked_us);
    put("cpu_us_per_msg", worked);
    put("core_busy_us_per_msg", cost(|window| window.busy_us));
    let busy_share = window.as_ref().and_then(|window| {
        let all_us = window.seconds * 1e6 * f64::from(samples.proxy_cpus);
        Some(window.busy_us? / all_us)
    });
    put("core_busy_share", busy_share);
    let mib = f64::from(scenario.payload) / f64::from(1 << 20);
    if mib >= 1.0 {
        put("cpu_us_per_mib", worked.map(|cost| cost / mib));
        put("mib_per_s", rate.map(|rate| rate * mib));
    }
    let flood = per_second(verdict.flood_bytes).filter(|_| scenario.flood.is_some());
    put(
        "flood_mib_per_s",
        flood.map(|rate| rate / f64::from(1 << 20)),
    );
    percentiles("latency_us", verdict.latency_us, put);
    put("generator_lag_us_p99", verdict.generator_lag_us_p99);
    put(
        "generator_too_late",
        Some(f64::from(u8::from(verdict.generator_too_late))),
    );
}

fn set_up(scenario: &Scenario, samples: &Samples, verdict: &Verdict, put: &mut Put<'_>) {
    let Handshakes { full, resumed } = verdict.handshakes;
    let handshakes = full + resumed;
    let share = (handshakes > 0).then(|| resumed as f64 / handshakes as f64);
    put("resumed_share", share);
    put("conns_per_s", verdict.connect_rate);
    percentiles("connect_us", verdict.connect_us, put);
    let has_storms = matches!(scenario.work, Work::Storm(_));
    let end = if has_storms {
        Phase::Drain
    } else {
        Phase::Hold
    };
    // From before the load is told to begin: what is read when it says that it has begun misses the first sessions.
    let window = samples
        .phases
        .get(&end)
        .and_then(|end| Window::between(&samples.start, end));
    put(
        "cpu_us_per_connect",
        window.and_then(|window| Some(window.worked_us? / verdict.connections as f64)),
    );
}

fn idle(samples: &Samples, verdict: &Verdict, put: &mut Put<'_>) {
    let [first, .., last] = samples.hold.as_slice() else {
        return;
    };
    let Some(window) = Window::between(first, last) else {
        return;
    };
    let (before, during) = (samples.before, samples.during);
    let per_session = |from: u64, to: u64| (to as f64 - from as f64) / verdict.connections as f64;
    // Without a process there is nothing to read, and the slab alone would be the load's.
    if let Some(worked_us) = window.worked_us {
        put(
            "rss_bytes_per_session",
            Some(per_session(before.rss, during.rss)),
        );
        put(
            "pss_bytes_per_session",
            Some(per_session(before.pss, during.pss)),
        );
        put(
            "slab_bytes_per_session",
            Some(per_session(before.slab, during.slab)),
        );
        put("rss_bytes", Some(during.rss as f64));
        put("idle_cpu_us_per_s", Some(worked_us / window.seconds));
    }
}

fn percentiles(name: &str, values: Option<Percentiles>, put: &mut Put<'_>) {
    let Percentiles {
        p50,
        p90,
        p99,
        p999,
        max,
    } = values.unwrap_or_default();
    for (suffix, value) in [
        ("p50", p50),
        ("p90", p90),
        ("p99", p99),
        ("p999", p999),
        ("max", max),
    ] {
        put(&format!("{name}_{suffix}"), value);
    }
}

/// What lies between two readings.
struct Window {
    seconds: f64,
    worked_us: Option<f64>,
    busy_us: Option<f64>,
    received: f64,
}

impl Window {
    fn of(samples: &Samples, from: Phase, to: Phase) -> Option<Self> {
        Self::between(samples.phases.get(&from)?, samples.phases.get(&to)?)
    }

    fn between(from: &Sample, to: &Sample) -> Option<Self> {
        let micros = |from: Option<Duration>, to: Option<Duration>| {
            Some(to?.saturating_sub(from?).as_secs_f64() * 1e6)
        };
        Some(Self {
            seconds: to.at?.saturating_duration_since(from.at?).as_secs_f64(),
            worked_us: micros(from.worked, to.worked),
            busy_us: micros(from.busy, to.busy),
            received: to.received.saturating_sub(from.received) as f64,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn sample(seconds: u64, worked_us: u64, received: u64) -> Sample {
        Sample {
            at: Some(clock::now() + Duration::from_secs(seconds)),
            worked: Some(Duration::from_micros(worked_us)),
            busy: None,
            sent: received,
            received,
        }
    }

    fn scenario(name: &str) -> &'static Scenario {
        Scenario::named(name).unwrap()
    }

    #[test]
    fn cost_is_that_of_the_window_alone() {
        let phases = BTreeMap::from([
            (Phase::Connecting, sample(0, 700, 0)),
            (Phase::Measure, sample(1, 1000, 100)),
            (Phase::Drain, sample(3, 5000, 500)),
        ]);
        let samples = Samples {
            phases,
            ..Samples::default()
        };
        let verdict = Verdict {
            measured_received: 400,
            measured_seconds: 2.0,
            lost: 3,
            ..Verdict::default()
        };
        let metrics = of(scenario("rate-20k"), &samples, &verdict);
        assert_eq!(metrics["cpu_us_per_msg"], 10.0);
        assert_eq!(metrics["msgs_per_s"], 200.0);
        assert_eq!(metrics["lost"], 3.0);
        for absent in [
            "core_busy_us_per_msg",
            "latency_us_p50",
            "cpu_us_per_mib",
            "conns_per_s",
        ] {
            assert!(!metrics.contains_key(absent), "{absent}");
        }
        let metrics = of(scenario("bulk-1m"), &samples, &verdict);
        assert_eq!(
            (metrics["cpu_us_per_mib"], metrics["mib_per_s"]),
            (10.0, 200.0)
        );
    }

    #[test]
    fn a_share_of_two_processors_is_at_most_one() {
        let busy = |seconds, busy_ms| Sample {
            busy: Some(Duration::from_millis(busy_ms)),
            ..sample(seconds, 0, 100 * seconds)
        };
        let samples = Samples {
            phases: BTreeMap::from([
                (Phase::Measure, busy(0, 500)),
                (Phase::Drain, busy(2, 3500)),
            ]),
            proxy_cpus: 2,
            ..Samples::default()
        };
        let metrics = of(scenario("window-32"), &samples, &Verdict::default());
        assert!((metrics["core_busy_share"] - 0.75).abs() < 0.01);
        assert_eq!(metrics["core_busy_us_per_msg"], 15_000.0);
    }

    #[test]
    fn a_storm_counts_until_all_are_back_for_the_last_time() {
        let phases = BTreeMap::from([
            (Phase::Connecting, sample(1, 300, 0)),
            (Phase::Hold, sample(2, 1000, 0)),
            (Phase::Drain, sample(9, 8000, 0)),
        ]);
        let samples = Samples {
            start: sample(0, 0, 0),
            phases,
            ..Samples::default()
        };
        let verdict = Verdict {
            connections: 10,
            ..Verdict::default()
        };
        assert_eq!(
            of(scenario("storm"), &samples, &verdict)["cpu_us_per_connect"],
            800.0
        );
        assert_eq!(
            of(scenario("connect"), &samples, &verdict)["cpu_us_per_connect"],
            100.0
        );
    }

    #[test]
    fn memory_is_what_sessions_added() {
        let samples = Samples {
            hold: vec![sample(0, 100, 0), sample(2, 140, 0)],
            before: Memory {
                rss: 1000,
                pss: 900,
                slab: 5000,
            },
            during: Memory {
                rss: 3000,
                pss: 1900,
                slab: 4000,
            },
            ..Samples::default()
        };
        let verdict = Verdict {
            connections: 10,
            ..Verdict::default()
        };
        let metrics = of(scenario("idle-1k"), &samples, &verdict);
        assert_eq!(metrics["rss_bytes_per_session"], 200.0);
        assert_eq!(metrics["pss_bytes_per_session"], 100.0);
        assert_eq!(metrics["slab_bytes_per_session"], -100.0);
        assert!((metrics["idle_cpu_us_per_s"] - 20.0).abs() < 0.1);
        assert!(!metrics.contains_key("lost"));
    }
}
