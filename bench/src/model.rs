//! What a comparison run leaves behind: rows of measured rounds (`raw.json`, an array of [`Row`]) and what they
//! were measured on (`run.json`, one [`Run`]). Every page of a report is made from these two alone.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One round of one subject under one scenario.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The subject's name; with `@shards` behind it where a run has several numbers of shards.
    pub subject: String,
    /// The scenario's name.
    pub scenario: String,
    /// Counted from 1.
    pub round: u32,
    /// Why this round counts for nothing, such as messages lost; `None` where everything arrived rightly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// By name, with the unit in the name, such as `cpu_us_per_msg`.
    pub metrics: BTreeMap<String, f64>,
}

/// What the rows were measured on, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// One word or two on what was compared, such as `quick comparison`.
    pub title: String,
    /// The exact command line.
    pub command: String,
    /// When it began: RFC 3339, UTC.
    pub started: String,
    /// How long it took, in seconds.
    pub seconds: f64,
    /// Whether it was cut short by Ctrl-C; the rows are those that were whole by then.
    pub is_interrupted: bool,
    /// The commit when it began, with `-dirty` behind it where the tree was changed; empty outside a repository.
    pub commit: String,
    /// The machine.
    pub host: Host,
    /// How it was run.
    pub settings: Settings,
    /// Program and version by subject that has rows, such as `HAProxy 2.6.12`.
    pub versions: BTreeMap<String, String>,
    /// Subject or `subject/scenario` that was asked for and not run, with why.
    pub missing: BTreeMap<String, String>,
}

/// The machine that everything ran on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its name.
    pub name: String,
    /// The kernel's release.
    pub kernel: String,
    /// The distribution's name.
    pub distribution: String,
    /// The processor's model, or `unknown`.
    pub processor: String,
    /// How many processors are on line.
    pub processors: u32,
    /// Memory, in bytes.
    pub memory_bytes: u64,
    /// The hypervisor's name, or `unknown`; empty on bare metal.
    pub hypervisor: String,
    /// The frequency governor; empty where there is none.
    pub governor: String,
    /// The hard limit of descriptors per process.
    pub descriptors: u64,
    /// Switched-on mitigations and other things that change figures, by name.
    pub notes: BTreeMap<String, String>,
}

/// How a run was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Whether it is the short version.
    pub is_quick: bool,
    /// Rounds of each subject and scenario.
    pub rounds: u32,
    /// What ratios are taken to.
    pub baseline: String,
    /// The processors that proxies are pinned to.
    pub proxy_cpus: String,
    /// The processors that the load is pinned to.
    pub load_cpus: String,
    /// Shards or threads of the proxies.
    pub shards: Vec<u32>,
    /// The clock that latencies are taken from, such as `monotonic`.
    pub clock: String,
    /// The proxy's address where it runs apart from the load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remote_target: Option<String>,
}
