//! Real brokers and real clients: mosquitto on both ends, as the vendor's page shows it; the embedded
//! broker; paho as a second client.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim, old_imsi, old_sim};
use super::harness::mosquitto::{Mosquitto, Subscriber, client};
use super::harness::peer::{Peer, Upstream, connack, connect_packet, packet, string};
use super::harness::ringbeam::{Ringbeam, output, project_file, python};

const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

#[test]
fn the_vendors_publish_example_with_the_imsi_in_the_topic() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let mut command = client("mosquitto_pub", Some(new_sim(1)), ringbeam.address());
    let (code, stdout, stderr) =
        output(command.args(["-d", "-i", "mosqpub", "-t", "test", "-m", "Hello, World"]));
    assert_eq!(code, Some(0), "{stderr}");
    let lines: Vec<_> = stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "Client mosqpub sending CONNECT",
            "Client mosqpub received CONNACK (0)",
            "Client mosqpub sending PUBLISH (d0, q0, r0, m1, 'test', ... (12 bytes))",
            "Client mosqpub sending DISCONNECT",
        ]
    );
    let imsi = new_imsi(1);
    broker.wait_for_log(&format!(
        "PUBLISH from mosqpub (d0, q0, r0, m0, 'test/{imsi}', ... (12 bytes))"
    ));
    broker.wait_for_log("Received DISCONNECT from mosqpub");
    assert!(
        broker.log().contains("as mosqpub (p2, c1, k60)"),
        "{}",
        broker.log()
    );
}

#[test]
fn the_vendors_subscribe_example() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let mut device = Subscriber::start(Some(new_sim(1)), ringbeam.address(), &["-t", "test"]);
    broker.wait_for_log("test (QoS 0)");
    let mut command = client("mosquitto_pub", None, broker.address());
    assert_eq!(
        output(command.args(["-t", "test", "-m", "Hello, World"])).0,
        Some(0)
    );
    assert_eq!(device.message(), "test 0 0 Hello, World");
}

#[test]
fn b_ver_2_every_qos_and_version_passes_both_ways_under_201912() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let imsi = new_imsi(2);
    for version in VERSIONS {
        for qos in ["0", "1", "2"] {
            let up = ["-V", version, "-q", qos];
            let mut observer = Subscriber::start(
                None,
                broker.address(),
                &["-q", "2", "-t", &format!("up/{imsi}")],
            );
            let mut command = client("mosquitto_pub", Some(new_sim(2)), ringbeam.address());
            let (code, _, stderr) = output(command.args(up).args(["-t", "up", "-m", "über"]));
            assert_eq!(code, Some(0), "{version} {qos}: {stderr}");
            assert_eq!(observer.message(), format!("up/{imsi} {qos} 0 über"));

            let topic = "down/{{imsi}}";
            let mut device = Subscriber::start(
                Some(new_sim(2)),
                ringbeam.address(),
                &["-V", version, "-q", qos, "-t", topic],
            );
            let topic = format!("down/{imsi}");
            let mut command = client("mosquitto_pub", None, broker.address());
            assert_eq!(
                output(command.args(["-q", "2", "-t", &topic, "-m", "x"])).0,
                Some(0)
            );
            assert_eq!(device.message(), format!("{topic} {qos} 0 x"), "{version}");
        }
    }
}

