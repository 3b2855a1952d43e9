//! Demo: everything of the entry point on one machine, without root and without a network: a real broker
//! on a loopback port, the sample fleet, one message sent through it, and what to try next.

pub mod broker;
mod client;

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context as _;
use signal_hook::consts::SIGHUP;

use self::broker::Broker;
use crate::config::{Config, Listener};
use crate::fleet::Fleet;
use crate::serve::{clients, signals};
use crate::server::{Server, StartError};
use crate::tls::Roots;

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
    let server = start(port, &text)?;
    let Some((_, address)) = server.addresses().first() else {
        anyhow::bail!("the entry point listens nowhere");
    };
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
    let received = client::send_through(DEVICE, *address, broker.address(), topic, b"21.5")
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
    writeln!(
        output,
        "Every address of 127.1.0.0/16 is a SIM too. Ctrl-C ends it."
    )?;
    output.flush()?;
    drop(output);

    while signals.recv().is_ok_and(|signal| signal == SIGHUP) {}
    server.stop();
    Ok(ExitCode::SUCCESS)
}

/// Starts the entry point on the first free port.
fn start(port: u16, fleet: &str) -> anyhow::Result<Server> {
    for port in port..=port.saturating_add(PORTS_TRIED) {
        let fleet = Fleet::from_json("the sample fleet", fleet)
            .map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let config = Config {
            listeners: vec![Listener {
                network: "default".into(),
                address,
            }],
            ..Config::default()
        };
        let tls = clients(Roots::system(), &fleet, None)?;
        match Server::start(&config, fleet, tls) {
            Err(StartError::Listen { error, .. })
                if error.kind() == std::io::ErrorKind::AddrInUse => {}
            started => return Ok(started?),
        }
    }
    anyhow::bail!("no port is free from {port} on")
}
