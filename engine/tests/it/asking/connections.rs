//! Connections: sessions that live, listed and closed one by one.

use std::collections::BTreeSet;

use ringbeam::fleet::DestinationKind;
use ringbeam::shard::report::{ConnectionFilter, ConnectionId, LiveConnection};
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;

use super::super::harness::PATIENCE;
use super::super::harness::fleet::{fleet, new_imsi, new_sim, old_imsi, old_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{Upstream, publish};
use super::shards;

const ALL: ConnectionFilter = ConnectionFilter {
    imsi: None,
    network: None,
    after: None,
    limit: usize::MAX,
};

/// What all shards say, in order, and whether that is all.
fn list(inside: &Inside, filter: &ConnectionFilter) -> (Vec<LiveConnection>, bool) {
    let pages = inside.server.connections(filter);
    let mut found = Vec::new();
    let mut is_complete = true;
    for _ in 0..inside.server.shards() {
        let mut page = pages.recv_timeout(PATIENCE).unwrap();
        found.append(&mut page.connections);
        is_complete &= page.is_complete;
    }
    found.sort_by_key(|connection| connection.id);
    (found, is_complete)
}

#[test]
fn sessions_are_listed_with_what_there_is_to_know_of_them() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 5);
    let _old = upstream.session(inside.address, old_sim(1), 4);
    device.send(&[0x30, 5, 0, 1, b't', 0, b'x']);
    peer.packet();
    assert_eq!(list(&inside, &ALL).0.len(), 2);
    let of = |imsi: &str| ConnectionFilter {
        imsi: Some(imsi.parse().unwrap()),
        ..ALL
    };
    let (found, is_complete) = list(&inside, &of(&new_imsi(1)));
    let [one] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(is_complete && one.is_established && !one.over_tls);
    assert_eq!(one.identity.imsi.to_string(), new_imsi(1));
    assert_eq!(one.peer.ip(), new_sim(1));
    assert_eq!(
        (one.upstream, &*one.network),
        (upstream.address(), "default")
    );
    assert_eq!(one.destination, DestinationKind::Mqtt);
    assert_eq!(
        (one.platform, one.device_version),
        (Platform::V201912, Version::V5)
    );
    assert_eq!(one.counts.device_leg, 1);
    let (found, _) = list(&inside, &of(&old_imsi(1)));
    assert_eq!(found[0].platform, Platform::V201509);
    let elsewhere = ConnectionFilter {
        network: Some("elsewhere".into()),
        ..ALL
    };
    assert_eq!(list(&inside, &elsewhere).0.len(), 0);
}

#[test]
fn pages_of_sessions_come_to_all_of_them() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(3));
    let _sessions: Vec<_> = (0..25)
        .map(|number| upstream.session(inside.address, new_sim(number), 4))
        .collect();
    let mut seen = BTreeSet::new();
    let mut filter = ConnectionFilter { limit: 4, ..ALL };
    loop {
        let (mut page, _) = list(&inside, &filter);
        page.truncate(4);
        let Some(last) = page.last() else {
            break;
        };
        filter.after = Some(last.id);
        for connection in page {
            assert!(seen.insert(connection.id), "listed twice");
        }
    }
    assert_eq!(seen.len(), 25);
    let (found, is_complete) = list(&inside, &ALL);
    assert!(is_complete && found.iter().map(|it| it.id).eq(seen));
}

#[test]
fn b_keep_4_the_operator_closes_one_session_and_no_other() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 5);
    let (mut other, mut other_peer) = upstream.session(inside.address, new_sim(2), 4);
    let (found, _) = list(&inside, &ALL);
    let imsi = new_imsi(1).parse().unwrap();
    let one = found.iter().find(|it| it.identity.imsi == imsi).unwrap();
    // Its name is text on its way.
    let id: ConnectionId = one.id.to_string().parse().unwrap();
    let close = || inside.server.close_connection(id).recv_timeout(PATIENCE);
    assert_eq!(close(), Ok(true));
    device.expect(&[0xe0, 1, 0x98]);
    device.expect_closed();
    peer.expect(&[0xe0, 0]);
    peer.expect_closed();
    assert_eq!(close(), Ok(false));
    let nobody = inside.server.close_connection("7-0-1".parse().unwrap());
    assert!(
        nobody.recv_timeout(PATIENCE).is_err(),
        "there is no such shard"
    );
    other.send(&publish("t", b"x"));
    other_peer.expect(&publish(&format!("t/{}", new_imsi(2)), b"x"));
    assert_eq!(list(&inside, &ALL).0.len(), 1);
}
