//! Renewal, packet by packet: what the new upstream is sent, what the device sees of it (nothing), and
//! what ends the session (B-TOK-1).

use super::*;
use crate::limits::{RENEWAL_COPY_BYTES, RENEWAL_FILTERS_MAX, RENEWAL_IN_FLIGHT_MAX};

/// An established session whose upstream may be replaced; `connack` is what the device got.
pub(super) fn open(version: Version, platform: Platform, connack: &[u8]) -> Pair {
    let mut pair = Pair::connecting(version, platform, NONE);
    let opening = *pair.session.opening();
    pair.session = Session::renewing(opening, false, 0);
    pair.feed(Side::Upstream, connack);
    pair.sent(Side::Device);
    pair
}

pub(super) fn plain(version: Version) -> Pair {
    open(version, Platform::V201912, connack(version))
}

/// The upstream is lost; what the device gets at once.
pub(super) fn lose(pair: &mut Pair) -> Vec<u8> {
    assert_eq!(pair.session.can_renew(), Ok(()));
    pair.sent(Side::Upstream);
    pair.pending[index(Side::Upstream)].clear();
    pair.end = None;
    let mut device = Vec::new();
    pair.session.upstream_lost();
    pair.session.upstream_left(&mut device);
    device
}

/// What a new upstream is sent after its CONNACK.
pub(super) fn accept(pair: &mut Pair, connack: &[u8]) -> Vec<u8> {
    pair.feed(Side::Upstream, connack);
    pair.pump(Side::Device);
    pair.sent(Side::Upstream)
}

pub(super) const LOST: &[u8] = &[0x20, 2, 0, 0];
pub(super) const KEPT: &[u8] = &[0x20, 2, 1, 0];

#[test]
fn b_tok_1_unacknowledged_messages_are_sent_again_with_dup() {
    for (connack, is_kept) in [(LOST, false), (KEPT, true)] {
        let mut pair = plain(Version::V311);
        let first = packet(0x32, b"\x00\x01a\x00\x01one");
        let second = packet(0x34, b"\x00\x01a\x00\x02two");
        let third = packet(0x34, b"\x00\x01a\x00\x03three");
        pair.feed(Side::Device, &[&first[..], &second, &third].concat());
        // The device has released the second, the third is not received.
        pair.feed(Side::Upstream, &[0x50, 2, 0, 2]);
        pair.feed(Side::Device, &[0x62, 2, 0, 2]);
        assert_eq!(pair.sent(Side::Device), [0x50, 2, 0, 2]);
        assert!(!pair.session.is_quiet());
        assert_eq!(lose(&mut pair), b"");
        let dup = |message: &[u8]| [&[message[0] | 8], &message[1..]].concat();
        let sent = accept(&mut pair, connack);
        if is_kept {
            let expected = [&dup(&first)[..], &[0x62, 2, 0, 2], &dup(&third)].concat();
            assert_eq!(sent, expected);
        } else {
            let expected = [dup(&first), dup(&second), dup(&third)].concat();
            assert_eq!(sent, expected);
            // The device has its PUBREC; its PUBREL goes to the new upstream now.
            pair.feed(Side::Upstream, &[0x50, 2, 0, 2]);
            assert_eq!(pair.sent(Side::Upstream), [0x62, 2, 0, 2]);
        }
        assert_eq!(pair.sent(Side::Device), b"");
        let answers = [0x40, 2, 0, 1, 0x70, 2, 0, 2, 0x50, 2, 0, 3];
        pair.feed(Side::Upstream, &answers);
        assert_eq!(pair.sent(Side::Device), answers);
        pair.feed(Side::Device, &[0x62, 2, 0, 3]);
        pair.feed(Side::Upstream, &[0x70, 2, 0, 3]);
        assert!(pair.session.is_quiet());
        // B-BILL-1: what was sent again is not billed.
        let counts = pair.session.counts();
        assert_eq!((counts.device_leg, counts.upstream_leg), (3, 3));
    }
}

