//! Payloads that the caller moves itself, past the session.

use super::*;
use crate::billing::Counts;
use std::vec;

/// What a message came to: what went to each side, counts, and whether something still passes.
#[derive(Debug, PartialEq, Eq)]
struct Result {
    sent: [Vec<u8>; 2],
    counts: Counts,
    payload_left: usize,
    deadline_ms: Option<u64>,
    tally: Tallies,
}

fn result(mut pair: Pair, from: Side) -> Result {
    // Whatever comes next is read as a packet.
    pair.feed(Side::Device, &[0xc0, 0]);
    Result {
        sent: SIDES.map(|side| pair.sent(side)),
        counts: pair.session.counts(),
        payload_left: pair.session.payload_left(from),
        deadline_ms: pair.session.deadline().map(|(at_ms, _)| at_ms),
        tally: pair.tally,
    }
}

const SIDES: [Side; 2] = [Side::Device, Side::Upstream];

/// `left` bytes of the payload are moved as the kernel does it, in steps of at most `step`.
fn splice(pair: &mut Pair, from: Side, payload: &[u8], step: usize) {
    assert!(pair.session.may_splice(from));
    for moved in payload.chunks(step) {
        assert!(pair.session.is_amid_message(from));
        let mut outputs = Outputs::default();
        let (now_ms, count) = (pair.now_ms, moved.len());
        pair.session
            .passed_elsewhere(from, count, now_ms, &mut outputs);
        assert!(outputs.forward.is_empty());
        pair.sent[index(from.other())].extend_from_slice(moved);
        pair.sent[index(from)].append(&mut outputs.reply);
        pair.tally.add(&outputs.tally);
    }
    assert!(!pair.session.may_splice(from));
    assert_eq!(pair.session.payload_left(from), 0);
}

/// B-TOP-6, B-BILL-1, B-VER-2, B-KEEP-2: a message comes to the same whichever way its payload goes.
#[test]
fn b_bill_1_a_payload_that_is_moved_past_counts_the_same() {
    let payload = vec![b'p'; 5_000];
    for (version, platform) in [
        (Version::V31, Platform::V201509),
        (Version::V311, Platform::V201509),
        (Version::V311, Platform::V201912),
        (Version::V5, Platform::V201912),
    ] {
        for from in SIDES {
            for flags in [0b0000, 0b0010, 0b0100] {
                let upstream = platform.upstream_version(version).unwrap();
                let speaks = if from == Side::Device {
                    version
                } else {
                    upstream
                };
                let message = publish(speaks, flags, "a/{{imsi}}", &payload);
                for (passed, step) in [(0, 5_000), (1, 700), (4_999, 1)] {
                    let head_bytes = message.len() - payload.len();
                    let (first, rest) = message.split_at(head_bytes + passed);
                    let [mut whole, mut spliced] =
                        [(); 2].map(|()| Pair::open(version, platform, BOTH));
                    for pair in [&mut whole, &mut spliced] {
                        pair.now_ms = 1_000;
                        pair.feed(from, first);
                        assert_eq!(pair.session.payload_left(from), rest.len());
                        pair.now_ms = 2_000;
                    }
                    whole.feed(from, rest);
                    splice(&mut spliced, from, rest, step);
                    assert_eq!(result(spliced, from), result(whole, from), "{message:02x?}");
                }
            }
        }
    }
}

/// B-KEEP-2: what is moved past is heard, and nothing else changes where no message passes.
#[test]
fn b_keep_2_what_is_moved_past_is_heard() {
    let mut pair = Pair::open(Version::V311, Platform::V201912, NONE);
    let before = pair.session.counts();
    assert!(!pair.session.may_splice(Side::Device));
    let mut outputs = Outputs::default();
    let session = &mut pair.session;
    session.passed_elsewhere(Side::Device, 0, 7_000, &mut outputs);
    assert_eq!(session.deadline().map(|(at_ms, _)| at_ms), Some(97_000));
    assert_eq!(
        (session.counts(), session.payload_left(Side::Device)),
        (before, 0)
    );
    assert!(outputs.reply.is_empty() && outputs.forward.is_empty());
}

/// What is due to the other side waits for the caller, as it does where a message ends otherwise.
#[test]
fn what_is_due_may_go_after_the_last_byte() {
    let mut pair = Pair::open(Version::V311, Platform::V201912, NONE);
    let message = publish(Version::V311, 0, "t", &[0; 9]);
    pair.feed(Side::Upstream, &message[..8]);
    let mut outputs = Outputs {
        due: vec![0x40, 2, 0, 1],
        ..Outputs::default()
    };
    let session = &mut pair.session;
    session.passed_elsewhere(Side::Upstream, 6, 0, &mut outputs);
    assert!(!session.is_amid_message(Side::Upstream));
    assert_eq!(outputs.due, [0x40, 2, 0, 1]);
    let received = session.receive(Side::Upstream, &[0xd0, 0], 0, &mut outputs);
    assert_eq!(received.consumed, 2);
    let forwarded: Vec<_> = outputs.forward.slices(&[0xd0, 0]).collect();
    assert_eq!(forwarded.concat(), [0x40, 2, 0, 1, 0xd0, 0]);
}

/// B-BILL-1: the kernel has not taken a message that was moved past when the other side was lost; what follows it is
/// understood all the same.
#[test]
fn b_bill_1_a_payload_that_is_lost_on_its_way_counts_as_received() {
    let message = publish(Version::V311, 0b0010, "t", &[0; 9]);
    for platform in [Platform::V201509, Platform::V201912] {
        let mut pair = Pair::open(Version::V311, platform, NONE);
        pair.feed(Side::Device, &message[..message.len() - 5]);
        let before = pair.session.counts();
        let mut outputs = Outputs::default();
        let session = &mut pair.session;
        session.lost_elsewhere(Side::Device, 4, &mut outputs);
        assert!(session.is_amid_message(Side::Device) && outputs.reply.is_empty());
        session.lost_elsewhere(Side::Device, 1, &mut outputs);
        assert!(!session.is_amid_message(Side::Device));
        let counts = session.counts();
        assert_eq!(counts.device_leg, before.device_leg + 1);
        assert_eq!(counts.upstream_leg, before.upstream_leg);
        // B-VER-2
        assert_eq!(!outputs.reply.is_empty(), platform == Platform::V201509);
        session.lost_elsewhere(Side::Device, 1, &mut outputs);
        assert_eq!(session.counts(), counts);
    }
}
