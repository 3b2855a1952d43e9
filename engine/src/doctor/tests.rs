//! Every item on a tuned host, on one that is not, on an empty tree and on a hostile one.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{Finding, Host, Load, Severity, examine, ids, is_blocked, json, text};
use crate::config::Config;
use crate::fleet::Fleet;

/// A host that holds nothing back.
const TUNED: &[(&str, &str)] = &[
    ("proc/sys/kernel/osrelease", "6.12.3-generic"),
    ("proc/sys/kernel/io_uring_disabled", "0"),
    ("proc/sys/kernel/io_uring_group", "-1"),
    (
        "proc/self/limits",
        "Limit Soft Hard Units\nMax open files   1024   2097152   files\nMax locked memory 8388608 unlimited bytes",
    ),
    ("proc/self/status", "Name:\tdoctor\nCpus_allowed_list:\t0-3"),
    ("proc/meminfo", "MemTotal:       65536000 kB\nMemFree: 1 kB"),
    ("proc/sys/fs/nr_open", "2097152"),
    ("proc/sys/fs/file-max", "9223372036854775807"),
    ("proc/sys/net/ipv4/ip_local_port_range", "10240\t65535"),
    ("proc/sys/net/ipv4/ip_local_reserved_ports", ""),
    ("proc/sys/net/ipv4/tcp_mem", "1500000\t2000000\t3000000"),
    ("proc/sys/net/ipv4/tcp_rmem", "4096\t16384\t6291456"),
    ("proc/sys/net/ipv4/tcp_notsent_lowat", "131072"),
    ("proc/sys/net/ipv4/tcp_tw_reuse", "1"),
    ("proc/sys/net/ipv4/tcp_syncookies", "1"),
    ("proc/sys/net/ipv4/tcp_max_syn_backlog", "4096"),
    ("proc/sys/net/ipv4/tcp_slow_start_after_idle", "0"),
    ("proc/sys/net/ipv4/tcp_congestion_control", "cubic"),
    ("proc/sys/net/core/somaxconn", "4096"),
    ("proc/sys/net/core/netdev_max_backlog", "8192"),
    ("proc/sys/net/core/default_qdisc", "fq_codel"),
    ("proc/sys/net/core/busy_poll", "0"),
    ("proc/sys/net/core/busy_read", "0"),
    ("proc/sys/net/netfilter/nf_conntrack_max", "262144"),
    ("proc/sys/net/netfilter/nf_conntrack_count", "0"),
    (
        "proc/net/softnet_stat",
        "0000aa 00000000 00\n0000bb 00000000 00",
    ),
    (
        "proc/swaps",
        "Filename Type Size Used Priority\n/swapfile file 1 0 -2",
    ),
    ("proc/sys/vm/swappiness", "1"),
    ("proc/sys/vm/overcommit_memory", "0"),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "always [madvise] never",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "tsc",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/available_clocksource",
        "tsc hpet",
    ),
    ("sys/devices/system/cpu/isolated", "2-3"),
    (
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "performance",
    ),
    ("sys/devices/system/cpu/cpu0/cpuidle/state0/latency", "2"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state0/disable", "0"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/latency", "900"),
    ("sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "1"),
    (
        "sys/devices/system/cpu/vulnerabilities/meltdown",
        "Not affected",
    ),
    ("sys/class/net/eth0/device/vendor", "0x15b3"),
    ("sys/class/net/eth0/queues/rx-0/rps_cpus", "f"),
    ("sys/class/net/lo/queues/rx-0/rps_cpus", "0"),
    ("sys/fs/cgroup/cpu.max", "max 100000"),
];

