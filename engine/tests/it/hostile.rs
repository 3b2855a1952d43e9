//! Hostile and broken peers: whatever they send, they end themselves and nothing else.

use std::time::Duration;

use super::harness::fleet::{fleet, new_imsi, new_sim, old_sim, saying};
use super::harness::peer::{Peer, Upstream, connack, connect_packet, packet, publish, string};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::wait_until;

/// Bytes that no device may send after its CONNACK, and the DISCONNECT that a v5 device gets for them.
fn corpus(version: u8) -> Vec<(&'static str, Vec<u8>, u8)> {
    let properties: &[u8] = if version == 5 { &[0] } else { &[] };
    let body = |parts: &[&[u8]]| parts.concat();
    vec![
        ("type 0", vec![0x00, 0], 0x81),
        (
            "length of five bytes",
            vec![0xc0, 0x80, 0x80, 0x80, 0x80],
            0x81,
        ),
        (
            "QoS 3",
            packet(0x36, &body(&[&string("t"), &[0, 1], properties])),
            0x81,
        ),
        (
            "topic longer than the packet",
            vec![0x30, 3, 0, 9, b't'],
            0x81,
        ),
        (
            "topic with NUL",
            packet(0x30, &body(&[&[0, 1, 0], properties])),
            0x81,
        ),
        (
            "topic of bad UTF-8",
            packet(0x30, &body(&[&[0, 2, 0xc3, 0x28], properties])),
            0x81,
        ),
        (
            "topic with a surrogate",
            packet(0x30, &body(&[&[0, 3, 0xed, 0xa0, 0x80], properties])),
            0x81,
        ),
        (
            "topic with a wildcard",
            packet(0x30, &body(&[&string("a/+"), properties])),
            0x90,
        ),
        (
            "no topic",
            packet(0x30, &body(&[&string(""), properties])),
            0x90,
        ),
        (
            "filter longer than the packet",
            packet(0x82, &body(&[&[0, 1], properties, &[0, 9, b'a', 0]])),
            0x81,
        ),
        (
            "filter with NUL",
            packet(0x82, &body(&[&[0, 1], properties, &string("a\0"), &[0]])),
            0x81,
        ),
        ("CONNACK from a device", vec![0x20, 2, 0, 0], 0x82),
        (
            "SUBACK from a device",
            packet(0x90, &body(&[&[0, 1], properties, &[0]])),
            0x82,
        ),
        ("a second CONNECT", connect_packet(version, "again"), 0x82),
        (
            "a packet beyond 256 KiB",
            vec![0x82, 0x80, 0x80, 0x40],
            0x95,
        ),
        ("PUBACK too short", vec![0x40, 1, 0], 0x81),
    ]
}

#[test]
fn b_err_1_bad_packets_end_the_session_and_never_reach_the_upstream() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for version in [4, 5] {
        for (name, bytes, code) in corpus(version) {
            let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
            // What was right before it still arrives.
            device.send(&[&[0xc0, 0], &bytes[..]].concat());
            peer.expect(&[0xc0, 0]);
            // B-KEEP-4: and no DISCONNECT.
            assert_eq!(peer.rest(), b"", "{name} in version {version}");
            let told = device.rest();
            let expected: &[u8] = if version == 5 { &[0xe0, 1, code] } else { &[] };
            assert_eq!(told, expected, "{name} in version {version}");
        }
    }
    // B-ERR-4: once per session.
    let count = corpus(4).len() * 2;
    ringbeam.wait_for_logs(count, "message", "session ended");
    assert_eq!(
        ringbeam
            .log_lines()
            .iter()
            .filter(|l| l["message"] == "session ended")
            .count(),
        count
    );
}

