//! Tally: what the generator's threads have done so far; written by them, read by whoever reports.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::histogram::Durations;
use crate::shared::Shared;

/// Kinds of errors that are told apart; what comes beyond them is counted together.
const REASONS_MAX: usize = 64;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Count(AtomicU64);

impl Count {
    /// One more.
    pub fn increment(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    /// How many.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// All that is counted.
#[derive(Debug, Default)]
pub struct Tally {
    /// Connections that were opened, up to CONNACK and, where asked for, SUBACK.
    pub opened: Count,
    /// Connections that were not.
    pub failed: Count,
    /// Connections that ended though nobody here had ended them.
    pub ended: Count,
    /// Connections that ended because the generator ended them.
    pub closed: Count,
    /// Messages handed to a connection.
    pub sent: Count,
    /// Those of them that were not sent while warming up.
    pub measured: Count,
    /// Messages of QoS 1 and 2, all of which have to be acknowledged.
    pub awaited: Count,
    /// Those of them that were.
    pub answered: Count,
    /// Messages that were due and not sent when sending was ended.
    pub missed: Count,
    /// Threads that send nothing more.
    pub stopped: Count,
    /// Devices that have nothing more to send.
    pub finished: Count,
    /// PINGREQs.
    pub pings: Count,
    /// PINGRESPs.
    pub pongs: Count,
    /// Half-open connections.
    pub half_open: Count,
    /// Half-open connections and slow readers that the other side ended.
    pub shed: Count,
    /// How late messages were handed over, for reasons of the generator's own.
    pub lag: Shared<Durations>,
    /// How long connecting took.
    pub connect: Shared<Durations>,
    /// How long messages took to be acknowledged.
    pub acknowledged: Shared<Durations>,
    errors: Shared<BTreeMap<String, u64>>,
}

impl Tally {
    /// Counts an error by its reason.
    pub fn error(&self, reason: &str) {
        self.errors.with(|errors| {
            let is_known = errors.contains_key(reason) || errors.len() < REASONS_MAX;
            let reason = if is_known { reason } else { "other" };
            *errors.entry(reason.to_owned()).or_default() += 1;
        });
    }

    /// All errors, by reason.
    #[must_use]
    pub fn errors(&self) -> BTreeMap<String, u64> {
        self.errors.with(|errors| errors.clone())
    }

    /// Connections that are open now.
    #[must_use]
    pub fn open(&self) -> u64 {
        let gone = self.ended.total() + self.closed.total();
        self.opened.total().saturating_sub(gone)
    }
}
