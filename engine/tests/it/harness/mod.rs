//! Harness: the built binary, scripted and real brokers, devices on SIM addresses. Nothing here sleeps
//! to let something happen: it waits for the thing itself, with a limit.

pub mod authority;
pub mod dice;
pub mod fleet;
pub mod http;
pub mod inside;
pub mod mosquitto;
pub mod peer;
pub mod radius;
pub mod ringbeam;
pub mod smf;
pub mod sockets;
pub mod tls_server;

use std::time::{Duration, Instant};

/// How long anything may take before a test fails. Generous: machines are slow at times.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Waits until `attempt` has a value.
pub fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let mut found = None;
    wait_until(what, || {
        found = attempt();
        found.is_some()
    });
    found.unwrap()
}

/// Whether the long counts are asked for.
pub fn is_soak() -> bool {
    std::env::var_os("RINGBEAM_SOAK").is_some()
}

/// Lets this process hold as many descriptors as it may.
pub fn raise_descriptor_limit() {
    ::ringbeam::sys::host::raise_descriptor_limit().unwrap();
}
