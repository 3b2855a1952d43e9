//! The API over TLS, which it needs off loopback.

use std::process::Command;

use serde_json::{Value, json};

use super::super::harness::authority::Authority;
use super::super::harness::fleet::fleet;
use super::super::harness::peer::Upstream;
use super::super::harness::ringbeam::{EMAIL, PASSWORD, Setup, output};

#[test]
fn the_api_speaks_tls_where_it_has_a_certificate() {
    let upstream = Upstream::listen();
    let authority = Authority::new("Private Root");
    let server = authority.server();
    let setup = Setup::new(&fleet(upstream.address()))
        .embedded()
        .control()
        .control_lines("tls_cert_file = \"cert.pem\"\ntls_key_file = \"key.pem\"");
    std::fs::write(setup.path("cert.pem"), server.chain.concat()).unwrap();
    std::fs::write(setup.path("key.pem"), &server.key).unwrap();
    std::fs::write(setup.path("ca.pem"), authority.pem()).unwrap();
    let ringbeam = setup.with_user().start();
    let address = ringbeam.nobody().address;
    let curl = |arguments: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "-S", "--max-time", "20", "--cacert"])
            .arg(ringbeam.setup().path("ca.pem"))
            .args([
                "--resolve",
                &format!("localhost:{}:127.0.0.1", address.port()),
            ])
            .args(arguments);
        output(&mut curl)
    };
    let url = format!("https://localhost:{}", address.port());
    let body = json!({"email": EMAIL, "password": PASSWORD}).to_string();
    let (status, said, errors) = curl(&[&format!("{url}/v1/auth"), "-d", &body]);
    assert_eq!(status, Some(0), "{errors}");
    let issued: Value = serde_json::from_str(&said).unwrap();
    let header = |name: &str, key: &str| format!("{name}: {}", issued[key].as_str().unwrap());
    // What is told of addresses here is whole: as this one was called.
    let operator = issued["operatorId"].as_str().unwrap();
    let (_, said, _) = curl(&[
        &format!("{url}/v1/stats/beam/operators/{operator}/export?export_mode=sync"),
        "-H",
        &header("X-Soracom-API-Key", "apiKey"),
        "-H",
        &header("X-Soracom-Token", "token"),
        "-d",
        "{\"from\": 1600000000, \"to\": 4000000000}",
    ]);
    let export: Value = serde_json::from_str(&said).unwrap();
    let (status, said, errors) = curl(&["-f", export["url"].as_str().unwrap()]);
    assert_eq!(status, Some(0), "{export}: {errors}");
    assert!(said.starts_with("imsi,date"), "{said}");
    // A tap goes there too, once it knows the authority.
    let tap = |more: &[&str]| {
        let mut tap = ringbeam.setup().command("tap");
        let imsi = "440100000000001";
        tap.args(["--imsi", imsi, "--seconds", "1", "--url", &url])
            .args(more);
        output(&mut tap)
    };
    let ca = ringbeam.setup().path("ca.pem");
    let (status, said, errors) = tap(&["--ca", ca.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{errors}");
    assert!(said.contains("over: "), "{said}");
    let (status, _, errors) = tap(&[]);
    assert_eq!(status, Some(1));
    assert!(errors.contains("cannot be trusted"), "{errors}");
    // In clear there is nothing to hear, and nothing breaks.
    let (status, said, _) = curl(&[&format!("http://localhost:{}/healthz", address.port())]);
    assert!(status != Some(0) && said.is_empty());
    let (status, said, _) = curl(&[&format!("{url}/healthz")]);
    assert_eq!((status, said.as_str()), (Some(0), "ok\n"));
}

#[test]
fn a_certificate_that_cannot_be_used_and_an_open_address_are_refused() {
    let upstream = Upstream::listen();
    let refused = |line: &str| {
        let setup = Setup::new(&fleet(upstream.address())).control_lines(line);
        let mut serve = setup.command("serve");
        let (status, _, errors) = output(&mut serve);
        assert_eq!(status, Some(2), "{errors}");
        errors
    };
    let open = refused("address = \"0.0.0.0:18080\"");
    assert!(
        open.contains("control.address: found \"0.0.0.0:18080\", off loopback"),
        "{open}"
    );
    let missing = refused(
        "address = \"127.0.0.1:0\"\ntls_cert_file = \"none.pem\"\ntls_key_file = \"none.pem\"",
    );
    assert!(
        missing.contains("control.tls_cert_file: found"),
        "{missing}"
    );
}

#[test]
fn an_address_in_use_is_named_unless_nobody_asked_for_it() {
    let upstream = Upstream::listen();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let setup =
        Setup::new(&fleet(upstream.address())).control_lines(&format!("address = \"{address}\""));
    let (status, _, errors) = output(&mut setup.command("serve"));
    assert_eq!(status, Some(1), "{errors}");
    assert!(
        errors.contains(&format!("cannot listen on {address}")),
        "{errors}"
    );
}