#[test]
fn b_ver_2_qos_is_0_under_201509_and_devices_are_acknowledged_all_the_same() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let imsi = old_imsi(2);
    for version in ["mqttv31", "mqttv311"] {
        for qos in ["0", "1", "2"] {
            let mut observer = Subscriber::start(
                None,
                broker.address(),
                &["-q", "2", "-t", &format!("up/{imsi}")],
            );
            let mut command = client("mosquitto_pub", Some(old_sim(2)), ringbeam.address());
            let (code, _, stderr) =
                output(command.args(["-V", version, "-q", qos, "-t", "up", "-m", "x"]));
            assert_eq!(code, Some(0), "{version} {qos}: {stderr}");
            assert_eq!(observer.message(), format!("up/{imsi} 0 0 x"));
            // B-VER-1
            assert!(broker.log().contains("(p2, c1, k60)") && !broker.log().contains("(p1,"));

            let mut device = Subscriber::start(
                Some(old_sim(2)),
                ringbeam.address(),
                &["-V", version, "-q", qos, "-t", "down"],
            );
            let mut command = client("mosquitto_pub", None, broker.address());
            assert_eq!(
                output(command.args(["-q", "2", "-t", "down", "-m", "x"])).0,
                Some(0)
            );
            assert_eq!(device.message(), "down 0 0 x");
        }
    }
}

#[test]
fn retained_messages_stay_retained_under_both_versions() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    for (from, imsi) in [(new_sim(3), new_imsi(3)), (old_sim(3), old_imsi(3))] {
        let mut command = client("mosquitto_pub", Some(from), ringbeam.address());
        assert_eq!(
            output(command.args(["-r", "-q", "1", "-t", "kept", "-m", "x"])).0,
            Some(0)
        );
        let topic = format!("kept/{imsi}");
        broker.wait_for_log(&format!("'{topic}'"));
        let mut device = Subscriber::start(Some(from), ringbeam.address(), &["-t", &topic]);
        assert_eq!(device.message(), format!("{topic} 0 1 x"));
    }
}

#[test]
fn b_ver_3_and_b_keep_4_wills_fire_when_a_device_dies_under_201912_alone() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let mut observer = Subscriber::start(None, broker.address(), &["-t", "will/#", "-t", "end"]);
    for version in ["mqttv311", "mqttv5"] {
        let will = [
            "--will-topic",
            "will/new",
            "--will-payload",
            "gone",
            "-V",
            version,
        ];
        let options = [&will[..], &["-t", "x"]].concat();
        let mut device = Subscriber::start(Some(new_sim(4)), ringbeam.address(), &options);
        device.kill();
        assert_eq!(observer.message(), "will/new 0 0 gone", "{version}");
    }
    let options = [
        "--will-topic",
        "will/old",
        "--will-payload",
        "gone",
        "-t",
        "x",
    ];
    let mut device = Subscriber::start(Some(old_sim(4)), ringbeam.address(), &options);
    device.kill();
    ringbeam.wait_for_log(&[("imsi", &old_imsi(4)), ("message", "session ended")]);
    let mut command = client("mosquitto_pub", None, broker.address());
    assert_eq!(output(command.args(["-t", "end", "-m", "x"])).0, Some(0));
    assert_eq!(observer.message(), "end 0 0 x");
}

#[test]
fn b_ver_1_what_the_broker_sees_is_the_devices_version_or_3_1_1() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    // mosquitto names 3.1 p1, 3.1.1 p2 and 5 p5.
    for (from, version, id, seen) in [
        (new_sim(5), "mqttv31", "new31", Some("p1")),
        (new_sim(5), "mqttv311", "new311", Some("p2")),
        (new_sim(5), "mqttv5", "new5", Some("p5")),
        (old_sim(5), "mqttv31", "old31", Some("p2")),
        (old_sim(5), "mqttv311", "old311", Some("p2")),
        (old_sim(5), "mqttv5", "old5", None),
    ] {
        let mut command = client("mosquitto_pub", Some(from), ringbeam.address());
        let (code, ..) = output(command.args(["-V", version, "-i", id, "-t", "t", "-m", "x"]));
        if let Some(seen) = seen {
            assert_eq!(code, Some(0));
            broker.wait_for_log(&format!("as {id} ({seen}, c1, k60"));
        } else {
            assert_ne!(code, Some(0));
            assert!(!broker.log().contains(&format!("as {id} ")));
        }
    }
}

