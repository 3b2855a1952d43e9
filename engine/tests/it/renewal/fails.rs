//! Where a renewal cannot be exact, or is not wanted, the device is disconnected rather than misled.

use crate::harness::fleet::{fleet, new_imsi, new_sim};
use crate::harness::peer::{Peer, Upstream, connack, connect_packet, packet, string};
use crate::harness::ringbeam::Ringbeam;

use super::{expect_passage, renewing_fleet, suback, subscribe};

/// What devices are told at the end: nothing before v5, 0x80 in v5.
fn told(version: u8) -> &'static [u8] {
    if version >= 5 { &[0xe0, 1, 0x80] } else { &[] }
}

/// A session whose CONNACK was `first`.
fn session(upstream: &Upstream, ringbeam: &Ringbeam, version: u8, first: &[u8]) -> (Peer, Peer) {
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(version, "device"));
    let (peer, _) = upstream.accept_connect(first);
    device.expect(first);
    (device, peer)
}

#[test]
fn b_tok_1_a_connack_that_takes_back_what_the_device_was_told_ends_it() {
    let strict = |property: &[u8]| {
        let length = u8::try_from(property.len()).unwrap();
        packet(0x20, &[&[0, 0, length], property].concat())
    };
    let rows = [
        // The device was told that its session is there.
        (4, vec![0x20, 2, 1, 0], vec![0x20, 2, 0, 0]),
        (5, vec![0x20, 3, 1, 0, 0], vec![0x20, 3, 0, 0, 0]),
        // Receive maximum, maximum QoS, retain available, server keep alive, another client id.
        (5, connack(5).to_vec(), strict(&[0x21, 0, 9])),
        (5, connack(5).to_vec(), strict(&[0x24, 1])),
        (5, connack(5).to_vec(), strict(&[0x25, 0])),
        (5, connack(5).to_vec(), strict(&[0x13, 0, 30])),
        (5, connack(5).to_vec(), strict(b"\x12\x00\x01z")),
        // Refused for good.
        (4, connack(4).to_vec(), vec![0x20, 2, 0, 5]),
        (5, connack(5).to_vec(), vec![0x20, 3, 0, 0x87, 0]),
        (5, connack(5).to_vec(), vec![0x20, 3, 0, 0x9d, 0]),
    ];
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for (number, (version, first, second)) in (1..).zip(rows) {
        let (mut device, peer) = session(&upstream, &ringbeam, version, &first);
        drop(peer);
        let (mut peer, _) = upstream.accept_connect(&second);
        assert_eq!(device.rest(), told(version), "{second:02x?}");
        peer.expect_closed();
        drop((device, peer));
        ringbeam.wait_for_logs(number, "reason", "renewal_failed");
    }
}

#[test]
fn b_tok_1_a_subscription_that_is_not_granted_again_ends_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for (number, (version, code)) in (1..).zip([(4, 0x80), (4, 0), (5, 0x87), (5, 0)]) {
        let (mut device, mut peer) = session(&upstream, &ringbeam, version, connack(version));
        device.send(&subscribe(version, 1, &[("a", 1)]));
        peer.packet();
        peer.send(&suback(version, 1, &[1]));
        device.expect(&suback(version, 1, &[1]));
        drop(peer);
        let (mut peer, _) = upstream.accept_connect(connack(version));
        let asked = peer.packet();
        let id = u16::from_be_bytes([asked[2], asked[3]]);
        peer.send(&suback(version, id, &[code]));
        assert_eq!(device.rest(), told(version), "{code}");
        drop((device, peer));
        ringbeam.wait_for_logs(number, "reason", "renewal_failed");
    }
}

#[test]
fn b_tok_1_a_large_message_that_breaks_off_ends_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let large = packet(0x30, &[&string("t")[..], &vec![0; 100_000]].concat());
    // What is half sent to the device cannot be followed by anything.
    let (mut device, mut peer) = session(&upstream, &ringbeam, 5, connack(5));
    peer.send(&large[..50_000]);
    assert_eq!(device.bytes(50_000), large[..50_000]);
    drop(peer);
    device.expect_closed();
    drop(device);
    ringbeam.wait_for_logs(1, "reason", "upstream_closed");
    // What the device has half sent is not in anybody's copy.
    let (mut device, mut peer) = session(&upstream, &ringbeam, 5, connack(5));
    device.send(&large[..90_000]);
    let sent = packet(
        0x30,
        &[
            &string(&format!("t/{}", new_imsi(1)))[..],
            &vec![0; 100_000],
        ]
        .concat(),
    );
    assert_eq!(peer.bytes(80_000), sent[..80_000]);
    peer.reset();
    assert_eq!(device.rest(), told(5));
    drop(device);
    ringbeam.wait_for_logs(1, "reason", "upstream_reset");
    assert!(!ringbeam.log_text().contains("upstream lost"));
    assert!(upstream.is_untouched());
}

#[test]
fn b_cfg_5_without_renewal_the_loss_ends_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for (number, version) in (1..).zip([3, 4, 5]) {
        let (mut device, peer) = session(&upstream, &ringbeam, version, connack(version));
        drop(peer);
        assert_eq!(device.rest(), told(version));
        drop(device);
        ringbeam.wait_for_logs(number, "reason", "upstream_closed");
    }
    assert!(upstream.is_untouched());
}

#[test]
fn b_tok_1_a_v5_broker_that_takes_the_session_away_is_believed() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    // Another connection of the client; use another server; administrative action.
    for (number, code) in (1..).zip([0x8e, 0x9d, 0x98]) {
        let (mut device, mut peer) = session(&upstream, &ringbeam, 5, connack(5));
        peer.send(&[0xe0, 2, code, 0]);
        assert_eq!(device.rest(), [0xe0, 2, code, 0]);
        drop((device, peer));
        ringbeam.wait_for_logs(number, "reason", "upstream_disconnect");
    }
    // Shutting down is another matter.
    let (mut device, mut peer) = session(&upstream, &ringbeam, 5, connack(5));
    peer.send(&[0xe0, 2, 0x8b, 0]);
    drop(peer);
    let (mut peer, _) = upstream.accept_connect(connack(5));
    expect_passage(&mut device, &mut peer, 5);
}
