//! Many sessions, large messages, slow readers, peers that vanish at any moment: memory and descriptors
//! stay bounded and come back, and nobody's messages are lost for it.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::time::Duration;

use ringbeam::config::EngineConfig;

use super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim, old_imsi, old_sim};
use super::harness::inside::Inside;
use super::harness::mosquitto::Mosquitto;
use super::harness::peer::{Peer, Upstream, connack, connect_packet, packet, publish, string};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::{is_soak, raise_descriptor_limit, wait_until};

#[test]
fn five_thousand_sims_at_once_through_a_real_broker() {
    raise_descriptor_limit();
    let count: u16 = if is_soak() { 9_000 } else { 5_000 };
    let broker = Mosquitto::start_quiet();
    let mut ringbeam = Ringbeam::start(&fleet(broker.address()));
    let before = ringbeam.descriptors();
    let mut observer = Peer::connect(Ipv4Addr::LOCALHOST, broker.address());
    observer.send(&connect_packet(4, "observer"));
    observer.expect(connack(4));
    observer.send(&packet(
        0x82,
        &[&[0, 1][..], &string("all/#"), &[0]].concat(),
    ));
    observer.expect(&[0x90, 3, 0, 1, 0]);

    // Half of them under each version, in waves so that no backlog overflows.
    let sims: Vec<_> = (0..count / 2)
        .flat_map(|number| {
            [
                (new_sim(number), new_imsi(number)),
                (old_sim(number), old_imsi(number)),
            ]
        })
        .collect();
    let mut devices = Vec::new();
    for wave in sims.chunks(250) {
        let start = devices.len();
        for (from, imsi) in wave {
            let mut device = Peer::connect(*from, ringbeam.address());
            device.send(&connect_packet(4, imsi));
            devices.push(device);
        }
        for device in &mut devices[start..] {
            device.expect(connack(4));
        }
    }
    assert!(ringbeam.descriptors() >= before + 2 * usize::from(count));
    for device in &mut devices {
        device.send(&publish("all", b"here"));
    }
    let mut missing: BTreeSet<_> = sims
        .iter()
        .map(|(_, imsi)| publish(&format!("all/{imsi}"), b"here"))
        .collect();
    while !missing.is_empty() {
        let message = observer.packet();
        assert!(
            missing.remove(&message),
            "not expected, or twice: {message:02x?}"
        );
    }
    drop(devices);
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
    let stopped = ringbeam.end();
    assert_eq!(stopped["established"], count);
    assert_eq!(
        (&stopped["in_mqtt"], &stopped["out_mqtt"]),
        (&count.into(), &count.into())
    );
    // Both shards had their share, and SIMs moved to their owners.
    let handed_over = stopped["handed_over"].as_u64().unwrap();
    assert!(
        handed_over > u64::from(count) / 4 && handed_over < u64::from(count) * 3 / 4,
        "{handed_over}"
    );
}

#[test]
fn idle_sessions_hold_no_buffer() {
    raise_descriptor_limit();
    let upstream = Upstream::listen();
    let engine = EngineConfig {
        shards: 2,
        ..EngineConfig::default()
    };
    let Inside {
        server, address, ..
    } = Inside::start(&fleet(upstream.address()), engine);
    let mut sessions: Vec<_> = (0..200)
        .map(|number| upstream.session(address, new_sim(number), 4))
        .collect();
    for (number, (device, peer)) in (0..).zip(&mut sessions) {
        device.send(&publish("t", b"x"));
        peer.expect(&publish(&format!("t/{}", new_imsi(number)), b"x"));
        peer.send(&publish("d", b"x"));
        device.expect(&publish("d", b"x"));
        // A packet's beginning holds none either.
        device.send(&publish("t", b"x")[..4]);
    }
    wait_until("buffers to come home", || {
        server.totals().buffers_in_use == 0
    });
    assert_eq!(server.totals().live, 200);
    drop(sessions);
    wait_until("sessions to end", || server.totals().live == 0);
    assert_eq!(server.totals().buffers_in_use, 0);
}

#[test]
fn b_id_5_all_sessions_of_a_sim_live_on_one_shard() {
    let upstream = Upstream::listen();
    let engine = EngineConfig {
        shards: 4,
        max_sessions_per_sim: 5,
        ..EngineConfig::default()
    };
    let Inside {
        server, address, ..
    } = Inside::start(&fleet(upstream.address()), engine);
    // Forty connections arrive on any of four shards; were they counted apart, more than five would fit.
    let mut devices: Vec<_> = (0..40)
        .map(|_| {
            let mut device = Peer::connect(new_sim(1), address);
            device.send(&connect_packet(4, "device"));
            device
        })
        .collect();
    let peers: Vec<_> = (0..5)
        .map(|_| upstream.accept_connect(connack(4)))
        .collect();
    let accepted = devices
        .iter_mut()
        .map(Peer::try_packet)
        .filter(|packet| packet.as_ref().is_ok_and(|packet| packet[3] == 0))
        .count();
    assert_eq!(accepted, 5);
    assert!(upstream.is_untouched());
    assert!(server.totals().handed_over > 0);
    drop(peers);
}

