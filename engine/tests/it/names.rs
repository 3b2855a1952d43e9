//! Names, addresses and the pace of upstream connects (B-CON-4), through the whole engine in this process
//! with a resolver that knows the test's names, and through the binary with the system's.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use ringbeam::config::{Config, EngineConfig, Listener, UpstreamConfig};
use ringbeam::fleet::Fleet;
use ringbeam::resolver::{Resolver, Unresolved};
use ringbeam::server::Server;
use ringbeam::tls::Roots;
use serde_json::Value;
use socket2::{Domain, Socket, Type};

use super::harness::authority::Authority;
use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim};
use super::harness::peer::{Peer, Upstream, connack, connect_packet};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::tls_server::TlsServer;
use super::harness::wait_until;

/// The fleet with a destination by name.
fn fleet_to(host: &str, port: u16) -> Value {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    fleet_with(nowhere, |_, object| {
        object["destination"] = format!("mqtt://{host}:{port}").into();
    })
}

/// The engine in this process, to whose resolver `broker.test` has these addresses.
fn engine(found: &[SocketAddr], upstream: UpstreamConfig) -> (Server, SocketAddr) {
    let found: Arc<[SocketAddr]> = found.into();
    let resolver = Resolver::start_with(move |host, _| match host {
        "broker.test" => Ok(Arc::clone(&found)),
        _ => Err(Unresolved::Failed("unknown".into())),
    })
    .unwrap();
    let fleet = Fleet::from_json("a test", fleet_to("broker.test", 1883).to_string()).unwrap();
    let tls = ringbeam::serve::clients(Roots::system(), &fleet, None).unwrap();
    let config = config(upstream);
    let server = Server::start_with(&config, fleet, tls, &resolver).unwrap();
    let address = server.addresses()[0].1;
    (server, address)
}

fn config(upstream: UpstreamConfig) -> Config {
    Config {
        listeners: vec![Listener {
            network: "default".into(),
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        }],
        engine: EngineConfig {
            pin: false,
            shards: 2,
            // Whoever had to wait for an address until its time is over would wait forever.
            upstream_timeout: Duration::from_secs(3_600),
            ..EngineConfig::default()
        },
        upstream,
        ..Config::default()
    }
}

/// An address where nobody listens.
fn closed() -> SocketAddr {
    Upstream::listen().address()
}

/// An address that never answers while what comes with it lives: its backlog is full.
fn silent() -> (Vec<Socket>, SocketAddr) {
    let socket = || Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let listener = socket();
    let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap();
    let mut sockets = vec![listener];
    for _ in 0..4 {
        let filler = socket();
        filler.set_nonblocking(true).unwrap();
        drop(filler.connect(&address));
        sockets.push(filler);
    }
    (sockets, address.as_socket().unwrap())
}

#[test]
fn b_con_4_an_address_that_refuses_or_says_nothing_leaves_the_session_to_the_next_one() {
    let (_sockets, silent) = silent();
    let upstream = Upstream::listen();
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, upstream.address().port()));
    for bad in [closed(), silent, v6] {
        for found in [[bad, upstream.address()], [upstream.address(), bad]] {
            let (_server, address) = engine(&found, UpstreamConfig::default());
            for number in 0..3 {
                upstream.session(address, new_sim(number), 4);
            }
        }
    }
}

#[test]
fn b_con_4_a_broker_on_ipv6_alone_is_reached_by_a_name_that_has_both() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        eprintln!("this host has no IPv6 loopback address: nothing is tested here");
        return;
    };
    let v6 = listener.local_addr().unwrap();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, v6.port()));
    for found in [[v4, v6], [v6, v4]] {
        let (_server, address) = engine(&found, UpstreamConfig::default());
        let mut device = Peer::connect(new_sim(1), address);
        device.send(&connect_packet(4, "device"));
        let (mut upstream, _) = listener.accept().unwrap();
        upstream.write_all(connack(4)).unwrap();
        device.expect(connack(4));
    }
}

#[test]
fn b_con_4_the_binary_reaches_every_address_of_localhost() {
    let mut addresses: Vec<_> = ("localhost", 0).to_socket_addrs().unwrap().collect();
    addresses.dedup();
    for address in addresses {
        // Only one of the name's addresses has a broker.
        let listener = TcpListener::bind(address).unwrap();
        let port = listener.local_addr().unwrap().port();
        let ringbeam = Ringbeam::start(&fleet_to("localhost", port));
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        let (_upstream, _) = listener.accept().unwrap();
    }
}

