//! Rivals: a device that comes back while its old connection looks open. The broker keeps the newer session, and the
//! old one's renewal does not fight it.

use std::time::Duration;

use crate::harness::fleet::new_sim;
use crate::harness::mosquitto::{Subscriber, client};
use crate::harness::peer::{Peer, Upstream, connack, connect_packet, packet, string};
use crate::harness::ringbeam::{Ringbeam, Setup};
use crate::harness::wait_until;

use super::broker::Broker;
use super::client::{Client, Login};
use super::{DISCONNECT, PINGREQ, PINGRESP, expect_passage, renewing_fleet};

/// How long somebody is watched who must not do something.
const WATCHED: Duration = Duration::from_millis(1_200);

/// What a device is told whose session was taken over.
fn told(version: u8) -> &'static [u8] {
    if version >= 5 { &[0xe0, 1, 0x8e] } else { &[] }
}

/// A device's CONNECT that nobody has answered yet: the device's end and the upstream's.
fn coming(upstream: &Upstream, ringbeam: &Ringbeam, version: u8, client_id: &str) -> (Peer, Peer) {
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(version, client_id));
    let mut peer = upstream.accept();
    assert_eq!(peer.packet(), connect_packet(version, client_id));
    (device, peer)
}

#[test]
fn b_tok_2_a_device_that_was_stopped_comes_back_and_is_left_alone() {
    for version in [4_u8, 5] {
        let broker = Broker::start(|_| String::new());
        let ringbeam = Ringbeam::start(&renewing_fleet(broker.address()));
        let mut watcher = Subscriber::start(None, broker.address(), &["-t", "will", "-t", "end"]);
        let options = [
            "-V",
            if version == 5 { "mqttv5" } else { "mqttv311" },
            "-k",
            "120",
            "-i",
            "device",
            "-t",
            "commands",
            "--will-topic",
            "will",
            "--will-payload",
            "gone",
        ];
        let stopped = Subscriber::start(Some(new_sim(1)), ringbeam.address(), &options);
        stopped.signal("STOP");
        let login = Login {
            version,
            client_id: "device",
            is_clean: true,
            will: Some("will"),
        };
        let mut back = Client::connect(new_sim(1), ringbeam.address(), login);
        ringbeam.wait_for_logs(1, "message", "session ended");
        back.subscribe("commands", 1);
        for number in 0..30 {
            let payload = number.to_string();
            let mut command = client("mosquitto_pub", None, broker.address());
            command.args(["-t", "commands", "-q", "1", "-m", &payload]);
            assert!(command.status().unwrap().success());
            back.turn_until_payload(&payload);
        }
        assert_eq!(back.received().len(), 30);
        let log = broker.log();
        let connected = log.matches("as device (").count();
        assert_eq!(connected, 2, "{log}");
        // One will at most: what comes behind it is seen.
        let mut command = client("mosquitto_pub", None, broker.address());
        assert!(
            command
                .args(["-t", "end", "-m", "end"])
                .status()
                .unwrap()
                .success()
        );
        let first = watcher.message();
        if first != "end 0 0 end" {
            assert_eq!(first, "will 0 0 gone");
            assert_eq!(watcher.message(), "end 0 0 end");
        }
        assert!(!ringbeam.log_text().contains("upstream renewed"));
        stopped.signal("CONT");
    }
}

#[test]
fn b_tok_2_while_a_newer_connect_is_under_way_nothing_is_dialed_and_its_connack_ends_the_older() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for (round, version) in (1..).zip([3, 4, 5]) {
        let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        let (mut new, mut new_peer) = coming(&upstream, &ringbeam, version, "device");
        drop(old_peer);
        ringbeam.wait_for_logs(round, "message", "upstream lost");
        new.expect_silence(WATCHED);
        assert!(upstream.is_untouched());
        // It is served all the while.
        old.send(&PINGREQ);
        old.expect(&PINGRESP);
        new_peer.send(connack(version));
        new.expect(connack(version));
        assert_eq!(old.rest(), told(version));
        drop(old);
        ringbeam.wait_for_logs(round, "reason", "taken_over");
        expect_passage(&mut new, &mut new_peer, version);
        // The newer one is renewed as ever.
        drop(new_peer);
        let (mut new_peer, _) = upstream.accept_connect(connack(version));
        expect_passage(&mut new, &mut new_peer, version);
        new.send(&DISCONNECT);
        assert_eq!(new_peer.rest(), DISCONNECT);
        assert!(upstream.is_untouched());
    }
}

