//! Host: a reader of /proc and /sys below a root directory, the running system's or a copy of another's.
//! It believes nothing: a file may be missing, large, binary or no file at all.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::finding::Outcome;
use crate::problem::quoted;
use crate::sys::memory::{Allowed, allowed};

/// Bytes that are read of one file. The longest is softnet_stat, with some 140 for each processor.
const FILE_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// Entries of a directory that are looked at: more processors or queues than any host has.
const ENTRIES_MAX: usize = 16 * 1024;

/// Why something could not be read, as a sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unreadable(pub(super) String);

impl From<Unreadable> for Outcome {
    fn from(Unreadable(why): Unreadable) -> Self {
        Self::unknown(why)
    }
}

/// The host that is looked at.
#[derive(Clone, Debug)]
pub struct Host {
    root: PathBuf,
    is_running: bool,
}

impl Host {
    /// The host that this runs on.
    #[must_use]
    pub fn running() -> Self {
        Self {
            root: PathBuf::from("/"),
            is_running: true,
        }
    }

    /// A host whose /proc and /sys were copied to below `root`.
    #[must_use]
    pub fn copied(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            is_running: false,
        }
    }

    /// Whether it can be tried out, or only be read.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        self.is_running
    }

    /// The text of a file, without white space around it.
    pub(super) fn text(&self, path: &str) -> Result<String, Unreadable> {
        let read = || {
            let place = self.root.join(path);
            if !place.metadata()?.is_file() {
                return Err(io::Error::other("not a file"));
            }
            let mut text = String::new();
            File::open(place)?
                .take(FILE_BYTES_MAX)
                .read_to_string(&mut text)?;
            Ok(text.trim().to_owned())
        };
        read().map_err(|error| Unreadable(format!("/{path}: {error}")))
    }

    /// The numbers in a file.
    pub(super) fn numbers<const COUNT: usize>(
        &self,
        path: &str,
    ) -> Result<[u64; COUNT], Unreadable> {
        let text = self.text(path)?;
        let numbers: Option<Vec<u64>> = text
            .split_ascii_whitespace()
            .map(|word| word.parse().ok())
            .collect();
        numbers
            .and_then(|numbers| numbers.try_into().ok())
            .ok_or_else(|| not_understood(path, &text))
    }

    /// The one number in a file.
    pub(super) fn number(&self, path: &str) -> Result<u64, Unreadable> {
        self.numbers(path).map(|[number]| number)
    }

    /// The rest of the line that begins with `label`.
    pub(super) fn line(&self, path: &str, label: &str) -> Result<String, Unreadable> {
        let text = self.text(path)?;
        let rest = text.lines().find_map(|line| line.strip_prefix(label));
        rest.map(|rest| rest.trim().to_owned())
            .ok_or_else(|| Unreadable(format!("/{path}: no line {label:?}")))
    }

    /// The processors of a list such as `0-3,8`.
    pub(super) fn processors(&self, list: &str, path: &str) -> Result<Vec<u64>, Unreadable> {
        ranges(list)
            .map(|ranges| ranges.into_iter().flatten().take(ENTRIES_MAX).collect())
            .ok_or_else(|| not_understood(path, list))
    }

    /// The processors that this process may use.
    pub(super) fn allowed_processors(&self) -> Result<Vec<u64>, Unreadable> {
        let path = "proc/self/status";
        let list = self.line(path, "Cpus_allowed_list:")?;
        self.processors(&list, path)
    }

    /// Memory that the host and its control groups allow this process.
    pub(super) fn allowed_memory(&self) -> Result<Allowed, Unreadable> {
        // What the host has is said where it cannot be read.
        self.memory_bytes()?;
        allowed(&self.root).ok_or_else(|| Unreadable("/proc/meminfo: no memory".to_owned()))
    }

    /// Bytes of memory.
    pub(super) fn memory_bytes(&self) -> Result<u64, Unreadable> {
        let path = "proc/meminfo";
        let text = self.line(path, "MemTotal:")?;
        let kibibytes = text.strip_suffix(" kB").and_then(|text| text.parse().ok());
        kibibytes
            .map(|kibibytes: u64| kibibytes.saturating_mul(1024))
            .ok_or_else(|| not_understood(path, &text))
    }

    /// The names in a directory, sorted; none where there is no such directory.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let Ok(entries) = self.root.join(path).read_dir() else {
            return Vec::new();
        };
        let mut names: Vec<String> = entries
            .take(ENTRIES_MAX)
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }

    /// Whether there is such a file or directory.
    pub(super) fn has(&self, path: &str) -> bool {
        self.root.join(path).exists()
    }
}

/// The ranges of a list such as `0-3,8`; `None` where it is no such list.
pub(super) fn ranges(list: &str) -> Option<Vec<std::ops::RangeInclusive<u64>>> {
    let parts = list
        .split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            Some(first.parse().ok()?..=last.parse().ok()?)
        })
        .collect()
}

fn not_understood(path: &str, text: &str) -> Unreadable {
    Unreadable(format!("/{path}: not understood: {}", quoted(text)))
}
