//! Exhaustion: every pool that peers can use up, used up. Nobody else loses anything by it, who does is told, and what
//! was taken comes back.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::net::{Ipv4Addr, Shutdown};
use std::thread::scope;
use std::time::Duration;

use ringbeam::limits::{
    BUFFER_BYTES, LARGE_HEAD_BYTES, PIPES, REFUSALS_AT_ONCE, RELAY_COMPLETIONS,
};

use super::harness::fleet::{fleet, new_imsi, new_sim};
use super::harness::mosquitto::Mosquitto;
use super::harness::peer::{Peer, Upstream, connack, connect_packet, packet, publish, string};
use super::harness::ringbeam::Setup;
use super::harness::{raise_descriptor_limit, wait_until};

/// An address that is no SIM's.
const UNKNOWN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// Devices that do not read.
const READERS: u16 = 40;

/// More sessions send at the same moment than there are buffers, and than the ring's queues have entries.
#[test]
fn more_senders_at_once_than_buffers_lose_nothing() {
    raise_descriptor_limit();
    let count = u16::try_from(RELAY_COMPLETIONS).unwrap() + 100;
    let broker = Mosquitto::start_quiet();
    let mut ringbeam = Setup::new(&fleet(broker.address()))
        .engine("shards = 1")
        .start();
    let mut observer = Peer::connect(Ipv4Addr::LOCALHOST, broker.address());
    observer.send(&connect_packet(4, "observer"));
    observer.expect(connack(4));
    let filter = [&[0, 1][..], &string("all/#"), &[0]].concat();
    observer.send(&packet(0x82, &filter));
    observer.expect(&[0x90, 3, 0, 1, 0]);
    let numbers: Vec<_> = (0..count).collect();
    let mut devices = Vec::new();
    // In waves, so that no backlog overflows.
    for wave in numbers.chunks(250) {
        let start = devices.len();
        for number in wave {
            let mut device = Peer::connect(new_sim(*number), ringbeam.address());
            device.send(&connect_packet(4, &new_imsi(*number)));
            devices.push(device);
        }
        for device in &mut devices[start..] {
            device.expect(connack(4));
        }
    }
    // The kernel looks at a few at a time; these have more for it than there are buffers.
    let payload = |number: u16| vec![7; if number < 100 { 60_000 } else { 7 }];
    ringbeam.freeze();
    for (number, device) in (0..).zip(&mut devices) {
        device.send(&publish("all", &payload(number)));
    }
    ringbeam.thaw();
    let mut missing: BTreeSet<_> = numbers
        .iter()
        .map(|number| publish(&format!("all/{}", new_imsi(*number)), &payload(*number)))
        .collect();
    while !missing.is_empty() {
        let message = observer.packet();
        assert!(missing.remove(&message), "not expected, or twice");
    }
    drop(devices);
    let stopped = ringbeam.end();
    assert!(
        stopped["buffers_exhausted"].as_u64().unwrap() > 0,
        "{stopped}"
    );
}

#[test]
fn more_large_messages_at_once_than_pipes_arrive_whole() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .start();
    let before = ringbeam.pipes();
    let numbers = 0..u16::try_from(PIPES).unwrap() + 4;
    let mut sessions: Vec<_> = numbers
        .clone()
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    let payload = |number: u16| -> Vec<u8> {
        let words = 0..1_u32 << 20;
        words
            .flat_map(|word| (word ^ (u32::from(number) << 24)).to_be_bytes())
            .collect()
    };
    let arrives: Vec<_> = numbers
        .clone()
        .map(|number| publish(&format!("t/{}", new_imsi(number)), &payload(number)))
        .collect();
    let half = arrives[0].len() / 2;
    // Each message is under way while all others are.
    scope(|scope| {
        for (number, (device, peer)) in numbers.clone().zip(&mut sessions) {
            let sent = publish("t", &payload(number));
            let expected = &arrives[usize::from(number)];
            scope.spawn(move || device.send(&sent[..half]));
            // All of the first half but what the suffix moves behind it.
            scope.spawn(move || assert!(peer.bytes(half)[..] == expected[..half]));
        }
    });
    assert_eq!(ringbeam.pipes() - before, 2 * PIPES);
    scope(|scope| {
        for (number, (device, peer)) in numbers.zip(&mut sessions) {
            let sent = publish("t", &payload(number));
            let expected = &arrives[usize::from(number)];
            scope.spawn(move || device.send(&sent[half..]));
            scope.spawn(move || assert!(peer.bytes(expected.len() - half)[..] == expected[half..]));
        }
    });
    drop(sessions);
    ringbeam.end();
}

