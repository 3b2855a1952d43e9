//! Counters: what a shard has done. One writer, no atomics; other threads ask the shard for a copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Imsi;

/// A shard's totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because even refusing them was too much.
    pub dropped: u64,
    /// Connections handed to the shard that owns their SIM.
    pub handed_over: u64,
    /// Sessions that have ended and whose CONNACK had come.
    pub established: u64,
    /// Sessions that the relay took over.
    pub joined: u64,
    /// Times that the relay had no buffer for what came; nothing is lost by it.
    pub buffers_exhausted: u64,
    /// Upstreams that were replaced while their devices stayed.
    pub renewed: u64,
    /// Billed packets.
    pub billed: Counts,
    /// Connections ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Connections live now.
    pub live: usize,
    /// Buffers in use now.
    pub buffers_in_use: usize,
}

impl Totals {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        self.accepted += other.accepted;
        self.dropped += other.dropped;
        self.handed_over += other.handed_over;
        self.established += other.established;
        self.joined += other.joined;
        self.buffers_exhausted += other.buffers_exhausted;
        self.renewed += other.renewed;
        self.billed.add(other.billed);
        for (reason, count) in &other.ended {
            *self.ended.entry(reason).or_default() += count;
        }
        self.live += other.live;
        self.buffers_in_use += other.buffers_in_use;
    }
}

/// One SIM's figures on the shard that owns it: begun by its front, ended by its relay, never on the way of
/// a message.
#[derive(Debug, Default)]
pub struct SimRecord {
    sessions: AtomicU32,
    /// Billed packets of sessions that have ended, by leg.
    device_leg: AtomicU64,
    upstream_leg: AtomicU64,
}

impl SimRecord {
    /// Billed packets of sessions that have ended.
    #[must_use]
    pub fn billed(&self) -> Counts {
        Counts {
            device_leg: self.device_leg.load(Ordering::Relaxed),
            upstream_leg: self.upstream_leg.load(Ordering::Relaxed),
        }
    }
}

/// Counts a session for its SIM while it lives.
#[derive(Debug)]
pub struct SimSession {
    record: Arc<SimRecord>,
    has_ended: bool,
}

impl SimSession {
    /// B-ID-5: one more session of the SIM, unless it has enough.
    #[must_use]
    pub fn begin(record: Arc<SimRecord>, max: u32) -> Option<Self> {
        let more = |sessions: u32| (sessions < max).then_some(sessions + 1);
        record
            .sessions
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
            .ok()?;
        Some(Self {
            record,
            has_ended: false,
        })
    }

    /// Adds what the session is billed.
    pub fn bill(&self, counts: Counts) {
        let SimRecord {
            device_leg,
            upstream_leg,
            ..
        } = &*self.record;
        device_leg.fetch_add(counts.device_leg, Ordering::Relaxed);
        upstream_leg.fetch_add(counts.upstream_leg, Ordering::Relaxed);
    }

    /// It counts no longer, though its connections may still be closing.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.record.sessions.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for SimSession {
    fn drop(&mut self) {
        self.end();
    }
}

/// What a shard counts.
#[derive(Debug, Default)]
pub struct Counters {
    totals: RefCell<Totals>,
    /// Bounded by the fleet: a SIM is here once it has had a session.
    sims: RefCell<HashMap<Imsi, Arc<SimRecord>, RandomState>>,
}

impl Counters {
    /// Changes the totals.
    pub fn update(&self, change: impl FnOnce(&mut Totals)) {
        change(&mut self.totals.borrow_mut());
    }

    /// A connection ended.
    pub fn ended(&self, cause: Cause) {
        self.update(|totals| *totals.ended.entry(cause.name()).or_default() += 1);
    }

    /// A copy of the totals.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.totals.borrow().clone()
    }

    /// A SIM's record.
    pub fn sim(&self, imsi: Imsi) -> Arc<SimRecord> {
        Arc::clone(self.sims.borrow_mut().entry(imsi).or_default())
    }

    /// What a SIM's ended sessions were billed (B-BILL-1).
    #[must_use]
    pub fn billed(&self, imsi: &Imsi) -> Counts {
        self.sims
            .borrow()
            .get(imsi)
            .map_or_else(Counts::default, |record| record.billed())
    }
}
