//! Arguments: the command line, as typed. What they come to is in [`crate::plan`].

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::cpus::Cpus;
use crate::scenario;
use crate::subject::ringbeam::{IMSI_BASE, SIMS};

/// Compares ringbeam with other proxies: every subject is started, loaded and measured from outside, in turn.
#[derive(Clone, Debug, Parser)]
#[command(name = "ringbeam-bench", version)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Say which subjects there are, with their versions here, and which scenarios
    List {
        /// Where ringbeam and ringbeam-loadgen are [default: beside this program]
        #[arg(long, value_name = "DIR")]
        bin_dir: Option<PathBuf>,
    },

    /// Measure subjects under scenarios, in turn, and write a report
    ///
    /// Exit status: 0 when everything arrived rightly, 1 when it did not in some round, or when nothing could be
    /// measured, or after Ctrl-C (the report then has the whole rounds so far); 2 for wrong options.
    Compare(Box<CompareArguments>),

    /// Make the pages of a report again from its raw.json and run.json
    Report {
        /// The report's folder
        folder: PathBuf,
    },
}

/// What to compare, and how.
#[derive(Clone, Debug, Args)]
pub struct CompareArguments {
    /// The short version: fewer scenarios and rounds, shorter windows; at most 10 minutes
    #[arg(long)]
    pub quick: bool,

    /// Only this scenario; may be given several times
    #[arg(long = "scenario", value_name = "NAME", value_parser = PossibleValuesParser::new(scenario::ALL.iter().map(|scenario| scenario.name)), hide_possible_values = true)]
    pub scenarios: Vec<String>,

    /// Only this subject; may be given several times. With --remote-target: what to call it; from one whose name
    /// begins with `ringbeam`, topics are expected as ringbeam rewrites them
    #[arg(long = "subject", value_name = "NAME")]
    pub subjects: Vec<String>,

    /// Rounds of each subject and scenario [default: 5; quick: 3]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub rounds: Option<u32>,

    /// The report's folder, new or empty [default: results/DATE-HOST-WHAT, with a number behind it where that is taken]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// What the name of the default folder says of the run
    #[arg(
        long,
        value_name = "WHAT",
        default_value = "comparison",
        conflicts_with = "out"
    )]
    pub what: String,

    /// The subject that ratios are taken to [default: haproxy, else the first one]
    #[arg(long, value_name = "NAME")]
    pub baseline: Option<String>,

    /// Processors of the subjects [default: the first one that this program may use]
    #[arg(long, value_name = "LIST")]
    pub proxy_cpus: Option<Cpus>,

    /// Processors of the load generator, which has a thread for each [default: the next one]
    #[arg(long, value_name = "LIST")]
    pub load_cpus: Option<Cpus>,

    /// Shards, threads or workers of the subjects; each number is a subject of its own [default: one per processor of the subjects]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=64))]
    pub shards: Vec<u32>,

    /// Measure the length of this window in every scenario that has one, such as 5s or 500ms
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// One more run of each under strace, where messages are steady: system calls per message
    #[arg(long)]
    pub syscalls: bool,

    /// Where ringbeam and ringbeam-loadgen are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,

    /// A proxy on another machine.
    #[command(flatten)]
    pub remote: RemoteArguments,
}

/// A proxy on another machine, started and configured there.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "A proxy on another machine")]
pub struct RemoteArguments {
    /// Its address; nothing is started here but the load, and processor time is not measured
    #[arg(long, value_name = "HOST:PORT")]
    pub remote_target: Option<String>,

    /// Where its upstream, the load's own sink, listens on this machine
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:1884")]
    pub sink_listen: SocketAddr,

    /// Addresses of the SIMs, which this machine must own
    #[arg(long, value_name = "CIDR", default_value = SIMS)]
    pub sims: String,

    /// The IMSI of the range's address number 0
    #[arg(long, value_name = "IMSI", default_value = IMSI_BASE)]
    pub imsi_base: String,
}

/// A command line as a POSIX shell takes it.
#[must_use]
pub fn quoted(words: &[String]) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./,:=@+%".contains(&byte);
    let quoted = |word: &String| {
        if !word.is_empty() && word.bytes().all(is_plain) {
            word.clone()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

fn duration(text: &str) -> Result<Duration, String> {
    let read = || {
        let (number, scale_ms) = match text.strip_suffix("ms") {
            Some(number) => (number, 1),
            None => (text.strip_suffix('s')?, 1000),
        };
        let milliseconds = number.parse::<u64>().ok()?.checked_mul(scale_ms)?;
        (milliseconds > 0).then(|| Duration::from_millis(milliseconds))
    };
    read().ok_or_else(|| "expected a time such as 5s or 500ms".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn a_command_can_be_pasted_into_a_shell() {
        let check = |words: &[&str], expected: &str| {
            let words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
            assert_eq!(quoted(&words), expected);
        };
        check(
            &["a/b", "--out=x,y", "127.1.0.0/16", "[::1]:1"],
            "a/b --out=x,y 127.1.0.0/16 '[::1]:1'",
        );
        check(&["two words", "", "it's"], r"'two words' '' 'it'\''s'");
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn options_are_read() {
        let line = "ringbeam-bench compare --quick --scenario qos1 --scenario idle-1k --shards 1,2 --duration 500ms";
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let Command::Compare(compare) = arguments.command else {
            panic!("{arguments:?}")
        };
        assert_eq!(compare.scenarios, ["qos1", "idle-1k"]);
        assert_eq!(compare.shards, [1, 2]);
        assert_eq!(compare.duration, Some(Duration::from_millis(500)));
        for wrong in [
            "--shards 0",
            "--rounds 0",
            "--duration 5",
            "--duration 0s",
            "--proxy-cpus x",
            "--scenario x",
        ] {
            let line = format!("ringbeam-bench compare {wrong}");
            let error = Arguments::try_parse_from(line.split(' ')).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{wrong}");
        }
    }
}
