//! Commands: what each of them does, what it refuses, and what it leaves behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use clap::Parser as _;
use ringbeam_loadgen::options::{self, Options, scenario};
use ringbeam_loadgen::plan::Plan;
use serde_json::Value;

use crate::process::{PROGRAM, SIMS, Sink, free_port, run};

/// A generator whose sink is in the same process, with nothing in between.
fn direct(line: &str) -> (Option<i32>, Value, String) {
    let address = format!("127.0.0.1:{}", free_port());
    run(&format!("{line} --target {address} --own-sink {address}"))
}

#[test]
fn windows_and_lock_step_go_on_as_messages_arrive() {
    for more in [
        "--connections 5 --window 8",
        "--connections 5 --lockstep",
        "--connections 4 --lockstep --threads 2",
        "--connections 2 --window 2 --payload 1048576",
        "--connections 5 --window 3 --qos 1,2 --mqtt 5",
    ] {
        let (status, json, text) = direct(&format!("publish --duration 500ms {more}"));
        assert_eq!(status, Some(0), "{more:?} {text}");
        assert_eq!(json["sent"], json["received"], "{more:?}");
        // More than one window: it has moved on.
        assert!(json["sent"].as_u64().unwrap() > 40, "{more:?} {json}");
    }
}

#[test]
fn nine_thousand_connections_are_held_by_one_process() {
    let line = "connect --connections 9000 --ramp 0 --hold 1s --ping-every 900ms";
    let (status, json, text) = direct(line);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(json["connections"], 9000);
    assert!(json["pongs"].as_u64() <= json["pings"].as_u64());
    assert!(json["pongs"].as_u64().unwrap() > 0);
    assert!(json["connect_rate"].as_f64().unwrap() > 0.0);
    assert_eq!(json["verified"], false, "there was nothing to verify");
}

#[test]
fn every_connection_comes_from_a_sim_of_its_own() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap().to_string();
    let generator = Command::new(PROGRAM)
        .args([
            "connect",
            "--target",
            &target,
            "--connections",
            "5",
            "--connect-timeout",
            "500ms",
        ])
        .args(SIMS)
        .args(["--progress", "none"])
        .stderr(Stdio::null())
        .spawn();
    let mut sources: Vec<String> = (0..5)
        .map(|_| listener.accept().unwrap().1.ip().to_string())
        .collect();
    sources.sort();
    let expected: Vec<_> = (1..=5).map(|number| format!("127.9.0.{number}")).collect();
    assert_eq!(sources, expected);
    // Nobody answers: that is an error of each of them.
    assert_eq!(generator.unwrap().wait().unwrap().code(), Some(1));
}

#[test]
fn ipv6_is_served_as_well() {
    let address = format!("[::1]:{}", free_port());
    let output = Command::new(PROGRAM)
        .args(["publish", "--target", &address, "--own-sink", &address])
        .args([
            "--sims",
            "::1/128",
            "--imsi-base",
            "1",
            "--connections",
            "3",
        ])
        .args([
            "--rate",
            "100",
            "--duration",
            "300ms",
            "--warmup",
            "0s",
            "--progress",
            "none",
        ])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{text}");
}

#[test]
fn after_a_storm_every_device_is_back_and_heard() {
    let line = "storm --connections 200 --ramp 0 --storms 3 --hold 100ms";
    let (status, json, text) = direct(line);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(json["connections"], 800);
    assert_eq!(
        (&json["sent"], &json["received"]),
        (&800.into(), &800.into())
    );
}

#[test]
fn half_open_devices_disturb_nobody() {
    let line = "mixed --connections 18 --half-open 9 --rate 500 --duration 1s";
    let (status, json, text) = direct(line);
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(
        (&json["half_open"], &json["connections"]),
        (&9.into(), &18.into())
    );
}

