//! Culprits: an upstream that closes at a message is not given it for ever. A loss that follows twice upon the same
//! request ends the session, as it would without renewal.

use crate::harness::fleet::{new_imsi, new_sim};
use crate::harness::mosquitto::Subscriber;
use crate::harness::mosquitto::client;
use crate::harness::peer::{Peer, Upstream, connack};
use crate::harness::ringbeam::Ringbeam;

use super::broker::Broker;
use super::client::{Client, Login};
use super::{
    acknowledged_publish, acknowledgement, plain_publish, renewing_fleet, suback, subscribe,
};

/// What a device is told whose upstream closed.
fn told(version: u8) -> &'static [u8] {
    if version >= 5 { &[0xe0, 1, 0x80] } else { &[] }
}

#[test]
fn b_tok_2_mosquitto_gets_a_message_that_is_too_large_for_it_twice() {
    let broker = Broker::start(|_| "max_packet_size 1000".to_owned());
    let ringbeam = Ringbeam::start(&renewing_fleet(broker.address()));
    let mut watcher = Subscriber::start(None, broker.address(), &["-t", "will", "-t", "end"]);
    let login = Login {
        version: 4,
        client_id: "device",
        is_clean: true,
        will: Some("will"),
    };
    let mut device = Client::connect(new_sim(1), ringbeam.address(), login);
    device.publish("t", 1, &"x".repeat(2_000));
    device.publish("t", 1, "behind");
    ringbeam.wait_for_log(&[("message", "session ended")]);
    let log = broker.log();
    assert_eq!(log.matches("as device (").count(), 2, "{log}");
    // One will for each of the two, and the reason is the one that there is without renewal.
    let mut command = client("mosquitto_pub", None, broker.address());
    assert!(
        command
            .args(["-t", "end", "-m", "end"])
            .status()
            .unwrap()
            .success()
    );
    let mut wills = 0;
    while watcher.message() != "end 0 0 end" {
        wills += 1;
    }
    assert!(wills <= 2, "{wills} wills");
    let text = ringbeam.log_text();
    assert!(!text.contains("renewal_failed"), "{text}");
}

#[test]
fn b_tok_2_a_request_that_upstreams_close_at_is_sent_twice_whatever_stands_behind_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let topic = format!("t/{}", new_imsi(1));
    let mut count = 0;
    for version in [3, 4, 5] {
        let message =
            |first, topic: &str, id| acknowledged_publish(version, first, topic, id, b"x");
        let behind = message(0x32, "t", 20);
        let subscription = subscribe(version, 10, &[("forbidden", 1)]);
        let rows = [
            (message(0x32, "t", 10), message(0x32, &topic, 10)),
            (message(0x34, "t", 10), message(0x34, &topic, 10)),
            (subscription.clone(), subscription),
        ];
        for (sent, seen) in rows {
            let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
            // What came before it is answered.
            device.send(&message(0x32, "t", 9));
            peer.expect(&message(0x32, &topic, 9));
            device.send(&[&sent[..], &behind].concat());
            peer.expect(&seen);
            peer.send(&acknowledgement(4, 9));
            device.expect(&acknowledgement(4, 9));
            drop(peer);
            let (mut peer, _) = upstream.accept_connect(connack(version));
            let again = peer.packet();
            assert_eq!(again[0] & 0xf7, seen[0]);
            assert_eq!(again[1..], seen[1..]);
            // Before it is answered there is more.
            device.send(&message(0x32, "t", 30));
            drop(peer);
            assert_eq!(device.rest(), told(version));
            drop(device);
            count += 1;
            ringbeam.wait_for_logs(count, "message", "session ended");
        }
    }
    let ended: Vec<_> = ringbeam
        .log_lines()
        .into_iter()
        .filter(|line| line["message"] == "session ended")
        .map(|line| line["reason"].clone())
        .collect();
    // What the peer had not read makes a reset of its close.
    let is_loss = |reason| reason == "upstream_closed" || reason == "upstream_reset";
    assert!(ended.iter().all(is_loss), "{ended:?}");
    assert!(upstream.is_untouched());
}

#[test]
fn b_tok_2_upstreams_that_answer_in_between_are_lost_for_other_reasons() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let topic = format!("t/{}", new_imsi(1));
    for id in 1..=4 {
        device.send(&acknowledged_publish(4, 0x32, "t", id, b"x"));
        peer.expect(&acknowledged_publish(4, 0x32, &topic, id, b"x"));
    }
    // Each gets one further.
    for id in 1..=4_u8 {
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(4));
        peer.expect(&acknowledged_publish(4, 0x3a, &topic, id, b"x"));
        peer.send(&acknowledgement(4, u16::from(id)));
        device.expect(&acknowledgement(4, u16::from(id)));
    }
    drop(peer);
    let (mut peer, _) = upstream.accept_connect(connack(4));
    super::expect_passage(&mut device, &mut peer, 4);
}

#[test]
fn b_tok_2_a_v5_device_is_told_by_the_upstream_itself_why_it_closes_again() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let dismissal = [0xe0, 2, 0x87, 0];
    let topic = format!("t/{}", new_imsi(1));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    device.send(&acknowledged_publish(5, 0x32, "t", 10, b"x"));
    peer.expect(&acknowledged_publish(5, 0x32, &topic, 10, b"x"));
    peer.send(&dismissal);
    peer.expect_closed();
    drop(peer);
    let (mut peer, _) = upstream.accept_connect(connack(5));
    peer.expect(&acknowledged_publish(5, 0x3a, &topic, 10, b"x"));
    peer.send(&dismissal);
    assert_eq!(device.rest(), dismissal);
    drop((device, peer));
    ringbeam.wait_for_log(&[("reason", "upstream_disconnect")]);
    // An upstream that shuts down, and shuts down again, has nothing against the message.
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    device.send(&acknowledged_publish(5, 0x32, "t", 10, b"x"));
    peer.expect(&acknowledged_publish(5, 0x32, &topic, 10, b"x"));
    for _ in 0..2 {
        peer.send(&[0xe0, 2, 0x8b, 0]);
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(5));
        peer.expect(&acknowledged_publish(5, 0x3a, &topic, 10, b"x"));
    }
    peer.send(&acknowledgement(4, 10));
    device.expect(&acknowledgement(4, 10));
}

#[test]
fn b_tok_2_filters_that_are_not_allowed_any_more_are_asked_for_twice() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&subscribe(4, 1, &[("a", 1)]));
    peer.packet();
    peer.send(&suback(4, 1, &[1]));
    device.expect(&suback(4, 1, &[1]));
    for _ in 0..2 {
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(4));
        let asked = peer.packet();
        assert_eq!(
            asked,
            subscribe(4, u16::from_be_bytes([asked[2], asked[3]]), &[("a", 1)])
        );
    }
    drop(peer);
    device.expect_closed();
    assert!(upstream.is_untouched());
    // What passes at QoS 0 is never said again, so that it is never why.
    let (mut device, mut peer): (Peer, Peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    for _ in 0..3 {
        device.send(&plain_publish(4, 0x30, "t", b"x"));
        peer.packet();
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(4));
    }
    super::expect_passage(&mut device, &mut peer, 4);
}
