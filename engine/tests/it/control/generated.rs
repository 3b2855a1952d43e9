//! Requests that nobody would write: schemathesis makes them of the API's own description, and looks whether the
//! answers are those that it describes.

use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::harness::is_soak;
use super::super::harness::peer::Upstream;
use super::super::harness::ringbeam::{EMAIL, PASSWORD, project_file, python};
use super::serving;

#[test]
fn whatever_is_asked_is_answered_as_described() {
    let ringbeam = serving(&Upstream::listen());
    let url = format!("http://{}", ringbeam.nobody().address);
    let examples = if is_soak() { "300" } else { "5" };
    let mut run = Command::new(python());
    run.arg(project_file("engine/tests/api/run.py"));
    run.args(["--url", &url, "--email", EMAIL, "--examples", examples]);
    run.args([
        "--without",
        "drain",
        "--without",
        "watchFigures",
        "--without",
        "tap",
    ]);
    run.args(["--last", "importFleet", "--last", "logout"]);
    let mut child = run
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{PASSWORD}").unwrap();
    let output = child.wait_with_output().unwrap();
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    assert!(report.contains(" 0 failures"), "{report}");
}