#[test]
fn devices_receive_from_each_other_through_a_broker() {
    let broker = Broker::start();
    let devices = format!(
        "--target {} --rate 100 --duration 1s --warmup 200ms",
        broker.address
    );
    for (line, receivers) in [
        ("fanout --connections 20 --publishers 2", 20),
        ("fanout --connections 20 --qos 2 --mqtt 5 --topic f/%i", 20),
        ("fanout --connections 5 --slow-readers 2 --slow-rate 100", 5),
        (
            "fanout --connections 5 --filter $share/x/ringbeam/fanout --mqtt 5",
            1,
        ),
        ("p2p --pairs 10 --qos 0,1,2 --mqtt 3.1,3.1.1,5", 1),
    ] {
        let (status, json, text) = run(&format!("{line} {devices}"));
        assert_eq!(status, Some(0), "{line} {text}");
        assert_eq!(json["verified"], true);
        let sent = json["sent"].as_u64().unwrap();
        assert!(sent >= 110, "{json}");
        assert_eq!(
            json["received"].as_u64().unwrap(),
            sent * receivers,
            "{line}"
        );
    }
    // Messages on a topic that nobody subscribed to do not arrive.
    let (status, json, _) = run(&format!(
        "fanout --connections 2 --filter elsewhere {devices}"
    ));
    assert_eq!(status, Some(1));
    assert_eq!(
        json["lost"].as_u64().unwrap(),
        json["sent"].as_u64().unwrap() * 2
    );
}

#[test]
fn a_ctrl_c_ends_with_a_full_report() {
    let address = format!("127.0.0.1:{}", free_port());
    let folder = tempfile::tempdir().unwrap();
    let (json, hdr) = (
        folder.path().join("run.json"),
        folder.path().join("run.hdr"),
    );
    let mut child = Command::new(PROGRAM)
        .args([
            "publish",
            "--target",
            &address,
            "--own-sink",
            &address,
            "--connections",
            "10",
        ])
        .args([
            "--rate",
            "1000",
            "--duration",
            "10m",
            "--warmup",
            "0s",
            "--progress",
            "json",
            "--wait",
        ])
        .args(SIMS)
        .args([
            "--json".as_ref(),
            json.as_os_str(),
            "--hdr".as_ref(),
            hdr.as_os_str(),
        ])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut phases = Vec::new();
    let mut is_told = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let phase = line["phase"].as_str().unwrap().to_owned();
        if phase == "waiting" {
            assert_eq!(line["connections"], 0, "it has waited");
            child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        }
        if line["received"].as_u64().unwrap() > 100 && !std::mem::replace(&mut is_told, true) {
            Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap();
        }
        if !phases.contains(&phase) {
            phases.push(phase);
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let expected = [
        "listening",
        "waiting",
        "connecting",
        "warmup",
        "measure",
        "drain",
        "closing",
        "done",
    ];
    assert_eq!(phases, expected);
    let report: Value = serde_json::from_str(&fs::read_to_string(json).unwrap()).unwrap();
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["verified"], true);
    assert!(report["received"].as_u64().unwrap() > 100);
    let log = fs::read_to_string(hdr).unwrap();
    assert!(
        log.starts_with("#") && log.contains("Tag=latency,"),
        "{log}"
    );
}

#[test]
fn a_verdict_that_cannot_be_had_is_an_error() {
    let sink = Sink::start("");
    let address = sink.address.clone();
    let child = Command::new(PROGRAM)
        .args([
            "publish",
            "--target",
            &address,
            "--sink",
            &address,
            "--connections",
            "2",
        ])
        .args([
            "--rate",
            "1000",
            "--duration",
            "1s",
            "--warmup",
            "0s",
            "--json",
            "-",
            "--progress",
            "none",
        ])
        .args(SIMS)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // Gone once both devices are known to it.
    while !crate::sink::http(&address, "/verdict")
        .1
        .contains("\"received\"")
    {}
    drop(sink);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["verified"], false);
    let errors = report["errors"].as_object().unwrap();
    assert!(
        errors
            .keys()
            .any(|reason| reason.contains("has not given its verdict")),
        "{errors:?}"
    );
}

