//! What a refused device sees, in either manner, and what whoever runs the engine is told about it.

use serde_json::{Value, json};

use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim};
use super::harness::peer::{
    Peer, Upstream, connack, connect_packet, connect_with_keep_alive, packet, string,
};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::wait_until;

/// What the device sees: bytes by the version of its CONNECT, nothing where the connection only ends.
type Seen = fn(u8) -> Vec<u8>;

/// What an upstream does instead of answering.
type End = fn(Peer);

fn nothing(_: u8) -> Vec<u8> {
    Vec::new()
}

/// A CONNACK with one of these codes.
fn code(version: u8, (older, five): (u8, u8)) -> Vec<u8> {
    if version == 5 {
        vec![0x20, 3, 0, five, 0]
    } else {
        vec![0x20, 2, 0, older]
    }
}

fn unavailable(version: u8) -> Vec<u8> {
    code(version, (3, 0x88))
}

fn unauthorized(version: u8) -> Vec<u8> {
    code(version, (5, 0x87))
}

/// Devices of every version see this, and then the end.
fn check(ringbeam: &Ringbeam, from: [u8; 4], reason: &str, seen: Seen) {
    for version in [3, 4, 5] {
        let mut device = Peer::connect(from, ringbeam.address());
        device.send(&connect_packet(version, "device"));
        let rest = device.rest();
        assert_eq!(rest, seen(version), "{reason} {version}");
    }
    ringbeam.wait_for_logs(3, "reason", reason);
}

/// An entry point whose upstream cannot be had, in both manners and in the one by default.
fn check_unavailable(change: impl Fn(&mut Value), more: &str, reason: &str) {
    for (manner, seen) in [
        (None, nothing as Seen),
        (Some("close"), nothing),
        (Some("connack"), unavailable),
    ] {
        let closed = Upstream::listen().address();
        let fleet = fleet_with(closed, |_, object| {
            change(object);
            if let Some(manner) = manner {
                object["whenUnavailable"] = manner.into();
            }
        });
        // The engine's own manner has no say here.
        let other = if manner == Some("connack") {
            "close"
        } else {
            "connack"
        };
        let ringbeam = Setup::new(&fleet)
            .engine(&format!("when_unavailable = \"{other}\"\n{more}"))
            .start();
        check(&ringbeam, new_sim(1).octets(), reason, seen);
    }
}

// B-CON-4
#[test]
fn b_con_4_an_upstream_that_cannot_be_had_looks_as_the_entry_point_says() {
    check_unavailable(|_| {}, "", "refused_upstream_unreachable");
    let nowhere = |object: &mut Value| object["destination"] = "mqtt://nowhere.invalid".into();
    check_unavailable(nowhere, "", "refused_upstream_name");
}

// B-CON-4: it takes the connection, and then ...
#[test]
fn b_con_4_an_upstream_that_does_not_serve_looks_as_the_entry_point_says() {
    // ... says nothing, or what is no TLS; by a listener that nobody accepts from.
    let silent = Upstream::listen();
    let to = |scheme: &'static str| {
        let address = silent.address();
        move |object: &mut Value| object["destination"] = format!("{scheme}://{address}").into()
    };
    check_unavailable(
        to("mqtt"),
        "upstream_timeout_ms = 300",
        "refused_upstream_timeout",
    );
    check_unavailable(
        to("mqtts"),
        "upstream_timeout_ms = 300",
        "refused_upstream_timeout",
    );
    // ... closes, or breaks, or answers with something else. B-ERR-3
    let last: [(&str, &str, End); 3] = [
        ("upstream_closed_before_connack", "", drop),
        (
            "upstream_closed_before_connack",
            "Connection reset by peer",
            Peer::reset,
        ),
        ("upstream_offence", "", |mut peer| peer.send(&[0xd0, 0])),
    ];
    for (reason, detail, end) in last {
        for (manner, seen) in [("close", nothing as Seen), ("connack", unavailable)] {
            let upstream = Upstream::listen();
            let said = |_: &str, object: &mut Value| object["whenUnavailable"] = manner.into();
            let ringbeam = Ringbeam::start(&fleet_with(upstream.address(), said));
            for version in [4, 5] {
                let mut device = Peer::connect(new_sim(1), ringbeam.address());
                device.send(&connect_packet(version, "device"));
                let mut peer = upstream.accept();
                peer.packet();
                end(peer);
                assert_eq!(device.rest(), seen(version), "{reason} {manner} {version}");
            }
            ringbeam.wait_for_logs(2, "reason", reason);
            let line = ringbeam.wait_for_log(&[("reason", reason)]);
            if !detail.is_empty() {
                assert_eq!(line["detail"], detail);
            }
        }
    }
}

