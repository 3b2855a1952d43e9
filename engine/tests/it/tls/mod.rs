//! TLS towards upstreams, over real sockets: handshakes that fail and what is said of it, streams cut in
//! every way, slow sides, resumption, many sessions, real brokers.

mod brokers;
mod client_certificates;
mod handshakes;
mod openssl;
mod pressure;
mod reload;
mod resumption;
mod scale;
mod streams;

use std::net::SocketAddr;

use serde_json::Value;

use super::harness::authority::Authority;
use super::harness::fleet::{new_sim, tls_fleet};
use super::harness::peer::{Peer, connect_packet};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::tls_server::TlsServer;

/// CONNACK 3 as each version says it, by the version's level.
const UNAVAILABLE: [(u8, &[u8]); 2] = [(4, &[0x20, 2, 0, 3]), (5, &[0x20, 3, 0, 0x88, 0])];

/// An authority, a server that it vouches for, and an engine that trusts it.
fn started() -> (Authority, TlsServer, Ringbeam) {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    let ringbeam = engine(&authority, server.address());
    (authority, server, ringbeam)
}

/// An engine that trusts an authority, and its fleet's upstream.
fn engine(authority: &Authority, upstream: SocketAddr) -> Ringbeam {
    Setup::new(&tls_fleet(upstream))
        .section(&authority.section())
        .start()
}

/// A device of SIM number 1 that has sent its CONNECT.
fn connecting(ringbeam: &Ringbeam, version: u8) -> Peer {
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(version, "device"));
    device
}

/// The log's line on the only session, once it has ended: its reason and its detail.
fn ending(ringbeam: &Ringbeam) -> (String, String) {
    let line = ringbeam.wait_for_log(&[("message", "session ended")]);
    (text(&line["reason"]), text(&line["detail"]))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