#[test]
fn b_keep_5_one_slow_reader_does_not_stall_the_others() {
    let upstream = Upstream::listen();
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .start();
    let mut slow = Peer::connect_narrow(new_sim(1), ringbeam.address());
    slow.send(&connect_packet(4, "slow"));
    let (mut flood, _) = upstream.accept_connect(connack(4));
    slow.expect(connack(4));
    let message = publish("d", &vec![7; 1 << 20]);
    // More than the kernel keeps for all sockets and a pipe on the way.
    let count = 48;
    let whole = message.clone();
    let sender = std::thread::spawn(move || {
        for _ in 0..count {
            flood.send(&whole);
        }
        flood
    });
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(2), 4);
    for round in 0..200_u32 {
        device.send(&publish("t", &round.to_be_bytes()));
        peer.expect(&publish(
            &format!("t/{}", new_imsi(2)),
            &round.to_be_bytes(),
        ));
    }
    assert!(!sender.is_finished(), "the flood is held back");
    // And in the end the slow one has everything, in order.
    for _ in 0..count {
        assert!(slow.packet() == message);
    }
    drop(sender.join().unwrap());
}

#[test]
fn b_top_6_the_largest_message_passes_both_ways_with_memory_flat() {
    let upstream = Upstream::listen();
    let ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    // With its suffix it is the largest that MQTT can say: 268,435,455 bytes behind the length.
    let suffix = 16;
    let topic = "big";
    let payload = 268_435_455 - 2 - topic.len() - suffix;
    let before = ringbeam.resident_bytes();
    let mut peak = before;
    let mut largest =
        |from: &mut Peer, to: &mut Peer, sent: &str, arrives: &str, payload: usize| {
            let mut head = vec![0x30];
            let mut length = 2 + sent.len() + payload;
            while length > 0x7f {
                head.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
                length >>= 7;
            }
            head.push(u8::try_from(length).unwrap());
            head.extend(string(sent));
            let mut sending = from.stream().try_clone().unwrap();
            let sender = std::thread::spawn(move || {
                sending.write_all(&head).unwrap();
                let block: Vec<u8> = (0..=255).cycle().take(1 << 16).collect();
                let mut left = payload;
                while left > 0 {
                    let length = left.min(block.len());
                    sending.write_all(&block[..length]).unwrap();
                    left -= length;
                }
            });
            let start = to.bytes(5 + 2 + arrives.len());
            assert_eq!(&start[7..], arrives.as_bytes());
            let mut buffer = vec![0; 1 << 16];
            let mut position = 0;
            while position < payload {
                let length = (payload - position).min(buffer.len());
                to.stream().read_exact(&mut buffer[..length]).unwrap();
                for (offset, byte) in buffer[..length].iter().enumerate().step_by(251) {
                    assert_eq!(usize::from(*byte), (position + offset) & 0xff);
                }
                position += length;
                if position % (1 << 24) < (1 << 16) {
                    peak = peak.max(ringbeam.resident_bytes());
                }
            }
            sender.join().unwrap();
        };
    largest(
        &mut device,
        &mut peer,
        topic,
        &format!("{topic}/{}", new_imsi(1)),
        payload,
    );
    largest(&mut peer, &mut device, "down", "down", 268_435_455 - 6);
    assert!(peak < before + (8 << 20), "from {before} to {peak} bytes");
    // One byte more cannot be said with the suffix.
    let mut head = vec![0x30, 0xff, 0xff, 0xff, 0x7f];
    head.extend(string(topic));
    device.send(&head);
    device.expect_closed();
}

#[test]
fn a_device_that_vanishes_at_any_byte_leaks_nothing() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let before = ringbeam.descriptors();
    let script = [
        connect_packet(5, "device"),
        packet(0x32, &[&string("t")[..], &[0, 1, 0], &[b'x'; 40]].concat()),
        packet(
            0x82,
            &[&[0, 2, 0][..], &string("a/{{imsi}}"), &[1]].concat(),
        ),
        vec![0xc0, 0, 0xe0, 0],
    ]
    .concat();
    let connect_bytes = connect_packet(5, "device").len();
    // The upstream answers and reads on until it is closed.
    let listener = upstream.address();
    let server = std::thread::spawn(move || {
        let mut sessions = 0;
        loop {
            let mut peer = upstream.accept();
            if peer.try_packet().is_err() {
                break sessions;
            }
            sessions += 1;
            std::thread::spawn(move || {
                if peer.try_send(connack(5)).is_ok() {
                    let mut rest = [0; 256];
                    while peer.stream().read(&mut rest).is_ok_and(|count| count > 0) {}
                }
            });
        }
    });
    let mut connections = 0;
    for cut in 0..=script.len() {
        for does_reset in [false, true] {
            connections += 1;
            let mut device = Peer::connect(new_sim(1), ringbeam.address());
            device.send(&script[..cut]);
            if cut > connect_bytes + 20 {
                device.expect(connack(5));
            }
            if does_reset {
                device.reset();
            }
        }
    }
    wait_until("every connection to end", || {
        ringbeam
            .log_lines()
            .iter()
            .filter(|line| line["reason"].is_string())
            .count()
            >= connections
    });
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
    // Ends the scripted upstream.
    drop(Peer::connect(Ipv4Addr::LOCALHOST, listener));
    assert!(server.join().unwrap() > 0);
    ringbeam.end();
}