// B-CFG-4
#[test]
fn b_cfg_4_a_sim_without_its_credential_is_refused_as_an_upstream_that_is_away() {
    let own = |object: &mut Value| {
        object["destination"] = "mqtts://127.0.0.1".into();
        object["useClientCert"] = true.into();
        object["clientCerts"] = json!({"default": {"$credentialsId": "of-#{imsi}"}});
    };
    check_unavailable(own, "", "refused_no_credential");
    let nowhere = Upstream::listen().address();
    let ringbeam = Ringbeam::start(&fleet_with(nowhere, |_, object| own(object)));
    check(
        &ringbeam,
        new_sim(1).octets(),
        "refused_no_credential",
        nothing,
    );
    let line = ringbeam.wait_for_log(&[("reason", "refused_no_credential")]);
    let named = format!("\"of-{}\" is not there, or of another type", new_imsi(1));
    assert_eq!(line["detail"], named);
}

// B-CON-4
#[test]
fn b_con_4_the_engines_own_passing_refusals_look_as_it_says() {
    for (lines, seen) in [
        ("", [nothing as Seen, nothing]),
        ("when_unavailable = \"close\"", [nothing, nothing]),
        (
            "when_unavailable = \"connack\"",
            [unavailable, |version| code(version, (3, 0x97))],
        ),
    ] {
        let upstream = Upstream::listen();
        // The entry point's manner has no say here.
        let other = if lines.contains("connack") {
            "close"
        } else {
            "connack"
        };
        let other = |_: &str, object: &mut Value| object["whenUnavailable"] = other.into();
        let fleet = fleet_with(upstream.address(), other);
        let setup = Setup::new(&fleet).engine(lines);
        let ringbeam = setup
            .engine("max_sessions = 2\nmax_sessions_per_sim = 1")
            .start();
        let _first = upstream.session(ringbeam.address(), new_sim(1), 4);
        let reason = "refused_sim_session_limit";
        check(&ringbeam, new_sim(1).octets(), reason, seen[1]);
        let line = ringbeam.wait_for_log(&[("reason", reason)]);
        assert_eq!(line["detail"], "it has 1 sessions");
        let _second = upstream.session(ringbeam.address(), new_sim(2), 4);
        check(
            &ringbeam,
            new_sim(3).octets(),
            "refused_session_limit",
            seen[0],
        );
    }
}

// B-CON-4, B-KEEP-4: a device that waits for its CONNACK when the engine is to stop.
#[test]
fn b_con_4_a_drain_looks_as_the_engine_says() {
    for (manner, seen) in [("close", nothing as Seen), ("connack", unavailable)] {
        let upstream = Upstream::listen();
        let setup = Setup::new(&fleet(upstream.address()));
        let mut ringbeam = setup
            .engine(&format!("when_unavailable = \"{manner}\""))
            .start();
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(5, "device"));
        let mut peer = upstream.accept();
        peer.packet();
        ringbeam.signal("TERM");
        assert_eq!(device.rest(), seen(5), "{manner}");
        drop((device, peer));
        ringbeam.ended();
    }
}

