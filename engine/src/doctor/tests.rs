//! Every item on a tuned host, on one that is not, on an empty tree and on a hostile one.

mod rows;

use std::fs;
use std::path::Path;

use rows::{ROWS, TUNED};
use tempfile::TempDir;

use super::{Finding, Host, Load, SessionsFrom, Severity, examine, ids, is_blocked, json, text};
use crate::config::Config;
use crate::fleet::Fleet;

fn tuned() -> TempDir {
    let folder = TempDir::new().unwrap();
    for (path, content) in TUNED {
        write(folder.path(), path, content.as_bytes());
    }
    folder
}

fn write(root: &Path, path: &str, content: &[u8]) {
    let place = root.join(path);
    fs::create_dir_all(place.parent().unwrap()).unwrap();
    fs::write(place, [content, b"\n"].concat()).unwrap();
}

/// A million sessions that leave from enough addresses.
fn load() -> Load {
    Load {
        address_pairs: 37,
        ..Load::reference()
    }
}

fn find<'a>(findings: &'a [Finding], id: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.id == id).unwrap()
}

#[test]
fn a_tuned_host_is_left_alone() {
    let folder = tuned();
    let findings = examine(&Host::copied(folder.path()), &load());
    for finding in &findings {
        assert_eq!(finding.severity, Severity::Ok, "{finding:?}");
        assert!(
            finding.mend.is_empty() && !finding.found.is_empty(),
            "{finding:?}"
        );
    }
    assert_eq!(findings.len(), ids().count());
}

#[test]
fn each_item_sees_what_it_looks_for_and_says_what_mends_it() {
    for (path, content, id, severity, mend) in ROWS {
        let folder = tuned();
        write(folder.path(), path, content.as_bytes());
        let load = Load {
            address_pairs: if *id == "ports" { 1 } else { 37 },
            ..load()
        };
        let findings = examine(&Host::copied(folder.path()), &load);
        let finding = find(&findings, id);
        assert_eq!(
            finding.severity, *severity,
            "{path} = {content}: {finding:?}"
        );
        assert!(
            finding.mend.contains(mend),
            "{path} = {content}: {finding:?}"
        );
        let has_advice = !finding.mend.is_empty() || !finding.wanted.is_empty();
        assert!(*severity != Severity::Ok || !has_advice, "{finding:?}");
        assert_eq!(is_blocked(&findings), *severity == Severity::Blocks);
    }
    // Some host has each item wrong, and two that need two changes have tests of their own.
    let never = ids().filter(|id| !ROWS.iter().any(|row| row.2 == *id));
    assert_eq!(never.collect::<Vec<_>>(), ["congestion-control"]);
}

#[test]
fn what_takes_two_changes_is_seen() {
    let folder = tuned();
    write(
        folder.path(),
        "proc/sys/net/core/netdev_max_backlog",
        b"1000",
    );
    write(
        folder.path(),
        "proc/net/softnet_stat",
        b"aa 00000000\nbb 0000000a",
    );
    write(folder.path(), "proc/sys/net/ipv4/tcp_syncookies", b"0");
    write(
        folder.path(),
        "proc/sys/net/ipv4/tcp_max_syn_backlog",
        b"128",
    );
    write(
        folder.path(),
        "proc/sys/net/netfilter/nf_conntrack_count",
        b"7",
    );
    write(
        folder.path(),
        "proc/sys/net/netfilter/nf_conntrack_max",
        b"9000000",
    );
    let findings = examine(
        &Host::copied(folder.path()),
        &Load {
            shards: 5,
            ..load()
        },
    );
    for (id, severity, mend) in [
        (
            "netdev-backlog",
            Severity::Costs,
            "netdev_max_backlog='8192'",
        ),
        ("syn-backlog", Severity::Limits, "tcp_syncookies='1'"),
        ("conntrack", Severity::Costs, "as in tuning/README.md"),
        ("shards", Severity::Costs, "engine.shards = 0"),
    ] {
        let finding = find(&findings, id);
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.mend.contains(mend), "{finding:?}");
    }
    // A table that is large enough is left as it is.
    let conntrack = find(&findings, "conntrack");
    assert!(
        !conntrack.mend.contains("nf_conntrack_max"),
        "{conntrack:?}"
    );
    assert!(
        find(&findings, "netdev-backlog")
            .found
            .contains("10 packets")
    );
    let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted(), "worst first");
}

#[test]
fn a_table_for_connections_grows_by_what_it_tracks_already() {
    let folder = tuned();
    let count = "proc/sys/net/netfilter/nf_conntrack_count";
    for (tracked, expected) in [("7", "'2097152'"), ("200000", "'4194304'")] {
        write(folder.path(), count, tracked.as_bytes());
        let findings = examine(&Host::copied(folder.path()), &load());
        let finding = find(&findings, "conntrack");
        assert_eq!(finding.severity, Severity::Limits);
        assert!(
            finding
                .mend
                .ends_with(&format!("nf_conntrack_max={expected}")),
            "{finding:?}"
        );
    }
}

