//! Serve: `ringbeam serve` from its configuration to its exit: signals, reloads, drain.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, after, bounded, never, select};
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing::{error, info, warn};

use crate::check::warnings;
use crate::config::{Config, RegistryConfig};
use crate::control::{Control, ControlError, Ends, Request, audience};
use crate::fleet::Fleet;
use crate::problem::Problem;
use crate::registry::{self, NotServing, Registry};
use crate::resolver::Resolver;
use crate::server::{Server, ShardEnded};
use crate::shard::counters::Totals;
use crate::shard::report::Usage;
use crate::sys::memory::give_back;
use crate::sys::thread::spawn;
use crate::tls::{Clients, Roots};

/// The exit code of a refused configuration.
pub const REFUSED: u8 = 2;

/// Share of the drain time in which sessions are told to end, in percent; the rest is for their last
/// bytes.
const DRAIN_WINDOW_PERCENT: u32 = 80;

/// Everything that the operator wrote, valid.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The fleet.
    pub fleet: Fleet,
    /// Who the entry point is to upstreams over TLS.
    pub tls: Clients,
}

/// How the registry is opened that a configuration names.
pub type OpenRegistry = fn(&RegistryConfig) -> Result<Box<dyn Registry + Send>, Vec<Problem>>;

/// Reads the configuration and what it names. What `before` has of TLS stays as far as nothing changed.
///
/// # Errors
/// With everything that is wrong.
pub fn load(
    path: Option<&PathBuf>,
    before: Option<&Clients>,
    open: OpenRegistry,
) -> Result<Loaded, Vec<Problem>> {
    complete(read_config(path)?, before, open)
}

fn read_config(path: Option<&PathBuf>) -> Result<Config, Vec<Problem>> {
    Config::load(path.map(PathBuf::as_path))
}

/// A configuration with what it names.
fn complete(
    config: Config,
    before: Option<&Clients>,
    open: OpenRegistry,
) -> Result<Loaded, Vec<Problem>> {
    let roots = roots(config.upstream.ca_file.as_deref()).map_err(|problem| vec![problem])?;
    let fleet = open(&config.registry)?.load()?;
    let fleet = fleet.with_pubnub_host(&config.upstream.pubnub_host);
    let tls = clients(roots, &fleet, before).map_err(|problem| vec![problem])?;
    Ok(Loaded { config, fleet, tls })
}

/// Whom upstreams' certificates may come from.
fn roots(ca_file: Option<&Path>) -> Result<Roots, Problem> {
    let system = Roots::system();
    match ca_file {
        None => Ok(system),
        Some(path) => system.with_file(path).map_err(|found| {
            let accepted = "a file with authorities' certificates in PEM";
            Problem::new("upstream.ca_file", found, accepted)
        }),
    }
}

/// Who the entry point is to upstreams, with the credentials of a fleet.
///
/// # Errors
/// When what it presents or trusts cannot be used.
pub fn clients(roots: Roots, fleet: &Fleet, before: Option<&Clients>) -> Result<Clients, Problem> {
    Clients::new(roots, fleet.presented(), before)
        .map_err(|error| Problem::new("credentials", error, "certificates that TLS can use"))
}

