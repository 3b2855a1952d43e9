//! What comes from the upstream: its answer to the CONNECT, what passes, what must not be sent.

use super::*;
use crate::error::{Malformed, Refusal};
use std::string::ToString as _;

#[test]
fn b_con_1_the_connack_passes_as_it_is() {
    let assigned = [&[0x20, 8, 1, 0, 5, 0x12, 0, 2][..], b"id"].concat();
    let rows: [(Version, &[u8]); 5] = [
        (Version::V31, &[0x20, 2, 0, 0]),
        (Version::V311, &[0x20, 2, 0, 0]),
        (Version::V311, &[0x20, 2, 1, 0]),
        (Version::V5, &[0x20, 3, 1, 0, 0]),
        (Version::V5, &assigned),
    ];
    for (version, bytes) in rows {
        let mut pair = Pair::connecting(version, Platform::V201912, NONE);
        pair.feed(Side::Upstream, bytes);
        assert_eq!(pair.sent(Side::Device), bytes);
        assert_eq!((pair.end, pair.session.phase()), (None, Phase::Established));
    }
}

#[test]
fn b_con_4_the_upstreams_refusal_is_the_last_word() {
    let rows: [(Version, &[u8]); 6] = [
        (Version::V31, &[0x20, 2, 0, 2]),
        (Version::V311, &[0x20, 2, 0, 5]),
        (Version::V5, &[0x20, 3, 0, 0x87, 0]),
        (Version::V5, &[0x20, 7, 0, 0x9c, 4, 0x1c, 0, 1, b's']),
        // An upstream that knows no v5 says so in its own version, and the device understands it.
        (Version::V5, &[0x20, 2, 0, 1]),
        (Version::V5, &[0x20, 2, 0, 5]),
    ];
    for (version, bytes) in rows {
        let mut pair = Pair::connecting(version, Platform::V201912, NONE);
        pair.feed(Side::Device, &[0xc0, 0]);
        pair.feed(Side::Upstream, bytes);
        assert_eq!(pair.end, Some(Cause::UpstreamRefused));
        let said = pair.parting.take().map(|parting| parting.code);
        assert_eq!(said, Some(bytes[3]));
        assert_eq!(pair.sent(Side::Device), bytes);
        assert_eq!(pair.sent(Side::Upstream), b"");
    }
}

#[test]
fn b_err_3_what_is_no_connack_counts_as_an_upstream_out_of_reach() {
    let first = Offence::from(Forbidden::FirstPacket(Kind::Connack));
    let rows: [(Version, &[u8], Offence); 8] = [
        (Version::V311, &[0xd0, 0], first),
        (Version::V311, &[0x30, 3, 0, 1, b'a'], first),
        (Version::V311, &[0x20, 1, 0], Malformed::Truncated.into()),
        (Version::V5, &[0xe0, 0], first),
        (Version::V5, &[0xf0, 0], first),
        (Version::V5, &[0x20, 0], Malformed::Truncated.into()),
        (
            Version::V5,
            &[0x20, 4, 0, 0, 1, 0x7f],
            Malformed::Property(0x7f).into(),
        ),
        (
            Version::V5,
            &[0x20, 5, 0, 0, 3, 0x13, 0],
            Malformed::Truncated.into(),
        ),
    ];
    for (version, bytes, offence) in rows {
        for upstream in [Manner::Close, Manner::Connack] {
            let mut opening = *Pair::connecting(version, Platform::V201912, NONE)
                .session
                .opening();
            opening.manners.upstream = upstream;
            let mut pair = Pair::with(opening);
            pair.feed(Side::Upstream, bytes);
            let cause = Cause::UpstreamOffence(offence);
            assert_eq!(pair.end, Some(cause), "{bytes:02x?}");
            // B-CON-4
            let told: &[u8] = match (upstream, version) {
                (Manner::Close, _) => b"",
                (Manner::Connack, Version::V5) => &[0x20, 3, 0, 0x88, 0],
                (Manner::Connack, _) => &[0x20, 2, 0, 3],
            };
            assert_eq!(pair.sent(Side::Device), told, "{bytes:02x?}");
            assert_eq!(pair.sent(Side::Upstream), b"");
        }
    }
    assert_eq!(
        Cause::Refused(Refusal::UpstreamOffence(first)).detail(),
        Some(first.to_string())
    );
}