#[test]
fn more_sessions_than_descriptors_block_where_the_configuration_asks_for_them() {
    let folder = tuned();
    let limits = "Max open files 1024 20000 files\nMax locked memory unlimited unlimited bytes";
    write(folder.path(), "proc/self/limits", limits.as_bytes());
    // Four shards and one listener leave 9,600 sessions, as the engine reckons.
    let fewer = "the engine runs here, with fewer sessions than asked for: ";
    for (sessions, sessions_from, severity, verdict) in [
        (
            9_601,
            SessionsFrom::Configuration,
            Severity::Blocks,
            "the engine does not run here: ",
        ),
        (9_601, SessionsFrom::Fleet, Severity::Limits, fewer),
        (9_601, SessionsFrom::Reference, Severity::Limits, fewer),
        (
            9_600,
            SessionsFrom::Configuration,
            Severity::Ok,
            "the engine runs here: ",
        ),
    ] {
        let load = Load {
            sessions,
            sessions_from,
            ..load()
        };
        let findings = examine(&Host::copied(folder.path()), &load);
        let finding = find(&findings, "descriptors");
        assert_eq!(finding.severity, severity, "{finding:?}");
        let printed = text(&load, &findings);
        assert!(printed.lines().last().unwrap().starts_with(verdict));
    }
}

#[test]
fn a_kernel_that_cannot_let_messages_wait_costs_where_they_should() {
    let folder = tuned();
    write(folder.path(), "proc/sys/kernel/osrelease", b"6.1.0");
    for (coalesces, severity) in [(false, Severity::Note), (true, Severity::Costs)] {
        let load = Load {
            coalesces,
            ..load()
        };
        let findings = examine(&Host::copied(folder.path()), &load);
        assert_eq!(find(&findings, "min-wait").severity, severity);
    }
}

#[test]
fn a_group_that_may_set_up_rings_is_told_not_blocked() {
    let folder = tuned();
    write(folder.path(), "proc/sys/kernel/io_uring_disabled", b"1");
    for (group, severity) in [
        ("-1", Severity::Blocks),
        ("988", Severity::Note),
        ("ringbeam", Severity::Unknown),
    ] {
        write(
            folder.path(),
            "proc/sys/kernel/io_uring_group",
            group.as_bytes(),
        );
        let findings = examine(&Host::copied(folder.path()), &load());
        assert_eq!(find(&findings, "io-uring").severity, severity, "{group}");
    }
}

#[test]
fn receive_queues_are_for_the_processors_with_shards() {
    let folder = tuned();
    write(
        folder.path(),
        "proc/self/status",
        b"Cpus_allowed_list:\t4-7,40",
    );
    write(
        folder.path(),
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        b"0",
    );
    for (shards, mend) in [
        (
            0,
            "combined 5; where it has no more queues, echo 100,000000f0 > ",
        ),
        (2, "combined 2; where it has no more queues, echo 30 > "),
        (9, "combined 5; "),
        (1, ""),
    ] {
        let load = Load { shards, ..load() };
        let findings = examine(&Host::copied(folder.path()), &load);
        let finding = find(&findings, "receive-queues");
        assert!(finding.mend.contains(mend), "{finding:?}");
        assert_eq!(finding.severity == Severity::Ok, mend.is_empty());
    }
}

#[test]
fn reserved_ports_reach_a_command_without_controls() {
    let folder = tuned();
    let reserved = "proc/sys/net/ipv4/ip_local_reserved_ports";
    write(folder.path(), reserved, b"20000,\n\x0b30000-30010");
    write(
        folder.path(),
        "proc/sys/net/ipv4/ip_local_port_range",
        b"1024 65535",
    );
    let findings = examine(&Host::copied(folder.path()), &load());
    let finding = find(&findings, "listen-ports");
    assert!(
        finding.mend.ends_with("='20000,30000-30010,1883'"),
        "{finding:?}"
    );
}

#[test]
fn every_line_of_a_large_host_is_read() {
    let folder = tuned();
    let mut lines = "00000000 00000000 00000000 00000000 00000000 00000000\n".repeat(4096);
    lines.push_str("00000000 0000000a");
    write(folder.path(), "proc/net/softnet_stat", lines.as_bytes());
    let findings = examine(&Host::copied(folder.path()), &load());
    let finding = find(&findings, "netdev-backlog");
    assert!(finding.found.contains("10 packets"), "{finding:?}");
}

#[test]
fn the_unit_allows_the_reference_load() {
    let unit = include_str!("../../../tuning/ringbeam.service");
    let limit = unit
        .lines()
        .find_map(|line| line.strip_prefix("LimitNOFILE="));
    let limit: u64 = limit.unwrap().parse().unwrap();
    let shards_max = 1024;
    assert!(limit >= Load::reference().descriptors(shards_max));
}