#[test]
fn an_upstream_that_vanishes_at_any_byte_leaks_nothing() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let before = ringbeam.descriptors();
    let script = [
        connack(5).to_vec(),
        vec![0xd0, 0],
        packet(0x32, b"\x00\x01d\x00\x01\x00payload"),
    ]
    .concat();
    let mut ended = 0;
    for cut in 0..=script.len() {
        for does_reset in [false, true] {
            let mut device = Peer::connect(new_sim(1), ringbeam.address());
            device.send(&connect_packet(5, "device"));
            let mut peer = upstream.accept();
            // In one half of the cases before it has even read the CONNECT.
            if cut % 2 == 0 {
                peer.packet();
            }
            peer.send(&script[..cut]);
            if does_reset {
                peer.reset();
            } else {
                drop(peer);
            }
            let told = device.rest();
            // Nothing before the handshake is through (B-CON-4), a prefix of the script after it.
            let is_refused = told.is_empty();
            assert!(
                is_refused || told.starts_with(connack(5)),
                "{cut}: {told:02x?}"
            );
            ended += 1;
        }
    }
    wait_until("every session to end", || {
        ringbeam
            .log_lines()
            .iter()
            .filter(|line| line["reason"].is_string())
            .count()
            >= ended
    });
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
    ringbeam.end();
}

#[test]
fn reloads_and_a_drain_under_traffic_lose_no_message_of_surviving_sessions() {
    let upstream = Upstream::listen();
    let mut ringbeam = Ringbeam::start(&fleet(upstream.address()));
    let mut threads = Vec::new();
    let (stop, stopped) = (
        std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false)),
        16_u16,
    );
    for number in 0..stopped {
        let (mut device, mut peer) = upstream.session(ringbeam.address(), new_sim(number), 4);
        let stop = std::sync::Arc::clone(&stop);
        threads.push(std::thread::spawn(move || {
            let topic = format!("t/{}", new_imsi(number));
            let mut sequence = 0_u32;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let batch: Vec<u8> = (sequence..sequence + 20)
                    .flat_map(|value| publish("t", &value.to_be_bytes()))
                    .collect();
                device.send(&batch);
                for value in sequence..sequence + 20 {
                    peer.expect(&publish(&topic, &value.to_be_bytes()));
                    peer.send(&publish("d", &value.to_be_bytes()));
                    device.expect(&publish("d", &value.to_be_bytes()));
                }
                sequence += 20;
            }
            (device, peer, sequence)
        }));
    }
    for round in 0..10 {
        let changed = fleet_with(upstream.address(), |_, object| {
            object["name"] = format!("{round}").into();
        });
        ringbeam.setup().write_fleet(&changed);
        assert!(ringbeam.reload());
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let survivors: Vec<_> = threads
        .into_iter()
        .map(|thread| thread.join().unwrap())
        .collect();
    ringbeam.signal("TERM");
    for (mut device, mut peer, sequence) in survivors {
        assert!(sequence > 0);
        device.expect_closed();
        assert_eq!(peer.rest(), [0xe0, 0]);
    }
    assert_eq!(ringbeam.wait().code(), Some(0));
}

#[test]
fn a_drain_under_connects_leaks_nothing() {
    end_under_connects("TERM");
}

#[test]
fn a_stop_under_connects_ends_and_leaks_nothing() {
    end_under_connects("INT");
}

fn end_under_connects(signal: &str) {
    let upstream = Upstream::listen();
    let mut ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("drain_timeout_ms = 5000")
        .start();
    let address = ringbeam.address();
    let connecting = std::thread::spawn(move || {
        let mut connected = 0;
        while let Ok(mut device) = Peer::try_connect(new_sim(connected % 50), address) {
            if device.try_send(&connect_packet(4, "device")).is_err() {
                break;
            }
            connected += 1;
            if device.answers_within(Duration::from_millis(1)) && connected % 3 == 0 {
                device.reset();
            }
        }
        connected
    });
    ringbeam.wait_for_logs(50, "level", "INFO");
    ringbeam.signal(signal);
    ringbeam.ended();
    assert!(connecting.join().unwrap() > 0);
}
