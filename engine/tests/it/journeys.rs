//! One session's way, byte by byte, with a scripted upstream: what arrives there and what comes back,
//! under both platform versions.

use std::time::Duration;

use super::harness::fleet::{
    fleet, fleet_with, new_imsi, new_sim, new_sim_id, old_imsi, old_sim, saying,
};
use super::harness::peer::{
    Peer, Upstream, connack, connect_packet, connect_with_keep_alive, packet, publish, string,
};
use super::harness::ringbeam::{Ringbeam, Setup};
use serde_json::json;

#[test]
fn b_id_1_and_b_top_1_and_2_the_sim_of_the_source_address_is_in_the_topic() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for version in [3, 4] {
        let mut device = Peer::connect(new_sim(7), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        let (mut peer, connect) = upstream.accept_connect(connack(version));
        device.expect(connack(version));
        // B-VER-1, B-CON-1: as the device said it.
        assert_eq!(connect, connect_packet(version, "device"));
        device.send(&publish("test", b"Hello"));
        peer.expect(&publish(&format!("test/{}", new_imsi(7)), b"Hello"));
        device.send(&publish("{{simId}}/{{imei}}/{{imsi}}", b""));
        let (imsi, sim_id) = (new_imsi(7), new_sim_id(7));
        peer.expect(&publish(
            &format!("{sim_id}/unknown-imei/{imsi}/{imsi}"),
            b"",
        ));
        // B-TOP-1: what comes down is not touched.
        peer.send(&publish("down/{{imsi}}", b"Hi"));
        device.expect(&publish("down/{{imsi}}", b"Hi"));
    }
    let (mut device, mut peer) =
        upstream.session(ringbeam.address(), std::net::Ipv4Addr::new(127, 0, 0, 2), 4);
    device.send(&publish("{{imei}}", b""));
    peer.expect(&publish("353456789012348/440100000000001", b""));
}

#[test]
fn b_top_2_filters_are_rewritten_and_suffixes_are_not_added() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let subscribe = |filter: &str| packet(0x82, &[&[0, 9][..], &string(filter), &[2]].concat());
    device.send(&subscribe("a/{{imsi}}/#"));
    peer.expect(&subscribe(&format!("a/{}/#", new_imsi(1))));
    device.send(&subscribe("$share/{{imsi}}/{{imsi}}"));
    peer.expect(&subscribe(&format!("$share/{{{{imsi}}}}/{}", new_imsi(1))));
    let unsubscribe = |filter: &str| packet(0xa2, &[&[0, 9][..], &string(filter)].concat());
    device.send(&unsubscribe("a/{{imsi}}/#"));
    peer.expect(&unsubscribe(&format!("a/{}/#", new_imsi(1))));
    device.send(&unsubscribe("plain"));
    peer.expect(&unsubscribe("plain"));
}

