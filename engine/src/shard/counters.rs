//! Counters: what a shard has done. One writer, no atomics; other threads ask the shard for a copy.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::error::{Cause, Refusal};
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::packet::codes;
use ringbeam_proto::packet::parting::Parting;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::tally::Tallies;

use super::figures::{Histogram, Work};
use super::report::Imsis;
use super::share::Share;
use crate::fleet::DestinationKind;
use crate::limits::SIM_RECORDS_IDLE;

/// Protocol levels that are counted each by itself: those before 3.1 and a few to come; whoever connects chooses the number.
const LEVELS_COUNTED: RangeInclusive<u8> = 0..=15;

/// Stands for all other levels in [`Totals::levels`].
pub const LEVEL_OTHER: u8 = 255;

/// A shard's totals.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Connections accepted.
    pub accepted: u64,
    /// Connections closed at once because even refusing them was too much.
    pub dropped: u64,
    /// Connections handed to the shard that owns their SIM.
    pub handed_over: u64,
    /// Sessions whose CONNACK has come.
    pub established: u64,
    /// Sessions that the relay took over.
    pub joined: u64,
    /// Times that the relay had no buffer for what came; nothing is lost by it.
    pub buffers_exhausted: u64,
    /// Upstreams that were replaced while their devices stayed.
    pub renewed: u64,
    /// Attempts at that which failed; others may have followed.
    pub renewals_failed: u64,
    /// Events that nobody was told because too many waited.
    pub events_lost: u64,
    /// Billed packets.
    pub billed: Counts,
    /// Connections ended, by reason.
    pub ended: BTreeMap<&'static str, u64>,
    /// Reasons that upstreams gave when they refused or left: packet type, code, and what that means; whatever no standard lists is
    /// code 0, `other`.
    pub partings: BTreeMap<(&'static str, u8, &'static str), u64>,
    /// CONNECTs refused for their protocol level, by that.
    pub levels: BTreeMap<u8, u64>,
    /// How long reaching an upstream took where that succeeded: its name, its pace, the connection and TLS.
    pub upstream_connects: Histogram,
    /// How long it took from a served CONNECT to its CONNACK.
    pub connacks: Histogram,
    /// What came from devices and upstreams, in sessions that the relay had: the CONNECT came before.
    pub traffic: Tallies,
    /// What the relay's rounds were made of.
    pub work: Work,
    /// Connections live now.
    pub live: usize,
    /// Sessions of the relay now, by platform version.
    pub live_by_platform: BTreeMap<&'static str, usize>,
    /// The same by kind of destination.
    pub live_by_destination: BTreeMap<&'static str, usize>,
    /// Buffers in use now.
    pub buffers_in_use: usize,
    /// Bytes that wait in sessions now.
    pub waiting_bytes: usize,
}

impl Totals {
    /// Adds another shard's.
    pub fn add(&mut self, other: &Self) {
        // Named one by one, so that none is forgotten.
        let Self {
            accepted,
            dropped,
            handed_over,
            established,
            joined,
            buffers_exhausted,
            renewed,
            renewals_failed,
            events_lost,
            billed,
            ended,
            partings,
            levels,
            upstream_connects,
            connacks,
            traffic,
            work,
            live,
            live_by_platform,
            live_by_destination,
            buffers_in_use,
            waiting_bytes,
        } = other;
        self.accepted += accepted;
        self.dropped += dropped;
        self.handed_over += handed_over;
        self.established += established;
        self.joined += joined;
        self.buffers_exhausted += buffers_exhausted;
        self.renewed += renewed;
        self.renewals_failed += renewals_failed;
        self.events_lost += events_lost;
        self.billed.add(*billed);
        for (reason, count) in ended {
            *self.ended.entry(reason).or_default() += count;
        }
        for (parting, count) in partings {
            *self.partings.entry(*parting).or_default() += count;
        }
        for (level, count) in levels {
            *self.levels.entry(*level).or_default() += count;
        }
        self.upstream_connects.add(upstream_connects);
        self.connacks.add(connacks);
        self.traffic.add(traffic);
        self.work.add(work);
        self.live += live;
        for (mine, theirs) in [
            (&mut self.live_by_platform, live_by_platform),
            (&mut self.live_by_destination, live_by_destination),
        ] {
            for (name, count) in theirs {
                *mine.entry(name).or_default() += count;
            }
        }
        self.buffers_in_use += buffers_in_use;
        self.waiting_bytes += waiting_bytes;
    }

