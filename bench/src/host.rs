//! Host: the machine and the commit that figures belong to, as the kernel and git tell.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rustix::process::{Resource, getrlimit};

use crate::model::Host;

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";
/// Stands for what the kernel does not say.
const UNKNOWN: &str = "unknown";
/// Other things that change figures.
const NOTES: &[(&str, &str)] = &[
    (
        "clocksource",
        "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    ),
    (
        "congestion control",
        "/proc/sys/net/ipv4/tcp_congestion_control",
    ),
    ("load average before", "/proc/loadavg"),
    ("somaxconn", "/proc/sys/net/core/somaxconn"),
    (
        "transparent huge pages",
        "/sys/kernel/mm/transparent_hugepage/enabled",
    ),
];

/// This machine.
#[must_use]
pub fn host() -> Host {
    let names = rustix::system::uname();
    let cpuinfo = text("/proc/cpuinfo");
    let online = cpuinfo
        .lines()
        .filter(|line| line.starts_with("processor"))
        .count();
    Host {
        name: names.nodename().to_string_lossy().into_owned(),
        kernel: names.release().to_string_lossy().into_owned(),
        distribution: distribution(),
        processor: field(&cpuinfo, "model name").unwrap_or_else(|| UNKNOWN.to_owned()),
        processors: u32::try_from(online).unwrap_or(u32::MAX),
        memory_bytes: memory_bytes(),
        hypervisor: hypervisor(&cpuinfo),
        governor: text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        descriptors: getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX),
        notes: notes(),
    }
}

/// The commit of the repository that this program runs in, with `-dirty` behind it where files differ from it; reports
/// do not count, as they change no figure. Empty outside a repository.
#[must_use]
pub fn commit() -> String {
    let Some(commit) = git(&["rev-parse", "HEAD"]).filter(|commit| !commit.is_empty()) else {
        return String::new();
    };
    match git(&["status", "--porcelain", "--", ":/", ":(top,exclude)results"]) {
        Some(changes) if changes.is_empty() => commit,
        _ => commit + "-dirty",
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn distribution() -> String {
    let release = text("/etc/os-release");
    let line = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    line.unwrap_or(UNKNOWN).trim_matches('"').to_owned()
}

fn memory_bytes() -> u64 {
    let total = field(&text("/proc/meminfo"), "MemTotal").unwrap_or_default();
    let kib = total
        .strip_suffix(" kB")
        .and_then(|number| number.parse::<u64>().ok());
    kib.unwrap_or_default() * 1024
}

/// What the firmware calls the machine, where the processor says that it is a virtual one. Only x86 says that.
fn hypervisor(cpuinfo: &str) -> String {
    let Some(flags) = field(cpuinfo, "flags") else {
        return UNKNOWN.to_owned();
    };
    if !flags.split(' ').any(|flag| flag == "hypervisor") {
        return String::new();
    }
    let named = [
        "/sys/hypervisor/type",
        "/sys/class/dmi/id/sys_vendor",
        "/sys/class/dmi/id/product_name",
    ]
    .map(text)
    .into_iter()
    .filter(|name| !name.is_empty())
    .collect::<Vec<_>>()
    .join(" ");
    if named.is_empty() {
        "an unnamed hypervisor".to_owned()
    } else {
        named
    }
}

fn notes() -> BTreeMap<String, String> {
    let mut notes: BTreeMap<_, _> = NOTES
        .iter()
        .map(|(name, path)| ((*name).to_owned(), text(path)))
        .filter(|(_, value)| !value.is_empty())
        .collect();
    for entry in fs::read_dir(VULNERABILITIES)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
    {
        let state = text(entry.path());
        if state.starts_with("Mitigation") || state.starts_with("Vulnerable") {
            notes.insert(entry.file_name().to_string_lossy().into_owned(), state);
        }
    }
    notes
}

/// A file without the white space around its text; empty where there is none.
fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// The value of a line `name : value`.
fn field(text: &str, name: &str) -> Option<String> {
    let of_line = |line: &str| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    };
    text.lines().find_map(of_line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let host = host();
        assert!(host.processors > 0 && host.memory_bytes > 1 << 20 && host.descriptors > 0);
        assert!(!host.kernel.is_empty() && !host.name.is_empty() && !host.distribution.is_empty());
    }

    #[test]
    fn what_the_processor_says_of_a_hypervisor_is_believed() {
        assert_eq!(hypervisor("flags\t\t: fpu sse2\n"), "");
        assert!(!hypervisor("flags\t\t: fpu hypervisor\n").is_empty());
        assert_eq!(hypervisor("Features\t: fp asimd\n"), UNKNOWN);
    }
}