#[test]
fn b_con_2_the_broker_checks_the_configured_credentials() {
    let folder = tempfile::TempDir::new().unwrap();
    let passwords = folder.path().join("passwords");
    for (user, password) in [("fleet-440100001000006", "secret"), ("own", "mine")] {
        let mut command = Command::new("mosquitto_passwd");
        if !passwords.exists() {
            command.arg("-c");
        }
        let (code, _, stderr) = output(command.args(["-b"]).arg(&passwords).args([user, password]));
        assert_eq!(code, Some(0), "{stderr}");
    }
    // The broker gives up its rights and still has to read it.
    std::fs::set_permissions(
        &passwords,
        std::os::unix::fs::PermissionsExt::from_mode(0o644),
    )
    .unwrap();
    std::fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o755),
    )
    .unwrap();
    let broker = Mosquitto::start_with(&format!(
        "password_file {}\nallow_anonymous false",
        passwords.display()
    ));
    let publish = |object: Value, options: &[&str]| {
        let fleet = fleet_with(broker.address(), |_, entry_point| {
            for (key, value) in object.as_object().unwrap() {
                entry_point[key] = value.clone();
            }
        });
        let ringbeam = Ringbeam::start(&fleet);
        let mut command = client("mosquitto_pub", Some(new_sim(6)), ringbeam.address());
        output(command.args(options).args(["-t", "t", "-m", "x"])).0
    };
    let configured = json!({ "username": "fleet-#{imsi}", "password": "secret" });
    assert_eq!(
        publish(configured, &["-u", "whoever", "-P", "whatever"]),
        Some(0)
    );
    let pass_through = json!({ "useClientCredentials": true });
    assert_eq!(publish(pass_through, &["-u", "own", "-P", "mine"]), Some(0));
    assert_eq!(publish(json!({}), &["-u", "own", "-P", "mine"]), Some(5));
}

#[test]
fn clean_session_passes_and_the_broker_keeps_the_session() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let options = ["-c", "-i", "keeper", "-q", "1", "-t", "kept"];
    let mut device = Subscriber::start(Some(new_sim(7)), ringbeam.address(), &options);
    device.kill();
    ringbeam.wait_for_log(&[("message", "session ended")]);
    let mut command = client("mosquitto_pub", None, broker.address());
    assert_eq!(
        output(command.args(["-q", "1", "-t", "kept", "-m", "waited"])).0,
        Some(0)
    );
    // B-CON-1: it is there when the device comes back.
    let mut device = Subscriber::start(Some(new_sim(7)), ringbeam.address(), &options);
    assert_eq!(device.message(), "kept 1 0 waited");
}

#[test]
fn a_broker_that_dies_closes_its_devices_and_nothing_leaks() {
    let mut broker = Mosquitto::start();
    let port = broker.address().port();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let before = ringbeam.descriptors();
    for round in 0..3 {
        let devices: Vec<_> = (0..20)
            .map(|number| {
                Subscriber::start(Some(new_sim(number)), ringbeam.address(), &["-t", "x"])
            })
            .collect();
        assert!(ringbeam.descriptors() >= before + 40);
        broker.kill();
        ringbeam.wait_for_logs(20 * (round + 1), "message", "session ended");
        drop(devices);
        super::harness::wait_until("descriptors to be given back", || {
            ringbeam.descriptors() <= before
        });
        broker = Mosquitto::start_on(port, "");
    }
}

