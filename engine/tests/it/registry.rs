//! The embedded registry, as its users have it: documents in and out, a fleet that is served, and programs that are
//! killed while they write.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::harness::fleet::{fleet, new_imsi, new_sim};
use super::harness::is_soak;
use super::harness::peer::{Upstream, publish};
use super::harness::ringbeam::{BINARY, EMAIL, Setup, output};

/// A fleet with all of its lists, as an export has them.
fn whole(upstream: &Upstream) -> Value {
    let mut fleet = fleet(upstream.address());
    fleet["credentials"] = json!([]);
    fleet
}

fn exported(setup: &Setup) -> Value {
    let (status, document, errors) = output(&mut setup.fleet_command("export"));
    assert_eq!(status, Some(0), "{errors}");
    serde_json::from_str(&document).unwrap()
}

#[test]
fn a_fleet_is_imported_served_and_exported_unchanged() {
    let upstream = Upstream::listen();
    let fleet = whole(&upstream);
    let setup = Setup::new(&fleet).embedded();
    let file = setup.path("fleet.json");
    let (status, said, errors) = output(setup.fleet_command("import").arg(&file));
    assert_eq!(status, Some(0), "{errors}");
    assert!(said.starts_with("imported "), "{said}");
    // The document is not needed any more.
    std::fs::remove_file(&file).unwrap();
    assert_eq!(exported(&setup), fleet);

    // What others could read is not written into.
    let out = setup.path("out.json");
    std::fs::write(&out, "{}").unwrap();
    std::fs::set_permissions(&out, Permissions::from_mode(0o644)).unwrap();
    let (status, _, errors) = output(setup.fleet_command("export").arg(&out));
    assert_eq!(status, Some(0), "{errors}");
    let mode = std::fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds secrets");
    let written: Value = serde_json::from_slice(&std::fs::read(&out).unwrap()).unwrap();
    assert_eq!(written, fleet);

    let (status, _, errors) = output(setup.fleet_command("export").arg("/dev/stdout"));
    assert_eq!(status, Some(1));
    assert!(errors.contains("something that is no file"), "{errors}");

    let ringbeam = setup.start();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("t", b"served"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"served"));

    // A database that is gone is no empty fleet.
    let database = ringbeam.setup().path("ringbeam.db");
    let moved = ringbeam.setup().path("moved.db");
    std::fs::rename(&database, &moved).unwrap();
    assert!(!ringbeam.reload());
    let (status, _, errors) = output(&mut ringbeam.setup().fleet_command("export"));
    assert_eq!(status, Some(2));
    assert!(errors.contains("no database there"), "{errors}");
    std::fs::rename(&moved, &database).unwrap();
    device.send(&publish("t", b"still"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"still"));

    // Another document while it runs, from standard input, holds from the next reload on.
    let empty = r#"{"groups": []}"#;
    let mut import = ringbeam.setup().fleet_command("import");
    std::fs::write(ringbeam.setup().path("empty.json"), empty).unwrap();
    let input = std::fs::File::open(ringbeam.setup().path("empty.json")).unwrap();
    let done = import.stdin(Stdio::from(input)).status().unwrap();
    assert!(done.success());
    assert!(ringbeam.reload());
    device.expect_closed();
}

#[test]
fn b_cfg_4_a_document_that_is_refused_changes_nothing() {
    let upstream = Upstream::listen();
    let fleet = whole(&upstream);
    let setup = Setup::new(&fleet).embedded();
    let file = setup.path("fleet.json");
    output(setup.fleet_command("import").arg(&file));
    let mut wrong = fleet.clone();
    wrong["sims"] = json!([{"simId": "1"}]);
    setup.write_fleet(&wrong);
    let (status, _, errors) = output(setup.fleet_command("import").arg(&file));
    assert_eq!(status, Some(2));
    assert!(errors.contains("sims[0].imsi: found nothing"), "{errors}");
    assert_eq!(exported(&setup), fleet);
    let (status, _, errors) = output(setup.fleet_command("import").arg("no-such-file"));
    assert_eq!(status, Some(1));
    assert!(errors.contains("no-such-file cannot be read"), "{errors}");
}

