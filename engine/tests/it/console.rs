//! The console in a real browser: `tests/console/console.mjs` against the built binary.

use std::process::Command;

use super::harness::fleet::fleet;
use super::harness::peer::Upstream;
use super::harness::ringbeam::{EMAIL, PASSWORD, Setup, output, project_file};

#[test]
fn an_operator_does_everything_in_the_console() {
    let folder = project_file("engine/tests/console");
    assert!(
        folder.join("node_modules").exists(),
        "`make test` installs what the browser test needs"
    );
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).embedded().control();
    let ringbeam = setup.with_user().start();
    let (status, key, errors) = output(&mut ringbeam.setup().user_command("add-key", EMAIL));
    assert_eq!(status, Some(0), "{errors}");
    let key: serde_json::Value = serde_json::from_str(&key).unwrap();
    let screenshots = ringbeam.setup().path("screenshots");
    let mut script = Command::new("node");
    script
        .arg(folder.join("console.mjs"))
        .args(["--url", &format!("http://{}", ringbeam.nobody().address)])
        .args(["--email", EMAIL, "--password", PASSWORD])
        .args(["--mqtt-port", &ringbeam.address().port().to_string()])
        .args(["--key-id", key["authKeyId"].as_str().unwrap()])
        .args(["--key", key["authKey"].as_str().unwrap()])
        .arg("--screenshots")
        .arg(screenshots);
    let (status, said, errors) = output(&mut script);
    assert_eq!(status, Some(0), "{said}\n{errors}");
}