#[test]
fn paho_is_served_under_both_versions() {
    let broker = Mosquitto::start();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    for (from, imsi, versions, max_qos) in [
        (new_sim(8), new_imsi(8), &["31", "311", "5"][..], 2),
        (old_sim(8), old_imsi(8), &["31", "311"], 0),
    ] {
        for version in versions {
            let (code, stdout, stderr) = output(
                Command::new(python())
                    .arg(project_file("engine/tests/it/paho_client.py"))
                    .args([&from.to_string(), &ringbeam.address().port().to_string()])
                    .args([broker.address().port().to_string().as_str(), version]),
            );
            assert_eq!(code, Some(0), "{version}: {stderr}");
            let result: Value = serde_json::from_str(&stdout).unwrap();
            let up: Vec<_> = (0..3)
                .map(|qos| {
                    json!([
                        format!("paho/up/{imsi}"),
                        qos.min(max_qos),
                        format!("up {qos}")
                    ])
                })
                .collect();
            let down: Vec<_> = (0..3)
                .map(|qos| {
                    json!([
                        format!("paho/down/{imsi}"),
                        qos.min(max_qos),
                        format!("down {qos}")
                    ])
                })
                .collect();
            assert_eq!(result, json!({ "up": up, "down": down }), "{version}");
        }
    }
}

#[cfg(feature = "demo")]
#[test]
fn the_embedded_broker_serves_every_version_and_qos_too() {
    let broker = ringbeam::demo::broker::Broker::start("127.0.0.1:0".parse().unwrap()).unwrap();
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    for (from, imsi, versions, max_qos) in [
        (new_sim(1), new_imsi(1), &VERSIONS[..], 2),
        (old_sim(1), old_imsi(1), &VERSIONS[..2], 0),
    ] {
        for version in versions {
            for qos in 0..=2 {
                let asked = qos.to_string();
                let topic = format!("up/{imsi}");
                let mut observer =
                    Subscriber::start(None, broker.address(), &["-q", "2", "-t", &topic]);
                let options = ["-V", version, "-q", &asked, "-t", "up", "-m", "x"];
                let mut command = client("mosquitto_pub", Some(from), ringbeam.address());
                assert_eq!(output(command.args(options)).0, Some(0), "{version} {qos}");
                assert_eq!(
                    observer.message(),
                    format!("{topic} {} 0 x", qos.min(max_qos))
                );

                let options = ["-V", version, "-q", &asked, "-t", "down"];
                let mut device = Subscriber::start(Some(from), ringbeam.address(), &options);
                let mut command = client("mosquitto_pub", None, broker.address());
                assert_eq!(
                    output(command.args(["-q", "2", "-t", "down", "-m", "x"])).0,
                    Some(0)
                );
                assert_eq!(device.message(), format!("down {} 0 x", qos.min(max_qos)));
            }
        }
    }
}

/// A mosquitto whose bridge, with its defaults, is a device.
fn bridge(to: SocketAddr, more: &str) -> Mosquitto {
    Mosquitto::start_with(&format!(
        "connection cloud\naddress {to}\ntopic up out 1\ntopic down in 1\n{more}"
    ))
}

/// The address that bridges of this host come from is a SIM's, of one group.
fn fleet_of_a_bridge(upstream: SocketAddr, group: &str) -> Value {
    let mut fleet = fleet_with(upstream, |_, object| {
        object["addSubscriberHeader"] = false.into();
    });
    fleet["sims"].as_array_mut().unwrap().push(json!({
        "simId": "8981100000000000055", "imsi": "440100000000055", "groupId": group, "ips": ["127.0.0.1"],
    }));
    fleet
}

#[test]
fn b_con_6_a_mosquitto_bridge_connects_with_its_defaults() {
    for (protocol, group, seen) in [
        ("", "new", "New bridge connected p2"),
        (
            "bridge_protocol_version mqttv31",
            "new",
            "New bridge connected p1",
        ),
        // Without the bit it is any other client.
        ("", "old", "New client connected p2"),
        (
            "bridge_protocol_version mqttv31",
            "old",
            "New client connected p2",
        ),
    ] {
        let broker = Mosquitto::start();
        let ringbeam = Ringbeam::start(&fleet_of_a_bridge(broker.address(), group));
        let edge = bridge(ringbeam.address(), protocol);
        // B-VER-2
        let qos = if group == "old" { 0 } else { 1 };
        broker.wait_for_log(&format!(".cloud {qos} down"));
        let log = broker.log();
        let (what, version) = seen.rsplit_once(' ').unwrap();
        let is_seen =
            |line: &str| line.contains(what) && line.contains(&format!(".cloud ({version}, c0"));
        assert!(log.lines().any(is_seen), "{seen}: {log}");

        let mut observer = Subscriber::start(None, broker.address(), &["-t", "up"]);
        let mut command = client("mosquitto_pub", None, edge.address());
        assert_eq!(output(command.args(["-t", "up", "-m", "x"])).0, Some(0));
        assert_eq!(observer.message(), "up 0 0 x");

        let mut observer = Subscriber::start(None, edge.address(), &["-t", "down"]);
        let mut command = client("mosquitto_pub", None, broker.address());
        assert_eq!(output(command.args(["-t", "down", "-m", "x"])).0, Some(0));
        assert_eq!(observer.message(), "down 0 0 x");
    }
}

