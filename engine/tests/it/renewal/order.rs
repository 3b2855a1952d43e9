//! What a new upstream is told, and in which order, packet by packet.

use crate::harness::fleet::{new_imsi, new_sim, old_imsi, old_sim};
use crate::harness::peer::{Peer, Upstream, connack, connect_packet, packet, publish, string};
use crate::harness::ringbeam::Ringbeam;

use super::{
    PINGREQ, PINGRESP, acknowledged_publish, acknowledgement, plain_publish, renewing_fleet,
    suback, subscribe,
};

const PUBACK: u8 = 4;
const PUBREC: u8 = 5;
const PUBREL: u8 = 6;
const PUBCOMP: u8 = 7;

/// A device with something unfinished of every kind.
struct Unfinished {
    version: u8,
    ringbeam: Ringbeam,
    upstream: Upstream,
    device: Peer,
    peer: Peer,
}

impl Unfinished {
    /// Subscribed to `s/{IMSI}` at QoS 2 and `p` at QoS 1, with messages 10 of QoS 1 and 11 to 13 of QoS 2,
    /// of which 12 is received and 13 released.
    fn begin(version: u8) -> Self {
        let upstream = Upstream::listen();
        let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        let own = format!("s/{}", new_imsi(1));
        for (id, filter, seen, qos) in [(1, "s/{{imsi}}", &*own, 2), (2, "p", "p", 1)] {
            device.send(&subscribe(version, id, &[(filter, qos)]));
            peer.expect(&subscribe(version, id, &[(seen, qos)]));
            peer.send(&suback(version, id, &[qos]));
            device.expect(&suback(version, id, &[qos]));
        }
        let mut unfinished = Self {
            version,
            ringbeam,
            upstream,
            device,
            peer,
        };
        for (first, id) in [(0x32, 10), (0x34, 11), (0x34, 12), (0x34, 13)] {
            let sent = acknowledged_publish(version, first, "t", id, &[id]);
            unfinished.device.send(&sent);
            let expected = unfinished.sent(first, id);
            unfinished.peer.expect(&expected);
        }
        for id in [12, 13] {
            unfinished.down(PUBREC, id);
        }
        unfinished.up(PUBREL, 13);
        unfinished
    }

    /// A message as it goes upstream.
    fn sent(&self, first: u8, id: u8) -> Vec<u8> {
        let topic = format!("t/{}", new_imsi(1));
        acknowledged_publish(self.version, first, &topic, id, &[id])
    }

    /// An acknowledgement passes upstream.
    fn up(&mut self, kind: u8, id: u16) {
        self.device.send(&acknowledgement(kind, id));
        self.peer.expect(&acknowledgement(kind, id));
    }

    /// An acknowledgement passes to the device.
    fn down(&mut self, kind: u8, id: u16) {
        self.peer.send(&acknowledgement(kind, id));
        self.device.expect(&acknowledgement(kind, id));
    }

    /// The upstream is lost; meanwhile the device sends a message of QoS 0, one of QoS 1, and asks whether
    /// anybody is there. Returns the CONNECT of the renewal.
    fn lose(&mut self, does_reset: bool) -> Vec<u8> {
        let listener = self.upstream.address();
        let scripted = std::mem::replace(&mut self.peer, Peer::connect([127, 0, 0, 1], listener));
        // The stand-in's other end is not the engine's.
        drop(self.upstream.accept());
        if does_reset {
            scripted.reset();
        } else {
            drop(scripted);
        }
        self.ringbeam.wait_for_log(&[("message", "upstream lost")]);
        self.device.send(&PINGREQ);
        self.device.expect(&PINGRESP);
        self.device
            .send(&plain_publish(self.version, 0x30, "t", b"0"));
        let late = acknowledged_publish(self.version, 0x32, "t", 14, &[14]);
        self.device.send(&late);
        self.peer = self.upstream.accept();
        self.peer.packet()
    }

    /// What the device sent meanwhile comes last, and nothing behind it.
    fn expect_what_waited(&mut self) {
        let topic = format!("t/{}", new_imsi(1));
        let plain = plain_publish(self.version, 0x30, &topic, b"0");
        self.peer.expect(&plain);
        let late = self.sent(0x32, 14);
        self.peer.expect(&late);
        self.device.send(&PINGREQ);
        self.peer.expect(&PINGREQ);
        self.peer.send(&PINGRESP);
        self.device.expect(&PINGRESP);
    }
}

