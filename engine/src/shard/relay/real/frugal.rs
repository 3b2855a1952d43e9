//! Frugal: what a message costs a relay that has seen some. No memory is asked for, and a payload of any size worth
//! mentioning is copied nowhere.

use ringbeam_proto::limits::BORROW_BYTES_MIN;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;

use super::{IMSI, Spent, Table, publish};
use crate::limits::{RECEIVE_BYTES, RECEIVES_IN_A_ROW};
use crate::sys::allocations::allocations;

/// Messages before anything is counted, and those that are.
const MESSAGES: [usize; 2] = [200, 500];
/// Bytes of a payload that is spliced: more than a connection has taken in before its turn is over.
const LARGE: usize = 8 * RECEIVES_IN_A_ROW * RECEIVE_BYTES;

/// What a kind of message costs: `at_once` of them in one segment.
fn spent(platform: Platform, from: Side, (qos, payload, at_once): (u8, usize, usize)) -> Spent {
    let mut table = Table::new(platform, 1);
    let is_lowered = platform == Platform::V201509;
    let (sent, arrives) = match from {
        Side::Device => ("t/{{imsi}}", format!("t/{IMSI}/{IMSI}")),
        Side::Upstream => ("t/{{imsi}}", "t/{{imsi}}".to_owned()),
    };
    let message = publish(qos, sent, payload).repeat(at_once);
    let arriving_qos = if is_lowered { 0 } else { qos };
    let arriving = publish(arriving_qos, &arrives, payload).repeat(at_once);
    let acknowledged = [0x40, 2, 0, 7].repeat(if qos == 1 { at_once } else { 0 });
    for count in MESSAGES {
        table.spent = Spent::default();
        for _ in 0..count {
            table.send((0, from), &message);
            table.expect((0, from.other()), &arriving);
            if !is_lowered {
                table.send((0, from.other()), &acknowledged);
            }
            table.expect((0, from), &acknowledged);
        }
    }
    assert!(allocations() > 0, "the beginning at least is counted");
    let spent = std::mem::take(&mut table.spent);
    let has_pipe = table.relay.pipe_count > 0;
    assert_eq!(has_pipe, payload >= LARGE, "spliced");
    table.end();
    spent
}

#[test]
fn small_messages_take_no_memory() {
    for platform in [Platform::V201912, Platform::V201509] {
        for from in [Side::Device, Side::Upstream] {
            for (qos, at_once) in [(0, 1), (0, 60), (1, 1), (1, 60)] {
                if qos == 1 && platform == Platform::V201509 && from == Side::Upstream {
                    continue;
                }
                let spent = spent(platform, from, (qos, 64, at_once));
                let name = format!("{platform:?} {from:?} QoS {qos}, {at_once} at once");
                assert_eq!(spent.allocations, 0, "{name}");
            }
        }
    }
}

#[test]
fn b_top_6_payloads_are_copied_nowhere() {
    let sizes = [BORROW_BYTES_MIN, 4_000, 20_000, LARGE];
    for platform in [Platform::V201912, Platform::V201509] {
        for from in [Side::Device, Side::Upstream] {
            for payload in sizes {
                let spent = spent(platform, from, (0, payload, 1));
                let name = format!("{platform:?} {from:?}, {payload} bytes");
                // What is kept or waits would have taken memory.
                assert_eq!((spent.allocations, spent.copied_bytes), (0, 0), "{name}");
                assert!(spent.arena_bytes < 64, "{name}: {spent:?}");
            }
        }
    }
}
