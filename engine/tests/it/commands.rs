//! The other commands, as a user types them: check, explain, demo, and what is refused with which words.

use std::process::Command;

use serde_json::{Value, json};

use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim};
use super::harness::ringbeam::{BINARY, Setup, output, project_file};

fn nowhere() -> std::net::SocketAddr {
    "127.0.0.1:1884".parse().unwrap()
}

#[test]
fn check_accepts_the_sample_and_says_what_is_in_it() {
    let sample = project_file("engine/ringbeam.sample.toml");
    let folder = tempfile::TempDir::new().unwrap();
    std::fs::copy(sample, folder.path().join("ringbeam.toml")).unwrap();
    std::fs::copy(
        project_file("engine/fleet.sample.json"),
        folder.path().join("fleet.json"),
    )
    .unwrap();
    let (code, stdout, stderr) =
        output(Command::new(BINARY).arg("check").current_dir(folder.path()));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("65537") || stdout.contains("65,537"),
        "addresses are counted: {stdout}"
    );
}

#[test]
fn serve_without_a_configuration_says_where_it_looked() {
    let folder = tempfile::TempDir::new().unwrap();
    let (code, _, stderr) = output(Command::new(BINARY).arg("serve").current_dir(folder.path()));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("ringbeam.toml") && stderr.contains("/etc/ringbeam/ringbeam.toml"),
        "{stderr}"
    );
}

#[test]
fn b_cfg_4_refusals_name_place_found_and_accepted_and_exit_2() {
    let with = |change: Value| {
        fleet_with(nowhere(), |group, object| {
            if group == "new" {
                for (key, value) in change.as_object().unwrap() {
                    object[key] = value.clone();
                }
            }
        })
    };
    let rows: Vec<(Value, &[&str])> = vec![
        (
            json!({ "version": "2019" }),
            &["version", "2019", "201509", "201912"],
        ),
        (json!({ "enabled": 1 }), &["enabled", "1", "true"]),
        (
            json!({ "destination": "http://x" }),
            &["destination", "mqtt://"],
        ),
        (json!({ "password": "hush" }), &["username"]),
        (
            json!({ "destination": "mqtts://broker.0x1" }),
            &["destination", "broker.0x1", "TLS"],
        ),
        (json!({ "usePubnub": true }), &["pubnubCredential"]),
        (
            json!({ "useAzureIoT": true, "useGoogleIoT": true }),
            &["useAzureIoT"],
        ),
        (json!({ "useClientCert": true }), &["clientCerts"]),
    ];
    for (change, words) in rows {
        let setup = Setup::new(&with(change.clone()));
        for command in ["check", "serve"] {
            let (code, stdout, stderr) = output(&mut setup.command(command));
            assert_eq!(code, Some(2), "{command} {change}: {stdout}{stderr}");
            assert!(
                stderr.contains("groups[0]") && stderr.contains("fleet.json"),
                "{stderr}"
            );
            for word in words {
                assert!(
                    stderr.contains(word),
                    "{change}: {word:?} is not in {stderr}"
                );
            }
            assert!(!stderr.contains("hush"), "{stderr}");
        }
    }
}

#[test]
fn refusals_of_the_configuration_name_line_found_and_accepted() {
    for (section, words) in [
        ("[registry2]", &["registry2"][..]),
        (
            "[upstream]\nsource_addresses = [\"x\"]",
            &["source_addresses", "x"],
        ),
        (
            "[limits]\nmessages_per_second = -1",
            &["messages_per_second"],
        ),
    ] {
        let setup = Setup::new(&fleet(nowhere())).section(section);
        let (code, _, stderr) = output(&mut setup.command("check"));
        assert_eq!(code, Some(2), "{section}: {stderr}");
        assert!(stderr.contains("ringbeam.toml"), "{stderr}");
        for word in words {
            assert!(stderr.contains(word), "{word:?} is not in {stderr}");
        }
    }
    let setup = Setup::new(&fleet(nowhere())).engine("shard = 3");
    let (code, _, stderr) = output(&mut setup.command("check"));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("shard") && stderr.contains(":7:"),
        "file and line: {stderr}"
    );
    let radius = "[[radius]]\naddress = \"0.0.0.0:1813\"\nnetworks = { x = \"default\" }\n\
                  clients = [ { cidr = \"10.0.0.0/8\", secret_file = \"not-there\" } ]";
    let setup = Setup::new(&fleet(nowhere())).embedded().section(radius);
    let (code, _, stderr) = output(&mut setup.command("check"));
    assert_eq!(code, Some(2));
    assert!(
        stderr.contains("secret_file") && stderr.contains("not-there"),
        "{stderr}"
    );
    let open5gs = "[[open5gs]]\nurl = \"http://127.0.0.4:9090/pdu-info\"\nnetwork = \"elsewhere\"";
    let setup = Setup::new(&fleet(nowhere())).section(open5gs);
    let (code, stdout, _) = output(&mut setup.command("check"));
    assert_eq!(code, Some(0));
    assert!(
        stdout.contains("[[open5gs]]: no effect while registry.kind"),
        "a document keeps no sessions: {stdout}"
    );
    let setup = setup.embedded();
    let file = setup.path("fleet.json");
    let (code, _, stderr) = output(setup.fleet_command("import").arg(file));
    assert_eq!(code, Some(0), "{stderr}");
    let (code, stdout, stderr) = output(&mut setup.command("check"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("elsewhere"), "one warning: {stdout}");
}

