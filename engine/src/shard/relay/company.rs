//! Company: whether what comes next is worth waiting for (`coalesce_us`). A message that comes when nothing else
//! does never waits; under load one system call and one wake-up serve several.

use crate::limits::COMPANY;
use crate::sys::ring::Wait;

/// Looks at how events come.
#[derive(Debug)]
pub(super) struct Company {
    /// The most that one may wait for others, in microseconds; 0 is not at all.
    most_us: u32,
    /// When the last ones came, in microseconds.
    came_us: u64,
    is_there: bool,
}

impl Company {
    pub(super) const fn new(most_us: u32) -> Self {
        Self {
            most_us,
            came_us: 0,
            is_there: false,
        }
    }

    /// How to wait for what comes next.
    pub(super) const fn wait(&self) -> Wait {
        if self.is_there {
            Wait::Company {
                count: COMPANY,
                us: self.most_us,
            }
        } else {
            Wait::Any
        }
    }

    /// So many events have come after a wait.
    pub(super) const fn came(&mut self, events: usize, now_us: u64) {
        if self.most_us == 0 {
            return;
        }
        let gap_us = now_us.saturating_sub(self.came_us);
        self.came_us = now_us;
        self.is_there = if self.is_there {
            // Waiting was in vain: it has cost time, and saved nothing.
            events > 1
        } else {
            gap_us < self.most_us as u64
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lone_message_never_waits_and_a_crowd_does() {
        let mut company = Company::new(200);
        let together = Wait::Company {
            count: COMPANY,
            us: 200,
        };
        for (events, now_us, expected) in [
            (1, 10_000, Wait::Any),
            (1, 10_200, Wait::Any),
            // Closer than they may wait for each other.
            (1, 10_399, together),
            (5, 10_600, together),
            (2, 10_800, together),
            // Nobody else came.
            (1, 11_000, Wait::Any),
            (1, 11_199, together),
        ] {
            company.came(events, now_us);
            assert_eq!(company.wait(), expected, "{now_us}");
        }
    }

    #[test]
    fn switched_off_it_never_waits() {
        let mut company = Company::new(0);
        company.came(9, 1);
        company.came(9, 2);
        assert_eq!(company.wait(), Wait::Any);
    }
}