#[test]
fn b_tok_2_an_older_session_ends_also_where_the_broker_has_not_closed_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for version in [4, 5] {
        let (mut old, mut old_peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        let (mut new, mut new_peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        assert_eq!(old.rest(), told(version));
        // B-KEEP-4: no DISCONNECT.
        old_peer.expect_closed();
        expect_passage(&mut new, &mut new_peer, version);
    }
}

#[test]
fn b_tok_2_a_newer_session_that_is_refused_lets_the_older_one_go_on() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&renewing_fleet(upstream.address()))
        .engine("upstream_timeout_ms = 1500")
        .start();
    // Refused; closed without a word; no answer ever; the device goes away.
    for how in 0..4 {
        let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        let (mut new, mut new_peer) = coming(&upstream, &ringbeam, 4, "device");
        drop(old_peer);
        ringbeam.wait_for_logs(how + 1, "message", "upstream lost");
        match how {
            0 => {
                new_peer.send(&[0x20, 2, 0, 5]);
                new.expect(&[0x20, 2, 0, 5]);
            }
            1 => drop(new_peer),
            2 => assert!(new_peer.rest().is_empty()),
            _ => drop(new),
        }
        let (mut old_peer, _) = upstream.accept_connect(connack(4));
        expect_passage(&mut old, &mut old_peer, 4);
        old.send(&DISCONNECT);
        assert_eq!(old_peer.rest(), DISCONNECT);
    }
    assert!(!ringbeam.log_text().contains("taken_over"));
}

#[test]
fn b_tok_2_a_renewal_that_awaits_its_connack_lets_go_before_the_newer_connect() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    for version in [4, 5] {
        let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        drop(old_peer);
        let mut opening = upstream.accept();
        opening.packet();
        let mut new = Peer::connect(new_sim(1), ringbeam.address());
        new.send(&connect_packet(version, "device"));
        // No will for it.
        assert_eq!(opening.rest(), DISCONNECT);
        let (mut new_peer, connect) = upstream.accept_connect(connack(version));
        assert_eq!(connect, connect_packet(version, "device"));
        new.expect(connack(version));
        assert_eq!(old.rest(), told(version));
        expect_passage(&mut new, &mut new_peer, version);
        assert!(upstream.is_untouched());
    }
}

#[test]
fn b_tok_2_a_renewal_that_is_being_opened_is_given_up_and_taken_up_again() {
    // A connection waits for its slot, so that it stays under way.
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&renewing_fleet(upstream.address()))
        .section("[upstream]\nconnects_per_second = 1")
        .start();
    let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    // Others take the slots that come next.
    let others: Vec<_> = (2..4)
        .map(|number| {
            let mut other = Peer::connect(new_sim(number), ringbeam.address());
            other.send(&connect_packet(4, "other"));
            other
        })
        .collect();
    drop(old_peer);
    ringbeam.wait_for_log(&[("message", "upstream lost")]);
    // It has a slot now, before the newer one.
    old.expect_silence(WATCHED);
    let mut new = Peer::connect(new_sim(1), ringbeam.address());
    new.send(&connect_packet(4, "device"));
    let taken: Vec<_> = others.iter().map(|_| upstream.accept()).collect();
    let (_new_peer, connect) = upstream.accept_connect(&[0x20, 2, 0, 5]);
    assert_eq!(connect, connect_packet(4, "device"));
    new.expect(&[0x20, 2, 0, 5]);
    let (mut old_peer, connect) = upstream.accept_connect(connack(4));
    assert_eq!(connect, connect_packet(4, "device"));
    expect_passage(&mut old, &mut old_peer, 4);
    drop((taken, others));
}