#[test]
fn b_con_6_a_bridge_that_the_upstream_does_not_know_comes_back_without_the_bit() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet_of_a_bridge(upstream.address(), "new"));
    let _edge = bridge(ringbeam.address(), "restart_timeout 1");
    let (_peer, connect) = upstream.accept_connect(&[0x20, 2, 0, 1]);
    let level = |connect: &[u8]| {
        let name = connect.windows(4).position(|name| name == b"MQTT");
        connect[name.unwrap() + 4]
    };
    assert_eq!(level(&connect), 0x84, "{connect:02x?}");
    let (mut peer, connect) = upstream.accept_connect(connack(4));
    assert_eq!(level(&connect), 4, "{connect:02x?}");
    // It goes on.
    peer.packet();
}

#[test]
fn b_con_6_a_renewal_says_again_that_a_bridge_speaks() {
    let upstream = Upstream::listen();
    let fleet = fleet_with(upstream.address(), |_, object| {
        object["renewUpstream"] = true.into();
    });
    let ringbeam = Ringbeam::start(&fleet);
    for (name, level) in [(&b"\x00\x06MQIsdp"[..], 0x83), (b"\x00\x04MQTT", 0x84)] {
        let body = [name, &[level, 2, 0, 60], &string("edge")].concat();
        let connect = packet(0x10, &body);
        let mut device = Peer::connect(new_sim(9), ringbeam.address());
        device.send(&connect);
        let (peer, first) = upstream.accept_connect(connack(4));
        device.expect(connack(4));
        drop(peer);
        let (mut peer, second) = upstream.accept_connect(connack(4));
        assert_eq!((&first, &second), (&connect, &connect));
        device.send(&[0xc0, 0]);
        peer.expect(&[0xc0, 0]);
    }
}

/// What a message over its size limit is answered with is a code that the standard does not list there.
#[test]
fn b_err_6_mosquitto_answers_too_large_a_message_and_the_session_goes_on() {
    let broker = Mosquitto::start_with("message_size_limit 100\nmax_queued_messages 1000");
    let ringbeam = Ringbeam::start(&fleet(broker.address()));
    let message = |first: u8, payload: &[u8]| {
        packet(first, &[&string("t"), &[0, 7][..], &[0], payload].concat())
    };
    for (to, from) in [
        (broker.address(), [127, 0, 0, 1].into()),
        (ringbeam.address(), new_sim(1)),
    ] {
        let mut device = Peer::connect(from, to);
        device.send(&connect_packet(5, "large"));
        let connack = device.packet();
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:02x?}");
        for (first, answer) in [(0x32, 0x40), (0x34, 0x50)] {
            device.send(&message(first, &[b'x'; 200]));
            assert_eq!(device.packet(), [answer, 3, 0, 7, 0x95], "{to}");
            device.send(&message(0x32, b"small"));
            let answer = device.packet();
            assert_eq!(answer[..4], [0x40, answer[1], 0, 7], "{to}: {answer:02x?}");
        }
        device.send(&[0xe0, 0]);
        device.expect_closed();
    }
}