#[test]
fn ports_past_half_cost_before_they_run_out() {
    let folder = tuned();
    for (sources, severity) in [
        (37, Severity::Ok),
        (36, Severity::Costs),
        (18, Severity::Limits),
    ] {
        let load = Load {
            address_pairs: sources,
            ..load()
        };
        let findings = examine(&Host::copied(folder.path()), &load);
        let finding = find(&findings, "ports");
        assert_eq!(finding.severity, severity, "{finding:?}");
    }
}

#[test]
fn an_empty_tree_is_unknown_not_guessed() {
    let folder = TempDir::new().unwrap();
    for finding in examine(&Host::copied(folder.path()), &load()) {
        assert_eq!(finding.severity, Severity::Unknown, "{finding:?}");
        assert!(!finding.found.is_empty(), "{finding:?}");
    }
}

#[test]
fn a_hostile_tree_is_survived_and_not_repeated_raw() {
    let huge = vec![b'9'; 1 << 20];
    let contents: [&[u8]; 9] = [
        b"",
        b"\xff\xfe\x00binary",
        b"\x1b[2J\x07 [always \x1b] x",
        b"-1 -1 -1",
        b"5",
        b"0-18446744073709551615",
        b"18446744073709551615 18446744073709551615 18446744073709551615",
        &huge,
        b"0\n0 \xc2\x9b31m\n",
    ];
    for content in contents {
        let folder = TempDir::new().unwrap();
        for (path, _) in TUNED {
            write(folder.path(), path, content);
        }
        let load = Load {
            sessions: u64::MAX,
            shards: u64::MAX,
            ..load()
        };
        let findings = examine(&Host::copied(folder.path()), &load);
        let printed = text(&load, &findings);
        let is_clean = |character: char| character == '\n' || !character.is_control();
        assert!(printed.chars().all(is_clean), "{printed:?}");
        assert!(printed.len() < 40_000, "{} bytes", printed.len());
    }
    let folder = TempDir::new().unwrap();
    for (path, _) in TUNED {
        fs::create_dir_all(folder.path().join(path)).unwrap();
    }
    let findings = examine(&Host::copied(folder.path()), &load());
    assert_eq!(find(&findings, "nr-open").severity, Severity::Unknown);
}

#[test]
fn the_load_comes_from_configuration_and_fleet() {
    let fleet = Fleet::from_json("fleet.json", include_bytes!("../../fleet.sample.json")).unwrap();
    let of = |engine: &str| {
        let toml = format!(
            "[[listener]]\naddress = \"0.0.0.0:1883\"\n[[listener]]\naddress = \"0.0.0.0:11883\"\n\
             [engine]\n{engine}\n[upstream]\nsource_addresses = [\"10.0.0.1\", \"10.0.0.2\", \"2001:db8::1\"]"
        );
        let path = Path::new("ringbeam.toml");
        Load::of(path, &Config::from_toml(&toml, path).unwrap(), &fleet)
    };
    let load = of("shards = 3");
    assert_eq!((load.sessions, load.shards, load.listeners), (65_537, 3, 2));
    // The broker is an IPv4 address: of the three source addresses, two fit it.
    assert_eq!((load.destinations, load.address_pairs), (1, 2));
    assert_eq!(
        load.ports.iter().copied().collect::<Vec<_>>(),
        [1883, 11_883]
    );
    assert_eq!(of("max_sessions = 5").sessions, 5);
    // 680 and 32 for each shard are not for sessions.
    assert_eq!(load.descriptors(3), 2 * 65_537 + 680 + 3 * 32);
    let folder = tuned();
    let findings = examine(&Host::copied(folder.path()), &load);
    let finding = find(&findings, "listen-ports");
    assert!(finding.mend.contains("'11883'"), "{finding:?}");
}

#[test]
fn json_has_every_finding_and_the_summary() {
    let folder = tuned();
    write(folder.path(), "proc/sys/vm/swappiness", b"60");
    let load = load();
    let findings = examine(&Host::copied(folder.path()), &load);
    let value = json(&load, &findings);
    assert_eq!(value["findings"].as_array().unwrap().len(), ids().count());
    let first = value["findings"][0].as_object().unwrap();
    let keys: Vec<&str> = first.keys().map(String::as_str).collect();
    let mut expected = ["id", "severity", "found", "wanted", "why", "mend"];
    expected.sort_unstable();
    let mut keys = keys;
    keys.sort_unstable();
    assert_eq!(keys, expected);
    assert_eq!(
        (&first["id"], &first["severity"]),
        (&"swap".into(), &"costs".into())
    );
    assert_eq!(value["summary"]["costs"], 1);
    assert_eq!(value["configuration"], serde_json::Value::Null);
}
