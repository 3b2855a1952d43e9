//! Figures: what shards count, as whoever shows them gets them.

use std::collections::BTreeMap;

use ringbeam_proto::packet::Kind;
use ringbeam_proto::session::Side;
use ringbeam_proto::tally::Came;

use super::super::harness::PATIENCE;
use super::super::harness::fleet::{fleet, new_sim, old_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{Upstream, packet, publish, string};
use super::super::harness::wait_until;
use super::shards;

#[test]
fn figures_tell_what_came_and_what_there_is() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let server = &inside.server;
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 4);
    let (_old, _old_peer) = upstream.session(inside.address, old_sim(1), 4);
    let large = publish("t", &vec![7; 3_000_000]);
    let subscribe = packet(0x82, &[&[0, 1][..], &string("s"), &[0]].concat());
    device.send(&publish("t", b"x"));
    device.send(&subscribe);
    let sender = {
        let mut stream = device.stream().try_clone().unwrap();
        let large = large.clone();
        std::thread::spawn(move || std::io::Write::write_all(&mut stream, &large).unwrap())
    };
    for _ in 0..3 {
        peer.packet();
    }
    sender.join().unwrap();
    peer.send(&[0x90, 3, 0, 1, 0]);
    device.packet();
    let totals = server.totals();
    let came = |from, kind| totals.traffic.of(from, kind);
    let bytes = publish("t", b"x").len() + large.len();
    let expected = Came {
        packets: 2,
        bytes: bytes as u64,
    };
    assert_eq!(came(Side::Device, Kind::Publish), expected);
    let expected = Came {
        packets: 1,
        bytes: subscribe.len() as u64,
    };
    assert_eq!(came(Side::Device, Kind::Subscribe), expected);
    assert_eq!(
        came(Side::Upstream, Kind::Connack),
        Came {
            packets: 2,
            bytes: 8
        }
    );
    assert_eq!(
        came(Side::Upstream, Kind::Suback),
        Came {
            packets: 1,
            bytes: 5
        }
    );
    assert_eq!(
        totals.live_by_platform,
        BTreeMap::from([("201509", 1), ("201912", 1)])
    );
    assert_eq!(totals.live_by_destination, BTreeMap::from([("mqtt", 2)]));
    assert_eq!(totals.established, 2);
    assert_eq!(
        (totals.upstream_connects.count(), totals.connacks.count()),
        (2, 2)
    );
    let work = totals.work;
    assert!(
        work.rounds > 0 && work.exchanges >= work.rounds && work.sends > 4,
        "{work:?}"
    );
    assert!(
        work.events > 0 && work.spliced_bytes <= large.len() as u64,
        "{work:?}"
    );
    drop((device, peer));
    wait_until("it to be gone", || {
        let live = server.totals().live_by_platform;
        live == BTreeMap::from([("201509", 1), ("201912", 0)])
    });
}

#[test]
fn every_shard_reports_for_itself() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(3));
    let _sessions: Vec<_> = (0..12)
        .map(|number| upstream.session(inside.address, new_sim(number), 4))
        .collect();
    let reports = inside.server.reports();
    let mut shares = BTreeMap::<usize, (u64, u64)>::new();
    for _ in 0..2 * inside.server.shards() {
        let (shard, totals) = reports.recv_timeout(PATIENCE).unwrap();
        let share = shares.entry(shard).or_default();
        share.0 += 1;
        share.1 += totals.joined;
    }
    assert!(shares.keys().copied().eq(0..3) && shares.values().all(|share| share.0 == 2));
    assert_eq!(shares.values().map(|share| share.1).sum::<u64>(), 12);
}
