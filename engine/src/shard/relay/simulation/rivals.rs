//! Rivals: sessions of one SIM that are the same client to one upstream begin while older ones lose theirs, get others,
//! and are refused. None is ever in a newer one's way (B-TOK-2).

use super::plan::identity;
use super::world::World;
use super::{Simulation, for_seeds};

impl Simulation {
    /// Lets everything happen, and looks after every round.
    fn play_rivals(&mut self) {
        let imsi = identity(0).imsi;
        // The newest that was accepted.
        let mut accepted = 0;
        self.relay.read_messages();
        while !self.relay.wire.is_over {
            self.relay.round().unwrap();
            self.observe();
            self.check_sleep();
            let flows = || self.relay.flows.iter();
            let greeted = flows().filter(|(_, flow)| flow.is_greeted);
            accepted = greeted.fold(accepted, |most, (_, flow)| most.max(flow.generation));
            for (index, flow) in flows().filter(|(_, flow)| !flow.has_ended()) {
                assert!(
                    flow.generation >= accepted,
                    "{flow:?} is older than {accepted}"
                );
                let is_barred = self.relay.is_barred(imsi, u32::try_from(index).unwrap());
                let leg = &flow.upstream;
                let is_opening =
                    flow.session.is_without_upstream() && !leg.is_absent() && !leg.is_left;
                assert!(!is_barred || !is_opening, "{flow:?} dials");
            }
        }
        let relay = &self.relay;
        assert!(relay.flows.is_empty(), "a session stays for ever");
        assert!(relay.rivals.is_empty(), "something is kept");
        assert_eq!(relay.buffers.in_use(), 0, "buffers");
        for socket in &relay.wire.network.sockets {
            assert!(socket.is_closed() && !socket.is_sending(), "left open");
        }
    }
}

#[test]
fn b_tok_2_no_session_gets_in_the_way_of_a_newer_one() {
    let (mut taken_over, mut renewed) = (0, 0);
    let seeds = for_seeds(1_000, |seed| {
        let mut simulation = Simulation::seeded(seed, World::rivals);
        simulation.play_rivals();
        let totals = simulation.relay.totals();
        renewed += totals.renewed;
        taken_over += totals.ended.get("taken_over").copied().unwrap_or_default();
    });
    let is_all = taken_over > seeds / 8 && renewed > seeds / 8;
    assert!(seeds < 500 || is_all, "{taken_over} {renewed}");
}