// B-ID-2
#[test]
fn b_id_2_whoever_is_not_served_sees_what_the_engine_says() {
    for (lines, seen) in [
        ("", unauthorized as Seen),
        ("when_refused = \"connack\"", unauthorized),
        ("when_refused = \"close\"", nothing),
    ] {
        let upstream = Upstream::listen();
        let disabled = |group: &str, object: &mut Value| {
            if group == "old" {
                object["enabled"] = false.into();
            }
        };
        let fleet = fleet_with(upstream.address(), disabled);
        let setup = Setup::new(&fleet).engine("when_unavailable = \"close\"");
        let ringbeam = setup.engine(lines).start();
        check(&ringbeam, [127, 0, 0, 77], "refused_unknown_address", seen);
        check(&ringbeam, [127, 0, 0, 3], "refused_no_group", seen);
        check(&ringbeam, [127, 0, 0, 4], "refused_no_entry_point", seen);
        check(
            &ringbeam,
            [127, 2, 0, 1],
            "refused_entry_point_disabled",
            seen,
        );
        // B-KEEP-1 is the vendor's word, whatever is said here.
        for version in [4, 5] {
            let mut device = Peer::connect(new_sim(1), ringbeam.address());
            device.send(&connect_with_keep_alive(version, "device", 1201));
            assert_eq!(device.rest(), unauthorized(version));
        }
        assert!(upstream.is_untouched());
        let line = ringbeam.wait_for_log(&[("reason", "refused_entry_point_disabled")]);
        assert_eq!(line["detail"], "group old");
        let line = ringbeam.wait_for_log(&[("reason", "refused_keep_alive")]);
        assert_eq!(
            line["detail"],
            "keep alive 1201 s; 0 or 5 to 1200 are served"
        );
    }
}

/// A reload has its say on those who connect afterwards.
#[test]
fn b_cfg_5_a_reload_changes_what_refusals_look_like() {
    let closed = Upstream::listen().address();
    let mut ringbeam = Ringbeam::start(&fleet(closed));
    check(
        &ringbeam,
        new_sim(1).octets(),
        "refused_upstream_unreachable",
        nothing,
    );
    let said = fleet_with(closed, |_, object| {
        object["whenUnavailable"] = "connack".into();
    });
    ringbeam.setup().write_fleet(&said);
    assert!(ringbeam.reload());
    check(
        &ringbeam,
        new_sim(2).octets(),
        "refused_upstream_unreachable",
        unavailable,
    );
    let wrong = fleet_with(closed, |_, object| {
        object["whenUnavailable"] = "connect".into();
    });
    ringbeam.setup().write_fleet(&wrong);
    assert!(!ringbeam.reload());
    let log = ringbeam.log_text();
    assert!(
        log.contains(
            "whenUnavailable: found \\\"connect\\\"; accepted: \\\"close\\\" or \\\"connack\\\""
        ),
        "{log}"
    );
    ringbeam.end();
}

/// Bytes of a v5 CONNACK or DISCONNECT with a reason string.
fn with_words(first: u8, before: &[u8], words: &str) -> Vec<u8> {
    let property = [&[0x1f][..], &string(words)].concat();
    let length = u8::try_from(property.len()).unwrap();
    packet(first, &[before, &[length], &property].concat())
}

