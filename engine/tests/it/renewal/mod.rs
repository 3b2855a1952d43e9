//! Renewal of the upstream leg (B-TOK-1), through the built binary and over real sockets: the device stays
//! connected while what is behind it is replaced.

mod authority;
mod broker;
mod client;
mod credentials;
mod culprits;
mod ends;
mod fails;
mod many;
mod odd_brokers;
mod order;
mod restarts;
mod rivals;
mod unneeded;

use std::net::SocketAddr;

use serde_json::Value;

use super::harness::fleet::{fleet_with, new_imsi};
use super::harness::peer::{Peer, packet, string};

/// The fleet, with both of its entry points renewing their upstream legs.
fn renewing_fleet(upstream: SocketAddr) -> Value {
    fleet_with(upstream, |_, object| {
        object["renewUpstream"] = true.into();
    })
}

/// What v5 has in front of payloads, filters and codes where there are no properties, and others have not.
fn no_properties(version: u8) -> &'static [u8] {
    if version >= 5 { &[0] } else { &[] }
}

/// A PUBLISH of QoS 1 or 2, as its first byte says.
fn acknowledged_publish(version: u8, first: u8, topic: &str, id: u8, payload: &[u8]) -> Vec<u8> {
    let parts = [
        &string(topic)[..],
        &[0, id],
        no_properties(version),
        payload,
    ];
    packet(first, &parts.concat())
}

/// A PUBLISH of QoS 0, retained or not, as its first byte says.
fn plain_publish(version: u8, first: u8, topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(
        first,
        &[&string(topic)[..], no_properties(version), payload].concat(),
    )
}

/// A SUBSCRIBE to filters with their options.
fn subscribe(version: u8, id: u16, filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = [&id.to_be_bytes()[..], no_properties(version)].concat();
    for (filter, options) in filters {
        body.extend(string(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

/// A SUBACK with its codes.
fn suback(version: u8, id: u16, codes: &[u8]) -> Vec<u8> {
    packet(
        0x90,
        &[&id.to_be_bytes()[..], no_properties(version), codes].concat(),
    )
}

/// PUBACK 4, PUBREC 5, PUBREL 6 or PUBCOMP 7.
fn acknowledgement(kind: u8, id: u16) -> Vec<u8> {
    let flags = if kind == 6 { 2 } else { 0 };
    let [high, low] = id.to_be_bytes();
    vec![(kind << 4) | flags, 2, high, low]
}

/// A message passes up. Before the CONNACK of a renewal it waits, while a PINGREQ would be answered already.
fn expect_passage(device: &mut Peer, peer: &mut Peer, version: u8) {
    device.send(&plain_publish(version, 0x30, "passes", b"x"));
    let topic = format!("passes/{}", new_imsi(1));
    peer.expect(&plain_publish(version, 0x30, &topic, b"x"));
}

const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];