#[test]
fn explain_tells_what_a_connect_would_lead_to_and_masks_secrets() {
    let fleet = fleet_with(nowhere(), |_, object| {
        object["username"] = "user-#{imsi}".into();
        object["password"] = "hush".into();
    });
    let setup = Setup::new(&fleet);
    let sim = new_sim(9).to_string();
    let imsi = new_imsi(9);
    for arguments in [["--ip", sim.as_str()], ["--imsi", imsi.as_str()]] {
        let (code, stdout, stderr) = output(setup.command("explain").args(arguments));
        assert_eq!(code, Some(0), "{stderr}");
        for word in [
            &imsi,
            "201912",
            "127.0.0.1:1884",
            &format!("user-{imsi}"),
            "unknown-imei",
            "********",
        ] {
            assert!(stdout.contains(word), "{word:?} is not in {stdout}");
        }
        assert!(!stdout.contains("hush"), "{stdout}");
    }
    let (code, stdout, _) = output(setup.command("explain").args(["--ip", "10.0.0.1"]));
    assert_eq!(code, Some(0));
    assert!(stdout.contains("CONNACK 5"), "{stdout}");
}

#[test]
fn a_million_addresses_in_ranges_cost_nothing_each() {
    let mut fleet = fleet(nowhere());
    fleet["simRanges"] = json!([
        { "cidr": "10.0.0.0/12", "imsiBase": "440100000000000", "simIdBase": "8981100000000000000", "groupId": "new" },
        { "cidr": "2001:db8::/40", "memberPrefix": 64, "imsiBase": "440110000000000",
          "simIdBase": "8981110000000000000", "groupId": "new" },
    ]);
    let ringbeam = Setup::new(&fleet).start();
    assert!(
        ringbeam.resident_bytes() < 64 << 20,
        "{}",
        ringbeam.resident_bytes()
    );
    let explain = |ip: &str| output(ringbeam.setup().command("explain").args(["--ip", ip])).1;
    assert!(explain("10.15.255.255").contains("440100001048575"));
    assert!(explain("2001:db8:0:5::77").contains("440110000000005"));
}

#[test]
fn logs_are_json_unless_asked_for_and_filtered_on_request() {
    let folder = tempfile::TempDir::new().unwrap();
    let upstream = super::harness::peer::Upstream::listen();
    for (options, is_json, has_lines) in [
        (&[][..], true, true),
        (&["--log-format", "json"], true, true),
        (&["--log-format", "text"], false, true),
        (&["--log", "error"], true, false),
        (&["--log", "warn,ringbeam::serve=info"], true, true),
    ] {
        let setup = Setup::new(&fleet(upstream.address()));
        let log = folder.path().join("log");
        let mut child = setup
            .command("serve")
            .args(options)
            .stdout(std::process::Stdio::piped())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut ready = [0; 5];
        let mut stdout = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut stdout, &mut ready).unwrap();
        let id = child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(child.wait().unwrap().code(), Some(0));
        let text = std::fs::read_to_string(&log).unwrap();
        assert_eq!(text.contains("stopped"), has_lines, "{options:?}: {text}");
        for line in text.lines() {
            assert_eq!(
                serde_json::from_str::<Value>(line).is_ok(),
                is_json,
                "{options:?}: {line}"
            );
        }
    }
    let mut command = Setup::new(&fleet(upstream.address())).command("check");
    let (code, _, stderr) = output(command.args(["--log", "==="]));
    assert_eq!(code, Some(2));
    assert!(stderr.contains("==="), "{stderr}");
}

