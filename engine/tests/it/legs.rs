//! The two legs as TCP has them: what the kernel asks of devices and upstreams, and peers that are gone without a word.

use std::net::SocketAddr;
use std::time::Duration;

use super::harness::fleet::{fleet, fleet_with, new_sim};
use super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::sockets::{Told, of_process, vanish};
use super::harness::wait_until;

/// What B-KEEP-7 has of every upstream: idle time, interval, retries.
const ASKED: (Duration, Duration, u32) = (Duration::from_secs(60), Duration::from_secs(15), 4);

/// One and a half of the longest keep alive that a device may ask for.
const LONGEST_SILENCE: Duration = Duration::from_secs(1800);

/// The engine's sockets towards devices, listeners among them, and towards an upstream.
fn legs(ringbeam: &Ringbeam, upstream: &Upstream) -> (Vec<Told>, Vec<Told>) {
    let sockets = of_process(ringbeam.id());
    let of = |is_leg: &dyn Fn(&Told) -> bool| sockets.iter().copied().filter(is_leg).collect();
    let entry: SocketAddr = ringbeam.address();
    let is_device = |told: &Told| told.local.port() == entry.port();
    let is_upstream = |told: &Told| told.remote == Some(upstream.address());
    (of(&is_device), of(&is_upstream))
}

fn check(told: &[Told], is_right: impl Fn(&Told) -> bool) {
    assert!(!told.is_empty() && told.iter().all(is_right), "{told:#?}");
}

// B-KEEP-7
#[test]
fn b_keep_7_tcp_asks_upstreams_whether_they_are_there_and_never_a_device() {
    let upstream = Upstream::listen();
    let renewed = |_: &str, object: &mut serde_json::Value| object["renewUpstream"] = true.into();
    let setup =
        Setup::new(&fleet_with(upstream.address(), renewed)).engine("stall_timeout_ms = 45000");
    let mut ringbeam = setup.start();
    let (device, first) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let check_both = |count: usize| {
        let (devices, upstreams) = legs(&ringbeam, &upstream);
        let listeners = devices.iter().filter(|told| told.remote.is_none()).count();
        // Connections have what their listeners have.
        assert!(
            listeners > 0 && devices.len() == listeners + 1,
            "{devices:#?}"
        );
        check(&devices, |told| told.keep_alive.is_none());
        // The kernel's own patience, a quarter of an hour, would end a sleeping device that is sent something.
        check(&devices, |told| told.user_timeout > Some(LONGEST_SILENCE));
        assert_eq!(upstreams.len(), count);
        check(&upstreams, |told| told.keep_alive == Some(ASKED));
        check(&upstreams, |told| {
            told.user_timeout == Some(Duration::from_millis(45_000))
        });
    };
    check_both(1);
    // The same of an upstream that takes another's place.
    drop(first);
    let (second, _) = upstream.accept_connect(connack(4));
    ringbeam.wait_for_log(&[("message", "upstream renewed")]);
    check_both(1);
    drop((device, second));
    ringbeam.end();
}

// B-KEEP-7
#[test]
fn b_keep_7_a_broker_that_vanished_is_noticed_in_time_and_named() {
    let upstream = Upstream::listen();
    let setup = Setup::new(&fleet(upstream.address())).engine("stall_timeout_ms = 1000");
    let mut ringbeam = setup.start();
    let (mut device, mut broker) = upstream.session(ringbeam.address(), new_sim(1), 4);
    vanish(broker.stream());
    device.send(&publish("t", b"into the void"));
    device.expect_closed();
    let ended = ringbeam.wait_for_log(&[("message", "session ended")]);
    assert_eq!(
        (&ended["reason"], &ended["detail"]),
        (&"upstream_stalled".into(), &"Connection timed out".into())
    );
    ringbeam.end();
}

// B-KEEP-7, B-TOK-1
#[test]
fn b_keep_7_a_broker_that_vanished_is_replaced_where_the_upstream_is_renewed() {
    let upstream = Upstream::listen();
    let renewed = |_: &str, object: &mut serde_json::Value| object["renewUpstream"] = true.into();
    let fleet = fleet_with(upstream.address(), renewed);
    let mut ringbeam = Setup::new(&fleet).engine("stall_timeout_ms = 1000").start();
    let (mut device, mut broker) = upstream.session(ringbeam.address(), new_sim(1), 4);
    vanish(broker.stream());
    // QoS 1, packet identifier 1.
    device.send(b"\x32\x06\0\x01t\0\x01x");
    let (mut second, _) = upstream.accept_connect(connack(4));
    let again = second.packet();
    assert_eq!(
        (again[0], again.last()),
        (0x3a, Some(&b'x')),
        "{again:02x?}"
    );
    second.send(b"\x40\x02\0\x01");
    device.expect(b"\x40\x02\0\x01");
    drop((device, second));
    ringbeam.end();
}

// B-KEEP-7: what a device was sent while it slept is there when it wakes.
#[test]
fn b_keep_7_a_device_that_hears_nothing_for_a_while_loses_nothing() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address())).start();
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "sleeper"));
    let (mut broker, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    vanish(device.stream());
    broker.send(&publish("t", b"good morning"));
    // It is sent again and again.
    wait_until("a retransmission", || retransmissions(&mut device) >= 2);
    socket2::SockRef::from(&*device.stream())
        .detach_filter()
        .unwrap();
    device.expect(&publish("t", b"good morning"));
    drop((device, broker));
    ringbeam.end();
}

/// How often the kernel has sent again what a device has not acknowledged, by /proc/net/tcp.
fn retransmissions(device: &mut Peer) -> u32 {
    let hex = |address: SocketAddr| match address {
        SocketAddr::V4(address) => {
            format!(
                "{:08X}:{:04X}",
                u32::from_ne_bytes(address.ip().octets()),
                address.port()
            )
        }
        SocketAddr::V6(_) => unreachable!("devices of these tests have IPv4"),
    };
    let here = hex(device.stream().local_addr().unwrap());
    let there = hex(device.stream().peer_addr().unwrap());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let row = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        (fields.get(1) == Some(&&*there) && fields.get(2) == Some(&&*here))
            .then(|| fields[6].to_owned())
    });
    row.map_or(0, |count| u32::from_str_radix(&count, 16).unwrap())
}