// B-CON-4: whoever runs the engine is told why, in the log, in figures and in the SIM's events.
#[test]
fn an_upstreams_own_reason_is_told_with_its_name() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    let mut ringbeam = setup.with_user().start();
    let words = "until \u{1b}[31mnoon\n";
    let refusals = [
        (4, vec![0x20, 2, 0, 5], "CONNACK 5, not authorized"),
        (
            5,
            vec![0x20, 3, 0, 0x86, 0],
            "CONNACK 0x86, bad user name or password",
        ),
        (
            5,
            with_words(0x20, &[0, 0x8a], words),
            "CONNACK 0x8a, banned: \"until \\u{1b}[31mnoon\\n\"",
        ),
    ];
    for (version, answer, detail) in &refusals {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(*version, "device"));
        upstream.accept_connect(answer);
        // It passes as it is.
        assert_eq!(device.rest(), *answer);
        ringbeam.wait_for_log(&[("reason", "upstream_refused"), ("detail", detail)]);
    }
    // An established session, which the upstream ends.
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    let dismissal = with_words(0xe0, &[0x8e], "another one came");
    peer.send(&dismissal);
    assert_eq!(device.rest(), dismissal);
    let detail = "DISCONNECT 0x8e, session taken over: \"another one came\"";
    ringbeam.wait_for_log(&[("reason", "upstream_disconnect"), ("detail", detail)]);
    // And one that the device ends, wanting its will published.
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    device.send(&[0xe0, 1, 4]);
    peer.rest();
    let detail = "DISCONNECT 4, with its will";
    ringbeam.wait_for_log(&[("reason", "device_disconnect"), ("detail", detail)]);
    for (labels, count) in [
        (
            "packet=\"CONNACK\",code=\"5\",meaning=\"not authorized\"",
            1.0,
        ),
        ("packet=\"CONNACK\",code=\"0x8a\",meaning=\"banned\"", 1.0),
        (
            "packet=\"DISCONNECT\",code=\"0x8e\",meaning=\"session taken over\"",
            1.0,
        ),
    ] {
        let found = ringbeam.metric(&format!("ringbeam_upstream_reasons_total{{{labels}}}"));
        assert_eq!(found.to_bits(), f64::to_bits(count), "{labels}");
    }
    let api = ringbeam.api();
    let path = format!(
        "/v1/logs?resource_type=Subscriber&resource_id={}",
        new_imsi(1)
    );
    wait_until("the SIM's events", || {
        let entries = api.get(&path).expect(200).json();
        let entries = entries.as_array().unwrap();
        refusals.iter().all(|(_, _, detail)| {
            entries
                .iter()
                .any(|entry| entry["body"]["detail"] == *detail)
        })
    });
    ringbeam.end();
}

// B-CON-5
#[test]
fn a_level_that_nobody_speaks_is_told_and_counted() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).control();
    let mut ringbeam = setup.start();
    let connect = |level: u8| {
        packet(
            0x10,
            &[b"\0\x04MQTT", &[level, 2, 0, 60, 0, 1, b'c'][..]].concat(),
        )
    };
    for (level, answer, reason) in [
        (6, &[0x20, 3, 0, 0x84, 0][..], "refused_level_too_high"),
        (77, &[0x20, 3, 0, 0x84, 0], "refused_level_too_high"),
        (200, &[0x20, 3, 0, 0x84, 0], "refused_level_too_high"),
        (2, &[0x20, 2, 0, 1], "refused_level_too_low"),
    ] {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect(level));
        assert_eq!(device.rest(), answer);
        let detail = format!("protocol level {level} (0x{level:02x})");
        ringbeam.wait_for_log(&[("reason", reason), ("detail", &detail)]);
    }
    // Labels are few, whatever devices say.
    for (level, count) in [("6", 1.0), ("2", 1.0), ("other", 2.0)] {
        let found = ringbeam.metric(&format!(
            "ringbeam_levels_refused_total{{level=\"{level}\"}}"
        ));
        assert_eq!(found.to_bits(), f64::to_bits(count), "{level}");
    }
    ringbeam.end();
}

// B-KEEP-2, B-CON-3
#[test]
fn what_was_waited_for_in_vain_is_told() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address()));
    let ringbeam = setup.engine("connect_timeout_ms = 300").start();
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device")[..7]);
    device.expect_closed();
    let detail = "7 bytes of a CONNECT had come";
    ringbeam.wait_for_log(&[("reason", "connect_timeout"), ("detail", detail)]);
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_with_keep_alive(4, "device", 5));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    peer.expect_closed();
    ringbeam.wait_for_log(&[
        ("reason", "keep_alive_timeout"),
        ("detail", "keep alive 5 s"),
    ]);
}
