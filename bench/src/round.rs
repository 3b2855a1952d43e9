//! Round: one subject under one scenario, once. Everything is started for it and ends with it.

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
use crate::watch;

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
        let verdict = cast.load.verdict()?;
        let mut metrics = metrics::of(scenario, &samples, &verdict);
        let calls_per_s = cast.strace.as_mut().and_then(Strace::calls_per_s);
        if let Some(calls_per_s) = calls_per_s {
            metrics::add_calls(&mut metrics, &verdict, calls_per_s);
        }
        Ok((metrics, failure(scenario, &verdict)))
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
    verdict.failure(expected)
}
