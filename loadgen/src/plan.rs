//! Plan: the options of any command, resolved into one description of a run that every part of the generator
//! reads.

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use ipnet::IpNet;

use crate::flood::FloodPlan;
use crate::message::HEAD_BYTES;
use crate::options::{
    ConnectOptions, FanoutOptions, FleetOptions, MessageOptions, MixedOptions, OwnSinkOptions,
    P2pOptions, Progress, PublishOptions, SinkChoice, StormOptions, Suffix, TimeOptions,
};
use crate::schedule::Spread;
use crate::sims::Sims;
use crate::sink::Identity;
use crate::wire::{Qos, Version};

/// Largest payload: what a packet may hold, less the longest topic and properties.
const PAYLOAD_MAX: usize = 268_435_455 - 65_535 - 16;

/// Slowest and fastest rates, per second: what lies beyond them is a slip of the pen.
const RATE_MIN: f64 = 0.000_01;
const RATE_MAX: f64 = 1e8;

/// Longest span of a run.
const TIME_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// Largest properties of a flood's messages, in bytes.
const FLOOD_BYTES_MAX: usize = 1024 * 1024;

/// Most devices: their numbers go into client ids and messages.
const DEVICES_MAX: u32 = 10_000_000;

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What the devices do.
    pub kind: Kind,
    /// The entry point.
    pub target: SocketAddr,
    /// Where publishers connect, where that is somewhere else.
    pub publish_to: Option<SocketAddr>,
    /// Who the devices are.
    pub sims: Sims,
    /// Devices that publish; all others come after them.
    pub publishers: u32,
    /// Devices that subscribe.
    pub subscribers: u32,
    /// Subscribers that read slowly.
    pub slow_readers: u32,
    /// How slowly, in bytes per second.
    pub slow_rate: u32,
    /// Connections that stay half open.
    pub half_open: u32,
    /// What floods beside them.
    pub flood: Option<FloodPlan>,
    /// How connections are opened.
    pub opening: Opening,
    /// MQTT versions, in turn.
    pub versions: Vec<Version>,
    /// In seconds; 0 is none.
    pub keep_alive: u16,
    /// How often devices ping; zero is never.
    pub ping_every: Duration,
    /// Threads of the generator.
    pub threads: u32,
    /// What schedule and payload follow from.
    pub seed: u64,
    /// Who checks.
    pub receivers: Receivers,
    /// What is sent.
    pub message: Message,
    /// When it is sent.
    pub pace: Pace,
    /// How long messages are sent before anything is measured.
    pub warmup: Duration,
    /// How long is measured, or connections are held.
    pub duration: Duration,
    /// Where the result goes.
    pub output: Output,
}

/// What the devices do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// They publish to the broker.
    Publish,
    /// They are connected, and that is all.
    Connect,
    /// Few publish to many.
    Fanout,
    /// Each publishes to one other.
    P2p,
    /// They are cut off and come back, so many times.
    Storm(u32),
}

/// How connections are opened.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Connections per second; 0 is as fast as they will.
    pub ramp: f64,
    /// Connections under way at once.
    pub at_once: u32,
    /// When one has failed.
    pub timeout: Duration,
}

/// Who checks what arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receivers {
    /// Nobody.
    Nobody,
    /// A sink somewhere, which is asked at the end.
    Sink(SocketAddr),
    /// A sink in this process.
    OwnSink(SocketAddr, Option<Identity>),
    /// The devices that subscribe.
    Devices,
}

/// What is sent, and how it has to arrive.
#[derive(Clone, Debug)]
pub struct Message {
    /// Bytes of payload.
    pub payload: usize,
    /// In turn.
    pub qos: Vec<Qos>,
    topic: String,
    expected: String,
    filter: String,
    /// From when on a message counts as stalled.
    pub stall_limit: Duration,
}

/// When messages are sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Pace {
    /// So many a second, of all devices together.
    Rate(f64, Spread),
    /// So many in flight per device.
    Window(u32),
    /// One from every device, then again when all have come in.
    Lockstep,
    /// One after each connect.
    Once,
    /// Never.
    Silent,
}

impl Pace {
    /// Whether messages are sent because others have come in.
    #[must_use]
    pub fn has_window(self) -> bool {
        matches!(self, Self::Window(_) | Self::Lockstep)
    }
}