#[test]
fn b_tok_1_subscriptions_are_asked_for_again_unless_kept() {
    let mut pair = plain(Version::V311);
    let asked = subscribe(Version::V311, &[("a/+", 1), ("b", 0)]);
    pair.feed(Side::Device, &asked);
    pair.feed(Side::Upstream, &[0x90, 4, 0, 9, 1, 0]);
    let unasked = unsubscribe(Version::V311, &["b"]);
    pair.feed(Side::Device, &unasked);
    pair.sent(Side::Device);
    lose(&mut pair);
    // The UNSUBSCRIBE is not answered: it comes behind.
    let own = packet(0x82, b"\xff\xff\x00\x03a/+\x01\x00\x01b\x00");
    assert_eq!(accept(&mut pair, LOST), [own, unasked].concat());
    // Our SUBACK, a retained message that comes again, one that is new, and the device's UNSUBACK.
    let repeat = publish(Version::V311, 0b011, "a/x", b"old");
    let fresh = publish(Version::V311, 0b010, "a/x", b"new");
    let unsuback = [0xb0, 2, 0, 9];
    pair.feed(Side::Upstream, &[0x90, 4, 0xff, 0xff, 1, 0]);
    pair.feed(Side::Upstream, &[&repeat[..], &fresh, &unsuback].concat());
    assert_eq!(pair.sent(Side::Device), [&fresh[..], &unsuback].concat());
    assert_eq!(pair.sent(Side::Upstream), [0x40, 2, 0, 7]);
    // B-BILL-1: the repeat passed on one leg only; a SUBSCRIBE of ours on none.
    let counts = pair.session.counts();
    assert_eq!((counts.device_leg, counts.upstream_leg), (3, 4));
    pair.feed(Side::Device, &[0x40, 2, 0, 7]);
    pair.sent(Side::Upstream);
    lose(&mut pair);
    assert_eq!(accept(&mut pair, KEPT), b"");
}

#[test]
fn b_tok_1_a_filter_that_is_granted_less_ends_the_session() {
    for code in [0, 0x80] {
        let mut pair = plain(Version::V311);
        pair.feed(Side::Device, &subscribe(Version::V311, &[("a", 1)]));
        pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 1]);
        lose(&mut pair);
        accept(&mut pair, LOST);
        pair.feed(Side::Upstream, &[0x90, 3, 0xff, 0xff, code]);
        assert_eq!(pair.end, Some(Cause::RenewalFailed));
    }
}

#[test]
fn b_tok_1_acknowledgements_of_old_deliveries_stay_here() {
    for connack in [LOST, KEPT] {
        let mut pair = plain(Version::V311);
        let old = publish(Version::V311, 0b010, "a", b"old");
        let twice = packet(0x34, b"\x00\x01a\x00\x08");
        pair.feed(Side::Upstream, &[&old[..], &twice].concat());
        pair.sent(Side::Device);
        lose(&mut pair);
        // Without an upstream: answered here, and held behind.
        pair.feed(Side::Device, &[0x50, 2, 0, 8, 0xc0, 0, 0x30, 3, 0, 1, b'a']);
        assert_eq!(pair.sent(Side::Device), [0xd0, 0]);
        assert_eq!(accept(&mut pair, connack), [0x30, 3, 0, 1, b'a']);
        let release: &[u8] = if connack == LOST {
            &[0x62, 2, 0, 8]
        } else {
            b""
        };
        assert_eq!(pair.sent(Side::Device), release);
        // The new upstream uses an identifier that the device has not acknowledged.
        let new = publish(Version::V311, 0b010, "a", b"new");
        pair.feed(Side::Upstream, &new);
        assert_eq!(pair.sent(Side::Device), b"");
        if connack == LOST {
            pair.feed(Side::Device, &[0x70, 2, 0, 8]);
        }
        pair.feed(Side::Device, &[0x40, 2, 0, 7]);
        assert_eq!(pair.sent(Side::Upstream), b"");
        pair.pump(Side::Upstream);
        assert_eq!(pair.sent(Side::Device), new);
        pair.feed(Side::Device, &[0x40, 2, 0, 7]);
        assert_eq!(pair.sent(Side::Upstream), [0x40, 2, 0, 7]);
    }
}

