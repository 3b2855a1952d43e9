//! The two platform versions on the same script: what differs stands beside it.

use super::*;
use crate::opening::{Credentials, upstream_connect};
use crate::packet::connect::{Opening as Front, read};
use Side::{Device, Upstream};

/// What one step leads to: bytes to the upstream, bytes to the device.
type Told = (&'static [u8], &'static [u8]);

/// Bytes of one side, and what they lead to under 201509 and 201912.
struct Step {
    from: Side,
    bytes: &'static [u8],
    old: Told,
    new: Told,
}

const fn step(from: Side, bytes: &'static [u8], old: Told, new: Told) -> Step {
    Step {
        from,
        bytes,
        old,
        new,
    }
}

/// A step that both versions treat alike.
const fn same(from: Side, bytes: &'static [u8], told: Told) -> Step {
    step(from, bytes, told, told)
}

/// A session of a 3.1.1 device with `addSubscriberHeader` and `replaceTopic`.
const JOURNEY: &[Step] = &[
    // B-CON-1
    same(Upstream, &[0x20, 2, 1, 0], (b"", &[0x20, 2, 1, 0])),
    // B-VER-2: SUBSCRIBE asks for QoS 0. B-TOP-2
    step(
        Device,
        b"\x82\x15\x00\x01\x00\x0acmd/{{imei\x02\x00\x03a/#\x01",
        (
            b"\x82\x15\x00\x01\x00\x0acmd/{{imei\x00\x00\x03a/#\x00",
            b"",
        ),
        (
            b"\x82\x15\x00\x01\x00\x0acmd/{{imei\x02\x00\x03a/#\x01",
            b"",
        ),
    ),
    step(
        Device,
        b"\x82\x0d\x00\x02\x00\x08{{imsi}}\x01",
        (b"\x82\x14\x00\x02\x00\x0f440100000000001\x00", b""),
        (b"\x82\x14\x00\x02\x00\x0f440100000000001\x01", b""),
    ),
    same(
        Upstream,
        b"\x90\x04\x00\x01\x00\x80\x90\x03\x00\x02\x00",
        (b"", b"\x90\x04\x00\x01\x00\x80\x90\x03\x00\x02\x00"),
    ),
    // B-TOP-1: QoS 0 with RETAIN.
    same(
        Device,
        b"\x31\x05\x00\x01thi",
        (b"\x31\x15\x00\x11t/440100000000001hi", b""),
    ),
    // B-VER-2: QoS 1 repeated; acknowledged here, forwarded without DUP and identifier, RETAIN kept.
    step(
        Device,
        b"\x3b\x07\x00\x01t\x00\x07hi",
        (b"\x31\x15\x00\x11t/440100000000001hi", &[0x40, 2, 0, 7]),
        (b"\x3b\x17\x00\x11t/440100000000001\x00\x07hi", b""),
    ),
    step(
        Upstream,
        &[0x40, 2, 0, 7],
        (b"", b""),
        (b"", &[0x40, 2, 0, 7]),
    ),
    // B-VER-2: QoS 2, an empty payload.
    step(
        Device,
        b"\x34\x05\x00\x01t\x00\x08",
        (b"\x30\x13\x00\x11t/440100000000001", &[0x50, 2, 0, 8]),
        (b"\x34\x15\x00\x11t/440100000000001\x00\x08", b""),
    ),
    step(
        Upstream,
        &[0x50, 2, 0, 8],
        (b"", b""),
        (b"", &[0x50, 2, 0, 8]),
    ),
    step(
        Device,
        &[0x62, 2, 0, 8],
        (b"", &[0x70, 2, 0, 8]),
        (&[0x62, 2, 0, 8], b""),
    ),
    step(
        Upstream,
        &[0x70, 2, 0, 8],
        (b"", b""),
        (b"", &[0x70, 2, 0, 8]),
    ),
    // B-VER-2, the other direction: QoS 1 and 2 of an older session of the upstream.
    step(
        Upstream,
        b"\x33\x06\x00\x01d\x00\x03x",
        (&[0x40, 2, 0, 3], b"\x31\x04\x00\x01dx"),
        (b"", b"\x33\x06\x00\x01d\x00\x03x"),
    ),
    step(
        Device,
        &[0x40, 2, 0, 3],
        (b"", b""),
        (&[0x40, 2, 0, 3], b""),
    ),
    step(
        Upstream,
        b"\x3c\x06\x00\x01d\x00\x04x",
        (&[0x50, 2, 0, 4], b"\x30\x04\x00\x01dx"),
        (b"", b"\x3c\x06\x00\x01d\x00\x04x"),
    ),
    step(
        Device,
        &[0x50, 2, 0, 4],
        (b"", b""),
        (&[0x50, 2, 0, 4], b""),
    ),
    step(
        Upstream,
        &[0x62, 2, 0, 4],
        (&[0x70, 2, 0, 4], b""),
        (b"", &[0x62, 2, 0, 4]),
    ),
    step(
        Device,
        &[0x70, 2, 0, 4],
        (b"", b""),
        (&[0x70, 2, 0, 4], b""),
    ),
    same(
        Upstream,
        b"\x30\x04\x00\x01dx",
        (b"", b"\x30\x04\x00\x01dx"),
    ),
    // B-VER-5: forwarded by both, billed by one.
    same(Device, &[0xc0, 0], (&[0xc0, 0], b"")),
    same(Upstream, &[0xd0, 0], (b"", &[0xd0, 0])),
    same(
        Device,
        b"\xa2\x0c\x00\x03\x00\x08{{imsi}}",
        (b"\xa2\x13\x00\x03\x00\x0f440100000000001", b""),
    ),
    same(Upstream, &[0xb0, 2, 0, 3], (b"", &[0xb0, 2, 0, 3])),
    same(Device, &[0xe0, 0], (&[0xe0, 0], b"")),
];

