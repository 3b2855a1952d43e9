//! Cpus: a set of processors, written as `taskset -c` takes it.

use std::fmt;
use std::str::FromStr;

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

    /// As binary digits, the lowest processor last.
    #[must_use]
    pub fn mask(&self) -> String {
        let last = self.0.last().copied().unwrap_or_default();
        let digit = |number| if self.0.contains(&number) { '1' } else { '0' };
        (0..=last).rev().map(digit).collect()
    }
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
    use super::Cpus;

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
