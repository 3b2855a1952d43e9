//! `ringbeam doctor` as a user types it, and `tuning/`: one list in three places, settings that can be
//! taken back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use super::harness::fleet::fleet;
use super::harness::ringbeam::{BINARY, Setup, output, project_file};

fn setup() -> Setup {
    Setup::new(&fleet("127.0.0.1:1884".parse().unwrap()))
}

fn doctor_json(command: &mut Command) -> (Option<i32>, Value) {
    let (code, stdout, stderr) = output(command.arg("--json"));
    let value = serde_json::from_str(&stdout);
    (code, value.unwrap_or_else(|_| panic!("{stdout}{stderr}")))
}

fn items(value: &Value) -> Vec<String> {
    let findings = value["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| finding["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn this_host_runs_the_engine_and_every_finding_is_whole() {
    let (code, value) = doctor_json(&mut setup().command("doctor"));
    assert_eq!(code, Some(0), "{value}");
    for finding in value["findings"].as_array().unwrap() {
        let has = |key: &str| !finding[key].as_str().unwrap().is_empty();
        assert!(has("found") && has("why"), "{finding}");
        let is_bad = ["blocks", "limits", "costs"].contains(&finding["severity"].as_str().unwrap());
        assert!(!is_bad || has("wanted") && has("mend"), "{finding}");
    }
    assert_eq!(value["sessionsFrom"], "one for each address of the fleet");
}

#[test]
fn exit_codes_say_whether_the_engine_runs_and_the_configuration_is_accepted() {
    let root = TempDir::new().unwrap();
    let kernel = root.path().join("proc/sys/kernel");
    fs::create_dir_all(&kernel).unwrap();
    for (release, expected) in [("6.12.1", 0), ("5.15.0", 1), ("unheard of", 0)] {
        fs::write(kernel.join("osrelease"), release).unwrap();
        let mut command = Command::new(BINARY);
        command
            .current_dir(root.path())
            .arg("doctor")
            .arg("--root")
            .arg(root.path());
        let (code, value) = doctor_json(&mut command);
        assert_eq!(code, Some(expected), "{release}: {value}");
        assert_eq!(
            (&value["configuration"], &value["sessions"]),
            (&Value::Null, &1_000_000.into())
        );
    }
    let (code, stdout, stderr) = output(&mut setup().engine("shard = 3").command("doctor"));
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    assert!(stderr.contains("shard"), "{stderr}");
}

#[test]
fn the_configuration_is_looked_for_where_serve_looks_and_named() {
    let setup = setup().engine("max_sessions = 40000000");
    let folder = setup.config().parent().unwrap().to_owned();
    let limited = |command: &str| {
        let line = format!("ulimit -n 4096; exec timeout 20 \"$0\" {command}");
        let mut shell = Command::new("bash");
        output(shell.args(["-c", &line, BINARY]).current_dir(&folder))
    };
    let (code, stdout, stderr) = limited("doctor");
    assert_eq!(code, Some(1), "{stderr}");
    let first = stdout.lines().next().unwrap();
    assert_eq!(
        first,
        "judged for 40000000 sessions (engine.max_sessions); configuration: ringbeam.toml"
    );
    let last = stdout.lines().last().unwrap();
    assert!(last.starts_with("the engine does not run here"), "{last}");
    assert!(stdout.contains("blocks  descriptors"), "{stdout}");
    // And so it is.
    let (code, _, stderr) = limited("serve");
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("engine.max_sessions = 40000000"),
        "{stderr}"
    );
}

#[test]
fn the_list_is_one_in_doctor_readme_and_apply() {
    let (_, value) = doctor_json(&mut setup().command("doctor"));
    let in_doctor: BTreeSet<String> = items(&value).into_iter().collect();
    let readme = fs::read_to_string(project_file("tuning/README.md")).unwrap();
    let headings = readme.lines().filter_map(|line| line.strip_prefix("### `"));
    let in_readme: Vec<String> = headings
        .map(|rest| rest.split('`').next().unwrap().to_owned())
        .collect();
    assert_eq!(
        in_readme.iter().cloned().collect::<BTreeSet<_>>(),
        in_doctor
    );
    assert_eq!(in_readme.len(), in_doctor.len(), "each stands there once");
    // What apply can set is part of it, and the README tells of each setting.
    let (code, _, stderr) =
        output(Command::new(project_file("tuning/apply")).args(["--only", "?"]));
    assert_eq!(code, Some(2));
    let known = stderr.split("there are: ").nth(1).unwrap();
    assert!(known.split_whitespace().count() > 10, "{known}");
    for id in known.split_whitespace() {
        assert!(in_doctor.contains(id), "{id}");
    }
    for (name, value) in settings() {
        let section = readme.find(&format!("{name} = {value}"));
        assert!(
            section.is_some(),
            "{name} = {value} is not in tuning/README.md"
        );
    }
}

#[test]
fn the_values_that_apply_sets_satisfy_doctor() {
    let root = fake_root();
    write(root.path(), "/proc/sys/kernel/osrelease", "6.12.1\n");
    write(
        root.path(),
        "/proc/self/status",
        "Cpus_allowed_list:\t0-3\n",
    );
    write(root.path(), "/proc/net/softnet_stat", "aa 00000001\n");
    write(root.path(), "/proc/swaps", "Filename\n/swapfile\n");
    let doctor = || {
        let mut command = Command::new(BINARY);
        command
            .current_dir(root.path())
            .arg("doctor")
            .arg("--root")
            .arg(root.path());
        let (_, value) = doctor_json(&mut command);
        let findings = value["findings"].as_array().unwrap().clone();
        let severities = findings.iter().map(|finding| {
            let text = |key: &str| finding[key].as_str().unwrap().to_owned();
            (text("id"), text("severity"))
        });
        severities.collect::<BTreeMap<_, _>>()
    };
    let before = doctor();
    script("apply", root.path(), &[]);
    let written = fs::read_to_string(below(root.path(), HUGE_PAGES)).unwrap();
    assert_eq!(written, "madvise\n");
    // The kernel shows the choice in brackets.
    write(root.path(), HUGE_PAGES, "always [madvise] never\n");
    let after = doctor();
    for id in [
        "nr-open",
        "file-max",
        "tcp-memory",
        "time-wait",
        "netdev-backlog",
        "tcp-buffers",
        "unsent-data",
        "swap",
        "governor",
        "huge-pages",
        "syn-backlog",
        "accept-queue",
    ] {
        assert_ne!(before[id], "ok", "{id}");
        assert_eq!(after[id], "ok", "{id}");
    }
    // It takes source addresses as well, which are the configuration's.
    assert_eq!(after["ports"], "limits");
}

#[test]
fn a_dry_run_changes_nothing_and_shows_everything() {
    let root = fake_root();
    let before = tree(root.path());
    let shown = script("apply", root.path(), &["--dry-run"]);
    assert_eq!(tree(root.path()), before);
    for line in [
        "nr-open: /proc/sys/fs/nr_open: 1048576 -> 2097152",
        "tcp-buffers: /proc/sys/net/ipv4/tcp_rmem: 4096 131072 6291456 -> 4096 16384 6291456",
        "governor: /sys/devices/system/cpu/cpu0/cpufreq/scaling_governor: powersave -> performance",
        "huge-pages: /sys/kernel/mm/transparent_hugepage/enabled: always -> madvise",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
}

#[test]
fn revert_restores_byte_for_byte_however_often_apply_ran() {
    for times in [1, 2] {
        let root = fake_root();
        let before = tree(root.path());
        for _ in 0..times {
            script("apply", root.path(), &[]);
        }
        let applied = tree(root.path());
        assert_ne!(applied, before);
        // Somebody else's change in between does not count as an original.
        if times == 2 {
            write(root.path(), "/proc/sys/vm/swappiness", "30\n");
            script("apply", root.path(), &[]);
        }
        let state = below(root.path(), "/run/ringbeam/tuning.state");
        let kept = fs::read_to_string(state).unwrap();
        let paths: BTreeSet<&str> = kept
            .lines()
            .filter_map(|line| line.split('|').next())
            .collect();
        assert_eq!(paths.len(), kept.lines().count(), "each file once: {kept}");
        script("revert", root.path(), &[]);
        // Choices are written as one word; the kernel shows them among the others.
        let choice = fs::read_to_string(below(root.path(), HUGE_PAGES)).unwrap();
        assert_eq!(choice, "always\n");
        write(root.path(), HUGE_PAGES, "[always] madvise never\n");
        assert_eq!(tree(root.path()), before);
        let shown = script("revert", root.path(), &[]);
        assert!(shown.starts_with("nothing to revert"), "{shown}");
    }
}

#[test]
fn apply_keeps_larger_values_skips_what_is_not_there_and_obeys_only() {
    let root = fake_root();
    write(root.path(), "/proc/sys/fs/nr_open", "1073741816\n");
    write(
        root.path(),
        "/proc/sys/fs/file-max",
        "9223372036854775807\n",
    );
    write(
        root.path(),
        "/proc/sys/net/ipv4/tcp_mem",
        "9\t9000000\t9000000\n",
    );
    fs::remove_file(below(root.path(), "/proc/sys/net/ipv4/tcp_notsent_lowat")).unwrap();
    let before = tree(root.path());
    let shown = script(
        "apply",
        root.path(),
        &["--only", "swap", "--only", "nr-open"],
    );
    let mut expected = before;
    expected.insert(PathBuf::from("proc/sys/vm/swappiness"), "1\n".to_owned());
    let state = PathBuf::from("run/ringbeam/tuning.state");
    expected.insert(state, "/proc/sys/vm/swappiness|60\n".to_owned());
    assert_eq!(tree(root.path()), expected, "{shown}");
    write(root.path(), "/proc/meminfo", "MemTotal: 99000000 kB\n");
    let shown = script("apply", root.path(), &[]);
    for line in [
        "nr-open: /proc/sys/fs/nr_open is 1073741816 already",
        "file-max: /proc/sys/fs/file-max is 9223372036854775807 already",
        "-> 1500000 9000000 9000000",
        "unsent-data: skipped, this kernel has no",
    ] {
        assert!(shown.contains(line), "{line:?} is not in {shown}");
    }
    // On a small host TCP gets no more than it has.
    write(root.path(), "/proc/meminfo", "MemTotal: 8000000 kB\n");
    write(root.path(), "/proc/sys/net/ipv4/tcp_mem", "9\t9\t9\n");
    let shown = script("apply", root.path(), &[]);
    assert!(shown.contains("tcp-memory: skipped"), "{shown}");
}

#[test]
fn apply_leaves_what_is_better_than_asked_for() {
    let root = fake_root();
    for (name, former, expected) in [
        ("net/ipv4/ip_local_port_range", "1024\t40000", "1024 65535"),
        ("net/ipv4/tcp_notsent_lowat", "16384", "16384"),
        ("vm/swappiness", "0", "0"),
        (
            "net/ipv4/tcp_rmem",
            "8192\t65536\t33554432",
            "8192 16384 33554432",
        ),
        ("net/ipv4/tcp_syncookies", "2", "2"),
    ] {
        let path = format!("/proc/sys/{name}");
        write(root.path(), &path, &format!("{former}\n"));
        script("apply", root.path(), &[]);
        let left = fs::read_to_string(below(root.path(), &path)).unwrap();
        assert_eq!(left.trim(), expected, "{name}");
    }
}

#[test]
fn a_refused_write_keeps_its_line_for_the_next_revert() {
    let root = fake_root();
    let swappiness = below(root.path(), "/proc/sys/vm/swappiness");
    fs::remove_file(&swappiness).unwrap();
    // Nobody can write this one, not even root.
    std::os::unix::fs::symlink("/proc/sys/kernel/ngroups_max", &swappiness).unwrap();
    let before = tree(root.path());
    let (code, _, stderr) = run("apply", root.path(), &[]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("swappiness did not take 1"), "{stderr}");
    let state = below(root.path(), "/run/ringbeam/tuning.state");
    let kept = fs::read_to_string(&state).unwrap();
    assert!(kept.lines().count() > 10, "{kept}");
    let line = "/proc/sys/vm/swappiness|";
    assert!(kept.contains(line), "{kept}");

    let applied = tree(root.path());
    let shown = script("revert", root.path(), &["--dry-run"]);
    assert_eq!(tree(root.path()), applied);
    assert!(
        shown.contains("/proc/sys/fs/nr_open: 2097152 -> 1048576"),
        "{shown}"
    );

    let (code, _, stderr) = run("revert", root.path(), &[]);
    assert_eq!(code, Some(1), "{stderr}");
    let kept = fs::read_to_string(&state).unwrap();
    assert!(kept.starts_with(line), "{kept}");
    assert_eq!(kept.lines().count(), 1);
    write(root.path(), HUGE_PAGES, "[always] madvise never\n");
    let mut reverted = tree(root.path());
    reverted.remove(Path::new("run/ringbeam/tuning.state"));
    assert_eq!(reverted, before);

    fs::remove_file(&swappiness).unwrap();
    let shown = script("revert", root.path(), &[]);
    assert!(shown.contains("swappiness is gone"), "{shown}");
    assert!(!state.exists());
}

#[test]
fn revert_writes_settings_alone() {
    for line in [
        "/etc/passwd|x",
        "/proc/sys/../../etc/passwd|x",
        "|",
        "/sys/a",
    ] {
        let root = fake_root();
        write(root.path(), "/etc/passwd", "root\n");
        let text = format!("/proc/sys/vm/swappiness|30\n{line}\n");
        write(root.path(), "/run/ringbeam/tuning.state", &text);
        let before = tree(root.path());
        let (code, stdout, stderr) = run("revert", root.path(), &[]);
        assert_eq!(code, Some(1), "{line}: {stdout}{stderr}");
        assert!(stderr.contains("nothing is written"), "{stderr}");
        assert_eq!(tree(root.path()), before);
    }
}

#[test]
fn options_that_do_not_exist_are_refused() {
    for (name, options) in [
        ("apply", &["--dry"][..]),
        ("apply", &["--only"]),
        ("apply", &["--only", "swapp"]),
        ("apply", &["swap"]),
        ("revert", &["--only", "swap"]),
        ("revert", &["--state"]),
    ] {
        let root = fake_root();
        let before = tree(root.path());
        let (code, _, stderr) = run(name, root.path(), options);
        assert_eq!(code, Some(2), "{name} {options:?}: {stderr}");
        assert!(!stderr.is_empty());
        assert_eq!(tree(root.path()), before);
    }
}

#[test]
fn a_rule_that_does_not_exist_is_refused_before_anything_changes() {
    let folder = TempDir::new().unwrap();
    let script = folder.path().join("apply");
    fs::copy(project_file("tuning/apply"), &script).unwrap();
    let settings = fs::read_to_string(project_file("tuning/99-ringbeam.conf")).unwrap();
    for wrong in ["#= swap atmost", "#= swap"] {
        let settings = settings.replace("#= swap at-most", wrong);
        fs::write(folder.path().join("99-ringbeam.conf"), settings).unwrap();
        let root = fake_root();
        let before = tree(root.path());
        let (code, _, stderr) = output(
            Command::new("bash")
                .arg(&script)
                .arg("--root")
                .arg(root.path()),
        );
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.contains("swap: no such rule"), "{stderr}");
        assert_eq!(tree(root.path()), before);
    }
}

const HUGE_PAGES: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// The settings of 99-ringbeam.conf, the one that stands there as a comment included.
fn settings() -> Vec<(String, String)> {
    let text = fs::read_to_string(project_file("tuning/99-ringbeam.conf")).unwrap();
    let mut settings = Vec::new();
    let mut is_named = false;
    for line in text.lines() {
        if line.starts_with("#= ") {
            is_named = true;
        } else if is_named || !line.starts_with('#') && !line.is_empty() {
            assert!(is_named, "no item stands before {line:?}");
            let (name, value) = line.trim_start_matches('#').split_once(" = ").unwrap();
            settings.push((name.to_owned(), value.to_owned()));
            is_named = false;
        }
    }
    assert!(!settings.is_empty());
    settings
}

/// A host with a distribution's values for every setting of 99-ringbeam.conf.
fn fake_root() -> TempDir {
    let root = TempDir::new().unwrap();
    let mut values: BTreeMap<&str, &str> = BTreeMap::from([
        ("fs.nr_open", "1048576"),
        ("fs.file-max", "800000"),
        ("net.ipv4.ip_local_port_range", "32768\t60999"),
        ("net.ipv4.tcp_mem", "287898\t383867\t575796"),
        ("net.ipv4.tcp_syncookies", "0"),
        ("net.ipv4.tcp_max_syn_backlog", "128"),
        ("net.core.somaxconn", "128"),
        ("net.ipv4.tcp_tw_reuse", "2"),
        ("net.core.netdev_max_backlog", "1000"),
        ("net.ipv4.tcp_rmem", "4096\t131072\t6291456"),
        ("net.ipv4.tcp_notsent_lowat", "4294967295"),
        ("vm.swappiness", "60"),
    ]);
    for (name, _) in settings() {
        let value = values.remove(name.as_str());
        let value = value.unwrap_or_else(|| panic!("no value for {name}"));
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        write(root.path(), &path, &format!("{value}\n"));
    }
    assert!(values.is_empty(), "not in 99-ringbeam.conf: {values:?}");
    let cpu = "/sys/devices/system/cpu/cpu0/cpufreq";
    write(
        root.path(),
        &format!("{cpu}/scaling_governor"),
        "powersave\n",
    );
    write(
        root.path(),
        &format!("{cpu}/scaling_available_governors"),
        "performance powersave\n",
    );
    write(root.path(), HUGE_PAGES, "[always] madvise never\n");
    write(
        root.path(),
        "/proc/meminfo",
        "MemTotal:       65536000 kB\n",
    );
    root
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn write(root: &Path, path: &str, text: &str) {
    let place = below(root, path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, text).unwrap();
}

/// Runs a script of tuning/ on a root and returns what it says.
fn script(name: &str, root: &Path, options: &[&str]) -> String {
    let (code, stdout, stderr) = run(name, root, options);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    stdout
}

fn run(name: &str, root: &Path, options: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(project_file("tuning").join(name));
    output(command.arg("--root").arg(root).args(options))
}

/// Every file below a root, with its content.
fn tree(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read_to_string(&path).unwrap());
            }
        }
    }
    files
}
