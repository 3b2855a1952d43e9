//! ringbeam: an MQTT entry point for SIM fleets, on io_uring.
//!
//! `ARCHITECTURE.md` is the map, `BEHAVIOUR.md` the rules. In the order in which a message meets them:
//! [`server`] starts the [`shard`]s; a shard accepts, asks the [`fleet`] who is calling, connects to the
//! upstream and relays. The fleet comes from a [`registry`], everything else from the [`config`].
//! [`sys`] is what all of them ask of the kernel.

pub mod args;
pub mod check;
pub mod config;
pub mod control;
#[cfg(feature = "demo")]
pub mod demo;
pub mod doctor;
pub mod explain;
pub mod fleet;
pub mod limits;
pub mod logs;
pub mod open5gs;
pub mod problem;
pub mod radius;
pub mod registry;
pub mod resolver;
pub mod serve;
pub mod server;
pub mod shard;
pub mod sys;
pub mod tap;
pub mod tls;
pub mod transfer;
pub mod user;
