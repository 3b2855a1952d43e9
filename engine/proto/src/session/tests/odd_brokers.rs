//! Odd brokers: what RabbitMQ 3.10 and aedes answer otherwise than the standard says, and what a renewal makes of
//! it (B-TOK-2).

use super::renewal::{KEPT, LOST, accept, lose, open, plain};
use super::*;
use crate::limits::RENEWAL_IN_FLIGHT_MAX;

fn twice(id: u16) -> Vec<u8> {
    packet(0x34, &[b"\x00\x01a", &id.to_be_bytes()[..], b"x"].concat())
}

fn acknowledgement(first: u8, id: u16) -> Vec<u8> {
    packet(first, &id.to_be_bytes())
}

#[test]
fn b_tok_2_a_message_of_qos_2_that_is_answered_by_puback_is_finished() {
    let mut pair = plain(Version::V311);
    for id in 1..=u16::try_from(2 * RENEWAL_IN_FLIGHT_MAX).unwrap() {
        pair.feed(Side::Device, &twice(id));
        pair.feed(Side::Upstream, &acknowledgement(0x40, id));
        assert_eq!(pair.sent(Side::Device), acknowledgement(0x40, id));
    }
    assert!(pair.session.is_quiet());
    // One is under way.
    pair.feed(Side::Device, &twice(9));
    lose(&mut pair);
    let again = [&[0x3c], &twice(9)[1..]].concat();
    assert_eq!(accept(&mut pair, LOST), again, "that one alone");
    // Its own PUBACK, and one of a message that came since.
    pair.feed(Side::Device, &twice(10));
    let answers = [acknowledgement(0x40, 9), acknowledgement(0x40, 10)].concat();
    pair.feed(Side::Upstream, &answers);
    assert_eq!(pair.sent(Side::Device), answers);
    assert!(pair.session.is_quiet());
}

#[test]
fn b_tok_2_a_device_that_has_a_pubrec_is_told_no_puback() {
    // Before and after its PUBREL.
    for is_released in [false, true] {
        let mut pair = plain(Version::V311);
        pair.feed(Side::Device, &twice(5));
        pair.feed(Side::Upstream, &acknowledgement(0x50, 5));
        if is_released {
            pair.feed(Side::Device, &acknowledgement(0x62, 5));
        }
        pair.sent(Side::Device);
        lose(&mut pair);
        accept(&mut pair, LOST);
        pair.feed(Side::Upstream, &acknowledgement(0x40, 5));
        if !is_released {
            assert_eq!(pair.sent(Side::Device), b"");
            // Another loss in between changes nothing.
            lose(&mut pair);
            assert_eq!(accept(&mut pair, LOST), b"");
            pair.feed(Side::Device, &acknowledgement(0x62, 5));
        }
        assert_eq!(pair.sent(Side::Device), acknowledgement(0x70, 5));
        assert_eq!(pair.sent(Side::Upstream), b"");
        assert!(pair.session.is_quiet());
    }
    // v5: a refusal takes back what it was told.
    let mut pair = plain(Version::V5);
    pair.feed(Side::Device, &packet(0x34, b"\x00\x01a\x00\x05\x00x"));
    pair.feed(Side::Upstream, &acknowledgement(0x50, 5));
    lose(&mut pair);
    accept(&mut pair, connack(Version::V5));
    pair.feed(Side::Upstream, &packet(0x40, &[0, 5, 0x97]));
    assert_eq!(pair.end, Some(Cause::RenewalFailed));
}

#[test]
fn b_tok_2_a_message_of_qos_1_that_is_answered_by_pubrec_goes_on_so() {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &packet(0x32, b"\x00\x01a\x00\x05x"));
    for (from, first) in [
        (Side::Upstream, 0x50),
        (Side::Device, 0x62),
        (Side::Upstream, 0x70),
    ] {
        pair.feed(from, &acknowledgement(first, 5));
    }
    assert!(pair.session.is_quiet());
    lose(&mut pair);
    assert_eq!(accept(&mut pair, LOST), b"");
}

#[test]
fn b_tok_2_a_delivery_of_qos_2_that_the_device_answers_by_puback_is_finished() {
    let mut pair = plain(Version::V311);
    pair.feed(Side::Upstream, &[twice(5), twice(6)].concat());
    pair.feed(Side::Device, &acknowledgement(0x40, 5));
    assert_eq!(pair.sent(Side::Upstream), acknowledgement(0x40, 5));
    lose(&mut pair);
    accept(&mut pair, LOST);
    pair.feed(Side::Device, &acknowledgement(0x40, 6));
    assert_eq!(pair.sent(Side::Upstream), b"");
    assert!(pair.session.is_quiet());
}