    /// One more session of the relay.
    pub(in crate::shard) fn begun(&mut self, platform: Platform, destination: DestinationKind) {
        let Self {
            live_by_platform,
            live_by_destination,
            ..
        } = self;
        *live_by_platform.entry(platform.as_str()).or_default() += 1;
        *live_by_destination.entry(destination.as_str()).or_default() += 1;
    }

    /// One less.
    pub(in crate::shard) fn gone(&mut self, platform: Platform, destination: DestinationKind) {
        let by_platform = self.live_by_platform.get_mut(platform.as_str());
        let by_destination = self.live_by_destination.get_mut(destination.as_str());
        for count in [by_platform, by_destination].into_iter().flatten() {
            *count = count.saturating_sub(1);
        }
    }
}

/// One SIM's sessions on the shard that owns it: counted by its front when they begin, by its relay when they end; what is
/// on the way of a message is the relay's alone.
#[derive(Debug, Default)]
pub struct SimRecord {
    /// Those that have not ended.
    sessions: AtomicU32,
    /// Those of which a connection may still be open.
    connected: AtomicU32,
    /// Those that have not ended and whose upstream is renewed.
    renewing: AtomicU32,
    /// What they have of their relay.
    share: Share,
}

/// Counts a session for its SIM while it lives.
#[derive(Debug)]
pub struct SimSession {
    record: Arc<SimRecord>,
    has_ended: bool,
    is_renewing: bool,
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
            is_renewing: false,
        })
    }

    /// Whether the upstream of a session of its SIM is renewed.
    #[must_use]
    pub fn has_renewing(&self) -> bool {
        self.record.renewing.load(Ordering::Relaxed) > 0
    }

    /// Its upstream is renewed.
    pub fn renews(&mut self) {
        if !std::mem::replace(&mut self.is_renewing, true) {
            self.record.renewing.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What the SIM has of its relay, all of its sessions together.
    #[must_use]
    pub fn share(&self) -> &Share {
        &self.record.share
    }

    /// It counts no longer, though its connections may still be closing.
    pub fn end(&mut self) {
        if !std::mem::replace(&mut self.has_ended, true) {
            self.record.sessions.fetch_sub(1, Ordering::Relaxed);
            let renewing = u32::from(self.is_renewing);
            self.record.renewing.fetch_sub(renewing, Ordering::Relaxed);
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
        self.update(|totals| {
            *totals.ended.entry(cause.name()).or_default() += 1;
            if let Cause::Refused(Refusal::LevelTooLow(level) | Refusal::LevelTooHigh(level)) =
                cause
            {
                let level = if LEVELS_COUNTED.contains(&level) {
                    level
                } else {
                    LEVEL_OTHER
                };
                *totals.levels.entry(level).or_default() += 1;
            }
        });
    }

    /// An upstream refused, or left, and said why.
    pub fn parted(&self, parting: &Parting) {
        let Parting { kind, code, .. } = parting;
        let (code, name) = codes::name(*kind, *code).map_or((0, "other"), |name| (*code, name));
        let reason = (kind.as_str(), code, name);
        self.update(|totals| *totals.partings.entry(reason).or_default() += 1);
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
    fn sessions_are_counted_by_what_they_are_while_they_live() {
        let mut totals = Totals::default();
        let one = (Platform::V201509, DestinationKind::Mqtts);
        let other = (Platform::V201509, DestinationKind::Pubnub);
        totals.begun(one.0, one.1);
        totals.begun(other.0, other.1);
        totals.gone(one.0, one.1);
        let mut both = totals.clone();
        both.add(&totals);
        assert_eq!(both.live_by_platform, [("201509", 2)].into());
        assert_eq!(
            both.live_by_destination,
            [("mqtts", 0), ("pubnub", 2)].into()
        );
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