#[test]
fn b_err_1_and_b_con_5_bad_connects_are_answered_where_the_standard_says_how() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let with_level = |level: u8| {
        packet(
            0x10,
            &[b"\x00\x04MQTT", &[level, 2, 0, 60][..], &string("d")].concat(),
        )
    };
    let rows: Vec<(&str, Vec<u8>, &[u8])> = vec![
        ("level 0", with_level(0), &[0x20, 2, 0, 1]),
        ("level 2", with_level(2), &[0x20, 2, 0, 1]),
        ("level 6", with_level(6), &[0x20, 3, 0, 0x84, 0]),
        ("level 133", with_level(133), &[0x20, 3, 0, 0x84, 0]),
        // B-CON-6: a bridge of 3.1 has the name of 3.1.
        ("level 131", with_level(131), &[0x20, 2, 0, 1]),
        (
            "reserved flag in 3.1.1",
            packet(0x10, b"\x00\x04MQTT\x04\x03\x00\x3c\x00\x01d"),
            &[],
        ),
        (
            "reserved flag in 5",
            packet(0x10, b"\x00\x04MQTT\x05\x03\x00\x3c\x00\x00\x01d"),
            &[0x20, 3, 0, 0x81, 0],
        ),
        (
            "no client id in 3.1.1",
            packet(0x10, b"\x00\x04MQTT\x04\x00\x00\x3c\x00\x00"),
            &[0x20, 2, 0, 2],
        ),
        (
            "no client id in 3.1",
            packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x00"),
            &[0x20, 2, 0, 2],
        ),
        ("not MQTT", b"GET / HTTP/1.1\r\n\r\n".to_vec(), &[]),
        ("another packet first", vec![0xc0, 0], &[]),
        (
            "too large in 5",
            b"\x10\x80\x80\x80\x01\x00\x04MQTT\x05".to_vec(),
            &[0x20, 3, 0, 0x95, 0],
        ),
        (
            "too large in 3.1.1",
            b"\x10\x80\x80\x80\x01\x00\x04MQTT\x04".to_vec(),
            &[],
        ),
        (
            "an unknown name",
            packet(0x10, b"\x00\x04MQTX\x04\x02\x00\x3c\x00\x01d"),
            &[],
        ),
    ];
    for (name, bytes, expected) in rows {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&bytes);
        assert_eq!(device.rest(), expected, "{name}");
    }
    assert!(upstream.is_untouched());
}

#[test]
fn b_err_3_a_bad_upstream_ends_the_session_on_the_device() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&saying(fleet(upstream.address())));
    for bytes in [
        vec![0x10, 0],
        vec![0x20, 2, 0, 0],
        vec![0x30, 3, 0, 1, b'#'],
        vec![0x00, 0],
        vec![0x82, 6, 0, 1, 0, 1, b'a', 0],
        vec![0x90, 1, 0],
        vec![0xd0, 0x80, 0x80, 0x80, 0x80],
    ] {
        for version in [4, 5] {
            let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
            peer.send(&bytes);
            let expected: &[u8] = if version == 5 { &[0xe0, 1, 0x80] } else { &[] };
            assert_eq!(device.rest(), expected, "{bytes:02x?} in version {version}");
            peer.expect_closed();
        }
    }
    // Before the CONNACK it is as B-CON-4 has it, here CONNACK 3.
    for answer in [
        &[0xd0, 0][..],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        &[0x20, 1, 0],
        &[0x20, 0],
    ] {
        for (version, expected) in [(4, &[0x20, 2, 0, 3][..]), (5, &[0x20, 3, 0, 0x88, 0])] {
            let mut device = Peer::connect(new_sim(1), ringbeam.address());
            device.send(&connect_packet(version, "device"));
            let (_peer, _) = upstream.accept_connect(answer);
            assert_eq!(
                device.rest(),
                expected,
                "{answer:02x?} in version {version}"
            );
        }
    }
    ringbeam.wait_for_logs(22, "reason", "upstream_offence");
}

/// B-ERR-6: what brokers and devices bend passes, and the session goes on.
#[test]
fn b_err_6_what_need_not_be_judged_passes_both_ways() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let subscribe = |first: u8, properties: &[u8], filter: &str, options: u8| {
        let body = [&[0, 9], properties, &string(filter), &[options]].concat();
        packet(first, &body)
    };
    for version in [3, 4, 5] {
        let properties: &[u8] = if version == 5 { &[0] } else { &[] };
        let mut up = vec![
            vec![0x40, 3, 0, 9, 0x95],
            vec![0x60, 2, 0, 9],
            vec![0x6a, 2, 0, 9],
            vec![0xc1, 1, 0],
            subscribe(0x80, properties, "a/#/b", 0xff),
            packet(0x82, &[&[0, 9], properties].concat()),
        ];
        let mut down = vec![
            vec![0x40, 3, 0, 9, 0x95],
            vec![0x50, 4, 0, 9, 0x95, 0],
            vec![0x60, 2, 0, 0],
            vec![0x90, 2, 0, 9],
            vec![0x92, 5, 0, 9, 0, 0x87, 3],
            vec![0xb0, 4, 0, 9, 0, 0x99],
            vec![0xc0, 0],
            vec![0xd0, 1, 0],
            packet(0x38, &[&string("d")[..], properties, b"x"].concat()),
            packet(
                0x32,
                &[&string("d")[..], &[0, 0], properties, b"x"].concat(),
            ),
        ];
        if version == 5 {
            // A property twice, one of another packet, one that does not exist.
            up.push(b"\x40\x08\0\x09\0\x04\x01\x01\x01\x01".to_vec());
            down.push(b"\x90\x0a\0\x09\x05\x11\0\0\0\x01\0\0".to_vec());
            down.push(b"\x30\x06\0\x01d\x01\x7fx".to_vec());
            down.push(vec![0xf0, 2, 0x18, 0]);
        }
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        for bytes in &up {
            device.send(bytes);
            peer.expect(bytes);
        }
        for bytes in &down {
            peer.send(bytes);
            device.expect(bytes);
        }
        // B-ERR-3: an upstream of whatever version may say that it closes.
        peer.send(&[0xe0, 2, 0x8e, 0]);
        device.expect(&[0xe0, 2, 0x8e, 0]);
        device.expect_closed();
        ringbeam.wait_for_logs(usize::from(version) - 2, "reason", "upstream_disconnect");
    }
    // Whatever the CONNACK says, the device is told.
    for (version, bytes) in [
        (4, &[0x20, 2, 0, 6][..]),
        (4, &[0x20, 3, 0, 0x87, 0]),
        (5, &[0x20, 3, 0, 0x8e, 0]),
        (5, &[0x20, 6, 1, 0x9f, 3, 0x23, 0, 1]),
    ] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        let (_peer, _) = upstream.accept_connect(bytes);
        assert_eq!(device.rest(), bytes);
    }
    ringbeam.wait_for_logs(4, "reason", "upstream_refused");
}

