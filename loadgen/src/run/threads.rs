//! Threads: the workers of a run, what they are told and what they have counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail};
use atomic_waker::AtomicWaker;
use crossbeam_channel::unbounded;
use futures_channel::mpsc::{UnboundedSender, unbounded as orders};

use super::phase::Counts;
use crate::fleet::Parts;
use crate::flood::Flood;
use crate::histogram::{Durations, Interval, Percentiles};
use crate::message::Clock;
use crate::plan::{Plan, Receivers};
use crate::sink::{Answer, Books, Detail, Feedback, Report as SinkReport, fetch, load_tls};
use crate::sys::{boot_id, listen, monotonic_ns, raise_descriptor_limit, wall_ns};
use crate::tally::Tally;
use crate::verify::{Book, Handshakes, Rules, Unattributed, Verdict};
use crate::worker::{self, Order, SinkParts};

/// How long the verdict of a sink elsewhere is waited for.
const VERDICT_WITHIN: Duration = Duration::from_secs(10);

/// How long an answer is waited for that only shows progress.
const GLANCE_WITHIN: Duration = Duration::from_millis(500);

/// Answers of a sink elsewhere that are missed before it is asked no more for progress.
const GLANCES_MISSED_MAX: u32 = 3;

/// The workers.
pub(super) struct Threads {
    pub(super) plan: Arc<Plan>,
    run: u32,
    clock: Clock,
    pub(super) tally: Arc<Tally>,
    books: Option<Arc<Books>>,
    book: Option<Arc<Book>>,
    orders: Vec<UnboundedSender<Order>>,
    handles: Vec<JoinHandle<anyhow::Result<()>>>,
    intervals: Vec<Interval>,
    lag: Durations,
    connect: Durations,
    acknowledged: Durations,
    began: SystemTime,
    since: Duration,
    glance: Glance,
    /// What the sink elsewhere had seen before this run began.
    before: Before,
    /// What floods beside.
    pub(super) flood: Flood,
}

/// What a sink counts for all runs together, as it was before one of them.
#[derive(Default)]
struct Before {
    unattributed: Unattributed,
    handshakes: Handshakes,
}

/// What was last heard of a sink elsewhere.
#[derive(Default)]
struct Glance {
    received: u64,
    latency: Option<Percentiles>,
    next_ns: u64,
    missed: u32,
}

/// Everything that is known once the workers have ended.
pub(super) struct Finished {
    pub(super) plan: Arc<Plan>,
    pub(super) run: u32,
    pub(super) clock: Clock,
    pub(super) tally: Arc<Tally>,
    /// What the receivers say; `None` where there are none, an error where it could not be had.
    pub(super) verdict: Option<anyhow::Result<(Verdict, Durations)>>,
    pub(super) intervals: Vec<Interval>,
    pub(super) lag: Durations,
    pub(super) connect: Durations,
    pub(super) acknowledged: Durations,
    pub(super) began: SystemTime,
}

