//! Display: how far a run has come: a bar on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::model::Row;
use crate::plan::{Entrant, Plan};
use crate::round::estimate;
use crate::scenario::Scenario;

/// Where a run stands.
#[derive(Debug)]
pub struct Display {
    bar: Option<ProgressBar>,
    start: Instant,
    total: Duration,
    done: Duration,
    estimates: Vec<(&'static str, Duration)>,
    rounds: u32,
}

impl Display {
    /// Nothing is done yet.
    #[must_use]
    pub fn new(plan: &Plan, start: Instant) -> Self {
        let estimates: Vec<_> = plan
            .scenarios
            .iter()
            .map(|(scenario, _)| (scenario.name, estimate(plan, scenario)))
            .collect();
        let count = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let total = plan
            .scenarios
            .iter()
            .map(|(scenario, entrants)| {
                estimate(plan, scenario) * plan.rounds * count(entrants.len())
            })
            .sum();
        let bar = io::stderr().is_terminal().then(|| bar(total));
        Self {
            bar,
            start,
            total,
            done: Duration::ZERO,
            estimates,
            rounds: plan.rounds,
        }
    }

    /// A subject's round begins.
    pub fn begin(&self, scenario: &Scenario, entrant: &Entrant, round: u32) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!(
                "{}, round {round} of {}, {}",
                scenario.name, self.rounds, entrant.label
            ));
        }
    }

    /// A subject's round is over.
    pub fn end(&mut self, scenario: &Scenario, row: &Row) {
        let known = self
            .estimates
            .iter()
            .find(|(name, _)| *name == scenario.name);
        self.done += known.map_or(Duration::ZERO, |(_, estimate)| *estimate);
        if let Some(bar) = &self.bar {
            bar.set_position(milliseconds(self.done));
            return;
        }
        let state = match &row.failure {
            Some(failure) => format!("FAILED: {failure}"),
            None => "ok".to_owned(),
        };
        let Row {
            subject,
            scenario,
            round,
            ..
        } = row;
        let left = self.left().as_secs();
        // With standard error closed there is nobody to tell.
        drop(writeln!(
            io::stderr(),
            "{scenario}, round {round} of {}, {subject}: {state}; about {left} s left",
            self.rounds
        ));
    }

    /// Prints something beside the bar.
    pub fn print(&self, text: &str) {
        // With standard output closed there is nobody to tell, and the report is still to be written.
        let print = || drop(writeln!(io::stdout().lock(), "{text}"));
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// What is left at the pace so far.
    fn left(&self) -> Duration {
        if self.done.is_zero() {
            return self.total;
        }
        let pace = self.start.elapsed().as_secs_f64() / self.done.as_secs_f64();
        self.total.saturating_sub(self.done).mul_f64(pace)
    }
}

fn bar(total: Duration) -> ProgressBar {
    let bar = ProgressBar::new(milliseconds(total));
    if let Ok(style) = ProgressStyle::with_template("{bar:24} {msg}, {eta} left") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_secs(1));
    bar
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