/// B-VER-1 to B-VER-3: the same script under both versions, with the difference as data.
#[test]
fn b_ver_the_same_script_under_both_versions() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let will = |flags: u8| {
        let fields = [&string("device")[..], &string("gone"), &string("bye")].concat();
        let without = string("device");
        let fields = if flags & 4 == 0 { without } else { fields };
        packet(
            0x10,
            &[b"\x00\x04MQTT\x04", &[flags, 0, 60][..], &fields].concat(),
        )
    };
    let qos_publish = |first: u8, topic: &str, id: &[u8], payload: &[u8]| {
        packet(first, &[&string(topic)[..], id, payload].concat())
    };
    let subscribe = |qos: u8| packet(0x82, &[&[0, 3][..], &string("s"), &[qos]].concat());
    for (from, imsi, is_old) in [
        (new_sim(3), new_imsi(3), false),
        (old_sim(3), old_imsi(3), true),
    ] {
        let topic = format!("t/{imsi}");
        let mut device = Peer::connect(from, ringbeam.address());
        // Will with QoS 1 and retain.
        device.send(&will(0b0010_1110));
        let (mut peer, connect) = upstream.accept_connect(&[0x20, 2, 1, 0]);
        assert_eq!(connect, will(if is_old { 0b10 } else { 0b0010_1110 }));
        // B-CON-1: session present passes.
        device.expect(&[0x20, 2, 1, 0]);

        // QoS 1 with retain.
        device.send(&qos_publish(0x33, "t", &[0, 5], b"one"));
        if is_old {
            peer.expect(&qos_publish(0x31, &topic, &[], b"one"));
        } else {
            peer.expect(&qos_publish(0x33, &topic, &[0, 5], b"one"));
            peer.send(&[0x40, 2, 0, 5]);
        }
        device.expect(&[0x40, 2, 0, 5]);

        // QoS 2, sent twice.
        device.send(&qos_publish(0x3c, "t", &[0, 6], b"two"));
        if is_old {
            peer.expect(&qos_publish(0x30, &topic, &[], b"two"));
        } else {
            peer.expect(&qos_publish(0x3c, &topic, &[0, 6], b"two"));
            peer.send(&[0x50, 2, 0, 6]);
        }
        device.expect(&[0x50, 2, 0, 6]);
        device.send(&[0x62, 2, 0, 6]);
        if !is_old {
            peer.expect(&[0x62, 2, 0, 6]);
            peer.send(&[0x70, 2, 0, 6]);
        }
        device.expect(&[0x70, 2, 0, 6]);

        device.send(&subscribe(2));
        peer.expect(&subscribe(if is_old { 0 } else { 2 }));
        let granted = [0x90, 3, 0, 3, if is_old { 0 } else { 2 }];
        peer.send(&granted);
        device.expect(&granted);

        // A message down at QoS 1: under 201509 it is acknowledged here.
        peer.send(&qos_publish(0x32, "s", &[0, 8], b"down"));
        if is_old {
            device.expect(&qos_publish(0x30, "s", &[], b"down"));
        } else {
            device.expect(&qos_publish(0x32, "s", &[0, 8], b"down"));
            device.send(&[0x40, 2, 0, 8]);
        }
        peer.expect(&[0x40, 2, 0, 8]);

        // PINGREQ is forwarded under both.
        device.send(&[0xc0, 0]);
        peer.expect(&[0xc0, 0]);
        peer.send(&[0xd0, 0]);
        device.expect(&[0xd0, 0]);
        device.send(&[0xe0, 0]);
        peer.expect(&[0xe0, 0]);
        peer.expect_closed();

        // B-VER-5, B-VER-6, B-BILL-1: PUBLISH up twice, SUBSCRIBE, PUBLISH down; PINGREQ in 201509.
        let count = if is_old { "5" } else { "4" };
        ringbeam.wait_for_log(&[
            ("imsi", &imsi),
            ("reason", "device_disconnect"),
            ("in_mqtt", count),
            ("out_mqtt", count),
        ]);
    }
}

#[test]
fn b_509_1_devices_of_3_1_and_5_under_201509() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(old_sim(1), ringbeam.address());
    device.send(&connect_packet(3, "device"));
    let (mut peer, connect) = upstream.accept_connect(&[0x20, 2, 1, 0]);
    assert_eq!(connect, connect_packet(4, "device"));
    // 3.1 knows no session present.
    device.expect(&[0x20, 2, 0, 0]);
    // DUP flags are legal in 3.1 and not upstream.
    device.send(&[0x8a, 6, 0, 1, 0, 1, b's', 1]);
    peer.expect(&[0x82, 6, 0, 1, 0, 1, b's', 0]);
    // 3.1 does not know that a subscription may be refused; the device makes of it what it can.
    peer.send(&[0x90, 3, 0, 1, 0x80]);
    device.expect(&[0x90, 3, 0, 1, 0x80]);
    device.send(&publish("t", b"on"));
    peer.expect(&publish(&format!("t/{}", old_imsi(1)), b"on"));

    let mut device = Peer::connect(old_sim(1), ringbeam.address());
    device.send(&connect_packet(5, "device"));
    // As a broker that speaks 3.1.1 alone answers: libraries fall back then.
    device.expect(&[0x20, 2, 0, 1]);
    device.expect_closed();
    assert!(upstream.is_untouched());
}

