//! Load: the generator as a process. It waits with its first connection until it is told, says at the entry of each
//! phase what it has counted, and leaves its verdict in a file.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{ChildStdout, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::Builder;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::clock;
use crate::interrupt::Interrupt;
use crate::process::Process;

/// How often somebody may look whether to stop while nothing is said.
const LOOK: Duration = Duration::from_millis(100);

/// What the generator is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// Its own sink listens.
    Listening,
    /// Until it is told to begin.
    Waiting,
    /// Sessions are opened.
    Connecting,
    /// Messages that count for nothing yet.
    Warmup,
    /// Messages that count.
    Measure,
    /// Sessions are held open.
    Hold,
    /// All sessions have been cut.
    Storm,
    /// Nothing new is sent; what is under way arrives.
    Drain,
    /// Sessions are closed.
    Closing,
    /// The verdict is there.
    Done,
}

/// A line of the generator.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// Whether this is no new phase, only new figures.
    #[serde(default)]
    pub tick: bool,
    /// Messages sent since the start.
    #[serde(default)]
    pub sent: u64,
    /// Messages that arrived since the start.
    #[serde(default)]
    pub received: u64,
    /// Sessions at its own sink.
    #[serde(default)]
    pub sink_sessions: u64,
}

/// What it found, of which only what is used here is read. All of it has to be there: a count that is not is not zero.
#[derive(Clone, Debug, Default, Deserialize)]
#[expect(
    missing_docs,
    clippy::struct_excessive_bools,
    reason = "the generator's own documentation says what its figures are"
)]
pub struct Verdict {
    pub connections: u64,
    pub connect_rate: Option<f64>,
    pub connect_us: Option<Percentiles>,
    pub sent: u64,
    pub received: u64,
    pub lost: u64,
    pub duplicated: u64,
    pub reordered: u64,
    pub corrupted: u64,
    pub wrong_topic: u64,
    pub misrouted: u64,
    pub stalled: u64,
    pub handshakes: Handshakes,
    pub generator_lag_us_p99: Option<f64>,
    pub generator_too_late: bool,
    pub latency_us: Option<Percentiles>,
    pub errors: BTreeMap<String, u64>,
    pub verified: bool,
    pub interrupted: bool,
    pub clock: String,
    pub measured_sent: u64,
    pub measured_received: u64,
    pub measured_seconds: f64,
    pub flood_bytes: u64,
}

/// TLS handshakes at the sink.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Handshakes {
    pub full: u64,
    pub resumed: u64,
}

/// A distribution, in microseconds; absent where there was nothing to measure.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "they are what they are called")]
pub struct Percentiles {
    pub p50: Option<f64>,
    pub p90: Option<f64>,
    pub p99: Option<f64>,
    pub p999: Option<f64>,
    pub max: Option<f64>,
}

/// A generator that runs.
#[derive(Debug)]
pub struct Load {
    process: Process,
    lines: Receiver<String>,
    verdict: PathBuf,
}

impl Load {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(mut command: Command, verdict: PathBuf) -> anyhow::Result<Self> {
        command
            .args(["--wait", "--progress", "json", "--json"])
            .arg(&verdict);
        let mut process = Process::start_piped("ringbeam-loadgen", command)?;
        let output = process
            .child()
            .stdout
            .take()
            .context("no standard output")?;
        let (sender, lines) = channel();
        Builder::new()
            .name("load".to_owned())
            .spawn(move || pass_on(output, &sender))?;
        Ok(Self {
            process,
            lines,
            verdict,
        })
    }

    /// Waits until it says something, at most until `due`, which gives `None`.
    ///
    /// # Errors
    /// When it ends without having said that it is done, or this program is to stop.
    pub fn next(
        &mut self,
        due: Instant,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Progress>> {
        loop {
            interrupt.check()?;
            let left = due.saturating_duration_since(clock::now());
            match self.lines.recv_timeout(left.min(LOOK)) {
                Ok(line) => {
                    let progress = serde_json::from_str(&line);
                    return progress
                        .map(Some)
                        .with_context(|| format!("the generator says {line:?}"));
                }
                Err(RecvTimeoutError::Timeout) if left.is_zero() => return Ok(None),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.process.wait_for_end(interrupt)?;
                    bail!("the generator ended ({status}){}", self.process.tail())
                }
            }
        }
    }

    /// Waits until it says something that satisfies a condition.
    ///
    /// # Errors
    /// As [`Self::next`], and when that takes longer than `patience`.
    pub fn wait_for(
        &mut self,
        what: &str,
        patience: Duration,
        interrupt: &Interrupt,
        condition: impl Fn(&Progress) -> bool,
    ) -> anyhow::Result<()> {
        let due = clock::now() + patience;
        while let Some(progress) = self.next(due, interrupt)? {
            if condition(&progress) {
                return Ok(());
            }
        }
        bail!("waited in vain for {what}{}", self.process.tail())
    }

