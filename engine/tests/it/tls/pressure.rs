//! Pressure: a side that does not read holds the other one back, bounds the memory, and gets everything in
//! the end (B-KEEP-5).

use std::thread::scope;

use super::super::harness::authority::Authority;
use super::super::harness::fleet::{new_imsi, new_sim, tls_fleet};
use super::super::harness::peer::{Peer, publish};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::tls_server::{Manner, ONLY_12, ONLY_13, TlsServer};
use super::super::harness::wait_until;
use super::engine;

/// What is sent towards a side that does not read, in messages of 256 KiB: far more than all sockets hold.
const MESSAGES: u32 = 128;

fn payload(number: u32) -> Vec<u8> {
    (0..65_536_u32)
        .flat_map(|place| (place ^ number.rotate_left(16)).to_be_bytes())
        .collect()
}

/// Waits until the engine has stopped reading, which shows in its processor time standing still.
fn until_held_back(ringbeam: &Ringbeam) {
    let mut last = 0;
    let mut rounds = 0;
    wait_until("the engine to hold back", || {
        let path = format!("/proc/{}/schedstat", ringbeam.id());
        let tasks = std::fs::read_dir(format!("/proc/{}/task", ringbeam.id())).unwrap();
        let of = |path: String| std::fs::read_to_string(path).unwrap_or_default();
        let ran: u64 = tasks
            .flatten()
            .map(|task| of(format!("{}/schedstat", task.path().display())))
            .chain([of(path)])
            .filter_map(|text| text.split(' ').next()?.parse::<u64>().ok())
            .sum();
        let is_still = ran.abs_diff(last) < 1_000_000;
        rounds = if is_still { rounds + 1 } else { 0 };
        last = ran;
        rounds > 20
    });
}

#[test]
fn b_keep_5_an_upstream_that_does_not_read_holds_the_device_back_and_loses_nothing() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        server.narrow();
        let ringbeam = engine(&authority, server.address());
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
        let before = ringbeam.resident_bytes();
        let mut sending = Peer::from(device.stream().try_clone().unwrap());
        scope(|scope| {
            let sender = scope.spawn(move || {
                for number in 0..MESSAGES {
                    sending.send(&publish("t", &payload(number)));
                }
            });
            until_held_back(&ringbeam);
            assert!(!sender.is_finished(), "it takes everything");
            let held = ringbeam.resident_bytes();
            assert!(held < before + (4 << 20), "from {before} to {held} bytes");
            // The other direction goes on meanwhile.
            peer.send(&publish("d", b"meanwhile"));
            device.expect(&publish("d", b"meanwhile"));
            let topic = format!("t/{}", new_imsi(1));
            for number in 0..MESSAGES {
                peer.expect(&publish(&topic, &payload(number)));
            }
        });
        device.send(&[0xe0, 0]);
        assert_eq!(peer.rest(), [0xe0, 0]);
    }
}

#[test]
fn b_keep_5_a_device_that_does_not_read_holds_the_upstream_back_and_loses_nothing() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let ringbeam = engine(&authority, server.address());
        let device = Peer::connect_narrow(new_sim(1), ringbeam.address());
        let (mut device, mut peer) = server.session_of(device, 4);
        let before = ringbeam.resident_bytes();
        scope(|scope| {
            let sender = scope.spawn(|| {
                for number in 0..MESSAGES {
                    peer.send(&publish("d", &payload(number)));
                }
            });
            until_held_back(&ringbeam);
            assert!(!sender.is_finished(), "it takes everything");
            let held = ringbeam.resident_bytes();
            assert!(held < before + (4 << 20), "from {before} to {held} bytes");
            // The device's own messages pass meanwhile; their reader is busy, so they are looked for below.
            device.send(&publish("t", b"meanwhile"));
            for number in 0..MESSAGES {
                device.expect(&publish("d", &payload(number)));
            }
        });
        let topic = format!("t/{}", new_imsi(1));
        peer.expect(&publish(&topic, b"meanwhile"));
    }
}

#[test]
fn b_keep_5_an_upstream_over_tls_that_stalls_is_closed_with_its_own_reason() {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    server.narrow();
    let ringbeam = Setup::new(&tls_fleet(server.address()))
        .section(&authority.section())
        .engine("stall_timeout_ms = 1000")
        .start();
    let (mut device, _peer) = server.session(ringbeam.address(), new_sim(1), 4);
    let message = publish("t", &vec![0; 1 << 20]);
    let mut sent = 0;
    while device.try_send(&message).is_ok() {
        sent += message.len();
        assert!(sent < 1 << 30, "it takes everything and passes nothing");
    }
    ringbeam.wait_for_log(&[("reason", "upstream_stalled")]);
}
