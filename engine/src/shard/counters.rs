//! Counters: what a shard has done. One writer, no atomics; other threads ask the shard for a copy.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

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
        self.renewed += other.renewed;
        self.billed.add(other.billed);
        for (reason, count) in &other.ended {
            *self.ended.entry(reason).or_default() += count;
        }
        self.live += other.live;
        self.buffers_in_use += other.buffers_in_use;
    }
}

/// One SIM's figures on the shard that owns it.
#[derive(Debug, Default)]
pub struct SimRecord {
    /// Sessions open now.
    pub sessions: Cell<u32>,
    /// Billed packets of sessions that have ended.
    pub billed: Cell<Counts>,
}

/// What a shard counts.
#[derive(Debug, Default)]
pub struct Counters {
    totals: RefCell<Totals>,
    /// Bounded by the fleet: a SIM is here once it has had a session.
    sims: RefCell<HashMap<Imsi, Rc<SimRecord>, RandomState>>,
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
    pub fn sim(&self, imsi: Imsi) -> Rc<SimRecord> {
        Rc::clone(self.sims.borrow_mut().entry(imsi).or_default())
    }

    /// What a SIM's ended sessions were billed (B-BILL-1).
    #[must_use]
    pub fn billed(&self, imsi: &Imsi) -> Counts {
        self.sims
            .borrow()
            .get(imsi)
            .map_or_else(Counts::default, |record| record.billed.get())
    }
}
