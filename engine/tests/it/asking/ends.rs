//! Ends: connections of some SIMs end, and whoever asked learns when (B-ID-4).

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ringbeam::shard::report::Imsis;
use serde_json::{Value, json};

use super::super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim, old_imsi, old_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::super::harness::{PATIENCE, wait_until};
use super::shards;

fn imsis(of: &[String]) -> Arc<Imsis> {
    Arc::new(of.iter().map(|imsi| imsi.parse().unwrap()).collect())
}

/// The fleet in which an address is another SIM's.
fn given_away(upstream: &Upstream, address: Ipv4Addr) -> Value {
    let mut fleet = fleet(upstream.address());
    let sims = fleet["sims"].as_array_mut().unwrap();
    sims.push(
        json!({ "simId": "8981100000000000009", "imsi": "440100000000009", "groupId": "new",
        "ip": address.to_string() }),
    );
    fleet
}

fn is_closed(peer: &mut Peer) {
    peer.expect_closed();
}

#[test]
fn b_id_4_sims_that_lost_their_address_end_and_nobody_else_does() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let mut sessions: Vec<_> = (1..=4)
        .map(|number| upstream.session(inside.address, new_sim(number), 4))
        .collect();
    // One that has said nothing yet.
    let mut silent = Peer::connect(new_sim(1), inside.address);
    wait_until("it to be accepted", || inside.server.totals().live == 5);
    inside.replace_quietly(&given_away(&upstream, new_sim(1)));
    // SIM 2 is told of as well, and has all that it had.
    let done = inside
        .server
        .sims_changed(imsis(&[new_imsi(1), new_imsi(2)]));
    done.recv_timeout(PATIENCE).unwrap();
    let (mut device, mut peer) = sessions.remove(0);
    // What is sent from now on goes nowhere.
    drop(device.try_send(&publish("t", b"late")));
    is_closed(&mut device);
    is_closed(&mut peer);
    is_closed(&mut silent);
    for (number, (device, peer)) in (2..).zip(&mut sessions) {
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
    }
}

#[test]
fn b_cfg_5_b_keep_4_sims_whose_entry_point_was_closed_are_told_so() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 5);
    let (mut old_device, mut old_peer) = upstream.session(inside.address, old_sim(1), 4);
    inside.replace_quietly(&fleet_with(upstream.address(), |group, object| {
        object["enabled"] = (group != "new").into();
    }));
    let done = inside
        .server
        .sims_changed(imsis(&[new_imsi(1), old_imsi(1)]));
    device.expect(&[0xe0, 1, 0x98]);
    peer.expect(&[0xe0, 0]);
    done.recv_timeout(PATIENCE).unwrap();
    is_closed(&mut device);
    is_closed(&mut peer);
    old_device.send(&publish("t", b"x"));
    old_peer.expect(&publish(&format!("t/{}", old_imsi(1)), b"x"));
}

#[test]
fn b_id_4_all_connections_of_a_sim_end_though_the_fleet_allows_them() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let sessions: Vec<_> = (0..3)
        .map(|_| upstream.session(inside.address, new_sim(1), 4))
        .collect();
    // One waits for its CONNACK, and one has not said anything.
    let mut waiting = Peer::connect(new_sim(1), inside.address);
    waiting.send(&connect_packet(4, "waiting"));
    let mut asked = upstream.accept();
    asked.packet();
    let mut silent = Peer::connect(new_sim(1), inside.address);
    wait_until("it to be accepted", || inside.server.totals().live == 5);
    let (mut other, mut other_peer) = upstream.session(inside.address, new_sim(2), 4);
    let done = inside.server.end_sims(imsis(&[new_imsi(1)]));
    done.recv_timeout(PATIENCE).unwrap();
    for (mut device, mut peer) in sessions {
        is_closed(&mut device);
        is_closed(&mut peer);
    }
    is_closed(&mut waiting);
    is_closed(&mut silent);
    drop(asked.try_send(connack(4)));
    is_closed(&mut asked);
    other.send(&publish("t", b"x"));
    other_peer.expect(&publish(&format!("t/{}", new_imsi(2)), b"x"));
    // The SIM may come again.
    upstream.session(inside.address, new_sim(1), 4);
    assert!(inside.server.totals().ended["sim_session_ended"] >= 5);
    // And where none is there is nothing to wait for.
    let nobody = inside.server.end_sims(imsis(&[new_imsi(77)]));
    nobody.recv_timeout(Duration::from_secs(5)).unwrap();
}
