//! Cpu: how long processes and processors have worked.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

use crate::cpus::Cpus;

/// Fields of a processor's line in `/proc/stat` that are not work: idle and iowait. Behind softirq come times of
/// other machines (steal) and copies of the former.
const IDLE_FIELDS: [usize; 2] = [3, 4];
const WORK_FIELDS: usize = 7;
/// A tick of `/proc/stat`: Linux shows 100 a second on every architecture that it is run on here.
const TICK_MS: u64 = 10;

/// The processor time of some processes, every thread included, also threads that have ended (an io_uring worker
/// may end at any time, which is why the threads' own figures are not added up).
///
/// # Errors
/// When one of them has ended.
pub fn of(pids: &[u32]) -> anyhow::Result<Duration> {
    pids.iter().map(|pid| of_one(*pid)).sum()
}

fn of_one(pid: u32) -> anyhow::Result<Duration> {
    let id = Pid::from_raw(i32::try_from(pid)?);
    let time = clock_getcpuclockid(id).and_then(clock_gettime);
    Ok(time
        .with_context(|| format!("processor time of process {pid}"))?
        .into())
}

/// How long these processors have been busy with anything, whoever it was for.
///
/// # Errors
/// When `/proc/stat` does not say.
pub fn busy(cpus: &Cpus) -> anyhow::Result<Duration> {
    let text = fs::read_to_string("/proc/stat")?;
    cpus.numbers()
        .iter()
        .map(|number| busy_one(&text, *number))
        .sum()
}

fn busy_one(text: &str, number: usize) -> anyhow::Result<Duration> {
    let start = format!("cpu{number} ");
    let line = text.lines().find_map(|line| line.strip_prefix(&start));
    let fields = line.with_context(|| format!("processor {number} is not there"))?;
    let mut ticks: u64 = 0;
    for (index, field) in fields.split(' ').take(WORK_FIELDS).enumerate() {
        if !IDLE_FIELDS.contains(&index) {
            ticks += field.parse::<u64>()?;
        }
    }
    Ok(Duration::from_millis(TICK_MS * ticks))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn busy_leaves_out_idle_iowait_and_steal() {
        let text = "cpu  1 1 1 1 1 1 1 1 1 1\ncpu0 1 2 4 800 1600 8 16 3200 0 0\ncpu10 9 0 0 0 0 0 0 0 0 0\n";
        let busy_ms = |number| busy_one(text, number).unwrap().as_millis();
        assert_eq!((busy_ms(0), busy_ms(10)), (310, 90));
        busy_one(text, 1).unwrap_err();
    }

    #[test]
    fn the_work_of_ended_threads_counts() {
        let before = of(&[std::process::id()]).unwrap();
        let work = || {
            let start = clock::now();
            while start.elapsed() < Duration::from_millis(50) {
                std::hint::spin_loop();
            }
            of(&[std::process::id()]).unwrap()
        };
        let inside = std::thread::scope(|scope| scope.spawn(work).join().unwrap());
        let after = of(&[std::process::id()]).unwrap();
        assert!(inside > before && after >= inside);
    }
}