#[test]
fn b_tok_2_sessions_of_other_clients_do_not_wait_for_each_other() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    // Another client id; none at all.
    for (round, (one, other)) in (1..).zip([("device", "another"), ("", ""), ("device", "")]) {
        let mut old = Peer::connect(new_sim(1), ringbeam.address());
        old.send(&connect_packet(4, one));
        let (old_peer, _) = upstream.accept_connect(connack(4));
        old.expect(connack(4));
        let (mut new, mut new_peer) = coming(&upstream, &ringbeam, 4, other);
        drop(old_peer);
        let (mut old_peer, connect) = upstream.accept_connect(connack(4));
        assert_eq!(connect, connect_packet(4, one));
        new_peer.send(connack(4));
        new.expect(connack(4));
        expect_passage(&mut old, &mut old_peer, 4);
        expect_passage(&mut new, &mut new_peer, 4);
        ringbeam.wait_for_logs(round, "message", "upstream renewed");
    }
    // The same client id of another SIM.
    let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let (mut new, mut new_peer) = upstream.session(ringbeam.address(), new_sim(2), 4);
    drop(old_peer);
    let (mut old_peer, _) = upstream.accept_connect(connack(4));
    expect_passage(&mut old, &mut old_peer, 4);
    new.send(&PINGREQ);
    new_peer.expect(&PINGREQ);
    assert!(!ringbeam.log_text().contains("taken_over"));
}

#[test]
fn b_tok_2_a_newer_session_without_renewal_is_not_fought_either() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut old, old_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    // Its CONNECT is larger than what is kept for a renewal.
    let will = [string("will"), string(&"w".repeat(9_000))].concat();
    let body = [
        b"\x00\x04MQTT\x04\x06\x00\x3c",
        &string("device")[..],
        &will,
    ]
    .concat();
    let mut new = Peer::connect(new_sim(1), ringbeam.address());
    new.send(&packet(0x10, &body));
    let mut new_peer = upstream.accept();
    new_peer.packet();
    drop(old_peer);
    ringbeam.wait_for_log(&[("message", "upstream lost")]);
    new_peer.send(connack(4));
    new.expect(connack(4));
    assert_eq!(old.rest(), told(4));
    expect_passage(&mut new, &mut new_peer, 4);
    assert!(upstream.is_untouched());
    // One that comes after it does not end it: that is for the broker.
    let (mut newest, mut newest_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    expect_passage(&mut newest, &mut newest_peer, 4);
    expect_passage(&mut new, &mut new_peer, 4);
}

#[test]
fn b_tok_2_a_v5_client_id_that_the_upstream_assigned_is_one_like_others() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let assigned = |name: &str| packet(0x20, &[&[0, 0, 9, 0x12][..], &string(name)].concat());
    let nameless = |given: &str| {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(5, ""));
        let (peer, _) = upstream.accept_connect(&assigned(given));
        device.expect(&assigned(given));
        (device, peer)
    };
    let (mut first, first_peer) = nameless("given1");
    let (mut second, mut second_peer) = nameless("given2");
    // It comes back by the name that it was given.
    let mut back = Peer::connect(new_sim(1), ringbeam.address());
    back.send(&connect_packet(5, "given1"));
    let mut back_peer = upstream.accept();
    back_peer.packet();
    drop(first_peer);
    ringbeam.wait_for_log(&[("message", "upstream lost")]);
    back_peer.send(connack(5));
    back.expect(connack(5));
    assert_eq!(first.rest(), told(5));
    expect_passage(&mut back, &mut back_peer, 5);
    expect_passage(&mut second, &mut second_peer, 5);
    assert!(upstream.is_untouched());
}

#[test]
fn b_tok_2_a_device_that_comes_back_again_and_again_keeps_its_last_session() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let descriptors = ringbeam.descriptors();
    let mut devices = Vec::new();
    let (mut last, mut last_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    for _ in 0..20 {
        let (device, peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        devices.push(std::mem::replace(&mut last, device));
        drop(std::mem::replace(&mut last_peer, peer));
    }
    for device in &mut devices {
        device.expect_closed();
    }
    devices.clear();
    expect_passage(&mut last, &mut last_peer, 4);
    assert!(upstream.is_untouched());
    drop((last, last_peer));
    drop(upstream);
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= descriptors
    });
    ringbeam.end();
}
