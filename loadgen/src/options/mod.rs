//! Options: the command line, as typed. What they mean is decided in [`crate::plan`].

pub mod scenario;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ipnet::IpNet;

use crate::schedule::Spread;
use crate::wire::{Qos, Version};

/// A fleet of MQTT devices, one SIM address each, and a null broker that checks every message.
///
/// The schedule of the messages follows from the seed alone, and latency counts from the time at which a message
/// should have been sent: an entry point that stalls cannot hide it. Every message carries its device, its sequence number,
/// its intended time, the topic it has to arrive under and a checksum; what is lost, duplicated, reordered, corrupted,
/// misrouted or under a wrong topic is counted where it arrives.
///
/// Exit status: 0 when everything arrived rightly, 1 when not or when the verdict could not be had, 2 when the
/// options were refused.
#[derive(Debug, Parser)]
#[command(name = "ringbeam-loadgen", version, max_term_width = 120)]
pub struct Options {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a null broker that checks what arrives, until Ctrl-C
    ///
    /// Prints "ready ADDRESS" once it accepts. `curl http://ADDRESS/verdict` shows what it has seen.
    Sink(SinkOptions),

    /// Publish from many devices, at a rate or with a window
    Publish(PublishOptions),

    /// Open connections, hold them, close them
    Connect(ConnectOptions),

    /// Publish from few devices to many, through a broker behind the entry point
    Fanout(FanoutOptions),

    /// Publish from each device to another one, through a broker behind the entry point
    P2p(P2pOptions),

    /// Cut all devices off and let them come back at once, several times
    Storm(StormOptions),

    /// Publish with every QoS and MQTT version at once, beside half-open devices
    Mixed(MixedOptions),

    /// Run what a TOML file describes; ready-made files are in loadgen/scenarios
    ///
    /// The file names the `command` and has the options of that command by their names. Options behind the file's
    /// name are added to it, or replace what it says.
    Scenario(ScenarioOptions),
}

/// A null broker.
#[derive(Clone, Debug, Args)]
pub struct SinkOptions {
    /// Where it listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:1884")]
    pub listen: SocketAddr,

    /// Threads that serve connections
    #[arg(long, default_value_t = NonZeroUsize::MIN)]
    pub threads: NonZeroUsize,

    /// Certificate chain, PEM: connections are MQTT in TLS
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub tls_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub tls_key: Option<PathBuf>,

    /// Who vouches for clients, PEM: they need a certificate then
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub client_ca: Option<PathBuf>,

    /// Give no tickets and remember no session, so that every handshake is a full one
    #[arg(long, requires = "tls_cert")]
    pub no_tickets: bool,

    /// Messages that take longer than this count as stalled
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s")]
    pub stall_limit: Duration,
}

/// Who the devices are, and what becomes of the result.
#[derive(Clone, Debug, Args)]
pub struct FleetOptions {
    /// The entry point
    #[arg(long, value_name = "HOST:PORT", help_heading = "Fleet")]
    pub target: String,

    /// Networks of source addresses; each address is a SIM
    #[arg(long, value_name = "CIDR", num_args = 1.., required = true, help_heading = "Fleet")]
    pub sims: Vec<IpNet>,

    /// The IMSI of address number 0 of each network, in order
    #[arg(long, value_name = "IMSI", num_args = 1.., help_heading = "Fleet")]
    pub imsi_base: Vec<u64>,

    /// Connections opened per second; 0: as fast as they will
    #[arg(
        long,
        value_name = "PER_SECOND",
        default_value_t = 1000.0,
        help_heading = "Fleet"
    )]
    pub ramp: f64,

    /// Connections that may be under way at once
    #[arg(long, value_name = "N", default_value_t = 256, help_heading = "Fleet")]
    pub connecting: u32,

    /// A device that is not connected by then has failed
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Fleet")]
    pub connect_timeout: Duration,

    /// MQTT version, or several for the devices in turn: 3.1, 3.1.1, 5 [default: 3.1.1; in mixed all of them]
    #[arg(long, value_name = "VERSION", value_delimiter = ',', num_args = 1.., help_heading = "Fleet")]
    pub mqtt: Vec<Version>,

    /// Keep alive in seconds; 0 is none
    #[arg(
        long,
        value_name = "SECONDS",
        default_value_t = 60,
        help_heading = "Fleet"
    )]
    pub keep_alive: u16,

    /// Every device pings this often, 50ms at least [default: half of keep alive]
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, help_heading = "Fleet")]
    pub ping_every: Option<Duration>,

    /// Threads of the generator; each has its share of the devices
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Fleet")]
    pub threads: u32,

    /// What the schedule and the payload follow from
    #[arg(
        long,
        value_name = "NUMBER",
        default_value_t = 1,
        help_heading = "Fleet"
    )]
    pub seed: u64,

    /// Wait for a line on standard input before the first connection
    #[arg(long, help_heading = "Fleet")]
    pub wait: bool,

    /// How progress is shown [default: a bar on a terminal, lines elsewhere]
    #[arg(long, value_name = "HOW", help_heading = "Result")]
    pub progress: Option<Progress>,

    /// Write the result to a file as JSON; - is standard output
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub json: Option<PathBuf>,

    /// Write latencies to a file as an HDR log, a line for each second
    #[arg(long, value_name = "FILE", help_heading = "Result")]
    pub hdr: Option<PathBuf>,
}

