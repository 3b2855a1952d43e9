//! Compare: every scenario, every round, every subject in turn, so that what drifts on the machine meets all alike.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
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
use crate::summary::base_of;
use crate::{clock, report, strace, table};

/// Messages a second that a traced subject still keeps up with.
const TRACED_RATE_MAX: u32 = 20_000;

/// Runs the comparison and writes its report. Returns whether everything arrived rightly.
///
/// # Errors
/// When nothing can be measured, or the report cannot be written.
pub fn compare(arguments: &CompareArguments, command: &str) -> anyhow::Result<bool> {
    let (started, start) = (clock::utc(), clock::now());
    // Of the programs as they are now: the tree may change while they run.
    let (mut host, commit) = (host::host(), host::commit());
    let out = match &arguments.out {
        Some(folder) => folder.clone(),
        None => plan::free_folder(&default_folder(arguments, &started, &host.name))?,
    };
    plan::check_folder(&out)?;
    let mut plan = Plan::new(arguments)?;
    host.notes.extend(plan.notes.clone());
    if plan.has_syscalls && !strace::is_installed() {
        plan.has_syscalls = false;
        plan.missing.insert(
            SYSCALLS.to_owned(),
            "strace is not installed: apt-get install strace".to_owned(),
        );
    }
    // Better to learn now than after an hour that it cannot be written.
    let is_new = !out.exists();
    fs::create_dir_all(&out).with_context(|| out.display().to_string())?;
    let interrupt = Interrupt::catch()?;
    raise_descriptor_limit()?;
    keep_off_proxy_cpus(&plan);
    say_notes(&plan);
    let (rows, clock) = measure(&plan, &interrupt, start)?;
    if rows.is_empty() {
        if is_new {
            // Empty as it is, it does no harm where it stays.
            fs::remove_dir(&out).unwrap_or_default();
        }
        say("interrupted before anything was measured: there is no report");
        return Ok(false);
    }
    let has_rows = |name: &str| rows.iter().any(|row| base_of(&row.subject) == name);
    plan.versions.retain(|name, _| has_rows(name));
    let run = Run {
        title: title(&plan),
        command: command.to_owned(),
        started,
        seconds: start.elapsed().as_secs_f64(),
        is_interrupted: interrupt.is_set(),
        commit,
        host,
        settings: settings(&plan, clock),
        versions: plan.versions,
        missing: plan.missing,
    };
    report::write(&out, &run, &rows)?;
    conclude(&out, &run, &rows);
    let is_right = rows.iter().all(|row| row.failure.is_none());
    Ok(is_right && !run.is_interrupted)
}

/// All rounds that were whole before an interruption, and the clock that their latencies are from.
fn measure(
    plan: &Plan,
    interrupt: &Interrupt,
    start: Instant,
) -> anyhow::Result<(Vec<Row>, String)> {
    let folder = TempDir::new()?;
    let tls = cast::write_certificate(folder.path())?;
    let stage = Stage {
        plan,
        interrupt,
        tls,
        clock: OnceCell::new(),
    };
    let rows = all_rounds(&stage, Display::new(plan, start));
    let clock = stage.clock.into_inner();
    Ok((rows, clock.unwrap_or_else(|| "unknown".to_owned())))
}

fn all_rounds(stage: &Stage<'_>, mut display: Display) -> Vec<Row> {
    let plan = stage.plan;
    let mut rows = Vec::new();
    for (scenario, entrants) in &plan.scenarios {
        let first = rows.len();
        for number in 1..=plan.rounds {
            let Some(round) = one_round(stage, &mut display, (scenario, entrants), number) else {
                return rows;
            };
            rows.extend(round);
        }
        if plan.has_syscalls && can_be_traced(scenario) {
            for entrant in entrants
                .iter()
                .filter(|entrant| entrant.subject != Subject::Direct)
            {
                let row = stage.count_calls(entrant, scenario);
                if stage.interrupt.is_set() {
                    return rows;
                }
                rows.push(row);
            }
        }
        let measured = rows.get(first..).unwrap_or_default();
        display.print(&table::of(scenario, measured));
    }
    rows
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

fn conclude(out: &Path, run: &Run, rows: &[Row]) {
    for row in rows {
        let Row {
            subject,
            scenario,
            round,
            ..
        } = row;
        if let Some(why) = &row.failure {
            say(&format!(
                "FAILED {scenario}, {subject}, round {round}: {why}"
            ));
        }
    }
    let state = if run.is_interrupted {
        "interrupted"
    } else {
        "done"
    };
    let (seconds, folder) = (run.seconds, out.display());
    say(&format!(
        "{state} after {seconds:.0} s; the report is in {folder}"
    ));
}

fn say_notes(plan: &Plan) {
    for (what, why) in &plan.missing {
        say(&format!("not measured: {what}: {why}"));
    }
    for (what, note) in &plan.notes {
        say(&format!("note on {what}: {note}"));
    }
}

fn say(line: &str) {
    // With standard output closed there is nobody to tell, and the measurement goes on.
    drop(writeln!(io::stdout().lock(), "{line}"));
}

fn default_folder(arguments: &CompareArguments, started: &str, host: &str) -> String {
    let date = started.split('T').next().unwrap_or(started);
    let size = if arguments.quick { "-quick" } else { "" };
    let (host, what) = (plain(host), plain(&arguments.what));
    format!("results/{date}-{host}-{what}{size}")
}

/// A name without what a shell, a file system or a link might act on.
fn plain(name: &str) -> String {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let letter = |letter| if is_plain(letter) { letter } else { '-' };
    name.chars().map(letter).collect()
}

fn title(plan: &Plan) -> String {
    let size = if plan.is_quick { "quick" } else { "full" };
    match &plan.remote {
        Some(_) => format!("{size} measurement of a remote proxy"),
        None => format!("{size} comparison"),
    }
}

fn settings(plan: &Plan, clock: String) -> Settings {
    Settings {
        is_quick: plan.is_quick,
        rounds: plan.rounds,
        baseline: plan.baseline.clone(),
        proxy_cpus: plan.proxy_cpus.to_string(),
        load_cpus: plan.load_cpus.to_string(),
        shards: plan.shards.clone(),
        clock,
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

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_name_in_a_path_is_one_component() {
        assert_eq!(plain("bench-1.lan_a"), "bench-1.lan_a");
        assert_eq!(plain("../my host's"), "..-my-host-s");
    }
}
