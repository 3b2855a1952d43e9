//! Links: how packets get from a network device to a processor, and out again.

use std::collections::BTreeMap;

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable};
use super::super::load::Load;
use super::{Checked, sysctl};
use crate::problem::quoted;

/// Packets that may wait for a processor; the kernel's own default is 1,000.
const BACKLOG: u64 = 8192;

/// More processors than any kernel is built for.
const PROCESSORS_MAX: u64 = 8192;

/// Queue disciplines that keep one slow flow from holding up the others.
const FAIR: [&str; 4] = ["fq_codel", "fq", "cake", "fq_pie"];

/// `receive-queues`
pub(in crate::doctor) fn receive_queues(host: &Host, load: &Load) -> Checked {
    let mut processors = host.allowed_processors()?;
    let count = u64::try_from(processors.len()).unwrap_or(u64::MAX);
    // Shards take the processors in this order; more shards than processors need no more queues.
    processors.truncate(usize::try_from(load.shards_on(count)).unwrap_or(usize::MAX));
    let shards = processors.len();
    let mut seen = Vec::new();
    for device in host.names("sys/class/net") {
        // What has no hardware behind it has no queues that matter; a name that a shell would take for
        // more than a name is in no command here.
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-@".contains(&byte);
        if !device.bytes().all(is_plain) || !host.has(&format!("sys/class/net/{device}/device")) {
            continue;
        }
        let state = host.text(&format!("sys/class/net/{device}/operstate"));
        if state.is_ok_and(|state| state == "down") {
            continue;
        }
        let folder = format!("sys/class/net/{device}/queues");
        let queues = host.names(&folder);
        let queues: Vec<&String> = queues
            .iter()
            .filter(|name| name.starts_with("rx-"))
            .collect();
        let is_spread = queues.iter().any(|queue| {
            let mask = host.text(&format!("{folder}/{queue}/rps_cpus"));
            mask.is_ok_and(|mask| named(&mask) > 1)
        });
        if queues.len() < shards && !is_spread {
            let found = format!(
                "{device}: {} receive queue(s), {shards} processors with shards",
                queues.len()
            );
            return Ok(Outcome::new(Severity::Costs, found)
                .wanted("a queue for each, or RPS")
                .mend(format!(
                    "ethtool -L {device} combined {shards}; where it has no more queues, \
                     echo {} > /{folder}/rx-0/rps_cpus",
                    mask(&processors)
                )));
        }
        seen.push(device);
    }
    if seen.is_empty() {
        return Err(Unreadable(
            "no network device that is up and has hardware behind it".to_owned(),
        ));
    }
    Ok(Outcome::ok(format!(
        "{}: spread over the processors",
        quoted(&seen.join(", "))
    )))
}

/// `netdev-backlog`
pub(in crate::doctor) fn netdev_backlog(host: &Host, _: &Load) -> Checked {
    let name = "net.core.netdev_max_backlog";
    let path = "proc/net/softnet_stat";
    let text = host.text(path)?;
    let dropped: Option<u64> = text
        .lines()
        .map(|line| u64::from_str_radix(line.split_ascii_whitespace().nth(1)?, 16).ok())
        .try_fold(0, |sum: u64, dropped| Some(sum.saturating_add(dropped?)));
    let dropped =
        dropped.ok_or_else(|| Unreadable(format!("/{path}: not understood: {}", quoted(&text))))?;
    let backlog = host.number("proc/sys/net/core/netdev_max_backlog")?;
    let found = format!("{name} = {backlog}, {dropped} packets dropped since the start");
    if dropped == 0 || backlog >= BACKLOG {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Costs, found)
        .wanted(format!("{BACKLOG}, where packets were dropped"))
        .mend(sysctl(name, BACKLOG)))
}

/// `busy-polling`
pub(in crate::doctor) fn busy_polling(host: &Host, _: &Load) -> Checked {
    let poll = host.number("proc/sys/net/core/busy_poll")?;
    let read = host.number("proc/sys/net/core/busy_read")?;
    let found = format!("net.core.busy_poll = {poll}, busy_read = {read}");
    if poll == 0 && read == 0 {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Note, found)
        .wanted("0")
        .mend("sysctl -w net.core.busy_poll=0 net.core.busy_read=0"))
}

/// `congestion-control`
pub(in crate::doctor) fn congestion_control(host: &Host, _: &Load) -> Checked {
    let found = host.text("proc/sys/net/ipv4/tcp_congestion_control")?;
    Ok(Outcome::ok(quoted(&found)))
}

/// `queue-discipline`
pub(in crate::doctor) fn queue_discipline(host: &Host, _: &Load) -> Checked {
    let name = "net.core.default_qdisc";
    let found = host.text("proc/sys/net/core/default_qdisc")?;
    if FAIR.contains(&found.as_str()) {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Note, quoted(&found))
        .wanted(FAIR.join(", "))
        .mend(sysctl(name, "fq_codel")))
}

/// `slow-start`
pub(in crate::doctor) fn slow_start(host: &Host, _: &Load) -> Checked {
    let name = "net.ipv4.tcp_slow_start_after_idle";
    let found = host.number("proc/sys/net/ipv4/tcp_slow_start_after_idle")?;
    if found == 0 {
        return Ok(Outcome::ok(format!("{name} = 0")));
    }
    Ok(Outcome::new(Severity::Note, format!("{name} = {found}"))
        .wanted("0, where messages are larger than 14 KB")
        .mend(sysctl(name, 0)))
}

/// The mask of these processors, in groups of 32 as sysfs wants it. What no kernel has is left out.
fn mask(processors: &[u64]) -> String {
    let mut groups: BTreeMap<u64, u32> = BTreeMap::new();
    for processor in processors.iter().filter(|number| **number < PROCESSORS_MAX) {
        *groups.entry(processor / 32).or_default() |= 1_u32 << (processor % 32);
    }
    let highest = groups.keys().next_back().copied().unwrap_or_default();
    let words = (0..=highest).rev().map(|index| {
        let bits = groups.get(&index).copied().unwrap_or_default();
        if index == highest {
            format!("{bits:x}")
        } else {
            format!("{bits:08x}")
        }
    });
    words.collect::<Vec<_>>().join(",")
}

/// The number of processors that a mask names.
fn named(mask: &str) -> u32 {
    mask.chars()
        .filter_map(|digit| digit.to_digit(16))
        .map(u32::count_ones)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::{mask, named};

    #[test]
    fn masks_name_every_processor_once() {
        for (processors, expected) in [
            (vec![], "0"),
            (vec![0], "1"),
            (vec![2, 3, 6], "4c"),
            ((0..12).collect(), "fff"),
            ((0..32).collect(), "ffffffff"),
            ((0..40).collect(), "ff,ffffffff"),
            (vec![32, 96], "1,00000000,00000001,00000000"),
            (vec![1, u64::MAX], "2"),
        ] {
            assert_eq!(mask(&processors), expected);
            let known = processors.iter().filter(|number| **number < 8192).count();
            assert_eq!(usize::try_from(named(expected)).unwrap(), known);
        }
    }
}
