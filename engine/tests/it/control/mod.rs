//! The control plane, asked over its sockets.

mod auth;
mod billing;
mod churn;
mod dashboard;
mod description;
mod generated;
mod groups;
mod node;
mod sims;
mod tap;
mod tls;

use super::harness::fleet::fleet;
use super::harness::peer::Upstream;
use super::harness::ringbeam::{Ringbeam, Setup};

/// An engine with a registry that can be changed, and a user.
fn serving(upstream: &Upstream) -> Ringbeam {
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    setup.with_user().start()
}