#[test]
fn b_err_3_a_malformed_packet_of_the_upstream_disconnects_the_device() {
    let kind = |kind| Offence::from(Forbidden::Kind(kind));
    let rows: [(&[u8], Offence); 10] = [
        (&[0x00, 0], Malformed::UnknownKind(0).into()),
        (&[0x20, 3, 0, 0, 0], kind(Kind::Connack)),
        (&[0x10, 0], kind(Kind::Connect)),
        (&[0x82, 7, 0, 9, 0, 0, 1, b'a', 0], kind(Kind::Subscribe)),
        (&[0xa2, 6, 0, 9, 0, 0, 1, b'a'], kind(Kind::Unsubscribe)),
        (&[0x90, 1, 0], Malformed::Truncated.into()),
        (&[0xb0, 0], Malformed::Truncated.into()),
        (&[0x30, 4, 0, 1, b'+', 0], Forbidden::TopicName.into()),
        (&[0x30, 5, 0, 2, 0xc3, 0x28, 0], Malformed::Utf8.into()),
        (&[0x82, 0x81, 0x80, 0x10], kind(Kind::Subscribe)),
    ];
    for (bytes, offence) in rows {
        let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
        pair.feed(Side::Upstream, &[&[0xd0, 0], bytes].concat());
        assert_eq!(
            pair.end,
            Some(Cause::UpstreamOffence(offence)),
            "{bytes:02x?}"
        );
        assert_eq!(
            pair.sent(Side::Device),
            [0xd0, 0, 0xe0, 1, 0x80],
            "{bytes:02x?}"
        );
        assert_eq!(pair.sent(Side::Upstream), b"", "{bytes:02x?}");
    }
    // B-ERR-5
    let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
    pair.feed(Side::Upstream, &[0x90, 0x80, 0x80, 0x10]);
    let too_large = Cause::UpstreamOffence(Forbidden::TooLarge.into());
    assert_eq!(pair.end, Some(too_large));
    // Before v5 it only closes; there is no AUTH either.
    for version in [Version::V31, Version::V311] {
        let mut pair = Pair::open(version, Platform::V201912, NONE);
        pair.feed(Side::Upstream, &[0xf0, 0]);
        let unknown = Cause::UpstreamOffence(Malformed::UnknownKind(15).into());
        assert_eq!(
            (pair.end, pair.sent(Side::Device)),
            (Some(unknown), Vec::new())
        );
    }
}

#[test]
fn b_con_5_what_the_upstream_says_passes_unchanged() {
    let rows: [&[u8]; 8] = [
        // Two subscription identifiers, an alias and no topic.
        &[0x3b, 13, 0, 0, 0, 7, 7, 0x0b, 1, 0x0b, 2, 0x23, 0, 1, b'x'],
        &[0x90, 6, 0, 9, 0, 0, 2, 0x87],
        &[0xb0, 4, 0, 9, 0, 0x11],
        &[0x40, 3, 0, 7, 0x10],
        &[0x50, 4, 0, 7, 0x97, 0],
        &[0x62, 3, 0, 7, 0x92],
        &[0x70, 2, 0, 7],
        &[0xd0, 0],
    ];
    for bytes in rows {
        let mut pair = Pair::open(Version::V5, Platform::V201912, BOTH);
        pair.feed(Side::Upstream, bytes);
        assert_eq!(pair.end, None, "{bytes:02x?}");
        assert_eq!(pair.sent(Side::Device), bytes);
        assert_eq!(pair.sent(Side::Upstream), b"");
    }
    // Its DISCONNECT is handed on and ends the session; Bad Authentication Method is one of its codes.
    for bytes in [
        &[0xe0, 0][..],
        &[0xe0, 1, 0x8c],
        &[0xe0, 6, 0x9d, 4, 0x1c, 0, 1, b's'],
    ] {
        let mut pair = Pair::open(Version::V5, Platform::V201912, BOTH);
        pair.feed(Side::Upstream, &[bytes, &[0xd0, 0]].concat());
        assert_eq!(pair.end, Some(Cause::UpstreamDisconnect));
        assert_eq!(pair.sent(Side::Device), bytes);
        assert_eq!(pair.sent(Side::Upstream), b"");
    }
}

#[test]
fn b_509_1_a_3_1_device_is_spoken_to_in_3_1() {
    let rows: [(&[u8], &[u8]); 5] = [
        (&[0x90, 5, 0, 9, 0, 1, 2], &[0x90, 5, 0, 9, 0, 1, 2]),
        (&[0xb0, 2, 0, 9], &[0xb0, 2, 0, 9]),
        (&[0xd0, 0], &[0xd0, 0]),
        (&[0x31, 4, 0, 1, b'a', b'x'], &[0x31, 4, 0, 1, b'a', b'x']),
        (
            &[0x3d, 6, 0, 1, b'a', 0, 7, b'x'],
            &[0x31, 4, 0, 1, b'a', b'x'],
        ),
    ];
    for (bytes, expected) in rows {
        let mut pair = Pair::open(Version::V31, Platform::V201509, BOTH);
        pair.feed(Side::Upstream, bytes);
        assert_eq!(pair.sent(Side::Device), expected, "{bytes:02x?}");
    }
    // MQTT 3.1 has no session present.
    for (bytes, told) in [
        ([0x20, 2, 1, 0], [0x20, 2, 0, 0]),
        ([0x20, 2, 0, 4], [0x20, 2, 0, 4]),
    ] {
        let mut pair = Pair::connecting(Version::V31, Platform::V201509, NONE);
        pair.feed(Side::Upstream, &bytes);
        assert_eq!(pair.sent(Side::Device), told);
    }
    // That a subscription is refused cannot be said in 3.1: the device judges for itself what it makes of it.
    let refused = [0x90, 4, 0, 9, 0, 0x80];
    for version in [Version::V31, Version::V311] {
        for platform in [Platform::V201509, Platform::V201912] {
            let mut pair = Pair::open(version, platform, NONE);
            pair.feed(Side::Upstream, &refused);
            assert_eq!(
                (pair.end, pair.sent(Side::Device)),
                (None, refused.to_vec())
            );
        }
    }
}
