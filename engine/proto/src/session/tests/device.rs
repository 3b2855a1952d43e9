//! What comes from the device: what waits, what passes, what is counted.

use super::*;
use std::vec;

#[test]
fn b_con_3_a_second_connect_ends_the_session() {
    let connect = |version: Version| {
        let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
        let level = [version.level(), 2, 0, 60];
        packet(
            0x10,
            &[&text("MQTT"), &level[..], properties, &text("c")].concat(),
        )
    };
    check_refused(NONE, connect, Forbidden::Kind(Kind::Connect).into(), 0x82);
    // One that came before the CONNACK waits, and ends the session then.
    let mut pair = Pair::connecting(Version::V5, Platform::V201912, NONE);
    pair.feed(Side::Device, &connect(Version::V5));
    assert_eq!((pair.end, pair.sent(Side::Upstream)), (None, vec![]));
    pair.feed(Side::Upstream, connack(Version::V5));
    let twice = Cause::DeviceOffence(Forbidden::Kind(Kind::Connect).into());
    assert_eq!(pair.end, Some(twice));
    let told = [connack(Version::V5), &[0xe0, 1, 0x82]].concat();
    assert_eq!(pair.sent(Side::Device), told);
}

#[test]
fn b_con_4_what_comes_before_the_connack_waits_for_it() {
    for version in VERSIONS {
        let mut pair = Pair::connecting(version, Platform::V201912, APPEND);
        let early = [
            publish(version, 0, "a", b"1"),
            subscribe(version, &[("b", 0)]),
            vec![0xc0, 0],
        ]
        .concat();
        let mut outputs = Outputs::default();
        let received = pair.session.receive(Side::Device, &early, 0, &mut outputs);
        assert_eq!((received.consumed, received.next), (0, Next::Hold));
        pair.feed(Side::Device, &early);
        assert_eq!(pair.sent(Side::Upstream), b"");
        assert_eq!(pair.session.deadline().map(|(at_ms, _)| at_ms), None);
        pair.feed(Side::Upstream, connack(version));
        let sent = [
            publish(version, 0, &["a/", IMSI].concat(), b"1"),
            subscribe(version, &[("b", 0)]),
            vec![0xc0, 0],
        ];
        assert_eq!(pair.sent(Side::Upstream), sent.concat());
        assert_eq!(pair.sent(Side::Device), connack(version));
        assert_eq!(pair.end, None);
    }
}

#[test]
fn b_con_5_an_auth_exchange_passes_before_and_after_the_connack() {
    let opening = Opening {
        has_authentication_method: true,
        ..*Pair::connecting(Version::V5, Platform::V201912, NONE)
            .session
            .opening()
    };
    let mut pair = Pair::with(opening);
    let auth = |code: u8| packet(0xf0, &[&[code, 4, 0x15], &text("m")[..]].concat());
    pair.feed(Side::Upstream, &auth(0x18));
    assert_eq!(pair.sent(Side::Device), auth(0x18));
    // The exchange goes on; what stands behind it waits.
    pair.feed(
        Side::Device,
        &[auth(0x18), vec![0xc0, 0], auth(0x18)].concat(),
    );
    assert_eq!(pair.sent(Side::Upstream), auth(0x18));
    pair.feed(Side::Upstream, connack(Version::V5));
    assert_eq!(
        pair.sent(Side::Upstream),
        [vec![0xc0, 0], auth(0x18)].concat()
    );
    pair.feed(Side::Device, &auth(0x19));
    pair.feed(Side::Upstream, &auth(0));
    assert_eq!(pair.sent(Side::Upstream), auth(0x19));
    assert_eq!(
        pair.sent(Side::Device),
        [connack(Version::V5), &auth(0)].concat()
    );
    assert_eq!(pair.end, None);
    // Without an authentication method in the CONNECT nothing may come before the CONNACK.
    let mut pair = Pair::connecting(Version::V5, Platform::V201912, NONE);
    pair.feed(Side::Device, &auth(0x18));
    assert_eq!((pair.end, pair.sent(Side::Upstream)), (None, vec![]));
    pair.feed(Side::Upstream, &auth(0x18));
    let first = Cause::UpstreamOffence(Forbidden::FirstPacket(Kind::Connack).into());
    assert_eq!(pair.end, Some(first));
}

