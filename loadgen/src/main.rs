//! `ringbeam-loadgen`: the command line of the load generator.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use crossbeam_channel::bounded;
use mimalloc::MiMalloc;
use ringbeam_loadgen::options::{Command, Options, SinkOptions, scenario};
use ringbeam_loadgen::plan::Plan;
use ringbeam_loadgen::run::{self, Report, verdict_text};
use ringbeam_loadgen::sink::{Books, Detail, Identity, Report as SinkReport, load_tls};
use ringbeam_loadgen::sys;
use ringbeam_loadgen::verify::Unattributed;
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
    // Before the run: whoever has waited for a result shall have it.
    for (option, file) in [("--json", &output.json), ("--hdr", &output.hdr)] {
        if let Some(file) = file.as_ref().filter(|file| file.as_os_str() != "-") {
            File::create(file).with_context(|| format!("{option}: {}", file.display()))?;
        }
    }
    let report: Report = run::run(plan, &stop)?;
    say(report.text().trim_end());
    if let Some(file) = &output.json {
        report.write_json(file)?;
    }
    if let Some(file) = &output.hdr {
        report.write_hdr(file)?;
    }
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
            has_tickets: !options.no_tickets,
        })
        .as_ref()
        .map(load_tls)
        .transpose()?;
    let threads = options.threads.get();
    let stalled_after_ns = u64::try_from(options.stall_limit.as_nanos())?;
    let books = Arc::new(Books::new(threads, stalled_after_ns, None));
    let (ended, has_ended) = bounded(threads);
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
        let ended = ended.clone();
        std::thread::Builder::new()
            .name(format!("sink-{index}"))
            .spawn(move || ended.send(run_sink(parts)).ok())?;
    }
    // A thread that cannot begin says so at once.
    if let Ok(why) = has_ended.recv_timeout(Duration::from_millis(50)) {
        return why;
    }
    let mut out = io::stdout().lock();
    writeln!(out, "ready {address}")?;
    out.flush()?;
    while signals.pending().next().is_none() {
        if let Ok(why) = has_ended.recv_timeout(Duration::from_millis(50)) {
            return why;
        }
    }
    for book in books.all() {
        let report = SinkReport::of(&book, Detail::Brief)?;
        writeln!(
            out,
            "{}",
            verdict_text(&report.verdict, report.latency_us.as_ref())
        )?;
    }
    let Unattributed {
        unrecognised,
        malformed,
    } = books.unattributed();
    if unrecognised + malformed > 0 {
        writeln!(
            out,
            "of no run: {unrecognised} messages, {malformed} sessions of malformed bytes"
        )?;
    }
    Ok(())
}

fn say(line: &str) {
    writeln!(io::stderr().lock(), "{line}").ok();
}
