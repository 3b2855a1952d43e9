//! `ringbeam-bench`: the command line.

use std::io::Write as _;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{CommandFactory as _, Parser as _};
use ringbeam_bench::args::{Arguments, Command, quoted};
use ringbeam_bench::{compare, list, plan, report};

/// Wrong options, as the option parser has it.
const WRONG_OPTIONS: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    run(&arguments).unwrap_or_else(|error| {
        // With standard error closed there is nobody to tell.
        drop(writeln!(std::io::stderr(), "ringbeam-bench: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    match &arguments.command {
        Command::List { bin_dir } => {
            let text = list::list(&plan::bin_dir(bin_dir.as_ref())?)?;
            write!(std::io::stdout().lock(), "{text}")?;
        }
        Command::Report { folder } => report::rebuild(folder)?,
        Command::Compare(compare) => {
            if let Err(plan::Refused(problem)) = plan::check(compare) {
                Arguments::command()
                    .error(ErrorKind::InvalidValue, problem)
                    .print()?;
                return Ok(ExitCode::from(WRONG_OPTIONS));
            }
            let words: Vec<_> = std::env::args().collect();
            if !compare::compare(compare, &quoted(&words))? {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
