//! Share: what one SIM has had of its relay's rounds lately, all of its sessions together. The relay's thread alone
//! touches it, so that its atomics cost no more than plain numbers; it lies where all sessions of a SIM find it.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::limits::GREEDY_MS;

/// What a SIM has had.
#[derive(Debug, Default)]
pub struct Share {
    /// The last round in which something of it was dealt with, and how many bytes that was.
    round: AtomicU32,
    bytes: AtomicUsize,
    /// Until when it counts as one that takes more than its share, in milliseconds.
    greedy_until_ms: AtomicU64,
}

impl Share {
    /// Bytes of it that were dealt with in a round.
    pub fn had(&self, round: u32) -> usize {
        if self.round.load(Relaxed) == round {
            self.bytes.load(Relaxed)
        } else {
            0
        }
    }

    /// So many more bytes of it are dealt with in a round.
    pub fn take(&self, round: u32, bytes: usize) {
        let bytes = self.had(round).saturating_add(bytes);
        self.round.store(round, Relaxed);
        self.bytes.store(bytes, Relaxed);
    }

    /// More of it waits than its share of a round. Returns until when that counts, in milliseconds.
    pub fn exceed(&self, now_ms: u64) -> u64 {
        let until_ms = now_ms.saturating_add(GREEDY_MS);
        self.greedy_until_ms.store(until_ms, Relaxed);
        until_ms
    }

    /// Whether it takes more than its share.
    pub fn is_greedy(&self, now_ms: u64) -> bool {
        now_ms < self.greedy_until_ms.load(Relaxed)
    }
}
