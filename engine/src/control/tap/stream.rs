//! Stream: bytes of one direction of one leg, as packets. Of a large one only the beginning is kept.

use ringbeam_proto::frame::fixed_header;
use ringbeam_proto::packet::Version;

use super::packet::show;
use crate::control::limits::TAP_PACKET_BYTES;

/// A packet for people to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) kind: &'static str,
    pub(super) text: String,
    /// Of the whole packet.
    pub(super) bytes: usize,
    pub(super) topic: Option<String>,
    pub(super) payload: Option<String>,
}

/// What is known of a stream.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// A packet's beginning.
    kept: Vec<u8>,
    /// Bytes of a large packet that are still to come and are not needed.
    skip: usize,
    /// Whether it is known where packets begin.
    is_in_step: bool,
}

impl Stream {
    /// Takes the next bytes, and gives the packets that they make whole, or large enough to be shown.
    pub(super) fn take(
        &mut self,
        bytes: &[u8],
        begins_packet: bool,
        version: Version,
    ) -> Vec<Shown> {
        if begins_packet {
            self.kept.clear();
            self.skip = 0;
            self.is_in_step = true;
        }
        if !self.is_in_step {
            return Vec::new();
        }
        let skipped = self.skip.min(bytes.len());
        self.skip = self.skip.saturating_sub(skipped);
        self.kept
            .extend_from_slice(bytes.get(skipped..).unwrap_or_default());
        let mut shown = Vec::new();
        let mut start = 0;
        loop {
            let rest = self.kept.get(start..).unwrap_or_default();
            let header = match fixed_header(rest) {
                Ok(Some(header)) => header,
                Ok(None) => break,
                Err(_) => {
                    // Whatever follows, nobody knows where packets begin in it.
                    self.is_in_step = false;
                    start = self.kept.len();
                    break;
                }
            };
            let length = header.packet_bytes();
            if rest.len() < length && rest.len() < TAP_PACKET_BYTES {
                break;
            }
            let there = rest.get(..length).unwrap_or(rest);
            shown.push(show(there, header, version));
            self.skip = length.saturating_sub(there.len());
            start = start.saturating_add(there.len());
        }
        self.kept.drain(..start);
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PUBLISH: &[u8] = &[0x30, 4, 0, 1, b't', b'x'];

    #[test]
    fn packets_are_found_however_they_are_cut() {
        let two = [PUBLISH, &[0xc0, 0], PUBLISH].concat();
        for at in 0..=two.len() {
            let mut stream = Stream::default();
            let (first, second) = two.split_at(at);
            let mut shown = stream.take(first, true, Version::V311);
            shown.extend(stream.take(second, false, Version::V311));
            let kinds: Vec<&str> = shown.iter().map(|shown| shown.kind).collect();
            assert_eq!(kinds, ["PUBLISH", "PINGREQ", "PUBLISH"], "{at}");
            assert!(stream.kept.is_empty());
        }
    }

    #[test]
    fn a_stream_out_of_step_waits_for_a_packets_beginning() {
        let mut stream = Stream::default();
        assert!(stream.take(PUBLISH, false, Version::V311).is_empty());
        assert_eq!(stream.take(PUBLISH, true, Version::V311).len(), 1);
        assert!(
            stream
                .take(&[0x30, 0xff, 0xff, 0xff, 0xff, 1], false, Version::V311)
                .is_empty()
        );
        assert!(stream.take(PUBLISH, false, Version::V311).is_empty());
        assert_eq!(stream.take(PUBLISH, true, Version::V311).len(), 1);
    }

    #[test]
    fn of_a_large_packet_the_beginning_is_shown_once() {
        let payload = vec![b'x'; 3 * TAP_PACKET_BYTES];
        let remaining = payload.len() + 3;
        let mut packet = vec![0x30];
        packet.extend(
            ringbeam_proto::frame::Varint::encode(remaining)
                .unwrap()
                .as_bytes(),
        );
        packet.extend([0, 1, b't']);
        packet.extend(&payload);
        packet.extend(PUBLISH);
        let mut stream = Stream::default();
        let mut shown = Vec::new();
        for (number, part) in packet.chunks(1000).enumerate() {
            shown.extend(stream.take(part, number == 0, Version::V311));
            assert!(stream.kept.len() <= TAP_PACKET_BYTES + 1000);
        }
        assert_eq!(shown.len(), 2);
        assert_eq!(shown[0].bytes, packet.len() - PUBLISH.len());
        assert_eq!(shown[0].topic.as_deref(), Some("t"));
    }
}
