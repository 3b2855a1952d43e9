//! A head that is written anew: topic rewritten, QoS lowered, or both.
//!
//! ```text
//! | type and flags | remaining length | topic length | topic | the rest of the packet, as it came
//! |<------------------- inserted --------------------------->|<------- forwarded ---->
//! ```

use super::publish::small;
use super::{Front, Session, Side};
use crate::error::{Forbidden, Offence};
use crate::frame::Varint;
use crate::limits::{BORROW_BYTES_MIN, FIXED_HEADER_BYTES_MAX};
use crate::output::Output;
use crate::packet::publish::Head;
use crate::rewrite::{Segment, changes_published, published, published_room, write_published};
use crate::rules::TopicRules;

/// What stands before a topic: type, remaining length, topic length.
const START_BYTES_MAX: usize = FIXED_HEADER_BYTES_MAX + 2;

/// A PUBLISH whose topic is written anew.
#[derive(Clone, Copy)]
pub(super) struct Publish<'a> {
    pub(super) from: Side,
    /// Its first byte, as it goes on.
    pub(super) first: u8,
    pub(super) topic: &'a [u8],
    /// Bytes of its body beside the topic, as it goes on.
    pub(super) other_bytes: usize,
}

/// What stands before a topic that is written anew.
struct Start {
    first: u8,
    length: Varint,
    topic_bytes: u16,
}

impl Session {
    /// Writes the beginning of a head anew, where something of it changes: topic rewritten, QoS lowered, or
    /// both. Returns from where on the packet passes as it came.
    #[inline]
    pub(super) fn write_head(
        &self,
        front: Front<'_>,
        head: &Head<'_, [u8]>,
        output: &mut Output,
    ) -> Result<usize, Offence> {
        // B-TOP-1: topics of the device alone; B-CON-5: an alias carries no topic.
        let topics = match front.from {
            Side::Device if !head.topic.is_empty() => self.opening.rules.topics,
            Side::Device | Side::Upstream => TopicRules::default(),
        };
        let is_local = self.is_local(head.qos);
        if !is_local && !self.is_translated() && !changes_published(&topics, head.has_brace) {
            return Ok(0);
        }
        // B-VER-2: without its quality of service it has no packet identifier.
        let dropped_bytes = if is_local { 2 } else { 0 };
        let first = front.header.first;
        let publish = Publish {
            from: front.from,
            // Translated means QoS 0 at most, and there 3.1.1 reserves the DUP flag.
            first: if is_local || self.is_translated() {
                first & 0b1111_0001
            } else {
                first
            },
            topic: head.topic,
            other_bytes: front
                .header
                .remaining
                .saturating_sub(head.topic.len())
                .saturating_sub(dropped_bytes),
        };
        if head.topic.len() < BORROW_BYTES_MIN {
            let count = self.write_short(publish, &topics, output)?;
            output.inserted(count);
        } else {
            let topic_start = front.offset.saturating_add(head.topic_range.start);
            self.write_long(publish, topic_start, &topics, output)?;
        }
        Ok(head.topic_range.end.saturating_add(dropped_bytes))
    }

    /// Writes up to a topic that is short enough to be written in one go, into the room of `output`; returns
    /// how many bytes that is.
    #[inline]
    pub(super) fn write_short(
        &self,
        publish: Publish<'_>,
        topics: &TopicRules,
        output: &mut Output,
    ) -> Result<usize, Forbidden> {
        const ROOM: usize = START_BYTES_MAX + published_room(BORROW_BYTES_MIN);
        let Publish { topic, .. } = publish;
        let identity = &self.opening.identity;
        let room = output.room(ROOM);
        // What stands before the topic depends on how long it becomes. Where it takes more bytes than
        // expected, the topic is written again behind it.
        let suffix_bytes = if topics.append_imsi {
            identity.imsi.len().saturating_add(1)
        } else {
            0
        };
        let expected = publish
            .other_bytes
            .saturating_add(topic.len())
            .saturating_add(suffix_bytes);
        let mut length_bytes = Varint::encode(expected).map_or(1, |length| length.len());
        let written = loop {
            let start_bytes = length_bytes.saturating_add(3);
            let Some((start_room, topic_room)) = room.split_at_mut_checked(start_bytes) else {
                break None;
            };
            let Some(topic_bytes) = write_published(topics, identity, topic, topic_room) else {
                break None;
            };
            let start = self.start(publish, topic_bytes)?;
            if start.write(start_room).is_some() {
                break start_bytes.checked_add(topic_bytes);
            }
            length_bytes = start.length.len();
        };
        // There is always room.
        written.ok_or(Forbidden::TooLarge)
    }

