//! Network: what connections need of the kernel before a packet meets a device: ports, queues of those
//! that wait, and connection tracking.

use std::collections::BTreeSet;

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable, ranges};
use super::super::load::Load;
use super::{Checked, rounded, sysctl};
use crate::limits::LISTEN_BACKLOG;
use crate::problem::quoted;

/// The range that leaves the ports of common services alone.
const PORTS: (u64, u64) = (10_240, 65_535);

/// `ports`
pub(in crate::doctor) fn ports(host: &Host, load: &Load) -> Checked {
    let name = "net.ipv4.ip_local_port_range";
    let [first, last] = host.numbers("proc/sys/net/ipv4/ip_local_port_range")?;
    let ports = last.saturating_add(1).saturating_sub(first);
    let destinations = load.destinations.max(1);
    let pairs = load.address_pairs.max(destinations);
    let fits = pairs.saturating_mul(ports);
    let found = format!(
        "{ports} ports, {pairs} pair(s) of source and destination address: {fits} upstream connections"
    );
    if load.sessions <= fits / 2 {
        return Ok(Outcome::ok(found));
    }
    let severity = if load.sessions > fits {
        Severity::Limits
    } else {
        Severity::Costs
    };
    // A range that begins lower or ends higher already stays so.
    let (lower, upper) = (first.min(PORTS.0), last.max(PORTS.1));
    let best = upper.saturating_add(1).saturating_sub(lower);
    let needed = load
        .sessions
        .saturating_mul(2)
        .div_ceil(best.saturating_mul(destinations).max(1));
    let mut mend = Vec::new();
    if ports < best {
        mend.push(sysctl(name, format_args!("{lower} {upper}")));
    }
    if needed.saturating_mul(destinations) > pairs {
        mend.push(format!(
            "upstream.source_addresses with {needed} addresses of the destinations' family"
        ));
    }
    Ok(Outcome::new(severity, found)
        .wanted(format!("twice the {} sessions", load.sessions))
        .mend(mend.join("; ")))
}

/// `listen-ports`
pub(in crate::doctor) fn listen_ports(host: &Host, load: &Load) -> Checked {
    let name = "net.ipv4.ip_local_reserved_ports";
    let [first, last] = host.numbers("proc/sys/net/ipv4/ip_local_port_range")?;
    let text = host.text("proc/sys/net/ipv4/ip_local_reserved_ports")?;
    let reserved = ranges(&text)
        .ok_or_else(|| Unreadable(format!("{name}: not understood: {}", quoted(&text))))?;
    let is_in = |port: u64| {
        (first..=last).contains(&port) && !reserved.iter().any(|range| range.contains(&port))
    };
    let clashing: BTreeSet<u16> = load
        .ports
        .iter()
        .copied()
        .filter(|port| is_in(u64::from(*port)))
        .collect();
    if clashing.is_empty() {
        return Ok(Outcome::ok(
            "no listener's port is given to outgoing connections",
        ));
    }
    let clashing: Vec<String> = clashing.iter().map(u16::to_string).collect();
    let clashing = clashing.join(",");
    // White space and controls between the numbers are of no use in a command.
    let listed: String = text.split_whitespace().collect();
    let all: Vec<&str> = [listed.as_str(), &clashing]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    Ok(Outcome::new(
        Severity::Limits,
        format!("{clashing} may be taken by an outgoing connection"),
    )
    .wanted("reserved")
    .mend(sysctl(name, all.join(","))))
}

/// `time-wait`
pub(in crate::doctor) fn time_wait(host: &Host, _: &Load) -> Checked {
    let name = "net.ipv4.tcp_tw_reuse";
    let found = host.number("proc/sys/net/ipv4/tcp_tw_reuse")?;
    if found == 1 {
        return Ok(Outcome::ok(format!("{name} = 1")));
    }
    Ok(Outcome::new(Severity::Costs, format!("{name} = {found}"))
        .wanted("1")
        .mend(sysctl(name, 1)))
}

/// `accept-queue`
pub(in crate::doctor) fn accept_queue(host: &Host, _: &Load) -> Checked {
    let name = "net.core.somaxconn";
    let found = host.number("proc/sys/net/core/somaxconn")?;
    let asked = u64::try_from(LISTEN_BACKLOG).unwrap_or_default();
    if found >= asked {
        return Ok(Outcome::ok(format!(
            "{name} = {found}; {asked} are asked for"
        )));
    }
    Ok(Outcome::new(Severity::Costs, format!("{name} = {found}"))
        .wanted(format!("{asked} at least"))
        .mend(sysctl(name, asked)))
}

/// `syn-backlog`
pub(in crate::doctor) fn syn_backlog(host: &Host, _: &Load) -> Checked {
    let cookies = host.number("proc/sys/net/ipv4/tcp_syncookies")?;
    let backlog = host.number("proc/sys/net/ipv4/tcp_max_syn_backlog")?;
    let asked = u64::try_from(LISTEN_BACKLOG).unwrap_or_default();
    let found = format!("net.ipv4.tcp_syncookies = {cookies}, tcp_max_syn_backlog = {backlog}");
    if cookies > 0 || backlog >= asked {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Limits, found)
        .wanted(format!("cookies, or a backlog of {asked} at least"))
        .mend(sysctl("net.ipv4.tcp_syncookies", 1)))
}

/// `conntrack`
pub(in crate::doctor) fn conntrack(host: &Host, load: &Load) -> Checked {
    if !host.has("proc/sys/net/netfilter") {
        return if host.has("proc/sys/net") {
            Ok(Outcome::ok("not loaded"))
        } else {
            Err(Unreadable("/proc/sys/net: not there".to_owned()))
        };
    }
    let max = host.number("proc/sys/net/netfilter/nf_conntrack_max")?;
    let count = host.number("proc/sys/net/netfilter/nf_conntrack_count")?;
    if count == 0 {
        return Ok(Outcome::ok("loaded, and tracks nothing"));
    }
    let needed = load.sessions.saturating_mul(2);
    let severity = if max < needed {
        Severity::Limits
    } else {
        Severity::Costs
    };
    let ports: Vec<String> = load.ports.iter().map(u16::to_string).collect();
    let mut mend = format!(
        "notrack rules for port {} and the upstreams', as in tuning/README.md",
        ports.join(", ")
    );
    // A table that is large enough is never made smaller; what it tracks already keeps its room.
    if max < needed {
        let value = rounded(needed.saturating_add(count));
        mend = format!(
            "{mend}; or {}",
            sysctl("net.netfilter.nf_conntrack_max", value)
        );
    }
    Ok(Outcome::new(
        severity,
        format!("{count} connections tracked, {max} at most"),
    )
    .wanted("none of the engine's; a session is two")
    .mend(mend))
}