impl Threads {
    pub(super) fn start(plan: Plan) -> anyhow::Result<Self> {
        let limit = raise_descriptor_limit()?;
        let needed = plan.descriptors();
        if needed > limit {
            bail!(
                "{needed} descriptors are needed and the hard limit is {limit}: \
                 fewer connections, or `ulimit -Hn {needed}` as root"
            );
        }
        let plan = Arc::new(plan);
        let run = run_number();
        let (clock, offset, before) = clock(&plan)?;
        let count = usize::try_from(plan.threads)?;
        let channels: Vec<_> = (0..count)
            .map(|_| (unbounded(), Arc::new(AtomicWaker::new())))
            .collect();
        let owners = channels
            .iter()
            .map(|((sender, _), waker)| (sender.clone(), Arc::clone(waker)))
            .collect();
        let flood = Flood::default();
        let (books, sinks) = own_sinks(&plan, Feedback { run, owners }, &flood)?;
        let devices_check = plan.receivers == Receivers::Devices;
        let rules = Rules {
            stalled_after_ns: super::nanoseconds(plan.message.stall_limit),
            has_order: !plan.is_shared(),
        };
        let book = devices_check.then(|| Arc::new(Book::new(run, count, rules)));
        let mut threads = Self {
            run,
            clock,
            tally: Arc::default(),
            books,
            book,
            orders: Vec::new(),
            handles: Vec::new(),
            intervals: Vec::new(),
            lag: Durations::default(),
            connect: Durations::default(),
            acknowledged: Durations::default(),
            began: began(),
            since: Duration::ZERO,
            glance: Glance::default(),
            before,
            flood,
            plan,
        };
        for ((index, ((_, arrivals), waker)), sink) in (0..).zip(channels).zip(sinks) {
            let parts = Parts {
                plan: Arc::clone(&threads.plan),
                run,
                clock: (clock, offset),
                tally: Arc::clone(&threads.tally),
                book: threads.book.clone(),
                arrivals: (arrivals, waker),
            };
            let (sender, receiver) = orders();
            threads.orders.push(sender);
            let handle = std::thread::Builder::new()
                .name(format!("load-{index}"))
                .spawn(move || worker::run(parts, index, sink, receiver))?;
            threads.handles.push(handle);
        }
        Ok(threads)
    }

    pub(super) fn order(&self, order: Order) {
        for orders in &self.orders {
            // A thread that is gone is noticed when it is joined.
            orders.unbounded_send(order).ok();
        }
    }

    /// Connections that were opened or have failed.
    pub(super) fn attempted(&self) -> u64 {
        let tally = &self.tally;
        tally.opened.total() + tally.failed.total() + tally.half_open.total()
    }

    /// Whether a thread has ended though nobody told it to; [`Self::close`] says why.
    pub(super) fn have_broken(&self) -> bool {
        self.handles.iter().any(JoinHandle::is_finished)
    }

    /// Whether every device has sent what it had to.
    pub(super) fn has_finished_sending(&mut self) -> bool {
        self.tally.finished.total() >= self.plan.publishers.into()
    }

    /// Whether every thread has taken notice of [`Order::Stop`].
    pub(super) fn has_stopped(&mut self) -> bool {
        self.tally.stopped.total() >= self.plan.threads.into()
    }

    /// Whether a sink elsewhere has just failed to answer, and may yet do so.
    pub(super) fn is_unsure(&self) -> bool {
        (1..GLANCES_MISSED_MAX).contains(&self.glance.missed)
    }

    /// Whether everything that was sent has arrived, and has been acknowledged where that has to be.
    pub(super) fn has_received_all(&mut self) -> bool {
        let counts = self.counts();
        if self.tally.answered.total() < self.tally.awaited.total() {
            return false;
        }
        match self.plan.receivers {
            Receivers::Nobody => true,
            Receivers::Sink(_) | Receivers::OwnSink(..) | Receivers::Devices => {
                counts.received >= counts.sent * self.plan.receivers_per_message()
            }
        }
    }

    /// The counts, of which those of a sink elsewhere are asked for anew.
    pub(super) fn fresh_counts(&mut self) -> Counts {
        self.glance.next_ns = 0;
        self.glance.missed = 0;
        self.counts()
    }

    pub(super) fn counts(&mut self) -> Counts {
        Counts {
            at_ns: monotonic_ns(),
            connections: self.tally.open(),
            sent: self.tally.sent.total(),
            flood_bytes: self.flood.sent_bytes(),
            received: self.received(),
            sink_sessions: self.books.as_ref().map_or(0, |books| books.sessions()),
        }
    }

