//! Processors: how many there are for shards, how fast they run and how fast they wake up.

use super::super::finding::{Outcome, Severity};
use super::super::host::{Host, Unreadable};
use super::super::load::Load;
use super::Checked;
use crate::problem::quoted;

/// Microseconds to wake from a processor's deepest idle state that a lone message does not notice.
const WAKE_UP_US: u64 = 100;

const FOLDER: &str = "sys/devices/system/cpu";

/// `shards`
pub(in crate::doctor) fn shards(host: &Host, load: &Load) -> Checked {
    let processors = u64::try_from(host.allowed_processors()?.len()).unwrap_or(u64::MAX);
    let shards = load.shards_on(processors);
    let found = format!("{shards} shard(s) on {processors} processor(s)");
    if shards > processors {
        return Ok(Outcome::new(Severity::Costs, found)
            .wanted("a processor for each")
            .mend("engine.shards = 0, or CPUAffinity= with more processors in the systemd unit"));
    }
    // A container sees its own control group here.
    if let Ok(text) = host.text("sys/fs/cgroup/cpu.max")
        && let Some((quota, period)) = text.split_once(' ')
        && let (Ok(quota), Ok(period)) = (quota.parse::<u64>(), period.parse::<u64>())
        && quota < shards.saturating_mul(period)
    {
        return Ok(Outcome::new(
            Severity::Costs,
            format!("{found}, cpu.max = {quota} {period}"),
        )
        .wanted("no quota below the number of shards")
        .mend("raise the container's CPU limit, or engine.shards = what it allows"));
    }
    Ok(Outcome::ok(found))
}

/// `governor`
pub(in crate::doctor) fn governor(host: &Host, _: &Load) -> Checked {
    let mut count = 0_usize;
    let mut other = None;
    for processor in processors(host) {
        let Ok(text) = host.text(&format!("{FOLDER}/{processor}/cpufreq/scaling_governor")) else {
            continue;
        };
        count = count.saturating_add(1);
        if text != "performance" {
            other = Some(format!("{processor}: {}", quoted(&text)));
        }
    }
    Ok(match other {
        _ if count == 0 => Outcome::unknown("no frequency scaling is visible here, as in most VMs"),
        None => Outcome::ok(format!("performance on {count} processors")),
        Some(found) => Outcome::new(Severity::Costs, found)
            .wanted("performance")
            .mend(format!(
                "for f in /{FOLDER}/cpu*/cpufreq/scaling_governor; do echo performance > $f; done"
            )),
    })
}

/// `idle-states`
pub(in crate::doctor) fn idle_states(host: &Host, _: &Load) -> Checked {
    let folder = format!("{FOLDER}/cpu0/cpuidle");
    let mut deepest = None;
    for state in host.names(&folder) {
        let is_off = host.number(&format!("{folder}/{state}/disable")) == Ok(1);
        let Ok(latency_us) = host.number(&format!("{folder}/{state}/latency")) else {
            continue;
        };
        if !is_off {
            deepest = deepest.max(Some(latency_us));
        }
    }
    let Some(latency_us) = deepest else {
        return Err(Unreadable(format!("/{folder}: no states, as in most VMs")));
    };
    let found = format!("{latency_us} µs to wake from the deepest state");
    if latency_us <= WAKE_UP_US {
        return Ok(Outcome::ok(found));
    }
    Ok(Outcome::new(Severity::Note, found)
        .wanted(format!(
            "{WAKE_UP_US} µs at most, where latency at low load matters"
        ))
        .mend(format!("cpupower idle-set -D {WAKE_UP_US}")))
}

/// `isolation`
pub(in crate::doctor) fn isolation(host: &Host, _: &Load) -> Checked {
    let path = format!("{FOLDER}/isolated");
    let list = host.text(&path)?;
    let isolated = host.processors(&list, &path)?;
    // White space between the numbers is understood, and of no use in a command.
    let list: String = list.split_whitespace().collect();
    if isolated.is_empty() {
        return Ok(Outcome::new(Severity::Note, "no processor is isolated"));
    }
    let allowed = host.allowed_processors()?;
    if isolated.iter().all(|processor| allowed.contains(processor)) {
        return Ok(Outcome::ok(format!("{list} isolated, and free for shards")));
    }
    Ok(Outcome::new(
        Severity::Costs,
        format!("{list} isolated, and not free for shards"),
    )
    .wanted("shards on the isolated processors")
    .mend(format!("CPUAffinity={list} in the systemd unit")))
}

/// The folders of the processors.
fn processors(host: &Host) -> impl Iterator<Item = String> {
    let names = host.names(FOLDER).into_iter();
    names.filter(|name| {
        let digits = name.strip_prefix("cpu").unwrap_or_default();
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    })
}
