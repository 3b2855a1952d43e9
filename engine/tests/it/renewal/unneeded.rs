//! Where the upstream stays, renewal is not there: the same bytes pass both ways as without it.

use std::net::{Ipv4Addr, SocketAddr};

use serde_json::Value;

use crate::harness::fleet::{fleet, new_sim, old_sim};
use crate::harness::peer::{Peer, Upstream, connack, connect_packet, packet, string};
use crate::harness::ringbeam::Ringbeam;

use super::{
    DISCONNECT, PINGREQ, PINGRESP, acknowledged_publish, acknowledgement, no_properties,
    plain_publish, renewing_fleet, suback, subscribe,
};

/// Who sends, and what.
enum Sends {
    Device(Vec<u8>),
    Upstream(Vec<u8>),
}

use Sends::{Device, Upstream as Broker};

/// A fleet for an upstream.
type Fleet = fn(SocketAddr) -> Value;

/// A journey with every kind of packet.
fn journey(version: u8) -> Vec<Sends> {
    let unsubscribe = packet(
        0xa2,
        &[&[0, 2], no_properties(version), &string("s/{{imsi}}")].concat(),
    );
    let unsuback = match version {
        5 => packet(0xb0, &[0, 2, 0, 0]),
        _ => packet(0xb0, &[0, 2]),
    };
    let publish =
        |first, id, payload: &[u8]| acknowledged_publish(version, first, "t", id, payload);
    vec![
        Device(subscribe(version, 1, &[("s/{{imsi}}", 2), ("p/#", 1)])),
        Broker(suback(version, 1, &[2, 1])),
        Device(plain_publish(version, 0x31, "{{imsi}}", b"zero")),
        Device(publish(0x33, 5, b"one")),
        Broker(acknowledgement(4, 5)),
        Device(publish(0x34, 6, b"two")),
        // Said again by the device itself.
        Device(publish(0x3c, 6, b"two")),
        Broker(acknowledgement(5, 6)),
        Device(acknowledgement(6, 6)),
        Broker(acknowledgement(7, 6)),
        Broker(acknowledged_publish(version, 0x33, "p/1", 8, b"one")),
        Device(acknowledgement(4, 8)),
        Broker(acknowledged_publish(version, 0x34, "p/2", 9, b"two")),
        Device(acknowledgement(5, 9)),
        Broker(acknowledgement(6, 9)),
        Device(acknowledgement(7, 9)),
        Broker(plain_publish(version, 0x31, "p/3", &vec![3; 200_000])),
        Device(plain_publish(version, 0x30, "t", &vec![4; 200_000])),
        Device(publish(0x32, 10, &vec![5; 200_000])),
        Broker(acknowledgement(4, 10)),
        Device(PINGREQ.to_vec()),
        Broker(PINGRESP.to_vec()),
        Device(unsubscribe),
        Broker(unsuback),
        Device(DISCONNECT.to_vec()),
    ]
}

/// How many packets come to the upstream and to the device when one of them sends a packet, under 201912
/// and under 201509, which acknowledges by itself; nothing where the packet would answer nothing.
fn arrivals(sends: &Sends, is_201509: bool) -> Option<(usize, usize)> {
    let (bytes, is_device, plain) = match sends {
        Device(bytes) => (bytes, true, (1, 0)),
        Broker(bytes) => (bytes, false, (0, 1)),
    };
    if !is_201509 {
        return Some(plain);
    }
    let is_acknowledged = bytes[0] & 0b0110 != 0;
    match (bytes[0] >> 4, is_device) {
        (3, _) if is_acknowledged => Some((1, 1)),
        (6, true) => Some((0, 1)),
        (6, false) => Some((1, 0)),
        (4 | 5 | 7, true) => Some((0, 0)),
        (4 | 5 | 7, false) => None,
        _ => Some(plain),
    }
}

/// What both ends see of a journey in which each waits for what the other sends: the CONNECT, then
/// everything that came to the upstream and to the device.
fn seen(fleet: Fleet, from: Ipv4Addr, version: u8, is_201509: bool) -> [Vec<u8>; 3] {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(from, ringbeam.address());
    device.send(&connect_packet(version, "device"));
    let (mut peer, connect) = upstream.accept_connect(connack(version));
    device.expect(connack(version));
    let (mut at_upstream, mut at_device) = (Vec::new(), Vec::new());
    for sends in journey(version) {
        let Some(arrivals) = arrivals(&sends, is_201509) else {
            continue;
        };
        match sends {
            Device(bytes) => device.send(&bytes),
            Broker(bytes) => peer.send(&bytes),
        }
        for _ in 0..arrivals.0 {
            at_upstream.extend(peer.packet());
        }
        for _ in 0..arrivals.1 {
            at_device.extend(device.packet());
        }
    }
    at_upstream.extend(peer.rest());
    drop(peer);
    at_device.extend(device.rest());
    drop(device);
    ringbeam.end();
    [connect, at_upstream, at_device]
}

#[test]
fn b_tok_1_and_b_ver_2_the_same_bytes_pass_with_renewal_as_without_it() {
    for (from, versions, is_201509) in [
        (new_sim(1), &[3, 4, 5][..], false),
        (old_sim(1), &[3, 4], true),
    ] {
        for version in versions {
            let without = seen(fleet, from, *version, is_201509);
            let with = seen(renewing_fleet, from, *version, is_201509);
            assert!(without == with, "version {version}, 201509: {is_201509}");
        }
    }
}