#[test]
fn b_tok_1_a_broker_that_forgot_is_told_subscriptions_then_messages_then_what_waited() {
    for version in [4, 5] {
        let mut all = Unfinished::begin(version);
        let connect = all.lose(version == 5);
        let mut expected = connect_packet(version, "device");
        if version == 5 {
            // Clean start would end a session that may still be there.
            expected[9] = 0;
        }
        assert_eq!(connect, expected);
        all.peer.send(connack(version));
        let asked = all.peer.packet();
        let id = u16::from_be_bytes([asked[2], asked[3]]);
        assert!(
            ![10, 11, 12, 13, 14].contains(&id),
            "{id} is a message's already"
        );
        // v5: retained messages only where the subscription is new.
        let repeat = if version == 5 { 0x10 } else { 0 };
        let own = format!("s/{}", new_imsi(1));
        let filters = [(&*own, 2 | repeat), ("p", 1 | repeat)];
        assert_eq!(asked, subscribe(version, id, &filters));
        for (first, id) in [(0x3a, 10), (0x3c, 11), (0x3c, 12), (0x3c, 13)] {
            let again = all.sent(first, id);
            all.peer.expect(&again);
        }
        all.expect_what_waited();
        // Its answer is not the device's affair, nor is a second PUBREC.
        all.peer.send(&suback(version, id, &[2, 1]));
        all.down(PUBACK, 10);
        all.down(PUBREC, 11);
        all.peer.send(&acknowledgement(PUBREC, 12));
        all.peer.send(&acknowledgement(PUBREC, 13));
        // The device has released that one already.
        all.peer.expect(&acknowledgement(PUBREL, 13));
        all.down(PUBCOMP, 13);
        for id in [11, 12] {
            all.up(PUBREL, id);
            all.down(PUBCOMP, id);
        }
        all.down(PUBACK, 14);
        let renewed = all
            .ringbeam
            .wait_for_log(&[("message", "upstream renewed"), ("planned", "false")]);
        assert_eq!(renewed["attempts"], 1);
        // B-BILL-1: two SUBSCRIBEs and six messages, however often they were sent.
        all.device.send(&super::DISCONNECT);
        assert_eq!(all.peer.rest(), super::DISCONNECT);
        all.ringbeam.wait_for_log(&[
            ("reason", "device_disconnect"),
            ("in_mqtt", "8"),
            ("out_mqtt", "8"),
        ]);
    }
}

#[test]
fn b_tok_1_a_broker_that_kept_the_session_is_not_subscribed_to_again() {
    for version in [4, 5] {
        let mut all = Unfinished::begin(version);
        all.lose(false);
        let kept: &[u8] = if version == 5 {
            &[0x20, 3, 1, 0, 0]
        } else {
            &[0x20, 2, 1, 0]
        };
        all.peer.send(kept);
        // 12 waits for the device's PUBREL, and the broker knows of 13.
        for (first, id) in [(0x3a, 10), (0x3c, 11)] {
            let again = all.sent(first, id);
            all.peer.expect(&again);
        }
        all.peer.expect(&acknowledgement(PUBREL, 13));
        all.expect_what_waited();
        all.down(PUBACK, 10);
        all.down(PUBREC, 11);
        all.down(PUBCOMP, 13);
        for id in [11, 12] {
            all.up(PUBREL, id);
            all.down(PUBCOMP, id);
        }
        all.down(PUBACK, 14);
        // A subscription that was kept delivers.
        let down = plain_publish(version, 0x30, "p", b"down");
        all.peer.send(&down);
        all.device.expect(&down);
    }
}

#[test]
fn b_tok_1_v5_the_assigned_client_id_is_named_and_topic_aliases_are_not_offered() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(5, ""));
    // Topic alias maximum 10, assigned client id.
    let assigned = b"\x20\x0f\x00\x00\x0c\x22\x00\x0a\x12\x00\x06given1";
    let (peer, connect) = upstream.accept_connect(assigned);
    assert_eq!(connect, connect_packet(5, ""));
    // An alias would mean nothing to the next upstream.
    device.expect(b"\x20\x0c\x00\x00\x09\x12\x00\x06given1");
    drop(peer);
    let (mut peer, connect) = upstream.accept_connect(connack(5));
    let mut expected = connect_packet(5, "given1");
    expected[9] = 0;
    assert_eq!(connect, expected);
    device.send(&plain_publish(5, 0x30, "t", b"x"));
    peer.expect(&plain_publish(5, 0x30, &format!("t/{}", new_imsi(1)), b"x"));
}

#[test]
fn b_tok_1_retained_messages_that_the_device_has_are_held_back() {
    let mut all = Unfinished::begin(4);
    all.lose(false);
    all.peer.send(connack(4));
    let asked = all.peer.packet();
    assert_eq!(asked[0], 0x82);
    for _ in 0..4 {
        all.peer.packet();
    }
    all.expect_what_waited();
    all.peer.send(&suback(
        4,
        u16::from_be_bytes([asked[2], asked[3]]),
        &[2, 1],
    ));
    // Acknowledged here, since nobody else will.
    all.peer
        .send(&acknowledged_publish(4, 0x33, "p", 1, b"old"));
    all.peer.expect(&acknowledgement(PUBACK, 1));
    let own = format!("s/{}", new_imsi(1));
    all.peer
        .send(&acknowledged_publish(4, 0x35, &own, 2, b"old"));
    all.peer.expect(&acknowledgement(PUBREC, 2));
    all.peer.send(&acknowledgement(PUBREL, 2));
    all.peer.expect(&acknowledgement(PUBCOMP, 2));
    all.peer.send(&plain_publish(4, 0x31, "p", b"old"));
    // What is new passes, and after a SUBSCRIBE of the device's own so does what is retained.
    let new = publish("p", b"new");
    all.peer.send(&new);
    all.device.expect(&new);
    all.device.send(&subscribe(4, 20, &[("p", 1)]));
    all.peer.expect(&subscribe(4, 20, &[("p", 1)]));
    all.peer.send(&suback(4, 20, &[1]));
    all.device.expect(&suback(4, 20, &[1]));
    let retained = plain_publish(4, 0x31, "p", b"old");
    all.peer.send(&retained);
    all.device.expect(&retained);
}

