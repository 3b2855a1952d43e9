//! Comparisons as a user runs them, very short ones: what they leave behind, what they notice, how they end. No
//! figure is judged here.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking, and waits for what other processes do"
)]

mod support;

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Child;

use ringbeam_bench::cpus::{self, Cpus};
use ringbeam_bench::model::Row;
use ringbeam_bench::ports;
use ringbeam_bench::scenario::{self, Part};
use ringbeam_bench::subject::{Setting, Subject, haproxy, nginx};
use support::{Finished, Known, bin_dir, compare, descendants, is_running, lossy_path, wait_until};

/// What every test adds: no round longer than it must be.
const SHORT: &[&str] = &["--quick", "--duration", "150ms"];

fn short(arguments: &[&str]) -> Finished {
    compare(&[SHORT, arguments].concat())
}

#[test]
fn a_comparison_leaves_a_row_for_every_round_of_every_subject() {
    let subjects = ["--subject", "direct", "--subject", "ringbeam-201912"];
    let scenarios = [
        "--scenario",
        "lockstep-8",
        "--scenario",
        "latency",
        "--scenario",
        "idle-1k",
    ];
    let run = short(&[&subjects[..], &scenarios, &["--rounds", "2"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.output);
    let found: Vec<_> = run
        .rows()
        .iter()
        .map(|row| (row.scenario.clone(), row.subject.clone(), row.round))
        .collect();
    let row =
        |scenario: &str, subject: &str, round| (scenario.to_owned(), subject.to_owned(), round);
    let expected = [
        row("lockstep-8", "ringbeam-201912", 1),
        row("lockstep-8", "ringbeam-201912", 2),
        row("idle-1k", "ringbeam-201912", 1),
        row("idle-1k", "ringbeam-201912", 2),
        row("latency", "direct", 1),
        row("latency", "ringbeam-201912", 1),
        row("latency", "direct", 2),
        row("latency", "ringbeam-201912", 2),
    ];
    assert_eq!(found, expected);
    for row in run.rows() {
        assert_eq!(row.failure, None);
        check_metrics(&row);
    }
    for page in ["README.md", "summary.json"] {
        assert!(run.out.path().join(page).exists(), "{page}");
    }
    let settings = run.run().settings;
    assert_eq!(
        (
            settings.rounds,
            settings.baseline.as_str(),
            settings.is_quick
        ),
        (2, "ringbeam-201912", true)
    );
    assert_eq!(
        run.run().versions.keys().collect::<Vec<_>>(),
        ["ringbeam-201912"]
    );
    let again = short(&["--out", &run.out.path().display().to_string()]);
    assert_eq!(again.code, Some(1));
    assert!(again.output.contains("is not empty"), "{}", again.output);
}

/// The metrics that apply are there, and those that do not are not.
fn check_metrics(row: &Row) {
    let has = |name: &str| row.metrics.get(name).is_some_and(|value| value.is_finite());
    let is_direct = row.subject == "direct";
    let (present, absent): (&[&str], &[&str]) = match row.scenario.as_str() {
        "idle-1k" => (
            &[
                "pss_bytes_per_session",
                "slab_bytes_per_session",
                "idle_cpu_us_per_s",
            ],
            &["lost"],
        ),
        "lockstep-8" => (
            &["cpu_us_per_msg", "msgs_per_s", "lost"],
            &["core_busy_us_per_msg"],
        ),
        _ if is_direct => (
            &["latency_us_p99", "lost"],
            &["cpu_us_per_msg", "core_busy_us_per_msg"],
        ),
        _ => (
            &["latency_us_p99", "cpu_us_per_msg", "generator_too_late"],
            &["conns_per_s"],
        ),
    };
    assert!(present.iter().all(|name| has(name)), "{row:?}");
    assert!(!absent.iter().any(|name| has(name)), "{row:?}");
}

#[test]
fn every_peer_passes_traffic() {
    let scenarios = [
        "--scenario",
        "lockstep-8",
        "--scenario",
        "bulk-1m",
        "--scenario",
        "tls-1",
    ];
    let run = short(&[&scenarios[..], &["--rounds", "1"]].concat());
    assert_eq!(run.code, Some(0), "{}", run.output);
    for subject in Subject::ALL {
        let takes_one = ["lockstep-8", "bulk-1m", "tls-1"].iter().any(|name| {
            scenario::Scenario::named(name)
                .is_some_and(|scenario| scenario.part(subject) == Part::Takes)
        });
        let has_row = run
            .rows()
            .iter()
            .any(|row| row.subject == subject.name() && row.metrics["msgs_per_s"] > 0.0);
        assert_eq!(
            has_row,
            takes_one,
            "{}: make bench installs what is missing",
            subject.name()
        );
    }
}

#[test]
fn a_real_broker_fans_out_through_a_subject() {
    let run = short(&[
        "--scenario",
        "fanout",
        "--subject",
        "ringbeam-201912",
        "--rounds",
        "1",
    ]);
    assert_eq!(run.code, Some(0), "{}", run.output);
    let rows = run.rows();
    assert!(rows[0].metrics["cpu_us_per_msg"] > 0.0, "{rows:?}");
}

#[test]
fn the_programs_accept_their_configurations() {
    let folder = tempfile::tempdir().unwrap();
    let certificate = folder.path().join("upstream.pem");
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    fs::write(&certificate, made.cert.pem()).unwrap();
    let (port, upstream_port) = (ports::claim().unwrap(), ports::claim().unwrap());
    // Fewer processors than threads, as many, and more.
    let (first, second) = cpus::choose(None, None, &cpus::allowed().unwrap());
    let both: Cpus = format!("{first},{second}").parse().unwrap();
    for (threads, cpus) in [(1, &first), (2, &first), (2, &both), (1, &both)] {
        let setting = Setting {
            port: port.number(),
            upstream_port: upstream_port.number(),
            threads,
            qos: 0,
            sessions: 9600,
            descriptors: 20_000,
            cpus: cpus.clone(),
            folder: folder.path().to_owned(),
            certificate: Some(certificate.clone()),
            has_tickets: threads == 1,
        };
        let check = |mut command: std::process::Command, option: &str| {
            let output = command.arg(option).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(
                output.status.success() && !text.contains("WARNING"),
                "{command:?}\n{text}"
            );
        };
        for subject in [
            Subject::Haproxy,
            Subject::HaproxySplice,
            Subject::HaproxyTls,
        ] {
            check(haproxy::command(subject, &setting).unwrap(), "-c");
        }
        check(nginx::command(&setting).unwrap(), "-t");
    }
}

#[test]
fn damaged_messages_fail_their_round() {
    let sink = ports::claim().unwrap();
    let target = format!("127.0.0.1:{}", lossy_path(sink.number()));
    let sink_listen = format!("127.0.0.1:{}", sink.number());
    let remote = [
        "--remote-target",
        &target,
        "--sink-listen",
        &sink_listen,
        "--subject",
        "damaging",
    ];
    let run = short(&[&remote[..], &["--scenario", "latency", "--rounds", "1"]].concat());
    assert_eq!(run.code, Some(1), "{}", run.output);
    let rows = run.rows();
    let failure = rows[0].failure.clone().unwrap_or_default();
    assert!(failure.contains("corrupted"), "{rows:?}");
    assert_eq!(rows[0].subject, "damaging");
    assert!(rows[0].metrics["corrupted"] > 0.0 && !rows[0].metrics.contains_key("cpu_us_per_msg"));
    assert_eq!(
        run.run().settings.remote_target.as_deref(),
        Some(target.as_str())
    );
    assert!(
        run.output.contains("FAILED latency, damaging, round 1"),
        "{}",
        run.output
    );
}

#[test]
fn a_subject_that_does_not_start_fails_its_rounds_and_no_others() {
    let folder = tempfile::tempdir().unwrap();
    let fake = folder.path().join("ringbeam");
    let script = "#!/bin/sh\n[ \"$1\" = --version ] && echo ringbeam 9 && exit\necho broken on purpose >&2\nexit 3\n";
    fs::write(&fake, script).unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let generator: PathBuf = bin_dir().join("ringbeam-loadgen");
    symlink(generator, folder.path().join("ringbeam-loadgen")).unwrap();
    let bin_dir = folder.path().display().to_string();
    let subjects = [
        "--subject",
        "ringbeam-201509",
        "--subject",
        "haproxy",
        "--bin-dir",
        &bin_dir,
    ];
    let run = short(
        &[
            &subjects[..],
            &["--scenario", "lockstep-1", "--rounds", "1"],
        ]
        .concat(),
    );
    assert_eq!(run.code, Some(1), "{}", run.output);
    let rows = run.rows();
    let failure = rows[0].failure.clone().unwrap_or_default();
    assert!(
        failure.contains("exit status: 3") && failure.contains("broken on purpose"),
        "{failure}"
    );
    assert_eq!(
        (rows[1].subject.as_str(), &rows[1].failure),
        ("haproxy", &None)
    );
}

#[test]
fn unknown_names_are_refused_with_those_that_there_are() {
    for (wrong, accepted) in [
        (["--scenario", "rate-1"], "rate-20k"),
        (["--subject", "envoy"], "mosquitto-bridge"),
        (["--baseline", "envoy"], "mosquitto-bridge"),
        (["--baseline", "haproxy@2"], "mosquitto-bridge"),
        (["--shards", "none"], "--shards"),
        (["--load-cpus", "x"], "0-3"),
    ] {
        let run = short(&wrong);
        assert_eq!(run.code, Some(2), "{}", run.output);
        assert!(run.output.contains(accepted), "{}", run.output);
        assert!(!run.out.path().join("raw.json").exists());
    }
}

/// Starts a comparison and waits for its second round; returns what it has started for that.
fn in_its_second_round(out: &Path, temporary: &Path) -> (Child, Vec<Known>) {
    let folder = out.display().to_string();
    let arguments = [
        "--subject",
        "nginx",
        "--scenario",
        "lockstep-1",
        "--rounds",
        "1000",
        "--out",
        &folder,
    ];
    let child = support::start(&[SHORT, &arguments].concat(), temporary);
    // Both processes of nginx and the generator, in a round after the first one.
    let mut seen = Vec::new();
    let mut first = None;
    wait_until("the second round", || {
        seen = descendants(child.id());
        let of_nginx: Vec<_> = seen
            .iter()
            .filter(|process| process.name == "nginx")
            .collect();
        let is_whole = of_nginx.len() >= 2
            && seen
                .iter()
                .any(|process| process.name.starts_with("ringbeam-load"));
        let master = of_nginx.first().map(|process| process.pid);
        is_whole && master != *first.get_or_insert(master)
    });
    (child, seen)
}

#[test]
fn children_end_where_the_program_is_killed() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (mut child, seen) = in_its_second_round(folders[0].path(), folders[1].path());
    support::signal(&child, "KILL");
    child.wait().unwrap();
    wait_until("its children to end", || !seen.iter().any(is_running));
}

#[test]
fn ctrl_c_leaves_no_process_and_keeps_whole_rounds() {
    let [out, temporary] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (mut child, seen) = in_its_second_round(out.path(), temporary.path());
    support::signal(&child, "INT");
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
    let left: Vec<_> = seen.iter().filter(|process| is_running(process)).collect();
    assert!(left.is_empty(), "{left:?}");
    let run = Finished::read(out, status.code(), String::new());
    assert!(run.run().is_interrupted);
    assert!(run.rows().iter().all(|row| row.failure.is_none()) && !run.rows().is_empty());
}
