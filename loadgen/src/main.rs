//! `ringbeam-loadgen`: the command line of the load generator.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::Parser as _;
use mimalloc::MiMalloc;
use ringbeam_loadgen::options::{Command, Options, SinkOptions, scenario};
use ringbeam_loadgen::plan::Plan;
use ringbeam_loadgen::run::{self, Report, verdict_text};
use ringbeam_loadgen::sink::{Books, Identity, Report as SinkReport, load_tls};
use ringbeam_loadgen::sys;
use ringbeam_loadgen::worker::{SinkParts, run_sink};
use signal_hook::consts::{SIGINT, SIGTERM};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Everything arrived rightly.
const RIGHT: u8 = 0;
/// Something did not, or could not be done.
const WRONG: u8 = 1;
/// The options were refused.
const REFUSED: u8 = 2;

fn main() -> ExitCode {
    ExitCode::from(start(std::env::args_os().collect()))
}

fn start(line: Vec<OsString>) -> u8 {
    let options = match Options::try_parse_from(line) {
        Ok(options) => options,
        Err(error) => {
            // clap knows which of its messages are help.
            error.print().ok();
            return u8::try_from(error.exit_code()).unwrap_or(REFUSED);
        }
    };
    let plan = match options.command {
        Command::Sink(options) => return ended(sink(&options).map(|()| true)),
        Command::Scenario(options) => {
            return match scenario::read(&options.file, &options.options) {
                Ok(line) => start(line.into_iter().map(Into::into).collect()),
                Err(error) => refused(&error),
            };
        }
        Command::Publish(options) => Plan::publish(&options),
        Command::Connect(options) => Plan::connect(&options),
        Command::Fanout(options) => Plan::fanout(&options),
        Command::P2p(options) => Plan::p2p(&options),
        Command::Storm(options) => Plan::storm(&options),
        Command::Mixed(options) => Plan::mixed(&options),
    };
    match plan {
        Ok(plan) => ended(carry_out(plan)),
        Err(error) => refused(&error),
    }
}

fn refused(error: &anyhow::Error) -> u8 {
    say(&format!("ringbeam-loadgen: {error:#}"));
    REFUSED
}

fn ended(result: anyhow::Result<bool>) -> u8 {
    match result {
        Ok(true) => RIGHT,
        Ok(false) => WRONG,
        Err(error) => {
            say(&format!("ringbeam-loadgen: {error:#}"));
            WRONG
        }
    }
}

/// The first Ctrl-C ends what is being done in order; the second one ends the process.
fn stop_on_signal() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register_conditional_shutdown(signal, WRONG.into(), Arc::clone(&stop))?;
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

fn carry_out(plan: Plan) -> anyhow::Result<bool> {
    let stop = stop_on_signal()?;
    let output = plan.output.clone();
    let report: Report = run::run(plan, &stop)?;
    if let Some(file) = &output.hdr {
        report.write_hdr(file)?;
    }
    if let Some(file) = &output.json {
        report.write_json(file)?;
    }
    say(report.text().trim_end());
    Ok(report.is_right())
}

fn sink(options: &SinkOptions) -> anyhow::Result<()> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM])?;
    sys::raise_descriptor_limit()?;
    let identity = options.tls_cert.clone().zip(options.tls_key.clone());
    let tls = identity
        .map(|(certificate, key)| Identity {
            certificate,
            key,
            client_ca: options.client_ca.clone(),
        })
        .as_ref()
        .map(load_tls)
        .transpose()?;
    let threads = options.threads.max(1);
    let stalled_after_ns = u64::try_from(options.stall_limit.as_nanos())?;
    let books = Arc::new(Books::new(threads, stalled_after_ns, None));
    let mut address = options.listen;
    for index in 0..threads {
        let listener = sys::listen(address)
            .map_err(|error| anyhow::anyhow!("--listen: {address}: {error}"))?;
        // With port 0 the first one chooses for all.
        address = listener.local_addr()?;
        let parts = SinkParts {
            listener,
            books: Arc::clone(&books),
            tls: tls.clone(),
        };
        std::thread::Builder::new()
            .name(format!("sink-{index}"))
            .spawn(move || {
                if let Err(error) = run_sink(parts) {
                    say(&format!("ringbeam-loadgen: {error:#}"));
                    std::process::abort();
                }
            })?;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "ready {address}")?;
    out.flush()?;
    signals.forever().next();
    for book in books.all() {
        let report = SinkReport::of(&book, &books)?;
        writeln!(
            out,
            "{}",
            verdict_text(&report.verdict, report.latency_us.as_ref())
        )?;
    }
    Ok(())
}

fn say(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}
