//! Run: carries a plan out: starts the threads, leads them through the phases, watches, and sums up.

mod phase;
mod progress;
mod report;
mod stand_by;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub use report::{Report, verdict_text};

use self::phase::{Counts, Course, Phase};
use self::progress::Display;
use self::threads::Threads;
use crate::fleet::Span;
use crate::plan::{Kind, Pace, Plan};
use crate::sys::monotonic_ns;
use crate::worker::Order;

/// How often the state of a run is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// When nothing has arrived for so long after the last message was sent, what is missing is lost.
const QUIET: Duration = Duration::from_secs(3);

/// Longest wait for messages that still trickle in.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// How long is watched for what should not come, after everything has.
const SETTLE: Duration = Duration::from_millis(150);

/// Time between the order to send and the first message, so that every thread is ready.
const SEND_LEAD_NS: u64 = 20_000_000;

/// Carries out a plan. `stop` ends it early; the report is about what was done until then.
///
/// # Errors
/// When it cannot begin: a port in use, too few descriptors, no io_uring.
pub fn run(plan: Plan, stop: &Arc<AtomicBool>) -> anyhow::Result<Report> {
    let display = Display::new(&plan);
    let threads = Threads::start(plan)?;
    let mut run = Run {
        course: Course::new(),
        threads,
        display,
        stop,
        next_tick_ns: monotonic_ns() + TICK_NS,
    };
    run.enter(Phase::Listening);
    if run.threads.plan.output.waits {
        run.enter(Phase::Waiting);
        stand_by::line_on_standard_input(|| run.looks_on());
    }
    run.connect();
    run.flood()?;
    let marks = match run.threads.plan.kind {
        Kind::Connect => run.hold(),
        Kind::Storm(storms) => run.storms(storms),
        Kind::Publish | Kind::Fanout | Kind::P2p => run.send(),
    };
    run.end_flood();
    run.enter(Phase::Closing);
    let elapsed = run.course.elapsed();
    let finished = run.threads.close(elapsed)?;
    run.enter(Phase::Done);
    run.display.end();
    Report::of(&finished, &run.course, marks, run.is_stopped())
}

/// The counts at the beginning and at the end of what is measured.
type Marks = (Counts, Counts);

const TICK_NS: u64 = 1_000_000_000;

struct Run<'a> {
    threads: Threads,
    course: Course,
    display: Display,
    stop: &'a AtomicBool,
    next_tick_ns: u64,
}

