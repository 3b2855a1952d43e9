//! B-ERR-6: packets with which real brokers and devices bend the standard. They can be read and leave no doubt
//! about the session, so they pass as they came; whoever gets them judges them.

use super::*;
use Side::{Device, Upstream};

/// What it is, and its bytes.
type Row = (&'static str, &'static [u8]);

/// From either side, in every version.
const ANY: &[Row] = &[
    ("PUBACK that answers nothing", &[0x40, 2, 0, 9]),
    ("PUBCOMP that answers nothing", &[0x70, 2, 0, 9]),
    ("PUBREL that answers nothing", &[0x62, 2, 0, 9]),
    ("PUBACK with packet identifier 0", &[0x40, 2, 0, 0]),
    ("PUBREL without its flags", &[0x60, 2, 0, 9]),
    ("PUBREL with DUP", &[0x6a, 2, 0, 9]),
    ("PUBACK with flags", &[0x42, 2, 0, 9]),
    ("PUBACK with a reason code", &[0x40, 3, 0, 9, 0x10]),
    ("PUBREC with a reason code", &[0x50, 3, 0, 9, 0x87]),
    ("PUBREL with a reason code", &[0x62, 3, 0, 9, 0x92]),
    ("PUBCOMP with properties", &[0x70, 4, 0, 9, 0, 0]),
    (
        "length with more bytes than it takes",
        &[0x40, 0x82, 0, 0, 9],
    ),
    ("ping with a body", &[0xc0, 1, 0]),
    ("ping with flags", &[0xc1, 0]),
    ("answer to a ping with a body", &[0xd0, 1, 0]),
    (
        "ping, or an answer, from the other side",
        &[0xc0, 0, 0xd0, 0],
    ),
];

/// From either side, in v5.
const ANY_5: &[Row] = &[
    (
        "PUBACK 0x95: mosquitto 2.1.2, of a message over its limit",
        &[0x40, 3, 0, 9, 0x95],
    ),
    ("PUBREC 0x95", &[0x50, 4, 0, 9, 0x95, 0]),
    (
        "PUBREL with a reason code of others",
        &[0x62, 3, 0, 9, 0x10],
    ),
    (
        "PUBCOMP with a reason code of others",
        &[0x70, 3, 0, 9, 0x80],
    ),
    (
        "PUBACK with a property of others",
        b"\x40\x09\0\x09\0\x05\x11\0\0\0\x01",
    ),
    (
        "PUBACK with a property twice",
        b"\x40\x0c\0\x09\0\x08\x1f\0\x01a\x1f\0\x01b",
    ),
    (
        "PUBACK with a property that is no text",
        b"\x40\x08\0\x09\0\x04\x1f\0\x01\xff",
    ),
    (
        "PUBACK with a property that does not exist",
        b"\x40\x05\0\x09\0\x01\x7f",
    ),
    (
        "PUBLISH with a property twice",
        b"\x30\x08\0\x01a\x04\x01\x01\x01\x01",
    ),
    (
        "PUBLISH with a value out of range",
        b"\x30\x06\0\x01a\x02\x01\x02",
    ),
    ("PUBLISH with topic alias 0", b"\x30\x07\0\x01a\x03\x23\0\0"),
    (
        "PUBLISH with a subscription identifier",
        b"\x30\x06\0\x01a\x02\x0b\x01",
    ),
    (
        "PUBLISH with a wildcard to answer to",
        b"\x30\x08\0\x01a\x04\x08\0\x01#",
    ),
    (
        "PUBLISH with a length of properties that is too long",
        b"\x30\x06\0\x01a\x80\0x",
    ),
    ("AUTH without a method in the CONNECT", &[0xf0, 2, 0x18, 0]),
];