#[test]
fn b_con_5_v5_passes_with_everything_in_it() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    // Session expiry, receive maximum, a user property; a will with delay and content type.
    let properties = b"\x13\x11\x00\x00\x00\x3c\x21\x00\x0a\x26\x00\x01k\x00\x01v\x19\x01\x17\x01";
    let properties = [
        &[u8::try_from(properties.len() - 1).unwrap()][..],
        &properties[1..],
    ]
    .concat();
    let mut body = b"\x00\x04MQTT\x05\x06\x00\x3c".to_vec();
    body.extend(&properties);
    body.extend(string("device"));
    body.extend(b"\x05\x18\x00\x00\x00\x05");
    body.extend(string("will/{{imsi}}"));
    body.extend(string("bye"));
    let connect = packet(0x10, &body);
    let mut device = Peer::connect(new_sim(9), ringbeam.address());
    device.send(&connect);
    // Assigned client identifier, topic alias maximum.
    let connack = b"\x20\x0b\x00\x00\x08\x22\x00\x0a\x12\x00\x02id";
    let (mut peer, arrived) = upstream.accept_connect(connack);
    assert_eq!(arrived, connect);
    device.expect(connack);
    // A topic and an alias, then the alias alone; Response Topic untouched.
    let imsi = new_imsi(9);
    let first = |topic: &str| {
        packet(
            0x30,
            &[&string(topic)[..], b"\x09\x23\x00\x01\x08\x00\x03r/a", b"x"].concat(),
        )
    };
    device.send(&first("t"));
    peer.expect(&first(&format!("t/{imsi}")));
    let alias = packet(0x30, &[&string("")[..], b"\x03\x23\x00\x01", b"y"].concat());
    device.send(&alias);
    peer.expect(&alias);
    // A subscription identifier down, reason codes up.
    let down = packet(
        0x32,
        &[&string("d")[..], &[0, 4], b"\x02\x0b\x07", b"z"].concat(),
    );
    peer.send(&down);
    device.expect(&down);
    device.send(&[0x40, 3, 0, 4, 0x10]);
    peer.expect(&[0x40, 3, 0, 4, 0x10]);
    // The upstream's own DISCONNECT passes, with its reason.
    peer.send(&[0xe0, 2, 0x8e, 0]);
    device.expect(&[0xe0, 2, 0x8e, 0]);
    device.expect_closed();
}

#[test]
fn b_con_5_an_authentication_exchange_precedes_the_connack() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let body = [
        b"\x00\x04MQTT\x05\x02\x00\x3c\x06\x15\x00\x03abc",
        &string("d")[..],
    ]
    .concat();
    let mut device = Peer::connect(new_sim(9), ringbeam.address());
    device.send(&packet(0x10, &body));
    let auth = packet(0xf0, b"\x18\x06\x15\x00\x03abc");
    let (mut peer, _) = upstream.accept_connect(&auth);
    device.expect(&auth);
    device.send(&auth);
    peer.expect(&auth);
    peer.send(connack(5));
    device.expect(connack(5));
}

#[test]
fn b_con_2_credentials_go_where_they_must_and_nowhere_else() {
    let upstream = Upstream::listen();
    let with = |user: &str, password: &str| {
        let fields = [&string("d")[..], &string(user), &string(password)].concat();
        packet(
            0x10,
            &[b"\x00\x04MQTT\x04\xc2\x00\x3c", &fields[..]].concat(),
        )
    };
    let without = packet(
        0x10,
        &[b"\x00\x04MQTT\x04\x02\x00\x3c", &string("d")[..]].concat(),
    );
    let configured = with("u-440100000000001", "p-353456789012348-440100000000001");
    for (change, expected) in [
        (json!({}), without),
        (
            json!({ "useClientCredentials": true }),
            with("theirs", "secret-of-theirs"),
        ),
        (
            json!({ "username": "u-#{imsi}", "password": "p-#{imei}-#{imsi}" }),
            configured,
        ),
    ] {
        let fleet = fleet_with(upstream.address(), |_, object| {
            for (key, value) in change.as_object().unwrap() {
                object[key] = value.clone();
            }
        });
        let ringbeam = Ringbeam::start(&fleet);
        let mut device = Peer::connect(std::net::Ipv4Addr::new(127, 0, 0, 2), ringbeam.address());
        device.send(&with("theirs", "secret-of-theirs"));
        let (_peer, connect) = upstream.accept_connect(connack(4));
        assert_eq!(connect, expected, "{change}");
        device.expect(connack(4));
        drop(device);
        ringbeam.wait_for_log(&[("message", "session ended")]);
        let log = ringbeam.log_text();
        assert!(
            !log.contains("secret-of-theirs") && !log.contains("p-353456789012348"),
            "{log}"
        );
    }
}

