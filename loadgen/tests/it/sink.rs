//! Sink: real clients of every version find a broker there, in plain and over TLS, and the verdict says what came.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::process::{PROGRAM, Sink, run};

/// Publishes with a real client; whether it succeeded.
fn publish(address: &str, more: &[&str]) -> bool {
    let (host, port) = address.split_once(':').unwrap();
    let output = Command::new("mosquitto_pub")
        .args(["-h", host, "-p", port, "-t", "a/b", "-m", "hello"])
        .args(more)
        .output()
        .unwrap();
    output.status.success()
}

/// A request over HTTP; status line and body.
pub(crate) fn http(address: &str, path: &str) -> (String, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    let mut response = String::new();
    stream.read_to_string(&mut response).unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    (head.lines().next().unwrap().to_owned(), body.to_owned())
}

#[test]
fn clients_of_every_version_and_qos_are_served() {
    let sink = Sink::start("");
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        for qos in ["0", "1", "2"] {
            let served = publish(&sink.address, &["-V", version, "-q", qos]);
            assert!(served, "{version} {qos}");
        }
    }
    // Those were no messages of a generator, and no run is to blame for them.
    let (_, body) = http(&sink.address, "/verdict");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["unattributed"]["unrecognised"], 9);
    let (status, json, text) = run(&format!(
        "publish --target {} --sink {} --connections 1 --rate 10 --duration 200ms --warmup 0s",
        sink.address, sink.address
    ));
    assert_eq!(
        (status, &json["errors"]),
        (Some(0), &serde_json::json!({})),
        "{text}"
    );
}

#[test]
fn subscriptions_are_granted_and_nothing_is_delivered() {
    let sink = Sink::start("");
    let (host, port) = sink.address.split_once(':').unwrap();
    for version in ["mqttv31", "mqttv311", "mqttv5"] {
        let output = Command::new("mosquitto_sub")
            .args([
                "-h", host, "-p", port, "-V", version, "-t", "a/#", "-t", "b", "-q", "1",
            ])
            .args(["-U", "c", "-E"])
            .output()
            .unwrap();
        assert!(output.status.success(), "{version} {output:?}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_verdict_is_there_over_http() {
    let sink = Sink::start("");
    let (_, json, _) = run(&format!(
        "publish --target {} --sink {} --connections 3 --rate 300 --duration 500ms --warmup 100ms",
        sink.address, sink.address
    ));
    let run = json["run"].as_u64().unwrap();
    let (status, body) = http(&sink.address, &format!("/verdict?run={run}"));
    assert!(status.contains(" 200 "), "{status}");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["runs"][0]["received"], json["received"]);
    assert_eq!(answer["runs"][0]["latency_us"], json["latency_us"]);
    let (_, all) = http(&sink.address, "/verdict");
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&all).unwrap()["runs"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert!(http(&sink.address, "/other").0.contains(" 404 "));
    assert!(http(&sink.address, "/verdict?run=x").0.contains(" 404 "));
    assert!(http(&sink.address, &"/".repeat(5000)).0.contains(" 431 "));
}

#[test]
fn bytes_that_are_no_mqtt_end_the_session_and_show() {
    let sink = Sink::start("");
    for bytes in [
        &b"\x10\xff\xff\xff\xff\xff"[..],
        b"\x16\x03\x01",
        b"\x30\x02\x00\x00",
        b"\xc0\x00",
    ] {
        let mut stream = TcpStream::connect(&sink.address).unwrap();
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).ok();
        assert!(rest.is_empty(), "{rest:?}");
    }
    let (_, body) = http(&sink.address, "/verdict");
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["unattributed"]["malformed"], 4);
}

/// A certificate for 127.0.0.1, its key, and a client's; in PEM files.
fn certificates(folder: &Path) {
    let write = |name: &str, text: String| std::fs::write(folder.join(name), text).unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    write("ca.pem", ca.pem());
    for (name, host) in [("server", "127.0.0.1"), ("client", "client")] {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let certificate = params.signed_by(&key, &ca).unwrap();
        write(&format!("{name}.pem"), certificate.pem());
        write(&format!("{name}.key"), key.serialize_pem());
    }
}

