//! Plan: what the command line comes to: who runs what, in which order, and what is left out, with why.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

use crate::args::{CompareArguments, RemoteArguments};
use crate::cpus::{self, Cpus};
use crate::process;
use crate::scenario::{self, Part, Scenario};
use crate::subject::Subject;

/// Rounds of the full run and of the quick one.
const ROUNDS: [u32; 2] = [5, 3];

/// A subject with a number of threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entrant {
    /// What it is.
    pub subject: Subject,
    /// Its name in the rows.
    pub label: String,
    /// Shards, threads or workers.
    pub threads: u32,
}

/// What is to be done.
#[derive(Debug)]
pub struct Plan {
    /// Whether it is the short version.
    pub is_quick: bool,
    /// Every scenario with those that take part, in order.
    pub scenarios: Vec<(&'static Scenario, Vec<Entrant>)>,
    /// Rounds of each.
    pub rounds: u32,
    /// The row label that ratios are taken to.
    pub baseline: String,
    /// Processors of the subjects.
    pub proxy_cpus: Cpus,
    /// Processors of the load.
    pub load_cpus: Cpus,
    /// Numbers of threads.
    pub shards: Vec<u32>,
    /// The length of every window, where it is not the scenario's own.
    pub window: Option<Duration>,
    /// Whether system calls are counted.
    pub has_syscalls: bool,
    /// Where our own programs are.
    pub bin_dir: PathBuf,
    /// A proxy elsewhere, or none.
    pub remote: Option<RemoteArguments>,
    /// Program and version by subject.
    pub versions: BTreeMap<String, String>,
    /// What was asked for and is not run, with why.
    pub missing: BTreeMap<String, String>,
    /// What of the choices changes figures, by name.
    pub notes: BTreeMap<String, String>,
}

/// Wrong options, which a usage error says, apart from what this machine lacks.
#[derive(Debug)]
pub struct Refused(pub String);

/// The folder with our own programs.
///
/// # Errors
/// When the kernel does not say where this program is.
pub fn bin_dir(given: Option<&PathBuf>) -> anyhow::Result<PathBuf> {
    if let Some(folder) = given {
        return Ok(folder.clone());
    }
    let own = std::env::current_exe()?;
    Ok(own
        .parent()
        .context("this program is in no folder")?
        .to_owned())
}

/// Checks the names that the command line's types do not check, and says what is accepted.
///
/// # Errors
/// With the usage error.
pub fn check(arguments: &CompareArguments) -> Result<(), Refused> {
    if arguments.remote.remote_target.is_some() {
        return match arguments.subjects.len() {
            0 | 1 => Ok(()),
            _ => Err(Refused("--remote-target has one subject".to_owned())),
        };
    }
    let accepted = Subject::ALL.map(Subject::name);
    let subjects = arguments.subjects.iter().map(|name| ("subject", name));
    let baseline = arguments.baseline.iter().map(|name| ("baseline", name));
    for (what, name) in subjects.chain(baseline) {
        if !accepted.contains(&name.as_str()) {
            return Err(Refused(format!(
                "no {what} {name:?}; there are {}",
                accepted.join(", ")
            )));
        }
    }
    Ok(())
}

impl Plan {
    /// Looks at this machine and decides.
    ///
    /// # Errors
    /// When there is nothing to measure.
    pub fn new(arguments: &CompareArguments) -> anyhow::Result<Self> {
        process::check_launchers()?;
        let has_remote = arguments.remote.remote_target.is_some();
        let (asked_proxy, asked_load) =
            (arguments.proxy_cpus.as_ref(), arguments.load_cpus.as_ref());
        let allowed = cpus::allowed()?;
        let (proxy_cpus, load_cpus) = cpus::choose(asked_proxy, asked_load, &allowed);
        check_cpus("--load-cpus", &load_cpus, &allowed)?;
        let mut notes = BTreeMap::new();
        if !has_remote {
            check_cpus("--proxy-cpus", &proxy_cpus, &allowed)?;
            let conflict = cpus::conflict(&proxy_cpus, &load_cpus);
            notes.extend(conflict.map(|why| ("shared processors".to_owned(), why)));
        }
        let shards = shards(arguments, &proxy_cpus)?;
        let rounds = ROUNDS[usize::from(arguments.quick)];
        let mut plan = Self {
            is_quick: arguments.quick,
            scenarios: Vec::new(),
            rounds: arguments.rounds.unwrap_or(rounds),
            baseline: String::new(),
            proxy_cpus,
            load_cpus,
            shards,
            window: arguments.duration,
            has_syscalls: arguments.syscalls,
            bin_dir: bin_dir(arguments.bin_dir.as_ref())?,
            remote: has_remote.then(|| arguments.remote.clone()),
            versions: BTreeMap::new(),
            missing: BTreeMap::new(),
            notes,
        };
        let generator = plan.generator();
        ensure!(
            generator.exists(),
            "{} is not there: cargo build --release -p ringbeam-loadgen",
            generator.display()
        );
        let entrants = if has_remote {
            vec![remote(arguments)]
        } else {
            plan.entrants(&arguments.subjects)
        };
        plan.choose_scenarios(arguments, &entrants);
        if plan.scenarios.is_empty() {
            let whys: Vec<_> = plan
                .missing
                .iter()
                .map(|(what, why)| format!("\n  {what}: {why}"))
                .collect();
            bail!("nothing to measure{}", whys.concat());
        }
        plan.choose_baseline(arguments.baseline.as_deref());
        Ok(plan)
    }

    /// The load generator.
    #[must_use]
    pub fn generator(&self) -> PathBuf {
        self.bin_dir.join("ringbeam-loadgen")
    }

