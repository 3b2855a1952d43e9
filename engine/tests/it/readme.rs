//! What the README says to type works as it stands, but for the ports.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use super::harness::mosquitto::free_port;
use super::harness::ringbeam::project_file;

/// The shell blocks of a section, in order.
fn shell_blocks(heading: &str) -> String {
    let text = fs::read_to_string(project_file("README.md")).unwrap();
    let section = text.split(heading).nth(1).unwrap();
    let section = section.split("\n### ").next().unwrap();
    let blocks: Vec<&str> = section
        .split("```sh\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert!(!blocks.is_empty(), "{heading}");
    blocks.concat()
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
    let script = format!("trap 'kill $(jobs -p)' EXIT\n{typed}");
    let program = Path::new(env!("CARGO_BIN_EXE_ringbeam"));
    let path = format!(
        "{}:/usr/sbin:{}",
        program.parent().unwrap().display(),
        std::env::var("PATH").unwrap()
    );
    let output = Command::new("timeout")
        .args(["60", "bash", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    let has_arrived = said.contains("temperature/440100000000001 21.5");
    assert!(has_arrived, "{said}\n{errors}");
}