#[test]
fn b_tok_1_pings_are_answered_and_a_disconnect_ends() {
    for platform in [Platform::V201912, Platform::V201509] {
        let mut pair = open(Version::V311, platform, LOST);
        pair.feed(Side::Device, &[0xc0, 0]);
        assert!(!pair.session.is_quiet());
        assert_eq!(lose(&mut pair), [0xd0, 0]);
        pair.feed(Side::Device, &[0xc0, 0, 0xe0, 0]);
        assert_eq!(pair.sent(Side::Device), [0xd0, 0]);
        // A new upstream may have the CONNECT already, with its will.
        assert_eq!(pair.sent(Side::Upstream), [0xe0, 0]);
        assert_eq!(pair.end, Some(Cause::DeviceDisconnect));
        // B-VER-5, B-BILL-1: the second PINGREQ passed on one leg.
        let counts = pair.session.counts();
        let expected = if platform == Platform::V201509 {
            (2, 1)
        } else {
            (0, 0)
        };
        assert_eq!((counts.device_leg, counts.upstream_leg), expected);
    }
}

#[test]
fn b_tok_1_a_planned_renewal_takes_only_what_completes() {
    let mut pair = plain(Version::V311);
    pair.session.begin_renewal();
    let message = publish(Version::V311, 0, "a", b"x");
    pair.feed(Side::Device, &[&[0xc0, 0], &message[..]].concat());
    assert_eq!(pair.sent(Side::Upstream), [0xc0, 0]);
    assert!(!pair.session.is_quiet());
    pair.feed(Side::Upstream, &[0xd0, 0]);
    assert!(pair.session.is_quiet());
    pair.session.abandon_renewal();
    pair.pump(Side::Device);
    assert_eq!(pair.sent(Side::Upstream), message);
}

#[test]
fn b_tok_1_a_message_is_whole_or_not_begun() {
    let mut pair = plain(Version::V311);
    let message = publish(Version::V311, 0, "a", b"payload");
    pair.feed(Side::Device, &message[..message.len() - 1]);
    assert_eq!(pair.sent(Side::Upstream), b"");
    assert_eq!(pair.session.can_renew(), Ok(()));
    pair.feed(Side::Device, &message[message.len() - 1..]);
    assert_eq!(pair.sent(Side::Upstream), message);
    let large = publish(Version::V311, 0b010, "a", &std::vec![0; RENEWAL_COPY_BYTES]);
    pair.feed(Side::Device, &large[..100]);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::AmidMessage));
    pair.feed(Side::Device, &large[100..]);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::TooLarge));
    pair.feed(Side::Upstream, &[0x40, 2, 0, 7]);
    assert_eq!(pair.session.can_renew(), Ok(()));
    pair.feed(Side::Upstream, &large[..100]);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::AmidMessage));
    // Wherever its payload passes.
    let mut outputs = Outputs::default();
    for (from, expected) in [
        (Side::Upstream, Ok(())),
        (Side::Device, Err(NotRenewable::TooLarge)),
    ] {
        assert!(pair.session.may_splice(from));
        let left = pair.session.payload_left(from);
        assert_eq!(left, large.len() - 100);
        let session = &mut pair.session;
        session.passed_elsewhere(from, left - 1, 0, &mut outputs);
        assert_eq!(session.can_renew(), Err(NotRenewable::AmidMessage));
        session.passed_elsewhere(from, 1, 0, &mut outputs);
        assert_eq!(session.can_renew(), expected);
        pair.feed(Side::Device, &large[..100]);
    }
}

