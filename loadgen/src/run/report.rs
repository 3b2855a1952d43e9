//! Report: what a run has found out, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::time::SystemTime;

use anyhow::Context as _;
use serde::Serialize;

use super::Marks;
use super::phase::Course;
use super::threads::Finished;
use crate::histogram::{Interval, Percentiles, write_log};
use crate::message::Clock;
use crate::plan::{Pace, Receivers};
use crate::verify::{Handshakes, Unattributed, Verdict};

/// Lag beyond which the generator, not the entry point, may have made messages late, in µs.
const LAG_MAX_US: f64 = 1000.0;

/// The result of a run. Times are in µs, rates per second.
#[derive(Debug, Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "they are what users read")]
pub struct Report {
    /// Connections that were opened, in all.
    pub connections: u64,
    /// How many a second while they were opened.
    pub connect_rate: f64,
    /// How long each took, up to CONNACK and SUBACK; with a ramp from the time at which it was due.
    pub connect_us: Option<Percentiles>,
    /// Messages sent.
    pub sent: u64,
    /// Messages that arrived, each counted once per receiver.
    pub received: u64,
    /// Messages that did not.
    pub lost: u64,
    /// Arrivals of messages that had arrived already.
    pub duplicated: u64,
    /// Messages that a later one overtook.
    pub reordered: u64,
    /// Messages that are not what was sent.
    pub corrupted: u64,
    /// Messages under another topic than expected.
    pub wrong_topic: u64,
    /// Messages in another device's session.
    pub misrouted: u64,
    /// Messages that took longer than the limit for that.
    pub stalled: u64,
    /// TLS handshakes at the sink during the run.
    pub handshakes: Handshakes,
    /// Messages a second while they were measured: arrivals, or where nobody counts those, messages sent.
    pub rate: f64,
    /// How late messages were sent for reasons of the generator's own, at the 99th percentile; `None` where there is no
    /// schedule to be late for.
    pub generator_lag_us_p99: Option<f64>,
    /// Whether it was too late, so that latencies are partly its own.
    pub generator_too_late: bool,
    /// From when a message should have been sent until it arrived, or was acknowledged where nobody tells of arrivals.
    pub latency_us: Option<Percentiles>,
    /// Which of them: `arrival` or `acknowledgement`.
    pub latency_of: &'static str,
    /// What went wrong, by reason.
    pub errors: BTreeMap<String, u64>,
    /// Whether the receivers of the messages have given their verdict.
    pub verified: bool,
    /// Which clock latencies were taken from.
    pub clock: &'static str,
    /// Messages sent while measuring.
    pub measured_sent: u64,
    /// Messages that arrived while measuring.
    pub measured_received: u64,
    /// How long was measured.
    pub measured_seconds: f64,
    /// Bytes that a flood sent while measuring.
    pub flood_bytes: u64,
    /// PINGREQs sent, and answers to them.
    pub pings: u64,
    /// PINGRESPs.
    pub pongs: u64,
    /// Connections that were left half open.
    pub half_open: u64,
    /// Half-open connections and slow readers that the other side ended.
    pub shed: u64,
    /// Some of the topics that were not expected.
    pub wrong_topic_examples: Vec<String>,
    /// Whether it was ended by hand.
    pub interrupted: bool,
    /// The number in its messages, by which the sink knows it.
    pub run: u32,
    #[serde(skip)]
    intervals: Vec<Interval>,
    #[serde(skip)]
    began: Option<SystemTime>,
    #[serde(skip)]
    expects_verdict: bool,
}