#[test]
fn b_con_3_a_connect_is_read_a_byte_at_a_time_and_in_time() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("connect_timeout_ms = 1500")
        .start();
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    for byte in connect_packet(4, "device") {
        device.send(&[byte]);
    }
    let (mut peer, connect) = upstream.accept_connect(connack(4));
    assert_eq!(connect, connect_packet(4, "device"));
    device.expect(connack(4));
    // Every later packet too, split at every byte.
    for byte in publish("a/{{imsi}}", b"payload") {
        device.send(&[byte]);
    }
    let topic = format!("a/{0}/{0}", new_imsi(1));
    peer.expect(&publish(&topic, b"payload"));
    for byte in publish("down", b"payload") {
        peer.send(&[byte]);
    }
    device.expect(&publish("down", b"payload"));

    let mut slow = Peer::connect(new_sim(2), ringbeam.address());
    slow.send(&connect_packet(4, "device")[..5]);
    slow.expect_silence(Duration::from_millis(1_300));
    slow.expect_closed();
    let mut silent = Peer::connect(new_sim(3), ringbeam.address());
    silent.expect_closed();
    ringbeam.wait_for_logs(2, "reason", "connect_timeout");
    assert!(upstream.is_untouched());
}

#[test]
fn the_largest_connect_passes_and_many_packets_in_one_segment_too() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    // Will, user name, password and client id at their largest.
    let long = "x".repeat(65_535);
    let fields = [string(&long), string("t"), string(&long)].concat();
    let connect = packet(
        0x10,
        &[b"\x00\x04MQTT\x04\x06\x00\x3c", &fields[..]].concat(),
    );
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    let mut batch = connect.clone();
    for number in 0..2_000_u32 {
        batch.extend(publish("n", &number.to_be_bytes()));
    }
    device.send(&batch);
    let (mut peer, arrived) = upstream.accept_connect(connack(4));
    assert!(arrived == connect);
    let topic = format!("n/{}", new_imsi(1));
    for number in 0..2_000_u32 {
        peer.expect(&publish(&topic, &number.to_be_bytes()));
    }
}

#[test]
fn b_top_5_what_grows_beyond_its_bounds_ends_the_session() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let session = |version: u8, connack: &[u8]| {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        let (peer, _) = upstream.accept_connect(connack);
        device.expect(connack);
        (device, peer)
    };
    // The longest topic that still fits its suffix, then one byte more.
    let (mut device, mut peer) = session(4, connack(4));
    let fits = "t".repeat(65_535 - 16);
    device.send(&publish(&fits, b""));
    peer.expect(&publish(&format!("{fits}/{}", new_imsi(1)), b""));
    device.send(&publish(&format!("{fits}t"), b""));
    device.expect_closed();
    peer.expect_closed();
    // The upstream's Maximum Packet Size.
    let maximum = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 40];
    let (mut device, mut peer) = session(5, &maximum);
    let v5 =
        |topic: &str, payload: &[u8]| packet(0x30, &[&string(topic)[..], &[0], payload].concat());
    device.send(&v5("t", &[b'x'; 18]));
    peer.expect(&v5(&format!("t/{}", new_imsi(1)), &[b'x'; 18]));
    device.send(&v5("t", &[b'x'; 19]));
    device.expect(&[0xe0, 1, 0x95]);
    peer.expect_closed();
}

