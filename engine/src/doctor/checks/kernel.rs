//! Kernel: whether the engine runs here at all, and what of the kernel's own setup costs time.

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable};
use super::super::load::Load;
use super::{Checked, sysctl};
use crate::problem::quoted;
use crate::sys::host::{KERNEL_MIN, Unsuitable, check};

/// Clocks that are read without a system call.
const CLOCKS: [&str; 4] = [
    "tsc",
    "kvm-clock",
    "hyperv_clocksource_tsc_page",
    "arch_sys_counter",
];

/// `kernel-version`
pub(in crate::doctor) fn version(host: &Host, _: &Load) -> Checked {
    let path = "proc/sys/kernel/osrelease";
    let release = host.text(path)?;
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse::<u32>().ok());
    let (Some(major), Some(minor)) = (numbers.next(), numbers.next()) else {
        return Err(Unreadable(format!(
            "no kernel version: {}",
            quoted(&release)
        )));
    };
    if (major, minor) >= KERNEL_MIN {
        return Ok(Outcome::ok(format!("Linux {major}.{minor}")));
    }
    Ok(
        Outcome::new(Severity::Blocks, format!("Linux {major}.{minor}"))
            .wanted(format!("{}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1))
            .mend("install a newer kernel, such as the distribution's backported one"),
    )
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
    if host.is_running() {
        match check() {
            Ok(()) => {}
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
        Some(1) => {
            let group = host.text("proc/sys/kernel/io_uring_group")?;
            let found = format!(
                "{name} = 1: only for CAP_SYS_ADMIN and group {}",
                quoted(&group)
            );
            Ok(Outcome::new(Severity::Limits, found)
                .wanted("0, or kernel.io_uring_group = the group of the engine's user")
                .mend("sysctl -w kernel.io_uring_group=$(getent group ringbeam | cut -d: -f3)"))
        }
        _ if host.is_running() => Ok(Outcome::ok("a ring can be set up")),
        Some(_) => Ok(Outcome::ok(format!("{name} = 0"))),
        None => Ok(Outcome::unknown(
            "no setting forbids it; not tried on a copy of a host",
        )),
    }
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
