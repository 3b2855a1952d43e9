//! A session's messages: the head is rewritten, the payload passes.

use alloc::vec::Vec;
use core::mem;

use super::head::Publish;
use super::{
    Front, Outputs, PUBACK, PUBLISH, PUBREC, Passing, Session, Side, Step, write_acknowledgement,
};
use crate::error::{Forbidden, Offence, Phase};
use crate::frame::fixed_header;
use crate::limits::BORROW_BYTES_MIN;
use crate::output::Output;
use crate::packet::publish::read_head_bytes;
use crate::packet::{Kind, Qos, Version};
use crate::rewrite::changes_published;
use crate::tally::Came;
use crate::topic;

impl Session {
    /// Passes the PUBLISH at the front of `rest` in the shortest way, if it is one like nearly all: here as a
    /// whole, of a version before 5 with a short topic in ASCII, and to be acknowledged by the other side
    /// if at all; [`Self::is_plain`] says the rest. Returns its bytes. `None` leaves everything as it was: it
    /// is something else or not legal, and the long way finds out which.
    #[inline]
    pub(super) fn pass_plain(
        &mut self,
        from: Side,
        rest: &[u8],
        offset: usize,
        output: &mut Output,
    ) -> Option<usize> {
        let first = *rest.first()?;
        let qos = Qos::from_bits(first >> 1).ok()?;
        if first >> 4 != 3 || self.is_local(qos) {
            return None;
        }
        let header = fixed_header(rest).ok()??;
        let packet = rest.get(..header.packet_bytes())?;
        let (length, body) = packet.get(header.header_bytes..)?.split_first_chunk()?;
        let topic = body.get(..usize::from(u16::from_be_bytes(*length)))?;
        let look = topic::look(topic);
        if topic.is_empty() || topic.len() >= BORROW_BYTES_MIN || !look.is_plain {
            return None;
        }
        if qos != Qos::AtMostOnce && matches!(body.get(topic.len()..)?, [] | [_]) {
            return None;
        }
        // B-TOP-1: topics of the device alone.
        let topics = &self.opening.rules.topics;
        if from == Side::Device && changes_published(topics, look.has_brace) {
            let publish = Publish {
                from,
                first,
                topic,
                other_bytes: header.remaining.checked_sub(topic.len())?,
            };
            let count = self.write_short(publish, topics, output).ok()?;
            let after_topic = header
                .header_bytes
                .checked_add(2)?
                .checked_add(topic.len())?;
            let as_it_came = packet.get(after_topic..)?;
            output.inserted_before(count, offset.checked_add(after_topic)?, as_it_came);
        } else {
            output.forward(offset, packet);
        }
        self.bill(from, Kind::Publish, output);
        Some(packet.len())
    }

    /// Whether this session's messages may be passed by [`Self::pass_plain`].
    pub(super) fn is_plain(&self) -> bool {
        self.phase == Phase::Established
            && self.renewal.is_none()
            && self.opening.device_version != Version::V5
            && !self.is_translated()
    }

    /// Deals with the head of a PUBLISH, and with what is here of its payload.
    #[inline]
    pub(super) fn publish(
        &mut self,
        front: Front<'_>,
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let Front {
            from,
            header,
            rest,
            offset,
        } = front;
        let version = self.version(from);
        let head = match read_head_bytes(rest, header, version)? {
            Ok(head) => head,
            Err(need) => return Ok(Step::Need(need)),
        };
        // Nothing could be rewritten; v5: unless an alias stands for the topic (MQTT 5, 3.3.2.1).
        if head.topic.is_empty() && from == Side::Device && !head.has_alias()? {
            return Err(Forbidden::TopicName.into());
        }
        if let Some(step) = self.keep_track_of_publish(front, &head, outputs)? {
            return Ok(step);
        }
        let written = self.write_head(front, &head, &mut outputs.forward)?;
        let end = rest.len().min(header.packet_bytes());
        let as_it_came = rest.get(written..end).unwrap_or_default();
        outputs
            .forward
            .forward(offset.saturating_add(written), as_it_came);
        let is_local = self.is_local(head.qos);
        let passing = Passing {
            payload_bytes: small(header.packet_bytes().saturating_sub(end)),
            acknowledge: head.packet_id.filter(|_| is_local).map(|id| (head.qos, id)),
            is_dropped: false,
        };
        if passing.payload_bytes == 0 {
            self.finish_publish(from, passing, outputs);
        } else {
            *self.passing_mut(from) = passing;
        }
        Ok(Step::Took(end))
    }