    /// Tells it to make its first connection.
    ///
    /// # Errors
    /// When it has ended.
    pub fn begin(&mut self) -> anyhow::Result<()> {
        let input = self
            .process
            .child()
            .stdin
            .as_mut()
            .context("no standard input")?;
        Ok(input.write_all(b"go\n")?)
    }

    /// Reads the verdict of a generator that is done.
    ///
    /// # Errors
    /// When it does not end, or left none.
    pub fn verdict(&mut self, interrupt: &Interrupt) -> anyhow::Result<Verdict> {
        // Its status says only whether all is well, which the verdict says in full.
        let status = self.process.wait_for_end(interrupt)?;
        let read = || {
            anyhow::Ok(serde_json::from_str(&std::fs::read_to_string(
                &self.verdict,
            )?)?)
        };
        read().with_context(|| {
            format!(
                "no verdict from the generator ({status}){}",
                self.process.tail()
            )
        })
    }
}

impl Verdict {
    /// What is wrong with the messages or connections, if anything. Messages that took long are not wrong; ones that
    /// nobody has checked are.
    #[must_use]
    pub fn failure(&self, connections: u32, has_messages: bool) -> Option<String> {
        let counts = [
            ("lost", self.lost),
            ("duplicated", self.duplicated),
            ("reordered", self.reordered),
            ("corrupted", self.corrupted),
            ("with a wrong topic", self.wrong_topic),
            ("misrouted", self.misrouted),
        ];
        let mut problems: Vec<_> = counts
            .into_iter()
            .filter(|(_, count)| *count > 0)
            .map(|(what, count)| format!("{count} messages {what}"))
            .collect();
        if self.connections < u64::from(connections) {
            problems.push(format!("{} of {connections} connections", self.connections));
        }
        problems.extend(
            self.errors
                .iter()
                .map(|(reason, count)| format!("{count} × {reason}")),
        );
        if has_messages && !self.verified {
            problems.push("not verified".to_owned());
        }
        if self.interrupted {
            problems.push("the generator was interrupted".to_owned());
        }
        (!problems.is_empty()).then(|| problems.join(", "))
    }
}

/// Passes lines on until the generator or its owner ends.
fn pass_on(output: ChildStdout, sender: &Sender<String>) {
    for line in BufReader::new(output).lines().map_while(Result::ok) {
        if sender.send(line).is_err() {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// A verdict that is right, but for these fields.
    fn verdict(changes: &Value) -> Verdict {
        let mut fields = json!({
            "connections": 2, "connect_rate": 1.0, "connect_us": null, "sent": 0, "received": 0,
            "lost": 0, "duplicated": 0, "reordered": 0, "corrupted": 0, "wrong_topic": 0, "misrouted": 0, "handshakes": {"full": 0, "resumed": 0},
            "stalled": 0, "generator_lag_us_p99": 0.0, "generator_too_late": false, "latency_us": null,
            "errors": {}, "verified": true, "interrupted": false, "clock": "monotonic", "measured_sent": 0,
            "measured_received": 0, "measured_seconds": 0.0, "flood_bytes": 0, "more": 1,
        });
        for (name, value) in changes.as_object().unwrap() {
            fields[name] = value.clone();
        }
        serde_json::from_value(fields).unwrap()
    }

    #[test]
    fn any_damage_is_a_failure() {
        let check = |changes: Value, expected: Option<&str>| {
            let found = verdict(&changes).failure(2, true);
            assert_eq!(found.as_deref(), expected, "{changes}");
        };
        check(json!({}), None);
        check(json!({"stalled": 3}), None);
        check(json!({"connections": 1}), Some("1 of 2 connections"));
        check(
            json!({"lost": 3, "corrupted": 1}),
            Some("3 messages lost, 1 messages corrupted"),
        );
        check(json!({"errors": {"reset": 4}}), Some("4 × reset"));
        check(json!({"verified": false}), Some("not verified"));
        check(
            json!({"interrupted": true}),
            Some("the generator was interrupted"),
        );
        for field in ["duplicated", "reordered", "wrong_topic", "misrouted"] {
            assert!(verdict(&json!({ field: 1 })).failure(2, true).is_some());
        }
    }

    #[test]
    fn silence_needs_nobody_to_check_it() {
        let silent = verdict(&json!({"verified": false}));
        assert_eq!(silent.failure(2, false), None);
    }

    #[test]
    fn a_count_that_is_not_said_is_not_zero() {
        let error = serde_json::from_str::<Verdict>(r#"{"connections": 2}"#).unwrap_err();
        assert!(error.to_string().contains("missing field"), "{error}");
    }
}