#[test]
fn b_tok_2_a_session_that_was_kept_is_asked_for_filters_of_qos_0_again() {
    let mut pair = plain(Version::V311);
    let filters = [("a/b", 0), ("a/#", 1), ("c", 2), ("d", 0)];
    pair.feed(Side::Device, &subscribe(Version::V311, &filters));
    // The third is granted less than was asked for.
    pair.feed(Side::Upstream, &[0x90, 6, 0, 9, 0, 1, 0, 0]);
    pair.sent(Side::Device);
    for _ in 0..2 {
        lose(&mut pair);
        let own = packet(0x82, b"\xff\xff\x00\x03a/b\x00\x00\x01c\x02\x00\x01d\x00");
        assert_eq!(accept(&mut pair, KEPT), own);
        pair.feed(Side::Upstream, &[0x90, 5, 0xff, 0xff, 0, 0, 0]);
        // What is retained comes once more; what was still under way of QoS 1 does not, and is new.
        let repeat = publish(Version::V311, 1, "a/b", b"old");
        let under_way = publish(Version::V311, 0b011, "a/b", b"new");
        let fresh = publish(Version::V311, 0, "a/b", b"new");
        pair.feed(Side::Upstream, &[&repeat[..], &under_way, &fresh].concat());
        assert_eq!(pair.sent(Side::Device), [&under_way[..], &fresh].concat());
        pair.feed(Side::Device, &[0x40, 2, 0, 7]);
        pair.sent(Side::Upstream);
    }
    // The device asks for itself.
    pair.feed(Side::Device, &subscribe(Version::V311, &[("a/b", 0)]));
    pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 0]);
    pair.sent(Side::Device);
    let retained = publish(Version::V311, 1, "a/b", b"old");
    pair.feed(Side::Upstream, &retained);
    assert_eq!(pair.sent(Side::Device), retained);
    // Refused now, it is not what the device was told.
    lose(&mut pair);
    accept(&mut pair, KEPT);
    pair.feed(Side::Upstream, &[0x90, 5, 0xff, 0xff, 0, 0, 0x80]);
    assert_eq!(pair.end, Some(Cause::RenewalFailed));
}

#[test]
fn b_tok_2_under_201509_every_filter_is_of_qos_0() {
    let mut pair = open(Version::V311, Platform::V201509, LOST);
    pair.feed(Side::Device, &subscribe(Version::V311, &[("a", 2)]));
    pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 0]);
    lose(&mut pair);
    let asked = packet(0x82, b"\xff\xff\x00\x01a\x00");
    assert_eq!(accept(&mut pair, KEPT), asked);
}

#[test]
fn b_tok_2_where_codes_and_filters_differ_what_was_asked_for_is_granted() {
    let filters = [("a", 0), ("a", 0), ("b", 1), ("c", 0)];
    let all = packet(0x82, b"\xff\xff\x00\x01a\x00\x00\x01b\x01\x00\x01c\x00");
    // aedes, one code for all, none for the last, one too many.
    let rows: [&[u8]; 4] = [&[0, 1, 0], &[1], &[0, 0, 1], &[0, 0, 1, 0, 0]];
    for codes in rows {
        let mut pair = plain(Version::V311);
        pair.feed(Side::Device, &subscribe(Version::V311, &filters));
        let suback = packet(0x90, &[&[0, 9], codes].concat());
        pair.feed(Side::Upstream, &suback);
        assert_eq!(pair.sent(Side::Device), suback);
        lose(&mut pair);
        assert_eq!(accept(&mut pair, LOST), all);
        // It may have granted less before.
        pair.feed(Side::Upstream, &packet(0x90, &[0xff, 0xff, 0, 0, 0]));
        assert_eq!((pair.end, pair.sent(Side::Device)), (None, Vec::new()));
        assert!(pair.session.is_quiet());
        // Nor need what is asked for here be answered code by code.
        lose(&mut pair);
        assert_eq!(accept(&mut pair, LOST), all);
        pair.feed(Side::Upstream, &packet(0x90, &[0xff, 0xff, 1]));
        assert_eq!(pair.end, None);
        assert!(pair.session.is_quiet());
        // All of it refused is refused.
        lose(&mut pair);
        accept(&mut pair, LOST);
        pair.feed(Side::Upstream, &packet(0x90, &[0xff, 0xff, 0x80]));
        assert_eq!(pair.end, Some(Cause::RenewalFailed));
    }
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &subscribe(Version::V311, &filters));
    pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 0x80]);
    lose(&mut pair);
    assert_eq!(accept(&mut pair, LOST), b"", "nothing was granted");
}

#[test]
fn b_tok_2_v5_an_unsubscribe_that_has_fewer_codes_succeeds() {
    let mut pair = plain(Version::V5);
    pair.feed(Side::Device, &subscribe(Version::V5, &[("a", 1), ("b", 1)]));
    pair.feed(Side::Upstream, &packet(0x90, &[0, 9, 0, 1, 1]));
    pair.feed(Side::Device, &unsubscribe(Version::V5, &["a", "a", "b"]));
    pair.feed(Side::Upstream, &packet(0xb0, &[0, 9, 0, 0, 0x80]));
    lose(&mut pair);
    assert_eq!(accept(&mut pair, connack(Version::V5)), b"");
}