#[test]
fn b_con_4_a_refusal_names_every_address_and_its_reason() {
    let closed = [closed(), closed()];
    let ringbeam = Ringbeam::start(&fleet(closed[0]));
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    device.expect_closed();
    let line = ringbeam.wait_for_log(&[("reason", "refused_upstream_unreachable")]);
    assert_eq!(
        line["detail"],
        format!("{0}: {0}: Connection refused", closed[0])
    );
    let (server, address) = engine(&closed, UpstreamConfig::default());
    let mut device = Peer::connect(new_sim(1), address);
    device.send(&connect_packet(5, "device"));
    device.expect_closed();
    drop(server);
}

#[test]
fn connects_that_time_out_leave_no_descriptor_behind() {
    let (_sockets, silent) = silent();
    let ringbeam = Setup::new(&fleet(silent))
        .engine("upstream_timeout_ms = 500")
        .start();
    let before = ringbeam.descriptors();
    for _ in 0..5 {
        let mut device = Peer::connect(new_sim(1), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        device.expect_closed();
    }
    ringbeam.wait_for_logs(5, "reason", "refused_upstream_timeout");
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
}

/// So many devices connect at once. Returns when the broker saw each, since before the first, and the
/// devices' CONNACK codes.
fn rush(devices: u16, per_second: u32, timeout_ms: u64) -> (Vec<Duration>, Vec<u8>) {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine(&format!("upstream_timeout_ms = {timeout_ms}"))
        .engine("when_unavailable = \"connack\"")
        .section(&format!("[upstream]\nconnects_per_second = {per_second}"))
        .start();
    let ends = AtomicU16::new(0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let broker = scope.spawn(|| {
            let mut seen = Vec::new();
            let mut peers = Vec::new();
            loop {
                let mut peer = upstream.accept();
                if ends.load(Ordering::SeqCst) == devices {
                    return seen;
                }
                seen.push(start.elapsed());
                peer.packet();
                peer.send(connack(4));
                peers.push(peer);
            }
        });
        let mut sockets: Vec<_> = (0..devices)
            .map(|number| {
                let mut device = Peer::connect(new_sim(number), ringbeam.address());
                device.send(&connect_packet(4, "device"));
                device
            })
            .collect();
        let codes: Vec<_> = sockets
            .iter_mut()
            .map(|device| {
                let connack = device.packet();
                ends.fetch_add(1, Ordering::SeqCst);
                connack[3]
            })
            .collect();
        if codes.contains(&3) {
            let line = ringbeam.wait_for_log(&[("reason", "refused_upstream_busy")]);
            let detail = line["detail"].as_str().unwrap();
            assert!(
                detail.contains(&format!("{per_second} per second")),
                "{detail}"
            );
        }
        // It waits for one more, which tells it that this is all.
        let _last = Peer::connect(Ipv4Addr::LOCALHOST, upstream.address());
        (broker.join().unwrap(), codes)
    })
}

/// The broker sees no connect before its slot: however slow this machine is, that only makes it later.
fn check_pace(seen: &[Duration], per_second: u32) {
    for (number, at) in seen.iter().enumerate() {
        let slots = u32::try_from(number).unwrap();
        // The engine's clock counts milliseconds.
        let earliest =
            (Duration::from_secs(1) * slots / per_second).saturating_sub(Duration::from_millis(2));
        assert!(*at >= earliest, "connect {number} after {at:?}");
    }
}

#[test]
fn b_con_4_an_address_that_fails_in_tls_leaves_the_other_a_try() {
    let authority = Authority::new("Private Root");
    let good = TlsServer::listen(&authority.server());
    // One takes connections and says nothing, one speaks plain MQTT, one has somebody else's certificate.
    let mute = Upstream::listen();
    let plain = Upstream::listen();
    let other = TlsServer::listen(&Authority::new("Another Root").server());
    std::thread::scope(|scope| {
        let bad = [mute.address(), plain.address(), other.address()];
        scope.spawn(|| plain.accept());
        scope.spawn(|| other.try_accept().is_err());
        for bad in bad {
            let found: Arc<[SocketAddr]> = [bad, good.address()].into();
            let resolver = Resolver::start_with(move |_, _| Ok(Arc::clone(&found))).unwrap();
            let mut document = fleet_to("localhost.", 8883);
            for group in document["groups"].as_array_mut().unwrap() {
                let object =
                    &mut group["configuration"]["SoracomBeam"]["mqtt://beam.soracom.io:1883"];
                object["destination"] = "mqtts://localhost.".into();
            }
            let fleet = Fleet::from_json("a test", document.to_string()).unwrap();
            let roots = Roots::system().with_file(&authority.file()).unwrap();
            let tls = ringbeam::serve::clients(roots, &fleet, None).unwrap();
            let mut config = config(UpstreamConfig::default());
            config.engine.shards = 1;
            config.engine.upstream_timeout = Duration::from_secs(2);
            let server = Server::start_with(&config, fleet, tls, &resolver).unwrap();
            let address = server.addresses()[0].1;
            // The bad one is first for one of them at least, and is last for all that come after it.
            for number in 0..4 {
                drop(good.session(address, new_sim(number), 4));
            }
        }
    });
}

