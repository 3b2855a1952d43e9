//! Check: what has to be true of a session whose upstream may have been replaced, beyond what its peers would not
//! have put up with.

use std::collections::BTreeMap;

use ringbeam_proto::error::Cause;

use super::super::checks::{Ending, check_times};
use super::super::network::Network;
use super::super::packets;
use super::super::world::Pair;
use super::Minds;

/// Milliseconds after which a broker has said all that a new connection begins with.
const SETTLED_MS: u64 = 10_000;

/// Checks a session that is gone. B-TOK-1: what was acknowledged is there, and nothing is there twice that must not be.
pub(in super::super) fn check(pair: &Pair, minds: &Minds, end: &Ending, network: &Network) {
    let (client, broker) = (minds.client.borrow(), minds.broker.borrow());
    let mut accepted = BTreeMap::<usize, usize>::new();
    for one in &broker.accepted {
        *accepted.entry(one.number).or_default() += 1;
    }
    for (number, sent) in client.sent.iter().enumerate() {
        let times = accepted.get(&number).copied().unwrap_or_default();
        assert!(
            times > 0 || !sent.is_taken,
            "{number} was acknowledged and is lost"
        );
        let is_once = sent.qos == 0 || (sent.qos == 2 && !broker.has_forgotten);
        assert!(times <= 1 || !is_once, "{number} came {times} times");
    }
    let mut got = BTreeMap::<usize, usize>::new();
    for (number, qos, is_dup) in &client.got {
        let times = got.entry(*number).or_default();
        *times += 1;
        assert!(*times == 1 || (*qos == 1 && *is_dup), "{number} twice");
    }
    for (number, sent) in broker.published.borrow().iter().enumerate() {
        let is_there = got.contains_key(&number);
        assert!(
            is_there || !sent.is_taken,
            "{number} was acknowledged and is lost"
        );
    }
    let device = &network.sockets[pair.device.socket];
    if end.cause == Some(Cause::IdleTimeout) {
        // The device waits for nothing: otherwise something hangs.
        assert!(client.is_settled(), "{client:?} waits");
    }
    if end.cause == Some(Cause::DeviceDisconnect) {
        // It has had the time to learn them.
        let upstream = &network.sockets[pair.broker.socket];
        let has_connack = upstream.received.len() >= packets::connack(minds.version, 0).len();
        let is_present = broker.leg == pair.earlier.len() && has_connack;
        let is_settled = is_present && broker.connected_ms + SETTLED_MS < end.at_ms;
        assert!(
            !is_settled || broker.filters == client.filters,
            "{:?} became {:?}",
            client.filters,
            broker.filters
        );
        // B-BILL-1
        let billed = billed(&device.received, &[3, 8, 10]) + billed(&device.taken, &[3]);
        assert_eq!(pair.billed.device_leg, billed);
    }
    check_times(pair, end, [device, device]);
}

/// Whole packets of these types.
fn billed(mut stream: &[u8], kinds: &[u8]) -> u64 {
    let mut count = 0;
    while let Some(length) = packets::packet_bytes(stream)
        && let Some((packet, rest)) = stream.split_at_checked(length)
    {
        count += u64::from(kinds.contains(&(packet[0] >> 4)));
        stream = rest;
    }
    count
}
