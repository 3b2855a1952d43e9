//! B-ID-8: devices that are quicker than the word of their sessions wait for it, and harm nobody meanwhile.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::scope;
use std::time::Duration;

use serde_json::json;

use super::super::harness::fleet::{fleet, new_imsi, new_sim, new_sim_id};
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::super::harness::radius::{SECRET, radclient};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::smf::Smf;
use super::super::harness::{raise_descriptor_limit, wait_until};

const RADIUS: &str = "[[radius]]\naddress = \"127.0.0.1:0\"\nnetworks = { \"iot.example\" = \"default\" }\n\
                      clients = [ { cidr = \"127.0.0.0/16\", secret_file = \"radius.secret\" } ]";

/// How long it is listened for an answer that must not come.
const SILENCE: Duration = Duration::from_millis(300);

/// Longer than any test takes: whoever waits is not refused.
const FOREVER: &str = "unknown_address_wait_ms = 3600000";

/// An engine that is told of sessions by RADIUS, in network `default` alone.
fn told(upstream: &Upstream, wait: &str) -> Setup {
    let setup = Setup::new(&fleet(upstream.address()));
    let setup = setup.embedded().control().engine(wait);
    let setup = setup.listener("untold", "127.0.0.1:0");
    setup.file("radius.secret", SECRET).section(RADIUS)
}

/// The address of session `number`, which no SIM has of its own.
fn address(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(127, 7, high, low)
}

/// An accounting request as radclient reads it.
fn request(status: &str, number: u16) -> String {
    format!(
        "Acct-Status-Type = {status}\nAcct-Session-Id = \"s{number}\"\nNAS-IP-Address = 10.0.0.9\n\
         Called-Station-Id = \"iot.example\"\nFramed-IP-Address = {}\n3GPP-IMSI = \"{}\"\n",
        address(number),
        new_imsi(number)
    )
}

#[track_caller]
fn tell(ringbeam: &Ringbeam, requests: &[String]) {
    let server = ringbeam.radius()[0];
    let (is_answered, said) = radclient(server, SECRET, "acct", &requests.join("\n"));
    assert!(is_answered, "{said}");
}

/// A device whose CONNECT is sent, and its client id its SIM's IMSI.
fn early(to: SocketAddr, number: u16) -> Peer {
    let mut device = Peer::connect(address(number), to);
    device.send(&connect_packet(4, &new_imsi(number)));
    device
}

/// Devices that have sent such a CONNECT are served, each as the SIM that it is.
fn are_served(devices: &mut [(u16, Peer)], upstream: &Upstream) {
    let mut peers: BTreeMap<Vec<u8>, Peer> = devices
        .iter()
        .map(|_| upstream.accept_connect(connack(4)))
        .map(|(peer, connect)| (connect, peer))
        .collect();
    for (number, device) in devices {
        let imsi = new_imsi(*number);
        device.expect(connack(4));
        device.send(&publish("t", b"x"));
        let peer = peers.get_mut(&connect_packet(4, &imsi)).unwrap();
        peer.expect(&publish(&format!("t/{imsi}"), b"x"));
    }
}

#[test]
fn b_id_8_a_device_that_is_quicker_than_its_radius_start_is_served() {
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, FOREVER).with_user().start();
    let to = ringbeam.address();
    for (number, version) in [(1, 3), (2, 4), (3, 5)] {
        let mut device = Peer::connect(address(number), to);
        let connect = connect_packet(version, "early");
        device.send(&connect);
        device.expect_silence(SILENCE);
        // What comes behind the CONNECT waits with it.
        device.send(&[0xc0, 0]);
        device.expect_silence(SILENCE);
        assert!(upstream.is_untouched());
        tell(&ringbeam, &[request("Start", number)]);
        let (mut peer, arrived) = upstream.accept_connect(connack(version));
        assert_eq!(arrived, connect);
        device.expect(connack(version));
        peer.expect(&[0xc0, 0]);
        peer.send(&[0xd0, 0]);
        device.expect(&[0xd0, 0]);
        // B-ID-4: it is a session as any other.
        tell(&ringbeam, &[request("Stop", number)]);
        device.expect_closed();
        peer.expect_closed();
        // And its address is nobody's again.
        let mut again = early(to, number);
        again.expect_silence(SILENCE);
    }
    ringbeam.end();
}

