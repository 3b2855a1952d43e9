//! Sys: what the engine asks of the kernel, behind safe functions. It has never heard of MQTT. All
//! unsafe code of the engine is here.

#![expect(unsafe_code, reason = "the one place for it")]

#[cfg(test)]
pub(crate) mod allocations;
pub mod clock;
pub mod host;
pub mod listen;
pub mod memory;
pub mod pipe;
pub mod ring;
pub mod socket;
pub mod thread;
