//! What an earlier version left behind is opened as it is: `fixtures/` has a configuration and a registry of each.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rusqlite::Connection;
use serde_json::{Value, json};

use super::harness::fleet::ENTRY_POINT;
use super::harness::http::Api;
use super::harness::peer::{Upstream, publish};
use super::harness::ringbeam::{Ringbeam, Setup, output};

/// What stands in the fixtures' entry points as the destination.
const DESTINATION: &str = "127.0.0.1:18841";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/it/fixtures/0.1")
        .join(name)
}

/// Usage is kept for a time: it is as old as the fixture, so it is moved to now.
fn usage_of_today(database: &Path) {
    let database = Connection::open(database).unwrap();
    let newest = "(SELECT max(start) FROM usage AS newest WHERE newest.period = usage.period)";
    let now = "(unixepoch() / period * period)";
    let moved = database.execute(
        &format!("UPDATE usage SET start = start - {newest} + {now}"),
        [],
    );
    assert!(moved.unwrap() > 0);
}

/// A session's CONNECT as the upstream has it, and one message.
fn serve_one(upstream: &Upstream, to: SocketAddr, from: [u8; 4], imsi: &str) {
    let (mut device, mut peer) = upstream.session(to, Ipv4Addr::from(from), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{imsi}"), b"x"));
}

/// The warnings of its start about defaults that changed.
fn changed_defaults(ringbeam: &Ringbeam) -> Vec<Value> {
    let lines = ringbeam.log_lines().into_iter();
    let of_defaults = |line: &Value| {
        let message = line["message"].as_str();
        message.is_some_and(|message| message.starts_with("defaults"))
    };
    lines
        .filter(|line| line["level"] == "WARN" && of_defaults(line))
        .collect()
}

#[test]
fn a_registry_of_version_0_1_is_served_with_all_that_it_holds() {
    let setup = Setup::copied_from(&fixture(""));
    usage_of_today(&setup.path("ringbeam.db"));

    // The document comes out as it went in, but for the tag that came later.
    let (status, document, errors) = output(&mut setup.fleet_command("export"));
    assert_eq!(status, Some(0), "{errors}");
    let mut expected: Value =
        serde_json::from_slice(&fs::read(fixture("fleet.json")).unwrap()).unwrap();
    expected["groups"][0]["tags"]["site"] = json!("north");
    let exported: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(exported, expected);

    let ringbeam = setup.start();
    assert_eq!(changed_defaults(&ringbeam).len(), 1, "once, in one line");

    // The user signs in, and so does the key.
    let api = ringbeam.api();
    let key: Value = serde_json::from_slice(&fs::read(fixture("auth-key.json")).unwrap()).unwrap();
    let nobody = ringbeam.nobody();
    let by_key = nobody.post("/v1/auth", &key).expect(200).json();
    let by_key: Api = nobody.with(&by_key);

    // Usage, logs and the audit log are there.
    let path =
        "/v1/stats/beam/subscribers/440100000000001?from=1600000000&to=4000000000&period=month";
    let usage = by_key.get(path).expect(200).json();
    assert_eq!(
        usage[0]["beamStatsMap"],
        json!({"inMqtt": {"count": 1}, "outMqtt": {"count": 1}})
    );
    let audit = api.get("/ringbeam/v1/audit").expect(200).text();
    assert!(audit.contains("operator@example.com"), "{audit}");

    // The entry point goes to this test's upstream now; its secret has to come anew for that.
    let upstream = Upstream::listen();
    let path = "/v1/groups/g1";
    let group = api.get(path).expect(200).json();
    let mut object = group["configuration"]["SoracomBeam"][ENTRY_POINT].clone();
    assert_eq!(object["destination"], format!("mqtt://{DESTINATION}"));
    assert_eq!(object["someday"], json!({"unknown": ["key", 1]}));
    object["destination"] = json!(format!("mqtt://{}", upstream.address()));
    object["password"] = json!("another secret");
    let write = json!([{"key": ENTRY_POINT, "value": object}]);
    api.put("/v1/groups/g1/configuration/SoracomBeam", &write)
        .expect(200);

    // A SIM with an address of its own, one of a range, one bound by the API, one by RADIUS.
    let first = ringbeam.address_of("default");
    serve_one(&upstream, first, [127, 0, 0, 2], "440100000000001");
    serve_one(&upstream, first, [127, 1, 0, 7], "440100000100007");
    serve_one(&upstream, first, [127, 0, 0, 9], "440100000000004");
    let private = ringbeam.address_of("private");
    serve_one(&upstream, private, [127, 0, 0, 50], "440100000000003");
}

#[test]
fn a_file_registry_of_version_0_1_is_served() {
    let upstream = Upstream::listen();
    let setup = Setup::copied_from(&fixture(""));
    let fleet = fs::read_to_string(setup.path("fleet.json")).unwrap();
    setup.write_fleet_text(&fleet.replace(DESTINATION, &upstream.address().to_string()));
    // Sessions from RADIUS are for a database.
    let config = fs::read_to_string(setup.config()).unwrap();
    let (config, _) = config.split_once("[[radius]]").unwrap();
    let config = config
        .replace("kind = \"embedded\"", "kind = \"file\"")
        .replace("path = \"ringbeam.db\"", "path = \"fleet.json\"");
    fs::write(setup.config(), config).unwrap();

    let ringbeam = setup.start();
    assert_eq!(changed_defaults(&ringbeam).len(), 1, "once, in one line");
    let first = ringbeam.address_of("default");
    serve_one(&upstream, first, [127, 0, 0, 2], "440100000000001");
    serve_one(&upstream, first, [127, 1, 0, 7], "440100000100007");
}

#[test]
fn a_configuration_that_names_its_defaults_is_not_warned_of_them() {
    let setup = Setup::copied_from(&fixture(""));
    let config = fs::read_to_string(setup.config()).unwrap();
    let written = "[engine]\nmax_sessions_per_sim = 256\nconnect_timeout_ms = 10000\nwhen_unavailable = \"connack\"";
    fs::write(setup.config(), config.replace("[engine]", written)).unwrap();
    let ringbeam = setup.start();
    assert!(changed_defaults(&ringbeam).is_empty());
}
