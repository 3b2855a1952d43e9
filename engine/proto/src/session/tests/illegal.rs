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
        bad(b"\x36\x06\0\x01a\0\x01\0", Malformed::Qos, 0x81),
        bad(&[0xc0, 128, 128, 128, 128], Malformed::VarintOverlong, 0x81),
        bad(&[0x40, 1, 0], Malformed::Truncated, 0x81),
        bad(b"\x30\x03\0\x09a", Malformed::Truncated, 0x81),
        bad(&[0x50, 0], Malformed::Truncated, 0x81),
        bad(b"\x32\x04\0\x01a\0", Malformed::Truncated, 0x81),
        bad(b"\x82\x05\0\x09\0\x09a", Malformed::Truncated, 0x81),
        bad(&[0x20, 2, 0, 0], Forbidden::Kind(Kind::Connack), 0x82),
        bad(&[0x90, 3, 0, 1, 0], Forbidden::Kind(Kind::Suback), 0x82),
        bad(&[0xb0, 2, 0, 1], Forbidden::Kind(Kind::Unsuback), 0x82),
    ];
    for (bytes, offence, code) in rows {
        check_refused(NONE, |_| bytes.to_vec(), offence, code);
    }
    let no_text = |version| subscribe(version, &[("a\0b", 0)]);
    check_refused(NONE, no_text, Malformed::Utf8.into(), 0x81);
    // B-TOP-1: no name is no topic that anything could be appended to; in v5 an alias must stand for it.
    let no_topic = |version| publish(version, 0, "", b"x");
    check_refused(BOTH, no_topic, Forbidden::TopicName.into(), 0x90);
    check_refused(NONE, no_topic, Forbidden::TopicName.into(), 0x90);
}

#[test]
fn b_err_1_what_cannot_be_read_ends_a_session_of_mqtt_5() {
    let rows = [
        bad(
            b"\x30\x07\0\x01a\x80\x80\x80\x80",
            Malformed::VarintOverlong,
            0x81,
        ),
        bad(b"\x30\x04\0\x01a\x09", Malformed::Truncated, 0x81),
        bad(b"\x82\x05\0\x09\x09\0\0", Malformed::Truncated, 0x81),
        bad(b"\x30\x04\0\0\x01\x7f", Malformed::Property(0x7f), 0x81),
        bad(b"\x30\x05\0\x02a#\0", Forbidden::TopicName, 0x90),
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