/// Runs until a signal ends it.
///
/// # Errors
/// When something stands in the way that is not the configuration.
pub fn serve(path: Option<&PathBuf>) -> anyhow::Result<ExitCode> {
    let config = match read_config(path) {
        Ok(config) => config,
        Err(problems) => return Ok(refused(&problems)),
    };
    // Before anything of the registry is read: what the one that serves does to it is not known here.
    let serving = match registry::begin_serving(&config.registry) {
        Err(error @ NotServing::File { .. }) => {
            let problem = Problem::new("registry.path", error, "a place that can be written");
            return Ok(refused(&[problem]));
        }
        serving => serving?,
    };
    let Loaded { config, fleet, tls } = match complete(config, None, begin_registry) {
        Ok(loaded) => loaded,
        Err(problems) => return Ok(refused(&problems)),
    };
    give_back();
    let signals = signals()?;
    warn_of(&config, &fleet);
    if let Some(changed) = &config.changed_defaults {
        warn!("{changed}");
    }
    info!(authorities = %tls.roots(), "TLS towards upstreams");
    let (audience, sim_events) = audience(&config);
    let resolver = Resolver::start().context("starting the resolver")?;
    let server = Server::start_before(&config, fleet, tls, &resolver, audience)?;
    let server = Arc::new(server);
    let (sender, requests) = bounded(REQUESTS);
    let ends = Ends {
        requests: sender,
        events: sim_events,
    };
    let control = match Control::start(&config, &server, ends) {
        Ok(control) => control,
        Err(ControlError::Refused(problem)) => return Ok(refused(&[problem])),
        Err(error) => return Err(error.into()),
    };
    if let Some(address) = control.as_ref().and_then(Control::address) {
        info!(%address, "API, console and metrics");
    }
    announce(&server)?;
    let events = Events {
        signals,
        requests,
        control: control.as_ref(),
    };
    let mut left = Vec::new();
    let status = run(&server, config, path, &events, &mut left);
    if let Some(control) = control {
        control.finish(&left);
    }
    // Nothing is written from here on: the next one may begin.
    drop(serving);
    Ok(status)
}

/// Says why a configuration is refused.
fn refused(problems: &[Problem]) -> ExitCode {
    report(problems);
    ExitCode::from(REFUSED)
}

/// Requests of the control plane that wait.
const REQUESTS: usize = 4;

/// What ends or changes a running engine.
struct Events<'a> {
    signals: Receiver<i32>,
    requests: Receiver<Request>,
    /// Which follows a reload.
    control: Option<&'a Control>,
}

/// Opens the registry; the first time that it serves, an embedded one may not be there yet.
fn begin_registry(config: &RegistryConfig) -> Result<Box<dyn Registry + Send>, Vec<Problem>> {
    let is_new = !config.path().exists();
    let registry = registry::open_or_create(config)?;
    if is_new {
        let path = config.path().display();
        warn!(%path, "the registry was not there: it begins empty, and no device is served yet");
    }
    Ok(registry)
}

/// Signals as they come.
///
/// # Errors
/// When they cannot be caught.
pub fn signals() -> std::io::Result<Receiver<i32>> {
    let mut caught = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    let (sender, signals) = bounded(16);
    spawn("signals", move || {
        for signal in caught.forever() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    })?;
    Ok(signals)
}

/// By what each part of the most memory is bounded.
const MEMORY_BOUNDS: &str = "records, tls and renewal: by sessions; buffers: by shards; heads, CONNECTs larger than a \
    buffer: by shards; waiting, packets that are not whole among it: by engine.waiting_bytes";

/// Prints `ready` and tells systemd.
///
/// # Errors
/// When standard output is closed.
pub fn announce(server: &Server) -> anyhow::Result<()> {
    let (sessions, descriptors) = server.capacity();
    let shards = server.shards();
    let (memory, allowed) = server.memory();
    let memory_bytes_allowed = allowed.map(|allowed| allowed.bytes);
    info!(
        shards,
        sessions,
        descriptors,
        coalescing = server.coalesces(),
        memory_bytes_max = memory.total(),
        memory_bytes_allowed,
        memory_bounds = MEMORY_BOUNDS,
        records = memory.records,
        buffers = memory.buffers,
        waiting = memory.waiting,
        heads = memory.heads,
        tls = memory.tls,
        renewal = memory.renewal,
        "accepting",
    );
    if let Some(allowed) = allowed.filter(|allowed| memory.exceeds(allowed.bytes)) {
        let by = if allowed.by_group {
            "its control group"
        } else {
            "this host"
        };
        warn!(
            memory_bytes_max = memory.total(),
            memory_bytes_allowed,
            "the most memory that the engine can come to is more than {by} allows: lower engine.max_sessions or \
             engine.waiting_bytes, or allow more"
        );
    }
    let listeners: Vec<String> = server
        .addresses()
        .iter()
        .map(|(network, address)| format!("{network}={address}"))
        .collect();
    let mut output = std::io::stdout().lock();
    writeln!(output, "ready {}", listeners.join(" "))?;
    output.flush()?;
    notify(&[NotifyState::Ready]);
    Ok(())
}

