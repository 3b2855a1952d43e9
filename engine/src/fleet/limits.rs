//! Limits: how much a SIM may send in a second. `ringbeam.toml` says it for every SIM, an entry point for
//! those of its group. They are only named here; a shard's allowance keeps them.

use std::fmt;

/// What one SIM may send, all its sessions together; 0 is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages per second.
    pub messages_per_second: u32,
    /// Bytes per second.
    pub bytes_per_second: u32,
}

impl Limits {
    /// Whether there is none.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        self.messages_per_second == 0 && self.bytes_per_second == 0
    }
}

impl fmt::Display for Limits {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.messages_per_second, self.bytes_per_second) {
            (0, 0) => formatter.write_str("none"),
            (messages, 0) => write!(formatter, "{messages} messages/s"),
            (0, bytes) => write!(formatter, "{bytes} bytes/s"),
            (messages, bytes) => write!(formatter, "{messages} messages/s, {bytes} bytes/s"),
        }
    }
}

/// What an entry point says of limits: a key that is there stands for its group's SIMs, 0 included; one
/// that is not leaves the file's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LimitOverrides {
    /// Messages per second.
    pub messages_per_second: Option<u32>,
    /// Bytes per second.
    pub bytes_per_second: Option<u32>,
}

impl LimitOverrides {
    /// What holds where the file says `defaults`.
    #[must_use]
    pub fn over(&self, defaults: &Limits) -> Limits {
        Limits {
            messages_per_second: self
                .messages_per_second
                .unwrap_or(defaults.messages_per_second),
            bytes_per_second: self.bytes_per_second.unwrap_or(defaults.bytes_per_second),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_said_in_one_line() {
        let check = |messages_per_second, bytes_per_second, expected: &str| {
            let limits = Limits {
                messages_per_second,
                bytes_per_second,
            };
            assert_eq!(limits.to_string(), expected);
            assert_eq!(limits.is_none(), expected == "none");
        };
        check(0, 0, "none");
        check(5, 0, "5 messages/s");
        check(0, 4_096, "4096 bytes/s");
        check(u32::MAX, 1, "4294967295 messages/s, 1 bytes/s");
    }
}