#[test]
fn the_descriptor_limit_is_raised_and_what_it_allows_is_logged() {
    let upstream = super::harness::peer::Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address()));
    // A soft limit that would not do for anything.
    let command = format!(
        "ulimit -Sn 64; exec {BINARY} serve --config {}",
        setup.config().display()
    );
    let log = setup.log();
    let mut child = Command::new("sh")
        .args(["-c", &command])
        .stdout(std::process::Stdio::null())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let line = super::harness::wait_for("the log line", || {
        let text = std::fs::read_to_string(&log).unwrap();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .into_iter()
            .find(|line| line["message"] == "accepting")
    });
    let (descriptors, sessions) = (
        line["descriptors"].as_u64().unwrap(),
        line["sessions"].as_u64().unwrap(),
    );
    assert!(descriptors >= 1_024, "{line}");
    // What waits is bounded by what there is, however many sessions fit.
    let number = |field: &str| line[field].as_u64().unwrap();
    assert_eq!(
        number("waiting"),
        number("memory_bytes_allowed") / 4,
        "{line}"
    );
    let parts = ["records", "buffers", "waiting", "heads", "tls", "renewal"];
    let sum: u64 = parts.map(|part| line[part].as_u64().unwrap()).iter().sum();
    assert_eq!(line["memory_bytes_max"].as_u64(), Some(sum), "{line}");
    assert!(descriptors < 20_000 || sessions >= 9_600, "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn b_cfg_4_and_b_cred_1_a_credential_that_depends_on_the_sim_is_checked_at_connect() {
    let upstream = super::harness::peer::Upstream::listen();
    let mut fleet = fleet_with(upstream.address(), |group, object| {
        if group == "new" {
            object["useClientCert"] = true.into();
            object["clientCerts"] = json!({ "default": { "$credentialsId": "x509-#{imsi}" } });
        }
    });
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::default()
        .self_signed(&key)
        .unwrap();
    fleet["credentials"] = json!([
        { "credentialsId": format!("x509-{}", new_imsi(1)), "type": "x509",
          "credentials": { "cert": certificate.pem(), "key": key.serialize_pem() } },
        { "credentialsId": format!("x509-{}", new_imsi(2)), "type": "username-password-credentials",
          "credentials": { "username": "u", "password": "p" } },
    ]);
    let ringbeam = Setup::new(&fleet).start();
    // It is there; it is of another type; it is not there.
    let connect = super::harness::peer::connect_packet(4, "device");
    for (number, is_served) in [(1, true), (2, false), (3, false)] {
        let mut device = super::harness::peer::Peer::connect(new_sim(number), ringbeam.address());
        device.send(&connect);
        if is_served {
            let (_peer, _) = upstream.accept_connect(&[0x20, 2, 0, 0]);
            device.expect(&[0x20, 2, 0, 0]);
        } else {
            device.expect_closed();
        }
    }
    ringbeam.wait_for_logs(2, "reason", "refused_no_credential");
    // All SIMs of the group but one, those of the range and the explicit one.
    let (code, stdout, stderr) = output(&mut ringbeam.setup().command("check"));
    assert_eq!(code, Some(0), "{stderr}");
    assert!(
        stdout.contains("65536 SIMs without a credential"),
        "{stdout}"
    );
    assert!(
        stdout.contains("440100000000001 needs \"x509-440100000000001\""),
        "{stdout}"
    );
}

#[test]
fn b_dst_1_what_is_meant_for_tls_never_goes_out_in_plain() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let mut fleet = fleet_with(listener.local_addr().unwrap(), |_, object| {
        object["useAzureIoT"] = true.into();
        object["azureIoTCredential"] = json!({ "$credentialsId": "hub" });
    });
    fleet["credentials"] = json!([{ "credentialsId": "hub", "type": "azureIoT-credentials",
        "credentials": { "sharedAccessKeyName": "hush", "sharedAccessKey": "aHVzaA==" } }]);
    let setup = Setup::new(&fleet).engine("upstream_timeout_ms = 500");
    let ringbeam = setup.start();
    let mut device = super::harness::peer::Peer::connect(new_sim(1), ringbeam.address());
    device.send(&super::harness::peer::connect_packet(4, "device"));
    device.expect_closed();
    // Nobody came, or somebody who began TLS and went when it was not answered.
    let mut received = Vec::new();
    if let Ok((mut peer, _)) = listener.accept() {
        peer.set_nonblocking(false).unwrap();
        // However it went, what it said is here.
        drop(std::io::Read::read_to_end(&mut peer, &mut received));
    }
    for secret in ["MQTT", "SharedAccessSignature"] {
        let found = String::from_utf8_lossy(&received).contains(secret);
        assert!(!found, "{received:02x?}");
    }
}
