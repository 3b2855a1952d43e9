//! Packets other than messages as they pass: requests are copied, acknowledgements tracked, and what
//! concerns an upstream that is gone is answered here.

use super::publish::collect;
use super::requests::{Answer, Progress};
use super::{PINGRESP, PINGS_MAX, Past, Session, Stage};
use crate::error::{Cause, Offence};
use crate::output::Output;
use crate::packet::ack::{read_acknowledged, read_codes};
use crate::packet::{Kind, Qos};
use crate::session::{Front, Outputs, PUBCOMP, PUBREL, Side, Step, write_acknowledgement};

impl Session {
    /// A packet is at the front that is neither PUBLISH nor CONNACK. Some step instead of passing it on;
    /// nothing without renewal.
    pub(in crate::session) fn keep_track(
        &mut self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
        outputs: &mut Outputs,
    ) -> Result<Option<Step>, Offence> {
        if self.renewal.is_none() {
            return Ok(None);
        }
        match kind {
            Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => {
                self.keep_track_of_acknowledgement(front, kind, body, outputs)
            }
            Kind::Subscribe | Kind::Unsubscribe => self.keep_track_of_filters(front, kind, body),
            Kind::Suback | Kind::Unsuback => self.keep_track_of_granted(front, kind, body),
            Kind::Pingreq if front.from == Side::Device => {
                Ok(self.keep_track_of_ping(front, outputs))
            }
            Kind::Pingresp if front.from == Side::Upstream => {
                Ok(self.keep_track_of_ping(front, outputs))
            }
            Kind::Disconnect if front.from == Side::Upstream => {
                Ok(self.keep_track_of_dismissal(front, body))
            }
            Kind::Pingreq
            | Kind::Pingresp
            | Kind::Disconnect
            | Kind::Auth
            | Kind::Connect
            | Kind::Connack
            | Kind::Publish => Ok(None),
        }
    }

    fn keep_track_of_acknowledgement(
        &mut self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
        outputs: &mut Outputs,
    ) -> Result<Option<Step>, Offence> {
        // B-VER-2: acknowledged here, whatever the upstream does.
        if self.is_local(Qos::ExactlyOnce) {
            return Ok(None);
        }
        let packet_id = read_acknowledged(body)?;
        // v5: the reason code stands behind the identifier.
        let is_refused = body.get(2).is_some_and(|code| *code >= 0x80);
        let answer = self.acknowledgement(front.from, kind, packet_id, is_refused);
        let packet_bytes = front.header.packet_bytes();
        let swallowed = Some(Step::Took(packet_bytes));
        let is_left = self.is_without_upstream();
        Ok(match answer {
            Answer::Pass if kind == Kind::Pubcomp && is_refused && self.is_renewed() => {
                // The upstream has forgotten what it completed before: that is no news to the device.
                let mut plain = alloc::vec::Vec::new();
                write_acknowledgement(PUBCOMP, packet_id, &mut plain);
                outputs.forward.insert(&plain);
                swallowed
            }
            // There is nobody that it concerns.
            Answer::Pass | Answer::Unknown if is_left => swallowed,
            Answer::Pass | Answer::Unknown => None,
            Answer::Swallow => swallowed,
            Answer::Release => {
                write_acknowledgement(PUBREL, packet_id, &mut outputs.reply);
                swallowed
            }
            Answer::Complete => {
                write_acknowledgement(PUBCOMP, packet_id, &mut outputs.reply);
                swallowed
            }
            Answer::Finish => {
                let mut plain = alloc::vec::Vec::new();
                write_acknowledgement(PUBCOMP, packet_id, &mut plain);
                outputs.forward.insert(&plain);
                swallowed
            }
            Answer::Breaks => Some(Step::Last(packet_bytes, Cause::RenewalFailed)),
        })
    }

    fn is_renewed(&self) -> bool {
        self.renewal
            .as_ref()
            .is_some_and(|renewal| renewal.is_renewed)
    }

    fn acknowledgement(
        &mut self,
        from: Side,
        kind: Kind,
        packet_id: u16,
        is_refused: bool,
    ) -> Answer {
        let Some(renewal) = &mut self.renewal else {
            return Answer::Unknown;
        };
        let knows_all = renewal.knows_all();
        let (requests, deliveries) = (&mut renewal.requests, &mut renewal.deliveries);
        let answer = match (from, kind) {
            (Side::Device, Kind::Puback) => return deliveries.acknowledged(packet_id),
            (Side::Device, Kind::Pubrec) => return deliveries.received(packet_id, is_refused),
            (Side::Device, Kind::Pubcomp) => return deliveries.completed(packet_id),
            (Side::Device, Kind::Pubrel) => return requests.released(packet_id),
            (Side::Upstream, Kind::Pubrel) => deliveries.released(packet_id, knows_all),
            (Side::Upstream, Kind::Puback) => requests.acknowledged(packet_id, is_refused),
            (Side::Upstream, Kind::Pubrec) => requests.received(packet_id, is_refused),
            (Side::Upstream, Kind::Pubcomp) => requests.completed(packet_id),
            (
                _,
                Kind::Connect
                | Kind::Connack
                | Kind::Publish
                | Kind::Subscribe
                | Kind::Suback
                | Kind::Unsubscribe
                | Kind::Unsuback
                | Kind::Pingreq
                | Kind::Pingresp
                | Kind::Disconnect
                | Kind::Auth,
            ) => Answer::Unknown,
        };
        // It answers what was answered by an earlier upstream.
        if answer == Answer::Unknown && knows_all {
            return Answer::Swallow;
        }
        answer
    }

