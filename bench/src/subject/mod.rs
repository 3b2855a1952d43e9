//! Subject: what stands between the devices and the upstream. Each is started fresh for every round, from a
//! configuration in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context as _;
use minijinja::Environment;
use serde::Serialize;

use crate::clock;
use crate::cpu;
use crate::cpus::Cpus;
use crate::interrupt::Interrupt;
use crate::ports;
use crate::process::Process;

pub mod haproxy;
pub mod mosquitto;
pub mod nginx;
pub mod ringbeam;

/// How long a process must have done nothing to count as settled.
const QUIET: Duration = Duration::from_millis(60);

/// What can be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// Nothing: the load goes straight to the upstream.
    Direct,
    /// ringbeam under platform version 201912, both topic rewritings on.
    Ringbeam201912,
    /// ringbeam under platform version 201509, both topic rewritings on.
    Ringbeam201509,
    /// ringbeam under 201912, with messages that may wait 200 µs for each other under load.
    RingbeamCoalesce,
    /// HAProxy in TCP mode, no rewriting.
    Haproxy,
    /// The same with splicing on.
    HaproxySplice,
    /// The same with TLS towards the upstream.
    HaproxyTls,
    /// nginx's stream module, no rewriting.
    Nginx,
    /// mosquitto with a bridge: all devices over one upstream session, topics with a prefix.
    MosquittoBridge,
    /// A proxy on another machine, which is started and configured there.
    Remote,
}

/// What a subject is started with.
#[derive(Debug, Serialize)]
pub struct Setting {
    /// The port on loopback that devices connect to.
    pub port: u16,
    /// The upstream's port on loopback.
    pub upstream_port: u16,
    /// Shards, threads or worker processes.
    pub threads: u32,
    /// Quality of service of the messages.
    pub qos: u8,
    /// Sessions that it must be able to hold.
    pub sessions: u64,
    /// Descriptors that a process may have.
    pub descriptors: u64,
    /// Processors, as a list.
    #[serde(serialize_with = "as_text")]
    pub cpus: Cpus,
    /// A folder for its files.
    pub folder: PathBuf,
    /// The upstream's certificate, where it speaks TLS.
    pub certificate: Option<PathBuf>,
    /// Whether its TLS may be resumed.
    pub has_tickets: bool,
}