#[test]
fn b_top_4_wills_are_rewritten_only_on_request() {
    let upstream = Upstream::listen();
    for rewrite in [false, true] {
        let fleet = fleet_with(upstream.address(), |_, object| {
            object["rewriteWill"] = rewrite.into();
        });
        let ringbeam = Ringbeam::start(&fleet);
        let will = |topic: &str| {
            let fields = [&string("d")[..], &string(topic), &string("bye")].concat();
            packet(
                0x10,
                &[b"\x00\x04MQTT\x04\x06\x00\x3c", &fields[..]].concat(),
            )
        };
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&will("gone/{{imsi}}"));
        let (_peer, connect) = upstream.accept_connect(connack(4));
        let imsi = new_imsi(1);
        let rewritten = format!("gone/{imsi}/{imsi}");
        assert_eq!(
            connect,
            will(if rewrite { &rewritten } else { "gone/{{imsi}}" })
        );
    }
}

#[test]
fn b_id_2_whoever_is_not_served_gets_connack_5_and_nothing_goes_upstream() {
    let upstream = Upstream::listen();
    let fleet = fleet_with(upstream.address(), |group, object| {
        object["enabled"] = (group == "new").into();
    });
    let ringbeam = Ringbeam::start(&fleet);
    for (from, reason) in [
        ("127.0.0.9".parse().unwrap(), "refused_unknown_address"),
        ("127.0.0.3".parse().unwrap(), "refused_no_group"),
        ("127.0.0.4".parse().unwrap(), "refused_no_entry_point"),
        (old_sim(1), "refused_entry_point_disabled"),
    ] {
        for (version, expected) in [
            (3, &[0x20, 2, 0, 5][..]),
            (4, &[0x20, 2, 0, 5]),
            (5, &[0x20, 3, 0, 0x87, 0]),
        ] {
            let mut device = Peer::connect(from, ringbeam.address());
            device.send(&connect_packet(version, "device"));
            device.expect(expected);
            device.expect_closed();
        }
        // B-ERR-4: once per connection.
        ringbeam.wait_for_logs(3, "reason", reason);
    }
    assert!(upstream.is_untouched());
}

#[test]
fn b_id_3_one_address_in_two_networks_is_two_sims() {
    let upstream = Upstream::listen();
    let mut fleet = fleet(upstream.address());
    fleet["sims"].as_array_mut().unwrap().push(json!({
        "simId": "8981100000000000077", "imsi": "440100000000077", "groupId": "new",
        "network": "other", "ips": ["127.0.0.2", "::1"],
    }));
    let ringbeam = Setup::new(&fleet)
        .listener("other", "127.0.0.1:0")
        .listener("other", "[::1]:0")
        .start();
    let other = ringbeam.address_of("other");
    for (from, to, imsi) in [
        ("127.0.0.2", ringbeam.address(), "440100000000001"),
        ("127.0.0.2", other, "440100000000077"),
    ] {
        let mut device = Peer::connect(from.parse::<std::net::IpAddr>().unwrap(), to);
        device.send(&connect_packet(4, "device"));
        let (mut peer, _) = upstream.accept_connect(connack(4));
        device.expect(connack(4));
        device.send(&publish("t", b""));
        peer.expect(&publish(&format!("t/{imsi}"), b""));
    }
}