/// Devices that do not read, of which some hold more than others when all that may wait does.
#[test]
fn b_top_6_of_slow_readers_those_with_most_end_and_all_others_go_on() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("waiting_bytes = 1048576")
        .start();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(0), 5);
    let mut readers: Vec<_> = (1..=READERS)
        .map(|number| {
            let mut reader = Peer::connect_narrow(new_sim(number), ringbeam.address());
            reader.send(&connect_packet(5, "reader"));
            let (broker, _) = upstream.accept_connect(connack(5));
            reader.expect(connack(5));
            (reader, broker)
        })
        .collect();
    let message = packet(
        0x30,
        &[&string("down")[..], &[0], &vec![7; 30_000]].concat(),
    );
    let mut sent = vec![0; readers.len()];
    for (_, broker) in &mut readers {
        broker.stream().set_nonblocking(true).unwrap();
    }
    wait_until("the first to end", || {
        for ((_, broker), sent) in readers.iter_mut().zip(&mut sent) {
            // As much as is taken; of those that have ended nothing is.
            while let Ok(count) = broker.stream().write(&message[*sent % message.len()..]) {
                *sent += count;
            }
        }
        let lines = ringbeam.log_lines();
        lines
            .iter()
            .any(|line| line["reason"] == "waiting_exhausted")
    });
    // Whoever has nothing to do with it is served.
    device.send(&packet(0x30, &[&string("t")[..], &[0]].concat()));
    let topic = string(&format!("t/{}", new_imsi(0)));
    peer.expect(&packet(0x30, &[&topic[..], &[0]].concat()));
    // So are those that held less, from where they were: what was sent arrives as it was.
    let mut whole = 0;
    for ((mut reader, mut broker), sent) in readers.into_iter().zip(sent) {
        // It says no more, and is not there where its session has ended.
        drop(broker.stream().shutdown(Shutdown::Write));
        let arrived = (0..sent / message.len()).all(|_| match reader.try_packet() {
            Ok(came) => {
                assert!(came == message, "not what was sent");
                true
            }
            Err(_) => false,
        });
        whole += usize::from(arrived);
    }
    drop((device, peer));
    ringbeam.end();
    let lines = ringbeam.log_lines();
    let ended = lines
        .iter()
        .filter(|line| line["reason"] == "waiting_exhausted");
    let ended = ended.count();
    assert_eq!(whole + ended, usize::from(READERS));
    assert!(whole > 0 && ended > 0, "{whole} go on, {ended} have ended");
}

/// What is larger than a buffer, of a device that is being served.
#[test]
fn b_err_5_whose_large_head_no_longer_fits_is_told_and_all_others_pass() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .start();
    let filters = string(&"f".repeat(60_000)).into_iter().chain([0]);
    let filters: Vec<_> = filters.collect::<Vec<_>>().repeat(4);
    let subscribe = packet(0x82, &[&[0, 1, 0][..], &filters].concat());
    let (last, head) = subscribe.split_last().unwrap();
    let fits = LARGE_HEAD_BYTES / (head.len() - BUFFER_BYTES);
    let count = fits + 30;
    let sims: Vec<_> = (0..u16::try_from(count).unwrap()).map(new_sim).collect();
    let mut sessions: Vec<_> = sims
        .iter()
        .map(|sim| upstream.session(ringbeam.address(), *sim, 5))
        .collect();
    for (device, _) in &mut sessions {
        device.send(head);
    }
    ringbeam.wait_for_logs(count - fits, "reason", "head_memory");
    let mut refused = 0;
    for (mut device, mut peer) in sessions {
        // It may be closed by now.
        drop(device.try_send(&[*last]));
        match peer.try_packet() {
            Ok(arrived) => assert!(arrived == subscribe),
            Err(_) => {
                device.expect(&[0xe0, 1, 0x97]);
                refused += 1;
            }
        }
    }
    assert!(
        (count - fits..count / 2).contains(&refused),
        "{refused} of {count}"
    );
    ringbeam.end();
}

