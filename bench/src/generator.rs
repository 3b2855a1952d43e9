//! Generator: a scenario as arguments of `ringbeam-loadgen`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::plan::{Entrant, Plan};
use crate::process::pinned;
use crate::scenario::{Place, Scenario, Work};
use crate::subject::Subject;
use crate::subject::mosquitto::PREFIX;
use crate::subject::ringbeam::{IMSI_BASE, SIMS};

/// What subjects that rewrite make of it depends on the device; the others pass it on as it is.
const TOPIC: &str = "ringbeam/{{imsi}}/%i";
/// Before anything is measured: connections and caches have been used once.
pub const WARMUP: Duration = Duration::from_millis(500);

/// Counting system calls begins while warming up, at a pace of its own; a window much longer than that hides it.
const TRACED_MIN: Duration = Duration::from_secs(3);

/// Where the load goes.
#[derive(Debug)]
pub struct Route {
    /// Where devices connect.
    pub target: String,
    /// Where the generator's own sink listens; `None` where a real broker does.
    pub sink: Option<String>,
    /// Certificate and key of that sink, where it speaks TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether that TLS can be resumed.
    pub has_tickets: bool,
}

/// The generator's command. Round 0 is the one that counts system calls.
#[must_use]
pub fn command(
    plan: &Plan,
    entrant: &Entrant,
    scenario: &Scenario,
    route: &Route,
    round: u32,
) -> Command {
    // Beside the proxy where that is wanted, unless it is on another machine.
    let cpus = if scenario.place == Place::ProxyCpu && plan.remote.is_none() {
        plan.proxy_cpus.first()
    } else {
        plan.load_cpus.clone()
    };
    // Lockstep has nothing to do for a second thread.
    let threads = if scenario.place == Place::ProxyCpu {
        1
    } else {
        cpus.numbers().len()
    };
    let mut command = pinned(&cpus, plan.generator());
    let mut measured = plan.measured(scenario);
    if round == 0 {
        measured = measured.max(TRACED_MIN);
    }
    command.args(work(scenario, measured));
    let (sims, imsi_base) = match &plan.remote {
        Some(remote) => (remote.sims.as_str(), remote.imsi_base.as_str()),
        None => (SIMS, IMSI_BASE),
    };
    command.args([
        "--target",
        &route.target,
        "--sims",
        sims,
        "--imsi-base",
        imsi_base,
    ]);
    command.args(["--threads", &threads.to_string(), "--mqtt", "3.1.1"]);
    command.args(["--seed", &round.to_string()]);
    command.args(["--connections", &scenario.connections.to_string()]);
    command.args(["--ramp", &scenario.ramp.to_string()]);
    if let Some(sink) = &route.sink {
        command.args(["--own-sink", sink]);
    }
    if let Some((certificate, key)) = &route.tls {
        command.arg("--own-sink-tls-cert").arg(certificate);
        command.arg("--own-sink-tls-key").arg(key);
        if !route.has_tickets {
            command.arg("--own-sink-no-tickets");
        }
    }
    if let Some((connections, properties)) = scenario.flood {
        command.args(["--flood", &connections.to_string()]);
        command.args(["--flood-properties", &properties.to_string()]);
    }
    command.args(topics(entrant, scenario));
    command
}

/// Subcommand and what belongs to it.
fn work(scenario: &Scenario, measured: Duration) -> Vec<String> {
    let per_second = |rate: u32| ["--rate".to_owned(), rate.to_string()];
    let hold = |ms: u64| ["--hold".to_owned(), format!("{ms}ms")];
    let window = [
        format!("--duration={}ms", measured.as_millis()),
        format!("--warmup={}ms", WARMUP.as_millis()),
        format!("--payload={}", scenario.payload),
        format!("--qos={}", scenario.qos),
    ];
    let mut words = Vec::new();
    match scenario.work {
        Work::Rate {
            per_second: rate,
            is_poisson,
        } => {
            words.push("publish".to_owned());
            words.extend(window);
            words.extend(per_second(rate));
            let schedule = if is_poisson { "poisson" } else { "uniform" };
            words.push(format!("--schedule={schedule}"));
        }
        Work::Window(size) => {
            words.push("publish".to_owned());
            words.extend(window);
            words.push(format!("--window={size}"));
        }
        Work::Lockstep => {
            words.push("publish".to_owned());
            words.extend(window);
            words.push("--lockstep".to_owned());
        }
        Work::Hold(ms) => {
            words.push("connect".to_owned());
            words.extend(hold(ms));
        }
        Work::Storm(storms) => {
            words.push("storm".to_owned());
            words.extend(hold(1000));
            words.push(format!("--storms={storms}"));
        }
        Work::Fanout(rate) => {
            words.push("fanout".to_owned());
            words.extend(window);
            words.extend(per_second(rate));
            words.push("--publishers=1".to_owned());
        }
    }
    words
}

/// What is published, and what has to arrive.
fn topics(entrant: &Entrant, scenario: &Scenario) -> Vec<String> {
    // A proxy elsewhere is called after what it runs.
    let rewrites = entrant.subject.rewrites() || entrant.label.starts_with("ringbeam");
    let suffix = rewrites.then(|| "--expect-suffix=imsi".to_owned());
    let topic = match scenario.work {
        Work::Hold(_) => return Vec::new(),
        // Subscribers share a topic, which a placeholder would make different ones of.
        Work::Fanout(_) => return suffix.into_iter().collect(),
        Work::Rate { .. } | Work::Window(_) | Work::Lockstep | Work::Storm(_) => TOPIC,
    };
    let prefix = if entrant.subject == Subject::MosquittoBridge {
        PREFIX
    } else {
        ""
    };
    // The generator expects placeholders to be filled in, unless it is told exactly what to expect.
    let expected = suffix.unwrap_or_else(|| format!("--expect-topic={prefix}{topic}"));
    vec![format!("--topic={topic}"), expected]
}
