//! Compare: every scenario, every round, every subject in turn, so that what drifts on the machine meets all alike.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Context as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::args::CompareArguments;
use crate::cast;
use crate::display::Display;
use crate::host;
use crate::interrupt::Interrupt;
use crate::metrics::SYSCALLS;
use crate::model::{Row, Run, Settings};
use crate::plan::{self, Entrant, Plan};
use crate::round::Stage;
use crate::scenario::{Scenario, Work};
use crate::subject::Subject;
use crate::{clock, report, strace, table};

/// Messages a second that a traced subject still keeps up with.
const TRACED_RATE_MAX: u32 = 20_000;

/// Runs the comparison and writes its report. Returns whether everything arrived rightly.
///
/// # Errors
/// When nothing can be measured, or the report cannot be written.
pub fn compare(arguments: &CompareArguments, command: &str) -> anyhow::Result<bool> {
    let (started, start) = (clock::utc(), clock::now());
    let host = host::host();
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| default_folder(&started, &host.name, arguments.quick));
    plan::check_folder(&out)?;
    let mut plan = Plan::new(arguments)?;
    if plan.has_syscalls && !strace::is_installed() {
        plan.has_syscalls = false;
        plan.missing.insert(
            SYSCALLS.to_owned(),
            "strace is not installed: apt-get install strace".to_owned(),
        );
    }
    // Better to learn now than after an hour that it cannot be written.
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let interrupt = Interrupt::catch()?;
    raise_descriptor_limit()?;
    keep_off_proxy_cpus(&plan);
    say_missing(&plan)?;
    let rows = measure(&plan, &interrupt, start)?;
    let run = Run {
        title: title(&plan),
        command: command.to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        is_interrupted: interrupt.is_set(),
        commit: host::commit(),
        host,
        settings: settings(&plan),
        versions: plan.versions,
        missing: plan.missing,
    };
    report::write(&out, &run, &rows)?;
    let is_right = conclude(&out, &run, &rows)?;
    Ok(is_right && !run.is_interrupted)
}

/// All rounds that were whole before an interruption.
fn measure(plan: &Plan, interrupt: &Interrupt, start: Instant) -> anyhow::Result<Vec<Row>> {
    let folder = TempDir::new()?;
    let tls = cast::write_certificate(folder.path())?;
    let stage = Stage {
        plan,
        interrupt,
        tls,
    };
    let mut display = Display::new(plan, start);
    let mut rows = Vec::new();
    for (scenario, entrants) in &plan.scenarios {
        let first = rows.len();
        for number in 1..=plan.rounds {
            let Some(round) = one_round(&stage, &mut display, (scenario, entrants), number) else {
                return Ok(rows);
            };
            rows.extend(round);
        }
        if plan.has_syscalls && can_be_traced(scenario) {
            for entrant in entrants
                .iter()
                .filter(|entrant| entrant.subject != Subject::Direct)
            {
                let row = stage.count_calls(entrant, scenario);
                if interrupt.is_set() {
                    return Ok(rows);
                }
                rows.push(row);
            }
        }
        let measured = rows.get(first..).unwrap_or_default();
        display.print(&table::of(scenario, measured));
    }
    Ok(rows)
}

/// One round of all subjects, each time begun by another one; `None` where it was interrupted.
fn one_round(
    stage: &Stage<'_>,
    display: &mut Display,
    (scenario, entrants): (&Scenario, &[Entrant]),
    number: u32,
) -> Option<Vec<Row>> {
    let mut rows = BTreeMap::new();
    let turn = usize::try_from(number - 1).unwrap_or_default() % entrants.len().max(1);
    let in_order = entrants.iter().enumerate();
    for (place, entrant) in in_order.clone().skip(turn).chain(in_order.take(turn)) {
        display.begin(scenario, entrant, number);
        let row = stage.run(entrant, scenario, number);
        if stage.interrupt.is_set() {
            return None;
        }
        display.end(scenario, &row);
        rows.insert(place, row);
    }
    Some(rows.into_values().collect())
}

/// Whether counting calls is worth it: beyond some rate a subject that is traced falls behind for good.
fn can_be_traced(scenario: &Scenario) -> bool {
    match scenario.work {
        Work::Rate { per_second, .. } => per_second <= TRACED_RATE_MAX,
        Work::Window(_) | Work::Lockstep => true,
        Work::Hold(_) | Work::Storm(_) | Work::Fanout(_) => false,
    }
}

fn conclude(out: &Path, run: &Run, rows: &[Row]) -> anyhow::Result<bool> {
    let mut output = io::stdout().lock();
    let failures: Vec<_> = rows.iter().filter(|row| row.failure.is_some()).collect();
    for row in &failures {
        let Row {
            subject,
            scenario,
            round,
            failure,
            ..
        } = row;
        let why = failure.as_deref().unwrap_or_default();
        writeln!(output, "FAILED {scenario}, {subject}, round {round}: {why}")?;
    }
    let state = if run.is_interrupted {
        "interrupted"
    } else {
        "done"
    };
    writeln!(
        output,
        "{state} after {:.0} s; the report is in {}",
        run.seconds,
        out.display()
    )?;
    Ok(failures.is_empty())
}

fn say_missing(plan: &Plan) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    for (what, why) in &plan.missing {
        writeln!(output, "not measured: {what}: {why}")?;
    }
    Ok(())
}

fn default_folder(started: &str, host: &str, is_quick: bool) -> PathBuf {
    let date = started.split('T').next().unwrap_or(started);
    let size = if is_quick { "-quick" } else { "" };
    PathBuf::from(format!("results/{date}-{host}-comparison{size}"))
}

fn title(plan: &Plan) -> String {
    let size = if plan.is_quick { "quick" } else { "full" };
    match &plan.remote {
        Some(_) => format!("{size} measurement of a remote proxy"),
        None => format!("{size} comparison"),
    }
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        is_quick: plan.is_quick,
        rounds: plan.rounds,
        baseline: plan.baseline.clone(),
        proxy_cpus: plan.proxy_cpus.to_string(),
        load_cpus: plan.load_cpus.to_string(),
        shards: plan.shards.clone(),
        clock: "monotonic".to_owned(),
        remote_target: plan
            .remote
            .as_ref()
            .and_then(|remote| remote.remote_target.clone()),
    }
}

/// Children inherit it: 9,000 sessions are two descriptors each in a proxy.
fn raise_descriptor_limit() -> anyhow::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: maximum,
            maximum,
        },
    )
    .context("descriptor limit")
}

/// This program reads much of `/proc`; that work belongs beside the load.
fn keep_off_proxy_cpus(plan: &Plan) {
    let mut set = CpuSet::new();
    for number in plan.load_cpus.numbers() {
        set.set(*number);
    }
    // Where it may not, figures are a little less even; nothing else.
    sched_setaffinity(None, &set).unwrap_or_default();
}
