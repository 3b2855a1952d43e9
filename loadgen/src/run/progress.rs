//! Progress: what a run shows of itself while it lasts: a bar, a line a second, or lines for programs.

use std::io::{IsTerminal as _, Write as _};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::phase::{Counts, Course, Phase};
use crate::histogram::Percentiles;
use crate::options::Progress;
use crate::plan::{Kind, Plan};

/// Where progress goes.
pub(super) struct Display {
    how: Progress,
    bar: ProgressBar,
    lengths: Lengths,
    last: Counts,
}

/// What the bar fills up to.
struct Lengths {
    connections: u64,
    warmup: Duration,
    duration: Duration,
}

impl Display {
    pub(super) fn new(plan: &Plan) -> Self {
        let on_terminal = if std::io::stderr().is_terminal() {
            Progress::Bar
        } else {
            Progress::Plain
        };
        let how = plan.output.progress.unwrap_or(on_terminal);
        let target = if how == Progress::Bar {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(None, target);
        let style = ProgressStyle::with_template("{prefix:11} {bar:28} {msg}");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        let storms = match plan.kind {
            Kind::Storm(storms) => storms.max(1),
            Kind::Publish | Kind::Connect | Kind::Fanout | Kind::P2p => 1,
        };
        Self {
            how,
            bar,
            lengths: Lengths {
                connections: plan.devices().into(),
                warmup: plan.warmup,
                duration: plan.duration.saturating_mul(storms),
            },
            last: Counts::default(),
        }
    }

    /// Shows the state of things: at the beginning of a phase, and once a second with `tick`, the latencies of late
    /// where there are any.
    pub(super) fn show(
        &mut self,
        course: &Course,
        counts: Counts,
        tick: Option<Option<Percentiles>>,
    ) {
        match self.how {
            Progress::Json => print(&json(course, counts, tick.is_some())),
            Progress::Bar => self.move_bar(course, counts, tick),
            Progress::Plain => {
                if let Some(latency) = tick {
                    let line = self.line(counts, latency);
                    say(&format!("{:<11} {line}", course.phase.name()));
                }
            }
            Progress::None => {}
        }
        if tick.is_some() {
            self.last = counts;
        }
    }

    /// Clears the bar away.
    pub(super) fn end(&self) {
        self.bar.finish_and_clear();
    }

    fn move_bar(&self, course: &Course, counts: Counts, tick: Option<Option<Percentiles>>) {
        let spent = Duration::from_nanos(counts.at_ns.saturating_sub(course.since.at_ns));
        let (position, length) = match course.phase {
            Phase::Connecting | Phase::Storm => (counts.connections, self.lengths.connections),
            Phase::Warmup => (millis(spent), millis(self.lengths.warmup)),
            Phase::Measure | Phase::Hold => (millis(spent), millis(self.lengths.duration)),
            Phase::Listening | Phase::Waiting => (0, 1),
            Phase::Drain | Phase::Closing | Phase::Done => (1, 1),
        };
        self.bar.set_prefix(course.phase.name());
        self.bar.set_length(length.max(1));
        self.bar.set_position(position.min(length));
        if let Some(latency) = tick {
            self.bar.set_message(self.line(counts, latency));
        }
    }

    fn line(&self, counts: Counts, latency: Option<Percentiles>) -> String {
        let per_second = |now: u64, before: u64| {
            let nanos = counts.at_ns.saturating_sub(self.last.at_ns).max(1);
            now.saturating_sub(before).saturating_mul(1_000_000_000) / nanos
        };
        let mut line = format!("{} connected", counts.connections);
        if counts.sent > 0 {
            let sent = per_second(counts.sent, self.last.sent);
            let received = per_second(counts.received, self.last.received);
            line.push_str(&format!(", {sent} sent/s, {received} received/s"));
        }
        if let Some(percentiles) = latency {
            let (p50, p99) = (percentiles.p50, percentiles.p99);
            line.push_str(&format!(", p50 {p50:.0} us, p99 {p99:.0} us"));
        }
        line
    }
}

fn json(course: &Course, counts: Counts, is_tick: bool) -> String {
    let mut line = serde_json::json!({
        "phase": course.phase.name(),
        "elapsed_us": course.elapsed().as_micros(),
        "connections": counts.connections,
        "sent": counts.sent,
        "received": counts.received,
        "sink_sessions": counts.sink_sessions,
    });
    if is_tick {
        line["tick"] = true.into();
    }
    line.to_string()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A line for programs.
fn print(line: &str) {
    let mut out = std::io::stdout().lock();
    // Whoever has stopped reading does not need it.
    writeln!(out, "{line}").and_then(|()| out.flush()).ok();
}

/// A line for people.
fn say(line: &str) {
    writeln!(std::io::stderr().lock(), "{line}").ok();
}
