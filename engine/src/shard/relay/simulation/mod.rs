//! Simulation: a whole relay against a model of the network, in virtual time, with every fault that the kernel and
//! the peers are capable of. A seed decides everything, so that each run can be had again; of TLS alone the keys, and
//! so the bytes in records, are others each time, as long as before.
//!
//! `RINGBEAM_SEEDS` sets how many seeds are tried, `RINGBEAM_SEED` the only one.

mod checks;
mod dice;
mod faults;
mod network;
mod packets;
mod peer;
mod plan;
mod renewal;
mod script;
mod secure;
mod socket;
mod splicing;
mod world;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, unbounded};
use ringbeam_proto::billing::Counts;
use ringbeam_proto::session::Side;

use self::checks::Ending;
use self::dice::Dice;
use self::network::{Habits, Network};
use self::plan::Plan;
use self::world::{Awaited, Outside, Pair, World};
use super::batch::NONE;
use super::inbox::shared;
use super::leg::Receiving;
use super::{Relay, Shared};
use crate::limits::PIPES;
use crate::shard::report::{Audience, SimEvent, SimEventKind};
use crate::sys::ring::{Buffers, Features};

/// A relay and everything around it.
struct Simulation {
    relay: Relay<World>,
    endings: Vec<Ending>,
    live: Arc<AtomicUsize>,
    /// Pipes that the relay may not have.
    pipes_elsewhere: usize,
    events: Receiver<SimEvent>,
}

/// What happened in some seeds, so that none of it stays out of reach unnoticed.
#[derive(Debug, Default)]
struct Seen {
    seeds: u64,
    /// Bytes that passed through pipes.
    spliced: usize,
    /// Upstreams that were replaced.
    renewed: u64,
    /// Sessions whose upstream was over TLS.
    secure: usize,
}

impl Simulation {
    /// What a seed decides.
    fn any(seed: u64) -> Self {
        Self::seeded(seed, World::any)
    }

    /// Of sessions whose upstreams are replaced.
    fn renewing(seed: u64) -> Self {
        Self::seeded(seed, World::renewing)
    }

    fn seeded(seed: u64, world: fn(Network, Outside) -> World) -> Self {
        let buffers = Buffers::new().unwrap();
        let mut dice = Dice::new(seed.wrapping_add(1));
        let habits = Habits::any(&mut dice);
        let network = Network::new(buffers.kernel_side(), dice, habits);
        Self::new(buffers, |outside| world(network, outside))
    }

    /// These sessions, of which nothing is left to chance but what makes no difference.
    fn of(plans: Vec<Plan>) -> Self {
        let buffers = Buffers::new().unwrap();
        let network = Network::new(buffers.kernel_side(), Dice::new(1), Habits::NONE);
        Self::new(buffers, |outside| World::of(network, outside, plans))
    }

    fn new(buffers: Buffers, world: impl FnOnce(Outside) -> World) -> Self {
        let (inbox, live) = (shared(), Arc::<AtomicUsize>::default());
        let (events, told) = unbounded();
        let snapshot = Arc::new(ArcSwap::from(Arc::clone(&world::snapshots()[0])));
        let parts = Shared {
            coalesce_us: 0,
            features: Features::default(),
            snapshot: Arc::clone(&snapshot),
            mailboxes: Vec::new().into(),
            index: 0,
            audience: Audience {
                collects_usage: true,
                events: Some(events),
            },
        };
        let world = world(Outside {
            inbox: Arc::clone(&inbox),
            live: Arc::clone(&live),
            snapshot,
        });
        let mut relay = Relay::new(world, buffers, inbox, parts, (Arc::clone(&live), 4));
        let habits = &relay.wire.network.habits;
        let pipes_elsewhere = PIPES - habits.pipes;
        relay.pipe_count = pipes_elsewhere;
        Self {
            relay,
            endings: Vec::new(),
            live,
            pipes_elsewhere,
            events: told,
        }
    }

