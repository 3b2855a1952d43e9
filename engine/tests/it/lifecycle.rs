//! The engine's own life: reload, drain, stop, limits, refusals to start.

use std::os::unix::process::CommandExt as _;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::json;

use super::harness::fleet::{ENTRY_POINT, fleet, fleet_with, new_imsi, new_sim, old_sim};
use super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::harness::ringbeam::{Ringbeam, Setup, output, signal};
use super::harness::wait_until;

#[test]
fn b_cfg_5_a_reload_applies_to_new_sessions_and_drops_none() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let changed = fleet_with(upstream.address(), |_, object| {
        object["addSubscriberHeader"] = false.into();
    });
    ringbeam.setup().write_fleet(&changed);
    assert!(ringbeam.reload());
    device.send(&publish("old", b""));
    peer.expect(&publish(&format!("old/{}", new_imsi(1)), b""));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    device.send(&publish("fresh", b""));
    peer.expect(&publish("fresh", b""));
}

#[test]
fn a_bad_file_leaves_everything_as_it_was_and_says_so() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    for bad in ["{", "[]", r#"{"groups": 1}"#] {
        ringbeam.setup().write_fleet_text(bad);
        assert!(!ringbeam.reload(), "{bad}");
    }
    ringbeam
        .setup()
        .write_fleet(&fleet_with(upstream.address(), |_, object| {
            object["version"] = "2019".into();
        }));
    assert!(!ringbeam.reload());
    assert!(
        ringbeam.log_text().contains("201912"),
        "it says what is accepted: {}",
        ringbeam.log_text()
    );
    // Whoever reads the log as JSON still can.
    assert_eq!(
        ringbeam.log_text().lines().count(),
        ringbeam.log_lines().len()
    );
    device.send(&publish("t", b""));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b""));
    let _another = upstream.session(ringbeam.address(), new_sim(2), 4);
}

#[test]
fn b_cfg_5_and_b_keep_4_a_disabled_entry_point_closes_with_a_disconnect() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut stays, mut stays_peer) = upstream.session(ringbeam.address(), old_sim(1), 4);
    for (version, told) in [(4, &[][..]), (5, &[0xe0, 1, 0x98])] {
        ringbeam.setup().write_fleet(&fleet(upstream.address()));
        assert!(ringbeam.reload());
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), version);
        let disabled = fleet_with(upstream.address(), |group, object| {
            object["enabled"] = (group == "old").into();
        });
        ringbeam.setup().write_fleet(&disabled);
        assert!(ringbeam.reload());
        assert_eq!(device.rest(), told);
        assert_eq!(peer.rest(), [0xe0, 0]);
    }
    // Deleted is the same.
    ringbeam.setup().write_fleet(&fleet(upstream.address()));
    assert!(ringbeam.reload());
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let mut deleted = fleet(upstream.address());
    deleted["groups"][0]["configuration"]["SoracomBeam"]
        .as_object_mut()
        .unwrap()
        .remove(ENTRY_POINT);
    ringbeam.setup().write_fleet(&deleted);
    assert!(ringbeam.reload());
    device.expect_closed();
    assert_eq!(peer.rest(), [0xe0, 0]);
    stays.send(&publish("t", b""));
    assert_eq!(stays_peer.packet()[0], 0x30);
}

#[test]
fn b_id_4_an_address_that_is_anothers_or_nobodys_loses_its_connections_at_once() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let address: std::net::Ipv4Addr = "127.0.0.2".parse().unwrap();
    // Another SIM, then none.
    let (mut device, mut peer) = upstream.session(ringbeam.address(), address, 5);
    let mut changed = fleet(upstream.address());
    changed["sims"][0]["imsi"] = json!("440100000000099");
    changed["sims"][0]["simId"] = json!("8981100000000000099");
    ringbeam.setup().write_fleet(&changed);
    assert!(ringbeam.reload());
    device.expect_closed();
    // No DISCONNECT: the will fires.
    peer.expect_closed();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), address, 4);
    changed["sims"].as_array_mut().unwrap().remove(0);
    ringbeam.setup().write_fleet(&changed);
    assert!(ringbeam.reload());
    device.expect_closed();
    peer.expect_closed();
    ringbeam.wait_for_logs(2, "reason", "sim_session_ended");
}

#[test]
fn b_id_4_a_connect_that_began_as_one_sim_is_never_served_as_another() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let connect = connect_packet(4, "device");
    let mut devices: Vec<_> = (0..8)
        .map(|_| {
            let mut device = Peer::connect(
                "127.0.0.2".parse::<std::net::IpAddr>().unwrap(),
                ringbeam.address(),
            );
            device.send(&connect[..9]);
            device
        })
        .collect();
    // A later connection shows that the earlier ones have been accepted, as far as one listener goes.
    for number in 0..8 {
        let _session = upstream.session(ringbeam.address(), new_sim(number), 4);
    }
    let mut changed = fleet(upstream.address());
    changed["sims"][0]["imsi"] = json!("440100000000099");
    changed["sims"][0]["simId"] = json!("8981100000000000099");
    ringbeam.setup().write_fleet(&changed);
    assert!(ringbeam.reload());
    for device in &mut devices {
        // It may be closed already.
        drop(device.try_send(&connect[9..]));
        device.expect_closed();
    }
    assert!(upstream.is_untouched());
    ringbeam.wait_for_logs(8, "reason", "sim_session_ended");
}

