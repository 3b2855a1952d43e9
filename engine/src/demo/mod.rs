//! Demo: everything of the entry point on one machine, without root and without a network: a real broker
//! on a loopback port, the sample fleet, one message sent through it, and what to try next.

pub mod broker;
mod client;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, bounded, select};
use signal_hook::consts::SIGHUP;
use tempfile::TempDir;
use zeroize::Zeroizing;

use self::broker::Broker;
use crate::config::{Config, Listener, RegistryConfig};
use crate::control::{Control, ControlError, Ends, Request, audience};
use crate::registry::{EmbeddedRegistry, SecretKey, open, open_embedded, random};
use crate::resolver::Resolver;
use crate::serve::{clients, signals};
use crate::server::{Server, StartError};
use crate::shard::report::SimEvent;
use crate::sys::clock::unix_ms;
use crate::tls::Roots;

/// Who may sign in to the console.
const USER: &str = "demo@example.com";

/// Random bytes of the password.
const PASSWORD_BYTES: usize = 12;

/// The file of the registry's key.
const KEY_FILE: &str = "key";

/// The console's port, or the first that is free after it.
const CONTROL_PORT: u16 = 8080;

/// Requests of the control plane that wait.
const REQUESTS: usize = 4;

/// Ports that are tried one after another.
const PORTS_TRIED: u16 = 100;

/// The address of the sample fleet's one explicit SIM.
const DEVICE: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// The sample fleet, whose destination is replaced by the broker's address.
const FLEET: &str = include_str!("../../fleet.sample.json");
const DESTINATION: &str = "mqtt://127.0.0.1:1884";