    /// How long a scenario is measured.
    #[must_use]
    pub fn measured(&self, scenario: &Scenario) -> Duration {
        self.window
            .unwrap_or_else(|| scenario.measured(self.is_quick))
    }

    /// Everybody who is installed, once per number of threads.
    fn entrants(&mut self, names: &[String]) -> Vec<Entrant> {
        let mut entrants = Vec::new();
        for subject in Subject::ALL {
            let name = subject.name();
            if !names.is_empty() && !names.iter().any(|asked| asked == name) {
                continue;
            }
            match subject.version(&self.bin_dir) {
                Ok(version) if version.is_empty() => {}
                Ok(version) => drop(self.versions.insert(name.to_owned(), version)),
                Err(error) => {
                    self.missing.insert(name.to_owned(), format!("{error:#}"));
                    continue;
                }
            }
            let counts = if subject.has_threads() {
                self.shards.as_slice()
            } else {
                &[1]
            };
            for threads in counts {
                let is_one_of_several = counts.len() > 1;
                let label = if is_one_of_several {
                    format!("{name}@{threads}")
                } else {
                    name.to_owned()
                };
                entrants.push(Entrant {
                    subject,
                    label,
                    threads: *threads,
                });
            }
        }
        entrants
    }

    fn choose_scenarios(&mut self, arguments: &CompareArguments, entrants: &[Entrant]) {
        for scenario in scenario::ALL {
            let is_named = arguments.scenarios.iter().any(|name| name == scenario.name);
            let is_default =
                arguments.scenarios.is_empty() && (scenario.is_quick || !arguments.quick);
            if !is_named && !is_default {
                continue;
            }
            let mut takers = Vec::new();
            for entrant in entrants {
                let why = match scenario.part(entrant.subject) {
                    Part::Takes => {
                        takers.push(entrant.clone());
                        continue;
                    }
                    Part::Cannot(why) => why,
                    Part::Elsewhere(why) if is_named && !arguments.subjects.is_empty() => why,
                    Part::Elsewhere(_) => continue,
                };
                let name = entrant.subject.name();
                self.missing
                    .insert(format!("{name}/{}", scenario.name), why.to_owned());
            }
            if !takers.is_empty() {
                self.scenarios.push((scenario, takers));
            }
        }
    }

    /// A baseline with several numbers of threads is named without one: ratios are taken at equal numbers.
    fn choose_baseline(&mut self, asked: Option<&str>) {
        let takers = self.scenarios.iter().flat_map(|(_, entrants)| entrants);
        let names: Vec<_> = takers.map(Entrant::name).collect();
        let default = if names.contains(&Subject::Haproxy.name()) {
            Subject::Haproxy.name()
        } else {
            names.first().copied().unwrap_or_default()
        };
        self.baseline = asked.unwrap_or(default).to_owned();
        if !names.contains(&self.baseline.as_str()) {
            let why = "not among what is measured: there are no ratios".to_owned();
            self.missing
                .insert(format!("baseline {}", self.baseline), why);
        }
    }
}

impl Entrant {
    /// Its name without the number of threads.
    fn name(&self) -> &str {
        self.label.split('@').next().unwrap_or(&self.label)
    }
}

fn remote(arguments: &CompareArguments) -> Entrant {
    let name = Subject::Remote.name().to_owned();
    let label = arguments.subjects.first().cloned().unwrap_or(name);
    Entrant {
        subject: Subject::Remote,
        label,
        threads: 1,
    }
}

/// Each number once, as asked for.
fn shards(arguments: &CompareArguments, proxy_cpus: &Cpus) -> anyhow::Result<Vec<u32>> {
    let mut shards = Vec::new();
    for number in &arguments.shards {
        if !shards.contains(number) {
            shards.push(*number);
        }
    }
    if shards.is_empty() {
        shards.push(u32::try_from(proxy_cpus.numbers().len())?);
    }
    Ok(shards)
}

/// Refuses processors that this program may not use.
fn check_cpus(option: &str, cpus: &Cpus, allowed: &[usize]) -> anyhow::Result<()> {
    let is_missing = |number: &&usize| !allowed.contains(number);
    match cpus.numbers().iter().find(is_missing) {
        Some(number) => bail!("{option}: processor {number} is not there, or not for this program"),
        None => Ok(()),
    }
}

/// The first folder of this name that has nothing in it: with `-2`, `-3` and so on behind it where others have.
///
/// # Errors
/// When the folders cannot be read.
pub fn free_folder(name: &str) -> anyhow::Result<PathBuf> {
    let mut folder = PathBuf::from(name);
    for number in 2.. {
        if is_free(&folder)? {
            break;
        }
        folder = PathBuf::from(format!("{name}-{number}"));
    }
    Ok(folder)
}

/// Refuses a folder that has something in it.
///
/// # Errors
/// When it has.
pub fn check_folder(folder: &Path) -> anyhow::Result<()> {
    ensure!(
        is_free(folder)?,
        "{} is not empty: reports are never overwritten; choose another with --out",
        folder.display()
    );
    Ok(())
}

fn is_free(folder: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(folder) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error).context(folder.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_folder_is_numbered() {
        let parent = tempfile::tempdir().unwrap();
        let name = parent.path().join("run").display().to_string();
        for expected in ["run", "run-2", "run-3"] {
            let folder = free_folder(&name).unwrap();
            assert_eq!(folder.file_name().unwrap(), expected);
            fs::create_dir(&folder).unwrap();
            // Nothing is in it yet.
            assert_eq!(free_folder(&name).unwrap(), folder);
            check_folder(&folder).unwrap();
            fs::write(folder.join("raw.json"), "[]").unwrap();
            check_folder(&folder).unwrap_err();
        }
    }
}