#[test]
fn b_con_4_an_address_that_never_answers_a_connect_comes_last_for_a_while() {
    let (mute, good) = (Upstream::listen(), Upstream::listen());
    let found: Arc<[SocketAddr]> = [mute.address(), good.address()].into();
    let resolver = Resolver::start_with(move |_, _| Ok(Arc::clone(&found))).unwrap();
    let fleet = Fleet::from_json("a test", fleet_to("broker.test", 1883).to_string()).unwrap();
    let tls = ringbeam::serve::clients(Roots::system(), &fleet, None).unwrap();
    let mut config = config(UpstreamConfig::default());
    config.engine.shards = 1;
    config.engine.upstream_timeout = Duration::from_millis(500);
    let server = Server::start_with(&config, fleet, tls, &resolver).unwrap();
    let address = server.addresses()[0].1;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..6 {
                good.accept_connect(connack(4));
            }
        });
        let mut served = 0;
        let mut refused = 0;
        while served < 6 {
            let mut device = Peer::connect(new_sim(1), address);
            device.send(&connect_packet(4, "device"));
            match device.try_packet() {
                Ok(connack) if connack[3] == 0 => served += 1,
                _ => refused += 1,
            }
        }
        assert_eq!(refused, 1);
    });
}

#[test]
fn b_con_4_thousands_at_once_are_all_answered_in_time() {
    let (seen, codes) = rush(2_000, 500, 2_000);
    let count = |expected| codes.iter().filter(|code| **code == expected).count();
    assert_eq!(count(0) + count(3), 2_000);
    assert!(count(0) > 0 && count(3) > 0);
    check_pace(&seen, 500);
}

#[test]
fn b_con_4_two_hundred_devices_at_once_reach_the_broker_at_its_pace() {
    let (seen, codes) = rush(200, 50, 30_000);
    assert_eq!(codes, [0; 200]);
    assert_eq!(seen.len(), 200);
    check_pace(&seen, 50);
}

#[test]
fn b_con_4_devices_whose_turn_would_come_too_late_are_refused_at_once() {
    let (seen, codes) = rush(100, 5, 2_000);
    let count = |expected| codes.iter().filter(|code| **code == expected).count();
    let (served, refused) = (count(0), count(3));
    assert_eq!(served + refused, 100, "{codes:?}");
    // A second's worth may wait; the others hear at once that they may not.
    assert!(served > 0 && refused > 0, "{codes:?}");
    assert!(seen.len() >= served);
    check_pace(&seen, 5);
}

#[test]
fn b_cfg_5_a_reload_changes_the_pace() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("upstream_timeout_ms = 4000")
        .section("[upstream]\nconnects_per_second = 1")
        .start();
    let connect = |number| {
        let mut device = Peer::connect(new_sim(number), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        device
    };
    // At one per second, of ten at once most are refused.
    let _waiting: Vec<_> = (0..10).map(connect).collect();
    ringbeam.wait_for_log(&[("reason", "refused_upstream_busy")]);
    let config = std::fs::read_to_string(ringbeam.setup().config()).unwrap();
    let config = config.replace("connects_per_second = 1", "connects_per_second = 0");
    std::fs::write(ringbeam.setup().config(), config).unwrap();
    assert!(ringbeam.reload());
    let mut devices: Vec<_> = (10..30).map(connect).collect();
    for device in &mut devices {
        // The upstream says nothing: what a device gets otherwise comes after its time-out.
        device.expect_closed();
    }
    for number in 10..30 {
        let line = ringbeam.wait_for_log(&[("imsi", &new_imsi(number))]);
        assert_ne!(line["reason"], "refused_upstream_busy", "{line}");
    }
}