    fn received(&mut self) -> u64 {
        if let Some(book) = &self.book {
            return book.received();
        }
        if let Some(books) = &self.books {
            return books.find(self.run).map_or(0, |book| book.received());
        }
        let Receivers::Sink(sink) = self.plan.receivers else {
            return 0;
        };
        let glance = &mut self.glance;
        let now_ns = monotonic_ns();
        if now_ns >= glance.next_ns && glance.missed < GLANCES_MISSED_MAX {
            match fetch(sink, self.run, Detail::Brief, GLANCE_WITHIN) {
                Ok(answer) => {
                    glance.missed = 0;
                    if let Some(run) = answer.runs.into_iter().next() {
                        glance.received = run.verdict.received;
                        glance.latency = run.latency_us;
                    }
                }
                Err(_) => glance.missed += 1,
            }
            glance.next_ns = monotonic_ns() + GLANCE_EVERY_NS;
        }
        glance.received
    }

    /// Takes what was recorded since the last time; returns the latencies among it, or of the whole run where a
    /// sink elsewhere has them.
    pub(super) fn take_recent(&mut self, elapsed: Duration) -> Option<Percentiles> {
        let lag = self.tally.lag.with(Durations::take);
        let connect = self.tally.connect.with(Durations::take);
        let acknowledged = self.tally.acknowledged.with(Durations::take);
        self.lag.add(&lag);
        self.connect.add(&connect);
        self.acknowledged.add(&acknowledged);
        let own = self.books.as_ref().and_then(|books| books.find(self.run));
        let latency = own.or_else(|| self.book.clone()).map(|book| book.recent());
        let shown = match (&latency, &self.plan.receivers) {
            (Some(latency), _) => latency.percentiles(),
            (None, Receivers::Sink(_)) => self.glance.latency,
            (None, _) => acknowledged.percentiles(),
        };
        let parts = [
            ("latency", latency.unwrap_or_default()),
            ("acknowledged", acknowledged),
            ("connect", connect),
            ("lag", lag),
        ];
        for (tag, durations) in parts {
            if durations.count() > 0 {
                self.intervals.push(Interval {
                    tag,
                    start: self.since,
                    length: elapsed.saturating_sub(self.since),
                    durations,
                });
            }
        }
        self.since = elapsed;
        shown
    }

    /// Ends all sessions and threads, and gathers what they leave behind.
    pub(super) fn close(&mut self, elapsed: Duration) -> anyhow::Result<Finished> {
        let verdict = self.verdict();
        self.order(Order::Close);
        for handle in self.handles.drain(..) {
            match handle.join() {
                Ok(ended) => ended?,
                Err(_) => bail!("a thread of the generator has panicked"),
            }
        }
        self.take_recent(elapsed);
        if let (Receivers::Sink(_), Some(Ok((_, latency)))) = (&self.plan.receivers, &verdict) {
            // A sink elsewhere tells of the run as a whole.
            self.intervals.push(Interval {
                tag: "latency",
                start: Duration::ZERO,
                length: elapsed,
                durations: latency.clone(),
            });
        }
        Ok(Finished {
            plan: Arc::clone(&self.plan),
            run: self.run,
            clock: self.clock,
            tally: Arc::clone(&self.tally),
            verdict,
            intervals: std::mem::take(&mut self.intervals),
            lag: self.lag.clone(),
            connect: self.connect.clone(),
            acknowledged: self.acknowledged.clone(),
            began: self.began,
        })
    }

    /// What the sink elsewhere says of this run.
    fn read(&self, answer: Answer) -> anyhow::Result<(Verdict, Durations)> {
        let unattributed = answer.unattributed.since(self.before.unattributed);
        let handshakes = answer.handshakes.since(self.before.handshakes);
        let (verdict, durations) = match answer.runs.into_iter().next() {
            Some(report) => {
                let durations = SinkReport::durations(&report)?;
                (report.verdict, durations)
            }
            // It is there and has seen nothing.
            None => (Verdict::default(), Durations::default()),
        };
        let verdict = Verdict {
            run: self.run,
            unattributed,
            handshakes,
            ..verdict
        };
        Ok((verdict, durations))
    }