impl Run<'_> {
    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn enter(&mut self, phase: Phase) -> Counts {
        let counts = self.threads.fresh_counts();
        self.course.enter(phase, counts);
        self.display.show(&self.course, counts, None);
        counts
    }

    /// Looks at the state of things, and once a second shows it. Returns whether the run goes on.
    fn looks_on(&mut self) -> bool {
        stand_by::pause(LOOK_EVERY);
        let now_ns = monotonic_ns();
        if now_ns >= self.next_tick_ns {
            self.next_tick_ns += TICK_NS;
            let counts = self.threads.counts();
            let latency = self.threads.take_recent(self.course.elapsed());
            self.display.show(&self.course, counts, Some(latency));
        }
        !self.is_stopped() && !self.threads.have_broken()
    }

    fn wait_until(&mut self, moment_ns: u64) {
        while monotonic_ns() < moment_ns && self.looks_on() {}
    }

    fn connect(&mut self) {
        self.enter(Phase::Connecting);
        let expected = u64::from(self.threads.plan.devices() + self.threads.plan.half_open);
        self.open(expected);
    }

    /// Opens all connections and waits until each is open or has failed.
    fn open(&mut self, expected: u64) {
        let before = self.threads.attempted();
        let start_ns = monotonic_ns();
        self.threads.order(Order::Open(start_ns));
        while self.threads.attempted() - before < expected && self.looks_on() {}
        self.course.opened(monotonic_ns() - start_ns);
    }

    /// Begins to flood, where that is to be: from the SIM behind the last device's.
    fn flood(&mut self) -> anyhow::Result<()> {
        let plan = &self.threads.plan;
        let Some(flood) = plan.flood else {
            return Ok(());
        };
        let sim = plan.sims.of(plan.devices() + plan.half_open + 1);
        let target = plan.target;
        self.threads
            .flood
            .begin(flood, target, sim.map(|sim| sim.address))
    }

    /// Ends the flood. A connection of it that ended before is an error: then there was less of it.
    fn end_flood(&mut self) {
        let ended = self.threads.flood.end();
        for _ in 0..ended {
            self.threads.tally.error("a flooding connection ended");
        }
    }

    fn hold(&mut self) -> Marks {
        let start = self.enter(Phase::Hold);
        let until_ns = monotonic_ns() + nanoseconds(self.threads.plan.duration);
        self.wait_until(until_ns);
        (start, self.threads.counts())
    }

    fn storms(&mut self, storms: u32) -> Marks {
        let start = self.enter(Phase::Hold);
        let hold_ns = nanoseconds(self.threads.plan.duration);
        let expected = self.threads.plan.devices().into();
        for _ in 0..storms {
            self.wait_until(monotonic_ns() + hold_ns);
            self.drain();
            if self.is_stopped() {
                break;
            }
            self.enter(Phase::Storm);
            self.threads.order(Order::Cut);
            self.open(expected);
        }
        self.enter(Phase::Drain);
        self.drain();
        (start, self.threads.counts())
    }

    fn send(&mut self) -> Marks {
        let plan = &self.threads.plan;
        let start_ns = monotonic_ns() + SEND_LEAD_NS;
        let measure_ns = start_ns + nanoseconds(plan.warmup);
        let end_ns = measure_ns + nanoseconds(plan.duration);
        let span = Span {
            start_ns,
            measure_ns,
            end_ns,
        };
        self.threads.order(Order::Send(span));
        self.enter(Phase::Warmup);
        self.wait_until(measure_ns);
        let start = self.enter(Phase::Measure);
        self.wait_until(end_ns);
        let end = self.enter(Phase::Drain);
        self.drain();
        (start, end)
    }

    /// Waits until every message has been sent and has arrived, or nothing moves any more.
    fn drain(&mut self) {
        if !self.is_silent() {
            if !self.is_stopped() {
                self.wait_while_it_moves(Threads::has_finished_sending);
            }
            self.threads.order(Order::Stop);
            self.wait_while_it_moves(Threads::has_stopped);
        }
        self.wait_while_it_moves(Threads::has_received_all);
        // A second copy of the last message is damage too.
        let until_ns = monotonic_ns() + nanoseconds(SETTLE);
        while monotonic_ns() < until_ns && self.looks_on() {}
    }

    /// Waits until something is so. Gives up when nothing has been sent or has arrived for a while.
    fn wait_while_it_moves(&mut self, is_so: fn(&mut Threads) -> bool) {
        let began_ns = monotonic_ns();
        let mut last = self.threads.fresh_counts();
        let mut changed_ns = began_ns;
        while !is_so(&mut self.threads) && !self.threads.have_broken() {
            let now_ns = monotonic_ns();
            let counts = self.threads.counts();
            let has_moved = (counts.sent, counts.received) != (last.sent, last.received);
            // A sink that does not answer says nothing, and not that nothing arrives.
            if has_moved || self.threads.is_unsure() {
                changed_ns = now_ns;
                last = counts;
            }
            let is_quiet = now_ns - changed_ns > nanoseconds(QUIET);
            if is_quiet || now_ns - began_ns > nanoseconds(DRAIN_MAX) {
                return;
            }
            // Also when it is to end: a report that counts what is under way as lost is no use.
            self.looks_on();
        }
    }

    fn is_silent(&self) -> bool {
        matches!(self.threads.plan.pace, Pace::Once | Pace::Silent)
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
