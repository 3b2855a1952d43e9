//! Real brokers: mosquitto with TLS, as the manual of any broker shows it.

use serde_json::json;

use super::super::harness::authority::{Authority, Wish};
use super::super::harness::fleet::{fleet_with, new_imsi, new_sim, old_imsi, old_sim, tls_fleet};
use super::super::harness::mosquitto::{Mosquitto, Subscriber, client};
use super::super::harness::ringbeam::{Ringbeam, Setup, output};
use super::engine;

/// A broker with TLS, and beside it a plain port for whoever observes.
fn broker(authority: &Authority, more: &str) -> Mosquitto {
    let server = authority.intermediate("In Between").server();
    let [certificate, key] = authority.files("server", &server);
    Mosquitto::start_tls(&certificate, &key, more)
}

/// One message through the engine from a SIM; the client's exit code.
fn publish(ringbeam: &Ringbeam, options: &[&str]) -> Option<i32> {
    let mut command = client("mosquitto_pub", Some(new_sim(1)), ringbeam.address());
    output(command.args(options).args(["-t", "up", "-m", "x"])).0
}

#[test]
fn b_ver_2_every_qos_and_version_passes_both_ways_over_tls() {
    let authority = Authority::new("Private Root");
    let broker = broker(&authority, "");
    let ringbeam = engine(&authority, broker.tls_address());
    let every = ["mqttv31", "mqttv311", "mqttv5"];
    for (sim, imsi, versions, is_new) in [
        (new_sim(2), new_imsi(2), &every[..], true),
        (old_sim(2), old_imsi(2), &every[..2], false),
    ] {
        for version in versions {
            for qos in ["0", "1", "2"] {
                // B-VER-2: 201509 forwards at QoS 0.
                let arrives = if is_new { qos } else { "0" };
                let topic = format!("up/{imsi}");
                let options = ["-q", "2", "-t", &topic];
                let mut observer = Subscriber::start(None, broker.address(), &options);
                let mut command = client("mosquitto_pub", Some(sim), ringbeam.address());
                command.args(["-V", version, "-q", qos, "-t", "up", "-m", "über"]);
                assert_eq!(output(&mut command).0, Some(0), "{version} {qos}");
                assert_eq!(observer.message(), format!("{topic} {arrives} 0 über"));

                let options = ["-V", version, "-q", qos, "-t", "down"];
                let mut device = Subscriber::start(Some(sim), ringbeam.address(), &options);
                let mut command = client("mosquitto_pub", None, broker.address());
                command.args(["-q", "2", "-t", "down", "-m", "x"]);
                assert_eq!(output(&mut command).0, Some(0));
                assert_eq!(device.message(), format!("down {arrives} 0 x"), "{version}");
            }
        }
    }
}

#[test]
fn b_con_2_a_password_file_is_asked_through_tls() {
    let authority = Authority::new("Private Root");
    let users = authority.write("users", "");
    for (user, password) in [("fleet-440100001000001", "secret"), ("own", "mine")] {
        let mut command = std::process::Command::new("mosquitto_passwd");
        command.arg("-b").arg(&users).args([user, password]);
        assert_eq!(output(&mut command).0, Some(0));
    }
    let broker = broker(
        &authority,
        &format!("password_file {}\nallow_anonymous false", users.display()),
    );
    let with = |change: serde_json::Value| {
        let fleet = fleet_with(broker.address(), |_, object| {
            object["destination"] = format!("mqtts://{}", broker.tls_address()).into();
            for (key, value) in change.as_object().unwrap() {
                object[key] = value.clone();
            }
        });
        Setup::new(&fleet).section(&authority.section()).start()
    };
    let configured = with(json!({ "username": "fleet-#{imsi}", "password": "secret" }));
    assert_eq!(publish(&configured, &["-u", "any", "-P", "thing"]), Some(0));
    let passing = with(json!({ "useClientCredentials": true }));
    assert_eq!(publish(&passing, &["-u", "own", "-P", "mine"]), Some(0));
    let neither = with(json!({}));
    // What the broker answers passes as it is.
    assert_eq!(publish(&neither, &["-u", "own", "-P", "mine"]), Some(5));
}

#[test]
fn b_keep_4_the_will_of_a_device_that_vanishes_fires_over_tls() {
    let authority = Authority::new("Private Root");
    let broker = broker(&authority, "");
    let ringbeam = engine(&authority, broker.tls_address());
    let mut observer = Subscriber::start(None, broker.address(), &["-t", "will"]);
    let options = ["-t", "x", "--will-topic", "will", "--will-payload", "gone"];
    let mut device = Subscriber::start(Some(new_sim(3)), ringbeam.address(), &options);
    device.kill();
    assert_eq!(observer.message(), "will 0 0 gone");
    // And not for one that says goodbye.
    let will = ["--will-topic", "will", "--will-payload", "wrong"];
    assert_eq!(publish(&ringbeam, &will), Some(0));
    let mut command = client("mosquitto_pub", None, broker.address());
    assert_eq!(
        output(command.args(["-t", "will", "-m", "next"])).0,
        Some(0)
    );
    assert_eq!(observer.message(), "will 0 0 next");
}

#[test]
fn b_con_4_a_broker_that_asks_for_a_certificate_refuses_who_has_none() {
    let authority = Authority::new("Private Root");
    let more = format!(
        "cafile {}\nrequire_certificate true",
        authority.file().display()
    );
    let broker = broker(&authority, &more);
    let ringbeam = engine(&authority, broker.tls_address());
    assert_eq!(publish(&ringbeam, &[]), Some(3));
    let line = super::super::harness::wait_for("a line with the reason", || {
        let lines = ringbeam.log_lines();
        lines.into_iter().find(|line| line["reason"].is_string())
    });
    assert!(super::text(&line["reason"]).contains("upstream_tls"));
    assert!(super::text(&line["detail"]).contains("client certificate"));
}

#[test]
fn an_operators_broker_with_an_rsa_certificate() {
    let authority = Authority::new("Private Root");
    let [certificate, key] = authority.files(
        "rsa",
        &authority.issue(Wish {
            algorithm: &rcgen::PKCS_RSA_SHA256,
            ..Wish::server()
        }),
    );
    for version in ["tlsv1.2", "tlsv1.3"] {
        let more = format!("tls_version {version}");
        let broker = Mosquitto::start_tls(&certificate, &key, &more);
        let ringbeam = Setup::new(&tls_fleet(broker.tls_address()))
            .section(&authority.section())
            .start();
        assert_eq!(publish(&ringbeam, &["-q", "1"]), Some(0));
    }
}
