//! Taps: what passes in the sessions of a SIM, looked at while it does.

use std::ops::Deref;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, bounded};
use ringbeam::limits::{TAP_EVENT_BYTES, TAPS};
use ringbeam::shard::report::{TapDirection, TapEvent, TapEventKind, Tapping};
use ringbeam_proto::session::Side;
use serde_json::json;

use super::super::harness::fleet::{fleet, fleet_with, new_imsi, new_sim, old_imsi, old_sim};
use super::super::harness::inside::Inside;
use super::super::harness::peer::{Upstream, packet, publish, string};
use super::super::harness::{PATIENCE, wait_until};
use super::shards;

const LONG: Duration = Duration::from_secs(600);

/// What a tap shows, as long as somebody has this.
struct Shown {
    events: Receiver<TapEvent>,
    tapping: Tapping,
}

impl Deref for Shown {
    type Target = Receiver<TapEvent>;

    fn deref(&self) -> &Receiver<TapEvent> {
        &self.events
    }
}

fn tap(inside: &Inside, imsi: &str, duration: Duration, room: usize) -> Shown {
    let (sender, events) = bounded(room);
    let tapping = inside.server.tap(imsi.parse().unwrap(), duration, sender);
    Shown { events, tapping }
}

fn next(shown: &Receiver<TapEvent>) -> TapEvent {
    shown.recv_timeout(PATIENCE).unwrap()
}

/// The next bytes: on which leg, which way, and what.
fn passed(shown: &Receiver<TapEvent>) -> (Side, TapDirection, Vec<u8>) {
    let event = next(shown);
    let TapEventKind::Passed {
        leg,
        direction,
        begins_packet,
        bytes,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert!(begins_packet && event.gap == 0);
    (leg, direction, bytes.to_vec())
}

#[test]
fn what_passes_is_shown_as_it_came_and_as_it_was_sent_on() {
    use Side::{Device, Upstream as Broker};
    use TapDirection::{Received, Sent};
    let upstream = Upstream::listen();
    let fleet = fleet_with(upstream.address(), |_, object| {
        object["username"] = json!("u-#{imsi}");
        object["password"] = json!("the secret");
    });
    let inside = Inside::start(&fleet, shards(3));
    let shown = tap(&inside, &new_imsi(1), LONG, 64);
    // Somebody else's, whom nobody looks at.
    let (mut other, mut other_peer) = upstream.session(inside.address, new_sim(2), 4);
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 4);
    other.send(&publish("t", b"x"));
    other_peer.packet();

    let event = next(&shown);
    let TapEventKind::Begun {
        identity,
        is_under_way,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert_eq!(
        (identity.imsi.to_string(), is_under_way),
        (new_imsi(1), false)
    );
    let event = next(&shown);
    let text = format!("{event:?}");
    let TapEventKind::Passed {
        leg: Broker,
        direction: Sent,
        holds_secrets: true,
        bytes,
        ..
    } = event.what
    else {
        panic!("{event:?}");
    };
    assert!(bytes[0] == 0x10 && bytes.windows(10).any(|window| window == b"the secret"));
    assert!(
        !text.contains("secret\"") && !text.contains("the secret"),
        "{text}"
    );
    let connack = vec![0x20, 2, 0, 0];
    assert_eq!(passed(&shown), (Broker, Received, connack.clone()));
    assert_eq!(passed(&shown), (Device, Sent, connack));
    device.send(&publish("t/{{imsi}}", b"x"));
    let rewritten = peer.packet();
    assert_eq!(
        passed(&shown),
        (Device, Received, publish("t/{{imsi}}", b"x"))
    );
    assert_eq!(passed(&shown), (Broker, Sent, rewritten));
    device.send(&[0xe0, 0]);
    assert_eq!(passed(&shown), (Device, Received, vec![0xe0, 0]));
    assert_eq!(passed(&shown), (Broker, Sent, vec![0xe0, 0]));
    let event = next(&shown);
    assert!(
        matches!(
            event.what,
            TapEventKind::Ended {
                reason: "device_disconnect"
            }
        ),
        "{event:?}"
    );
    assert!(shown.is_empty());
}

#[test]
fn what_the_engine_says_itself_is_shown() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(2));
    let (mut device, mut peer) = upstream.session(inside.address, old_sim(1), 4);
    let shown = tap(&inside, &old_imsi(1), LONG, 64);
    let event = next(&shown);
    assert!(
        matches!(
            event.what,
            TapEventKind::Begun {
                is_under_way: true,
                ..
            }
        ),
        "{event:?}"
    );
    // B-VER-2
    let message = packet(0x32, &[&string("t")[..], &[0, 7], b"x"].concat());
    device.send(&message);
    let lowered = peer.packet();
    device.expect(&[0x40, 2, 0, 7]);
    let shown: Vec<_> = (0..3).map(|_| passed(&shown)).collect();
    let expected = [
        (Side::Device, TapDirection::Received, message),
        (Side::Upstream, TapDirection::Sent, lowered),
        (Side::Device, TapDirection::Sent, vec![0x40, 2, 0, 7]),
    ];
    assert_eq!(shown, expected);
}

