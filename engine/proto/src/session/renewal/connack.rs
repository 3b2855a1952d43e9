//! The CONNACK of the device, as it is noted, and the one of a renewal, which the device never sees: what
//! it was told must still be true, and the new upstream is sent what is not finished.

use super::{Session, Stage};
use crate::error::{Cause, Offence};
use crate::output::Output;
use crate::packet::ack::Connack;
use crate::packet::granted::{Granted, without_topic_aliases};
use crate::packet::parting::Parting;
use crate::packet::{Kind, Version};
use crate::session::{Front, Outputs, Step};

impl Session {
    /// Notes what the device is told; writes its CONNACK where it must not be told everything.
    pub(in crate::session) fn announce(
        &mut self,
        connack: &Connack,
        body: &[u8],
        output: &mut Output,
    ) -> Result<bool, Offence> {
        let version = self.opening.upstream_version;
        let Some(renewal) = &mut self.renewal else {
            return Ok(false);
        };
        if connack.code != 0 {
            return Ok(false);
        }
        renewal.has_past = has_past(connack, version);
        if version != Version::V5 {
            return Ok(false);
        }
        renewal.granted = Granted::read(body)?;
        // B-TOK-1: a topic alias of the device would mean nothing to another upstream.
        let changed = without_topic_aliases(body)?;
        if let Some(packet) = &changed {
            output.insert(packet);
        }
        Ok(changed.is_some())
    }

    /// The answer to the CONNECT of a renewal.
    pub(in crate::session) fn renewed(
        &mut self,
        front: Front<'_>,
        body: &[u8],
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let version = self.opening.upstream_version;
        let packet_bytes = front.header.packet_bytes();
        let connack = Connack::read(body, version)?;
        let Some(renewal) = &mut self.renewal else {
            return Ok(Step::Took(packet_bytes));
        };
        let failed = Step::Last(packet_bytes, Cause::RenewalFailed);
        if connack.code != 0 {
            outputs.parting = Parting::read(Kind::Connack, body, version);
            return Ok(if may_accept_later(connack.code) {
                Step::Last(packet_bytes, Cause::UpstreamRefused)
            } else {
                failed
            });
        }
        if version == Version::V5 && !renewal.granted.is_kept_by(&Granted::read(body)?) {
            return Ok(failed);
        }
        let session_present = has_past(&connack, version);
        // The device relies on subscriptions that were never seen here.
        if renewal.has_past && !session_present {
            return Ok(failed);
        }
        renewal.stage = Stage::Joined;
        renewal.is_renewed = true;
        let mut to_device = alloc::vec::Vec::new();
        renewal.deliveries.renewed(session_present, &mut to_device);
        outputs.forward.insert(&to_device);
        renewal
            .subscriptions
            .renewed(session_present, &renewal.requests, &mut outputs.reply);
        renewal
            .requests
            .send_again(session_present, &mut outputs.reply);
        Ok(Step::Took(packet_bytes))
    }
}

/// Whether the upstream kept a session; MQTT 3.1 does not say, and is served only where it kept none.
fn has_past(connack: &Connack, version: Version) -> bool {
    connack.session_present && version != Version::V31
}

/// Whether the refusal may pass by itself: server unavailable, in v5 also busy, quota or rate exceeded.
const fn may_accept_later(code: u8) -> bool {
    matches!(code, 3 | 0x88 | 0x89 | 0x97 | 0x9f)
}
