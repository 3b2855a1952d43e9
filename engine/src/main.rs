//! `ringbeam`: the command line.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use ringbeam::args::{
    Arguments, Command, DoctorArguments, ExplainArguments, FleetCommand, UserCommand,
};
use ringbeam::doctor::{self, Host, Load};
use ringbeam::registry::StoreError;
use ringbeam::serve::{Loaded, REFUSED, load, report, serve};
use ringbeam::sys::host::use_small_pages;
use ringbeam::{check, config, explain, logs, registry, tap, transfer, user};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    use_small_pages();
    let arguments = Arguments::parse();
    run(&arguments).unwrap_or_else(|error| {
        // With standard error closed there is nobody to tell.
        drop(writeln!(std::io::stderr(), "ringbeam: {error:#}"));
        ExitCode::FAILURE
    })
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let format = arguments.log_format.map(Into::into);
    let _guard = match logs::begin(arguments.log.as_deref(), format) {
        Ok(guard) => guard,
        Err(error) => {
            writeln!(std::io::stderr(), "ringbeam: {error}")?;
            return Ok(ExitCode::from(REFUSED));
        }
    };
    match &arguments.command {
        Command::Serve(place) => serve(place.config.as_ref()),
        #[cfg(feature = "demo")]
        Command::Demo(demo) => ringbeam::demo::run(demo.port),
        Command::Check(place) => check(place.config.as_ref()),
        Command::Explain(question) => explain(question),
        Command::Fleet(command) => fleet(command),
        Command::User(command) => user(command),
        Command::Tap(question) => {
            tap::tap(&question.question())?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Doctor(question) => doctor(question),
    }
}

fn check(path: Option<&PathBuf>) -> anyhow::Result<ExitCode> {
    match load(path, None, registry::open) {
        Ok(Loaded { config, fleet, .. }) => print(&check::report(&config, &fleet)),
        Err(problems) => Ok(refuse(&problems)),
    }
}

fn explain(question: &ExplainArguments) -> anyhow::Result<ExitCode> {
    let query = question
        .query()
        .context("neither --ip nor --imsi is given")?;
    let Loaded { config, fleet, .. } =
        match load(question.config.config.as_ref(), None, registry::open) {
            Ok(loaded) => loaded,
            Err(problems) => return Ok(refuse(&problems)),
        };
    match explain::explain(&config, &fleet, &query) {
        Ok(text) => print(&text),
        Err(text) => {
            writeln!(std::io::stderr(), "ringbeam: {text}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

fn fleet(command: &FleetCommand) -> anyhow::Result<ExitCode> {
    let (FleetCommand::Import(arguments) | FleetCommand::Export(arguments)) = command;
    let is_for_import = matches!(command, FleetCommand::Import(_));
    let config = arguments.config.config.as_ref();
    let registry = match transfer::registry(config, is_for_import) {
        Ok(registry) => registry,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let file = arguments.file.as_deref();
    match command {
        FleetCommand::Import(_) => match transfer::import(&registry, file)? {
            Ok(counts) => print(&format!(
                "imported {} groups, {} SIMs one by one, {} ranges",
                counts.groups, counts.sims, counts.ranges
            )),
            Err(problems) => Ok(refuse(&problems)),
        },
        FleetCommand::Export(_) => {
            transfer::export(&registry, file)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn user(command: &UserCommand) -> anyhow::Result<ExitCode> {
    let (UserCommand::Add(arguments) | UserCommand::AddKey(arguments)) = command;
    let config = arguments.config.config.as_ref();
    // Whoever adds the first user may be the first to need the registry at all.
    let is_first = matches!(command, UserCommand::Add(_));
    let registry = match transfer::registry(config, is_first) {
        Ok(registry) => registry,
        Err(problems) => return Ok(refuse(&problems)),
    };
    let done = match command {
        UserCommand::Add(_) => {
            user::add(&registry, &arguments.email).context("the password cannot be read")?
        }
        UserCommand::AddKey(_) => {
            user::add_key(&registry, &arguments.email).map(|key| key.to_string())
        }
    };
    match done {
        Ok(text) => print(&text),
        Err(StoreError::User(error)) => {
            writeln!(std::io::stderr(), "ringbeam: {}: {error}", arguments.email)?;
            Ok(ExitCode::from(REFUSED))
        }
        Err(error) => Err(error).context("the registry cannot be written"),
    }
}

fn doctor(question: &DoctorArguments) -> anyhow::Result<ExitCode> {
    // Without a configuration there still is a host to look at.
    let found = || {
        config::PLACES
            .map(PathBuf::from)
            .into_iter()
            .find(|place| place.exists())
    };
    let load = match question.config.config.clone().or_else(found) {
        None => Load::reference(),
        Some(path) => match load(Some(&path), None, registry::open) {
            Ok(Loaded { config, fleet, .. }) => Load::of(&path, &config, &fleet),
            Err(problems) => return Ok(refuse(&problems)),
        },
    };
    let host = question
        .root
        .as_deref()
        .map_or_else(Host::running, Host::copied);
    let findings = doctor::examine(&host, &load);
    if question.json {
        print(&format!("{:#}", doctor::json(&load, &findings)))?;
    } else {
        print(&doctor::text(&load, &findings))?;
    }
    Ok(if doctor::is_blocked(&findings) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn refuse(problems: &[ringbeam::problem::Problem]) -> ExitCode {
    report(problems);
    ExitCode::from(REFUSED)
}

fn print(text: &str) -> anyhow::Result<ExitCode> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{}", text.trim_end())?;
    output.flush()?;
    Ok(ExitCode::SUCCESS)
}