#[test]
fn a_key_that_is_missing_or_wrong_is_refused_by_everything() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).embedded();
    let file = setup.path("fleet.json");
    output(setup.fleet_command("import").arg(&file));
    let refused = |command: &mut Command, reason: &str| {
        let (status, _, errors) = output(command);
        assert_eq!(status, Some(2), "{errors}");
        assert!(errors.contains(reason), "{errors}");
        assert!(!errors.contains(&"b".repeat(8)), "{errors}");
    };
    setup.write_key('b');
    for command in ["serve", "check"] {
        refused(&mut setup.command(command), "encrypted by another key");
    }
    refused(
        &mut setup.fleet_command("export"),
        "encrypted by another key",
    );
    // The environment comes before the file.
    let key = "a".repeat(64);
    let (status, _, errors) = output(setup.command("check").env("RINGBEAM_SECRET_KEY", &key));
    assert_eq!(status, Some(0), "{errors}");
    refused(
        setup
            .command("check")
            .env("RINGBEAM_SECRET_KEY", "bbbbbbbb"),
        "64 hexadecimal digits",
    );
    std::fs::remove_file(setup.path("key")).unwrap();
    refused(&mut setup.command("serve"), "which cannot be read");
}

#[test]
fn a_file_registry_has_nothing_to_import_into() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address()));
    let (status, _, errors) = output(&mut setup.fleet_command("export"));
    assert_eq!(status, Some(2));
    assert!(errors.contains("is the fleet document itself"), "{errors}");
}

/// A fleet of so many SIMs, all of them of one generation.
fn generation(number: u64, sims: u64) -> Value {
    let sims: Vec<Value> = (0..sims)
        .map(|sim| {
            json!({
                "simId": format!("89811{sim:014}"), "imsi": format!("4401{sim:011}"), "groupId": "g",
                "description": number.to_string(),
            })
        })
        .collect();
    let group = json!({"groupId": "g", "tags": {"generation": number.to_string()}});
    json!({"groups": [group], "credentials": [], "sims": sims, "simRanges": []})
}

#[test]
fn what_was_acknowledged_survives_whatever_ends_the_program() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).embedded();
    let (rounds, sims) = if is_soak() { (300, 5_000) } else { (14, 2_000) };
    let file = setup.path("fleet.json");
    let mut held = Value::Null;
    let (mut killed, mut done) = (0, 0);
    for round in 0..rounds {
        let next = generation(round, sims);
        setup.write_fleet(&next);
        let mut import = setup
            .fleet_command("import")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From before its first step until after its last one, but for the first and the last import.
        if round > 0 && round + 1 < rounds {
            std::thread::sleep(Duration::from_millis(round * 37 % 400));
            import.kill().unwrap();
        }
        let is_acknowledged = import.wait().unwrap().success();
        let found = exported(&setup);
        if is_acknowledged {
            done += 1;
            assert!(found == next, "round {round}: acknowledged and lost");
        } else {
            killed += 1;
            let is_whole = found == next || found == held;
            assert!(is_whole, "round {round}: half of a fleet");
        }
        held = found;
    }
    assert!(killed > 0 && done > 0, "{killed} killed, {done} done");
}

#[test]
fn b_id_6_a_second_engine_on_one_database_is_refused_and_names_the_first() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    let mut first = setup.with_user().start();
    let link = first.setup().path("link.db");
    std::os::unix::fs::symlink(first.setup().path("ringbeam.db"), &link).unwrap();
    let refused = |path: &str| {
        // Another port, another name of the same file: nothing but the database stands in the way.
        let setup = first.setup();
        let text = std::fs::read_to_string(setup.config()).unwrap();
        let changed = text.replace("[registry]\n", &format!("[registry]\npath = \"{path}\"\n"));
        let config = setup.path("second.toml");
        std::fs::write(&config, changed).unwrap();
        let mut second = Command::new("timeout");
        second.args(["20", BINARY, "serve", "--config"]).arg(config);
        let (status, said, errors) = output(&mut second);
        assert_eq!(status, Some(1), "{errors}");
        assert_eq!(said, "", "it was never ready");
        let named = format!("by process {};", first.id());
        assert!(errors.contains(&named), "{errors}");
    };
    refused("ringbeam.db");
    refused("link.db");
    // Whoever does not serve works beside it.
    exported(first.setup());
    let (status, _, errors) = output(&mut first.setup().user_command("add-key", EMAIL));
    assert_eq!(status, Some(0), "{errors}");
    let (mut device, mut peer) = upstream.session(first.address(), new_sim(1), 4);
    device.send(&publish("t", b"x"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"x"));

    // However it ends, the next one may begin.
    first.signal("KILL");
    first.wait();
    let mut next = first.restart();
    drop(upstream.session(next.address(), new_sim(1), 4));
    next.end();
    let next = next.restart();
    drop(upstream.session(next.address(), new_sim(1), 4));
}
