//! An embedded registry on a real disk: what goes in comes out, by its key alone, whatever ends the program.

use std::path::Path;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::*;

fn key(digit: char) -> SecretKey {
    let hex = String::from(digit).repeat(64);
    SecretKey::from_hex(hex.as_bytes()).unwrap()
}

fn fleet() -> Value {
    json!({
        "groups": [
            {"groupId": "b", "tags": {"name": "second by name"}, "more": [1, {"x": null}],
             "configuration": {"SoracomBeam": {"mqtt://beam.soracom.io:1883": {
                "name": "n", "enabled": true, "destination": "mqtt://127.0.0.1:1884",
                "username": "u", "password": "group-secret", "unknown": "kept"}}}},
            {"groupId": "a"},
        ],
        "credentials": [
            {"credentialsId": "c", "type": "username-password-credentials", "description": "d",
             "credentials": {"username": "u", "password": "credential-secret"}},
        ],
        "sims": [
            {"simId": "8981100000000000002", "imsi": "440100000000002", "imei": null, "groupId": "a",
             "network": "default", "ips": ["127.0.0.2", "fd00::/64"], "tags": {"name": "x"}},
            {"simId": "8981100000000000001", "imsi": "440100000000001", "groupId": "b", "ip": "127.0.0.1"},
        ],
        "simRanges": [
            {"network": "default", "cidr": "127.1.0.0/16", "imsiBase": "440100000100000",
             "simIdBase": "8981100000000100000", "imei": null, "groupId": "b"},
        ],
    })
}

/// One that holds nothing, and the folder of its file.
pub(super) fn empty() -> (TempDir, EmbeddedRegistry) {
    let folder = TempDir::new().unwrap();
    let registry = EmbeddedRegistry::open_or_create(&folder.path().join("db"), key('1')).unwrap();
    (folder, registry)
}

fn filled(folder: &TempDir) -> EmbeddedRegistry {
    let path = folder.path().join("db");
    let registry = EmbeddedRegistry::open_or_create(&path, key('1')).unwrap();
    let document = fleet().to_string();
    let imported = registry.import(Path::new("f"), document.as_bytes());
    imported.unwrap().unwrap();
    registry
}

fn exported(registry: &EmbeddedRegistry) -> Value {
    let mut output = Vec::new();
    registry.export(&mut output).unwrap();
    serde_json::from_slice(&output).unwrap()
}

#[test]
fn a_database_of_the_first_version_goes_on_with_what_it_has() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let connection = Connection::open(&path).unwrap();
    connection
        .execute_batch(include_str!("schema-1.sql"))
        .unwrap();
    connection.pragma_update(None, "user_version", 1).unwrap();
    connection
        .pragma_update(None, "application_id", 0x524e_4742)
        .unwrap();
    let group = json!({"groupId": "g", "tags": {"name": "kept"}}).to_string();
    let place = Place {
        table: "groups",
        id: "g",
    };
    let sealed = key('1').seal(&place, group.as_bytes()).unwrap();
    connection
        .execute(
            "INSERT INTO groups (group_id, object) VALUES ('g', ?1)",
            [sealed],
        )
        .unwrap();
    let sim = json!({"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"});
    connection
        .execute("INSERT INTO sims (object) VALUES (?1)", [sim.to_string()])
        .unwrap();
    drop(connection);
    let registry = EmbeddedRegistry::open(&path, key('1')).unwrap();
    let fleet = registry.load().unwrap();
    assert_eq!(fleet.group_of("g").unwrap().name(), Some("kept"));
    assert!(fleet.find("default", "10.0.0.1".parse().unwrap()).is_some());
    registry
        .change(|moment| moment.put_user("a@b", b"long enough", 1))
        .unwrap();
}

