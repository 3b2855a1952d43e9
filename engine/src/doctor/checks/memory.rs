//! Memory: what sessions take of it, in the kernel and here, and who else reaches for it.

use super::super::finding::{Outcome, Severity};
use super::super::host::Host;
use super::super::load::Load;
use super::{Checked, sysctl};
use crate::problem::quoted;
use crate::sys::memory::Allowed;

/// Bytes of one idle session: two sockets in the kernel, and its state in the engine. Measured.
const SESSION_BYTES: u64 = 20 * 1024;

/// Bytes more while a message waits in each of its sockets.
const SESSION_WAITING_BYTES: u64 = SESSION_PAGES * PAGE_BYTES;

/// Pages that TCP counts for a session while a message waits in each of its two sockets. Measured.
const SESSION_PAGES: u64 = 2;

/// Bytes of a page, as `tcp_mem` counts them.
const PAGE_BYTES: u64 = 4096;

/// Bytes of an empty socket's receive buffer that small messages need.
const RECEIVE_BUFFER_BYTES: u64 = 16 * 1024;

/// Bytes that a socket may hold unsent before it takes no more.
const UNSENT_BYTES_MAX: u64 = 128 * 1024;

/// Swappiness from which pages of idle sessions go out for the sake of file caches.
const SWAPPINESS_MAX: u64 = 10;

/// `memory`
pub(in crate::doctor) fn total(host: &Host, load: &Load) -> Checked {
    let Allowed {
        bytes: found,
        by_group,
    } = host.allowed_memory()?;
    let whose = if by_group { " in this container" } else { "" };
    let idle = load.sessions.saturating_mul(SESSION_BYTES);
    let waiting = load.sessions.saturating_mul(SESSION_WAITING_BYTES);
    let needed = idle.saturating_add(waiting);
    let shown = format!("{} MiB{whose}", mebibytes(found));
    if found >= needed {
        return Ok(Outcome::ok(shown));
    }
    let severity = if found < idle {
        Severity::Limits
    } else {
        Severity::Costs
    };
    let fits = found / SESSION_BYTES;
    Ok(
        Outcome::new(severity, format!("{shown}: {fits} idle sessions at most"))
            .wanted(format!(
                "{} MiB, for {} sessions with a message waiting in both sockets; {} MiB while idle",
                mebibytes(needed),
                load.sessions,
                mebibytes(idle)
            ))
            .mend("more memory, or a lower engine.max_sessions on more hosts"),
    )
}

/// `memory-bounds`
pub(in crate::doctor) fn bounds(host: &Host, load: &Load) -> Checked {
    let Allowed { bytes, by_group } = host.allowed_memory()?;
    let processors = host.allowed_processors()?.len();
    let shards = load.shards_on(u64::try_from(processors).unwrap_or(u64::MAX));
    let memory = load.memory_max(shards, bytes);
    let whose = if by_group {
        "this container"
    } else {
        "the host"
    };
    let found = format!(
        "{} MiB at most, of {} MiB of {whose}: records {}, buffers {}, waiting {}, heads {}, tls {}, renewal {}",
        mebibytes(as_u64(memory.total())),
        mebibytes(bytes),
        mebibytes(as_u64(memory.records)),
        mebibytes(as_u64(memory.buffers)),
        mebibytes(as_u64(memory.waiting)),
        mebibytes(as_u64(memory.heads)),
        mebibytes(as_u64(memory.tls)),
        mebibytes(as_u64(memory.renewal)),
    );
    if !memory.exceeds(bytes) {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Costs, found)
        .wanted("bounds that add up to less")
        .mend("a lower engine.max_sessions or engine.waiting_bytes, or more memory"))
}