#[test]
fn b_con_5_properties_aliases_and_response_topics_pass() {
    let message = |topic: &str, properties: &[u8]| {
        let length = [u8::try_from(properties.len()).unwrap()];
        packet(
            0x32,
            &[&text(topic), &[0, 7][..], &length, properties, b"x"].concat(),
        )
    };
    let response = [&[0x08][..], &text("r/{{imsi}}"), &[0x23, 0, 1]].concat();
    check(
        Version::V5,
        BOTH,
        &[
            message("a/{{simId}}", &response),
            message("", &[0x23, 0, 1]),
        ]
        .concat(),
        &[
            message(&["a/", SIM_ID, "/", IMSI].concat(), &response),
            message("", &[0x23, 0, 1]),
        ]
        .concat(),
    );
    let options = 0b0010_1110;
    let subscription = |filter: &str| {
        let properties = [&[8, 0x0b, 5, 0x26, 0, 1, b'k', 0, 0][..], &text(filter)].concat();
        packet(0x82, &[&[0, 9], &properties[..], &[options]].concat())
    };
    check(
        Version::V5,
        BOTH,
        &subscription("{{imsi}}"),
        &subscription(IMSI),
    );
}

#[test]
fn b_bill_1_each_leg_counts_what_is_billed_when_it_is_whole() {
    let mut pair = Pair::open(Version::V311, Platform::V201912, APPEND);
    let message = publish(Version::V311, 0b0010, "t", b"payload");
    let (last, front) = message.split_last().unwrap();
    let counts = |device_leg, upstream_leg| Counts {
        device_leg,
        upstream_leg,
    };
    pair.feed(Side::Device, front);
    assert_eq!(pair.session.counts(), counts(0, 0));
    pair.feed(Side::Device, &[*last]);
    assert_eq!(pair.session.counts(), counts(1, 1));
    // A repeated packet counts again; what is not billed does not.
    pair.feed(
        Side::Device,
        &publish(Version::V311, 0b1010, "t", b"payload"),
    );
    pair.feed(Side::Device, &[0x40, 2, 0, 1, 0xc0, 0]);
    assert_eq!(pair.session.counts(), counts(2, 2));
    pair.feed(
        Side::Device,
        &subscribe(Version::V311, &[("a", 0), ("b", 0)]),
    );
    pair.feed(Side::Device, &unsubscribe(Version::V311, &["a", "b"]));
    assert_eq!(pair.session.counts(), counts(4, 4));
    pair.feed(
        Side::Upstream,
        &[0x90, 4, 0, 9, 0, 0, 0xb0, 2, 0, 9, 0xd0, 0],
    );
    pair.feed(Side::Upstream, &publish(Version::V311, 0, "t", b""));
    assert_eq!(pair.session.counts(), counts(5, 5));
    // What came in and did not get out counts on its own leg alone.
    let mut outputs = Outputs::default();
    let received = pair
        .session
        .receive(Side::Device, &message, 0, &mut outputs);
    assert_eq!(received.consumed, message.len());
    assert_eq!(outputs.forward.take(outputs.forward.pending_bytes() - 1), 0);
    assert_eq!(pair.session.counts(), counts(6, 5));
    // A packet that ends the session is not billed.
    pair.feed(Side::Device, &publish(Version::V311, 0, "#", b""));
    assert_eq!(pair.session.counts(), counts(6, 5));
}

#[test]
fn what_the_caller_has_to_say_goes_between_two_packets() {
    let mut pair = Pair::open(Version::V311, Platform::V201509, NONE);
    let message = publish(Version::V311, 0, "t", b"payload");
    let mut outputs = Outputs {
        due: vec![0x40, 2, 0, 7],
        ..Outputs::default()
    };
    let mut sent = Vec::new();
    pair.feed(Side::Device, &message[..8]);
    let received = pair
        .session
        .receive(Side::Device, &message[8..10], 0, &mut outputs);
    assert_eq!(received.consumed, 2);
    assert_eq!(outputs.due.len(), 4);
    let input = [&message[10..], &[0xc0, 0]].concat();
    outputs.forward.clear(0);
    pair.session.receive(Side::Device, &input, 0, &mut outputs);
    assert!(outputs.due.is_empty());
    for slice in outputs.forward.slices(&input) {
        sent.extend_from_slice(slice);
    }
    assert_eq!(sent, [&message[10..], &[0x40, 2, 0, 7, 0xc0, 0]].concat());
}