#[test]
fn b_tok_1_copies_are_bounded_and_never_wait_for_the_device() {
    let payload = std::vec![0; RENEWAL_COPY_BYTES / 2];
    let message = |flags: u8, id: u8| {
        packet(
            0x30 | flags,
            &[b"\x00\x01a\x00", &[id][..], &payload].concat(),
        )
    };
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &message(2, 1));
    pair.sent(Side::Upstream);
    pair.feed(Side::Device, &message(2, 2));
    assert_eq!(pair.sent(Side::Upstream), b"", "it waits for a PUBACK");
    pair.feed(Side::Upstream, &[0x40, 2, 0, 1]);
    pair.pump(Side::Device);
    assert_eq!(pair.sent(Side::Upstream), message(2, 2));
    // A PUBREL of the device may stand behind a message: that one must not wait for it.
    let mut pair = plain(Version::V311);
    pair.feed(Side::Device, &[message(4, 1), message(4, 2)].concat());
    assert_eq!(pair.sent(Side::Upstream).len(), 2 * message(4, 1).len());
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::TooLarge));
}

#[test]
fn b_tok_1_lists_are_bounded() {
    let mut pair = plain(Version::V311);
    for number in 0..=RENEWAL_IN_FLIGHT_MAX {
        let id = u16::try_from(number + 1).unwrap().to_be_bytes();
        pair.feed(
            Side::Upstream,
            &packet(0x32, &[b"\x00\x01a", &id[..]].concat()),
        );
    }
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::InFlight));
    let mut pair = plain(Version::V311);
    for number in 0..=RENEWAL_FILTERS_MAX {
        let filter = std::format!("f/{number}");
        pair.feed(Side::Device, &subscribe(Version::V311, &[(&filter, 0)]));
        pair.feed(Side::Upstream, &[0x90, 3, 0, 9, 0]);
    }
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::Subscriptions));
}

#[test]
fn b_tok_1_what_cannot_be_kept_true_ends_the_session() {
    // The device relies on a session that is gone.
    let mut pair = open(Version::V311, Platform::V201912, KEPT);
    lose(&mut pair);
    accept(&mut pair, LOST);
    assert_eq!(pair.end, Some(Cause::RenewalFailed));
    // The new upstream offers less.
    let mut pair = open(Version::V5, Platform::V201912, &[0x20, 3, 0, 0, 0]);
    lose(&mut pair);
    accept(&mut pair, &[0x20, 6, 0, 0, 3, 0x21, 0, 9]);
    assert_eq!(pair.end, Some(Cause::RenewalFailed));
    for (code, cause) in [(3, Cause::UpstreamRefused), (5, Cause::RenewalFailed)] {
        let mut pair = plain(Version::V311);
        lose(&mut pair);
        accept(&mut pair, &[0x20, 2, 0, code]);
        assert_eq!(pair.end, Some(cause));
        assert_eq!(pair.parting.clone().map(|parting| parting.code), Some(code));
        assert_eq!(pair.sent(Side::Device), b"");
    }
    let opening = *plain(Version::V31).session.opening();
    let mut pair = plain(Version::V31);
    pair.session = Session::renewing(opening, true, 0);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::BeforeConnack));
    pair.feed(Side::Upstream, LOST);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::UnknownSession));
    let pair = Pair::open(Version::V311, Platform::V201912, NONE);
    assert_eq!(pair.session.can_renew(), Err(NotRenewable::Off));
}

#[test]
fn b_tok_1_a_v5_device_is_offered_no_topic_aliases() {
    let version = Version::V5;
    let mut pair = Pair::connecting(version, Platform::V201912, NONE);
    pair.session = Session::renewing(*pair.session.opening(), false, 0);
    let connack = [0x20, 11, 0, 0, 8, 0x22, 0, 9, 0x12, 0, 2, b'i', b'd'];
    pair.feed(Side::Upstream, &connack);
    assert_eq!(
        pair.sent(Side::Device),
        [0x20, 8, 0, 0, 5, 0x12, 0, 2, b'i', b'd']
    );
    let connect = pair.session.renewal_connect();
    assert_eq!((connect.continues, connect.client_id), (true, Some("id")));
    pair.feed(Side::Device, &[0x30, 7, 0, 1, b'a', 3, 0x23, 0, 1]);
    let offence = Offence::from(Forbidden::TopicAlias);
    assert_eq!(pair.end, Some(Cause::DeviceOffence(offence)));
}

