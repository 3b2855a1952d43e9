//! Instructions: how many instructions the pieces of the engine take per message, counted by valgrind.
//! The cases are in `common`; each is counted in a process of its own.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

mod common;

use std::hint::black_box;
use std::io::{self, ErrorKind, Write as _};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, bail};

use common::{Case, pieces};

/// What the engine allocates with.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Fewer than are timed: their number changes little but caches, which are not counted here.
const SIMS: u32 = 4_096;

/// Says to this program, under valgrind, which case it is to run.
const CASE: &str = "RINGBEAM_BENCH_CASE";

/// Runs of a case: before counting, so that all memory is there, and counted.
const RUNS: (u32, u32) = (4, 16);

fn main() -> anyhow::Result<ExitCode> {
    if let Ok(wanted) = std::env::var(CASE) {
        let case = cases().find(|(name, _)| *name == wanted);
        let (_, case) = case.context("no such case")?;
        let mut run = (case.prepare)();
        repeat(RUNS.0, &mut run);
        counted(&mut run);
        return Ok(ExitCode::SUCCESS);
    }
    // Options of cargo and criterion mean nothing here; a word picks cases as it does with criterion.
    let filter = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let mut stdout = io::stdout().lock();
    let Some(version) = valgrind_version()? else {
        writeln!(
            stdout,
            "instructions: skipped, valgrind is missing; apt-get install valgrind"
        )?;
        return Ok(ExitCode::SUCCESS);
    };
    writeln!(stdout, "Per message; counted by {version}.\n")?;
    writeln!(
        stdout,
        "{:48} {:>12} {:>12}",
        "", "bytes in", "instructions"
    )?;
    for (name, case) in cases() {
        if filter.as_ref().is_none_or(|filter| name.contains(filter)) {
            let instructions = count(&name)?;
            let bytes = match case.bytes {
                0 => String::from("-"),
                bytes => tenths(bytes, case.messages),
            };
            let instructions = tenths(instructions, case.messages * u64::from(RUNS.1));
            writeln!(stdout, "{name:48} {bytes:>12} {instructions:>12}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Every case with its whole name.
fn cases() -> impl Iterator<Item = (String, Case)> {
    pieces(SIMS).into_iter().flat_map(|(piece, cases)| {
        let named = move |case: Case| (format!("{piece}/{}", case.name), case);
        cases.into_iter().map(named)
    })
}

/// The function whose instructions are counted, by its name.
#[inline(never)]
fn counted(run: &mut dyn FnMut()) {
    repeat(RUNS.1, run);
    // Something after the last call, so that it is no jump out of here.
    black_box(());
}

fn repeat(runs: u32, run: &mut dyn FnMut()) {
    for _ in 0..runs {
        run();
    }
}

/// The instructions of all counted runs of a case.
fn count(name: &str) -> anyhow::Result<u64> {
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .args([
            "--collect-atstart=no",
            "--toggle-collect=*instructions*counted*",
        ])
        .arg(std::env::current_exe()?)
        .env(CASE, name)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    // `==123== Collected : 4567`
    let collected = said
        .lines()
        .find_map(|line| line.split_once("Collected : "));
    match collected.and_then(|(_, number)| number.trim().parse().ok()) {
        Some(instructions) if output.status.success() && instructions > 0 => Ok(instructions),
        _ => bail!("{name} was not counted: {}\n{said}", output.status),
    }
}

/// What valgrind calls itself; `None` where there is none.
fn valgrind_version() -> anyhow::Result<Option<String>> {
    match Command::new("valgrind").arg("--version").output() {
        Ok(output) => Ok(Some(String::from_utf8(output.stdout)?.trim().to_owned())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context("valgrind"),
    }
}

/// A quotient with one decimal.
fn tenths(dividend: u64, divisor: u64) -> String {
    let tenths = dividend.saturating_mul(10) / divisor;
    format!("{}.{}", tenths / 10, tenths % 10)
}