/// What is larger than a buffer, of a device that connects.
#[test]
fn b_err_5_connects_that_no_longer_fit_end_and_all_others_are_served() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("connect_timeout_ms = 60000")
        .start();
    // Client id, the will's topic, and its message.
    let fields = string(&"x".repeat(65_535)).repeat(3);
    let body = [&b"\x00\x04MQTT\x04\x06\x00\x3c"[..], &fields].concat();
    let connect = packet(0x10, &body);
    let (last, head) = connect.split_last().unwrap();
    let fits = LARGE_HEAD_BYTES / (connect.len() - BUFFER_BYTES);
    let count = fits + 30;
    let mut devices = Vec::new();
    for number in 0..u16::try_from(count).unwrap() {
        let mut device = Peer::connect(new_sim(number), ringbeam.address());
        // It may be closed in the middle of it.
        drop(device.try_send(head));
        devices.push(device);
    }
    ringbeam.wait_for_logs(count - fits, "reason", "head_memory");
    let mut served = 0;
    for mut device in devices {
        let is_there = device.try_send(&[*last]).is_ok();
        if is_there && is_served(&mut device, &upstream, &connect) {
            served += 1;
        }
    }
    assert!(served > fits / 2 && served <= fits, "{served} of {count}");
    ringbeam.end();
}

/// Whether the engine serves a device whose CONNECT is whole, or else ends it.
fn is_served(device: &mut Peer, upstream: &Upstream, connect: &[u8]) -> bool {
    wait_until("an end or an upstream", || {
        upstream.is_waited_for() || device.answers_within(Duration::from_millis(1))
    });
    if !upstream.is_waited_for() {
        device.expect_closed();
        return false;
    }
    let (_peer, arrived) = upstream.accept_connect(connack(4));
    assert!(arrived == connect);
    device.expect(connack(4));
    true
}

#[test]
fn b_id_2_beyond_the_places_for_refusals_connections_are_closed_at_once() {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("connect_timeout_ms = 60000")
        .start();
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let mut silent: Vec<_> = (0..REFUSALS_AT_ONCE + 50)
        .map(|_| Peer::connect(UNKNOWN, ringbeam.address()))
        .collect();
    for connection in silent.drain(REFUSALS_AT_ONCE..) {
        Peer::expect_closed(&mut { connection });
    }
    device.send(&publish("t", b"meanwhile"));
    peer.expect(&publish(&format!("t/{}", new_imsi(1)), b"meanwhile"));
    // A SIM's device is served as before.
    let _other = upstream.session(ringbeam.address(), new_sim(2), 4);
    for connection in &mut silent {
        connection.send(&connect_packet(4, "device"));
        connection.expect(&[0x20, 2, 0, 5]);
    }
    drop(silent);
    wait_until("places to be free", || {
        let mut again = Peer::connect(UNKNOWN, ringbeam.address());
        // It may be closed before.
        drop(again.try_send(&connect_packet(4, "device")));
        again.rest() == [0x20, 2, 0, 5]
    });
    let stopped = ringbeam.end();
    assert!(stopped["dropped"].as_u64().unwrap() >= 50, "{stopped}");
}

#[test]
fn without_descriptors_accepting_pauses_and_no_session_is_harmed() {
    let upstream = Upstream::listen();
    // Too few for what is kept free otherwise.
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .engine("connect_timeout_ms = 60000")
        .descriptors(256)
        .start();
    let accepting = ringbeam.wait_for_log(&[("message", "accepting")]);
    assert_eq!(accepting["sessions"], 96);
    let mut sessions: Vec<_> = (0..95)
        .map(|number| upstream.session(ringbeam.address(), new_sim(number), 4))
        .collect();
    let before = ringbeam.descriptors();
    let mut late = Peer::connect(new_sim(95), ringbeam.address());
    wait_until("its descriptor", || ringbeam.descriptors() > before);
    let silent: Vec<_> = (0..200)
        .map(|_| Peer::connect(UNKNOWN, ringbeam.address()))
        .collect();
    ringbeam.wait_for_log(&[("message", "accepting pauses")]);
    assert_eq!(ringbeam.descriptors(), 256);
    // There is none for its upstream.
    late.send(&connect_packet(4, "late"));
    late.expect_closed();
    for (number, (device, peer)) in (0..).zip(&mut sessions) {
        device.send(&publish("t", b"as before"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"as before"));
    }
    // And none for a pipe.
    let (device, peer) = &mut sessions[0];
    let payload = vec![7; 3 << 20];
    scope(|scope| {
        scope.spawn(|| device.send(&publish("large", &payload)));
        let arrived = peer.packet();
        assert!(arrived == publish(&format!("large/{}", new_imsi(0)), &payload));
    });
    drop(silent);
    drop(late);
    sessions.push(upstream.session(ringbeam.address(), new_sim(95), 4));
    let mut beyond = Peer::connect(new_sim(96), ringbeam.address());
    beyond.send(&connect_packet(4, "beyond"));
    beyond.expect_closed();
    drop(sessions);
    ringbeam.end();
}
