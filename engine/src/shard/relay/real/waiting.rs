//! Waiting: sessions whose upstreams take nothing hold memory; beyond what all may hold together whoever has most ends,
//! is told, and the others go on.

use std::io::{Read as _, Write as _};

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;

use super::{IMSI, ROUNDS, Sim, Table, publish, publish_with_properties};

/// What is sent as long as anything is taken.
const PAYLOAD: usize = 4_000;

/// A device sends and its broker takes nothing, until something of the session waits.
fn block(table: &mut Table, session: usize) {
    let messages = publish_with_properties("t", PAYLOAD).repeat(16);
    let mut at = 0;
    for _ in 0..ROUNDS {
        if table.relay.flows[session].waiting > 0 {
            return;
        }
        let device = table.peer((session, Side::Device));
        if let Ok(count) = device.write(&messages[at..]) {
            at = (at + count) % messages.len();
        }
        table.round();
    }
    panic!("nothing waits");
}

#[test]
fn b_top_6_whoever_has_most_of_what_waits_ends_first_and_is_told() {
    let sim = Sim::new(1, Version::V5, Platform::V201912);
    let mut table = Table::of(&[&sim; 4]);
    let [quiet, partial] = [2, 3];
    let mut blocked = [0, 1];
    for session in blocked {
        block(&mut table, session);
    }
    // What came with it waits as well.
    for _ in 0..100 {
        table.round();
    }
    blocked.sort_by_key(|session| (table.relay.flows[*session].waiting, *session));
    let [other, largest] = blocked;
    // The beginning of a packet waits as well.
    let message = publish_with_properties("p", 6_000);
    let (begins, rest) = message.split_at(5_000);
    table.send((partial, Side::Device), begins);
    while table.relay.flows[partial].waiting == 0 {
        table.round();
    }
    let waiting = table.relay.waiting.bytes;
    let sum: usize = [largest, other, quiet, partial]
        .map(|session| table.relay.flows[session].waiting)
        .iter()
        .sum();
    assert_eq!(waiting, sum);
    // One more byte is too much.
    table.relay.waiting.max = waiting;
    let more = publish_with_properties("q", 600);
    let (begins_as_well, rest_as_well) = more.split_at(500);
    table.send((quiet, Side::Device), begins_as_well);
    let mut told = [0; 8];
    let count = (0..ROUNDS).find_map(|_| {
        table.round();
        table.peer((largest, Side::Device)).read(&mut told).ok()
    });
    assert_eq!(told[..count.unwrap()], [0xe0, 1, 0x97]);
    let ended = table.relay.totals().ended;
    let is_free = |table: &Table| {
        let flow = table.relay.flows.get(largest);
        flow.is_none_or(|flow| flow.waiting == 0)
    };
    // The ring gives back what it had.
    let rounds = (0..10).find(|_| {
        table.round();
        is_free(&table)
    });
    assert!(rounds.is_some(), "its memory stays");
    // The others have lost nothing.
    for (session, rest, expected) in [
        (partial, rest, ("p", 6_000)),
        (quiet, rest_as_well, ("q", 600)),
    ] {
        table.send((session, Side::Device), rest);
        let (topic, bytes) = expected;
        let arrives = publish_with_properties(&format!("{topic}/{IMSI}"), bytes);
        table.expect((session, Side::Upstream), &arrives);
    }
    assert!(table.relay.flows.contains(other), "{ended:?}");
    assert!(!table.relay.flows[other].has_ended());
    let mut received = vec![0; 1 << 20];
    while table.relay.waiting.bytes > 0 {
        let broker = table.peer((other, Side::Upstream));
        drop(broker.read(&mut received));
        table.round();
    }
    // It takes part as before.
    let device = table.peer((largest, Side::Device));
    drop(device.write(&publish(0, "x", 1)));
    table.end();
}