fn travel(platform: Platform, told: impl Fn(&Step) -> Told) -> Counts {
    let mut pair = Pair::connecting(Version::V311, platform, BOTH);
    for (number, step) in JOURNEY.iter().enumerate() {
        pair.feed(step.from, step.bytes);
        let (upstream, device) = told(step);
        assert_eq!(
            pair.sent(Upstream),
            upstream,
            "{platform} step {number}, upstream"
        );
        assert_eq!(
            pair.sent(Device),
            device,
            "{platform} step {number}, device"
        );
    }
    assert_eq!(pair.end, Some(Cause::DeviceDisconnect));
    pair.session.counts()
}

#[test]
fn b_ver_2_5_6_one_script_under_both_platform_versions() {
    let old = travel(Platform::V201509, |step| step.old);
    let new = travel(Platform::V201912, |step| step.new);
    // Up: 2 SUBSCRIBE, 3 PUBLISH, 1 UNSUBSCRIBE, and 1 PINGREQ that only 201509 bills. Down: 3 PUBLISH.
    let counts = |each| Counts {
        device_leg: each,
        upstream_leg: each,
    };
    assert_eq!((old, new), (counts(10), counts(9)));
}

#[test]
fn b_ver_1_and_3_the_same_connect_under_both_platform_versions() {
    // A will at QoS 1 with RETAIN, user name and password.
    let with_will =
        b"\x10\x1a\x00\x04MQTT\x04\xee\x00\x3c\x00\x01c\x00\x01t\x00\x02hi\x00\x01u\x00\x01p";
    let without = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p";
    let of_31 = b"\x1f\x0f\x00\x06MQIsdp\x03\x03\x00\x3c\x00\x01a";
    let rows: [(&[u8], &[u8], &[u8]); 3] = [
        (with_will, without, with_will),
        (without, without, without),
        // B-ERR-2, B-509-1: bits that 3.1 does not use go no further.
        (
            of_31,
            b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a",
            b"\x10\x0f\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
        ),
    ];
    for (bytes, old, new) in rows {
        let Ok(Front::Whole(connect, _)) = read(bytes) else {
            panic!("{bytes:02x?}")
        };
        for (platform, expected) in [(Platform::V201509, old), (Platform::V201912, new)] {
            let rules = Rules {
                platform,
                topics: NONE,
            };
            let upstream = upstream_connect(
                &connect,
                &rules,
                &identity(),
                Credentials::PassThrough,
                None,
            );
            assert_eq!(upstream.unwrap(), expected, "{platform}");
        }
    }
}

