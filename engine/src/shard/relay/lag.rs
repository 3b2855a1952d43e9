//! Lag: how long what comes to a relay waits until it is dealt with. A message from the front waits as everything
//! else does, in the kernel and for the processor, so its wait is the loop's lag; nothing is measured while no
//! session comes.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::limits::{OVERLOAD_LAG_US, OVERLOAD_MEMORY_US};

/// Stands for no message that waits.
const NONE: u64 = u64::MAX;

/// The lag of a relay, as its front may know it.
#[derive(Debug)]
pub(super) struct Lag {
    /// Since when a message waits, in microseconds.
    since_us: AtomicU64,
    /// Until when it counts that the last one waited for long.
    late_until_us: AtomicU64,
}

impl Default for Lag {
    fn default() -> Self {
        Self {
            since_us: AtomicU64::new(NONE),
            late_until_us: AtomicU64::new(0),
        }
    }
}

impl Lag {
    /// A message is about to be sent.
    pub(super) fn sending(&self, now_us: u64) {
        let order = Ordering::SeqCst;
        // One that waits already has waited longer.
        let _ = self.since_us.compare_exchange(NONE, now_us, order, order);
    }

    /// All messages have been taken. Called behind the taking: what is sent meanwhile goes unmeasured, and
    /// never is one measured that is not there.
    pub(super) fn taken(&self, now_us: u64) {
        let since_us = self.since_us.swap(NONE, Ordering::SeqCst);
        if since_us != NONE {
            let is_late = now_us.saturating_sub(since_us) >= OVERLOAD_LAG_US;
            let until_us = if is_late {
                now_us.saturating_add(OVERLOAD_MEMORY_US)
            } else {
                0
            };
            self.late_until_us.store(until_us, Ordering::Relaxed);
        }
    }

    /// Whether the relay has more to do than it can, and whether a message is on its way that will tell anew.
    pub(super) fn look(&self, now_us: u64) -> (bool, bool) {
        let since_us = self.since_us.load(Ordering::SeqCst);
        let is_asked = since_us != NONE;
        let waits_us = now_us.saturating_sub(since_us);
        let was_late = now_us < self.late_until_us.load(Ordering::Relaxed);
        let is_late = is_asked && waits_us >= OVERLOAD_LAG_US;
        (is_late || was_late, is_asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_what_the_oldest_message_has_waited_and_for_a_while_what_the_last_one_did() {
        let lag = Lag::default();
        assert_eq!(lag.look(5), (false, false));
        lag.sending(10);
        lag.sending(20);
        assert_eq!(lag.look(9 + OVERLOAD_LAG_US), (false, true));
        assert_eq!(lag.look(10 + OVERLOAD_LAG_US), (true, true));
        lag.taken(10 + OVERLOAD_LAG_US);
        // Until it is forgotten, or the next message tells.
        let forgotten_us = 10 + OVERLOAD_LAG_US + OVERLOAD_MEMORY_US;
        assert_eq!(lag.look(forgotten_us - 1), (true, false));
        assert_eq!(lag.look(forgotten_us), (false, false));
        lag.sending(20 + OVERLOAD_LAG_US);
        assert_eq!(lag.look(30 + OVERLOAD_LAG_US), (true, true));
        lag.taken(30 + OVERLOAD_LAG_US);
        assert_eq!(lag.look(40 + OVERLOAD_LAG_US), (false, false));
        lag.taken(50 + 2 * OVERLOAD_LAG_US);
        assert_eq!(lag.look(50 + 2 * OVERLOAD_LAG_US), (false, false));
    }
}
