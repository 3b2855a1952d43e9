//! PUBLISH: its head, which is all that is ever read of it. The payload is a number of bytes.
//!
//! ```text
//! | fixed header | topic length | topic | packet id, QoS 1 and 2 | properties, v5 | payload ...
//! |<------------------------------ head ------------------------------------>|
//! ```

use core::ops::Range;

use super::properties::{self, id};
use super::read::{Reader, text};
use super::{Qos, Version};
use crate::error::{Forbidden, Malformed, Offence};
use crate::frame::{FixedHeader, varint};
use crate::limits::PACKET_BYTES_MAX;
use crate::topic;

/// A checked head. Inside of the crate its topic is bytes, which are as well checked: without unsafe
/// code, a `str` would have them checked again.
#[derive(Debug, PartialEq, Eq)]
pub struct Head<'a, T: ?Sized = str> {
    /// Quality of service.
    pub qos: Qos,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// v5: its properties, as they came; empty otherwise.
    pub properties: &'a [u8],
    /// The topic; empty as a rule only where a v5 alias stands for it.
    pub topic: &'a T,
    /// Whether a `{` stands in the topic, with which a placeholder begins.
    pub has_brace: bool,
    /// Where the topic stands in the stream.
    pub topic_range: Range<usize>,
    /// Present for QoS 1 and 2.
    pub packet_id: Option<u16>,
    /// Where the head ends in the stream, and the payload begins.
    pub head_bytes: usize,
    /// Payload bytes that follow.
    pub payload_bytes: usize,
}

impl Head<'_, [u8]> {
    /// The topic as text.
    pub(crate) fn topic_text(&self) -> &str {
        core::str::from_utf8(self.topic).unwrap_or_default()
    }

    /// v5: whether a topic alias stands in it.
    pub(crate) fn has_alias(&self) -> Result<bool, Malformed> {
        properties::has(self.properties, id::TOPIC_ALIAS)
    }
}

/// Where the head of the PUBLISH at the front of `stream` ends: the bytes that must be there before
/// more can be said, and whether that is the head's end.
///
/// # Errors
/// When a field does not fit the packet, or the head is too large (B-ERR-5).
#[inline]
fn head_end(
    stream: &[u8],
    header: FixedHeader,
    version: Version,
) -> Result<(usize, bool), Offence> {
    let packet_end = header.packet_bytes();
    // What follows the packet says nothing about it.
    let stream = stream.get(..packet_end).unwrap_or(stream);
    let within = |end: usize| -> Result<usize, Offence> {
        if end > packet_end {
            Err(Malformed::Truncated.into())
        } else if end > PACKET_BYTES_MAX {
            Err(Forbidden::TooLarge.into())
        } else {
            Ok(end)
        }
    };
    let topic_start = within(header.header_bytes.saturating_add(2))?;
    let Some([high, low]) = stream.get(header.header_bytes..topic_start) else {
        return Ok((topic_start, false));
    };
    let topic_bytes = usize::from(u16::from_be_bytes([*high, *low]));
    let mut end = within(topic_start.saturating_add(topic_bytes))?;
    if header.flags() & 0b0110 != 0 {
        end = within(end.saturating_add(2))?;
    }
    if version != Version::V5 {
        return Ok((end, true));
    }
    match varint(stream.get(end..).unwrap_or_default())? {
        Some((length, length_bytes)) => Ok((
            within(end.saturating_add(length_bytes).saturating_add(length))?,
            true,
        )),
        None => {
            let seen = stream.len().max(end);
            Ok((within(seen.saturating_add(1))?, false))
        }
    }
}

/// Reads the head of the PUBLISH at the front of `stream`.
///
/// # Errors
/// `Ok(Err(need))` while fewer than `need` bytes of it are there; an offence when it is not legal.
pub fn read_head(
    stream: &[u8],
    header: FixedHeader,
    version: Version,
) -> Result<Result<Head<'_>, usize>, Offence> {
    let head = match read_head_bytes(stream, header, version)? {
        Ok(head) => head,
        Err(need) => return Ok(Err(need)),
    };
    Ok(Ok(Head {
        topic: text(head.topic)?,
        has_brace: head.has_brace,
        qos: head.qos,
        retain: head.retain,
        properties: head.properties,
        topic_range: head.topic_range,
        packet_id: head.packet_id,
        head_bytes: head.head_bytes,
        payload_bytes: head.payload_bytes,
    }))
}

