//! Strace: counts a subject's system calls while the load is steady. It slows the subject down, so only the number of
//! calls is taken from it, as a rate over the time in which it was attached.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::clock;
use crate::interrupt::Interrupt;
use crate::process::{Process, bound};

/// Counts calls.
#[derive(Debug)]
pub struct Strace {
    process: Process,
    attached: Instant,
    traced: Option<Duration>,
}

/// Whether it is installed.
#[must_use]
pub fn is_installed() -> bool {
    Command::new("strace").arg("-V").output().is_ok()
}

impl Strace {
    /// Attaches to every thread of some processes and waits until it has.
    ///
    /// # Errors
    /// When it is not there, or may not.
    pub fn attach(pids: &[u32], interrupt: &Interrupt) -> anyhow::Result<Self> {
        let mut command = bound("strace");
        command.args(["-c", "-f"]);
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        let mut process = Process::start("strace", command)?;
        let all = pids.len();
        process.wait_until("strace to attach", interrupt, |process| {
            Ok(process.output().matches("attached").count() >= all)
        })?;
        Ok(Self {
            process,
            attached: clock::now(),
            traced: None,
        })
    }

    /// Lets go; the subject runs on.
    pub fn detach(&mut self) {
        self.traced = Some(self.attached.elapsed());
        self.process.signal(Signal::INT);
    }

    /// Calls per second while it was attached; `None` where it does not say.
    pub fn calls_per_s(&mut self) -> Option<f64> {
        let seconds = self.traced?.as_secs_f64();
        let start = clock::now();
        while matches!(self.process.ended(), Ok(None)) && start.elapsed() < Duration::from_secs(3) {
            clock::pause();
        }
        Some(total(&self.process.output())? / seconds)
    }
}

/// The calls of the summary's last line: `100.00 SECONDS USECS CALLS ERRORS total`.
fn total(output: &str) -> Option<f64> {
    let line = output
        .lines()
        .rev()
        .find(|line| line.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::total;

    #[test]
    fn the_total_is_read() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000126           4        31         3 read\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000126           4        31         3 total\n";
        assert_eq!(total(text), Some(31.0));
        assert_eq!(total("strace: attach: Operation not permitted"), None);
    }
}