impl Subject {
    /// All that this machine can start, in the order of reports.
    pub const ALL: [Self; 9] = [
        Self::Direct,
        Self::Ringbeam201912,
        Self::Ringbeam201509,
        Self::RingbeamCoalesce,
        Self::Haproxy,
        Self::HaproxySplice,
        Self::HaproxyTls,
        Self::Nginx,
        Self::MosquittoBridge,
    ];

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// As the command line and the rows name it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Ringbeam201912 => "ringbeam-201912",
            Self::Ringbeam201509 => "ringbeam-201509",
            Self::RingbeamCoalesce => "ringbeam-coalesce",
            Self::Haproxy => "haproxy",
            Self::HaproxySplice => "haproxy-splice",
            Self::HaproxyTls => "haproxy-tls",
            Self::Nginx => "nginx",
            Self::MosquittoBridge => "mosquitto-bridge",
            Self::Remote => "remote",
        }
    }

    /// One line on what it is and does.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::Direct => "no proxy: the load goes straight to its own sink",
            Self::Ringbeam201912 => {
                "platform version 201912: reads and checks every packet, applies both topic rewritings, counts for billing"
            }
            Self::Ringbeam201509 => {
                "platform version 201509: reads and checks every packet, applies both topic rewritings, counts for billing, acknowledges QoS 1 and 2 itself"
            }
            Self::RingbeamCoalesce => {
                "platform version 201912 with `coalesce_us = 200`: under load a message waits that long for others at most"
            }
            Self::Haproxy => "TCP proxy: copies bytes and knows nothing of MQTT",
            Self::HaproxySplice => {
                "TCP proxy: lets the kernel move bytes (splice) and knows nothing of MQTT"
            }
            Self::HaproxyTls => {
                "TCP proxy with TLS towards the upstream: copies bytes and knows nothing of MQTT"
            }
            Self::Nginx => "TCP proxy (stream module): copies bytes and knows nothing of MQTT",
            Self::MosquittoBridge => {
                "MQTT broker with a bridge: sends all devices' messages over one upstream session, topics with a prefix"
            }
            Self::Remote => "a proxy on another machine",
        }
    }

    /// Whether it rewrites topics as devices' groups say.
    #[must_use]
    pub fn rewrites(self) -> bool {
        matches!(
            self,
            Self::Ringbeam201912 | Self::Ringbeam201509 | Self::RingbeamCoalesce
        )
    }

    /// Whether it can use several threads.
    #[must_use]
    pub fn has_threads(self) -> bool {
        !matches!(self, Self::Direct | Self::MosquittoBridge | Self::Remote)
    }

    /// Program and version, such as `HAProxy 2.6.12`; empty where there is none to name.
    ///
    /// # Errors
    /// When it is not there, with the command that installs it.
    pub fn version(self, bin_dir: &Path) -> anyhow::Result<String> {
        match self {
            Self::Direct | Self::Remote => Ok(String::new()),
            Self::Ringbeam201912 | Self::Ringbeam201509 | Self::RingbeamCoalesce => {
                ringbeam::version(bin_dir)
            }
            Self::Haproxy | Self::HaproxySplice | Self::HaproxyTls => haproxy::version(),
            Self::Nginx => nginx::version(),
            Self::MosquittoBridge => mosquitto::version(),
        }
    }

    /// Starts it and waits until it serves and has come to rest. `None` where there is no process.
    ///
    /// # Errors
    /// When it does not start, with what it printed.
    pub fn start(
        self,
        setting: &Setting,
        bin_dir: &Path,
        interrupt: &Interrupt,
    ) -> anyhow::Result<Option<Process>> {
        let command = match self {
            Self::Direct | Self::Remote => return Ok(None),
            Self::Ringbeam201912 | Self::Ringbeam201509 | Self::RingbeamCoalesce => {
                ringbeam::command(self, setting, bin_dir)?
            }
            Self::Haproxy | Self::HaproxySplice | Self::HaproxyTls => {
                haproxy::command(self, setting)?
            }
            Self::Nginx => nginx::command(setting)?,
            Self::MosquittoBridge => mosquitto::bridge(setting)?,
        };
        let mut process = Process::start(self.name(), command)?;
        process.wait_until("its port to listen", interrupt, |process| {
            let is_ready = !self.rewrites() || ringbeam::is_ready(&process.output());
            Ok(is_ready && ports::is_listening(setting.port)?)
        })?;
        settle(&mut process, interrupt)?;
        Ok(Some(process))
    }
}

/// Waits until a fresh process does nothing any more, so that its start is in no figure.
fn settle(process: &mut Process, interrupt: &Interrupt) -> anyhow::Result<()> {
    let mut last = None;
    let mut since = clock::now();
    process.wait_until("it to come to rest", interrupt, |process| {
        let members = process.members()?;
        let worked = cpu::of(&members).ok().map(|time| (members, time));
        if worked.is_none() || worked != last {
            last = worked;
            since = clock::now();
        }
        Ok(since.elapsed() > QUIET)
    })
}

/// Fills a template in with a setting and writes it as a file of the setting's folder.
///
/// # Errors
/// When the template is wrong or the file cannot be written.
pub fn write_config(
    name: &str,
    template: &str,
    values: impl Serialize,
    folder: &Path,
) -> anyhow::Result<PathBuf> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
    environment.set_keep_trailing_newline(true);
    let text = environment
        .render_str(template, values)
        .with_context(|| name.to_owned())?;
    let path = folder.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// What a program prints about its version, or how to install it.
fn printed(program: &str, argument: &str, package: &str) -> anyhow::Result<String> {
    let output = Command::new(program)
        .arg(argument)
        .output()
        .with_context(|| format!("not installed: apt-get install {package}"))?;
    let text = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn as_text<S: serde::Serializer>(cpus: &Cpus, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(cpus)
}