/// As [`read_head`], with the topic as bytes.
#[inline]
pub(crate) fn read_head_bytes(
    stream: &[u8],
    header: FixedHeader,
    version: Version,
) -> Result<Result<Head<'_, [u8]>, usize>, Offence> {
    let flags = header.flags();
    // With 3 nobody can tell whether a packet identifier follows.
    let qos = Qos::from_bits(flags >> 1)?;
    let (head_bytes, whole) = head_end(stream, header, version)?;
    let head = match stream.get(header.header_bytes..head_bytes) {
        Some(head) if whole => head,
        _ => return Ok(Err(head_bytes)),
    };
    let mut reader = Reader::new(head);
    let topic = reader.binary()?;
    let look = topic::look(topic);
    // B-TOP-5
    if !look.is_plain && topic::has_wildcard(text(topic)?) {
        return Err(Forbidden::TopicName.into());
    }
    let topic_start = header.header_bytes.saturating_add(2);
    let topic_range = topic_start..topic_start.saturating_add(topic.len());
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.two_bytes()?),
    };
    let properties = if version == Version::V5 {
        properties::take(&mut reader)?
    } else {
        &[]
    };
    Ok(Ok(Head {
        qos,
        retain: flags & 1 != 0,
        properties,
        topic,
        has_brace: look.has_brace,
        topic_range,
        packet_id,
        head_bytes,
        payload_bytes: header.packet_bytes().saturating_sub(head_bytes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::fixed_header;
    use alloc::vec;
    use alloc::vec::Vec;

    fn read(packet: &[u8], version: Version) -> Result<Result<Head<'_>, usize>, Offence> {
        let header = fixed_header(packet).unwrap().unwrap();
        read_head(packet, header, version)
    }

    #[test]
    fn heads_are_read_at_any_split_and_the_payload_never() {
        let packet = [
            0x33, 12, 0, 3, b'a', b'/', b'b', 0, 7, 2, 0x01, 1, b'h', b'i',
        ];
        for end in 2..packet.len() {
            let header = fixed_header(&packet).unwrap().unwrap();
            let found = read_head(&packet[..end], header, Version::V5).unwrap();
            if end < 12 {
                assert!(
                    matches!(found, Err(need) if need > end && need <= 12),
                    "{end}: {found:?}"
                );
            } else {
                let head = found.unwrap();
                assert_eq!(
                    (head.topic, head.packet_id, head.retain),
                    ("a/b", Some(7), true)
                );
                assert_eq!((head.head_bytes, head.payload_bytes), (12, 2));
            }
        }
    }

    #[test]
    fn illegal_heads_are_refused() {
        let check = |packet: &[u8], version, expected: Offence| {
            assert_eq!(read(packet, version), Err(expected), "{packet:02x?}");
        };
        check(
            &[0x36, 5, 0, 1, b'a', 0, 1],
            Version::V311,
            Malformed::Qos.into(),
        );
        check(
            &[0x30, 3, 0, 2, b'a'],
            Version::V311,
            Malformed::Truncated.into(),
        );
        check(&[0x30, 1, 0], Version::V311, Malformed::Truncated.into());
        // B-TOP-5
        check(
            &[0x30, 3, 0, 1, b'#'],
            Version::V311,
            Forbidden::TopicName.into(),
        );
        check(&[0x30, 3, 0, 1, 0], Version::V311, Malformed::Utf8.into());
        check(
            &[0x30, 3, 0, 1, 0xff],
            Version::V311,
            Malformed::Utf8.into(),
        );
        // B-ERR-5
        let mut large: Vec<u8> = vec![0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a'];
        large.extend([0x80, 0x80, 0x20]);
        check(&large, Version::V5, Forbidden::TooLarge.into());
    }

    #[test]
    fn b_err_6_what_can_be_read_is_not_judged() {
        for version in [Version::V31, Version::V311] {
            let head = read(&[0x38, 3, 0, 1, b'a'], version).unwrap().unwrap();
            assert_eq!((head.qos, head.topic), (Qos::AtMostOnce, "a"));
            let head = read(&[0x32, 5, 0, 1, b'a', 0, 0], version)
                .unwrap()
                .unwrap();
            assert_eq!(head.packet_id, Some(0));
        }
        // A property that does not exist.
        let head = read(&[0x30, 5, 0, 1, b'a', 1, 0x7f], Version::V5);
        let head = head.unwrap().unwrap();
        assert_eq!((head.properties, head.payload_bytes), (&[0x7f][..], 0));
    }

    #[test]
    fn b_con_5_an_alias_may_stand_for_the_topic() {
        let head = read(&[0x30, 6, 0, 0, 3, 0x23, 0, 1], Version::V5)
            .unwrap()
            .unwrap();
        assert_eq!((head.topic, head.payload_bytes), ("", 0));
    }
}
