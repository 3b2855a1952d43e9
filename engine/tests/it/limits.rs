//! Limits of a SIM, and messages that wait for company: held back, never lost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim};
use super::harness::peer::{Upstream, publish};
use super::harness::ringbeam::{Ringbeam, Setup};

#[test]
fn b_keep_5_a_limit_of_messages_holds_back_and_loses_nothing() {
    let upstream = Upstream::listen();
    let fleet = fleet_with(upstream.address(), |_, object| {
        object["ringbeamLimits"] = json!({ "messagesPerSecond": 100 });
    });
    let ringbeam = Ringbeam::start(&fleet);
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let topic = format!("t/{}", new_imsi(1));
    let began = Instant::now();
    let count = 2_000_u32;
    let payload = [7; 400];
    let sender = std::thread::spawn(move || {
        for number in 0..count {
            device.send(&publish(
                "t",
                &[&number.to_be_bytes()[..], &payload].concat(),
            ));
        }
        device.send(&[0xc0, 0]);
        device
    });
    // The others of its group go on meanwhile.
    let (mut other, mut other_peer) = upstream.session(ringbeam.address(), new_sim(2), 4);
    for _ in 0..50 {
        other.send(&publish("t", b"other"));
        other_peer.expect(&publish(&format!("t/{}", new_imsi(2)), b"other"));
    }
    for number in 0..count {
        peer.expect(&publish(
            &topic,
            &[&number.to_be_bytes()[..], &payload].concat(),
        ));
    }
    peer.expect(&[0xc0, 0]);
    // No earlier than the rate allows; a second's worth may come at once, and one read more.
    assert!(
        began.elapsed() > Duration::from_secs(15),
        "{:?}",
        began.elapsed()
    );
    let mut device = sender.join().unwrap();
    peer.send(&[0xd0, 0]);
    device.expect(&[0xd0, 0]);
}

#[test]
fn a_limit_of_bytes_holds_for_all_sessions_of_a_sim_and_large_messages_too() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .section("[limits]\nbytes_per_second = 1000000")
        .start();
    let (first, mut first_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let (second, mut second_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let message = publish("t", &vec![1; 3 << 20]);
    let arrives = publish(&format!("t/{}", new_imsi(1)), &vec![1; 3 << 20]);
    let began = Instant::now();
    let senders = [first, second].map(|mut device| {
        let message = message.clone();
        std::thread::spawn(move || {
            device.send(&message);
            device
        })
    });
    first_peer.expect(&arrives);
    second_peer.expect(&arrives);
    // Six MiB at a million bytes a second; a second's worth and what two pipes hold may pass at once.
    assert!(
        began.elapsed() > Duration::from_secs(2),
        "{:?}",
        began.elapsed()
    );
    for sender in senders {
        drop(sender.join().unwrap());
    }
}

#[test]
fn messages_that_wait_for_company_arrive_all_the_same() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("coalesce_us = 1000")
        .start();
    ringbeam.wait_for_log(&[("message", "accepting")]);
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let topic = format!("t/{}", new_imsi(1));
    for number in 0..500_u32 {
        for _ in 0..number % 7 + 1 {
            device.send(&publish("t", &number.to_be_bytes()));
        }
        for _ in 0..number % 7 + 1 {
            peer.expect(&publish(&topic, &number.to_be_bytes()));
        }
    }
}