#[test]
fn b_ver_2_the_acknowledgement_follows_the_last_byte() {
    let message = b"\x32\x07\x00\x01t\x00\x07hi";
    for from in [Device, Upstream] {
        let mut pair = Pair::open(Version::V311, Platform::V201509, NONE);
        for (number, byte) in message.iter().enumerate() {
            assert_eq!(pair.sent(from), b"", "before byte {number}");
            pair.feed(from, &[*byte]);
        }
        assert_eq!(pair.sent(from), [0x40, 2, 0, 7]);
        assert_eq!(pair.sent(from.other()), b"\x30\x05\x00\x01thi");
        // A repeated message is forwarded once more.
        pair.feed(from, b"\x3c\x05\x00\x01t\x00\x08\x3c\x05\x00\x01t\x00\x08");
        assert_eq!(pair.sent(from), [0x50, 2, 0, 8, 0x50, 2, 0, 8]);
        assert_eq!(
            pair.sent(from.other()),
            b"\x30\x03\x00\x01t\x30\x03\x00\x01t"
        );
    }
}

#[test]
fn b_509_1_a_3_1_device_has_a_3_1_1_upstream() {
    // What a 3.1 device may set is what 3.1.1 reserves: cleared on the way up, B-ERR-2.
    let rows: [(&[u8], &[u8], &[u8]); 8] = [
        (b"\x38\x03\x00\x01a", b"\x30\x03\x00\x01a", b""),
        (b"\x39\x03\x00\x01a", b"\x31\x03\x00\x01a", b""),
        (
            b"\x8b\x06\x00\x09\x00\x01a\x00",
            b"\x82\x06\x00\x09\x00\x01a\x00",
            b"",
        ),
        (
            b"\x8a\x06\x00\x09\x00\x01a\xfc",
            b"\x82\x06\x00\x09\x00\x01a\x00",
            b"",
        ),
        (
            b"\x8a\x06\x00\x09\x00\x01a\x06",
            b"\x82\x06\x00\x09\x00\x01a\x00",
            b"",
        ),
        (
            b"\xaa\x05\x00\x09\x00\x01a",
            b"\xa2\x05\x00\x09\x00\x01a",
            b"",
        ),
        (b"\xcf\x00", b"\xc0\x00", b""),
        (b"\x6a\x02\x00\x08", b"", b"\x70\x02\x00\x08"),
    ];
    for (bytes, upstream, device) in rows {
        let mut pair = Pair::open(Version::V31, Platform::V201509, NONE);
        pair.feed(Device, bytes);
        assert_eq!(pair.sent(Upstream), upstream, "{bytes:02x?}");
        assert_eq!(pair.sent(Device), device, "{bytes:02x?}");
        assert_eq!(pair.end, None);
    }
    let mut pair = Pair::open(Version::V31, Platform::V201509, NONE);
    pair.feed(Device, b"\xef\x00");
    assert_eq!(pair.sent(Upstream), b"\xe0\x00");
    // A v5 device has none.
    let refused = Platform::V201509.upstream_version(Version::V5);
    assert_eq!(refused, Err(crate::error::Refusal::UnsupportedVersion));
}

#[test]
fn b_ver_2_a_device_that_takes_no_acknowledgements_is_read_no_further() {
    let mut session = Pair::open(Version::V311, Platform::V201509, NONE).session;
    let many = b"\x32\x05\x00\x01t\x00\x07".repeat(2_000);
    let mut outputs = Outputs::default();
    let received = session.receive(Device, &many, 0, &mut outputs);
    assert_eq!(received.next, Next::Send);
    // The pieces of the messages are sent first; then replies that nobody takes hold it up.
    let mut consumed = received.consumed;
    loop {
        outputs.forward.clear(0);
        let received = session.receive(Device, &many[consumed..], 0, &mut outputs);
        consumed += received.consumed;
        assert_eq!(received.next, Next::Send);
        if received.consumed == 0 {
            break;
        }
    }
    assert_eq!(outputs.reply.len(), REPLY_BYTES);
    assert_eq!(consumed, 7 * REPLY_BYTES / 4);
    outputs.reply.clear();
    let received = session.receive(Device, &many[consumed..], 0, &mut outputs);
    assert!(received.consumed > 0);
}