/// From the upstream, before v5.
const UPSTREAM_3: &[Row] = &[
    ("SUBACK with a code of v5", &[0x90, 3, 0, 9, 0x87]),
    ("SUBACK with QoS 3", &[0x90, 3, 0, 9, 3]),
    ("SUBACK with properties", &[0x90, 4, 0, 9, 0, 1]),
    ("UNSUBACK with codes", &[0xb0, 4, 0, 9, 0, 0x11]),
    ("PUBLISH without a topic", &[0x30, 3, 0, 0, b'x']),
    ("PUBLISH of QoS 0 with DUP", &[0x38, 4, 0, 1, b'a', b'x']),
    (
        "PUBLISH with packet identifier 0",
        &[0x32, 6, 0, 1, b'a', 0, 0, b'x'],
    ),
];

/// From the upstream, in every version.
const UPSTREAM: &[Row] = &[
    ("SUBACK without codes", &[0x90, 2, 0, 9]),
    ("SUBACK with flags", &[0x92, 4, 0, 9, 0, 1]),
    ("SUBACK that answers nothing", &[0x90, 4, 0, 77, 0, 0]),
    (
        "SUBACK with more codes than filters",
        &[0x90, 7, 0, 9, 0, 0, 0, 0, 0],
    ),
    ("UNSUBACK without codes", &[0xb0, 2, 0, 9]),
];

/// From the upstream, in v5.
const UPSTREAM_5: &[Row] = &[
    ("SUBACK with a code of others", &[0x90, 5, 0, 9, 0, 3, 0x95]),
    ("UNSUBACK with a code of others", &[0xb0, 4, 0, 9, 0, 0x99]),
    (
        "PUBLISH without a topic or an alias",
        &[0x30, 4, 0, 0, 0, b'x'],
    ),
    ("PUBLISH of QoS 0 with DUP", &[0x38, 5, 0, 1, b'a', 0, b'x']),
    (
        "PUBLISH with packet identifier 0",
        &[0x32, 6, 0, 1, b'a', 0, 0, 0],
    ),
];

/// From the device, before v5.
const DEVICE_3: &[Row] = &[
    ("SUBSCRIBE without a filter", &[0x82, 2, 0, 9]),
    ("SUBSCRIBE without its flags", b"\x80\x06\0\x09\0\x01a\0"),
    (
        "SUBSCRIBE with packet identifier 0",
        b"\x82\x06\0\0\0\x01a\0",
    ),
    ("SUBSCRIBE with QoS 3", b"\x82\x06\0\x09\0\x01a\x03"),
    (
        "SUBSCRIBE with reserved options",
        b"\x82\x06\0\x09\0\x01a\xfd",
    ),
    ("SUBSCRIBE with an empty filter", b"\x82\x05\0\x09\0\0\0"),
    (
        "SUBSCRIBE with a wildcard out of place",
        b"\x82\x0a\0\x09\0\x05a/#/b\0",
    ),
    ("UNSUBSCRIBE without a filter", &[0xa2, 2, 0, 9]),
    ("PUBLISH of QoS 0 with DUP", &[0x38, 4, 0, 1, b'a', b'x']),
    (
        "PUBLISH with packet identifier 0",
        &[0x32, 6, 0, 1, b'a', 0, 0, b'x'],
    ),
];

/// From the device, in v5.
const DEVICE_5: &[Row] = &[
    ("SUBSCRIBE without a filter", &[0x82, 3, 0, 9, 0]),
    ("SUBSCRIBE with QoS 3", b"\x82\x07\0\x09\0\0\x01a\x03"),
    (
        "SUBSCRIBE with retain handling 3",
        b"\x82\x07\0\x09\0\0\x01a\x30",
    ),
    (
        "SUBSCRIBE with subscription identifier 0",
        b"\x82\x09\0\x09\x02\x0b\0\0\x01a\0",
    ),
    (
        "SUBSCRIBE with a property of others",
        b"\x82\x09\0\x09\x02\x01\x01\0\x01a\0",
    ),
    (
        "No Local on a shared subscription",
        b"\x82\x10\0\x09\0\0\x0a$share/g/a\x04",
    ),
    (
        "a share without a filter",
        b"\x82\x0d\0\x09\0\0\x07$share/\0",
    ),
    ("UNSUBSCRIBE without a filter", &[0xa2, 3, 0, 9, 0]),
    ("PUBLISH of QoS 0 with DUP", &[0x38, 5, 0, 1, b'a', 0, b'x']),
    (
        "PUBLISH with packet identifier 0",
        &[0x32, 6, 0, 1, b'a', 0, 0, 0],
    ),
];