/// A message that has begun is not shown; the next one is, however large.
#[test]
fn a_session_under_way_is_shown_from_its_next_packet_on() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(1));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 4);
    let first = publish("first", &vec![1; 30_000]);
    let large = publish("large", &vec![2; 700_000]);
    let (begun, rest) = first.split_at(20_000);
    device.send(begun);
    // Its beginning has passed: its suffix makes it longer.
    peer.bytes(20_000);
    let shown = tap(&inside, &new_imsi(1), LONG, 4_096);
    next(&shown);
    let sender = {
        let bytes = [rest, &large[..]].concat();
        let mut stream = device.stream().try_clone().unwrap();
        std::thread::spawn(move || std::io::Write::write_all(&mut stream, &bytes).unwrap())
    };
    peer.bytes(first.len() + 16 - 20_000);
    let arrived = peer.packet();
    sender.join().unwrap();
    let (mut received, mut sent) = (Vec::new(), Vec::new());
    while sent.len() < arrived.len() {
        let event = next(&shown);
        let TapEventKind::Passed {
            leg,
            direction,
            begins_packet,
            bytes,
            ..
        } = event.what
        else {
            panic!("{event:?}");
        };
        let stream = match (leg, direction) {
            (Side::Device, TapDirection::Received) => &mut received,
            (Side::Upstream, TapDirection::Sent) => &mut sent,
            other => panic!("{other:?}"),
        };
        assert_eq!(begins_packet, stream.is_empty());
        assert!(bytes.len() <= TAP_EVENT_BYTES);
        stream.extend_from_slice(&bytes);
    }
    assert!(received == large && sent == arrived);
    assert_eq!(inside.server.totals().work.splices, 0);
}

#[test]
fn a_tap_that_nobody_reads_tells_how_much_it_has_not_shown() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(1));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 4);
    let shown = tap(&inside, &new_imsi(1), LONG, 3);
    wait_until("the session to be seen", || shown.len() == 1);
    for _ in 0..5 {
        device.send(&publish("t", b"x"));
        peer.packet();
    }
    let gaps: Vec<_> = shown.try_iter().map(|event| event.gap).collect();
    assert_eq!(gaps, [0, 0, 0]);
    device.send(&publish("t", b"x"));
    peer.packet();
    // Of ten events two were shown.
    assert_eq!((next(&shown).gap, next(&shown).gap), (8, 0));
}

#[test]
fn a_tap_is_over_after_its_time_or_when_nobody_receives() {
    let upstream = Upstream::listen();
    let inside = Inside::start(&fleet(upstream.address()), shards(1));
    let (mut device, mut peer) = upstream.session(inside.address, new_sim(1), 4);
    let brief = tap(&inside, &new_imsi(1), Duration::from_millis(300), 64);
    next(&brief);
    // Nothing passes, and it ends all the same.
    assert_eq!(
        brief.recv_timeout(PATIENCE).unwrap_err(),
        RecvTimeoutError::Disconnected
    );
    let mut taps: Vec<_> = (0..TAPS)
        .map(|_| tap(&inside, &new_imsi(1), LONG, 64))
        .collect();
    taps.iter().for_each(|shown| drop(next(shown)));
    let one_more = || tap(&inside, &new_imsi(1), LONG, 64).recv_timeout(PATIENCE);
    assert_eq!(one_more().unwrap_err(), RecvTimeoutError::Disconnected);
    // Whoever leaves makes room, also where nothing passes.
    drop(taps.pop());
    one_more().unwrap();
    let Shown { events, tapping } = taps.remove(0);
    drop(tapping);
    device.send(&publish("t", b"x"));
    peer.packet();
    assert_eq!(
        events.recv_timeout(PATIENCE).unwrap_err(),
        RecvTimeoutError::Disconnected
    );
}
