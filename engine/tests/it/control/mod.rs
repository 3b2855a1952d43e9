//! The control plane, asked over its sockets.

mod auth;
mod billing;
mod churn;
mod dashboard;
mod description;
mod generated;
mod groups;
mod measure;
mod node;
mod open5gs;
mod radius;
mod sims;
mod tap;
mod tls;
mod unwritable;
mod waiting;

use std::net::{IpAddr, SocketAddr};

use super::harness::fleet::fleet;
use super::harness::peer::{Peer, Upstream, connect_packet};
use super::harness::ringbeam::{Ringbeam, Setup};

/// An engine with a registry that can be changed, and a user.
fn serving(upstream: &Upstream) -> Ringbeam {
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    setup.with_user().start()
}

/// A CONNECT is refused with CONNACK 5.
fn is_refused(from: impl Into<IpAddr>, to: SocketAddr) -> bool {
    let mut device = Peer::connect(from, to);
    device.send(&connect_packet(4, "c"));
    device.rest() == [0x20, 2, 0, 5]
}