/// With which the upstream answers the CONNECT of a 3.1.1 device, and whether the session stands then.
const CONNACK_3: &[(Row, bool)] = &[
    (("a code that does not exist", &[0x20, 2, 0, 6]), false),
    (("a code of v5", &[0x20, 2, 0, 0x87]), false),
    (("session present with a refusal", &[0x20, 2, 1, 5]), false),
    (("reserved flags", &[0x20, 2, 0xfe, 0]), true),
    (("flags of its header", &[0x22, 2, 0, 0]), true),
    (("the shape of v5", &[0x20, 3, 0, 0, 0]), true),
];

/// The same for a v5 device.
const CONNACK_5: &[(Row, bool)] = &[
    (("a code of others", &[0x20, 3, 0, 0x8e, 0]), false),
    (("a code of 3.1.1", &[0x20, 3, 0, 1, 0]), false),
    (("reserved flags", &[0x20, 3, 0xfe, 0, 0]), true),
    (("no properties", &[0x20, 2, 0, 0]), true),
    (("Maximum QoS 2", &[0x20, 5, 0, 0, 2, 0x24, 2]), true),
    (("Receive Maximum 0", &[0x20, 6, 0, 0, 3, 0x21, 0, 0]), true),
    (
        (
            "Maximum Packet Size 0",
            &[0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 0],
        ),
        true,
    ),
    (
        ("a property of others", &[0x20, 6, 0, 0, 3, 0x23, 0, 1]),
        true,
    ),
    (
        ("a property twice", &[0x20, 7, 0, 0, 4, 0x25, 1, 0x25, 1]),
        true,
    ),
];

/// It passes, and so does what follows.
fn check_passes(version: Version, from: Side, rows: &[Row]) {
    for (what, bytes) in rows {
        for topics in [NONE, REPLACE] {
            let mut pair = Pair::open(version, Platform::V201912, topics);
            pair.feed(from, &[bytes, &[0xc0, 0][..]].concat());
            assert_eq!(pair.end, None, "{what}, {version:?} from {from:?}");
            let sent = pair.sent(from.other());
            assert_eq!(
                sent,
                [bytes, &[0xc0, 0][..]].concat(),
                "{what}, {version:?}"
            );
            assert_eq!(pair.sent(from), b"", "{what}, {version:?}");
        }
    }
}

#[test]
fn b_err_6_what_need_not_be_judged_passes() {
    for from in [Device, Upstream] {
        for version in VERSIONS {
            check_passes(version, from, ANY);
        }
        check_passes(Version::V5, from, ANY_5);
    }
    for version in VERSIONS {
        check_passes(version, Upstream, UPSTREAM);
    }
    for version in [Version::V31, Version::V311] {
        check_passes(version, Upstream, UPSTREAM_3);
        check_passes(version, Device, DEVICE_3);
    }
    check_passes(Version::V5, Upstream, UPSTREAM_5);
    check_passes(Version::V5, Device, DEVICE_5);
}

#[test]
fn b_err_6_a_connack_passes_whatever_it_says() {
    for (version, rows) in [(Version::V311, CONNACK_3), (Version::V5, CONNACK_5)] {
        for ((what, bytes), stands) in rows {
            for renews in [false, true] {
                let mut pair = Pair::connecting(version, Platform::V201912, NONE);
                if renews {
                    pair.session = Session::renewing(*pair.session.opening(), false, 0);
                }
                pair.feed(Upstream, bytes);
                let end = (!stands).then_some(Cause::UpstreamRefused);
                assert_eq!(
                    (pair.end, pair.sent(Device)),
                    (end, bytes.to_vec()),
                    "{what}"
                );
                let message = publish(version, 0, "t", b"x");
                if *stands {
                    pair.feed(Device, &message);
                    assert_eq!(pair.sent(Upstream), message, "{what}");
                }
            }
        }
    }
}