    /// Lets everything happen, and checks it. Says what there was.
    fn run(&mut self) -> Seen {
        self.play();
        let World { pairs, network, .. } = &mut self.relay.wire;
        for pair in pairs {
            pair.clear = pair.broker.clear(network);
        }
        self.check_answers();
        let Self { relay, live, .. } = &*self;
        assert!(relay.flows.is_empty(), "a session stays for ever");
        assert!(relay.pending.is_empty() && relay.attention.is_empty());
        assert_eq!(relay.buffers.in_use(), 0, "buffers");
        assert_eq!(relay.large_bytes, 0, "bytes kept");
        assert_eq!(live.load(Ordering::Relaxed), 0, "live");
        assert_eq!(
            relay.totals().joined,
            u64::try_from(relay.wire.pairs.len()).unwrap()
        );
        for socket in &relay.wire.network.sockets {
            assert!(socket.is_closed() && !socket.is_sending(), "left open");
        }
        // Those that are not with the relay were never its own.
        let pipes = relay.pipe_count - relay.pipes.len();
        assert_eq!(pipes, self.pipes_elsewhere, "pipes");
        for (pair, ending) in relay.wire.pairs.iter().zip(&self.endings) {
            let network = &relay.wire.network;
            match &pair.minds {
                None => checks::check(pair, ending, network),
                Some(minds) => renewal::check(pair, minds, ending, network),
            }
        }
        Seen {
            seeds: 1,
            spliced: relay.wire.network.spliced,
            renewed: relay.totals().renewed,
            secure: relay
                .wire
                .pairs
                .iter()
                .filter(|it| it.clear.is_some())
                .count(),
        }
    }

