//! Events: what happens to SIMs' connections, as it is told.

use crossbeam_channel::{Receiver, bounded};
use ringbeam::fleet::DestinationKind;
use ringbeam::shard::report::{Audience, SimEvent, SimEventKind};
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;

use super::super::harness::PATIENCE;
use super::super::harness::fleet::{fleet, new_imsi, new_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{
    Peer, Upstream, connack, connect_packet, connect_with_keep_alive, publish,
};
use super::super::harness::wait_until;
use super::shards;

fn listener(room: usize) -> (Audience, Receiver<SimEvent>) {
    let (events, told) = bounded(room);
    let audience = Audience {
        events: Some(events),
        ..Audience::default()
    };
    (audience, told)
}

#[test]
fn b_err_4_whoever_listens_hears_what_is_logged() {
    let upstream = Upstream::listen();
    let (audience, told) = listener(64);
    let inside = Inside::start_before(&fleet(upstream.address()), shards(2), audience);
    let next = || told.recv_timeout(PATIENCE).unwrap();

    let mut stranger = Peer::connect([127, 0, 0, 77], inside.address);
    stranger.send(&connect_packet(4, "stranger"));
    stranger.expect(&[0x20, 2, 0, 5]);
    let event = next();
    assert_eq!(
        (event.identity, event.peer.ip().to_string().as_str()),
        (None, "127.0.0.77")
    );
    let SimEventKind::Refused {
        device_version,
        reason,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!(
        (device_version, reason),
        (Some(Version::V311), "refused_unknown_address")
    );

    // B-KEEP-1
    let mut hasty = Peer::connect(new_sim(1), inside.address);
    hasty.send(&connect_with_keep_alive(5, "hasty", 1));
    hasty.packet();
    let event = next();
    assert_eq!(event.identity.unwrap().imsi.to_string(), new_imsi(1));
    let SimEventKind::Refused { reason, .. } = event.what else {
        panic!("{event:?}");
    };
    assert_eq!(reason, "refused_keep_alive");

    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 5);
    let event = next();
    let SimEventKind::Established {
        id,
        platform,
        device_version,
        destination,
        upstream: address,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!((platform, device_version), (Platform::V201912, Version::V5));
    assert_eq!(
        (destination, address),
        (DestinationKind::Mqtt, upstream.address())
    );
    device.send(&[0x30, 5, 0, 1, b't', 0, b'x']);
    peer.packet();
    device.send(&[0xe0, 0]);
    let event = next();
    assert_eq!(
        (event.identity.unwrap().imsi.to_string(), &*event.network),
        (new_imsi(1), "default")
    );
    let SimEventKind::Ended {
        id: ended,
        was_established,
        reason,
        counts,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!(
        (ended, was_established, reason),
        (id, true, "device_disconnect")
    );
    assert_eq!((counts.device_leg, counts.upstream_leg), (1, 1));

    // One that its upstream refuses is a session that was never established.
    let mut refused = Peer::connect(new_sim(2), inside.address);
    refused.send(&connect_packet(4, "refused"));
    upstream.accept_connect(&[0x20, 2, 0, 5]);
    let event = next();
    let SimEventKind::Ended {
        was_established,
        reason,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!((was_established, reason), (false, "upstream_refused"));
    assert!(told.is_empty());
}

#[test]
fn a_listener_that_is_too_slow_costs_events_and_no_session() {
    let upstream = Upstream::listen();
    let (audience, told) = listener(3);
    let inside = Inside::start_before(&fleet(upstream.address()), shards(1), audience);
    let mut sessions: Vec<_> = (0..10)
        .map(|number| upstream.session(inside.address, new_sim(number), 4))
        .collect();
    for (device, peer) in &mut sessions {
        device.send(&publish("t", b"x"));
        peer.packet();
    }
    wait_until("events to be lost", || {
        inside.server.totals().events_lost == 7
    });
    assert_eq!(told.try_iter().count(), 3);
    // And one that is gone costs nothing.
    drop(told);
    let mut device = Peer::connect(new_sim(11), inside.address);
    device.send(&connect_packet(4, "device"));
    upstream.accept_connect(connack(4));
    device.expect(connack(4));
    assert_eq!(inside.server.totals().events_lost, 7);
}
