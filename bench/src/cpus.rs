//! Cpus: a set of processors, written as `taskset -c` takes it; which ones proxy and load are given, and whether they
//! can be in each other's way.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::{fmt, fs, io};

use rustix::thread::{CpuSet, sched_getaffinity};

/// Processors in order, none twice, at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cpus(Vec<usize>);

/// The highest processor number that a set may name.
const NUMBER_MAX: usize = 1023;

impl Cpus {
    /// Their numbers.
    #[must_use]
    pub fn numbers(&self) -> &[usize] {
        &self.0
    }

    /// The first of them alone.
    #[must_use]
    pub fn first(&self) -> Self {
        Self(self.0.iter().take(1).copied().collect())
    }

    /// Whether a processor is in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.0.iter().any(|number| other.0.contains(number))
    }

    /// The threads of the cores that these are threads of, as far as the kernel says.
    #[must_use]
    pub fn siblings(&self) -> BTreeSet<usize> {
        let of_one = |number: &usize| {
            let path = format!("/sys/devices/system/cpu/cpu{number}/topology/thread_siblings_list");
            fs::read_to_string(path).ok()?.trim().parse::<Self>().ok()
        };
        let siblings = self.0.iter().filter_map(of_one);
        siblings.flat_map(|cpus| cpus.0).collect()
    }

    /// As binary digits, the lowest processor last.
    #[must_use]
    pub fn mask(&self) -> String {
        let last = self.0.last().copied().unwrap_or_default();
        let digit = |number| if self.0.contains(&number) { '1' } else { '0' };
        (0..=last).rev().map(digit).collect()
    }
}

/// The processors that this program may use.
///
/// # Errors
/// When the kernel does not say.
pub fn allowed() -> io::Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    let is_set = |number: &usize| allowed.is_set(*number);
    Ok((0..CpuSet::MAX_CPU).filter(is_set).collect())
}

/// Processors of the proxy and of the load: those that were asked for, else one that is allowed and that the other does
/// not have. The proxy's is the first one. Where there is but one, both have it.
#[must_use]
pub fn choose(proxy: Option<&Cpus>, load: Option<&Cpus>, allowed: &[usize]) -> (Cpus, Cpus) {
    let other_than = |other: Option<&Cpus>| {
        let is_free = |number: &&usize| other.is_none_or(|cpus| !cpus.0.contains(number));
        let free = allowed.iter().find(is_free).or_else(|| allowed.first());
        Cpus(vec![free.copied().unwrap_or_default()])
    };
    let proxy = proxy.cloned().unwrap_or_else(|| other_than(load));
    let load = load.cloned().unwrap_or_else(|| other_than(Some(&proxy)));
    (proxy, load)
}

/// In which way proxy and load are in each other's way, where they are.
#[must_use]
pub fn conflict(proxy: &Cpus, load: &Cpus) -> Option<String> {
    if proxy.overlaps(load) {
        return Some(format!(
            "load (processors {load}) and proxy (processors {proxy}) share some: rates and latencies are those of both"
        ));
    }
    let siblings = proxy.siblings();
    let is_sibling = |number: &usize| siblings.contains(number);
    let shared = Cpus(load.0.iter().copied().filter(is_sibling).collect());
    (!shared.0.is_empty()).then(|| {
        format!(
            "processors {shared} of the load are SMT siblings of the proxy's {proxy}: one core does both"
        )
    })
}

impl FromStr for Cpus {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| match text.parse::<usize>() {
            Ok(number) if number <= NUMBER_MAX => Ok(number),
            _ => Err(format!(
                "{text:?} is no processor: expected something like 0, 0-3 or 0,2"
            )),
        };
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            numbers.extend(number(from)?..=number(to)?);
        }
        numbers.sort_unstable();
        numbers.dedup();
        if numbers.is_empty() {
            return Err(format!("{text:?} names no processor"));
        }
        Ok(Self(numbers))
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<_> = self.0.iter().map(usize::to_string).collect();
        formatter.write_str(&numbers.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_chosen_apart_from_the_other() {
        let cpus = |text: &str| text.parse::<Cpus>().ok();
        for (proxy, load, allowed, expected) in [
            ("", "", vec![0, 1], ("0", "1")),
            ("", "", vec![2, 5, 6], ("2", "5")),
            ("", "", vec![3], ("3", "3")),
            ("1", "", vec![0, 1], ("1", "0")),
            ("", "0", vec![0, 1], ("1", "0")),
            ("0-1", "", vec![0, 1], ("0,1", "0")),
            ("", "0-1", vec![0, 1], ("0", "0,1")),
            ("0", "0", vec![0, 1], ("0", "0")),
        ] {
            let (proxy, load) = choose(cpus(proxy).as_ref(), cpus(load).as_ref(), &allowed);
            assert_eq!(
                (proxy.to_string(), load.to_string()),
                (expected.0.into(), expected.1.into()),
                "{allowed:?}"
            );
            let is_shared = conflict(&proxy, &load).is_some_and(|why| why.contains("share"));
            assert_eq!(is_shared, proxy.overlaps(&load));
        }
    }

    #[test]
    fn sets_are_read_and_written() {
        for (text, expected, mask) in [
            ("0", "0", "1"),
            ("1", "1", "10"),
            ("0-2", "0,1,2", "111"),
            ("3,0-1,1", "0,1,3", "1011"),
        ] {
            let cpus: Cpus = text.parse().unwrap();
            assert_eq!(
                (cpus.to_string(), cpus.mask()),
                (expected.into(), mask.into())
            );
        }
        for wrong in ["", "a", "-1", "2-1", "1024", "0,"] {
            assert!(wrong.parse::<Cpus>().is_err(), "{wrong}");
        }
    }
}