fn run(
    server: &Server,
    mut config: Config,
    path: Option<&PathBuf>,
    events: &Events<'_>,
    left: &mut Vec<Usage>,
) -> ExitCode {
    let Events {
        signals, requests, ..
    } = events;
    // Without a control plane nobody asks.
    let mut requests = requests.clone();
    loop {
        select! {
            recv(signals) -> signal => match signal {
                Ok(SIGHUP) => drop(reload(server, events.control, &mut config, path)),
                Ok(SIGTERM) => return drain(server, config.engine.drain_timeout, signals, left),
                _ => return stop(server, signals, left),
            },
            recv(requests) -> request => match request {
                // Whoever asked may be gone.
                Ok(Request::Reload(reply)) => drop(reply.send(reload(server, events.control, &mut config, path))),
                Ok(Request::Drain) => return drain(server, config.engine.drain_timeout, signals, left),
                Err(_) => requests = never(),
            },
            recv(server.ended()) -> ended => {
                if let Ok(first) = ended {
                    fail(&Ending::of(server), first, signals, left);
                }
                return ExitCode::FAILURE;
            }
        }
    }
}

/// Replaces the fleet, or keeps everything as it is when anything is wrong. How many groups there are then.
fn reload(
    server: &Server,
    control: Option<&Control>,
    running: &mut Config,
    path: Option<&PathBuf>,
) -> Result<usize, Vec<Problem>> {
    notify(&[NotifyState::Reloading]);
    let reloaded: Result<usize, Vec<Problem>> = server.exclusively(|| {
        let Loaded {
            config: fresh,
            fleet,
            tls,
        } = load(path, Some(&server.snapshot().tls), registry::open)?;
        let is_file = |config: &Config| matches!(config.registry, RegistryConfig::File { .. });
        let are_files = is_file(&fresh) && is_file(running);
        if fresh.registry != running.registry && !are_files {
            // What the control plane writes would go to one, and what shards look up come from the other.
            let found = "another registry than the one in use";
            let accepted = "the same one until a restart";
            return Err(vec![Problem::new("registry", found, accepted)]);
        }
        warn_of(&fresh, &fleet);
        if fresh.needs_restart(running) {
            warn!(
                "listeners, shards, max_sessions, the control plane, addresses of RADIUS and what is asked of Open5GS \
                 take effect at the next restart"
            );
        }
        let groups = fleet.counts().groups;
        server.replace(&fresh, fleet, tls);
        if let Some(control) = control {
            control.follow(&fresh);
        }
        info!(groups, "reloaded");
        // What only a restart changes is still as it was.
        running.engine.drain_timeout = fresh.engine.drain_timeout;
        Ok(groups)
    });
    if let Err(problems) = &reloaded {
        for problem in problems {
            error!(%problem, "refused");
        }
        error!(
            problems = problems.len(),
            "reload refused; everything stays as it was"
        );
    }
    give_back();
    notify(&[NotifyState::Ready]);
    reloaded
}

/// B-KEEP-4: ends the sessions within the drain time, then whatever is left.
fn drain(
    server: &Server,
    timeout: Duration,
    signals: &Receiver<i32>,
    left: &mut Vec<Usage>,
) -> ExitCode {
    notify(&[NotifyState::Stopping]);
    info!(?timeout, "draining");
    let window = timeout.saturating_mul(DRAIN_WINDOW_PERCENT) / 100;
    server.drain(u64::try_from(window.as_millis()).unwrap_or(u64::MAX));
    await_end(&Ending::of(server), &after(timeout), signals, left);
    ExitCode::SUCCESS
}

fn stop(server: &Server, signals: &Receiver<i32>, left: &mut Vec<Usage>) -> ExitCode {
    notify(&[NotifyState::Stopping]);
    server.stop();
    await_end(&Ending::of(server), &never(), signals, left);
    ExitCode::SUCCESS
}

/// Shards that end, how many of them run, and what ends them at once.
struct Ending<'a> {
    ended: &'a Receiver<ShardEnded>,
    running: usize,
    stop: Box<dyn Fn() + 'a>,
}

