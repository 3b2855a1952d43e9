//! Culprits: a loss that follows twice upon the same request is that request's doing (B-TOK-2).

use super::renewal::{KEPT, LOST, accept, lose, plain};
use super::*;

/// A message of QoS 1 or 2.
fn message(version: Version, qos: u8, id: u8) -> Vec<u8> {
    let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
    packet(
        0x30 | (qos << 1),
        &[b"\x00\x01a\x00", &[id][..], properties, b"x"].concat(),
    )
}

/// What the device sends, what is answered of it before each loss, and the CONNACK of the second upstream: whether
/// a second loss is the doing of something in it.
fn check(sent: &[Vec<u8>], answers: [&[u8]; 2], connack: &[u8], expected: bool) {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &sent.concat());
    pair.feed(Side::Upstream, answers[0]);
    lose(&mut pair);
    assert_eq!(pair.session.can_renew(), Ok(()), "there is no upstream");
    accept(&mut pair, connack);
    pair.feed(Side::Upstream, answers[1]);
    let result = if expected {
        Err(NotRenewable::SameRequest)
    } else {
        Ok(())
    };
    assert_eq!(
        pair.session.can_renew(),
        result,
        "{sent:02x?} {answers:02x?}"
    );
}

#[test]
fn b_tok_2_a_request_upon_which_two_upstreams_are_lost_is_why() {
    let one = |qos, id| message(Version::V311, qos, id);
    let none: [&[u8]; 2] = [b"", b""];
    for connack in [LOST, KEPT] {
        for qos in [1, 2] {
            check(&[one(qos, 1)], none, connack, true);
            // Whatever stands behind it, of whatever kind.
            check(
                &[one(qos, 1), one(3 - qos, 2), one(1, 3)],
                none,
                connack,
                true,
            );
            // Whatever was answered before it.
            let before: [&[u8]; 2] = [&[0x40, 2, 0, 1], b""];
            check(&[one(1, 1), one(qos, 2), one(1, 3)], before, connack, true);
            // The first upstream was lost upon another.
            let between: [&[u8]; 2] = [b"", &[0x40, 2, 0, 1]];
            check(&[one(1, 1), one(qos, 2)], between, connack, false);
        }
        let subscribe = subscribe(Version::V311, &[("a", 1)]);
        check(core::slice::from_ref(&subscribe), none, connack, true);
        check(&[unsubscribe(Version::V311, &["a"])], none, connack, true);
        check(
            &[subscribe, one(1, 1)],
            [b"", &[0x90, 3, 0, 9, 1]],
            connack,
            true,
        );
        // Of QoS 0, and PINGREQs, nothing is said again.
        check(
            &[publish(Version::V311, 0, "a", b""), [0xc0, 0].into()],
            none,
            connack,
            false,
        );
    }
}

#[test]
fn b_tok_2_a_pubrel_upon_which_two_upstreams_are_lost_is_why() {
    for connack in [LOST, KEPT] {
        let mut pair = plain(Version::V311);
        pair.feed(Side::Device, &message(Version::V311, 2, 1));
        pair.feed(Side::Upstream, &[0x50, 2, 0, 1]);
        pair.feed(Side::Device, &[0x62, 2, 0, 1]);
        lose(&mut pair);
        accept(&mut pair, connack);
        if connack == LOST {
            // That one gets the message first, and answers it.
            assert_eq!(pair.session.can_renew(), Ok(()));
            pair.feed(Side::Upstream, &[0x50, 2, 0, 1]);
        }
        assert_eq!(pair.session.can_renew(), Err(NotRenewable::SameRequest));
    }
}

#[test]
fn b_tok_2_what_the_device_sends_later_does_not_hide_it() {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &message(Version::V311, 1, 1));
    lose(&mut pair);
    accept(&mut pair, LOST);
    pair.feed(Side::Device, &message(Version::V311, 1, 2));
    pair.feed(Side::Device, &subscribe(Version::V311, &[("b", 0)]));
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::SameRequest));
    // Its answer comes after all: the next loss is another matter.
    pair.feed(Side::Upstream, &[0x40, 2, 0, 1]);
    assert_eq!(pair.session.can_renew(), Ok(()));
    lose(&mut pair);
    accept(&mut pair, LOST);
    // Another message with its identifier is another message.
    pair.feed(Side::Upstream, &[0x40, 2, 0, 2, 0x90, 3, 0, 9, 0]);
    pair.feed(Side::Device, &message(Version::V311, 1, 1));
    assert_eq!(pair.session.can_renew(), Ok(()));
}

#[test]
fn b_tok_2_filters_that_are_asked_for_here_may_be_why() {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &subscribe(Version::V311, &[("a", 1)]));
    pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 1]);
    for _ in 0..2 {
        lose(&mut pair);
        let asked = accept(&mut pair, LOST);
        assert_eq!(asked, packet(0x82, b"\xff\xff\x00\x01a\x01"));
    }
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::SameRequest));
    pair.feed(Side::Upstream, &[0x90, 3, 0xff, 0xff, 1]);
    assert_eq!(pair.session.can_renew(), Ok(()));
}

#[test]
fn b_tok_2_an_upstream_that_says_why_it_closes_accuses_nothing() {
    let connack = connack(Version::V5);
    for (code, is_excused) in [(0x80, false), (0x87, false), (0x89, true), (0x8b, true)] {
        let mut pair = plain(Version::V5);
        pair.feed(Side::Device, &message(Version::V5, 1, 1));
        for number in 0..3 {
            pair.feed(Side::Upstream, &[0xe0, 1, code]);
            assert_eq!(pair.end, Some(Cause::UpstreamDisconnect));
            if number == 1 && !is_excused {
                // The device is told by the upstream itself.
                assert_eq!(pair.session.can_renew(), Err(NotRenewable::SameRequest));
                assert_eq!(pair.sent(Side::Device), [0xe0, 1, code]);
                break;
            }
            assert_eq!(pair.sent(Side::Device), b"", "{code:02x} {number}");
            lose(&mut pair);
            accept(&mut pair, connack);
        }
    }
}

#[test]
fn b_tok_2_an_upstream_that_was_left_accuses_nothing() {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &message(Version::V311, 1, 1));
    for _ in 0..3 {
        pair.session.begin_renewal();
        pair.session.upstream_left(&mut Vec::new());
        accept(&mut pair, LOST);
        assert_eq!(pair.session.can_renew(), Ok(()));
    }
}
