use super::*;
use crate::error::BadClientId;
use alloc::vec;

const V311: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a";

fn whole(packet: &[u8]) -> Connect<'_> {
    match read(packet) {
        Ok(Opening::Whole(connect, length)) if length == packet.len() => connect,
        other => panic!("{other:?}"),
    }
}

fn refused(packet: &[u8]) -> (Cause, Option<Version>) {
    let unserved = read(packet).unwrap_err();
    (unserved.cause, unserved.version)
}

/// A packet around `body`.
fn packet(body: &[u8]) -> Vec<u8> {
    [
        &[FIRST_BYTE],
        Varint::encode(body.len()).unwrap().as_bytes(),
        body,
    ]
    .concat()
}

#[test]
fn whole_packets_are_read_and_written_back() {
    for body in [
        &b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x01a"[..],
        b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01a",
        b"\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x01a",
        b"\x00\x04MQTT\x04\xf6\x00\x00\x00\x01c\x00\x01t\x00\x02hi\x00\x01u\x00\x01p",
        b"\x00\x04MQTT\x05\x4e\x00\x05\x05\x11\x00\x00\x00\x09\x00\x01c\x02\x01\x01\x00\x01t\x00\x00\x00\x01p",
        b"\x00\x04MQTT\x05\x02\x00\x00\x07\x15\x00\x04abcd\x00\x00",
    ] {
        let packet = packet(body);
        assert_eq!(whole(&packet).write().unwrap(), packet, "{body:02x?}");
    }
    let fields =
        packet(b"\x00\x04MQTT\x04\xf6\x00\x09\x00\x01c\x00\x01t\x00\x02hi\x00\x01u\x00\x01p");
    let connect = whole(&fields);
    assert_eq!(
        (connect.username, connect.password),
        (Some("u"), Some(&b"p"[..]))
    );
    let will = connect.will.unwrap();
    assert_eq!(
        (will.topic, will.payload, will.qos, will.retain),
        ("t", &b"hi"[..], Qos::ExactlyOnce, true)
    );
    assert!(connect.clean);
    assert_eq!(connect.keep_alive_seconds, 9);
}

#[test]
fn b_con_3_any_split_is_partial_until_the_last_byte() {
    for end in 0..V311.len() {
        let opening = read(&V311[..end]);
        assert!(
            matches!(opening, Ok(Opening::Partial(_))),
            "{end}: {opening:?}"
        );
    }
    let two = [V311, V311].concat();
    assert!(matches!(read(&two), Ok(Opening::Whole(_, 15))));
}

#[test]
fn b_con_3_the_first_packet_must_be_connect() {
    let (cause, version) = refused(&[0xc0, 0]);
    assert_eq!(
        cause,
        Cause::DeviceOffence(Forbidden::FirstPacket(Kind::Connect).into())
    );
    assert_eq!(version, None);
    assert_eq!(refused(b"GET / HTTP/1.1").1, None);
}

#[test]
fn b_con_5_unknown_levels_are_told_apart() {
    let level = |name: &[u8], level: u8| {
        let body = [
            &[0, u8::try_from(name.len()).unwrap()],
            name,
            &[level, 2, 0, 0, 0, 0],
        ]
        .concat();
        refused(&packet(&body))
    };
    for number in [6, 7, 0x82, 0x85, 0xff] {
        assert_eq!(
            level(b"MQTT", number),
            (Cause::Refused(Refusal::LevelTooHigh(number)), None)
        );
    }
    // B-CON-6: a bridge of 3.1 has the name of 3.1.
    for number in [0, 1, 2, 3, 0x83] {
        assert_eq!(
            level(b"MQTT", number),
            (Cause::Refused(Refusal::LevelTooLow(number)), None)
        );
    }
    for number in [4, 0x84] {
        assert_eq!(
            level(b"MQIsdp", number),
            (Cause::Refused(Refusal::LevelTooLow(number)), None)
        );
    }
    let malformed = Cause::DeviceOffence(Malformed::ProtocolName.into());
    assert_eq!(level(b"XXTT", 4), (malformed, None));
    assert_eq!(level(b"AMQP!", 4), (malformed, None));
}

