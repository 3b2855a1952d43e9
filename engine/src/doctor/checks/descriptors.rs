//! Descriptors: what bounds the number of open files and of locked bytes.

use std::io;

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable};
use super::super::load::{Load, SessionsFrom};
use super::{Checked, rounded, sysctl};
use crate::limits::{DESCRIPTORS_PER_SESSION, RING_ENTRIES};
use crate::problem::quoted;

/// Descriptors of the whole host that are left to everything else.
const OTHERS: u64 = 65_536;

/// Bytes of locked memory that a shard's two rings take, and that the check before the start takes. The front's
/// 416 KiB were measured on Linux 6.18 (464 KiB for one shard, 3,232 KiB for eight); the relay's follow from its sizes.
const RING_LOCKED_BYTES: u64 = 552 * 1024;
const CHECK_LOCKED_BYTES: u64 = 64 * 1024;

/// Stands for no limit at all.
const UNLIMITED: u64 = u64::MAX;

/// `descriptors`
pub(in crate::doctor) fn limit(host: &Host, load: &Load) -> Checked {
    // The engine raises its soft limit to the hard one.
    let Limits { hard, .. } = limits(host, "Max open files")?;
    let shards = load.shards_on(processors(host)?);
    let needed = load.descriptors(shards);
    if hard >= needed {
        return Ok(Outcome::ok(format!("{} here", shown(hard))));
    }
    // As the engine reckons at its start.
    let reserved = load.descriptors_reserved(shards).min(hard / 4);
    let sessions = hard.saturating_sub(reserved) / DESCRIPTORS_PER_SESSION;
    let found = format!("hard limit {hard} here: {sessions} sessions");
    let is_refused = load.sessions_from == SessionsFrom::Configuration && load.sessions > sessions;
    let outcome = if is_refused {
        let found = format!("{found}; with engine.max_sessions above that it does not start");
        Outcome::new(Severity::Blocks, found)
    } else {
        Outcome::new(Severity::Limits, found)
    };
    let limit = rounded(needed);
    Ok(outcome
        .wanted(format!("{needed}, for {} sessions", load.sessions))
        .mend(format!(
            "LimitNOFILE={limit} in the systemd unit; in a shell, as root and after nr-open, ulimit -n {limit}"
        )))
}

/// `nr-open`
pub(in crate::doctor) fn nr_open(host: &Host, load: &Load) -> Checked {
    let found = host.number("proc/sys/fs/nr_open")?;
    let needed = load.descriptors(load.shards_on(processors(host)?));
    Ok(at_least("fs.nr_open", found, needed, rounded(needed)))
}

/// `file-max`
pub(in crate::doctor) fn file_max(host: &Host, load: &Load) -> Checked {
    let found = host.number("proc/sys/fs/file-max")?;
    let needed = load.descriptors(load.shards_on(processors(host)?));
    let needed = needed.saturating_add(OTHERS);
    Ok(at_least("fs.file-max", found, needed, rounded(needed)))
}

/// `locked-memory`
pub(in crate::doctor) fn locked_memory(host: &Host, load: &Load) -> Checked {
    // The engine leaves this soft limit alone, and the kernel goes by it.
    let Limits { soft, .. } = limits(host, "Max locked memory")?;
    let shards = load.shards_on(processors(host)?);
    let needed = shards
        .saturating_mul(RING_LOCKED_BYTES)
        .saturating_add(CHECK_LOCKED_BYTES);
    if soft >= needed {
        return Ok(Outcome::ok(format!("{} bytes here", shown(soft))));
    }
    let found = format!("soft limit {soft} bytes here");
    let outcome = match host.is_running().then(|| set_up_rings(shards)) {
        // Older kernels do not count rings.
        Some(Ok(())) => Outcome::new(
            Severity::Note,
            format!("{found}, which does not bind this process on this kernel"),
        ),
        Some(Err(error)) if error.kind() != io::ErrorKind::OutOfMemory => {
            return Ok(Outcome::unknown(format!("{found}; not tried: {error}")));
        }
        _ => Outcome::new(Severity::Blocks, found),
    };
    Ok(outcome
        .wanted(format!("{needed} bytes, for the rings of {shards} shards"))
        .mend(
            "LimitMEMLOCK=infinity in the systemd unit; in a shell, as root, ulimit -l unlimited",
        ))
}

fn at_least(name: &str, found: u64, needed: u64, value: u64) -> Outcome {
    if found >= needed {
        return Outcome::ok(format!("{name} = {found}"));
    }
    Outcome::new(Severity::Limits, format!("{name} = {found}"))
        .wanted(format!("{needed} at least"))
        .mend(sysctl(name, value))
}

/// The processors that shards may run on; one where that cannot be read would be a guess.
fn processors(host: &Host) -> Result<u64, Unreadable> {
    Ok(u64::try_from(host.allowed_processors()?.len()).unwrap_or(u64::MAX))
}

/// Tries to set up the rings of so many shards, all at the same time.
fn set_up_rings(shards: u64) -> io::Result<()> {
    let mut rings = Vec::new();
    for _ in 0..shards {
        let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new();
        rings.push(builder.with_entries(RING_ENTRIES).build()?);
    }
    Ok(())
}

/// A limit of this very process.
struct Limits {
    soft: u64,
    hard: u64,
}

fn limits(host: &Host, label: &str) -> Result<Limits, Unreadable> {
    let path = "proc/self/limits";
    let line = host.line(path, label)?;
    let mut words = line.split_ascii_whitespace().map(|word| match word {
        "unlimited" => Some(UNLIMITED),
        word => word.parse().ok(),
    });
    match (words.next().flatten(), words.next().flatten()) {
        (Some(soft), Some(hard)) => Ok(Limits { soft, hard }),
        _ => Err(Unreadable(format!(
            "/{path}: not understood: {}",
            quoted(&line)
        ))),
    }
}

fn shown(limit: u64) -> String {
    if limit == UNLIMITED {
        "unlimited".to_owned()
    } else {
        limit.to_string()
    }
}