#[test]
fn one_flooding_device_leaves_deadlines_and_others_alone() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("connect_timeout_ms = 1000")
        .start();
    let mut flood = Peer::connect(old_sim(1), ringbeam.address());
    flood.send(&connect_packet(4, "flood"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    flood.expect(connack(4));
    let mut flooding = flood.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        let message = publish("f", &[0; 100]).repeat(1_000);
        while std::io::Write::write_all(&mut flooding, &message).is_ok() {}
    });
    let mut draining = peer.stream().try_clone().unwrap();
    let reader = std::thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        while std::io::Read::read(&mut draining, &mut buffer).is_ok_and(|count| count > 0) {}
    });
    // Deadlines fire, and others are served, on every shard.
    for number in 0..8 {
        let mut silent = Peer::connect(new_sim(number), ringbeam.address());
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(number), 4);
        device.send(&publish("t", b"through"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"through"));
        if number < 2 {
            silent.expect_closed();
        }
    }
    ringbeam.wait_for_logs(2, "reason", "connect_timeout");
    drop(peer);
    flood.stream().shutdown(std::net::Shutdown::Both).unwrap();
    sender.join().unwrap();
    reader.join().unwrap();
}

#[test]
fn b_keep_5_a_reader_that_stalls_is_closed_with_its_own_reason() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("stall_timeout_ms = 1500")
        .start();
    let mut device = Peer::connect_narrow(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    // Nobody reads on the device: the upstream is held back, and in the end both are closed.
    let message = publish("d", &vec![0; 1 << 20]);
    let mut sent = 0;
    while peer.try_send(&message).is_ok() {
        sent += message.len();
        assert!(sent < 1 << 30, "it takes everything and passes nothing");
    }
    ringbeam.wait_for_log(&[("reason", "device_stalled")]);

    // The other way round the device's keep alive stands still meanwhile.
    let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    while device.try_send(&publish("u", &vec![0; 1 << 20])).is_ok() {}
    ringbeam.wait_for_log(&[("reason", "upstream_stalled")]);
    drop(peer);
}

#[test]
fn b_err_2_devices_of_3_1_are_read_by_their_own_rules() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    // A user name flag without the string, a reserved flag.
    device.send(&packet(0x10, b"\x00\x06MQIsdp\x03\x83\x00\x3c\x00\x01d"));
    let (mut peer, connect) = upstream.accept_connect(connack(3));
    assert_eq!(
        connect,
        packet(0x10, b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x01d")
    );
    device.expect(connack(3));
    for packet in [
        vec![0x8a, 6, 0, 1, 0, 1, b's', 1],
        vec![0xaa, 5, 0, 2, 0, 1, b's'],
        vec![0x6a, 2, 0, 3],
    ] {
        device.send(&packet);
        peer.expect(&packet);
    }
}

#[test]
fn b_bill_1_what_breaks_off_is_not_billed_on_its_way_out() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("a", b"whole"));
    peer.expect(&publish(&format!("a/{}", new_imsi(1)), b"whole"));
    // A message whose last byte never comes.
    device.send(&publish("a", b"broken off")[..8]);
    wait_until("the beginning to pass", || peer.bytes(1)[0] == 0x30);
    drop(device);
    ringbeam.wait_for_log(&[
        ("in_mqtt", "1"),
        ("out_mqtt", "1"),
        ("reason", "device_closed"),
    ]);
}

#[test]
fn b_bill_1_what_a_reset_destroys_is_not_billed() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect_narrow(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    // Far more than the buffers between here and there hold.
    let count: u32 = 4_000;
    let flood = publish("d", &[7; 16_000]).repeat(100);
    let mut sending = peer.stream().try_clone().unwrap();
    let sender = std::thread::spawn(move || {
        (0..count / 100).all(|_| std::io::Write::write_all(&mut sending, &flood).is_ok())
    });
    device.expect(&publish("d", &[7; 16_000]));
    device.reset();
    let ended = ringbeam.wait_for_log(&[("reason", "device_reset")]);
    // What still comes while the connection closes is read away and counts for nobody.
    sender.join().unwrap();
    let (received, sent) = (
        ended["out_mqtt"].as_u64().unwrap(),
        ended["in_mqtt"].as_u64().unwrap(),
    );
    assert!(
        sent >= 1 && sent <= received && received < u64::from(count),
        "{ended}"
    );
}