/// RabbitMQ 3.10 answers QoS 2 with PUBACK; brokers answer with fewer codes than filters.
#[test]
fn b_err_6_an_answer_of_another_kind_passes() {
    for version in VERSIONS {
        let mut pair = Pair::open(version, Platform::V201912, NONE);
        pair.feed(Device, &publish(version, 0b0100, "t", b"x"));
        pair.feed(Device, &subscribe(version, &[("a", 1), ("b", 1), ("b", 1)]));
        let granted = match version {
            Version::V31 | Version::V311 => packet(0x90, &[0, 9, 1, 1]),
            Version::V5 => packet(0x90, &[0, 9, 0, 1, 1]),
        };
        let answers = [&[0x40, 2, 0, 7][..], &granted].concat();
        pair.feed(Upstream, &answers);
        assert_eq!(
            (pair.end, pair.sent(Device)),
            (None, answers),
            "{version:?}"
        );
    }
}

/// Its DISCONNECT, with whatever code and body, goes on and is the last word.
#[test]
fn b_err_6_a_disconnect_is_one_whatever_it_says() {
    let rows: [(Version, &[u8]); 6] = [
        (Version::V31, &[0xe0, 0]),
        (Version::V311, &[0xe0, 0]),
        (Version::V311, &[0xe1, 2, 0x8e, 0]),
        (Version::V5, &[0xe0, 1, 0x84]),
        (Version::V5, b"\xe0\x07\x04\x05\x11\0\0\0\x09"),
        (Version::V5, b"\xe0\x06\x9c\x04\x1c\0\x01s"),
    ];
    for (version, bytes) in rows {
        for (from, cause) in [
            (Device, Cause::DeviceDisconnect),
            (Upstream, Cause::UpstreamDisconnect),
        ] {
            let mut pair = Pair::open(version, Platform::V201912, NONE);
            pair.feed(from, bytes);
            let found = (pair.end, pair.sent(from.other()));
            assert_eq!(
                found,
                (Some(cause), bytes.to_vec()),
                "{version:?} from {from:?}"
            );
            assert_eq!(pair.sent(from), b"");
        }
    }
}

/// B-VER-2: acknowledgements end here under 201509, in whatever shape they come.
#[test]
fn b_err_6_acknowledgements_that_go_no_further_are_not_judged_either() {
    for version in [Version::V31, Version::V311] {
        for from in [Device, Upstream] {
            let mut pair = Pair::open(version, Platform::V201509, NONE);
            pair.feed(
                from,
                &[0x40, 3, 0, 9, 0x95, 0x50, 4, 0, 9, 0x95, 0, 0x72, 2, 0, 0],
            );
            pair.feed(from, &[0x60, 4, 0, 9, 0, 0]);
            assert_eq!(pair.sent(from), [0x70, 2, 0, 9]);
            assert_eq!((pair.end, pair.sent(from.other())), (None, Vec::new()));
        }
        // What is asked for is QoS 0; what stands beside it passes, but where 3.1.1 reserves what 3.1 ignores.
        let mut pair = Pair::open(version, Platform::V201509, NONE);
        pair.feed(Device, &subscribe(version, &[("a", 0xfd), ("b", 0x03)]));
        let first = if version == Version::V31 { 0 } else { 0xfc };
        let expected = subscribe(Version::V311, &[("a", first), ("b", 0x03)]);
        assert_eq!((pair.end, pair.sent(Upstream)), (None, expected));
    }
}

/// B-TOK-1: nothing of this disturbs what is kept for a renewal, while there is none.
#[test]
fn b_err_6_a_session_that_may_be_renewed_passes_them_too() {
    let rows = ANY.iter().chain(ANY_5).chain(UPSTREAM).chain(UPSTREAM_5);
    for (what, bytes) in rows {
        let mut pair = Pair::connecting(Version::V5, Platform::V201912, NONE);
        pair.session = Session::renewing(*pair.session.opening(), false, 0);
        pair.feed(Upstream, connack(Version::V5));
        pair.sent(Device);
        pair.feed(Upstream, bytes);
        assert_eq!(
            (pair.end, pair.sent(Device)),
            (None, bytes.to_vec()),
            "{what}"
        );
    }
}