#[test]
fn b_keep_4_a_reload_while_it_drains_cuts_nothing_short() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let sessions: Vec<_> = (0..20)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 5))
        .collect();
    ringbeam.signal("TERM");
    ringbeam.signal("HUP");
    for (mut device, mut peer) in sessions {
        assert_eq!(device.rest(), [0xe0, 1, 0x8b]);
        assert_eq!(peer.rest(), [0xe0, 0]);
    }
    assert_eq!(ringbeam.wait().code(), Some(0));
}

#[test]
fn b_keep_4_sigterm_drains_tells_both_sides_and_exits_0() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("drain_timeout_ms = 8000")
        .start();
    let (mut old, mut old_peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let (mut new, mut new_peer) = upstream.session(ringbeam.address(), new_sim(2), 5);
    let start = Instant::now();
    ringbeam.signal("TERM");
    assert_eq!(old.rest(), b"");
    assert_eq!(old_peer.rest(), [0xe0, 0]);
    assert_eq!(new.rest(), [0xe0, 1, 0x8b]);
    assert_eq!(new_peer.rest(), [0xe0, 0]);
    drop((old, old_peer, new, new_peer));
    assert_eq!(ringbeam.wait().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "few sessions do not take the whole drain time"
    );
    assert!(Peer::try_connect(new_sim(1), ringbeam.address()).is_err());
}

#[test]
fn sigint_ends_at_once_and_exits_0() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 5);
    ringbeam.signal("INT");
    device.expect_closed();
    peer.expect_closed();
    assert_eq!(ringbeam.wait().code(), Some(0));
}

#[test]
fn at_the_session_limit_new_devices_are_told_and_old_ones_are_not_touched() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("max_sessions = 3")
        .engine("when_unavailable = \"connack\"")
        .start();
    let mut sessions: Vec<_> = (1..=3)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    for (version, expected) in [
        (3, &[0x20, 2, 0, 3][..]),
        (4, &[0x20, 2, 0, 3]),
        (5, &[0x20, 3, 0, 0x88, 0]),
    ] {
        let mut device = Peer::connect(new_sim(9), ringbeam.address());
        device.send(&connect_packet(version, "device"));
        device.expect(expected);
        device.expect_closed();
    }
    // A flood of connections that say nothing.
    let flood: Vec<_> = (0..600)
        .map(|_| Peer::connect(new_sim(9), ringbeam.address()))
        .collect();
    for (number, (device, peer)) in (1..).zip(&mut sessions) {
        device.send(&publish("t", b"still here"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"still here"));
    }
    drop(flood);
    let (device, _peer) = sessions.pop().unwrap();
    drop(device);
    ringbeam.wait_for_log(&[("reason", "device_closed")]);
    wait_until("room for another", || {
        let mut device = Peer::connect(new_sim(3), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        // A refusal comes at once; otherwise the upstream is asked, which says nothing.
        !device.answers_within(Duration::from_millis(300))
    });
}

