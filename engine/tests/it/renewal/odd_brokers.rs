//! Odd brokers: what RabbitMQ 3.10 and aedes 0.51 answer, byte for byte, and what a renewal makes of it.

use crate::harness::fleet::{new_imsi, new_sim};
use crate::harness::peer::{Peer, Upstream, connack};
use crate::harness::ringbeam::Ringbeam;

use super::{
    PINGREQ, PINGRESP, acknowledged_publish, acknowledgement, expect_passage, plain_publish,
    renewing_fleet, suback, subscribe,
};

const PUBACK: u8 = 4;
/// RabbitMQ 3.10 and aedes speak this one.
const VERSION: u8 = 4;
/// Whoever has clean session 0 is told that its session is there.
const KEPT: [u8; 4] = [0x20, 2, 1, 0];

/// Everything before this has been heard by the device.
fn expect_answer(device: &mut Peer, peer: &mut Peer) {
    device.send(&PINGREQ);
    peer.expect(&PINGREQ);
    peer.send(&PINGRESP);
    device.expect(&PINGRESP);
}

#[test]
fn b_tok_2_rabbitmq_answers_a_message_of_qos_2_with_puback_and_it_comes_once() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), VERSION);
    let topic = format!("t/{}", new_imsi(1));
    let pass = |device: &mut Peer, peer: &mut Peer, id: u16| {
        let low = u8::try_from(id % 200 + 1).unwrap();
        device.send(&acknowledged_publish(VERSION, 0x34, "t", low, b"x"));
        peer.expect(&acknowledged_publish(VERSION, 0x34, &topic, low, b"x"));
        peer.send(&acknowledgement(PUBACK, u16::from(low)));
        device.expect(&acknowledgement(PUBACK, u16::from(low)));
    };
    // The device must see each of them, before and after renewals, and none is sent again.
    for _ in 0..3 {
        for id in 0..200 {
            pass(&mut device, &mut peer, id);
        }
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(VERSION));
        expect_passage(&mut device, &mut peer, VERSION);
    }
    // One that is not answered is, and its PUBACK goes to the device.
    device.send(&acknowledged_publish(VERSION, 0x34, "t", 5, b"y"));
    peer.expect(&acknowledged_publish(VERSION, 0x34, &topic, 5, b"y"));
    drop(peer);
    (peer, _) = upstream.accept_connect(&KEPT);
    peer.expect(&acknowledged_publish(VERSION, 0x3c, &topic, 5, b"y"));
    peer.send(&acknowledgement(PUBACK, 5));
    device.expect(&acknowledgement(PUBACK, 5));
    expect_answer(&mut device, &mut peer);
}

#[test]
fn b_tok_2_rabbitmq_keeps_a_session_without_its_filters_of_qos_0_and_is_asked_for_them_again() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), VERSION);
    let filters = [("zero", 0), ("one", 1), ("two", 2)];
    device.send(&subscribe(VERSION, 1, &filters));
    peer.expect(&subscribe(VERSION, 1, &filters));
    peer.send(&suback(VERSION, 1, &[0, 1, 1]));
    device.expect(&suback(VERSION, 1, &[0, 1, 1]));
    for _ in 0..2 {
        drop(peer);
        (peer, _) = upstream.accept_connect(&KEPT);
        let asked = peer.packet();
        let id = u16::from_be_bytes([asked[2], asked[3]]);
        assert_eq!(asked, subscribe(VERSION, id, &[("zero", 0)]));
        // Neither its answer nor the retained message comes to the device, but what is published does.
        peer.send(&suback(VERSION, id, &[0]));
        peer.send(&plain_publish(VERSION, 0x31, "zero", b"old"));
        let new = plain_publish(VERSION, 0x30, "zero", b"new");
        peer.send(&new);
        device.expect(&new);
    }
    expect_answer(&mut device, &mut peer);
}

#[test]
fn b_tok_2_aedes_answers_a_filter_that_is_named_twice_once_and_its_session_is_renewed() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), VERSION);
    let filters = [("a", 0), ("a", 0), ("b", 1), ("c", 0)];
    device.send(&subscribe(VERSION, 1, &filters));
    peer.expect(&subscribe(VERSION, 1, &filters));
    // The device gets it as it is.
    peer.send(&suback(VERSION, 1, &[0, 1, 0]));
    device.expect(&suback(VERSION, 1, &[0, 1, 0]));
    for _ in 0..2 {
        drop(peer);
        (peer, _) = upstream.accept_connect(connack(VERSION));
        let asked = peer.packet();
        let id = u16::from_be_bytes([asked[2], asked[3]]);
        assert_eq!(
            asked,
            subscribe(VERSION, id, &[("a", 0), ("b", 1), ("c", 0)])
        );
        peer.send(&suback(VERSION, id, &[0, 1, 0]));
        let message = plain_publish(VERSION, 0x30, "c", b"x");
        peer.send(&message);
        device.expect(&message);
    }
    expect_passage(&mut device, &mut peer, VERSION);
}