#[test]
fn b_tok_1_deliveries_of_the_lost_broker_are_finished_with_the_device_alone() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    // 1 is unacknowledged, 2 unreceived, 3 received.
    for (first, id) in [(0x32, 1), (0x34, 2), (0x34, 3)] {
        let down = acknowledged_publish(4, first, "d", id, &[id]);
        peer.send(&down);
        device.expect(&down);
    }
    device.send(&acknowledgement(PUBREC, 3));
    peer.expect(&acknowledgement(PUBREC, 3));
    drop(peer);
    ringbeam.wait_for_log(&[("message", "upstream lost")]);
    let (mut peer, _) = upstream.accept_connect(connack(4));
    // The new broker knows of none of them.
    device.expect(&acknowledgement(PUBREL, 3));
    device.send(&acknowledgement(PUBACK, 1));
    device.send(&acknowledgement(PUBREC, 2));
    device.expect(&acknowledgement(PUBREL, 2));
    device.send(&acknowledgement(PUBCOMP, 2));
    device.send(&acknowledgement(PUBCOMP, 3));
    // Its own use of the same identifiers is another matter.
    let again = acknowledged_publish(4, 0x32, "d", 1, b"other");
    peer.send(&again);
    device.expect(&again);
    device.send(&acknowledgement(PUBACK, 1));
    peer.expect(&acknowledgement(PUBACK, 1));
}

#[test]
fn b_ver_2_under_201509_a_lost_broker_is_replaced_too() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), old_sim(1), 4);
    device.send(&subscribe(4, 1, &[("s", 2)]));
    peer.expect(&subscribe(4, 1, &[("s", 0)]));
    peer.send(&suback(4, 1, &[0]));
    device.expect(&suback(4, 1, &[0]));
    drop(peer);
    ringbeam.wait_for_log(&[("message", "upstream lost")]);
    device.send(&acknowledged_publish(4, 0x34, "t", 5, b"x"));
    let (mut peer, connect) = upstream.accept_connect(connack(4));
    assert_eq!(connect, connect_packet(4, "device"));
    let asked = peer.packet();
    let id = u16::from_be_bytes([asked[2], asked[3]]);
    assert_eq!(asked, subscribe(4, id, &[("s", 0)]));
    peer.send(&suback(4, id, &[0]));
    peer.expect(&publish(&format!("t/{}", old_imsi(1)), b"x"));
    device.expect(&acknowledgement(PUBREC, 5));
    device.send(&acknowledgement(PUBREL, 5));
    device.expect(&acknowledgement(PUBCOMP, 5));
}

#[test]
fn b_tok_1_requests_without_an_answer_are_said_again() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let unsubscribe = packet(0xa2, &[&[0, 8][..], &string("b")].concat());
    for request in [&subscribe(4, 7, &[("a", 1)]), &unsubscribe] {
        device.send(request);
        peer.expect(request);
    }
    // A PINGREQ that is lost is answered here.
    device.send(&PINGREQ);
    peer.expect(&PINGREQ);
    drop(peer);
    device.expect(&PINGRESP);
    let (mut peer, _) = upstream.accept_connect(connack(4));
    peer.expect(&subscribe(4, 7, &[("a", 1)]));
    peer.expect(&unsubscribe);
    for answer in [&suback(4, 7, &[1])[..], &[0xb0, 2, 0, 8]] {
        peer.send(answer);
        device.expect(answer);
    }
}

#[test]
fn b_tok_1_packets_cut_anywhere_by_the_loss_arrive_whole_and_once() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&renewing_fleet(upstream.address()));
    let message = acknowledged_publish(4, 0x32, "t", 9, &[7; 40]);
    let again = acknowledged_publish(4, 0x32, &format!("t/{}", new_imsi(1)), 9, &[7; 40]);
    let down = publish("d", &[8; 40]);
    for (round, cut) in (1..).zip((1..message.len()).step_by(3)) {
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        // Half a message from either side when the connection is lost.
        device.send(&message[..cut]);
        peer.send(&down[..1]);
        drop(peer);
        ringbeam.wait_for_logs(round, "message", "upstream lost");
        device.send(&message[cut..]);
        (peer, _) = upstream.accept_connect(connack(4));
        peer.expect(&again);
        peer.send(&acknowledgement(PUBACK, 9));
        device.expect(&acknowledgement(PUBACK, 9));
        peer.send(&down);
        device.expect(&down);
    }
}
