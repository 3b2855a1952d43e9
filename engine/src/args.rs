//! Arguments: the command line, as typed. What they mean is `main`'s matter.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use ringbeam_proto::identity::Imsi;

use crate::explain::{Query, Subject};
use crate::logs::Format;
use crate::tap;

/// A self-hosted MQTT entry point for SIM fleets.
///
/// Devices speak plain MQTT to it. Their address says which SIM they are, and the SIM's group says
/// where their sessions go on to, with which credentials and which topics.
#[derive(Clone, Debug, Parser)]
#[command(name = "ringbeam", version)]
pub struct Arguments {
    /// What to log: a level, or levels by module, such as "warn,ringbeam::shard=debug" [default: info]
    #[arg(long, value_name = "FILTER", global = true, help_heading = "Logging")]
    pub log: Option<String>,

    /// How log lines look [default: text on a terminal, json elsewhere]
    #[arg(long, value_name = "FORMAT", global = true, help_heading = "Logging")]
    pub log_format: Option<LogFormat>,

    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One object a line.
    Json,
}

impl From<LogFormat> for Format {
    fn from(format: LogFormat) -> Self {
        match format {
            LogFormat::Text => Self::Text,
            LogFormat::Json => Self::Json,
        }
    }
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Serve devices until SIGTERM, which lets sessions end in order, or SIGINT, which does not
    ///
    /// Prints one line "ready" with the listeners once every shard accepts connections. SIGHUP reads
    /// configuration and fleet again; what is refused leaves the old ones in place.
    ///
    /// Exit status: 0 when it was told to stop, 1 when it failed, 2 when the configuration or the
    /// fleet was refused.
    Serve(ConfigArguments),

    /// Show it at work: a real broker, the entry point and a sample fleet, all on this machine
    ///
    /// Devices are the addresses 127.0.0.2 and 127.1.0.0/16. It sends a message through by itself,
    /// prints what the broker received and the commands to try, and stays up until Ctrl-C.
    #[cfg(feature = "demo")]
    Demo(DemoArguments),

    /// Say whether configuration and fleet are accepted, and everything that is wrong with them
    ///
    /// Prints a summary and warnings, or every refusal with its place, what was found there and what
    /// is accepted. Exit status: 0 when they are accepted, 2 when not.
    Check(ConfigArguments),

    /// Say what a CONNECT from one SIM would lead to, and why; secrets are masked
    ///
    /// Shows the SIM, its group and entry point, the destination, the user name as this SIM would
    /// use it, what becomes of topics and wills, and for every key of the entry point's
    /// configuration whether it is set or at its default.
    Explain(ExplainArguments),

    /// Take a fleet document into an embedded registry, or write it out of one
    ///
    /// The registry's secrets are encrypted by the key in RINGBEAM_SECRET_KEY, or in the file that
    /// registry.secret_key_file names. A running engine takes an imported fleet at its next SIGHUP.
    ///
    /// Exit status: 0 when it is done, 1 when a file cannot be read or written, 2 when the configuration or the document
    /// was refused; then everything is as it was.
    #[command(subcommand)]
    Fleet(FleetCommand),

    /// Take users of the API and the console into an embedded registry, and make keys for them
    ///
    /// Passwords and keys are kept as hashes. A user that is there already gets a new password; who signed in by the old
    /// one is signed out within seconds, who did by a key is not.
    ///
    /// Exit status: 0 when it is done, 1 when the registry cannot be written, 2 when the configuration or the user was
    /// refused.
    #[command(subcommand)]
    User(UserCommand),

    /// Show what passes in the sessions of one SIM, on both legs, before and after rewriting
    ///
    /// Asks the control plane of a running engine, as whoever SORACOM_AUTH_KEY_ID and SORACOM_AUTH_KEY say, or else as a
    /// user of the registry that the configuration names. Passwords are masked; it ends by itself.
    Tap(TapArguments),

    /// Say what of this host holds the engine back, and the command that mends it; changes nothing
    ///
    /// Compares the host with what the configuration and the fleet ask for, or with a million
    /// sessions where there is no configuration. Findings come worst first; tuning/README.md says
    /// more about each of them.
    ///
    /// Exit status: 0 when the engine runs here, 1 when something blocks it, 2 when the configuration
    /// or the fleet was refused.
    Doctor(DoctorArguments),
}

/// Where the configuration is.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ConfigArguments {
    /// The configuration [default: ringbeam.toml here, then /etc/ringbeam/ringbeam.toml]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
}

/// What to do with a fleet.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum FleetCommand {
    /// Put the fleet of a document in the place of the one that the registry has
    Import(FleetArguments),
    /// Write the fleet of the registry as a document, secrets in clear
    Export(FleetArguments),
}