#[test]
fn b_id_8_a_device_that_is_quicker_than_the_next_question_to_open5gs_is_served() {
    let (smf, upstream) = (Smf::start(100), Upstream::listen());
    let section = format!("[[open5gs]]\nurl = \"{}\"\ninterval_ms = 100", smf.url());
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .embedded()
        .control()
        .engine(FOREVER)
        .section(&section)
        .with_user()
        .start();
    let mut device = early(ringbeam.address(), 5);
    let lists = smf.lists();
    wait_until("lists without it", || smf.lists() >= lists + 3);
    device.expect_silence(SILENCE);
    smf.set(&[(&new_imsi(5), "127.7.0.5")]);
    are_served(&mut [(5, device)], &upstream);
}

/// A packet core is not the only one who says whose an address is.
#[test]
fn b_id_8_whatever_makes_an_address_somebodys_ends_the_wait() {
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, FOREVER).with_user().start();
    let to = ringbeam.address();
    let api = ringbeam.api();
    // A SIM that is made with the address.
    let mut device = Peer::connect(address(300), to);
    device.send(&connect_packet(4, "made"));
    device.expect_silence(SILENCE);
    let body = json!({"simId": "8981100000000009000", "imsi": "440100009000000", "groupId": "new", "ip": "127.7.1.44"});
    api.put("/ringbeam/v1/sims", &body).expect(201);
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    device.send(&publish("t", b"x"));
    peer.expect(&publish("t/440100009000000", b"x"));
    // An address that the operator gives to a SIM.
    let device = early(to, 7);
    let body = json!({"ip": "127.7.0.7"});
    let path = format!("/ringbeam/v1/sims/{}/session", new_sim_id(7));
    api.put(&path, &body).expect(200);
    are_served(&mut [(7, device)], &upstream);
    // One that was a SIM's before, and is again.
    tell(&ringbeam, &[request("Start", 8)]);
    let (mut old, mut old_peer) = upstream.session(to, address(8), 4);
    tell(&ringbeam, &[request("Stop", 8)]);
    old.expect_closed();
    old_peer.expect_closed();
    let device = early(to, 8);
    tell(&ringbeam, &[request("Start", 8).replace("s8", "s8b")]);
    are_served(&mut [(8, device)], &upstream);
    ringbeam.end();
}

#[test]
fn b_id_8_b_id_2_after_the_wait_it_is_refused_and_elsewhere_at_once() {
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, "unknown_address_wait_ms = 2000")
        .with_user()
        .start();
    for (version, expected) in [(4, &[0x20, 2, 0, 5][..]), (5, &[0x20, 3, 0, 0x87, 0])] {
        let mut device = Peer::connect(address(1), ringbeam.address());
        device.send(&connect_packet(version, "nobody"));
        device.expect_silence(SILENCE);
        assert_eq!(device.rest(), expected);
    }
    ringbeam.wait_for_logs(2, "reason", "refused_unknown_address");
    // Nobody tells of sessions there. That it is at once the longer wait shows, and the reload that it takes none.
    let setup = ringbeam.setup_mut();
    let text = std::fs::read_to_string(setup.config()).unwrap();
    let text = text.replace("wait_ms = 2000", "wait_ms = 3600000");
    std::fs::write(setup.config(), text).unwrap();
    assert!(ringbeam.reload());
    let mut device = Peer::connect(address(1), ringbeam.address());
    device.send(&connect_packet(4, "nobody"));
    let mut untold = Peer::connect(address(1), ringbeam.address_of("untold"));
    untold.send(&connect_packet(4, "nobody"));
    assert_eq!(untold.rest(), [0x20, 2, 0, 5]);
    device.expect_silence(SILENCE);
    assert!(upstream.is_untouched());
    ringbeam.end();
}

#[test]
fn b_id_8_who_hangs_up_gives_its_place_back_and_one_address_has_a_few() {
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, FOREVER)
        .engine("max_sessions_per_sim = 2")
        .with_user()
        .start();
    let to = ringbeam.address();
    let waits = || {
        let mut device = early(to, 1);
        let waits = !device.answers_within(SILENCE);
        waits.then_some(device)
    };
    let (first, second) = (waits().unwrap(), waits().unwrap());
    assert!(waits().is_none(), "a third one does not wait");
    drop(first);
    let mut third = None;
    wait_until("the place of the first", || {
        third = waits();
        third.is_some()
    });
    second.reset();
    wait_until("the place of the second", || waits().is_some());
    tell(&ringbeam, &[request("Start", 1)]);
    are_served(&mut [(1, third.unwrap())], &upstream);
    ringbeam.end();
}