    fn verdict(&self) -> Option<anyhow::Result<(Verdict, Durations)>> {
        if let Some(book) = &self.book {
            return Some(Ok(book.verdict()));
        }
        if let Some(books) = &self.books {
            let book = books.of(self.run);
            let (mut verdict, latency) = book.verdict();
            verdict.unattributed = books.unattributed();
            verdict.handshakes = books.handshakes();
            return Some(Ok((verdict, latency)));
        }
        let Receivers::Sink(sink) = self.plan.receivers else {
            return None;
        };
        Some(ask(sink, self.run).and_then(|answer| self.read(answer)))
    }
}

/// A part of the own sink for each thread, where there is to be one; and their books.
type OwnSinks = (Option<Arc<Books>>, Vec<Option<SinkParts>>);

fn own_sinks(plan: &Plan, feedback: Feedback, flood: &Flood) -> anyhow::Result<OwnSinks> {
    let count = usize::try_from(plan.threads)?;
    let Receivers::OwnSink(address, identity) = &plan.receivers else {
        return Ok((None, (0..count).map(|_| None).collect()));
    };
    let tls = identity.as_ref().map(load_tls).transpose()?;
    let stalled_after_ns = super::nanoseconds(plan.message.stall_limit);
    // Credits are for windows; at a fixed rate nobody takes them.
    let feedback = plan.pace.has_window().then_some(feedback);
    let books = Books::new(count, stalled_after_ns, feedback).with_drain(flood.drain());
    let books = Arc::new(books);
    let mut sinks = Vec::new();
    for _ in 0..count {
        sinks.push(Some(SinkParts {
            listener: listen(*address).with_context(|| format!("--own-sink: {address}"))?,
            books: Arc::clone(&books),
            tls: tls.clone(),
        }));
    }
    Ok((Some(books), sinks))
}

/// How often a sink elsewhere is asked for progress, in ns.
const GLANCE_EVERY_NS: u64 = 100_000_000;

/// The verdict of a sink elsewhere.
fn ask(sink: SocketAddr, run: u32) -> anyhow::Result<Answer> {
    let until_ns = monotonic_ns() + super::nanoseconds(VERDICT_WITHIN);
    loop {
        let left = Duration::from_nanos(until_ns.saturating_sub(monotonic_ns()));
        match fetch(sink, run, Detail::Full, left.max(Duration::from_millis(1))) {
            Ok(answer) => return Ok(answer),
            Err(error) if left.is_zero() => {
                return Err(error.context(format!(
                    "--sink: {sink} has not given its verdict within {} s",
                    VERDICT_WITHIN.as_secs()
                )));
            }
            Err(_) => super::stand_by::pause(Duration::from_millis(100)),
        }
    }
}

/// The clock that messages carry: the monotonic one, unless the sink runs on another machine; and what that is
/// ahead of the monotonic clock. Also what a sink elsewhere has counted so far.
fn clock(plan: &Plan) -> anyhow::Result<(Clock, u64, Before)> {
    let Receivers::Sink(sink) = plan.receivers else {
        return Ok((Clock::Monotonic, 0, Before::default()));
    };
    let answer = fetch(sink, 0, Detail::Brief, VERDICT_WITHIN)
        .with_context(|| format!("--sink: {sink} is no sink that can be reached"))?;
    let before = Before {
        unattributed: answer.unattributed,
        handshakes: answer.handshakes,
    };
    if answer.boot_id == boot_id() {
        Ok((Clock::Monotonic, 0, before))
    } else {
        Ok((Clock::Wall, wall_ns() - monotonic_ns(), before))
    }
}

/// A number that no other run in reach has.
fn run_number() -> u32 {
    let time = wall_ns() / 1_000_000;
    crc32fast::hash(format!("{time} {}", std::process::id()).as_bytes())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the time of day stands at the top of a log"
)]
fn began() -> SystemTime {
    SystemTime::now()
}