/// A client's settings that trust an authority.
fn trusting(ca: &Path) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ca).unwrap())
        .unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

#[test]
fn full_and_resumed_handshakes_are_counted_and_resuming_can_be_forbidden() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    for (more, resumed) in [("", 2), ("--no-tickets", 0)] {
        let line = format!(
            "--tls-cert {} --tls-key {} {more}",
            file("server.pem").display(),
            file("server.key").display()
        );
        let sink = Sink::start(&line);
        let config = trusting(&file("ca.pem"));
        for _ in 0..3 {
            let name = "127.0.0.1".try_into().unwrap();
            let mut tls = rustls::ClientConnection::new(Arc::clone(&config), name).unwrap();
            let mut stream = TcpStream::connect(&sink.address).unwrap();
            let mut session = rustls::Stream::new(&mut tls, &mut stream);
            let connect = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01d";
            session.write_all(connect).unwrap();
            // Its tickets come before the answer.
            let mut connack = [0; 4];
            session.read_exact(&mut connack).unwrap();
            assert_eq!(connack, [0x20, 2, 0, 0]);
        }
        let (_, body) = http(&sink.address, "/verdict");
        let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
        let expected = serde_json::json!({ "full": 3 - resumed, "resumed": resumed });
        assert_eq!(answer["handshakes"], expected, "{more}");
    }
}

#[test]
fn bytes_behind_the_end_of_a_tls_session_hold_nobody_up() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name);
    let line = format!(
        "--tls-cert {} --tls-key {}",
        file("server.pem").display(),
        file("server.key").display()
    );
    let sink = Sink::start(&line);
    let config = trusting(&file("ca.pem"));
    let name = "127.0.0.1".try_into().unwrap();
    let mut tls = rustls::ClientConnection::new(config, name).unwrap();
    let mut stream = TcpStream::connect(&sink.address).unwrap();
    while tls.is_handshaking() {
        tls.complete_io(&mut stream).unwrap();
    }
    tls.send_close_notify();
    let mut wire = Vec::new();
    tls.write_tls(&mut wire).unwrap();
    wire.extend_from_slice(b"more");
    stream.write_all(&wire).unwrap();
    stream.write_all(b"and more").unwrap();
    // The one thread of the sink serves others still.
    let ca = file("ca.pem").display().to_string();
    assert!(publish(&sink.address, &["--cafile", &ca, "-q", "1"]));
}

#[test]
fn tls_and_mutual_tls_are_spoken_where_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (ca, server, key) = (file("ca.pem"), file("server.pem"), file("server.key"));
    let (client, client_key) = (file("client.pem"), file("client.key"));
    let tls = Sink::start(&format!("--tls-cert {server} --tls-key {key}"));
    for version in ["tlsv1.2", "tlsv1.3"] {
        let options = ["--cafile", &ca, "--tls-version", version, "-q", "2"];
        assert!(publish(&tls.address, &options), "{version}");
    }
    assert!(
        !publish(&tls.address, &[]),
        "plain MQTT where TLS is spoken"
    );
    assert!(http(&tls.address, "/verdict").0.contains(" 200 "));
    let mutual = Sink::start(&format!(
        "--tls-cert {server} --tls-key {key} --client-ca {ca}"
    ));
    assert!(
        !publish(&mutual.address, &["--cafile", &ca, "-q", "1"]),
        "no certificate"
    );
    let with = [
        "--cafile",
        &ca,
        "--cert",
        &client,
        "--key",
        &client_key,
        "-q",
        "1",
    ];
    assert!(publish(&mutual.address, &with));
    let missing = Command::new(PROGRAM)
        .args([
            "sink",
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            &server,
            "--tls-key",
            &ca,
        ])
        .output()
        .unwrap();
    assert_eq!(missing.status.code(), Some(1));
    let text = String::from_utf8_lossy(&missing.stderr).into_owned();
    assert!(text.contains("ca.pem: no private key"), "{text}");
}