/// Who checks what devices publish.
#[derive(Clone, Debug, Args)]
pub struct SinkChoice {
    /// The sink behind the entry point, whose verdict is fetched at the end
    #[arg(
        long,
        value_name = "HOST:PORT",
        conflicts_with = "own_sink",
        help_heading = "Verification"
    )]
    pub sink: Option<String>,

    /// The sink in this process.
    #[command(flatten)]
    pub own: OwnSinkOptions,
}

/// A sink in the generator's own process.
#[derive(Clone, Debug, Args)]
pub struct OwnSinkOptions {
    /// Run the sink in this process, here, for the entry point to forward to
    #[arg(long, value_name = "ADDRESS", help_heading = "Verification")]
    pub own_sink: Option<SocketAddr>,

    /// Certificate chain of the own sink, PEM: it speaks TLS
    #[arg(long, value_name = "FILE", requires_all = ["own_sink", "own_sink_tls_key"], help_heading = "Verification")]
    pub own_sink_tls_cert: Option<PathBuf>,

    /// Its key, PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "own_sink_tls_cert",
        help_heading = "Verification"
    )]
    pub own_sink_tls_key: Option<PathBuf>,

    /// It gives no tickets and remembers no session, so that every handshake is a full one
    #[arg(long, requires = "own_sink_tls_cert", help_heading = "Verification")]
    pub own_sink_no_tickets: bool,
}

/// What a message looks like, and how it has to arrive.
#[derive(Clone, Debug, Args)]
pub struct MessageOptions {
    /// Bytes of payload; 32 are needed
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 64,
        help_heading = "Messages"
    )]
    pub payload: usize,

    /// QoS, or several for the devices in turn: 0, 1, 2 [default: 0; in mixed all of them]
    #[arg(long, value_delimiter = ',', num_args = 1.., help_heading = "Messages")]
    pub qos: Vec<Qos>,

    /// Topic; %i is the device's number (the pair's in p2p), %s its IMSI
    #[arg(long, help_heading = "Messages")]
    pub topic: Option<String>,

    /// Topic that messages have to arrive under [default: as published; with --imsi-base {{imsi}} is replaced]
    #[arg(long, value_name = "TOPIC", help_heading = "Verification")]
    pub expect_topic: Option<String>,

    /// What is appended to that topic: /IMSI
    #[arg(long, value_name = "WHAT", help_heading = "Verification")]
    pub expect_suffix: Option<Suffix>,

    /// Messages that take longer than this count as stalled; a sink of its own has its own limit
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "1s", help_heading = "Verification")]
    pub stall_limit: Duration,
}

/// When messages are sent.
#[derive(Clone, Debug, Args)]
pub struct TimeOptions {
    /// Messages a second, of all devices together [default: 100]
    #[arg(long, value_name = "PER_SECOND", help_heading = "Schedule")]
    pub rate: Option<f64>,

    /// How they are spread
    #[arg(long, value_enum, default_value_t = Spread::Uniform, help_heading = "Schedule")]
    pub schedule: Spread,

    /// How long is measured
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Schedule")]
    pub duration: Duration,

    /// How long messages are sent before that
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s", help_heading = "Schedule")]
    pub warmup: Duration,
}

/// `publish`
#[derive(Clone, Debug, Args)]
pub struct PublishOptions {
    /// Devices
    #[arg(long, value_name = "N", default_value_t = 100, help_heading = "Fleet")]
    pub connections: u32,

    /// Instead of a rate: messages in flight per device. A message has come in when the own sink has it, or at QoS 1 and 2 when it is acknowledged
    #[arg(
        long,
        value_name = "N",
        conflicts_with = "rate",
        help_heading = "Schedule"
    )]
    pub window: Option<u32>,

    /// Instead of a rate: one message from every device of a thread, and again when all of them have come in
    #[arg(long, conflicts_with_all = ["rate", "window"], help_heading = "Schedule")]
    pub lockstep: bool,

    /// Further connections, all of one more SIM, that publish as fast as they are taken (MQTT 5, QoS 0); nobody checks
    /// what they send, and it needs the own sink
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "own_sink",
        conflicts_with = "own_sink_tls_cert",
        help_heading = "Neighbour"
    )]
    pub flood: u32,

    /// Bytes of user properties in each of their messages
    #[arg(
        long,
        value_name = "BYTES",
        default_value_t = 12 * 1024,
        help_heading = "Neighbour"
    )]
    pub flood_properties: usize,

    /// Who the devices are.
    #[command(flatten)]
    pub fleet: FleetOptions,
    /// Who checks.
    #[command(flatten)]
    pub sink: SinkChoice,
    /// What is sent.
    #[command(flatten)]
    pub message: MessageOptions,
    /// When.
    #[command(flatten)]
    pub time: TimeOptions,
}