impl<'a> Ending<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            ended: server.ended(),
            running: server.shards(),
            stop: Box::new(|| server.stop()),
        }
    }
}

/// A shard has ended that nobody told to. The others' sessions end too, but what was billed of them is kept (B-BILL-1).
fn fail(ending: &Ending<'_>, first: ShardEnded, signals: &Receiver<i32>, left: &mut Vec<Usage>) {
    let ShardEnded { index, result } = first;
    match result {
        Ok(share) => left.extend(share.usage),
        Err(reason) => error!(shard = index, %reason, "a shard failed; its sessions are lost"),
    }
    (ending.stop)();
    let others = Ending {
        ended: ending.ended,
        running: ending.running.saturating_sub(1),
        stop: Box::new(|| (ending.stop)()),
    };
    await_end(&others, &never(), signals, left);
}

/// Takes what shards leave behind until all have ended.
fn await_end(
    ending: &Ending<'_>,
    time_out: &Receiver<std::time::Instant>,
    signals: &Receiver<i32>,
    left: &mut Vec<Usage>,
) {
    let mut totals = Totals::default();
    let mut running = ending.running;
    while running > 0 {
        select! {
            recv(ending.ended) -> ended => {
                running = running.saturating_sub(1);
                match ended.map(|ended| ended.result) {
                    Ok(Ok(share)) => {
                        totals.add(&share.totals);
                        left.extend(share.usage);
                    }
                    Ok(Err(reason)) => error!(%reason, "a shard failed while ending"),
                    Err(_) => break,
                }
            },
            recv(time_out) -> _ => (ending.stop)(),
            recv(signals) -> signal => if signal != Ok(SIGHUP) {
                (ending.stop)();
            },
        }
    }
    let ended: Vec<String> = totals
        .ended
        .iter()
        .map(|(reason, count)| format!("{reason}={count}"))
        .collect();
    let ended = ended.join(" ");
    info!(
        accepted = totals.accepted,
        established = totals.established,
        handed_over = totals.handed_over,
        renewed = totals.renewed,
        in_mqtt = totals.billed.device_leg,
        out_mqtt = totals.billed.upstream_leg,
        dropped = totals.dropped,
        buffers_exhausted = totals.buffers_exhausted,
        ended,
        live = totals.live,
        buffers_in_use = totals.buffers_in_use,
        waiting_bytes = totals.waiting_bytes,
        "stopped",
    );
}

/// Logs what is allowed and may still not be meant.
fn warn_of(config: &Config, fleet: &Fleet) {
    for warning in warnings(config, fleet) {
        warn!("{warning}");
    }
}

/// Says everything that is wrong, one problem a line, to whoever started the program.
pub fn report(problems: &[Problem]) {
    let mut output = std::io::stderr().lock();
    for problem in problems {
        // With standard error closed there is nobody to tell.
        drop(writeln!(output, "ringbeam: {problem}"));
    }
}

fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        warn!(%error, "systemd was not notified");
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use ringbeam_proto::billing::Counts;
    use ringbeam_proto::platform::Platform;

    use super::*;
    use crate::shard::Left;

    #[test]
    fn b_bill_1_a_shard_that_fails_costs_the_others_no_usage() {
        let (sender, ended) = bounded(3);
        let usage = Usage {
            imsi: "440100000000001".parse().unwrap(),
            platform: Platform::V201912,
            over_tls: false,
            counts: Counts::default(),
        };
        let is_stopped = Cell::new(false);
        let ending = Ending {
            ended: &ended,
            running: 3,
            stop: Box::new(|| {
                is_stopped.set(true);
                for index in [0, 2] {
                    let share = Left {
                        usage: vec![usage],
                        ..Left::default()
                    };
                    let result = Ok(share);
                    sender.send(ShardEnded { index, result }).unwrap();
                }
            }),
        };
        let first = ShardEnded {
            index: 1,
            result: Err("it panicked".to_owned()),
        };
        let mut left = Vec::new();
        fail(&ending, first, &never(), &mut left);
        assert!(is_stopped.get());
        assert_eq!(left, [usage, usage]);
    }
}
