//! While there is no upstream: attempts back off, and whatever ends a session ends it at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::fleet::{fleet_with, new_sim};
use crate::harness::peer::{Peer, Upstream, connack};
use crate::harness::ringbeam::{Ringbeam, Setup};
use crate::harness::{is_soak, wait_until};

use super::{DISCONNECT, expect_passage, renewing_fleet};

/// Where the next upstream stands when the session is to end.
#[derive(Clone, Copy, Debug)]
enum Next {
    /// Nobody listens.
    Absent,
    /// Its CONNACK does not come.
    Silent,
}

const STATES: [Next; 2] = [Next::Absent, Next::Silent];

/// A session between two upstreams.
struct Between {
    ringbeam: Ringbeam,
    device: Option<Peer>,
    upstream: SocketAddr,
    /// The next upstream's end, where there is one.
    silent: Option<Peer>,
    /// Descriptors before the session.
    descriptors: usize,
}

impl Between {
    fn begin(state: Next, fleet: impl Fn(SocketAddr) -> Value, from: Ipv4Addr) -> Self {
        let listener = Upstream::listen();
        let upstream = listener.address();
        let ringbeam = Setup::new(&fleet(upstream))
            .engine("drain_timeout_ms = 8000")
            .start();
        let descriptors = ringbeam.descriptors();
        let (device, peer) = listener.session(ringbeam.address(), from, 5);
        let silent = match state {
            Next::Absent => {
                drop((listener, peer));
                None
            }
            Next::Silent => {
                drop(peer);
                let mut silent = listener.accept();
                silent.packet();
                Some(silent)
            }
        };
        ringbeam.wait_for_log(&[("message", "upstream lost")]);
        Self {
            ringbeam,
            device: Some(device),
            upstream,
            silent,
            descriptors,
        }
    }

    /// The device was told this, the silent upstream perhaps that its client leaves, and the log says why.
    fn expect_end(&mut self, told: &[u8], reason: &str) {
        // Both are closed before the log is asked: the engine waits a while for them.
        let mut device = self.device.take().unwrap();
        assert_eq!(device.rest(), told);
        if let Some(mut silent) = self.silent.take() {
            let rest = silent.rest();
            assert!(rest.is_empty() || rest == DISCONNECT, "{rest:02x?}");
        }
        drop(device);
        self.ringbeam
            .wait_for_log(&[("message", "session ended"), ("reason", reason)]);
    }

    /// Nothing is left of it.
    fn expect_nothing_left(&mut self) {
        wait_until("descriptors to be given back", || {
            self.ringbeam.descriptors() <= self.descriptors
        });
        self.ringbeam.end();
    }
}

#[test]
fn b_tok_1_attempts_back_off_while_the_upstream_closes_at_once() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    drop(peer);
    let start = Instant::now();
    for _ in 0..3 {
        drop(upstream.accept());
    }
    let (mut peer, _) = upstream.accept_connect(connack(4));
    // The waits are at least 0, 0.5, 1 and 2 seconds: no sooner is all that can be said on a busy machine.
    assert!(start.elapsed() > Duration::from_millis(3400));
    let renewed = ringbeam.wait_for_log(&[("message", "upstream renewed")]);
    assert_eq!(renewed["attempts"], 4);
    expect_passage(&mut device, &mut peer, 4);
    assert!(upstream.is_untouched());
}

#[test]
fn b_tok_1_a_broker_that_is_busy_is_asked_again() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for (version, busy) in [(4, &[0x20, 2, 0, 3][..]), (5, &[0x20, 3, 0, 0x89, 0])] {
        let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        drop(peer);
        let (mut refusing, _) = upstream.accept_connect(busy);
        refusing.expect_closed();
        let (mut peer, _) = upstream.accept_connect(connack(version));
        expect_passage(&mut device, &mut peer, version);
    }
}

#[test]
fn b_tok_1_and_b_keep_4_a_drain_ends_a_session_between_two_upstreams() {
    for state in STATES {
        let mut between = Between::begin(state, renewing_fleet, new_sim(1));
        between.ringbeam.signal("TERM");
        between.expect_end(&[0xe0, 1, 0x8b], "draining");
        between.ringbeam.ended();
    }
}

