//! Cast: everything that runs for one round: the generator, the subject, a broker where the scenario has a real one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::{Resource, getrlimit};
use tempfile::TempDir;

use crate::generator::{self, Route};
use crate::load::{Load, Phase, Progress};
use crate::plan::Entrant;
use crate::ports::{self, Port};
use crate::process::Process;
use crate::round::{PATIENCE, Stage};
use crate::scenario::{Place, Scenario, Work};
use crate::strace::Strace;
use crate::subject::{Setting, Subject, mosquitto};

/// Sessions that a proxy must hold at least: those of the largest scenario and some more.
const SESSIONS: u64 = 9600;
/// Descriptors of a proxy that are no session's.
const OTHER_DESCRIPTORS: u64 = 400;

/// Everything that runs for one round; ends with it.
#[derive(Debug)]
pub struct Cast {
    /// The generator.
    pub load: Load,
    /// The real broker, where there is one.
    pub broker: Option<Process>,
    /// The subject, where it is a process.
    pub subject: Option<Process>,
    /// All processes of the subject.
    pub members: Vec<u32>,
    /// While system calls are counted.
    pub strace: Option<Strace>,
    _ports: [Port; 2],
    _folders: [TempDir; 2],
}

impl Cast {
    /// Starts the load, which waits, then the subject.
    ///
    /// # Errors
    /// When one of them does not start.
    pub fn start(
        stage: &Stage<'_>,
        entrant: &Entrant,
        scenario: &Scenario,
        round: u32,
    ) -> anyhow::Result<Self> {
        let folders = [TempDir::new()?, TempDir::new()?];
        let ports = [ports::claim()?, ports::claim()?];
        let setting = setting(stage, (entrant, scenario), &ports, folders[0].path())?;
        let broker = if matches!(scenario.work, Work::Fanout(_)) {
            Some(start_broker(stage, &setting, folders[1].path())?)
        } else {
            None
        };
        let route = route(stage, entrant, &setting, broker.is_some());
        let command = generator::command(stage.plan, entrant, scenario, &route, round);
        let verdict = folders[1].path().join("verdict.json");
        let mut load = Load::start(command, verdict)?;
        let waits = |progress: &Progress| progress.phase == Phase::Waiting;
        load.wait_for("the generator to listen", PATIENCE, stage.interrupt, waits)?;
        let subject = entrant
            .subject
            .start(&setting, &stage.plan.bin_dir, stage.interrupt)?;
        if entrant.subject == Subject::MosquittoBridge {
            let what = "the bridge to connect upstream";
            load.wait_for(what, PATIENCE, stage.interrupt, |progress| {
                progress.sink_sessions > 0
            })?;
        }
        let members = match &subject {
            Some(process) => process.members()?,
            None => Vec::new(),
        };
        Ok(Self {
            load,
            broker,
            subject,
            members,
            strace: None,
            _ports: ports,
            _folders: folders,
        })
    }

    /// Fails if the subject or the broker has ended.
    ///
    /// # Errors
    /// With what it printed.
    pub fn check(&mut self) -> anyhow::Result<()> {
        let processes = [&mut self.subject, &mut self.broker];
        processes.into_iter().flatten().try_for_each(Process::check)
    }
}

fn setting(
    stage: &Stage<'_>,
    (entrant, scenario): (&Entrant, &Scenario),
    [port, upstream_port]: &[Port; 2],
    folder: &Path,
) -> anyhow::Result<Setting> {
    let descriptors = getrlimit(Resource::Nofile).maximum.unwrap_or(1 << 20);
    let sessions = descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2;
    Ok(Setting {
        port: port.number(),
        upstream_port: upstream_port.number(),
        threads: entrant.threads,
        qos: scenario.qos,
        sessions: sessions.min(SESSIONS),
        descriptors: descriptors.min(1 << 20),
        cpus: if scenario.place == Place::ProxyCpu {
            stage.plan.proxy_cpus.first()
        } else {
            stage.plan.proxy_cpus.clone()
        },
        folder: folder.to_owned(),
        certificate: scenario.has_tls.then(|| stage.tls.0.clone()),
        has_tickets: scenario.has_tickets,
    })
}

fn start_broker(stage: &Stage<'_>, of_subject: &Setting, folder: &Path) -> anyhow::Result<Process> {
    let upstream_port = of_subject.upstream_port;
    let setting = Setting {
        cpus: stage.plan.load_cpus.clone(),
        folder: folder.to_owned(),
        certificate: None,
        ..*of_subject
    };
    let mut broker = Process::start("mosquitto", mosquitto::broker(&setting)?)?;
    let listens = |_: &Process| ports::is_listening(upstream_port);
    broker.wait_until("the broker to listen", stage.interrupt, listens)?;
    Ok(broker)
}

fn route(stage: &Stage<'_>, entrant: &Entrant, setting: &Setting, has_broker: bool) -> Route {
    let upstream = format!("127.0.0.1:{}", setting.upstream_port);
    let (target, sink) = match &stage.plan.remote {
        Some(remote) => (
            remote.remote_target.clone().unwrap_or_default(),
            remote.sink_listen.to_string(),
        ),
        None if entrant.subject == Subject::Direct => (upstream.clone(), upstream),
        None => (format!("127.0.0.1:{}", setting.port), upstream),
    };
    let tls = setting.certificate.as_ref().map(|_| stage.tls.clone());
    Route {
        target,
        sink: (!has_broker).then_some(sink),
        tls,
        has_tickets: setting.has_tickets,
    }
}

/// Writes a certificate for `localhost` and 127.0.0.1 that signs itself, and its key, into a folder.
///
/// # Errors
/// When they cannot be made or written.
pub fn write_certificate(folder: &Path) -> anyhow::Result<(PathBuf, PathBuf)> {
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).context("certificate")?;
    let paths = (folder.join("upstream.pem"), folder.join("upstream.key"));
    fs::write(&paths.0, made.cert.pem())?;
    fs::write(&paths.1, made.signing_key.serialize_pem())?;
    Ok(paths)
}