/// `tcp-memory`
pub(in crate::doctor) fn tcp(host: &Host, load: &Load) -> Checked {
    let name = "net.ipv4.tcp_mem";
    let [low, pressure, max] = host.numbers("proc/sys/net/ipv4/tcp_mem")?;
    let needed = load.sessions.saturating_mul(SESSION_PAGES);
    let found = format!(
        "{name} = … {pressure} {max} pages: a message waiting in both sockets of {} sessions, {} at most",
        pressure / SESSION_PAGES,
        max / SESSION_PAGES
    );
    if pressure >= needed {
        return Ok(Outcome::ok(found));
    }
    let severity = if max < needed {
        Severity::Limits
    } else {
        Severity::Costs
    };
    let outcome = Outcome::new(severity, found)
        .wanted(format!("{needed} pages at least in the second field"));
    // A field that is larger already stays so.
    let value = format!(
        "{} {needed} {}",
        low.max(needed / 4 * 3),
        max.max(needed.saturating_add(needed / 2))
    );
    let bytes = needed.saturating_mul(PAGE_BYTES);
    let fits = host.memory_bytes().is_ok_and(|memory| bytes <= memory / 2);
    Ok(outcome.mend(if fits {
        sysctl(name, value)
    } else {
        format!("{name} = {value}, on a host whose memory is twice the second field at least")
    }))
}

/// `tcp-buffers`
pub(in crate::doctor) fn tcp_buffers(host: &Host, _: &Load) -> Checked {
    let name = "net.ipv4.tcp_rmem";
    let [min, start, max] = host.numbers("proc/sys/net/ipv4/tcp_rmem")?;
    let found = format!("{name} = {min} {start} {max}");
    if start <= RECEIVE_BUFFER_BYTES {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Costs, found)
        .wanted(format!("{RECEIVE_BUFFER_BYTES} in the second field"))
        .mend(sysctl(name, format!("{min} {RECEIVE_BUFFER_BYTES} {max}"))))
}

/// `unsent-data`
pub(in crate::doctor) fn unsent_data(host: &Host, _: &Load) -> Checked {
    let name = "net.ipv4.tcp_notsent_lowat";
    let found = host.number("proc/sys/net/ipv4/tcp_notsent_lowat")?;
    let shown = format!("{name} = {found}");
    if (1..=UNSENT_BYTES_MAX).contains(&found) {
        return Ok(Outcome::ok(shown));
    }
    let no_bound = if found == u64::from(u32::MAX) {
        ": no bound"
    } else {
        ""
    };
    Ok(Outcome::new(Severity::Costs, format!("{shown}{no_bound}"))
        .wanted(format!("from 1 to {UNSENT_BYTES_MAX}"))
        .mend(sysctl(name, UNSENT_BYTES_MAX)))
}

/// `huge-pages`
pub(in crate::doctor) fn huge_pages(host: &Host, _: &Load) -> Checked {
    let path = "sys/kernel/mm/transparent_hugepage/enabled";
    let text = host.text(path)?;
    let chosen = text
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(chosen, _)| chosen);
    Ok(match chosen {
        Some("always") => Outcome::new(Severity::Costs, "always")
            .wanted("madvise or never")
            .mend(format!("echo madvise > /{path}")),
        Some(chosen @ ("madvise" | "never")) => Outcome::ok(chosen),
        _ => Outcome::unknown(format!("/{path}: not understood: {}", quoted(&text))),
    })
}

/// `swap`
pub(in crate::doctor) fn swap(host: &Host, _: &Load) -> Checked {
    let areas = host.text("proc/swaps")?.lines().skip(1).count();
    let swappiness = host.number("proc/sys/vm/swappiness")?;
    if areas == 0 {
        return Ok(Outcome::ok("none"));
    }
    let found = format!("{areas} in use, vm.swappiness = {swappiness}");
    if swappiness <= SWAPPINESS_MAX {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Costs, found)
        .wanted(format!(
            "none, or vm.swappiness of {SWAPPINESS_MAX} at most"
        ))
        .mend(sysctl("vm.swappiness", 1)))
}

/// `overcommit`
pub(in crate::doctor) fn overcommit(host: &Host, _: &Load) -> Checked {
    let name = "vm.overcommit_memory";
    let found = host.number("proc/sys/vm/overcommit_memory")?;
    if found < 2 {
        return Ok(Outcome::ok(format!("{name} = {found}")));
    }
    Ok(Outcome::new(
        Severity::Costs,
        format!("{name} = {found}: reserved memory counts as used"),
    )
    .wanted("0")
    .mend(sysctl(name, 0)))
}

fn as_u64(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}

const fn mebibytes(bytes: u64) -> u64 {
    bytes / (1024 * 1024)
}
