//! What the device must not send, and what its own version lets it send.

use super::*;
use crate::error::Malformed;
use std::vec;

type Row = (&'static [u8], Offence, u8);

/// Bytes, what is wrong with them, and the v5 reason code.
fn bad(bytes: &'static [u8], offence: impl Into<Offence>, code: u8) -> Row {
    (bytes, offence.into(), code)
}

#[test]
fn b_err_1_what_is_malformed_or_forbidden_ends_the_session() {
    let rows = [
        bad(&[0x00, 0], Malformed::UnknownKind(0), 0x81),
        bad(&[0xc1, 0], Malformed::HeaderFlags, 0x81),
        bad(&[0x80, 2, 0, 1], Malformed::HeaderFlags, 0x81),
        bad(&[0x6a, 2, 0, 1], Malformed::HeaderFlags, 0x81),
        bad(b"\x38\x04\0\x01a\0", Malformed::HeaderFlags, 0x81),
        bad(b"\x36\x06\0\x01a\0\x01\0", Malformed::Qos, 0x81),
        bad(&[0xc0, 128, 128, 128, 128], Malformed::VarintOverlong, 0x81),
        bad(&[0xc0, 1, 0], Malformed::TrailingBytes, 0x81),
        bad(&[0x40, 1, 0], Malformed::Truncated, 0x81),
        bad(b"\x30\x03\0\x09a", Malformed::Truncated, 0x81),
        bad(&[0x40, 2, 0, 0], Forbidden::PacketIdZero, 0x82),
        bad(b"\x32\x06\0\x01a\0\0\0", Forbidden::PacketIdZero, 0x82),
        bad(&[0x20, 2, 0, 0], Forbidden::Kind(Kind::Connack), 0x82),
        bad(&[0x90, 3, 0, 1, 0], Forbidden::Kind(Kind::Suback), 0x82),
        bad(&[0xb0, 2, 0, 1], Forbidden::Kind(Kind::Unsuback), 0x82),
        bad(&[0xd0, 0], Forbidden::Kind(Kind::Pingresp), 0x82),
    ];
    for (bytes, offence, code) in rows {
        check_refused(NONE, |_| bytes.to_vec(), offence, code);
    }
    for first in [0x82, 0xa2] {
        let empty = |version| packet(first, &filters_start(version));
        check_refused(NONE, empty, Forbidden::NoFilters.into(), 0x82);
    }
    let reserved = |version| subscribe(version, &[("a", 0b1100_0000)]);
    check_refused(NONE, reserved, Malformed::ReservedBits.into(), 0x81);
    // No name is no topic; in v5 an alias must stand for it.
    for (version, forbidden) in [
        (Version::V311, Forbidden::TopicName),
        (Version::V5, Forbidden::PropertyValue(0x23)),
    ] {
        let mut pair = Pair::open(version, Platform::V201912, BOTH);
        pair.feed(Side::Device, &publish(version, 0, "", b"x"));
        assert_eq!(pair.end, Some(Cause::DeviceOffence(forbidden.into())));
    }
}

#[test]
fn b_err_1_mqtt_5_has_codes_of_its_own() {
    let option = Forbidden::SubscriptionOption;
    let shared = b"\x82\x10\0\x09\0\0\x0a$share/g/a\x04";
    let rows = [
        bad(b"\x30\x07\0\x01a\x03\x23\0\0", Forbidden::TopicAlias, 0x94),
        bad(
            b"\x30\x06\0\x01a\x02\x0b\x01",
            Malformed::Property(0x0b),
            0x81,
        ),
        bad(
            b"\x30\x08\0\x01a\x04\x01\x01\x01\x01",
            Forbidden::PropertyTwice(1),
            0x82,
        ),
        bad(
            b"\x30\x06\0\x01a\x02\x01\x02",
            Forbidden::PropertyValue(1),
            0x82,
        ),
        bad(
            b"\x30\x07\0\x01a\x80\0\0\0",
            Malformed::VarintOverlong,
            0x81,
        ),
        bad(&[0xc0, 0x80, 0], Malformed::VarintOverlong, 0x81),
        bad(&[0x40, 3, 0, 1, 0x92], Malformed::ReasonCode(0x92), 0x82),
        bad(&[0xe0, 1, 0x84], Malformed::ReasonCode(0x84), 0x82),
        bad(
            &[0xe0, 5, 0, 3, 0x1c, 0, 0],
            Malformed::Property(0x1c),
            0x81,
        ),
        bad(b"\x82\x07\0\x09\0\0\x01a\x03", option, 0x82),
        bad(b"\x82\x07\0\x09\0\0\x01a\x30", option, 0x82),
        bad(shared, Forbidden::NoLocalShared, 0x82),
    ];
    for (bytes, offence, code) in rows {
        let mut pair = Pair::open(Version::V5, Platform::V201912, BOTH);
        pair.feed(Side::Device, bytes);
        let cause = Cause::DeviceOffence(offence);
        assert_eq!(pair.end, Some(cause), "{bytes:02x?}");
        assert_eq!(pair.sent(Side::Device), [0xe0, 1, code], "{bytes:02x?}");
        assert_eq!(pair.sent(Side::Upstream), b"", "{bytes:02x?}");
    }
    // What stands behind a packet says nothing about it.
    for behind in [&[][..], &[0x80; 4], &[0, 0], &[0x7f]] {
        let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
        pair.feed(Side::Device, &[b"\x30\x03\0\x01a", behind].concat());
        let truncated = Cause::DeviceOffence(Malformed::Truncated.into());
        assert_eq!(pair.end, Some(truncated), "{behind:02x?}");
    }
    // 3.1.1 has no AUTH.
    let mut pair = Pair::open(Version::V311, Platform::V201912, NONE);
    pair.feed(Side::Device, &[0xf0, 0]);
    let unknown = Cause::DeviceOffence(Malformed::UnknownKind(15).into());
    assert_eq!(pair.end, Some(unknown));
}

#[test]
fn b_err_1_before_the_connack_a_v5_device_is_told_by_connack() {
    for (version, told) in [
        (Version::V5, &[0x20, 3, 0, 0x81, 0][..]),
        (Version::V311, &[]),
        (Version::V31, &[]),
    ] {
        let mut pair = Pair::connecting(version, Platform::V201912, NONE);
        pair.feed(Side::Device, &[0x0c, 0]);
        assert_eq!(pair.sent(Side::Device), told);
        assert_eq!(pair.sent(Side::Upstream), b"");
    }
}

#[test]
fn b_err_2_mqtt_3_1_may_set_what_it_does_not_use() {
    let rows = [
        packet(0x6a, &[0, 1]),
        packet(0x6b, &[0, 1]),
        packet(0x8a, &[0, 9, 0, 1, b'a', 0xfd]),
        packet(0xab, &[0, 9, 0, 1, b'a']),
        packet(0xcf, &[]),
        packet(0x4d, &[0, 1]),
        packet(0x38, &[0, 1, b'a']),
        // Longer than need be: only v5 asks for the shortest length.
        vec![0xc0, 0x80, 0x00],
    ];
    for bytes in &rows {
        check(Version::V31, REPLACE, bytes, bytes);
    }
    check(Version::V311, BOTH, &rows[7], &rows[7]);
    // A quality of service of 1 is what these have, in every version.
    for first in [0x60, 0x80, 0xa4] {
        let mut pair = Pair::open(Version::V31, Platform::V201912, NONE);
        pair.feed(Side::Device, &[first, 2, 0, 1]);
        let flags = Cause::DeviceOffence(Malformed::HeaderFlags.into());
        assert_eq!(pair.end, Some(flags), "{first:02x}");
    }
}

#[test]
fn b_err_5_packets_and_heads_have_256_kib() {
    let limit = PACKET_BYTES_MAX;
    // A fixed header of four bytes; five filters.
    let filters = |bytes: usize| {
        let filter = "t".repeat(50_000);
        let last = "t".repeat(bytes - 4 - 3 - 4 * 50_003 - 3);
        let [filter, last] = [(filter.as_str(), 0), (last.as_str(), 0)];
        subscribe(Version::V5, &[filter, filter, filter, filter, last])
    };
    let fits = filters(limit);
    assert_eq!(fits.len(), limit);
    check(Version::V5, BOTH, &fits, &fits);
    let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
    // It is told from the fixed header.
    pair.feed(Side::Device, &filters(limit + 1)[..4]);
    let too_large = Some(Cause::DeviceOffence(Forbidden::TooLarge.into()));
    assert_eq!(pair.end, too_large);
    assert_eq!(pair.sent(Side::Device), [0xe0, 1, 0x95]);
    // A head of exactly as much: topic, property length of three bytes, user properties.
    let head = |excess: usize| {
        let mut properties = Vec::new();
        let total = limit - 5 - 3 - 3 + excess;
        while properties.len() < total {
            let rest = total - properties.len() - 5;
            let length = if rest > 60_000 { 50_000 } else { rest };
            properties.push(0x26);
            properties.append(&mut text(""));
            properties.append(&mut text(&"v".repeat(length)));
        }
        let length = Varint::encode(properties.len()).unwrap();
        let body = [&[0, 1, b'a'], length.as_bytes(), &properties[..]].concat();
        let whole = Varint::encode(body.len() + 2_500_000).unwrap();
        [&[0x30], whole.as_bytes(), &body[..]].concat()
    };
    assert_eq!(head(0).len(), limit);
    check(Version::V5, NONE, &head(0), &head(0));
    let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
    pair.feed(Side::Device, &head(1)[..12]);
    assert_eq!(pair.end, too_large);
    // A PUBLISH itself may be of any size.
    let large = publish(Version::V311, 0, "t", &vec![1; 2 * limit]);
    check(Version::V311, NONE, &large, &large);
}
