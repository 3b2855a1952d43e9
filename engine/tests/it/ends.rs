//! How sessions end: what is still under way when a device has said DISCONNECT.

use std::net::SocketAddr;

use super::harness::authority::Authority;
use super::harness::fleet::{fleet, fleet_with, new_sim, old_sim, tls_fleet};
use super::harness::mosquitto::Mosquitto;
use super::harness::peer::{Peer, Upstream, connack, connect_packet, packet, publish, string};
use super::harness::ringbeam::{Ringbeam, Setup};

/// CONNECT, PUBLISH of QoS 1, SUBSCRIBE and DISCONNECT in one segment.
fn everything_at_once(version: u8) -> Vec<u8> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let message = [&string("up"), &[0, 7][..], properties, b"x"].concat();
    let filters = [&[0, 9], properties, &string("down"), &[0]].concat();
    [
        connect_packet(version, "brief"),
        packet(0x32, &message),
        packet(0x82, &filters),
        vec![0xe0, 0],
    ]
    .concat()
}

/// What a device that says everything at once is told until the end, packet by packet, the CONNACK first and the
/// others in any order.
fn told(device: &mut Peer) -> Vec<Vec<u8>> {
    let mut told: Vec<_> = std::iter::from_fn(|| device.try_packet().ok()).collect();
    if let Some(others) = told.get_mut(1..) {
        others.sort();
    }
    told
}

fn check_answers(ringbeam: SocketAddr, broker: SocketAddr) {
    for (sim, versions) in [(new_sim(1), &[3, 4, 5][..]), (old_sim(1), &[3, 4])] {
        for version in versions {
            let mut device = Peer::connect([127, 0, 0, 1], broker);
            device.send(&everything_at_once(*version));
            let directly = told(&mut device);
            assert_eq!(directly.len(), 3, "{directly:02x?}");
            let mut device = Peer::connect(sim, ringbeam);
            device.send(&everything_at_once(*version));
            assert_eq!(told(&mut device), directly, "{sim} {version}");
        }
    }
}

#[test]
fn b_keep_4_answers_behind_a_disconnect_are_delivered() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    check_answers(ringbeam.address(), broker.address());
}

#[test]
fn b_keep_4_answers_behind_a_disconnect_are_delivered_from_an_upstream_over_tls() {
    let authority = Authority::new("Private Root");
    let [certificate, key] = authority.files("server", &authority.server());
    let broker = Mosquitto::start_tls(&certificate, &key, "");
    let ringbeam = Setup::new(&tls_fleet(broker.tls_address()))
        .section(&authority.section())
        .start();
    check_answers(ringbeam.address(), broker.address());
}

/// With and without renewal, which has its own words for what an upstream owes.
#[test]
fn b_keep_4_a_device_that_said_disconnect_reads_on_until_its_upstream_closes() {
    let upstream = Upstream::listen();
    for renews in [false, true] {
        let fleet = fleet_with(upstream.address(), |_, object| {
            object["renewUpstream"] = renews.into();
        });
        let ringbeam = Ringbeam::start(&fleet);
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&everything_at_once(4));
        let (mut peer, _) = upstream.accept_connect(connack(4));
        peer.packet();
        peer.packet();
        peer.expect(&[0xe0, 0]);
        device.expect(connack(4));
        peer.send(&[0x40, 2, 0, 7]);
        device.expect(&[0x40, 2, 0, 7]);
        let last = [&[0x90, 3, 0, 9, 0][..], &publish("down", b"last")].concat();
        peer.send(&last);
        drop(peer);
        device.expect(&last);
        device.expect_closed();
        ringbeam.wait_for_log(&[("reason", "device_disconnect")]);
    }
}

/// An upstream that stays, a device that stays: both are closed all the same.
#[test]
fn b_keep_4_a_disconnect_is_the_end_whoever_stays() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&[0xe0, 0]);
    peer.expect(&[0xe0, 0]);
    // An upstream that answers nothing is not waited for until all is cut.
    peer.expect_closed();
    device.expect_closed();
    ringbeam.wait_for_log(&[("reason", "device_disconnect")]);
}