#[test]
fn b_tok_1_v5_asks_for_retained_messages_of_new_subscriptions_and_holds_repeats_back() {
    let mut pair = plain(Version::V5);
    pair.feed(Side::Device, b"\x82\x07\x00\x09\x00\x00\x01a\x01");
    pair.feed(Side::Upstream, &[0x90, 4, 0, 9, 0, 1]);
    pair.sent(Side::Device);
    lose(&mut pair);
    let sent = accept(&mut pair, connack(Version::V5));
    assert_eq!(sent, b"\x82\x07\xff\xff\x00\x00\x01a\x11");
    pair.feed(Side::Upstream, &[0x90, 4, 0xff, 0xff, 0, 1]);
    // A repeat; one that sets a topic alias, which a later message uses; one that is no repeat.
    let repeat = b"\x33\x09\x00\x01a\x00\x07\x00old";
    let with_alias = b"\x31\x0a\x00\x01a\x03\x23\x00\x05old";
    let fresh = b"\x30\x07\x00\x01a\x00new";
    pair.feed(Side::Upstream, &repeat[..10]);
    // It goes nowhere, so that nobody may move it there.
    assert!(pair.session.is_amid_message(Side::Upstream));
    assert!(!pair.session.may_splice(Side::Upstream));
    pair.feed(Side::Upstream, &[&repeat[10..], with_alias, fresh].concat());
    assert_eq!(pair.sent(Side::Device), [&with_alias[..], fresh].concat());
    assert_eq!(pair.sent(Side::Upstream), [0x40, 2, 0, 7]);
}

#[test]
fn b_tok_1_v5_asks_again_with_identifier_and_for_no_retained_messages_that_cannot_be_told() {
    let mut pair = plain(Version::V5);
    pair.feed(Side::Device, b"\x82\x09\x00\x09\x02\x0b\x07\x00\x01a\x09");
    pair.feed(Side::Upstream, &[0x90, 4, 0, 9, 0, 1]);
    lose(&mut pair);
    let sent = accept(&mut pair, connack(Version::V5));
    assert_eq!(sent, b"\x82\x09\xff\xff\x02\x0b\x07\x00\x01a\x29");
}

#[test]
fn b_tok_1_v5_disconnects_of_the_upstream_are_kept_from_the_device_where_another_may_help() {
    for (code, result) in [(0x87, Ok(())), (0x8e, Err(NotRenewable::Dismissed))] {
        let mut pair = plain(Version::V5);
        pair.feed(Side::Upstream, &[0xe0, 1, code]);
        assert_eq!(pair.end, Some(Cause::UpstreamDisconnect));
        assert_eq!(pair.session.can_renew(), result);
        let told: &[u8] = if result.is_ok() {
            b""
        } else {
            &[0xe0, 1, code]
        };
        assert_eq!(pair.sent(Side::Device), told);
    }
}

#[test]
fn b_tok_1_under_201509_acknowledgements_go_on_without_an_upstream() {
    let mut pair = open(Version::V311, Platform::V201509, LOST);
    pair.feed(Side::Device, &packet(0x34, b"\x00\x01a\x00\x01x"));
    assert_eq!(pair.sent(Side::Device), [0x50, 2, 0, 1]);
    assert!(pair.session.is_quiet());
    lose(&mut pair);
    pair.feed(Side::Device, &[0x62, 2, 0, 1]);
    assert_eq!(pair.sent(Side::Device), [0x70, 2, 0, 1]);
    assert_eq!(accept(&mut pair, LOST), b"");
}