#[test]
fn b_con_6_a_bridge_is_served_in_the_version_that_it_names() {
    for (body, version) in [
        (
            &b"\x00\x06MQIsdp\x83\x02\x00\x3c\x00\x01a"[..],
            Version::V31,
        ),
        (b"\x00\x04MQTT\x84\x02\x00\x3c\x00\x01a", Version::V311),
    ] {
        let packet = packet(body);
        let connect = whole(&packet);
        assert_eq!((connect.version, connect.is_bridge), (version, true));
        assert_eq!(connect.write().unwrap(), packet);
    }
    assert!(!whole(V311).is_bridge);
}

#[test]
fn b_err_1_malformed_connects_name_their_version() {
    let check = |body: &[u8], expected: Offence, version| {
        assert_eq!(
            refused(&packet(body)),
            (Cause::DeviceOffence(expected), Some(version)),
            "{body:02x?}"
        );
    };
    let (old, new) = (Version::V311, Version::V5);
    check(
        b"\x00\x04MQTT\x04\x03\x00\x00\x00\x01a",
        Malformed::ReservedBits.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x42\x00\x00\x00\x01a\x00\x01p",
        Malformed::ConnectFlags.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x22\x00\x00\x00\x01a",
        Malformed::ConnectFlags.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x1e\x00\x00\x00\x01a\x00\x01t\x00\x00",
        Malformed::Qos.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x82\x00\x00\x00\x01a",
        Malformed::Truncated.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x02\x00\x00\x00\x01ax",
        Malformed::TrailingBytes.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x04\x02\x00\x00\x00\x01\x00",
        Malformed::Utf8.into(),
        old,
    );
    check(
        b"\x00\x04MQTT\x05\x02\x00\x00\x02\x7f\x01\x00\x01a",
        Malformed::Property(0x7f).into(),
        new,
    );
    check(
        b"\x00\x04MQTT\x05\x02\x00\x00\x09\x21\x00\x00",
        Malformed::Truncated.into(),
        new,
    );
    let flags = [&[0x11, 13], &V311[2..]].concat();
    assert_eq!(
        refused(&flags),
        (
            Cause::DeviceOffence(Malformed::HeaderFlags.into()),
            Some(old)
        )
    );
}

/// An upstream of 3.1.1 would refuse it; with other credentials it would never see it.
#[test]
fn b_err_1_before_v5_no_password_comes_without_a_user_name() {
    let malformed = Cause::DeviceOffence(Malformed::ConnectFlags.into());
    assert_eq!(
        refused(&packet(b"\x00\x06MQIsdp\x03\x42\x00\x00\x00\x01a\x00\x01p")),
        (malformed, Some(Version::V31))
    );
}

/// They go upstream as they came.
#[test]
fn b_err_6_properties_and_will_topics_are_not_judged() {
    for body in [
        // Authentication data without a method, a property of another packet, one twice, one out of range.
        &b"\x00\x04MQTT\x05\x02\x00\x00\x04\x16\x00\x01x\x00\x01a"[..],
        b"\x00\x04MQTT\x05\x02\x00\x00\x02\x01\x01\x00\x01a",
        b"\x00\x04MQTT\x05\x02\x00\x00\x04\x17\x01\x17\x01\x00\x01a",
        b"\x00\x04MQTT\x05\x02\x00\x00\x82\x00\x17\x02\x00\x01a",
        b"\x00\x04MQTT\x05\x06\x00\x00\x00\x00\x01a\x02\x7f\x00\x00\x01t\x00\x00",
        b"\x00\x04MQTT\x04\x06\x00\x00\x00\x01a\x00\x01#\x00\x00",
    ] {
        let packet = packet(body);
        assert_eq!(whole(&packet).write().unwrap(), packet, "{body:02x?}");
    }
}