#[test]
fn ipv6_devices_are_sims_too() {
    let upstream = Upstream::listen();
    let mut fleet = fleet(upstream.address());
    fleet["sims"].as_array_mut().unwrap().push(json!({
        "simId": "8981100000000000066", "imsi": "440100000000066", "groupId": "new", "ips": ["::1"],
    }));
    let ringbeam = Setup::new(&fleet).listener("default", "[::1]:0").start();
    let to = ringbeam
        .addresses()
        .find(std::net::SocketAddr::is_ipv6)
        .unwrap();
    let mut device = Peer::connect("::1".parse::<std::net::IpAddr>().unwrap(), to);
    device.send(&connect_packet(4, "device"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    device.send(&publish("t", b""));
    peer.expect(&publish("t/440100000000066", b""));
}

#[test]
fn b_keep_1_keep_alives_out_of_range_are_refused() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for seconds in [1, 4, 1201, u16::MAX] {
        for (version, expected) in [(4, &[0x20, 2, 0, 5][..]), (5, &[0x20, 3, 0, 0x87, 0])] {
            let mut device = Peer::connect(new_sim(1), ringbeam.address());
            device.send(&connect_with_keep_alive(version, "device", seconds));
            device.expect(expected);
            device.expect_closed();
        }
    }
    assert!(upstream.is_untouched());
    for seconds in [0, 5, 1200] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        let connect = connect_with_keep_alive(4, "device", seconds);
        device.send(&connect);
        let (_peer, arrived) = upstream.accept_connect(connack(4));
        assert_eq!(arrived, connect);
        device.expect(connack(4));
    }
}

#[test]
fn b_keep_2_silence_beyond_the_keep_alive_ends_the_session_and_never_early() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_with_keep_alive(5, "device", 5));
    let (mut peer, _) = upstream.accept_connect(connack(5));
    device.expect(connack(5));
    // The upstream's bytes do not count; a trickled message of the device does.
    device.expect_silence(Duration::from_secs(3));
    device.send(&[0x30]);
    peer.send(&packet(0x30, b"\x00\x01d\x00"));
    device.expect(&packet(0x30, b"\x00\x01d\x00"));
    device.expect_silence(Duration::from_millis(7_400));
    // A v5 device is told; the upstream gets no DISCONNECT, so that wills fire (B-KEEP-4).
    device.expect(&[0xe0, 1, 0x8d]);
    device.expect_closed();
    peer.expect_closed();
    ringbeam.wait_for_log(&[("reason", "keep_alive_timeout")]);
}

#[test]
fn b_keep_6_the_upstreams_keep_alive_governs() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_with_keep_alive(5, "device", 1200));
    let connack = [0x20, 6, 0, 0, 3, 0x13, 0, 2];
    let (mut peer, _) = upstream.accept_connect(&connack);
    device.expect(&connack);
    device.expect_silence(Duration::from_millis(2_900));
    device.expect(&[0xe0, 1, 0x8d]);
    peer.expect_closed();
}

#[test]
fn b_con_4_an_upstream_that_never_answers_is_told_in_time() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&saying(fleet(upstream.address())))
        .engine("upstream_timeout_ms = 700")
        .start();
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(5, "device"));
    let mut peer = upstream.accept();
    peer.packet();
    device.expect_silence(Duration::from_millis(600));
    device.expect(&[0x20, 3, 0, 0x88, 0]);
    device.expect_closed();
    peer.expect_closed();
    ringbeam.wait_for_log(&[("reason", "refused_upstream_timeout")]);
}

#[test]
fn b_con_4_refusals_of_the_upstream_pass_as_they_are() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for (version, connack) in [
        (4, &[0x20, 2, 0, 4][..]),
        (5, &[0x20, 6, 0, 0x86, 3, 0x1f, 0, 0]),
    ] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        let (_peer, _) = upstream.accept_connect(connack);
        device.expect(connack);
        device.expect_closed();
    }
    ringbeam.wait_for_logs(2, "reason", "upstream_refused");
}