/// A change of one file, and what it leads to: the item, its severity, and a part of what mends it.
const ROWS: &[(&str, &str, &str, Severity, &str)] = &[
    (
        "proc/sys/kernel/osrelease",
        "5.15.0-91",
        "kernel-version",
        Severity::Blocks,
        "newer kernel",
    ),
    (
        "proc/sys/kernel/osrelease",
        "6.0.19",
        "kernel-version",
        Severity::Blocks,
        "newer kernel",
    ),
    (
        "proc/sys/kernel/osrelease",
        "6.1.0",
        "kernel-version",
        Severity::Ok,
        "",
    ),
    (
        "proc/sys/kernel/io_uring_disabled",
        "2",
        "io-uring",
        Severity::Blocks,
        "sysctl -w kernel.io_uring_disabled='0'",
    ),
    (
        "proc/sys/kernel/io_uring_disabled",
        "1",
        "io-uring",
        Severity::Limits,
        "kernel.io_uring_group=",
    ),
    (
        "proc/self/limits",
        "Max open files 1024 20000 files\nMax locked memory 1 unlimited bytes",
        "descriptors",
        Severity::Limits,
        "LimitNOFILE=2097152",
    ),
    (
        "proc/self/limits",
        "Max open files 1024 unlimited files\nMax locked memory 1 65536 bytes",
        "locked-memory",
        Severity::Limits,
        "LimitMEMLOCK=infinity",
    ),
    (
        "proc/sys/fs/nr_open",
        "1048576",
        "nr-open",
        Severity::Limits,
        "sysctl -w fs.nr_open='2097152'",
    ),
    (
        "proc/sys/fs/file-max",
        "800000",
        "file-max",
        Severity::Limits,
        "sysctl -w fs.file-max=",
    ),
    (
        "proc/sys/net/ipv4/ip_local_port_range",
        "32768 60999",
        "ports",
        Severity::Limits,
        "sysctl -w net.ipv4.ip_local_port_range='10240 65535'; upstream.source_addresses with 37",
    ),
    (
        "proc/sys/net/ipv4/ip_local_port_range",
        "1024 65535",
        "listen-ports",
        Severity::Limits,
        "sysctl -w net.ipv4.ip_local_reserved_ports='1883'",
    ),
    (
        "proc/meminfo",
        "MemTotal: 8000000 kB",
        "memory",
        Severity::Limits,
        "more memory",
    ),
    (
        "proc/sys/net/ipv4/tcp_mem",
        "287898 383867 575796",
        "tcp-memory",
        Severity::Limits,
        "sysctl -w net.ipv4.tcp_mem='1500000 2000000 3000000'",
    ),
    (
        "proc/sys/net/ipv4/tcp_mem",
        "1500000 1900000 3000000",
        "tcp-memory",
        Severity::Costs,
        "sysctl -w net.ipv4.tcp_mem=",
    ),
    (
        "proc/sys/net/netfilter/nf_conntrack_count",
        "7",
        "conntrack",
        Severity::Limits,
        "notrack rules for port 1883",
    ),
    (
        "proc/sys/net/ipv4/tcp_tw_reuse",
        "2",
        "time-wait",
        Severity::Costs,
        "sysctl -w net.ipv4.tcp_tw_reuse='1'",
    ),
    (
        "proc/sys/net/core/somaxconn",
        "128",
        "accept-queue",
        Severity::Costs,
        "sysctl -w net.core.somaxconn='4096'",
    ),
    (
        "sys/fs/cgroup/cpu.max",
        "100000 100000",
        "shards",
        Severity::Costs,
        "CPU limit",
    ),
    (
        "sys/class/net/eth0/queues/rx-0/rps_cpus",
        "0,00000000",
        "receive-queues",
        Severity::Costs,
        "echo f > /sys/class/net/eth0/queues/rx-0/rps_cpus",
    ),
    (
        "proc/sys/net/core/netdev_max_backlog",
        "1000",
        "netdev-backlog",
        Severity::Ok,
        "",
    ),
    (
        "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "powersave",
        "governor",
        Severity::Costs,
        "echo performance",
    ),
    (
        "sys/devices/system/cpu/cpu0/cpuidle/state1/disable",
        "0",
        "idle-states",
        Severity::Note,
        "cpupower idle-set",
    ),
    (
        "sys/devices/system/cpu/isolated",
        "",
        "isolation",
        Severity::Note,
        "",
    ),
    (
        "sys/devices/system/cpu/isolated",
        "2-7",
        "isolation",
        Severity::Costs,
        "CPUAffinity=2-7",
    ),
    (
        "sys/devices/system/clocksource/clocksource0/current_clocksource",
        "hpet",
        "clocksource",
        Severity::Costs,
        "echo tsc > ",
    ),
    (
        "proc/sys/net/ipv4/tcp_rmem",
        "4096 131072 33554432",
        "tcp-buffers",
        Severity::Costs,
        "sysctl -w net.ipv4.tcp_rmem='4096 16384 33554432'",
    ),
    (
        "proc/sys/net/ipv4/tcp_notsent_lowat",
        "4294967295",
        "unsent-data",
        Severity::Costs,
        "sysctl -w net.ipv4.tcp_notsent_lowat=",
    ),
    (
        "proc/sys/vm/swappiness",
        "60",
        "swap",
        Severity::Costs,
        "sysctl -w vm.swappiness='1'",
    ),
    (
        "proc/sys/vm/overcommit_memory",
        "2",
        "overcommit",
        Severity::Costs,
        "sysctl -w vm.overcommit_memory='0'",
    ),
    (
        "sys/kernel/mm/transparent_hugepage/enabled",
        "[always] madvise never",
        "huge-pages",
        Severity::Costs,
        "echo madvise > ",
    ),
    (
        "proc/sys/net/ipv4/tcp_slow_start_after_idle",
        "1",
        "slow-start",
        Severity::Note,
        "sysctl -w ",
    ),
    (
        "proc/sys/net/core/default_qdisc",
        "pfifo_fast",
        "queue-discipline",
        Severity::Note,
        "sysctl -w net.core.default_qdisc=",
    ),
    (
        "proc/sys/net/core/busy_read",
        "50",
        "busy-polling",
        Severity::Note,
        "busy_read=0",
    ),
    (
        "sys/devices/system/cpu/vulnerabilities/meltdown",
        "Mitigation: PTI",
        "mitigations",
        Severity::Note,
        "",
    ),
    (
        "proc/net/softnet_stat",
        "aa 00000001",
        "netdev-backlog",
        Severity::Ok,
        "",
    ),
    (
        "proc/sys/net/ipv4/tcp_syncookies",
        "0",
        "syn-backlog",
        Severity::Ok,
        "",
    ),
];

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
        source_addresses: 37,
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
            source_addresses: if *id == "ports" { 1 } else { 37 },
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
        ("conntrack", Severity::Costs, "notrack"),
        ("shards", Severity::Costs, "engine.shards = 0"),
    ] {
        let finding = find(&findings, id);
        assert_eq!(finding.severity, severity, "{finding:?}");
        assert!(finding.mend.contains(mend), "{finding:?}");
    }
    assert!(
        find(&findings, "netdev-backlog")
            .found
            .contains("10 packets")
    );
    let severities: Vec<Severity> = findings.iter().map(|finding| finding.severity).collect();
    assert!(severities.is_sorted(), "worst first");
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
            source_addresses: sources,
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
             [engine]\n{engine}\n[upstream]\nsource_addresses = [\"10.0.0.1\", \"10.0.0.2\"]"
        );
        let path = Path::new("ringbeam.toml");
        Load::of(path, &Config::from_toml(&toml, path).unwrap(), &fleet)
    };
    let load = of("shards = 3");
    assert_eq!((load.sessions, load.shards, load.listeners), (65_537, 3, 2));
    assert_eq!((load.destinations, load.source_addresses), (1, 2));
    assert_eq!(
        load.ports.iter().copied().collect::<Vec<_>>(),
        [1883, 11_883]
    );
    assert_eq!(of("max_sessions = 5").sessions, 5);
    // 640 and 14 for each shard are not for sessions.
    assert_eq!(load.descriptors(3), 2 * 65_537 + 640 + 3 * 14);
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