#[test]
fn b_id_8_a_drain_ends_who_waits() {
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, FOREVER).with_user().start();
    let mut device = early(ringbeam.address(), 1);
    device.expect_silence(SILENCE);
    // Nothing is left behind.
    ringbeam.end();
    device.rest();
    assert!(upstream.is_untouched());
}

#[test]
fn b_id_8_a_thousand_wait_at_once_and_each_is_served_as_who_it_is() {
    raise_descriptor_limit();
    let upstream = Upstream::listen();
    let mut ringbeam = told(&upstream, FOREVER).with_user().start();
    let to = ringbeam.address();
    let numbers = 0..1_000_u16;
    let mut devices: Vec<(u16, Peer)> = numbers
        .clone()
        .map(|number| (number, early(to, number)))
        .collect();
    // A crowd beside them, each from an address of its own that stays nobody's.
    let crowd: Vec<Peer> = (0..4_000_u16)
        .map(|number| {
            let [high, low] = number.to_be_bytes();
            let mut device = Peer::connect(Ipv4Addr::new(127, 9, high, low), to);
            device.send(&connect_packet(4, "crowd"));
            device
        })
        .collect();
    devices[0].1.expect_silence(SILENCE);
    devices[999].1.expect_silence(SILENCE);
    let starts: Vec<String> = numbers.map(|number| request("Start", number)).collect();
    scope(|scope| {
        scope.spawn(|| {
            starts
                .chunks(250)
                .for_each(|starts| tell(&ringbeam, starts));
        });
        are_served(&mut devices, &upstream);
    });
    drop((devices, crowd));
    ringbeam.end();
}

/// Whoever has no SIM, and comes as often as it can.
#[test]
fn b_id_8_a_flood_of_unknown_addresses_harms_nobody() {
    raise_descriptor_limit();
    let upstream = Upstream::listen();
    // Room for 2,260 connections that are no sessions, or half as many sessions.
    let mut ringbeam = told(&upstream, FOREVER)
        .descriptors(3_000)
        .argument("--log")
        .argument("warn,ringbeam::serve=info,ringbeam::control=info")
        .with_user()
        .start();
    let to = ringbeam.address();
    let mut waiting: Vec<(u16, Peer)> =
        (0..300).map(|number| (number, early(to, number))).collect();
    waiting[299].1.expect_silence(SILENCE);
    let starts: Vec<String> = (0..300).map(|number| request("Start", number)).collect();
    let (is_over, came) = (AtomicBool::new(false), AtomicUsize::new(0));
    let flood = |hosts: u8, keeps: usize| {
        let (is_over, came) = (&is_over, &came);
        move || {
            let mut kept = Vec::new();
            for number in 0_usize.. {
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
                let host = u8::try_from(number % usize::from(hosts)).unwrap();
                let from = Ipv4Addr::new(127, 9, hosts, host);
                let Ok(mut device) = Peer::try_connect(from, to) else {
                    continue;
                };
                drop(device.try_send(&connect_packet(4, "flood")));
                came.fetch_add(1, Ordering::Relaxed);
                kept.push(device);
                if kept.len() > keeps {
                    kept.remove(0);
                }
            }
        }
    };
    scope(|scope| {
        // One that comes from one address, one from 200.
        scope.spawn(flood(1, 1_000));
        scope.spawn(flood(200, 6_000));
        let end = EndsWhenDropped(&is_over);
        wait_until("the flood", || came.load(Ordering::Relaxed) > 7_000);
        // SIMs that are known are served meanwhile, those that wait when their sessions are told of.
        let known: Vec<_> = (1_000..1_100)
            .map(|number| upstream.session(to, new_sim(number), 4))
            .collect();
        scope.spawn(|| tell(&ringbeam, &starts));
        are_served(&mut waiting, &upstream);
        drop((known, end));
    });
    drop(waiting);
    let stopped = ringbeam.end();
    assert!(
        stopped["ended"].as_str().unwrap().contains("made_room="),
        "{stopped}"
    );
}

/// Lets a flood end, also where a test fails.
struct EndsWhenDropped<'a>(&'a AtomicBool);

impl Drop for EndsWhenDropped<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
