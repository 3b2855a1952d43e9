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
mod rivals;
mod script;
mod secure;
mod socket;
mod splicing;
mod tapped;
mod told;
mod world;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use crossbeam_channel::{Receiver, unbounded};
use ringbeam_proto::session::Side;

use self::checks::Ending;
use self::dice::Dice;
use self::network::{Habits, Network};
use self::plan::Plan;
use self::world::{Outside, World};
use super::batch::NONE;
use super::inbox::shared;
use super::leg::Receiving;
use super::{Relay, Shared};
use crate::limits::PIPES;
use crate::shard::report::{Audience, SimEvent};
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
            waiting_bytes: usize::MAX,
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
        self.check_told();
        let Self { relay, live, .. } = &*self;
        assert!(relay.flows.is_empty(), "a session stays for ever");
        assert!(relay.pending.is_empty() && relay.attention.is_empty());
        assert_eq!(relay.buffers.in_use(), 0, "buffers");
        assert_eq!(relay.large_bytes, 0, "bytes kept");
        assert_eq!(relay.waiting.bytes, 0, "bytes that wait");
        assert_eq!(relay.greed.asked, 0, "buffers asked for");
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

    fn play(&mut self) {
        self.relay.read_messages();
        while !self.relay.wire.is_over {
            self.find_greedy();
            self.relay.round().unwrap();
            self.observe();
            self.check_sleep();
        }
    }

    /// Whoever the dice say has sent more than its share.
    fn find_greedy(&mut self) {
        let Relay {
            flows,
            greed,
            wire,
            now_ms,
            ..
        } = &mut self.relay;
        let Network { dice, habits, .. } = &mut wire.network;
        for (_, flow) in flows.iter_mut() {
            if dice.once_in(habits.is_greedy) {
                let until_ms = flow.record.sim.share().exceed(*now_ms);
                greed.until_ms = greed.until_ms.max(until_ms);
                flow.is_special = true;
            }
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

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn say(text: &str) {
    std::io::stderr().write_all(text.as_bytes()).unwrap();
}

/// Tries every seed that is asked for.
fn try_seeds(default: u64, simulation: impl Fn(u64) -> Simulation) -> Seen {
    let mut seen = Seen::default();
    seen.seeds = for_seeds(default, |seed| {
        let Seen {
            spliced,
            renewed,
            secure,
            ..
        } = simulation(seed).run();
        seen.secure += secure;
        seen.spliced += spliced;
        seen.renewed += renewed;
    });
    seen
}

/// Does something for every seed that is asked for, and says how many those were.
fn for_seeds(default: u64, mut run: impl FnMut(u64)) -> u64 {
    let seeds = match number("RINGBEAM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("RINGBEAM_SEEDS").unwrap_or(default),
    };
    let count = seeds.end - seeds.start;
    for seed in seeds {
        if seed > 0 && seed % 20_000 == 0 {
            say(&format!("{seed} seeds\n"));
        }
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(seed))) {
            // Nothing else names the seed.
            say(&format!("RINGBEAM_SEED={seed}\n"));
            resume_unwind(panic);
        }
    }
    count
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