#[test]
fn b_con_4_what_is_sent_before_the_connack_waits_and_is_not_lost() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    for does_close in [false, true] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        let eager = [
            connect_packet(4, "device"),
            publish("a", b"1"),
            publish("a", b"2"),
            vec![0xe0, 0],
        ]
        .concat();
        device.send(&eager);
        if does_close {
            device.finish_sending();
        }
        let mut peer = upstream.accept();
        peer.packet();
        peer.expect_silence(Duration::from_millis(200));
        peer.send(connack(4));
        let topic = format!("a/{}", new_imsi(1));
        peer.expect(&[publish(&topic, b"1"), publish(&topic, b"2"), vec![0xe0, 0]].concat());
        peer.expect_closed();
    }
}

#[test]
fn b_keep_4_a_device_that_vanishes_leaves_no_disconnect() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    drop(device);
    peer.expect_closed();
    ringbeam.wait_for_log(&[("reason", "device_closed")]);
    let (device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.reset();
    peer.expect_closed();
    ringbeam.wait_for_log(&[("reason", "device_reset")]);
}

#[test]
fn a_half_closed_device_still_gets_what_the_upstream_says() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("a", b"last"));
    device.finish_sending();
    peer.expect(&publish(&format!("a/{}", new_imsi(1)), b"last"));
    peer.expect_closed();
    peer.send(&publish("d", b"late"));
    device.expect(&publish("d", b"late"));
    drop(peer);
    device.expect_closed();
}

#[test]
fn an_upstream_that_closes_or_breaks_closes_the_device() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    peer.send(&publish("d", b"last"));
    drop(peer);
    device.expect(&publish("d", b"last"));
    device.expect_closed();
    let (mut device, peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    peer.reset();
    device.expect(&[0xe0, 1, 0x80]);
    device.expect_closed();
    ringbeam.wait_for_log(&[("reason", "upstream_reset")]);
}

#[test]
fn b_id_5_sessions_of_one_sim_are_limited() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("max_sessions_per_sim = 2")
        .engine("when_unavailable = \"connack\"")
        .start();
    let first = upstream.session(ringbeam.address(), new_sim(1), 4);
    let _second = upstream.session(ringbeam.address(), new_sim(1), 4);
    for (version, expected) in [(4, &[0x20, 2, 0, 3][..]), (5, &[0x20, 3, 0, 0x97, 0])] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        device.expect(expected);
    }
    let _other = upstream.session(ringbeam.address(), new_sim(2), 4);
    drop(first);
    ringbeam.wait_for_log(&[("message", "session ended")]);
    let _third = upstream.session(ringbeam.address(), new_sim(1), 4);
}

#[test]
fn b_id_5_a_device_that_comes_back_finds_its_place_free() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("max_sessions_per_sim = 1")
        .start();
    // The upstream is slow to close, and its old connection still lingers.
    let mut lingering = Vec::new();
    for _ in 0..3 {
        let (device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
        drop(device);
        peer.expect_closed();
        lingering.push(peer);
    }
}

#[test]
fn b_keep_5_the_keep_alive_stands_still_while_the_engine_does_not_read() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_with_keep_alive(4, "device", 5));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    // More than all buffers on the way hold, while nobody reads on the upstream.
    let mut sending = device.stream().try_clone().unwrap();
    let whole = publish("t", &vec![7; 64 << 20]);
    let sender = std::thread::spawn(move || std::io::Write::write_all(&mut sending, &whole));
    // Longer than one and a half times the keep alive.
    device.expect_silence(Duration::from_secs(9));
    assert!(!sender.is_finished());
    let topic = format!("t/{}", new_imsi(1));
    let arrived = peer.packet();
    assert!(arrived == publish(&topic, &vec![7; 64 << 20]));
    sender.join().unwrap().unwrap();
    device.send(&[0xc0, 0]);
    peer.expect(&[0xc0, 0]);
}

#[test]
fn upstream_connections_come_from_the_pool_of_source_addresses() {
    let upstream = Upstream::listen();
    let pool = "[upstream]\nsource_addresses = [\"127.9.0.1\", \"127.9.0.2\", \"::1\"]";
    let ringbeam = Setup::new(&fleet(upstream.address())).section(pool).start();
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..8 {
        let (_device, mut peer) = upstream.session(ringbeam.address(), new_sim(number), 4);
        seen.insert(peer.stream().peer_addr().unwrap().ip().to_string());
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["127.9.0.1", "127.9.0.2"]
    );
}
