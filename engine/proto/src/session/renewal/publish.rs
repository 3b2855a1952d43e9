//! Messages as they pass: which are taken whole, copied, tracked, held or kept back.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::requests::{Progress, Room};
use super::{Renewal, Session};
use crate::error::{Forbidden, Offence};
use crate::limits::RENEWAL_COPY_BYTES;
use crate::output::Output;
use crate::packet::Qos;
use crate::packet::publish::Head;
use crate::session::publish::small;
use crate::session::{Front, Outputs, Passing, Side, Step};

impl Session {
    /// A PUBLISH is at the front. Some step instead of passing it on; nothing without renewal.
    #[inline]
    pub(in crate::session) fn keep_track_of_publish(
        &mut self,
        front: Front<'_>,
        head: &Head<'_, [u8]>,
        outputs: &mut Outputs,
    ) -> Result<Option<Step>, Offence> {
        if self.renewal.is_none() {
            return Ok(None);
        }
        match front.from {
            Side::Device => self.keep_track_of_sent(front, head),
            Side::Upstream => {
                let is_dup = front.header.flags() & 0b1000 != 0;
                self.keep_track_of_delivered(head, is_dup, outputs)
            }
        }
    }

    fn keep_track_of_sent(
        &mut self,
        front: Front<'_>,
        head: &Head<'_, [u8]>,
    ) -> Result<Option<Step>, Offence> {
        // The device was told that there are none.
        if head.has_alias()? {
            return Err(Forbidden::TopicAlias.into());
        }
        let packet_bytes = front.header.packet_bytes();
        let is_large = packet_bytes > RENEWAL_COPY_BYTES;
        if !is_large && front.rest.len() < packet_bytes {
            return Ok(Some(Step::Need(packet_bytes)));
        }
        let Some(packet_id) = head.packet_id.filter(|_| !self.is_local(head.qos)) else {
            return Ok(None);
        };
        let is_exactly_once = head.qos == Qos::ExactlyOnce;
        let copy = if is_large {
            None
        } else {
            Some(self.copy_of_publish(front, head)?)
        };
        let Some(renewal) = &mut self.renewal else {
            return Ok(None);
        };
        // The device sends it again of its own accord.
        let is_repeat = front.header.flags() & 0b1000 != 0;
        if is_repeat && renewal.requests.has_publish(packet_id, is_exactly_once) {
            return Ok(None);
        }
        let progress = if is_exactly_once {
            Progress::Sent
        } else {
            Progress::AtLeastOnce
        };
        Ok(if renewal.admit(packet_id, progress, copy) {
            None
        } else {
            Some(Step::Hold)
        })
    }

    /// The whole message as it goes upstream.
    fn copy_of_publish(
        &self,
        front: Front<'_>,
        head: &Head<'_, [u8]>,
    ) -> Result<Box<[u8]>, Offence> {
        let mut output = Output::default();
        let written = self.write_head(Front { offset: 0, ..front }, head, &mut output)?;
        let as_it_came = front.rest.get(written..front.header.packet_bytes());
        output.forward(written, as_it_came.unwrap_or_default());
        Ok(collect(&output, front.rest))
    }

    fn keep_track_of_delivered(
        &mut self,
        head: &Head<'_, [u8]>,
        is_dup: bool,
        outputs: &mut Outputs,
    ) -> Result<Option<Step>, Offence> {
        let is_local = self.is_local(head.qos);
        let Some(renewal) = self.renewal.as_mut() else {
            return Ok(None);
        };
        let tracked = head.packet_id.filter(|_| !is_local);
        // An alias that is set here is used later.
        if head.retain && renewal.is_renewed && !head.has_alias()? {
            let is_repeat = renewal
                .subscriptions
                .is_repeat(head, is_dup, &renewal.requests);
            if is_repeat {
                if let Some(packet_id) = tracked.filter(|_| head.qos == Qos::ExactlyOnce) {
                    renewal.deliveries.kept_back(packet_id);
                }
                return Ok(Some(self.keep_back(head, outputs)));
            }
        }
        if let Some(packet_id) = tracked {
            // The identifiers of the last upstream are still in use at the device.
            if renewal.deliveries.is_owed() {
                return Ok(Some(Step::Hold));
            }
            renewal.deliveries.published(packet_id, head.qos);
        }
        Ok(None)
    }

    /// A message goes no further; the upstream is answered when it is whole.
    fn keep_back(&mut self, head: &Head<'_, [u8]>, outputs: &mut Outputs) -> Step {
        let passing = Passing {
            payload_bytes: small(head.payload_bytes),
            acknowledge: head.packet_id.map(|id| (head.qos, id)),
            is_dropped: true,
        };
        if passing.payload_bytes == 0 {
            self.finish_publish(Side::Upstream, passing, outputs);
        } else {
            self.from_upstream = passing;
        }
        Step::Took(head.head_bytes)
    }
}

impl Renewal {
    /// Keeps a request, or says that it has to wait for the upstream's answers.
    pub(super) fn admit(
        &mut self,
        packet_id: u16,
        progress: Progress,
        copy: Option<Box<[u8]>>,
    ) -> bool {
        let bytes = copy.as_ref().map_or(usize::MAX, |copy| copy.len());
        let mut room = self.requests.room(bytes);
        if !self.deliveries.is_owed() {
            // An identifier of our own is soon free again.
            if self.subscriptions.uses(packet_id) {
                return false;
            }
        } else if room == Room::Later {
            // The upstream's answers may stand behind a message that waits for the device.
            room = Room::Never;
        }
        match room {
            Room::Fits => self.requests.add(packet_id, progress, copy),
            Room::Later => return false,
            Room::Never => self.requests.add(packet_id, progress, None),
        }
        true
    }
}

/// Everything in an output, as one piece.
pub(super) fn collect(output: &Output, input: &[u8]) -> Box<[u8]> {
    let mut bytes = Vec::with_capacity(output.pending_bytes());
    for slice in output.slices(input) {
        bytes.extend_from_slice(slice);
    }
    bytes.into_boxed_slice()
}