#[test]
fn b_err_2_mqtt_3_1_is_read_by_its_own_rules() {
    // Fixed header flags, connect flag 0, and strings missing behind their flags.
    for body in [
        &b"\x00\x06MQIsdp\x03\x03\x00\x3c\x00\x01a"[..],
        b"\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x01a",
        b"\x00\x06MQIsdp\x03\xc2\x00\x3c\x00\x01a\x00\x01u",
        b"\x00\x06MQIsdp\x03\x3a\x00\x3c\x00\x01a",
    ] {
        let mut packet = packet(body);
        packet[0] = 0x1f;
        assert_eq!(whole(&packet).version, Version::V31, "{body:02x?}");
    }
}

#[test]
fn b_err_2_only_mqtt_5_demands_the_shortest_length() {
    let padded = [&[FIRST_BYTE, 0x8d, 0x00], &V311[2..]].concat();
    assert_eq!(whole(&padded).write().unwrap(), V311);
    let mut v5 = [&[FIRST_BYTE, 0x8d, 0x00], &V311[2..]].concat();
    v5[9] = 5;
    assert_eq!(
        refused(&v5),
        (
            Cause::DeviceOffence(Malformed::VarintOverlong.into()),
            Some(Version::V5)
        )
    );
}

#[test]
fn b_err_1_an_empty_client_id_is_refused_where_the_standard_says_so() {
    let rejected = |version| {
        (
            Cause::Refused(Refusal::ClientId(BadClientId::Empty)),
            Some(version),
        )
    };
    assert_eq!(
        refused(&packet(b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00")),
        rejected(Version::V31)
    );
    assert_eq!(
        refused(&packet(b"\x00\x04MQTT\x04\x00\x00\x3c\x00\x00")),
        rejected(Version::V311)
    );
    assert_eq!(
        whole(&packet(b"\x00\x04MQTT\x04\x02\x00\x3c\x00\x00")).client_id,
        ""
    );
    assert_eq!(
        whole(&packet(b"\x00\x04MQTT\x05\x00\x00\x3c\x00\x00\x00")).client_id,
        ""
    );
}

#[test]
fn b_err_5_a_connect_beyond_512_kib_is_refused_from_its_head() {
    let mut stream = vec![FIRST_BYTE];
    stream.extend_from_slice(Varint::encode(CONNECT_BYTES_MAX).unwrap().as_bytes());
    stream.extend_from_slice(b"\x00\x04MQTT\x05");
    let too_large = Cause::DeviceOffence(Forbidden::TooLarge.into());
    assert_eq!(refused(&stream), (too_large, Some(Version::V5)));
    let last = stream.len() - 1;
    stream[last] = 4;
    assert_eq!(refused(&stream), (too_large, Some(Version::V311)));
}

#[test]
fn b_keep_1_keep_alive_is_0_or_5_to_1200() {
    for (seconds, expected) in [
        (0, Ok(())),
        (1, Err(Refusal::KeepAlive(1))),
        (4, Err(Refusal::KeepAlive(4))),
        (5, Ok(())),
        (1200, Ok(())),
        (1201, Err(Refusal::KeepAlive(1201))),
        (u16::MAX, Err(Refusal::KeepAlive(u16::MAX))),
    ] {
        assert_eq!(check_keep_alive(seconds), expected, "{seconds}");
    }
}

#[test]
fn debug_shows_no_credentials() {
    let fields = packet(b"\x00\x04MQTT\x04\xc2\x00\x09\x00\x01c\x00\x06hidden\x00\x06secret");
    let shown = alloc::format!("{:?}", whole(&fields));
    assert!(
        !shown.contains("secret") && !shown.contains("hidden"),
        "{shown}"
    );
}