/// `mixed`
#[derive(Clone, Debug, Args)]
pub struct MixedOptions {
    /// Further connections that are half open: they say nothing, or half of a CONNECT, or fall silent after it
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Fleet")]
    pub half_open: u32,

    /// What `publish` has.
    #[command(flatten)]
    pub publish: PublishOptions,
}

/// `connect`
#[derive(Clone, Debug, Args)]
pub struct ConnectOptions {
    /// Devices
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Fleet")]
    pub connections: u32,

    /// How long they stay
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "10s", help_heading = "Schedule")]
    pub hold: Duration,

    /// Who the devices are.
    #[command(flatten)]
    pub fleet: FleetOptions,

    /// The sink in this process.
    #[command(flatten)]
    pub own: OwnSinkOptions,
}

/// `storm`
#[derive(Clone, Debug, Args)]
pub struct StormOptions {
    /// Devices
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Fleet")]
    pub connections: u32,

    /// How often they are cut off
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = "Schedule")]
    pub storms: u32,

    /// How long they stay in between
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, default_value = "2s", help_heading = "Schedule")]
    pub hold: Duration,

    /// Who the devices are.
    #[command(flatten)]
    pub fleet: FleetOptions,
    /// Who checks.
    #[command(flatten)]
    pub sink: SinkChoice,
    /// What is sent.
    #[command(flatten)]
    pub message: MessageOptions,
}

/// `fanout`
#[derive(Clone, Debug, Args)]
pub struct FanoutOptions {
    /// Devices that publish
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Fleet")]
    pub publishers: u32,

    /// Devices that subscribe
    #[arg(long, value_name = "N", default_value_t = 1000, help_heading = "Fleet")]
    pub connections: u32,

    /// Let publishers connect here instead, such as to the broker itself
    #[arg(long, value_name = "HOST:PORT", help_heading = "Fleet")]
    pub publish_to: Option<String>,

    /// Filter that they subscribe to [default: the topic and everything below it]
    #[arg(long, help_heading = "Messages")]
    pub filter: Option<String>,

    /// Further subscribers that read slowly; what they miss does not count
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Fleet")]
    pub slow_readers: u32,

    /// How slowly
    #[arg(
        long,
        value_name = "BYTES_PER_S",
        default_value_t = 1000,
        help_heading = "Fleet"
    )]
    pub slow_rate: u32,

    /// Who the devices are.
    #[command(flatten)]
    pub fleet: FleetOptions,
    /// What is sent.
    #[command(flatten)]
    pub message: MessageOptions,
    /// When.
    #[command(flatten)]
    pub time: TimeOptions,
}

/// `p2p`
#[derive(Clone, Debug, Args)]
pub struct P2pOptions {
    /// Pairs of devices: one publishes, the other subscribes
    #[arg(long, value_name = "N", default_value_t = 500, help_heading = "Fleet")]
    pub pairs: u32,

    /// Let publishers connect here instead, such as to the broker itself
    #[arg(long, value_name = "HOST:PORT", help_heading = "Fleet")]
    pub publish_to: Option<String>,

    /// Filter that the others subscribe to [default: the topic and everything below it]
    #[arg(long, help_heading = "Messages")]
    pub filter: Option<String>,

    /// Who the devices are.
    #[command(flatten)]
    pub fleet: FleetOptions,
    /// What is sent.
    #[command(flatten)]
    pub message: MessageOptions,
    /// When.
    #[command(flatten)]
    pub time: TimeOptions,
}

/// `scenario`
#[derive(Clone, Debug, Args)]
pub struct ScenarioOptions {
    /// The file
    pub file: PathBuf,

    /// Options of the file's command
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub options: Vec<String>,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// A bar with live figures.
    Bar,
    /// A line a second.
    Plain,
    /// One JSON object a line, on standard output.
    Json,
    /// Not at all.
    None,
}

/// What is appended to a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Suffix {
    /// A slash and the IMSI.
    Imsi,
}

impl ValueEnum for Spread {
    fn value_variants<'a>() -> &'a [Self] {
        &[Self::Uniform, Self::Poisson]
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        Some(match self {
            Self::Uniform => clap::builder::PossibleValue::new("uniform").help("Evenly"),
            Self::Poisson => clap::builder::PossibleValue::new("poisson")
                .help("At random, as a large fleet does"),
        })
    }
}
