//! Round: one subject under one scenario, once. Everything is started for it and ends with it.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::cast::Cast;
use crate::generator::WARMUP;
use crate::interrupt::Interrupt;
use crate::load::Verdict;
use crate::metrics;
use crate::model::Row;
use crate::plan::{Entrant, Plan};
use crate::scenario::{Scenario, Work};
use crate::strace::Strace;
use crate::subject::Subject;
use crate::{report, watch};

/// Beyond what a run should take, how long before it counts as stuck.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What all rounds share.
#[derive(Debug)]
pub struct Stage<'a> {
    /// What is to be done.
    pub plan: &'a Plan,
    /// Whether to stop.
    pub interrupt: &'a Interrupt,
    /// Certificate and key of upstreams that speak TLS.
    pub tls: (PathBuf, PathBuf),
    /// The clock of latencies, as the first verdict says.
    pub clock: OnceCell<String>,
}

impl Stage<'_> {
    /// Runs it. Whatever goes wrong is in the row.
    #[must_use]
    pub fn run(&self, entrant: &Entrant, scenario: &Scenario, round: u32) -> Row {
        let result = self.attempt(entrant, scenario, round);
        let (metrics, failure) = match result {
            Ok((metrics, failure)) => (metrics, failure),
            Err(error) => (BTreeMap::new(), Some(format!("{error:#}"))),
        };
        let (subject, scenario) = (entrant.label.clone(), scenario.name.to_owned());
        Row {
            subject,
            scenario,
            round,
            failure,
            metrics,
        }
    }

    /// Runs it once more with strace on the subject, for one metric. Round 0: it is no part of the others' figures.
    #[must_use]
    pub fn count_calls(&self, entrant: &Entrant, scenario: &Scenario) -> Row {
        let mut row = self.run(entrant, scenario, 0);
        row.metrics.retain(|name, _| name == metrics::SYSCALLS);
        row
    }

    fn attempt(
        &self,
        entrant: &Entrant,
        scenario: &Scenario,
        round: u32,
    ) -> anyhow::Result<(BTreeMap<String, f64>, Option<String>)> {
        let mut cast = Cast::start(self, entrant, scenario, round)?;
        let samples = watch::watch(self, &mut cast, scenario, round == 0)?;
        cast.check()?;
        let verdict = cast.load.verdict(self.interrupt)?;
        self.clock.get_or_init(|| verdict.clock.clone());
        let mut metrics = metrics::of(scenario, &samples, &verdict);
        let calls_per_s = cast.strace.as_mut().and_then(Strace::calls_per_s);
        if let Some(calls_per_s) = calls_per_s {
            metrics::add_calls(&mut metrics, &verdict, calls_per_s);
        }
        let failure = failure(scenario, &verdict)
            .or_else(|| not_measured(entrant.subject, scenario, round, &metrics));
        Ok((metrics, failure))
    }
}

/// About how long a round takes.
#[must_use]
pub fn estimate(plan: &Plan, scenario: &Scenario) -> Duration {
    // Where nothing bounds it, thousands of connections a second are normal.
    let ramp = if scenario.ramp == 0 {
        5000
    } else {
        scenario.ramp
    };
    let connecting = Duration::from_secs(1) * scenario.connections / ramp;
    let working = match scenario.work {
        Work::Hold(ms) => Duration::from_millis(ms),
        Work::Storm(storms) => (connecting + Duration::from_secs(1)) * storms,
        Work::Rate { .. } | Work::Window(_) | Work::Lockstep | Work::Fanout(_) => {
            WARMUP + plan.measured(scenario)
        }
    };
    Duration::from_millis(600) + connecting + working
}

/// What is wrong with a run, if anything. Every session of a storm is opened again after each cut.
fn failure(scenario: &Scenario, verdict: &Verdict) -> Option<String> {
    let expected = match scenario.work {
        Work::Storm(storms) => scenario.connections * (storms + 1),
        Work::Fanout(_) => scenario.connections + 1,
        Work::Rate { .. } | Work::Window(_) | Work::Lockstep | Work::Hold(_) => {
            scenario.connections
        }
    };
    verdict.failure(expected, scenario.has_messages())
}

/// What a round is run for, where it has no figure of it. Processor time and memory are those of a process here.
fn not_measured(
    subject: Subject,
    scenario: &Scenario,
    round: u32,
    metrics: &BTreeMap<String, f64>,
) -> Option<String> {
    let purpose = if round == 0 {
        metrics::SYSCALLS
    } else {
        report::purpose(scenario.name)
    };
    let is_local = !matches!(subject, Subject::Direct | Subject::Remote);
    (is_local && !metrics.contains_key(purpose)).then(|| format!("not measured: {purpose}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_without_its_purpose_is_no_success() {
        let check = |subject, name, round, metric: &str, expected: Option<&str>| {
            let scenario = Scenario::named(name).unwrap();
            let metrics = BTreeMap::from([(metric.to_owned(), 1.0)]);
            let found = not_measured(subject, scenario, round, &metrics);
            assert_eq!(found.as_deref(), expected, "{subject:?} {name} {metric}");
        };
        let (cost, nginx) = ("cpu_us_per_msg", Subject::Nginx);
        check(nginx, "qos1", 1, cost, None);
        check(
            nginx,
            "qos1",
            1,
            "lost",
            Some("not measured: cpu_us_per_msg"),
        );
        check(
            nginx,
            "latency",
            1,
            cost,
            Some("not measured: latency_us_p99"),
        );
        check(
            nginx,
            "qos1",
            0,
            cost,
            Some("not measured: syscalls_per_msg"),
        );
        check(nginx, "qos1", 0, metrics::SYSCALLS, None);
        check(Subject::Direct, "connect", 1, "conns_per_s", None);
        check(Subject::Remote, "qos1", 1, "msgs_per_s", None);
    }
}
