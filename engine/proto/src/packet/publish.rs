//! PUBLISH: its head, which is all that is ever read of it. The payload is a number of bytes.
//!
//! ```text
//! | fixed header | topic length | topic | packet id, QoS 1 and 2 | properties, v5 | payload ...
//! |<------------------------------ head ------------------------------------>|
//! ```

use core::ops::Range;

use super::properties::{self, Place, id};
use super::read::{Reader, text};
use super::{Kind, Qos, Version};
use crate::error::{Forbidden, Malformed, Offence};
use crate::frame::{FixedHeader, varint};
use crate::limits::PACKET_BYTES_MAX;
use crate::topic;

/// A checked head. Inside of the crate its topic is bytes, which are as well checked: without unsafe
/// code, a `str` would have them checked again.
#[derive(Debug, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub struct Head<'a, T: ?Sized = str> {
    /// Quality of service.
    pub qos: Qos,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// v5: whether a topic alias stands in it.
    pub has_alias: bool,
    /// The topic; empty only where a v5 alias stands for it.
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

/// Reads the head of the PUBLISH at the front of `stream`, sent by the upstream or not.
///
/// # Errors
/// `Ok(Err(need))` while fewer than `need` bytes of it are there; an offence when it is not legal.
pub fn read_head(
    stream: &[u8],
    header: FixedHeader,
    version: Version,
    from_upstream: bool,
) -> Result<Result<Head<'_>, usize>, Offence> {
    let head = match read_head_bytes(stream, header, version, from_upstream)? {
        Ok(head) => head,
        Err(need) => return Ok(Err(need)),
    };
    Ok(Ok(Head {
        topic: text(head.topic)?,
        has_brace: head.has_brace,
        qos: head.qos,
        retain: head.retain,
        has_alias: head.has_alias,
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
    from_upstream: bool,
) -> Result<Result<Head<'_, [u8]>, usize>, Offence> {
    let flags = header.flags();
    let qos = Qos::from_bits(flags >> 1)?;
    // MQTT-3.3.1-2; MQTT 3.1 does not say so (B-ERR-2).
    if qos == Qos::AtMostOnce && flags & 0b1000 != 0 && version != Version::V31 {
        return Err(Malformed::HeaderFlags.into());
    }
    let (head_bytes, whole) = head_end(stream, header, version)?;
    let head = match stream.get(header.header_bytes..head_bytes) {
        Some(head) if whole => head,
        _ => return Ok(Err(head_bytes)),
    };
    let mut reader = Reader::new(head);
    let topic = reader.binary()?;
    let look = topic::look(topic);
    let mut is_legal_name = !topic.is_empty();
    if !look.is_plain {
        is_legal_name = topic::is_legal_name(text(topic)?);
    }
    let topic_start = header.header_bytes.saturating_add(2);
    let topic_range = topic_start..topic_start.saturating_add(topic.len());
    let packet_id = match qos {
        Qos::AtMostOnce => None,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Some(reader.packet_id()?),
    };
    let mut has_alias = false;
    if version == Version::V5 {
        let place = if from_upstream {
            Place::Upstream(Kind::Publish)
        } else {
            Place::Device(Kind::Publish)
        };
        properties::read(&mut reader, place, &mut |id, _| {
            has_alias |= id == id::TOPIC_ALIAS;
        })?;
    }
    // An empty topic is legal where an alias stands for it (MQTT 5, 3.3.2.1).
    if topic.is_empty() && version == Version::V5 {
        if !has_alias {
            return Err(Forbidden::PropertyValue(id::TOPIC_ALIAS).into());
        }
    } else if !is_legal_name {
        return Err(Forbidden::TopicName.into());
    }
    Ok(Ok(Head {
        qos,
        retain: flags & 1 != 0,
        has_alias,
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
        read_head(packet, header, version, false)
    }

    #[test]
    fn heads_are_read_at_any_split_and_the_payload_never() {
        let packet = [
            0x33, 12, 0, 3, b'a', b'/', b'b', 0, 7, 2, 0x01, 1, b'h', b'i',
        ];
        for end in 2..packet.len() {
            let header = fixed_header(&packet).unwrap().unwrap();
            let found = read_head(&packet[..end], header, Version::V5, false).unwrap();
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
            &[0x38, 3, 0, 1, b'a'],
            Version::V311,
            Malformed::HeaderFlags.into(),
        );
        check(
            &[0x30, 3, 0, 2, b'a'],
            Version::V311,
            Malformed::Truncated.into(),
        );
        check(&[0x30, 1, 0], Version::V311, Malformed::Truncated.into());
        check(
            &[0x32, 5, 0, 1, b'a', 0, 0],
            Version::V311,
            Forbidden::PacketIdZero.into(),
        );
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
        check(&[0x30, 2, 0, 0], Version::V311, Forbidden::TopicName.into());
        check(
            &[0x30, 3, 0, 0, 0],
            Version::V5,
            Forbidden::PropertyValue(id::TOPIC_ALIAS).into(),
        );
        // B-ERR-5
        let mut large: Vec<u8> = vec![0x30, 0xff, 0xff, 0xff, 0x7f, 0, 1, b'a'];
        large.extend([0x80, 0x80, 0x20]);
        check(&large, Version::V5, Forbidden::TooLarge.into());
    }

    #[test]
    fn b_err_2_dup_at_qos_0_is_legal_in_3_1() {
        let head = read(&[0x38, 3, 0, 1, b'a'], Version::V31).unwrap().unwrap();
        assert_eq!((head.qos, head.topic), (Qos::AtMostOnce, "a"));
    }

    #[test]
    fn b_con_5_an_alias_may_stand_for_the_topic() {
        let head = read(&[0x30, 6, 0, 0, 3, 0x23, 0, 1], Version::V5)
            .unwrap()
            .unwrap();
        assert_eq!((head.topic, head.payload_bytes), ("", 0));
    }
}