impl Report {
    pub(super) fn of(
        finished: &Finished,
        course: &Course,
        (start, end): Marks,
        interrupted: bool,
    ) -> anyhow::Result<Self> {
        let tally = &finished.tally;
        let is_silent = finished.plan.pace == Pace::Silent;
        let (verdict, latency) = match &finished.verdict {
            Some(Ok((verdict, arrivals))) => (Some(verdict), arrivals.percentiles()),
            Some(Err(_)) => (None, None),
            // Nobody tells of arrivals.
            None => (None, finished.acknowledged.percentiles()),
        };
        let errors = errors(finished, interrupted);
        let verified = verdict.is_some() && !is_silent;
        let verdict = verdict.cloned().unwrap_or_default();
        let sent = tally.sent.total();
        let expected = sent * finished.plan.receivers_per_message();
        let arrived = verdict.received + verdict.corrupted;
        let lost = if verified {
            expected.saturating_sub(arrived)
        } else {
            0
        };
        let measured_seconds = seconds(end.at_ns.saturating_sub(start.at_ns));
        let measured_sent = end.sent.saturating_sub(start.sent);
        let measured_received = end.received.saturating_sub(start.received);
        let counted = if verified {
            measured_received
        } else {
            measured_sent
        };
        let lag_us = finished.lag.percentiles().map(|lag| lag.p99);
        Ok(Self {
            connections: tally.opened.total(),
            connect_rate: ratio(tally.opened.total(), seconds(course.opening_ns)),
            connect_us: finished.connect.percentiles(),
            sent,
            received: verdict.received,
            lost,
            duplicated: verdict.duplicated,
            reordered: verdict.reordered,
            corrupted: verdict.corrupted,
            wrong_topic: verdict.wrong_topic,
            misrouted: verdict.misrouted,
            stalled: verdict.stalled,
            handshakes: verdict.handshakes,
            rate: ratio(counted, measured_seconds),
            generator_lag_us_p99: lag_us,
            generator_too_late: lag_us.is_some_and(|lag_us| lag_us > LAG_MAX_US),
            latency_us: latency,
            latency_of: match finished.plan.receivers {
                Receivers::Nobody => "acknowledgement",
                Receivers::Sink(_) | Receivers::OwnSink(..) | Receivers::Devices => "arrival",
            },
            errors,
            verified,
            clock: match finished.clock {
                Clock::Monotonic => "monotonic",
                Clock::Wall => "wall",
            },
            measured_sent,
            measured_received,
            measured_seconds,
            flood_bytes: end.flood_bytes.saturating_sub(start.flood_bytes),
            pings: tally.pings.total(),
            pongs: tally.pongs.total(),
            half_open: tally.half_open.total(),
            shed: tally.shed.total(),
            wrong_topic_examples: verdict.examples,
            interrupted,
            run: finished.run,
            intervals: finished.intervals.clone(),
            began: Some(finished.began),
            expects_verdict: finished.verdict.is_some() && !is_silent,
        })
    }

    /// Whether everything arrived rightly, as far as anybody was there to tell.
    #[must_use]
    pub fn is_right(&self) -> bool {
        self.damages().iter().all(|(_, count)| *count == 0)
            && self.errors.is_empty()
            && (self.verified || !self.expects_verdict)
    }

