//! Framing: finding where packets end in what one read brought.

use std::hint::black_box;

use ringbeam_proto::frame::fixed_header;

use super::packets::publish;
use super::{Case, PACKETS_PER_READ, PAYLOAD_BYTES, Run, count, size};

/// Packets per read, by payload.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for payload_bytes in PAYLOAD_BYTES {
        for packets in PACKETS_PER_READ {
            let packet = publish("sensors/temp", 0, &vec![b'x'; payload_bytes]);
            cases.push(Case {
                name: format!("{}/{packets}", size(payload_bytes)),
                messages: count(packets),
                bytes: count(packets * packet.len()),
                prepare: Box::new(move || prepare(packet.repeat(packets), packets)),
            });
        }
    }
    cases
}

fn prepare(stream: Vec<u8>, packets: usize) -> Run {
    assert_eq!(packet_ends(&stream).count(), packets);
    assert_eq!(packet_ends(&stream).last(), Some(stream.len()));
    Box::new(move || packet_ends(black_box(&stream)).for_each(|end| _ = black_box(end)))
}

/// Where each packet ends.
fn packet_ends(stream: &[u8]) -> impl Iterator<Item = usize> {
    let mut end = 0;
    std::iter::from_fn(move || {
        let header = fixed_header(&stream[end..]).unwrap()?;
        end += header.packet_bytes();
        Some(end)
    })
}