    fn keep_track_of_filters(
        &mut self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
    ) -> Result<Option<Step>, Offence> {
        let mut output = Output::default();
        self.filters(Front { offset: 0, ..front }, kind, body, &mut output)?;
        let copy = collect(&output, front.rest);
        let packet_id = read_acknowledged(body)?;
        let progress = if kind == Kind::Subscribe {
            Progress::Subscribe
        } else {
            Progress::Unsubscribe
        };
        let is_admitted = self
            .renewal
            .as_mut()
            .is_none_or(|renewal| renewal.admit(packet_id, progress, Some(copy)));
        Ok(if is_admitted { None } else { Some(Step::Hold) })
    }

    fn keep_track_of_granted(
        &mut self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
    ) -> Result<Option<Step>, Offence> {
        let codes = read_codes(body, self.opening.upstream_version)?;
        let packet_id = read_acknowledged(body)?;
        let packet_bytes = front.header.packet_bytes();
        let Some(renewal) = &mut self.renewal else {
            return Ok(None);
        };
        let subscriptions = &mut renewal.subscriptions;
        if kind == Kind::Unsuback {
            let is_right = |one| one == Progress::Unsubscribe;
            if let Some(request) = renewal.requests.remove(packet_id, is_right) {
                subscriptions.unsubscribed(request.copy.as_deref(), codes);
            }
            return Ok(None);
        }
        if let Some(is_kept) = subscriptions.answered(packet_id, codes) {
            return Ok(Some(if is_kept {
                Step::Took(packet_bytes)
            } else {
                Step::Last(packet_bytes, Cause::RenewalFailed)
            }));
        }
        let is_right = |one| one == Progress::Subscribe;
        if let Some(request) = renewal.requests.remove(packet_id, is_right) {
            subscriptions.subscribed(request.copy.as_deref(), codes);
        }
        Ok(None)
    }

    /// v5: the upstream says that it closes. The device is told only what ends its session.
    fn keep_track_of_dismissal(&mut self, front: Front<'_>, body: &[u8]) -> Option<Step> {
        let code = body.first().copied().unwrap_or_default();
        if let Some(renewal) = &mut self.renewal {
            match remedy(code) {
                Remedy::Another => {}
                Remedy::AnotherSurely => renewal.is_excused = true,
                Remedy::None => renewal.past = Past::Over,
            }
        }
        let packet_bytes = front.header.packet_bytes();
        let ends = Step::Last(packet_bytes, Cause::UpstreamDisconnect);
        self.can_renew().is_ok().then_some(ends)
    }

    fn keep_track_of_ping(&mut self, front: Front<'_>, outputs: &mut Outputs) -> Option<Step> {
        let packet_bytes = front.header.packet_bytes();
        let renewal = self.renewal.as_mut()?;
        match (front.from, renewal.stage) {
            (Side::Upstream, _) => {
                let answers_nothing = renewal.pings == 0 && renewal.is_renewed;
                renewal.pings = renewal.pings.saturating_sub(1);
                answers_nothing.then_some(Step::Took(packet_bytes))
            }
            (Side::Device, Stage::Left) => {
                outputs.reply.extend_from_slice(&PINGRESP);
                // B-BILL-1: it passed on one leg only.
                self.bill_received(Side::Device, Kind::Pingreq);
                Some(Step::Took(packet_bytes))
            }
            (Side::Device, Stage::Joined | Stage::Leaving) => {
                renewal.pings = renewal.pings.saturating_add(1).min(PINGS_MAX);
                None
            }
        }
    }
}

/// What helps against the reason of a DISCONNECT.
enum Remedy {
    /// Another connection may.
    Another,
    /// Another connection will: nothing that the device sent is the reason.
    AnotherSurely,
    /// Nothing: the upstream objects to what the device sent, has another connection of the client (0x8e),
    /// was told to end this one (0x98), or wants the client elsewhere.
    None,
}

const fn remedy(code: u8) -> Remedy {
    match code {
        // Unspecified, implementation specific, not authorized, quota exceeded.
        0x80 | 0x83 | 0x87 | 0x97 => Remedy::Another,
        // Busy, shutting down, keep alive, connection rate, connect time.
        0x89 | 0x8b | 0x8d | 0x9f | 0xa0 => Remedy::AnotherSurely,
        _ => Remedy::None,
    }
}
