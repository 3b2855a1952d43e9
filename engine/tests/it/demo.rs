//! The demo, as `make run` starts it.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use serde_json::json;

use super::harness::fleet::ENTRY_POINT;
use super::harness::http::Api;
use super::harness::ringbeam::{BINARY, output};

#[test]
fn the_demo_sends_a_message_through_and_takes_the_next_free_port() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let mut child = Command::new(BINARY)
        .args(["--log", "warn", "demo", "--port", &port.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut seen = String::new();
    while !seen.contains("Ctrl-C") {
        seen.push_str(&lines.next().unwrap());
        seen.push('\n');
    }
    assert!(seen.contains(&format!("Port {port} is in use")), "{seen}");
    assert!(
        seen.contains("sensors/440100000000001/temp/440100000000001   21.5"),
        "{seen}"
    );
    // The two commands that it prints work as they stand.
    let command = |program: &str| {
        let line = seen
            .lines()
            .find(|line| line.trim().starts_with(program))
            .unwrap()
            .trim()
            .to_owned();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            &format!(
                "exec {line} {}",
                if program.ends_with("sub") {
                    "-C 1 -W 20"
                } else {
                    ""
                }
            ),
        ]);
        command
    };
    let subscriber = command("mosquitto_sub")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut subscriber = Some(subscriber);
    let received = super::harness::wait_for("the subscriber to see a message", || {
        assert_eq!(output(&mut command("mosquitto_pub")).0, Some(0));
        if subscriber.as_mut().unwrap().try_wait().unwrap().is_some() {
            return Some(
                subscriber
                    .take()
                    .unwrap()
                    .wait_with_output()
                    .unwrap()
                    .stdout,
            );
        }
        None
    });
    assert_eq!(
        String::from_utf8(received).unwrap(),
        "greetings/440100000000001 Hello, World\n"
    );
    // The console's user changes the entry point, and the next message follows it.
    let word = |label: &str| {
        let line = seen.lines().find(|line| line.contains(label)).unwrap();
        line.rsplit(' ').next().unwrap().to_owned()
    };
    let console = word("The console is at");
    let address = console.trim_start_matches("http://").trim_end_matches('/');
    let user = Api::sign_in(
        address.parse().unwrap(),
        &word("  user "),
        &word("  password"),
    );
    assert!(user.get("/").expect(200).text().contains("/console/app.js"));
    let group = user.get("/v1/groups/g1").expect(200).json();
    let mut object = group["configuration"]["SoracomBeam"][ENTRY_POINT].clone();
    object["addSubscriberHeader"] = json!(false);
    let body = json!([{"key": ENTRY_POINT, "value": object}]);
    user.put("/v1/groups/g1/configuration/SoracomBeam", &body)
        .expect(200);
    let mut subscriber = command("mosquitto_sub")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    super::harness::wait_until("the subscriber to see another message", || {
        assert_eq!(output(&mut command("mosquitto_pub")).0, Some(0));
        subscriber.try_wait().unwrap().is_some()
    });
    let received = subscriber.wait_with_output().unwrap().stdout;
    assert!(
        String::from_utf8(received)
            .unwrap()
            .starts_with("greetings Hello"),
        "without the IMSI"
    );
    assert!(
        Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