/// Runs the demo until it is interrupted.
///
/// # Errors
/// When the broker or the entry point does not start, or the message does not come through.
pub fn run(port: u16) -> anyhow::Result<ExitCode> {
    let signals = signals()?;
    let broker = Broker::start(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    let upstream = format!("mqtt://{}", broker.address());
    let text = FLEET.replace(DESTINATION, &upstream);
    let registry = Registry::new(&text)?;
    let (server, config, events) = start(port, &registry)?;
    let (sender, requests) = bounded(REQUESTS);
    let control = control(
        config,
        &server,
        &Ends {
            requests: sender,
            events,
        },
    )?;
    let Some((_, address)) = server.addresses().first() else {
        anyhow::bail!("the entry point listens nowhere");
    };
    let address = *address;
    introduce((port, address), &broker, &registry, control.address())?;

    loop {
        select! {
            recv(signals) -> signal => if signal != Ok(SIGHUP) {
                break;
            },
            recv(requests) -> request => match request {
                // Its configuration is in no file, and its registry is always as it is.
                Ok(Request::Reload(reply)) => {
                    let groups = server.snapshot().fleet.counts().groups;
                    drop(reply.send(Ok(groups)));
                }
                Ok(Request::Drain) | Err(_) => break,
            },
        }
    }
    server.stop();
    control.finish(&[]);
    Ok(ExitCode::SUCCESS)
}

/// Sends a message through, and says what there is and what to try.
fn introduce(
    (port, address): (u16, SocketAddr),
    broker: &Broker,
    registry: &Registry,
    console: Option<SocketAddr>,
) -> anyhow::Result<()> {
    let mut output = std::io::stdout().lock();
    if port != 0 && address.port() != port {
        writeln!(
            output,
            "Port {port} is in use; this is port {} instead.",
            address.port()
        )?;
    }
    writeln!(output, "ready default={address}")?;
    writeln!(output, "The broker listens on {}.\n", broker.address())?;

    let topic = "sensors/{{imsi}}/temp";
    let received = client::send_through(DEVICE, address, broker.address(), topic, b"21.5")
        .context("the message did not come through")?;
    writeln!(
        output,
        "A device at {DEVICE}, a SIM of the sample fleet, published to {topic}"
    )?;
    writeln!(
        output,
        "The broker received     {}   {}\n",
        received.topic, received.payload
    )?;

    let (host, port) = (address.ip(), address.port());
    writeln!(output, "Try it: subscribe as one SIM, in one terminal,")?;
    writeln!(
        output,
        "  mosquitto_sub -A 127.1.0.7 -h {host} -p {port} -v -t 'greetings/#'"
    )?;
    writeln!(output, "and publish as another, in a second one:")?;
    writeln!(
        output,
        "  mosquitto_pub -A {DEVICE} -h {host} -p {port} -t greetings -m 'Hello, World'"
    )?;
    writeln!(
        output,
        "The subscriber sees the publisher's IMSI at the end of the topic."
    )?;
    writeln!(output, "Every address of 127.1.0.0/16 is a SIM too.\n")?;
    if let Some(address) = console {
        writeln!(output, "The console is at       http://{address}/")?;
        writeln!(output, "  user                  {USER}")?;
        writeln!(output, "  password, this once   {}", &*registry.password)?;
        writeln!(
            output,
            "Change the entry point of group g1 there, or add a SIM: the next session follows it."
        )?;
    }
    writeln!(output, "Ctrl-C ends it; nothing is kept.")?;
    output.flush()?;
    Ok(())
}

/// A registry for as long as the demonstration lasts.
struct Registry {
    folder: TempDir,
    /// The user's.
    password: Zeroizing<String>,
}

impl Registry {
    /// One that holds this fleet, and a user.
    fn new(fleet: &str) -> anyhow::Result<Self> {
        let folder = TempDir::with_prefix("ringbeam-demo-")?;
        std::fs::write(folder.path().join(KEY_FILE), &*SecretKey::new_text()?)?;
        let registry = Self {
            folder,
            password: Zeroizing::new(random::<PASSWORD_BYTES>()?),
        };
        let opened = open_embedded(&registry.config(), EmbeddedRegistry::open_or_create)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        opened
            .import(Path::new("the sample fleet"), fleet.as_bytes())?
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        opened.change(|moment| moment.put_user(USER, registry.password.as_bytes(), unix_ms()))?;
        Ok(registry)
    }

    fn config(&self) -> RegistryConfig {
        RegistryConfig::Embedded {
            path: self.folder.path().join("ringbeam.db"),
            secret_key_file: Some(self.folder.path().join(KEY_FILE)),
        }
    }
}

/// An entry point that has started, by which configuration, and what it tells of SIMs.
type Started = (Arc<Server>, Config, Receiver<SimEvent>);

/// Starts the entry point on the first free port.
fn start(port: u16, registry: &Registry) -> anyhow::Result<Started> {
    let resolver = Resolver::start()?;
    for port in port..=port.saturating_add(PORTS_TRIED) {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = Config {
            listeners: vec![Listener {
                network: "default".into(),
                address,
            }],
            registry: registry.config(),
            ..Config::default()
        };
        let fleet = open(&config.registry).and_then(|registry| registry.load());
        let fleet = fleet.map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let tls = clients(Roots::system(), &fleet, None)?;
        let (audience, events) = audience(&config);
        match Server::start_before(&config, fleet, tls, &resolver, audience) {
            Err(StartError::Listen { error, .. })
                if error.kind() == std::io::ErrorKind::AddrInUse => {}
            started => return Ok((Arc::new(started?), config, events)),
        }
    }
    anyhow::bail!("no port is free from {port} on")
}

/// Starts the control plane on the first free port.
fn control(mut config: Config, server: &Arc<Server>, ends: &Ends) -> anyhow::Result<Control> {
    for port in CONTROL_PORT..=CONTROL_PORT.saturating_add(PORTS_TRIED) {
        config.control.address = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        config.control.is_written = true;
        match Control::start(&config, server, ends.clone()) {
            Err(ControlError::Listen { .. }) => {}
            started => return started?.context("the control plane did not start"),
        }
    }
    anyhow::bail!("no port is free from {CONTROL_PORT} on")
}