/// Where the result goes.
#[derive(Clone, Debug)]
pub struct Output {
    /// How progress is shown.
    pub progress: Option<Progress>,
    /// A JSON file.
    pub json: Option<PathBuf>,
    /// An HDR log.
    pub hdr: Option<PathBuf>,
    /// Whether a line on standard input is awaited.
    pub waits: bool,
}

impl Plan {
    /// How many devices there are, half-open ones left out.
    #[must_use]
    pub fn devices(&self) -> u32 {
        self.publishers + self.subscribers + self.slow_readers
    }

    /// How many arrivals each message has.
    #[must_use]
    pub fn receivers_per_message(&self) -> u64 {
        match self.kind {
            Kind::Fanout if self.is_shared() => 1,
            Kind::Fanout => self.subscribers.into(),
            Kind::Publish | Kind::Connect | Kind::P2p | Kind::Storm(_) => 1,
        }
    }

    /// Whether the subscribers share a subscription, so that one of them gets each message.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.message.filter.starts_with("$share/")
    }

    /// Descriptors that the run needs.
    #[must_use]
    pub fn descriptors(&self) -> u64 {
        let devices = u64::from(self.devices()) + u64::from(self.half_open);
        let has_own_sink = matches!(self.receivers, Receivers::OwnSink(..));
        let sink = if has_own_sink { devices } else { 0 };
        // The broker's end of a flood's connection has two for a moment.
        let flood = self
            .flood
            .map_or(0, |flood| 3 * u64::from(flood.connections));
        devices + sink + flood + 64 + 16 * u64::from(self.threads)
    }

    /// The topic that a device publishes to, and the one that its messages have to arrive under.
    #[must_use]
    pub fn topics(&self, number: u32) -> (String, String) {
        let imsi = self.sims.of(number).and_then(|sim| sim.imsi);
        let fill = |template: &str| fill(template, number, imsi);
        (fill(&self.message.topic), fill(&self.message.expected))
    }

    /// The filter of a subscriber; in p2p, of the one that belongs to publisher `number`.
    #[must_use]
    pub fn filter(&self, number: u32) -> String {
        let imsi = self.sims.of(number).and_then(|sim| sim.imsi);
        fill(&self.message.filter, number, imsi)
    }

    /// A plan for `publish`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn publish(options: &PublishOptions) -> anyhow::Result<Self> {
        let pace = match (options.window, options.lockstep) {
            (Some(0), _) => bail!("--window: at least 1 is needed"),
            (Some(window), _) => Pace::Window(window),
            (None, true) => Pace::Lockstep,
            (None, false) => rate(&options.time)?,
        };
        let mut plan = Self::of(&options.fleet, &options.message, "ringbeam/%i")?;
        plan.publishers = options.connections;
        plan.receivers = receivers(&options.sink)?;
        if options.flood > 0 {
            ensure!(
                (1..=FLOOD_BYTES_MAX).contains(&options.flood_properties),
                "--flood-properties: 1 to {FLOOD_BYTES_MAX} bytes"
            );
            plan.flood = Some(FloodPlan {
                connections: options.flood,
                properties: options.flood_properties,
            });
        }
        let is_acknowledged = plan.message.qos.iter().all(|qos| *qos != Qos::AtMostOnce);
        let has_own = matches!(plan.receivers, Receivers::OwnSink(..));
        if pace.has_window() && !is_acknowledged && !has_own {
            bail!(
                "--window and --lockstep at QoS 0 need --own-sink: nothing else tells that a message has come in"
            );
        }
        plan.timed(&options.time, pace)
    }

    /// A plan for `mixed`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn mixed(options: &MixedOptions) -> anyhow::Result<Self> {
        let mut publish = options.publish.clone();
        if publish.message.qos.is_empty() {
            publish.message.qos = vec![Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce];
        }
        if publish.fleet.mqtt.is_empty() {
            publish.fleet.mqtt = vec![Version::V31, Version::V311, Version::V5];
        }
        let mut plan = Self::publish(&publish)?;
        plan.half_open = options.half_open;
        plan.checked()
    }

    /// A plan for `connect`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn connect(options: &ConnectOptions) -> anyhow::Result<Self> {
        let mut plan = Self::without_messages(&options.fleet)?;
        plan.publishers = options.connections;
        plan.duration = options.hold;
        plan.receivers = own_sink(&options.own).unwrap_or(Receivers::Nobody);
        plan.checked()
    }

    /// A plan for `storm`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn storm(options: &StormOptions) -> anyhow::Result<Self> {
        let mut plan = Self::of(&options.fleet, &options.message, "ringbeam/%i")?;
        plan.kind = Kind::Storm(options.storms);
        plan.publishers = options.connections;
        plan.duration = options.hold;
        plan.pace = Pace::Once;
        plan.receivers = receivers(&options.sink)?;
        plan.checked()
    }

    /// A plan for `fanout`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn fanout(options: &FanoutOptions) -> anyhow::Result<Self> {
        let mut plan = Self::of(&options.fleet, &options.message, "ringbeam/fanout")?;
        plan.kind = Kind::Fanout;
        plan.publishers = options.publishers;
        plan.subscribers = options.connections;
        plan.slow_readers = options.slow_readers;
        plan.slow_rate = options.slow_rate.max(10);
        plan.between_devices(options.filter.as_ref(), options.publish_to.as_ref())?;
        plan.timed(&options.time, rate(&options.time)?)
    }

    /// A plan for `p2p`.
    ///
    /// # Errors
    /// When the options do not fit each other.
    pub fn p2p(options: &P2pOptions) -> anyhow::Result<Self> {
        let mut plan = Self::of(&options.fleet, &options.message, "ringbeam/p2p/%i")?;
        plan.kind = Kind::P2p;
        plan.publishers = options.pairs;
        plan.subscribers = options.pairs;
        plan.between_devices(options.filter.as_ref(), options.publish_to.as_ref())?;
        plan.timed(&options.time, rate(&options.time)?)
    }

    fn between_devices(
        &mut self,
        filter: Option<&String>,
        publish_to: Option<&String>,
    ) -> anyhow::Result<()> {
        self.receivers = Receivers::Devices;
        if let Some(filter) = filter {
            self.message.filter.clone_from(filter);
        } else if self.kind == Kind::Fanout {
            // Of all publishers, whatever their numbers are.
            let filter = &mut self.message.filter;
            *filter = filter.replace("%i", "+").replace("%s", "+");
        }
        self.publish_to = publish_to
            .map(|name| address("--publish-to", name, &self.sims.networks()))
            .transpose()?;
        Ok(())
    }

    fn timed(mut self, time: &TimeOptions, pace: Pace) -> anyhow::Result<Self> {
        self.pace = pace;
        self.warmup = time.warmup;
        self.duration = time.duration;
        ensure!(
            !time.duration.is_zero(),
            "--duration: more than 0 is needed"
        );
        self.checked()
    }

    fn without_messages(fleet: &FleetOptions) -> anyhow::Result<Self> {
        let sims = Sims::new(&fleet.sims, &fleet.imsi_base)?;
        let target = address("--target", &fleet.target, &fleet.sims)?;
        ensure!(
            fleet.ramp == 0.0 || (RATE_MIN..=RATE_MAX).contains(&fleet.ramp),
            "--ramp: 0, or {RATE_MIN} to {RATE_MAX} connections a second"
        );
        ensure!(fleet.threads > 0, "--threads: at least 1 is needed");
        let half = Duration::from_secs(fleet.keep_alive.into()) / 2;
        let versions = if fleet.mqtt.is_empty() {
            vec![Version::V311]
        } else {
            fleet.mqtt.clone()
        };
        Ok(Self {
            kind: Kind::Connect,
            target,
            publish_to: None,
            sims,
            publishers: 0,
            subscribers: 0,
            slow_readers: 0,
            slow_rate: 0,
            half_open: 0,
            flood: None,
            opening: Opening {
                ramp: fleet.ramp,
                at_once: fleet.connecting.max(1),
                timeout: fleet.connect_timeout,
            },
            versions,
            keep_alive: fleet.keep_alive,
            ping_every: fleet.ping_every.unwrap_or(half),
            threads: fleet.threads,
            seed: fleet.seed,
            receivers: Receivers::Nobody,
            message: Message {
                payload: HEAD_BYTES,
                qos: vec![Qos::AtMostOnce],
                topic: String::new(),
                expected: String::new(),
                filter: String::new(),
                stall_limit: Duration::from_secs(1),
            },
            pace: Pace::Silent,
            warmup: Duration::ZERO,
            duration: Duration::ZERO,
            output: Output {
                progress: fleet.progress,
                json: fleet.json.clone(),
                hdr: fleet.hdr.clone(),
                waits: fleet.wait,
            },
        })
    }

    fn of(fleet: &FleetOptions, message: &MessageOptions, topic: &str) -> anyhow::Result<Self> {
        let mut plan = Self::without_messages(fleet)?;
        plan.kind = Kind::Publish;
        ensure!(
            (HEAD_BYTES..=PAYLOAD_MAX).contains(&message.payload),
            "--payload: {HEAD_BYTES} to {PAYLOAD_MAX} bytes; the first {HEAD_BYTES} say what the message is"
        );
        let knows_imsi = !fleet.imsi_base.is_empty();
        let topic = message.topic.clone().unwrap_or_else(|| topic.to_owned());
        ensure!(
            knows_imsi || !topic.contains("%s"),
            "--topic: %s is the IMSI, which only --imsi-base tells"
        );
        let mut expected = message.expect_topic.clone().unwrap_or_else(|| {
            if knows_imsi {
                topic.replace("{{imsi}}", "%s")
            } else {
                topic.clone()
            }
        });
        if message.expect_suffix == Some(Suffix::Imsi) {
            ensure!(
                knows_imsi,
                "--expect-suffix: only --imsi-base tells the IMSI"
            );
            expected.push_str("/%s");
        }
        if !message.qos.is_empty() {
            plan.message.qos.clone_from(&message.qos);
        }
        plan.message.payload = message.payload;
        plan.message.filter = format!("{topic}/#");
        plan.message.topic = topic;
        plan.message.expected = expected;
        plan.message.stall_limit = message.stall_limit;
        Ok(plan)
    }

    fn checked(self) -> anyhow::Result<Self> {
        ensure!(
            self.warmup <= TIME_MAX && self.duration <= TIME_MAX,
            "--duration, --warmup, --hold: a year at most"
        );
        let all = u64::from(self.publishers)
            + u64::from(self.subscribers)
            + u64::from(self.slow_readers)
            + u64::from(self.half_open)
            // The SIM of the flood comes last.
            + u64::from(self.flood.is_some());
        let among_devices = matches!(self.kind, Kind::Fanout | Kind::P2p);
        ensure!(
            self.publishers > 0 && (self.subscribers > 0 || !among_devices),
            "--connections, --publishers, --pairs: at least 1 is needed"
        );
        ensure!(
            all <= DEVICES_MAX.into(),
            "--connections: {DEVICES_MAX} at most"
        );
        let last = all.try_into()?;
        let (topic, expected) = self.topics(last);
        for text in [topic, expected, self.filter(last)] {
            ensure!(
                text.len() <= usize::from(u16::MAX),
                "--topic, --filter: longer than 65,535 bytes"
            );
        }
        Ok(self)
    }
}

