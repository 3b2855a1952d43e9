//! Half CONNECTs: connections that were opened and say nothing, or not all. They keep nobody out who has something to say,
//! and nobody is cut for that while there is room.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::harness::fleet::{fleet, new_imsi, new_sim, old_sim};
use super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::harness::raise_descriptor_limit;
use super::harness::ringbeam::Setup;

/// What the engine may have in these tests: places for 750 sessions.
const DESCRIPTORS: u32 = 2_000;
const PLACES: usize = 750;

/// SIMs with so many half CONNECTs each.
const SIMS: u16 = 3;
const EACH: usize = 256;

/// A device that has opened its connection and begun its CONNECT.
fn half(from: Ipv4Addr, ringbeam: &super::harness::ringbeam::Ringbeam) -> Peer {
    let mut device = Peer::connect(from, ringbeam.address());
    // It may be closed before.
    drop(device.try_send(&connect_packet(4, "half")[..5]));
    device
}

/// Finishes the CONNECT of a half one, and has it served.
fn finish(device: &mut Peer, upstream: &Upstream) -> Peer {
    device.send(&connect_packet(4, "half")[5..]);
    let (peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    peer
}

#[test]
fn where_places_are_short_the_oldest_half_connect_of_whoever_has_most_makes_room() {
    raise_descriptor_limit();
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("connect_timeout_ms = 600000")
        .engine(&format!("max_sessions_per_sim = {EACH}"))
        .descriptors(DESCRIPTORS)
        .start();
    let accepting = ringbeam.wait_for_log(&[("message", "accepting")]);
    assert_eq!(accepting["sessions"], PLACES);
    // A slow device of a SIM that has no other connection: it was here first, and stays.
    let mut slow = half(new_sim(1000), &ringbeam);
    let greedy: Vec<Peer> = (0..EACH)
        .flat_map(|_| (0..SIMS).map(old_sim))
        .map(|sim| half(sim, &ringbeam))
        .collect();
    assert!(greedy.len() > PLACES);
    // Others are served one after the other, whose places nobody has offered.
    let others = 200_u16;
    let mut sessions: Vec<_> = (0..others)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    for (number, (device, peer)) in (0..).zip(&mut sessions) {
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
    }
    // The oldest are gone, and no more than had to: those that are left are served.
    let made = greedy.len() + 1 + usize::from(others) - PLACES;
    ringbeam.wait_for_logs(made, "reason", "made_room");
    let mut left = Vec::new();
    for (number, mut device) in greedy.into_iter().enumerate() {
        if device.answers_within(Duration::from_millis(1)) {
            device.expect_closed();
            // Shards do not take turns at accepting.
            assert!(number < made + 100, "number {number} of {made} is gone");
        } else {
            left.push(device);
        }
    }
    assert_eq!(left.len() + made, EACH * usize::from(SIMS));
    let _first = finish(&mut slow, &upstream);
    let sampled = left.iter_mut().step_by(20);
    let _served: Vec<Peer> = sampled.map(|device| finish(device, &upstream)).collect();
    drop((left, slow, sessions));
    let stopped = ringbeam.end();
    let reasons = stopped["ended"].as_str().unwrap();
    let expected = format!("made_room={made}");
    assert!(
        reasons.split(' ').any(|reason| reason == expected),
        "{reasons}"
    );
}

#[test]
fn by_default_a_few_sims_lock_out_nobody_and_nobody_is_cut() {
    raise_descriptor_limit();
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .descriptors(DESCRIPTORS)
        .start();
    let mut slow = half(new_sim(1000), &ringbeam);
    let greedy: Vec<Peer> = (0..EACH)
        .flat_map(|_| (0..SIMS).map(old_sim))
        .map(|sim| half(sim, &ringbeam))
        .collect();
    let sessions: Vec<_> = (0..100)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    // B-CON-3: by default half a minute, which a modem may need.
    let _peer = finish(&mut slow, &upstream);
    drop((greedy, sessions, slow));
    let stopped = ringbeam.end();
    assert!(
        !stopped["ended"].as_str().unwrap().contains("made_room"),
        "{stopped}"
    );
}