/// Stops a process for a while and lets it go on for a moment, again and again, until it is dropped.
struct Starved {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Starved {
    fn begin(ringbeam: &Ringbeam) -> Self {
        let ends = Arc::new(AtomicBool::new(false));
        let id = ringbeam.id();
        let thread = std::thread::spawn({
            let ends = Arc::clone(&ends);
            move || {
                while !ends.load(Ordering::Relaxed) {
                    for (name, ms) in [("STOP", 400), ("CONT", 2)] {
                        signal(id, name);
                        std::thread::sleep(Duration::from_millis(ms));
                    }
                }
            }
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

#[test]
fn a_relay_that_lags_takes_no_new_sessions_and_keeps_those_that_it_has() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("when_unavailable = \"connack\"")
        // So that a stop finds something that waits.
        .engine("coalesce_us = 100000")
        .start();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let starved = Starved::begin(&ringbeam);
    let (mut devices, mut peers) = (Vec::new(), Vec::new());
    wait_until("the refusal of a new session", || {
        for number in 2..32 {
            let mut device = Peer::connect(new_sim(number), ringbeam.address());
            device.send(&connect_packet(5, "device"));
            devices.push(device);
        }
        std::thread::sleep(Duration::from_millis(50));
        peers.extend(upstream.accept_all());
        // No more than each SIM may have.
        devices.drain(..devices.len().saturating_sub(300));
        devices.iter_mut().any(|device| {
            // MQTT 5, section 3.2.2.2: server busy.
            device.answers_within(Duration::from_millis(1))
                && device
                    .try_packet()
                    .is_ok_and(|answer| answer == [0x20, 3, 0, 0x89, 0])
        })
    });
    ringbeam.wait_for_log(&[("reason", "refused_overload")]);
    for number in 0..20_u8 {
        device.send(&publish("t", &[number]));
        peer.expect(&publish(&format!("t/{}", new_imsi(1)), &[number]));
    }
    drop(starved);
    drop((devices, peers));
    // The first ones may still be refused by what was measured last; they have it measured anew.
    let mut peers = Vec::new();
    wait_until("a session, now that it keeps up", || {
        let mut device = Peer::connect(new_sim(2), ringbeam.address());
        device.send(&connect_packet(5, "device"));
        std::thread::sleep(Duration::from_millis(50));
        for mut peer in upstream.accept_all() {
            // Others may have left.
            drop(peer.try_send(connack(5)));
            peers.push(peer);
        }
        device.answers_within(Duration::from_millis(300))
            && device.try_packet().is_ok_and(|answer| answer == connack(5))
    });
}

#[test]
fn connections_that_say_nothing_take_no_place_from_sims() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("max_sessions = 5")
        .engine("max_sessions_per_sim = 2")
        .start();
    // From an address without a SIM, and from one SIM beyond its own limit.
    let unknown = "127.0.0.77".parse().unwrap();
    let silent: Vec<_> = (0..20)
        .flat_map(|_| [unknown, new_sim(7)])
        .map(|from: std::net::Ipv4Addr| Peer::connect(from, ringbeam.address()))
        .collect();
    let _sessions: Vec<_> = (1..=3)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    // B-ID-2: they would be told what they are told otherwise.
    let mut device = Peer::connect(unknown, ringbeam.address());
    device.send(&connect_packet(4, "device"));
    device.expect(&[0x20, 2, 0, 5]);
    drop(silent);
}

#[test]
fn b_err_4_a_refusal_is_one_line_with_its_detail() {
    let closed = Upstream::listen().address();
    let ringbeam = Ringbeam::start(&fleet(closed));
    for _ in 0..5 {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        device.expect_closed();
    }
    ringbeam.wait_for_logs(5, "reason", "refused_upstream_unreachable");
    let lines = ringbeam.log_lines();
    let about_devices: Vec<_> = lines
        .iter()
        .filter(|line| line["imsi"].is_string())
        .collect();
    assert_eq!(about_devices.len(), 5, "{about_devices:?}");
    let detail = about_devices[0]["detail"].as_str().unwrap();
    assert!(
        detail.contains(&closed.to_string()) && detail.contains("refused"),
        "{detail}"
    );
}

#[test]
fn a_port_in_use_is_named_and_exits_1() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let port = ringbeam.address().port();
    let setup = Setup::new(&fleet(upstream.address()));
    let setup = setup
        .listener("one", "0.0.0.0:29999")
        .listener("two", "127.0.0.1:29999");
    let (code, _, stderr) = output(&mut setup.command("check"));
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("127.0.0.1:29999"), "{stderr}");
    for taken in [port, upstream.address().port()] {
        let second =
            Setup::new(&fleet(upstream.address())).listener("more", &format!("127.0.0.1:{taken}"));
        let (code, _, stderr) = output(&mut second.command("serve"));
        assert_eq!(code, Some(1), "{stderr}");
        assert!(
            stderr.contains(&format!("127.0.0.1:{taken}")) && stderr.contains("in use"),
            "{stderr}"
        );
    }
}

#[test]
fn without_io_uring_it_refuses_and_names_the_likely_cause() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address()));
    let mut command = setup.command("serve");
    #[expect(
        unsafe_code,
        reason = "a filter can only be installed between fork and exec"
    )]
    // SAFETY: the closure only makes system calls.
    unsafe {
        command.pre_exec(forbid_io_uring);
    }
    let (code, _, stderr) = output(command.stdout(Stdio::null()));
    assert_eq!(code, Some(1), "{stderr}");
    assert!(
        stderr.contains("io_uring") && stderr.contains("seccomp"),
        "{stderr}"
    );
}

/// Installs a seccomp filter that answers io_uring_setup with EPERM, as container runtimes do.
#[expect(unsafe_code, reason = "there is no safe way to install a filter")]
fn forbid_io_uring() -> std::io::Result<()> {
    let statement = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let number = u32::try_from(libc::SYS_io_uring_setup).unwrap_or_default();
    let eperm = libc::SECCOMP_RET_ERRNO | libc::EPERM.cast_unsigned();
    let mut filter = [
        statement(0x20, 0, 0, 0),
        statement(0x15, 0, 1, number),
        statement(0x06, 0, 0, eperm),
        statement(0x06, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog {
        len: 4,
        filter: filter.as_mut_ptr(),
    };
    // SAFETY: plain numbers.
    let privileges = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    // SAFETY: the program and its filter live until the call returns.
    let installed = unsafe {
        libc::prctl(
            libc::PR_SET_SECCOMP,
            libc::SECCOMP_MODE_FILTER,
            &raw const program,
        )
    };
    if privileges == 0 && installed == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}