    /// Whatever was asked is answered. B-BILL-1: what was told of is all that there was, and nothing of it twice.
    fn check_answers(&mut self) {
        let Self { relay, .. } = self;
        assert!(relay.walks.is_empty());
        let mut all = Counts::default();
        let left = std::mem::take(&mut relay.usage).into_usage();
        let collected = relay.wire.collecting.iter();
        let collected = collected.flat_map(|receiver| receiver.try_recv().unwrap().usage);
        for usage in collected.chain(left).collect::<Vec<_>>() {
            let mut pairs = relay.wire.pairs.iter_mut();
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
        let mut established = BTreeSet::new();
        let mut ended = 0;
        for event in self.events.try_iter() {
            let pairs = relay.wire.pairs.iter();
            let mut pairs = pairs.filter(|it| Some(it.opening.identity) == event.identity);
            let pair = pairs.next().unwrap();
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
        assert_eq!(ended, relay.wire.pairs.len());
        assert_eq!(totals.established, established.len() as u64);
        for page in &relay.wire.listing {
            let page = page.try_recv().unwrap();
            assert!(page.connections.len() <= 2 && page.connections.is_sorted_by_key(|it| it.id));
        }
        let World {
            awaited,
            pairs,
            network,
            ..
        } = &relay.wire;
        for Awaited {
            pairs: ended,
            taken,
            ..
        } in awaited
        {
            // B-ID-4: whoever was told that it is done is not deceived.
            let taken_since = ended
                .iter()
                .map(|number| bytes_taken(&pairs[*number], network));
            let taken = taken.as_ref().expect("it is done");
            assert!(taken_since.eq(taken.iter().copied()), "after the end");
        }
    }

    fn play(&mut self) {
        self.relay.read_messages();
        while !self.relay.wire.is_over {
            self.relay.round().unwrap();
            self.observe();
            self.check_sleep();
        }
    }

    /// Notes how sessions end.
    fn observe(&mut self) {
        let Self { relay, endings, .. } = self;
        let now_ms = relay.now_ms;
        endings.resize_with(relay.generation as usize, Ending::default);
        let mut is_here = vec![false; endings.len()];
        for (_, flow) in &relay.flows {
            let number = flow.generation as usize - 1;
            is_here[number] = true;
            let ending = &mut endings[number];
            let pair = &relay.wire.pairs[number];
            if flow.has_ended() {
                relay.wire.network.sockets[pair.broker.socket].end();
            }
            if ending.cause.is_some() {
                continue;
            }
            ending.at_ms = now_ms;
            if let Some(verdict) = &flow.verdict {
                ending.cause = Some(verdict.cause);
            } else {
                let device = &relay.wire.network.sockets[pair.device.socket];
                let broker = &relay.wire.network.sockets[pair.broker.socket];
                ending.heard_ms = (device.received_ms, broker.received_ms);
                ending.delivered_ms = (device.delivered_ms, broker.delivered_ms);
                ending.unread_ms = device.unread_ms;
            }
        }
        self.note_done(&is_here);
        let Self { relay, endings, .. } = self;
        for (ending, is_here) in endings.iter_mut().zip(is_here) {
            if !is_here {
                ending.gone_ms.get_or_insert(now_ms);
            }
            ending.cut_ms = relay.wire.cut_ms;
        }
    }

    /// Notes what sockets had taken by the time that all connections of some SIMs had ended.
    fn note_done(&mut self, is_here: &[bool]) {
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

    /// Whatever can be done without an event is done before the relay waits for one.
    fn check_sleep(&self) {
        let relay = &self.relay;
        if !relay.attention.is_empty() || !relay.pending.is_empty() {
            return;
        }
        let now_ms = relay.now_ms;
        for (index, flow) in &relay.flows {
            if flow.device.entry != NONE || flow.upstream.entry != NONE {
                continue;
            }
            let name = || format!("session {index}: {flow:?}");
            for side in [Side::Device, Side::Upstream] {
                let leg = flow.leg(side);
                let is_received = leg.receiving != Receiving::Off;
                assert!(
                    is_received || !flow.wants_to_receive(side, now_ms),
                    "deaf: {}",
                    name()
                );
                if flow.has_ended() {
                    continue;
                }
                let is_left = leg.is_left && leg.is_busy();
                assert!(
                    leg.is_clear() || leg.is_sending() || is_left,
                    "unsent: {}",
                    name()
                );
                let is_polled = leg.polls.readable || flow.leg(side.other()).polls.writable;
                assert!(
                    is_polled || flow.way(side).pipe.is_none(),
                    "in a pipe: {}",
                    name()
                );
                let is_idle = flow.has_unseen(side) && flow.may_process(side);
                assert!(!is_idle, "unseen: {}", name());
                assert_eq!(flow.over(side), None, "over: {}", name());
            }
            let due_ms = flow.due_ms(now_ms).unwrap_or(u64::MAX);
            assert!(flow.visit_ms <= due_ms, "{due_ms} is missed: {}", name());
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Tries every seed that is asked for.
fn try_seeds(default: u64, simulation: impl Fn(u64) -> Simulation) -> Seen {
    let seeds = match number("RINGBEAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGBEAM_SEEDS").unwrap_or(default),
    };
    let mut seen = Seen {
        seeds: seeds.end - seeds.start,
        ..Seen::default()
    };
    for seed in seeds {
        if seed > 0 && seed % 20_000 == 0 {
            say(&format!("{seed} seeds\n"));
        }
        let run = || simulation(seed).run();
        match catch_unwind(AssertUnwindSafe(run)) {
            Ok(Seen {
                spliced,
                renewed,
                secure,
                ..
            }) => {
                seen.secure += secure;
                seen.spliced += spliced;
                seen.renewed += renewed;
            }
            Err(panic) => {
                // Nothing else names the seed.
                say(&format!("RINGBEAM_SEED={seed}\n"));
                resume_unwind(panic);
            }
        }
    }
    seen
}

#[test]
fn b_top_6_b_bill_1_nothing_is_lost_whatever_the_network_does() {
    let seen = try_seeds(2_000, Simulation::any);
    let is_all = seen.spliced > 0 && seen.secure > 0;
    assert!(seen.seeds < 1_000 || is_all, "{seen:?}");
}

#[test]
fn b_tok_1_nothing_acknowledged_is_lost_while_upstreams_are_replaced() {
    let seen = try_seeds(1_000, Simulation::renewing);
    assert!(
        seen.seeds < 500 || seen.renewed > seen.seeds / 2,
        "{seen:?}"
    );
}