/// Which registry, and which document.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct FleetArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,

    /// The document [default: standard input, or standard output]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// What to do with a user.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum UserCommand {
    /// Take a user, with the password from standard input
    Add(UserArguments),
    /// Make a key for programs: prints {"authKeyId":"keyId-…","authKey":"secret-…"} this once
    AddKey(UserArguments),
}

/// Which user of which registry.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct UserArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,

    /// The user's e-mail address, which is the name to sign in by
    #[arg(long, value_name = "E-MAIL")]
    pub email: String,
}

/// What to show.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct TapArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,

    /// The SIM with this IMSI
    #[arg(long)]
    pub imsi: Imsi,

    /// The control plane
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    pub url: hyper::Uri,

    /// Authorities of the control plane's certificate beside the system's, in PEM
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,

    /// For so long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
}

impl TapArguments {
    /// The question that they ask.
    #[must_use]
    pub fn question(&self) -> tap::Question {
        tap::Question {
            imsi: self.imsi,
            url: self.url.clone(),
            ca: self.ca.clone(),
            seconds: self.seconds,
            config: self.config.config.clone(),
        }
    }
}

/// Which host to look at, and how to say what was found.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct DoctorArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,

    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Look at a copy of another host's /proc and /sys below this directory
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
}

/// How the demonstration runs.
#[cfg(feature = "demo")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Args)]
pub struct DemoArguments {
    /// The entry point's port on 127.0.0.1; where it is taken, the next free one
    #[arg(long, default_value_t = 1883)]
    pub port: u16,
}

/// Which SIM to explain.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ExplainArguments {
    /// Where the configuration is.
    #[command(flatten)]
    pub config: ConfigArguments,

    /// Which SIM.
    #[command(flatten)]
    pub subject: SubjectArguments,

    /// The network that the SIM is in [default: all of them]
    #[arg(long)]
    pub network: Option<String>,
}

/// One of two ways to name a SIM.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[group(required = true, multiple = false)]
pub struct SubjectArguments {
    /// The SIM with this IPv4 or IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    pub ip: Option<IpAddr>,

    /// The SIM with this IMSI
    #[arg(long)]
    pub imsi: Option<Imsi>,
}

impl ExplainArguments {
    /// The question that they ask; `None` where they name no SIM, which the parser refuses.
    #[must_use]
    pub fn query(&self) -> Option<Query> {
        let SubjectArguments { ip, imsi } = self.subject;
        let subject = ip
            .map(Subject::Address)
            .or_else(|| imsi.map(Subject::Imsi))?;
        Some(Query {
            subject,
            network: self.network.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn commands_and_options_are_read() {
        let arguments = parse("ringbeam serve --config a.toml --log debug --log-format json");
        let arguments = arguments.unwrap();
        assert_eq!(arguments.log.as_deref(), Some("debug"));
        assert_eq!(arguments.log_format.map(Format::from), Some(Format::Json));
        assert!(matches!(
            arguments.command,
            Command::Serve(ConfigArguments { config: Some(path) }) if path.as_os_str() == "a.toml"
        ));
        let arguments = parse("ringbeam --log-format text check").unwrap();
        assert_eq!(arguments.log, None);
        assert_eq!(arguments.log_format.map(Format::from), Some(Format::Text));
        assert!(matches!(
            arguments.command,
            Command::Check(ConfigArguments { config: None })
        ));
        assert_eq!(parse("ringbeam check").unwrap().log_format, None);
    }

    #[test]
    fn explain_takes_one_way_to_name_a_sim() {
        let query = |line: &str| match parse(line).map(|arguments| arguments.command) {
            Ok(Command::Explain(arguments)) => arguments.query(),
            _ => None,
        };
        assert_eq!(
            query("ringbeam explain --ip ::1 --network a"),
            Some(Query {
                subject: Subject::Address("::1".parse().unwrap()),
                network: Some("a".to_owned())
            })
        );
        let imsi = Subject::Imsi("440100000000001".parse().unwrap());
        assert_eq!(
            query("ringbeam explain --imsi 440100000000001"),
            Some(Query {
                subject: imsi,
                network: None
            })
        );
        for wrong in [
            "ringbeam explain",
            "ringbeam explain --ip ::1 --imsi 440100000000001",
            "ringbeam explain --ip host",
            "ringbeam explain --imsi 44010x",
        ] {
            assert_eq!(query(wrong), None, "{wrong}");
        }
    }

    #[cfg(feature = "demo")]
    #[test]
    fn the_demonstration_has_a_port() {
        let port = |line: &str| match parse(line).unwrap().command {
            Command::Demo(arguments) => arguments.port,
            Command::Serve(_)
            | Command::Check(_)
            | Command::Explain(_)
            | Command::Fleet(_)
            | Command::User(_)
            | Command::Tap(_)
            | Command::Doctor(_) => 0,
        };
        assert_eq!(port("ringbeam demo"), 1883);
        assert_eq!(port("ringbeam demo --port 1900"), 1900);
    }
}
