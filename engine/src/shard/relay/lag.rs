//! Lag: how long what comes to a relay waits until it is dealt with. A message from the front waits as everything
//! else does, in the kernel and for the processor, so its wait is the loop's lag; nothing is measured while no
//! session comes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::OVERLOAD_LAG_US;

/// Stands for no message that waits.
const NONE: u64 = u64::MAX;

/// The lag of a relay, as its front may know it.
#[derive(Debug)]
pub(super) struct Lag {
    /// Since when a message waits, in microseconds.
    since_us: AtomicU64,
    /// How long the last one waited.
    last_us: AtomicU64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            since_us: AtomicU64::new(NONE),
            last_us: AtomicU64::new(0),
        }
    }
}

impl Lag {
    /// A message is about to be sent.
    pub(super) fn sending(&self, now_us: u64) {
        // One that waits already has waited longer.
        let order = Ordering::SeqCst;
        let _ = self.since_us.compare_exchange(NONE, now_us, order, order);
    }

    /// All messages have been taken. Called behind the taking: what is sent meanwhile goes unmeasured, and
    /// never is one measured that is not there.
    pub(super) fn taken(&self, now_us: u64) {
        let since_us = self.since_us.swap(NONE, Ordering::SeqCst);
        if since_us != NONE {
            let waited_us = now_us.saturating_sub(since_us);
            self.last_us.store(waited_us, Ordering::Relaxed);
        }
    }

    /// Whether the relay has more to do than it can, and whether a message is on its way that will tell anew.
    pub(super) fn look(&self, now_us: u64) -> (bool, bool) {
        let since_us = self.since_us.load(Ordering::SeqCst);
        let waits_us = match since_us {
            NONE => 0,
            since_us => now_us.saturating_sub(since_us),
        };
        let lag_us = waits_us.max(self.last_us.load(Ordering::Relaxed));
        (lag_us >= OVERLOAD_LAG_US, since_us != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_oldest_message_has_waited_and_else_what_the_last_one_did() {
        let lag = Lag::default();
        assert_eq!(lag.look(5), (false, false));
        lag.sending(10);
        lag.sending(20);
        assert_eq!(lag.look(9 + OVERLOAD_LAG_US), (false, true));
        assert_eq!(lag.look(10 + OVERLOAD_LAG_US), (true, true));
        lag.taken(10 + OVERLOAD_LAG_US);
        // However long ago: the next message tells.
        assert_eq!(lag.look(100 * OVERLOAD_LAG_US), (true, false));
        lag.sending(100 * OVERLOAD_LAG_US);
        lag.taken(100 * OVERLOAD_LAG_US + 1);
        lag.taken(200 * OVERLOAD_LAG_US);
        assert_eq!(lag.look(200 * OVERLOAD_LAG_US), (false, false));
    }
}
