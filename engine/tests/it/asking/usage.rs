//! Usage as it is collected (B-BILL-1).

use ringbeam_proto::platform::Platform;

use super::super::harness::fleet::{fleet, new_imsi, new_sim, old_imsi, old_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{Peer, Upstream, connack, connect_packet, publish};
use super::super::harness::{PATIENCE, wait_until};
use super::{Billed, add, collect, collector, shards};

#[test]
fn b_bill_1_counts_go_per_imsi() {
    let upstream = Upstream::listen();
    let inside = Inside::start_before(&fleet(upstream.address()), shards(2), collector());
    let (server, address) = (&inside.server, inside.address);
    for (from, messages) in [(new_sim(1), 3), (new_sim(2), 1), (new_sim(1), 2)] {
        let (mut device, mut peer) = upstream.session(address, from, 4);
        for _ in 0..messages {
            device.send(&publish("t", b"x"));
            peer.packet();
        }
        // PINGREQ is not billed under 201912.
        device.send(&[0xc0, 0, 0xe0, 0]);
        assert_eq!(peer.rest(), [0xc0, 0, 0xe0, 0]);
    }
    wait_until("sessions to end", || server.totals().live == 0);
    let mut billed = Billed::new();
    collect(server, &mut billed);
    let expected = Billed::from([(new_imsi(1), (5, 5)), (new_imsi(2), (1, 1))]);
    assert_eq!(billed, expected);
    collect(server, &mut billed);
    assert_eq!(billed, expected, "told twice");
}

#[test]
fn b_bill_1_usage_says_platform_and_protocol_and_only_what_is_new() {
    let upstream = Upstream::listen();
    let inside = Inside::start_before(&fleet(upstream.address()), shards(1), collector());
    let (mut device, mut peer) = upstream.session(inside.address, old_sim(1), 4);
    for round in 1..4 {
        // Both are billed under 201509, and so is what comes back.
        device.send(&[&publish("t", b"x")[..], &[0xc0, 0]].concat());
        peer.packet();
        assert_eq!(peer.packet(), [0xc0, 0]);
        peer.send(&publish("d", b"x"));
        device.packet();
        let share = inside.server.collect_usage();
        let share = share.recv_timeout(PATIENCE).unwrap();
        let [usage] = share.usage[..] else {
            panic!("round {round}: {share:?}");
        };
        assert_eq!((share.shard, usage.imsi.to_string()), (0, old_imsi(1)));
        assert_eq!((usage.platform, usage.over_tls), (Platform::V201509, false));
        let counts = (usage.counts.device_leg, usage.counts.upstream_leg);
        // The last send may be billed after its bytes have come.
        assert!(
            counts.0 >= 2 && counts.0 <= 4 && counts.1 == 3,
            "{counts:?}"
        );
    }
}

/// However often it is collected, while messages flow and sessions come and go: all of it is told, and once.
#[test]
fn b_bill_1_what_is_billed_is_told_once_until_the_last_shard_has_ended() {
    const SIMS: u16 = 6;
    let upstream = Upstream::listen();
    let inside = Inside::start_before(&fleet(upstream.address()), shards(3), collector());
    let (server, address) = (&inside.server, inside.address);
    let mut billed = Billed::new();
    let mut expected = Billed::new();
    let mut stay = Vec::new();
    for round in 0..30 {
        let number = round % SIMS;
        let (mut device, mut peer) = upstream.session(address, new_sim(number), 4);
        for _ in 0..=round {
            device.send(&publish("t", b"x"));
        }
        if round % 3 == 0 {
            // Whoever asks and does not wait takes nothing away.
            server.collect_usage();
        }
        collect(server, &mut billed);
        for _ in 0..=round {
            peer.packet();
        }
        let sum = expected.entry(new_imsi(number)).or_default();
        sum.0 += u64::from(round) + 1;
        sum.1 += u64::from(round) + 1;
        if round % 2 == 0 {
            stay.push((device, peer));
        }
    }
    server.drain(100);
    for _ in 0..server.shards() {
        let ended = server.ended().recv_timeout(PATIENCE).unwrap();
        add(&mut billed, ended.result.unwrap().usage);
    }
    // And what nobody has waited for.
    let unread = server.collect_usage().try_iter();
    unread.for_each(|share| add(&mut billed, share.usage));
    assert_eq!(billed, expected);
}

#[test]
fn usage_that_nobody_collects_is_not_kept() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(1));
    let mut device = Peer::connect(new_sim(1), inside.address);
    device.send(&connect_packet(4, "device"));
    let (mut peer, _) = upstream.accept_connect(connack(4));
    device.expect(connack(4));
    device.send(&publish("t", b"x"));
    peer.packet();
    let mut billed = Billed::new();
    collect(&inside.server, &mut billed);
    inside.server.stop();
    let ended = inside.server.ended().recv_timeout(PATIENCE).unwrap();
    let left = ended.result.unwrap();
    assert_eq!((left.totals.billed.device_leg, left.usage.len()), (1, 0));
    assert_eq!(billed, Billed::new());
}