#[test]
fn b_cfg_1_a_document_comes_out_as_it_went_in() {
    let folder = TempDir::new().unwrap();
    let registry = filled(&folder);
    assert_eq!(exported(&registry), fleet());
    let counts = registry.load().unwrap().counts();
    assert_eq!((counts.groups, counts.sims, counts.ranges), (2, 2, 1));
    // Another program finds the same, and an empty registry is an empty document.
    drop(registry);
    let registry = EmbeddedRegistry::open(&folder.path().join("db"), key('1')).unwrap();
    assert_eq!(exported(&registry), fleet());
    registry.import(Path::new("f"), b"{}").unwrap().unwrap();
    let empty = json!({"groups": [], "credentials": [], "sims": [], "simRanges": []});
    assert_eq!(exported(&registry), empty);
}

#[test]
fn b_cfg_4_what_is_refused_changes_nothing() {
    let folder = TempDir::new().unwrap();
    let registry = filled(&folder);
    let mut wrong = fleet();
    wrong["sims"][1]["imsi"] = json!(5);
    let problems = registry
        .import(Path::new("f"), wrong.to_string().as_bytes())
        .unwrap()
        .unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "f: sims[1].imsi: found the number 5; accepted: a string"
    );
    registry.import(Path::new("f"), b"{").unwrap().unwrap_err();
    assert_eq!(exported(&registry), fleet());
}

#[test]
fn no_secret_stands_in_its_files_and_they_are_for_their_owner_alone() {
    let folder = TempDir::new().unwrap();
    let registry = filled(&folder);
    for place in std::fs::read_dir(folder.path()).unwrap() {
        let place = place.unwrap();
        let mode = place.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{place:?}");
        let bytes = std::fs::read(place.path()).unwrap();
        for secret in ["group-secret", "credential-secret"] {
            let is_there = bytes
                .windows(secret.len())
                .any(|part| part == secret.as_bytes());
            assert!(!is_there, "{place:?} {secret}");
        }
    }
    assert!(!format!("{registry:?}").contains("secret-"));
}

#[test]
fn another_key_and_another_file_are_refused() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    drop(filled(&folder));
    let refused = EmbeddedRegistry::open(&path, key('2')).unwrap_err();
    assert!(matches!(refused, StoreError::WrongKey), "{refused}");
    // It is still the first one's.
    drop(EmbeddedRegistry::open(&path, key('1')).unwrap());
    let path = folder.path().join("other");
    std::fs::write(&path, "something else, and not short").unwrap();
    let refused = EmbeddedRegistry::open(&path, key('1')).unwrap_err();
    let problem = refused.problem(&path).to_string();
    assert!(problem.contains("not a database"), "{problem}");
}

#[test]
fn b_cfg_4_an_object_that_was_changed_by_somebody_else_is_refused_by_its_place() {
    let folder = TempDir::new().unwrap();
    let registry = filled(&folder);
    let other = Connection::open(folder.path().join("db")).unwrap();
    other
        .execute(
            "UPDATE sims SET object = json_set(object, '$.ip', 'x') WHERE imsi = '440100000000001'",
            [],
        )
        .unwrap();
    let problem = registry.load().unwrap_err()[0].to_string();
    assert!(problem.contains("sims[1].ip: found \"x\""), "{problem}");
    // A secret that was moved to another row is no secret of that row.
    other
        .execute_batch(
            "UPDATE groups SET object = (SELECT object FROM groups WHERE group_id = 'b')",
        )
        .unwrap();
    let problem = registry.load().unwrap_err()[0].to_string();
    assert!(
        problem.contains("encrypted by another key, or changed"),
        "{problem}"
    );
}

#[test]
fn opening_makes_nothing_and_takes_no_turn_with_a_program_that_writes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let missing = EmbeddedRegistry::open(&path, key('1')).unwrap_err();
    assert!(matches!(missing, StoreError::Missing), "{missing}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    drop(filled(&folder));
    let mut other = Connection::open(&path).unwrap();
    let writes = other
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .unwrap();
    let registry = EmbeddedRegistry::open(&path, key('1')).unwrap();
    assert_eq!(exported(&registry), fleet());
    drop(writes);
}

#[test]
fn another_programs_database_stays_as_it_is() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE x (y)").unwrap();
    drop(other);
    let before = std::fs::read(&path).unwrap();
    let refused = EmbeddedRegistry::open_or_create(&path, key('1')).unwrap_err();
    assert!(matches!(refused, StoreError::Schema(_)), "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}