    /// Passes bytes of the input as payload, however much of the message they are (B-TOP-6).
    pub(super) fn pass_payload(
        &mut self,
        from: Side,
        start: usize,
        bytes: &[u8],
        outputs: &mut Outputs,
    ) {
        if !self.passing(from).is_dropped {
            outputs.forward.forward(start, bytes);
        }
        if let Some(passing) = self.count_down(from, bytes.len()) {
            self.finish_publish(from, passing, outputs);
        }
    }

    /// Whether what is left of the payload from `from` may be moved to the other side without passing
    /// through here: some is left, and it is not one that goes no further. A renewal keeps nothing of a message
    /// that it does not take whole, and waits for its end wherever that passes.
    #[must_use]
    pub const fn may_splice(&self, from: Side) -> bool {
        self.is_amid_message(from) && !self.passing(from).is_dropped
    }

    /// The caller has moved `count` bytes of the payload from `from` to the other side itself, at most
    /// [`Self::payload_left`], while [`Self::may_splice`]. With the last of them the message is billed on both
    /// legs, since the kernel has taken it (B-BILL-1), and acknowledged where that is done here. What is due
    /// to the other side stays due: it may go now.
    pub fn passed_elsewhere(
        &mut self,
        from: Side,
        count: usize,
        now_ms: u64,
        outputs: &mut Outputs,
    ) {
        self.keep_alive.heard(from, now_ms);
        if self.count_elsewhere(from, count, outputs) {
            self.count_sent(from.other(), 1);
        }
    }

    /// The caller has taken `count` bytes of the payload from `from` to be moved by itself, and the other side takes
    /// nothing any more. They count as received alone (B-BILL-1).
    pub fn lost_elsewhere(&mut self, from: Side, count: usize, outputs: &mut Outputs) {
        self.count_elsewhere(from, count, outputs);
    }

    /// Says whether a billed message has come to its end.
    fn count_elsewhere(&mut self, from: Side, count: usize, outputs: &mut Outputs) -> bool {
        if !self.is_amid_message(from) {
            return false;
        }
        let bytes = count as u64;
        outputs.tally.under_mut(self.opening.rules.platform).note(
            from,
            PUBLISH,
            Came { packets: 0, bytes },
        );
        let Some(passing) = self.count_down(from, count) else {
            return false;
        };
        let is_billed = self.bill_received(from, Kind::Publish) && !passing.is_dropped;
        passing.acknowledge(&mut outputs.reply);
        is_billed
    }

    /// So many bytes of the payload have passed. Returns the message when they were the last.
    fn count_down(&mut self, from: Side, bytes: usize) -> Option<Passing> {
        let passing = self.passing_mut(from);
        passing.payload_bytes = passing.payload_bytes.saturating_sub(small(bytes));
        (passing.payload_bytes == 0).then(|| mem::take(passing))
    }

    /// The last byte of a message is there: it is billed, and acknowledged where that is done here.
    #[inline]
    pub(super) fn finish_publish(&mut self, from: Side, passing: Passing, outputs: &mut Outputs) {
        if passing.is_dropped {
            self.bill_received(from, Kind::Publish);
        } else {
            self.bill(from, Kind::Publish, &mut outputs.forward);
        }
        passing.acknowledge(&mut outputs.reply);
    }
}

impl Passing {
    /// Writes the acknowledgement that is due here.
    #[inline]
    fn acknowledge(self, reply: &mut Vec<u8>) {
        match self.acknowledge {
            Some((Qos::AtLeastOnce, id)) => write_acknowledgement(PUBACK, id, reply),
            Some((Qos::ExactlyOnce, id)) => write_acknowledgement(PUBREC, id, reply),
            Some((Qos::AtMostOnce, _)) | None => {}
        }
    }
}

/// A length within a packet, which has fewer than 2^29 bytes.
#[inline]
pub(super) fn small(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