#[test]
fn without_a_sink_nothing_is_verified() {
    let sink = Sink::start("");
    for (qos, latency_of) in [("0", None), ("1", Some("acknowledgement"))] {
        let (status, json, _) = run(&format!(
            "publish --target {} --connections 2 --rate 100 --duration 300ms --warmup 0s --qos {qos}",
            sink.address
        ));
        assert_eq!((status, &json["verified"]), (Some(0), &false.into()));
        assert_eq!(json["latency_us"].is_null(), latency_of.is_none(), "{json}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let rows: [(&[&str], &str); 8] = [
        (&["--payload", "31"], "--payload: 32 to"),
        (&["--rate", "0"], "--rate: 0.00001 to"),
        (&["--window", "3"], "need --own-sink"),
        (&["--lockstep", "--window", "3"], "cannot be used with"),
        (&["--topic", "a/%s"], "only --imsi-base"),
        (&["--expect-suffix", "imsi"], "only --imsi-base"),
        (&["--target", "[::1]:1883"], "do not meet"),
        (&["--qos", "3"], "a QoS is 0, 1 or 2"),
    ];
    for (more, expected) in rows {
        let mut line = vec!["publish", "--sims", "127.9.0.0/16"];
        if !more.contains(&"--target") {
            line.extend_from_slice(&["--target", "127.0.0.1:1"]);
        }
        line.extend_from_slice(more);
        let output = Command::new(PROGRAM).args(&line).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{more:?} {text}");
        assert!(text.contains(expected), "{more:?} {text}");
    }
    let (status, _, text) = direct("connect --connections 1000000");
    assert_eq!(status, Some(1));
    assert!(
        text.contains("descriptors are needed and the hard limit is"),
        "{text}"
    );
}

#[test]
fn ready_made_scenarios_are_read_and_run() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).unwrap() {
        let file = entry.unwrap().path();
        let further = [
            "--target",
            "127.0.0.1:1883",
            "--sims",
            "127.0.0.0/8",
            "--imsi-base",
            "1",
        ];
        let line = scenario::read(&file, &further.map(str::to_owned)).unwrap();
        let options =
            Options::try_parse_from(line).unwrap_or_else(|error| panic!("{file:?} {error}"));
        let plan = match options.command {
            options::Command::Publish(mut options) => {
                options.sink.own.own_sink = Some("127.0.0.1:1884".parse().unwrap());
                Plan::publish(&options)
            }
            options::Command::Mixed(options) => Plan::mixed(&options),
            options::Command::Connect(options) => Plan::connect(&options),
            options::Command::Fanout(options) => Plan::fanout(&options),
            options::Command::P2p(options) => Plan::p2p(&options),
            options::Command::Storm(options) => Plan::storm(&options),
            options::Command::Sink(_) | options::Command::Scenario(_) => unreachable!(),
        };
        plan.unwrap_or_else(|error| panic!("{file:?} {error}"));
        names.push(file.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    for public in [
        "conn-tcp-10K-100",
        "fanout-1-1K-1-1K",
        "p2p-1K-1K-1K-1K",
        "conn-tcp-1M-5K",
        "p2p-50K-50K-50K-50K",
    ] {
        assert!(names.iter().any(|name| name == public), "{public}");
    }
    let address = format!("127.0.0.1:{}", free_port());
    let file = folder.join("mixed.toml");
    let (status, json, text) = run(&format!(
        "scenario {} --target {address} --own-sink {address} --connections 10 --half-open 0 --duration 300ms",
        file.to_str().unwrap()
    ));
    assert_eq!(status, Some(0), "{text}");
    assert_eq!(json["connections"], 10);
}

/// A real broker that ends with the test.
struct Broker {
    child: std::process::Child,
    address: String,
}

impl Broker {
    fn start() -> Self {
        let port = free_port();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("broker.conf");
        let text =
            format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n");
        fs::write(&file, text).unwrap();
        let child = Command::new("mosquitto")
            .arg("-c")
            .arg(&file)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {}
        Self {
            child,
            address: format!("127.0.0.1:{port}"),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
