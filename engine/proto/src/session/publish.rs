//! A session's messages: the head is rewritten, the payload passes.

use core::ops::Range;

use super::{Front, Outputs, PUBACK, PUBREC, Passing, Session, Side, Step, write_acknowledgement};
use crate::error::{Forbidden, Offence};
use crate::frame::Varint;
use crate::limits::BORROW_BYTES_MIN;
use crate::output::Output;
use crate::packet::publish::{Head, read_head};
use crate::packet::{Kind, Qos};
use crate::rewrite::{Segment, changes_published, published};
use crate::rules::TopicRules;

impl Session {
    /// Deals with the head of a PUBLISH.
    pub(super) fn publish(
        &mut self,
        front: Front<'_>,
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let Front {
            from, header, rest, ..
        } = front;
        let head = match read_head(rest, header, self.version(from), from == Side::Upstream)? {
            Ok(head) => head,
            Err(need) => return Ok(Step::Need(need)),
        };
        let local = self.is_local(head.qos);
        if let Some(step) = self.keep_track_of_publish(front, &head, outputs)? {
            return Ok(step);
        }
        self.pass_head(front, &head, &mut outputs.forward)?;
        *self.passing_mut(from) = Passing {
            payload_bytes: head.payload_bytes,
            acknowledge: head.packet_id.filter(|_| local).map(|id| (head.qos, id)),
            is_dropped: false,
        };
        if head.payload_bytes == 0 {
            self.finish_publish(from, outputs);
        }
        Ok(Step::Took(head.head_bytes))
    }

    /// Passes a head, as it came or rewritten.
    pub(super) fn pass_head(
        &self,
        front: Front<'_>,
        head: &Head<'_>,
        output: &mut Output,
    ) -> Result<(), Offence> {
        // B-TOP-1: topics of the device alone; B-CON-5: an alias carries no topic.
        let topics = match front.from {
            Side::Device if !head.topic.is_empty() => self.opening.rules.topics,
            Side::Device | Side::Upstream => TopicRules::default(),
        };
        if self.is_local(head.qos) || self.is_translated() || changes_published(&topics, head.topic)
        {
            return self.write_head(front, head, &topics, output);
        }
        output.forward(front.offset..front.offset.saturating_add(head.head_bytes));
        Ok(())
    }

    /// Writes a head anew: topic rewritten, QoS lowered, or both.
    fn write_head(
        &self,
        front: Front<'_>,
        head: &Head<'_>,
        topics: &TopicRules,
        output: &mut Output,
    ) -> Result<(), Offence> {
        let Front {
            from,
            header,
            offset,
            ..
        } = front;
        let segments = published(topics, &self.opening.identity, head.topic);
        let topic_bytes = segments
            .clone()
            .map(|segment| segment.len())
            .fold(0, usize::saturating_add);
        // B-TOP-5
        let topic_length = u16::try_from(topic_bytes).map_err(|_| Forbidden::TopicName)?;
        // B-VER-2: without its quality of service it has no packet identifier.
        let local = self.is_local(head.qos);
        let dropped_bytes = if local { 2 } else { 0 };
        let remaining = header
            .remaining
            .saturating_sub(head.topic.len())
            .saturating_sub(dropped_bytes)
            .saturating_add(topic_bytes);
        let length = Varint::encode(remaining).ok_or(Forbidden::TooLarge)?;
        if from == Side::Device {
            let packet_bytes = remaining
                .saturating_add(length.as_bytes().len())
                .saturating_add(1);
            self.check_upstream_size(packet_bytes)?;
        }
        // Translated means QoS 0 at most, and there 3.1.1 reserves the DUP flag.
        let is_plain = local || self.is_translated();
        output.insert(&[if is_plain {
            header.first & 0b1111_0001
        } else {
            header.first
        }]);
        output.insert(length.as_bytes());
        output.insert(&topic_length.to_be_bytes());
        let topic_start = offset.saturating_add(head.topic_range.start);
        for segment in segments {
            match &segment {
                Segment::Topic(range) if range.len() >= BORROW_BYTES_MIN => output.forward(
                    topic_start.saturating_add(range.start)..topic_start.saturating_add(range.end),
                ),
                Segment::Topic(_) | Segment::Insert(_) => {
                    output.insert(segment.text(head.topic).as_bytes());
                }
            }
        }
        let after_topic = head.topic_range.end.saturating_add(dropped_bytes);
        output.forward(offset.saturating_add(after_topic)..offset.saturating_add(head.head_bytes));
        Ok(())
    }

    /// B-TOP-5: what rewriting made must fit the upstream.
    pub(super) fn check_upstream_size(&self, packet_bytes: usize) -> Result<(), Forbidden> {
        if packet_bytes > self.upstream_packet_bytes_max {
            return Err(Forbidden::TooLarge);
        }
        Ok(())
    }

    /// Passes a range of the input as payload, however much of the message it is (B-TOP-6).
    pub(super) fn pass_payload(&mut self, from: Side, range: Range<usize>, outputs: &mut Outputs) {
        let passing = self.passing_mut(from);
        passing.payload_bytes = passing.payload_bytes.saturating_sub(range.len());
        let is_last = passing.payload_bytes == 0;
        if !passing.is_dropped {
            outputs.forward.forward(range);
        }
        if is_last {
            self.finish_publish(from, outputs);
        }
    }

    /// The last byte of a message is there: it is billed, and acknowledged where that is done here.
    pub(super) fn finish_publish(&mut self, from: Side, outputs: &mut Outputs) {
        if self.passing(from).is_dropped {
            self.bill_received(from, Kind::Publish);
        } else {
            self.bill(from, Kind::Publish, &mut outputs.forward);
        }
        match self.passing_mut(from).acknowledge.take() {
            Some((Qos::AtLeastOnce, id)) => write_acknowledgement(PUBACK, id, &mut outputs.reply),
            Some((Qos::ExactlyOnce, id)) => write_acknowledgement(PUBREC, id, &mut outputs.reply),
            Some((Qos::AtMostOnce, _)) | None => {}
        }
    }
}
