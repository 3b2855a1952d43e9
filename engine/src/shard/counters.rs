//! Counters: what a shard has done. One writer, no atomics; other threads ask the shard for a copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Imsi;

use super::report::Imsis;
use crate::limits::SIM_RECORDS_IDLE;

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

/// One SIM's sessions on the shard that owns it: counted by its front when they begin, by its relay when they end, never on
/// the way of a message.
#[derive(Debug, Default)]
pub struct SimRecord {
    /// Those that have not ended.
    sessions: AtomicU32,
    /// Those of which a connection may still be open.
    connected: AtomicU32,
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
        record.connected.fetch_add(1, Ordering::Relaxed);
        Some(Self {
            record,
            has_ended: false,
        })
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
        self.record.connected.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The records of the SIMs that have sessions.
#[derive(Debug, Default)]
struct SimRecords {
    records: HashMap<Imsi, Arc<SimRecord>, RandomState>,
    /// How many there may be before those without a session go.
    kept: usize,
}

/// What a shard counts.
#[derive(Debug, Default)]
pub struct Counters {
    totals: RefCell<Totals>,
    sims: RefCell<SimRecords>,
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
        let SimRecords { records, kept } = &mut *self.sims.borrow_mut();
        if records.len() >= *kept {
            records.retain(|_, record| Arc::strong_count(record) > 1);
            *kept = records.len().saturating_mul(2).max(SIM_RECORDS_IDLE);
        }
        Arc::clone(records.entry(imsi).or_default())
    }

    /// Whether any of these SIMs has a session of which a connection may still be open.
    #[must_use]
    pub fn has_any_of(&self, imsis: &Imsis) -> bool {
        let records = &self.sims.borrow().records;
        let is_connected = |record: &Arc<SimRecord>| record.connected.load(Ordering::Relaxed) > 0;
        if imsis.len() > records.len() {
            let mut records = records.iter();
            records.any(|(imsi, record)| is_connected(record) && imsis.contains(imsi))
        } else {
            let mut imsis = imsis.iter();
            imsis.any(|imsi| records.get(imsi).is_some_and(is_connected))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imsi(number: usize) -> Imsi {
        format!("4401000{number:08}").parse().unwrap()
    }

    #[test]
    fn b_id_4_a_sim_has_sessions_until_their_connections_are_gone() {
        let counters = Counters::default();
        let one: Imsis = [imsi(1)].into_iter().collect();
        let many: Imsis = (0..9).map(imsi).collect();
        let has_any = || [&one, &many].map(|imsis| counters.has_any_of(imsis));
        assert_eq!(has_any(), [false; 2]);
        let mut session = SimSession::begin(counters.sim(imsi(1)), 1).unwrap();
        assert!(SimSession::begin(counters.sim(imsi(1)), 1).is_none());
        assert_eq!(has_any(), [true; 2]);
        session.end();
        assert_eq!(has_any(), [true; 2]);
        assert!(SimSession::begin(counters.sim(imsi(1)), 1).is_some());
        drop(session);
        assert_eq!(has_any(), [false; 2]);
    }

    #[test]
    fn records_of_sims_without_a_session_go() {
        let counters = Counters::default();
        let _session = SimSession::begin(counters.sim(imsi(0)), 1).unwrap();
        for number in 1..=3 * SIM_RECORDS_IDLE {
            counters.sim(imsi(number));
            assert!(counters.sims.borrow().records.len() <= SIM_RECORDS_IDLE + 1);
        }
        assert!(counters.has_any_of(&[imsi(0)].into_iter().collect()));
    }
}