fn fill(template: &str, number: u32, imsi: Option<u64>) -> String {
    let filled = template.replace("%i", &number.to_string());
    match imsi {
        Some(imsi) => filled.replace("%s", &format!("{imsi:015}")),
        None => filled,
    }
}

fn rate(time: &TimeOptions) -> anyhow::Result<Pace> {
    let rate = time.rate.unwrap_or(100.0);
    ensure!(
        (RATE_MIN..=RATE_MAX).contains(&rate),
        "--rate: {RATE_MIN} to {RATE_MAX} messages a second"
    );
    Ok(Pace::Rate(rate, time.schedule))
}

fn receivers(choice: &SinkChoice) -> anyhow::Result<Receivers> {
    if let Some(own) = own_sink(&choice.own) {
        return Ok(own);
    }
    match &choice.sink {
        Some(sink) => Ok(Receivers::Sink(address("--sink", sink, &[])?)),
        None => Ok(Receivers::Nobody),
    }
}

fn own_sink(options: &OwnSinkOptions) -> Option<Receivers> {
    let identity = options
        .own_sink_tls_cert
        .clone()
        .zip(options.own_sink_tls_key.clone());
    let identity = identity.map(|(certificate, key)| Identity {
        certificate,
        key,
        client_ca: None,
        has_tickets: !options.own_sink_no_tickets,
    });
    let address = options.own_sink?;
    Some(Receivers::OwnSink(address, identity))
}

/// An address that the SIMs can reach, out of those that a name has.
fn address(option: &str, name: &str, sims: &[IpNet]) -> anyhow::Result<SocketAddr> {
    let addresses: Vec<_> = name
        .to_socket_addrs()
        .with_context(|| format!("{option}: {name}"))?
        .collect();
    let fits = |address: &&SocketAddr| {
        let mut networks = sims.iter();
        networks.all(|network| network.network().is_ipv4() == address.is_ipv4())
    };
    addresses.iter().find(fits).copied().with_context(|| {
        format!("{option}: {name} cannot be reached from --sims: IPv4 and IPv6 do not meet")
    })
}
