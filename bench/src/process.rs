//! Process: a child with a process group of its own. The whole group ends with its owner. Where this program is killed
//! and can end nothing, the kernel asks the child to end; what that has started is its own to end.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::NamedTempFile;

use crate::clock;
use crate::cpus::Cpus;
use crate::interrupt::Interrupt;

/// How long a child may take to end when it is asked to, before it is killed.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// How long a child may take until it serves, and until it has ended once it is done.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Sets what happens to a program when its parent ends.
const SETPRIV: &str = "setpriv";
/// Keeps a program on some processors.
const TASKSET: &str = "taskset";
/// How many lines of a child's output an error shows.
const TAIL_LINES: usize = 8;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    output: NamedTempFile,
}

/// A program that the kernel sends SIGTERM when the thread that started it ends, in whatever way. So children are
/// started from the main thread.
#[must_use]
pub fn bound(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(SETPRIV);
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// The same on these processors alone.
#[must_use]
pub fn pinned(cpus: &Cpus, program: impl AsRef<OsStr>) -> Command {
    let mut command = bound(TASKSET);
    command.arg("-c").arg(cpus.to_string()).arg(program);
    command
}

/// Looks whether the programs that start the others are there.
///
/// # Errors
/// When one is not, with the command that installs it.
pub fn check_launchers() -> anyhow::Result<()> {
    for program in [SETPRIV, TASKSET] {
        let output = Command::new(program).arg("--version").output();
        ensure!(
            output.is_ok_and(|output| output.status.success()),
            "{program} of util-linux is not installed: apt-get install util-linux"
        );
    }
    Ok(())
}

impl Process {
    /// Starts a child; what it prints goes to a temporary file.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let output = NamedTempFile::new()?;
        let append = || OpenOptions::new().append(true).open(output.path());
        command
            .stdin(Stdio::null())
            .stdout(append()?)
            .stderr(append()?);
        Self::spawn(name, command, output)
    }

    /// Starts a child that is spoken with over its standard input and output.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_piped(name: &str, mut command: Command) -> anyhow::Result<Self> {
        let output = NamedTempFile::new()?;
        let errors = OpenOptions::new().append(true).open(output.path())?;
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(errors);
        Self::spawn(name, command, output)
    }

    fn spawn(name: &str, mut command: Command, output: NamedTempFile) -> anyhow::Result<Self> {
        let child = command
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name}: cannot start {:?}", command.get_program()))?;
        Ok(Self {
            name: name.to_owned(),
            child,
            output,
        })
    }

    /// Its pipes, for who speaks with it.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Every process of its group that runs.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn members(&self) -> io::Result<Vec<u32>> {
        let is_member = |pid: &u32| group(*pid) == Some(self.child.id());
        let names = fs::read_dir("/proc")?.filter_map(Result::ok);
        let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(pids.filter(is_member).collect())
    }

    /// How it ended, where it has.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Fails if it has ended, with the last lines that it printed.
    ///
    /// # Errors
    /// See above.
    pub fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.ended()? {
            bail!("{} ended by itself ({status}){}", self.name, self.tail());
        }
        Ok(())
    }

    /// Waits until it has ended by itself, as it is about to.
    ///
    /// # Errors
    /// When it takes longer than ten seconds, or this program is to stop.
    pub fn wait_for_end(&mut self, interrupt: &Interrupt) -> anyhow::Result<ExitStatus> {
        let start = clock::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            interrupt.check()?;
            ensure!(
                start.elapsed() < START_PATIENCE,
                "{} does not end{}",
                self.name,
                self.tail()
            );
            clock::pause();
        }
    }

    /// Waits until a condition holds that this child brings about.
    ///
    /// # Errors
    /// When the child ends, or takes longer than ten seconds, or this program is to stop.
    pub fn wait_until(
        &mut self,
        what: &str,
        interrupt: &Interrupt,
        mut condition: impl FnMut(&Self) -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let start = clock::now();
        while !condition(self)? {
            interrupt.check()?;
            self.check()?;
            if start.elapsed() > START_PATIENCE {
                bail!("{}: waited in vain for {what}{}", self.name, self.tail());
            }
            clock::pause();
        }
        Ok(())
    }

    /// Everything that it printed.
    #[must_use]
    pub fn output(&self) -> String {
        let bytes = fs::read(self.output.path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last lines that it printed, each on a line of its own.
    #[must_use]
    pub fn tail(&self) -> String {
        let output = self.output();
        let lines: Vec<_> = output
            .lines()
            .filter(|line| !line.trim().is_empty())
            .collect();
        let first = lines.len().saturating_sub(TAIL_LINES);
        lines
            .iter()
            .skip(first)
            .map(|line| format!("\n    {line}"))
            .collect()
    }

    /// Asks the whole group to end.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // Nobody of the group may be left, which is what is wanted.
            kill_process_group(pid, signal).unwrap_or_default();
        }
    }

    fn stop(&mut self) {
        self.signal(Signal::TERM);
        let start = clock::now();
        while matches!(self.ended(), Ok(None)) && start.elapsed() < END_PATIENCE {
            clock::pause();
        }
        // Also what its children left behind.
        self.signal(Signal::KILL);
        drop(self.child.wait());
        while self.members().is_ok_and(|members| !members.is_empty())
            && start.elapsed() < 2 * END_PATIENCE
        {
            clock::pause();
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.stop();
    }
}

/// The process group of a process that runs; zombies count as ended.
fn group(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    if fields.next()? == "Z" {
        return None;
    }
    fields.nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    fn shell(script: &str) -> Process {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Process::start("shell", command).unwrap()
    }

    #[test]
    fn the_whole_group_ends_with_its_owner() {
        // One that ignores the polite signal, and a grandchild.
        let mut process = shell("sleep 600 & trap '' TERM; echo up; while :; do sleep 600; done");
        let interrupt = Interrupt::default();
        let is_up = |process: &Process| Ok(process.members()?.len() == 3);
        process
            .wait_until("its children", &interrupt, is_up)
            .unwrap();
        let members = process.members().unwrap();
        drop(process);
        assert!(members.iter().all(|pid| group(*pid).is_none()));
    }

    #[test]
    fn one_that_is_killed_with_its_starter_is_asked_to_end() {
        check_launchers().unwrap();
        let started = std::thread::scope(|scope| {
            let start = || {
                let mut command = bound("sh");
                command.args(["-c", "echo up; sleep 600 & wait"]);
                let mut process = Process::start("shell", command).unwrap();
                let is_up = |process: &Process| Ok(process.output().contains("up"));
                process
                    .wait_until("it to be up", &Interrupt::default(), is_up)
                    .unwrap();
                process
            };
            scope.spawn(start).join().unwrap()
        });
        // The thread is over, its owner is not.
        let mut process = started;
        let status = process.wait_for_end(&Interrupt::default()).unwrap();
        assert_eq!(status.signal(), Some(Signal::TERM.as_raw()));
    }

    #[test]
    fn one_that_ends_by_itself_says_why() {
        let mut process = shell("echo no such thing >&2; exit 3");
        let interrupt = Interrupt::default();
        let error = process
            .wait_until("a miracle", &interrupt, |_| Ok(false))
            .unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("exit status: 3") && text.contains("no such thing"),
            "{text}"
        );
    }
}
