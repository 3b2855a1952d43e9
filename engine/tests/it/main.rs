//! The whole engine, as the built binary, over real sockets, with scripted and real brokers and clients.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::too_many_lines,
    reason = "a test fails by panicking, and waits for what other processes do"
)]
#![expect(unreachable_pub, reason = "one crate, whose modules are its parts")]

mod harness;

mod asking;
mod brokers;
mod commands;
mod console;
mod control;
#[cfg(feature = "demo")]
mod demo;
mod destinations;
mod doctor;
mod ends;
mod exhaustion;
mod fairness;
mod half_connects;
mod hostile;
mod journeys;
mod layers;
mod legs;
mod lifecycle;
mod limits;
mod renewal;
mod scale;
mod stress;
mod names;
mod radius;
mod readme;
mod refusals;
mod registry;
mod tls;
mod upgrades;
