//! Told: what a relay was asked is answered, and what it tells is what happened.

use std::collections::BTreeSet;

use ringbeam_proto::billing::Counts;

use super::network::Network;
use super::world::{Awaited, Pair, World};
use super::{Simulation, tapped};
use crate::shard::report::SimEventKind;

impl Simulation {
    /// Checks everything that was told, and notes what was billed.
    pub(super) fn check_told(&mut self) {
        assert!(self.relay.walks.is_empty());
        self.check_usage();
        self.check_events();
        let World {
            listing,
            tapped,
            pairs,
            network,
            ..
        } = &self.relay.wire;
        for page in listing {
            let page = page.try_recv().unwrap();
            assert!(page.connections.len() <= 2 && page.connections.is_sorted_by_key(|it| it.id));
        }
        for (number, shown) in tapped {
            tapped::check(*number, shown, pairs, network);
        }
        self.check_ends();
    }

    /// B-BILL-1: what was told of is all that there was, and nothing of it twice.
    fn check_usage(&mut self) {
        let relay = &mut self.relay;
        let mut all = Counts::default();
        let left = std::mem::take(&mut relay.usage).into_usage();
        let World {
            pairs, collecting, ..
        } = &mut relay.wire;
        let collected = collecting.iter();
        let collected = collected.flat_map(|receiver| receiver.try_recv().unwrap().usage);
        for usage in collected.chain(left) {
            let mut pairs = pairs.iter_mut();
            let pair = pairs.find(|pair| pair.opening.identity.imsi == usage.imsi);
            let pair = pair.unwrap();
            assert_eq!(usage.platform, pair.opening.rules.platform);
            assert!(usage.counts != Counts::default());
            pair.billed.add(usage.counts);
            all.add(usage.counts);
        }
        let totals = relay.totals();
        assert_eq!(totals.billed, all);
        let live = totals.live_by_platform.into_iter();
        let mut live = live.chain(totals.live_by_destination);
        assert!(live.all(|(_, count)| count == 0));
    }

    /// Each session is told of once when it is established, if it ever is, and once when it is gone.
    fn check_events(&self) {
        let pairs = &self.relay.wire.pairs;
        let mut established = BTreeSet::new();
        let mut ended = 0;
        for event in self.events.try_iter() {
            let is_its = |pair: &&Pair| Some(pair.opening.identity) == event.identity;
            let pair = pairs.iter().find(is_its).unwrap();
            match event.what {
                SimEventKind::Established { id, .. } => assert!(established.insert(id)),
                SimEventKind::Ended {
                    id,
                    was_established,
                    counts,
                    ..
                } => {
                    assert_eq!(was_established, established.contains(&id));
                    assert_eq!(counts, pair.billed);
                    ended += 1;
                }
                SimEventKind::Refused { .. } => panic!("{event:?}"),
            }
        }
        assert_eq!(ended, pairs.len());
        let totals = self.relay.totals();
        assert_eq!(totals.established, established.len() as u64);
    }

    /// B-ID-4: whoever was told that connections have ended is not deceived.
    fn check_ends(&self) {
        let World {
            awaited,
            pairs,
            network,
            ..
        } = &self.relay.wire;
        for Awaited {
            pairs: ended,
            taken,
            ..
        } in awaited
        {
            let taken_since = ended
                .iter()
                .map(|number| bytes_taken(&pairs[*number], network));
            let taken = taken.as_ref().expect("it is done");
            assert!(taken_since.eq(taken.iter().copied()), "after the end");
        }
    }

    /// Notes what sockets had taken by the time that all connections of some SIMs had ended.
    pub(super) fn note_done(&mut self, is_here: &[bool]) {
        let World {
            awaited,
            pairs,
            network,
            ..
        } = &mut self.relay.wire;
        for awaited in awaited {
            if awaited.taken.is_none() && awaited.is_done.try_recv().is_ok() {
                let is_open = awaited.pairs.iter().any(|number| is_here[*number]);
                assert!(!(awaited.is_abrupt && is_open), "it is open");
                let taken = awaited.pairs.iter();
                let taken = taken.map(|number| bytes_taken(&pairs[*number], network));
                awaited.taken = Some(taken.collect());
            }
        }
    }
}

/// Bytes that the relay has sent to both sides of a session.
fn bytes_taken(pair: &Pair, network: &Network) -> usize {
    let peers = [&pair.device, &pair.broker]
        .into_iter()
        .chain(&pair.earlier);
    peers
        .map(|peer| network.sockets[peer.socket].taken.len())
        .sum()
}