    fn damages(&self) -> [(&'static str, u64); 6] {
        [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
            ("wrong topic", self.wrong_topic),
            ("misrouted", self.misrouted),
        ]
    }

    /// Writes the JSON; `-` is standard output.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_json(&self, file: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        if file.as_os_str() == "-" {
            io::Write::write_all(&mut io::stdout().lock(), text.as_bytes())?;
            return Ok(());
        }
        fs::write(file, text).with_context(|| format!("--json: {}", file.display()))
    }

    /// Writes the HDR log.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write_hdr(&self, file: &Path) -> anyhow::Result<()> {
        let mut out =
            fs::File::create(file).with_context(|| format!("--hdr: {}", file.display()))?;
        write_log(
            &mut out,
            self.began.unwrap_or(SystemTime::UNIX_EPOCH),
            &self.intervals,
        )
    }

    /// For people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing into memory cannot fail.
        let _ = self.write_text(&mut text);
        text
    }

    fn write_text(&self, text: &mut String) -> std::fmt::Result {
        if self.interrupted {
            writeln!(text, "interrupted; this is what was done until then")?;
        }
        write!(
            text,
            "connections  {} at {:.0}/s",
            self.connections, self.connect_rate
        )?;
        if let Some(connect) = &self.connect_us {
            write!(text, ", each {}", spread(connect))?;
        }
        writeln!(text)?;
        if self.half_open + self.shed > 0 {
            let (half_open, shed) = (self.half_open, self.shed);
            writeln!(
                text,
                "             {half_open} half open; {shed} shed by the other side"
            )?;
        }
        if self.pings > 0 {
            writeln!(text, "pings        {}, {} answered", self.pings, self.pongs)?;
        }
        if self.flood_bytes > 0 {
            let rate = ratio(self.flood_bytes >> 20, self.measured_seconds);
            writeln!(text, "flood        {rate:.0} MiB/s")?;
        }
        if self.sent > 0 {
            writeln!(text, "sent         {}", self.sent)?;
            self.write_verdict(text)?;
        }
        for (reason, count) in &self.errors {
            writeln!(text, "error        {count} x {reason}")?;
        }
        writeln!(text, "{}", if self.is_right() { "right" } else { "WRONG" })
    }

    fn write_verdict(&self, text: &mut String) -> std::fmt::Result {
        if self.verified {
            write!(text, "received     {}", self.received)?;
            for (name, count) in self.damages() {
                if count > 0 {
                    write!(text, ", {name} {count}")?;
                }
            }
            writeln!(text)?;
        } else {
            writeln!(
                text,
                "not verified: nobody told what arrived (--sink, --own-sink)"
            )?;
        }
        for topic in &self.wrong_topic_examples {
            writeln!(text, "             wrong topic: {topic}")?;
        }
        if self.measured_seconds > 0.0 {
            writeln!(
                text,
                "rate         {:.0}/s over {:.1} s",
                self.rate, self.measured_seconds
            )?;
        }
        if let Some(latency) = &self.latency_us {
            writeln!(
                text,
                "latency      {}, of {}, from the intended time",
                spread(latency),
                self.latency_of
            )?;
        }
        if self.stalled > 0 {
            writeln!(
                text,
                "stalled      {} messages took longer than the limit",
                self.stalled
            )?;
        }
        if let Some(lag) = self.generator_lag_us_p99 {
            writeln!(text, "own lag      p99 {lag:.0} us")?;
        }
        if self.generator_too_late {
            writeln!(
                text,
                "             TOO LATE: latencies are partly the generator's own"
            )?;
        }
        Ok(())
    }
}

/// What went wrong, at the devices, at the sink, and on the way to its verdict.
fn errors(finished: &Finished, interrupted: bool) -> BTreeMap<String, u64> {
    let tally = &finished.tally;
    let mut errors = tally.errors();
    let mut add = |reason: &str, count: u64| {
        if count > 0 {
            errors.insert(reason.to_owned(), count);
        }
    };
    let answered = tally.answered.total();
    add(
        "not acknowledged",
        tally.awaited.total().saturating_sub(answered),
    );
    // Who is told to stop has not missed what was still to come.
    if !interrupted {
        add("due and never sent", tally.missed.total());
    }
    match &finished.verdict {
        Some(Err(error)) => add(&format!("{error:#}"), 1),
        Some(Ok((verdict, _))) => {
            let Unattributed {
                malformed,
                unrecognised,
            } = verdict.unattributed;
            add("the sink ended a session: malformed bytes", malformed);
            add(
                "the sink received a damaged message of no run",
                unrecognised,
            );
        }
        None => {}
    }
    errors
}

fn spread(found: &Percentiles) -> String {
    format!(
        "p50 {:.0} us, p90 {:.0}, p99 {:.0}, p99.9 {:.0}, max {:.0}",
        found.p50, found.p90, found.p99, found.p999, found.max
    )
}

#[expect(clippy::cast_precision_loss, reason = "counts and times of a run")]
fn seconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e9
}

#[expect(clippy::cast_precision_loss, reason = "counts of a run")]
fn ratio(count: u64, seconds: f64) -> f64 {
    if seconds > 0.0 {
        count as f64 / seconds
    } else {
        0.0
    }
}

/// What the verdict of a standing sink looks like, for people.
#[must_use]
pub fn verdict_text(verdict: &Verdict, latency: Option<&Percentiles>) -> String {
    let mut text = format!("run {}: received {}", verdict.run, verdict.received);
    for (name, count) in [
        ("duplicated", verdict.duplicated),
        ("reordered", verdict.reordered),
        ("corrupted", verdict.corrupted),
        ("wrong topic", verdict.wrong_topic),
        ("misrouted", verdict.misrouted),
        ("stalled", verdict.stalled),
    ] {
        if count > 0 {
            let _ = write!(text, ", {name} {count}");
        }
    }
    if let Some(latency) = latency {
        let _ = write!(text, "; latency {}", spread(latency));
    }
    text
}
