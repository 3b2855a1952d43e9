//! Kernel: whether the engine runs here at all, and what of the kernel's own setup costs time.

use std::io;

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable};
use super::super::load::Load;
use super::{Checked, sysctl};
use crate::problem::quoted;
use crate::sys::host::{KERNEL_MIN, Unsuitable, check};

/// The bit of this capability (capability.h).
const CAP_SYS_ADMIN: u64 = 1 << 21;

/// First kernel whose rings let messages wait for company.
const MIN_WAIT: (u32, u32) = (6, 12);

/// Clocks that are read without a system call.
const CLOCKS: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

/// `kernel-version`
pub(in crate::doctor) fn version(host: &Host, _: &Load) -> Checked {
    let (major, minor) = release(host)?;
    if (major, minor) >= KERNEL_MIN {
        return Ok(Outcome::ok(format!("Linux {major}.{minor}")));
    }
    Ok(
        Outcome::new(Severity::Blocks, format!("Linux {major}.{minor}"))
            .wanted(format!("{}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1))
            .mend("install a newer kernel, such as the distribution's backported one"),
    )
}

/// Major and minor version.
fn release(host: &Host) -> Result<(u32, u32), Unreadable> {
    let release = host.text("proc/sys/kernel/osrelease")?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => Ok((major, minor)),
        _ => {
            let release = quoted(&release);
            Err(Unreadable(format!("no kernel version: {release}")))
        }
    }
}

/// `min-wait`
pub(in crate::doctor) fn min_wait(host: &Host, load: &Load) -> Checked {
    let is_there = if host.is_running() {
        let tried = check().map_err(|error| Unreadable(format!("not tried: {error}")))?;
        tried.min_wait
    } else {
        release(host)? >= MIN_WAIT
    };
    if is_there {
        return Ok(Outcome::ok("messages can wait for company"));
    }
    let severity = if load.coalesces {
        Severity::Costs
    } else {
        Severity::Note
    };
    let found = "engine.coalesce_us is without effect";
    Ok(Outcome::new(severity, found)
        .wanted(format!("Linux {}.{} or newer", MIN_WAIT.0, MIN_WAIT.1))
        .mend("install a newer kernel, or leave coalesce_us at 0"))
}

/// `io-uring`
pub(in crate::doctor) fn io_uring(host: &Host, _: &Load) -> Checked {
    let name = "kernel.io_uring_disabled";
    let path = "proc/sys/kernel/io_uring_disabled";
    // Kernels before 6.6 have no such setting.
    let disabled = host.has(path).then(|| host.number(path)).transpose()?;
    if disabled == Some(2) {
        return Ok(
            Outcome::new(Severity::Blocks, format!("{name} = 2: forbidden to all"))
                .wanted("0")
                .mend(sysctl(name, 0)),
        );
    }
    if disabled == Some(1) {
        return for_a_group(host);
    }
    if host.is_running() {
        match check() {
            Ok(_) => {}
            Err(Unsuitable::Kernel { .. }) => {
                return Ok(Outcome::unknown("not tried: the kernel is too old"));
            }
            Err(Unsuitable::Ring { cause, error }) => {
                return Ok(Outcome::new(Severity::Blocks, format!("no ring: {error}"))
                    .wanted("a ring that can be set up")
                    .mend(cause));
            }
        }
    }
    match disabled {
        _ if host.is_running() => Ok(Outcome::ok("a ring can be set up")),
        Some(_) => Ok(Outcome::ok(format!("{name} = 0"))),
        None => Ok(Outcome::unknown(
            "no setting forbids it; not tried on a copy of a host",
        )),
    }
}

/// `io-uring` where it is left to CAP_SYS_ADMIN, which the systemd unit does not have, and to one group.
fn for_a_group(host: &Host) -> Checked {
    let path = "proc/sys/kernel/io_uring_group";
    let text = host.text(path)?;
    let group: i64 = text
        .parse()
        .map_err(|_| Unreadable(format!("/{path}: not understood: {}", quoted(&text))))?;
    let found = format!("kernel.io_uring_disabled = 1: only for CAP_SYS_ADMIN and group {group}");
    let severity = if group < 0 {
        Severity::Blocks
    } else if !host.is_running() {
        Severity::Note
    } else {
        match check() {
            // The group let it through, where no capability did.
            Ok(_) if !is_administrator(host)? => {
                return Ok(Outcome::ok(format!("{found}; a ring can be set up")));
            }
            Err(Unsuitable::Ring { cause, error })
                if error.kind() != io::ErrorKind::PermissionDenied =>
            {
                return Ok(Outcome::new(Severity::Blocks, format!("no ring: {error}"))
                    .wanted("a ring that can be set up")
                    .mend(cause));
            }
            _ => Severity::Note,
        }
    };
    Ok(Outcome::new(severity, found)
        .wanted("0, or kernel.io_uring_group = the group of the engine's user")
        .mend("sysctl -w kernel.io_uring_group=$(getent group ringbeam | cut -d: -f3)"))
}

/// Whether this process has CAP_SYS_ADMIN.
fn is_administrator(host: &Host) -> Result<bool, Unreadable> {
    let path = "proc/self/status";
    let text = host.line(path, "CapEff:")?;
    let capabilities = u64::from_str_radix(&text, 16)
        .map_err(|_| Unreadable(format!("/{path}: not understood: {}", quoted(&text))))?;
    Ok(capabilities & CAP_SYS_ADMIN != 0)
}

/// `clocksource`
pub(in crate::doctor) fn clocksource(host: &Host, _: &Load) -> Checked {
    let folder = "sys/devices/system/clocksource/clocksource0";
    let current = host.text(&format!("{folder}/current_clocksource"))?;
    if CLOCKS.contains(&current.as_str()) {
        return Ok(Outcome::ok(current));
    }
    let available = host.text(&format!("{folder}/available_clocksource"))?;
    let better = available
        .split_ascii_whitespace()
        .find(|name| CLOCKS.contains(name));
    let mend = match better {
        Some(name) => format!("echo {name} > /{folder}/current_clocksource"),
        None => "see `dmesg | grep -i -e tsc -e clocksource` for why none is there".to_owned(),
    };
    Ok(Outcome::new(Severity::Costs, quoted(&current))
        .wanted(CLOCKS.join(", "))
        .mend(mend))
}

/// `mitigations`
pub(in crate::doctor) fn mitigations(host: &Host, _: &Load) -> Checked {
    let folder = "sys/devices/system/cpu/vulnerabilities";
    let names = host.names(folder);
    if names.is_empty() {
        return Err(Unreadable(format!("/{folder}: nothing there")));
    }
    let with = |word: &str| {
        let matching = names.iter().filter(|name| {
            let text = host.text(&format!("{folder}/{name}"));
            text.is_ok_and(|text| text.starts_with(word))
        });
        matching.count()
    };
    let (mitigated, vulnerable) = (with("Mitigation"), with("Vulnerable"));
    let found = format!(
        "{mitigated} mitigated, {vulnerable} vulnerable, of {}",
        names.len()
    );
    Ok(if mitigated + vulnerable == 0 {
        Outcome::ok(found)
    } else {
        Outcome::new(Severity::Note, found)
    })
}