#[test]
fn b_tok_1_a_stop_ends_a_session_between_two_upstreams() {
    for state in STATES {
        let mut between = Between::begin(state, renewing_fleet, new_sim(1));
        between.ringbeam.signal("INT");
        between.expect_end(&[], "stopped");
        between.ringbeam.ended();
    }
}

#[test]
fn b_tok_1_and_b_id_4_a_removed_sim_loses_its_session_between_two_upstreams() {
    for state in STATES {
        let mut between = Between::begin(state, renewing_fleet, Ipv4Addr::new(127, 0, 0, 2));
        let mut changed = renewing_fleet(between.upstream);
        changed["sims"].as_array_mut().unwrap().remove(0);
        between.ringbeam.setup().write_fleet(&changed);
        assert!(between.ringbeam.reload());
        between.expect_end(&[], "sim_session_ended");
        between.expect_nothing_left();
    }
}

#[test]
fn b_tok_1_and_b_cfg_5_a_disabled_entry_point_ends_a_session_between_two_upstreams() {
    for state in STATES {
        let mut between = Between::begin(state, renewing_fleet, new_sim(1));
        let disabled = fleet_with(between.upstream, |_, object| {
            object["renewUpstream"] = true.into();
            object["enabled"] = false.into();
        });
        between.ringbeam.setup().write_fleet(&disabled);
        assert!(between.ringbeam.reload());
        between.expect_end(&[0xe0, 1, 0x98], "entry_point_closed");
        between.expect_nothing_left();
    }
}

#[test]
fn b_tok_1_and_b_keep_4_a_device_that_leaves_ends_a_session_between_two_upstreams() {
    for state in STATES {
        for (does_say_so, reason) in [(true, "device_disconnect"), (false, "device_closed")] {
            let mut between = Between::begin(state, renewing_fleet, new_sim(1));
            let device = between.device.as_mut().unwrap();
            if does_say_so {
                device.send(&DISCONNECT);
            } else {
                device.finish_sending();
            }
            between.expect_end(&[], reason);
            between.expect_nothing_left();
        }
    }
}

#[test]
fn b_tok_1_an_upstream_that_stays_away_ends_the_session_in_the_end() {
    // It takes the whole minute that a session may be without an upstream.
    if !is_soak() {
        return;
    }
    let mut between = Between::begin(Next::Absent, renewing_fleet, new_sim(1));
    let patience = Some(Duration::from_secs(120));
    let device = between.device.as_mut().unwrap();
    device.stream().set_read_timeout(patience).unwrap();
    between.expect_end(&[0xe0, 1, 0x80], "renewal_failed");
    between.expect_nothing_left();
}

#[test]
fn b_tok_1_an_upstream_that_is_lost_again_and_again_is_asked_less_and_less() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    drop(peer);
    let mut at = Vec::new();
    for _ in 0..4 {
        let (peer, _) = upstream.accept_connect(connack(4));
        at.push(Instant::now());
        drop(peer);
    }
    // Each wait is half of its longest at least; the test may be late to see its beginning.
    for (pair, least_ms) in at.windows(2).zip([250, 500, 1_000]) {
        let waited = pair[1] - pair[0];
        assert!(waited >= Duration::from_millis(least_ms), "{waited:?}");
    }
    // The device is where it was, and the log has one line about it.
    device.send(&[0xc0, 0]);
    device.expect(&[0xd0, 0]);
    let lost = ringbeam.log_text().matches("upstream lost").count();
    assert_eq!(lost, 1);
}

#[test]
fn b_tok_1_a_device_that_leaves_while_its_upstream_opens_leaves_no_will() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for version in [4, 5] {
        let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        drop(peer);
        // The CONNECT has come with its will; the CONNACK has not gone.
        let mut opening = upstream.accept();
        opening.packet();
        device.send(&[0xe0, 0]);
        opening.expect(&[0xe0, 0]);
        opening.expect_closed();
    }
}
