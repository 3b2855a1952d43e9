//! The load generator as its users run it: as processes, on real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::too_many_lines,
    reason = "a test fails by panicking"
)]

mod commands;
mod damage;
mod process;
mod proxy;
mod sink;
