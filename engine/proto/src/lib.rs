//! The MQTT entry point's protocol, without I/O: bytes in, bytes and decisions out.
//!
//! One message's journey. A device's bytes are cut into packets ([`frame`]) and checked against its
//! MQTT version ([`packet`], [`topic`]). Its CONNECT is rebuilt for the upstream with what the
//! configuration says ([`template`], [`packet::connect`]) under one of the two platform versions
//! ([`platform`]). From then on a [`session`] joins both sides: the head of each packet is rewritten for
//! the SIM it came from ([`identity`], [`rules`], [`rewrite`]), its payload stays where it is and leaves
//! as a borrowed range unless it is short ([`output`]), and what is billed is counted as it comes in and goes out
//! ([`billing`]); what came is counted by type ([`tally`]). Silence is measured by [`keep_alive`]. Whatever goes wrong ends in one place
//! ([`mod@error`]), and so does what each peer is told then ([`mod@farewell`]). Every maximum stands in [`limits`].
//!
//! No input can make this crate panic, allocate beyond its limits or copy a long payload. It knows no
//! socket, no thread and no clock: time is an argument, in milliseconds of the caller's own clock.

#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::unreachable,
        clippy::string_slice
    )
)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod billing;
pub mod error;
pub mod farewell;
pub mod frame;
pub mod identity;
pub mod keep_alive;
pub mod limits;
pub mod opening;
pub mod output;
pub mod packet;
pub mod platform;
pub mod rewrite;
pub mod rules;
pub mod session;
pub mod tally;
pub mod template;
pub mod topic;
