//! Checks: one small function for every item of the list, by subject. Each reads the host, compares with
//! the load, and says what mends it.

pub(super) mod descriptors;
pub(super) mod kernel;
pub(super) mod links;
pub(super) mod memory;
pub(super) mod network;
pub(super) mod processors;

use super::finding::Outcome;
use super::host::Unreadable;

/// What a check returns; what it could not read becomes an unknown.
pub(super) type Checked = Result<Outcome, Unreadable>;

/// The command that sets a sysctl for now.
fn sysctl(name: &str, value: impl std::fmt::Display) -> String {
    format!("sysctl -w {name}='{value}'")
}

/// A round value that is no smaller, for a limit that costs nothing.
fn rounded(needed: u64) -> u64 {
    needed.checked_next_power_of_two().unwrap_or(needed)
}
