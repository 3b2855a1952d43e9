//! Scale: many sessions over TLS at once, with traffic on all of them, and what an idle one costs.

use super::super::harness::fleet::{fleet, new_imsi, new_sim};
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::super::harness::ringbeam::Ringbeam;
use super::super::harness::tls_server::TlsPeer;
use super::super::harness::{is_soak, raise_descriptor_limit, wait_until};
use super::started;

/// The most that an idle session over TLS may cost beyond a plain one, in bytes.
const OVERHEAD_BYTES_MAX: u64 = 16 * 1024;

fn sessions() -> u16 {
    if is_soak() { 4_000 } else { 2_000 }
}

/// Resident bytes for each session of an engine that had `before`.
fn bytes_per_session(ringbeam: &Ringbeam, before: u64) -> u64 {
    ringbeam.resident_bytes().saturating_sub(before) / u64::from(sessions())
}

/// What an idle plain session costs.
fn plain_bytes() -> u64 {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let before = ringbeam.resident_bytes();
    let mut held = Vec::new();
    for number in 0..sessions() {
        let mut device = Peer::connect(new_sim(number), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        let (mut peer, _) = upstream.accept_connect(connack(4));
        device.expect(connack(4));
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
        held.push((device, peer));
    }
    bytes_per_session(&ringbeam, before)
}

#[test]
fn two_thousand_sessions_over_tls_carry_traffic_and_cost_little_when_idle() {
    raise_descriptor_limit();
    let plain = plain_bytes();
    let (_authority, server, mut ringbeam) = started();
    let descriptors = ringbeam.descriptors();
    let before = ringbeam.resident_bytes();
    let mut held: Vec<(Peer, TlsPeer)> = Vec::new();
    for number in 0..sessions() {
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(number), 4);
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
        held.push((device, peer));
    }
    let tls = bytes_per_session(&ringbeam, before);
    eprintln!("resident bytes per idle session: {plain} plain, {tls} over TLS");
    assert!(tls < plain + OVERHEAD_BYTES_MAX, "{plain} plain, {tls}");
    // All at once, both ways.
    for (device, peer) in &mut held {
        device.send(&publish("t", b"all"));
        peer.send(&publish("d", b"all"));
    }
    for (number, (device, peer)) in (0..).zip(&mut held) {
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"all"));
        device.expect(&publish("d", b"all"));
    }
    drop(held);
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= descriptors
    });
    let stopped = ringbeam.end();
    assert_eq!(stopped["established"], sessions());
}
