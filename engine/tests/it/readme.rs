//! What the README says to type works as it stands, but for the ports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::harness::authority::{Authority, Wish};
use super::harness::mosquitto::free_port;
use super::harness::ringbeam::{Setup, output, project_file};

/// The shell blocks of a section, in order.
fn shell_blocks(heading: &str) -> String {
    let text = fs::read_to_string(project_file("README.md")).unwrap();
    let section = text.split(heading).nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks: Vec<&str> = section
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "{heading}");
    blocks.concat()
}

/// Types this into a shell in a folder: whether that succeeded, and what was said.
fn run(folder: &Path, typed: &str) -> (bool, String, String) {
    let script = format!("trap 'kill $(jobs -p)' EXIT\n{typed}");
    let program = Path::new(env!("CARGO_BIN_EXE_ringbeam"));
    let path = format!(
        "{}:/usr/sbin:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(folder)
        .env("PATH", path)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.success(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

#[test]
fn every_destination_may_be_pasted() {
    let text = fs::read_to_string(project_file("README.md")).unwrap();
    let section = text.split("\n## Destinations\n").nth(1).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```json\n").skip(1);
    let blocks: Vec<Value> = blocks
        .map(|rest| serde_json::from_str(rest.split("```").next().unwrap()).unwrap())
        .collect();
    // What stands for somebody's own certificate and key.
    let identity = Authority::new("Private Root").issue(Wish::client("fleet"));
    let (mut groups, mut credentials) = (Vec::new(), Vec::new());
    for mut block in blocks {
        if block["credentialsId"].is_string() {
            let fields = block["credentials"].as_object_mut().unwrap();
            for (name, value) in fields {
                match name.as_str() {
                    "cert" => *value = identity.chain.concat().into(),
                    "key" | "privateKey" => *value = identity.key.clone().into(),
                    _ => {}
                }
            }
            credentials.push(block);
        } else {
            let id = format!("g{}", groups.len());
            groups.push(json!({ "groupId": id, "configuration": { "SoracomBeam": {
                "mqtt://beam.soracom.io:1883": block } } }));
        }
    }
    assert_eq!((groups.len(), credentials.len()), (5, 4));
    let fleet = json!({ "groups": groups, "credentials": credentials, "sims": [] });
    let setup = Setup::new(&fleet);
    let (code, stdout, stderr) = output(&mut setup.command("check"));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(!stdout.contains("unusable"), "{stdout}");
}

#[test]
fn mutual_tls_works_word_for_word() {
    let folder = tempfile::tempdir().unwrap();
    // The broker gives up root before it reads its key.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (broker, entry) = (free_port(), free_port());
    let typed = shell_blocks("### Mutual TLS");
    let typed = typed
        .replace("8883", &broker.to_string())
        .replace("1883\"\\n", &format!("{entry}\"\\n"))
        .replace("-p 1883", &format!("-p {entry}"));
    let (_, said, errors) = run(folder.path(), &typed);
    let has_arrived = said.contains("temperature/440100000000001 21.5");
    assert!(has_arrived, "{said}\n{errors}");
}

#[test]
fn the_api_is_used_word_for_word() {
    let folder = tempfile::tempdir().unwrap();
    let (entry, control, broker) = (free_port(), free_port(), free_port());
    let typed = shell_blocks("\n## The API and the console\n");
    let typed = typed
        .replace("127.0.0.1:8080", &format!("127.0.0.1:{control}"))
        .replace("1884", &broker.to_string())
        .replace("-p 1883", &format!("-p {entry}"))
        .replace(
            "127.0.0.1:1883\"\\n",
            &format!("127.0.0.1:{entry}\"\\n[control]\\naddress = \"127.0.0.1:{control}\"\\n"),
        );
    let check = "ringbeam explain --imsi 440100000000001";
    let (succeeded, said, errors) = run(folder.path(), &format!("set -e\n{typed}\n{check}"));
    assert!(succeeded, "{said}\n{errors}");
    assert!(
        said.contains("temperature/440100000000001 21.5\n"),
        "{said}"
    );
    assert!(said.contains("temperature 21.5\n"), "{said}");
    // The entry point was there, and is deleted by the last line.
    assert!(said.contains("\"addSubscriberHeader\":true"), "{said}");
    assert!(said.contains("the group has no entry point"), "{said}");
}