    /// Writes up to a topic that is long and starts at `topic_start` of the input: what is long of it is
    /// borrowed.
    #[cold]
    fn write_long(
        &self,
        publish: Publish<'_>,
        topic_start: usize,
        topics: &TopicRules,
        output: &mut Output,
    ) -> Result<(), Offence> {
        // It was checked.
        let topic = core::str::from_utf8(publish.topic).unwrap_or_default();
        let segments = published(topics, &self.opening.identity, topic);
        let topic_bytes = segments
            .clone()
            .map(|segment| segment.len())
            .fold(0, usize::saturating_add);
        let start = self.start(publish, topic_bytes)?;
        let start_bytes = start.bytes();
        let room = output.room(START_BYTES_MAX).get_mut(..start_bytes);
        if room.and_then(|room| start.write(room)).is_some() {
            output.inserted(start_bytes);
        }
        for segment in segments {
            let text = segment.text(topic).as_bytes();
            match &segment {
                Segment::Topic(range) if range.len() >= BORROW_BYTES_MIN => {
                    output.forward(topic_start.saturating_add(range.start), text);
                }
                Segment::Topic(_) | Segment::Insert(_) => output.insert(text),
            }
        }
        Ok(())
    }

    /// What stands before a topic that has become `topic_bytes` long.
    #[inline]
    fn start(&self, publish: Publish<'_>, topic_bytes: usize) -> Result<Start, Forbidden> {
        // B-TOP-5
        let topic_length = u16::try_from(topic_bytes).map_err(|_| Forbidden::TopicName)?;
        let remaining = publish.other_bytes.saturating_add(topic_bytes);
        let length = Varint::encode(remaining).ok_or(Forbidden::TooLarge)?;
        if publish.from == Side::Device {
            let packet_bytes = remaining.saturating_add(length.len()).saturating_add(1);
            self.check_upstream_size(packet_bytes)?;
        }
        Ok(Start {
            first: publish.first,
            length,
            topic_bytes: topic_length,
        })
    }

    /// B-TOP-5: what rewriting made must fit the upstream.
    #[inline]
    pub(super) fn check_upstream_size(&self, packet_bytes: usize) -> Result<(), Forbidden> {
        if small(packet_bytes) > self.upstream_packet_bytes_max {
            return Err(Forbidden::TooLarge);
        }
        Ok(())
    }
}

impl Start {
    /// How many bytes it has.
    fn bytes(&self) -> usize {
        self.length.len().saturating_add(3)
    }

    /// Writes it to `room`, which it must fill; `None` where it does not.
    #[inline]
    fn write(&self, room: &mut [u8]) -> Option<()> {
        let first = self.first;
        let [high, low] = self.topic_bytes.to_be_bytes();
        match (self.length.as_bytes(), room.len()) {
            ([a], 4) => *room.first_chunk_mut()? = [first, *a, high, low],
            ([a, b], 5) => *room.first_chunk_mut()? = [first, *a, *b, high, low],
            ([a, b, c], 6) => *room.first_chunk_mut()? = [first, *a, *b, *c, high, low],
            ([a, b, c, d], 7) => *room.first_chunk_mut()? = [first, *a, *b, *c, *d, high, low],
            _ => return None,
        }
        Some(())
    }
}
