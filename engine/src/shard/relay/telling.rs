//! Telling: what is counted, logged and told of a session when it begins, when its CONNACK has come, and when it is gone.

use std::sync::Arc;

use ringbeam_proto::error::{Cause, Phase};
use tracing::info;

use super::Relay;
use super::flow::{Flow, Verdict};
use crate::shard::report::{SimEvent, SimEventKind};
use crate::sys::clock::unix_ms_of;

impl<W> Relay<W> {
    /// A session has begun.
    pub(super) fn begun(&mut self, index: u32) {
        let Some(flow) = self.flows.get(index as usize) else {
            return;
        };
        let platform = flow.session.opening().rules.platform;
        let destination = flow.record.destination;
        self.counters.update(|totals| {
            totals.joined += 1;
            totals.begun(platform, destination);
        });
    }

    /// Notes that a session's CONNACK has come, once, and says so. No event alone tells of it, so that it is
    /// attended to.
    pub(super) fn greet(&mut self, index: u32) -> bool {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return false;
        };
        if flow.is_greeted || !flow.is_established() {
            return false;
        }
        flow.is_greeted = true;
        let took_ms = self.now_ms.saturating_sub(flow.record.opened_ms);
        let Some(flow) = self.flows.get(index as usize) else {
            return false;
        };
        self.counters.update(|totals| {
            totals.established += 1;
            totals.connacks.observe(took_ms.saturating_mul(1_000));
        });
        let id = self.id_of(index, flow);
        let (opening, record) = (flow.session.opening(), &flow.record);
        let is_told = self.teller.tell(|| SimEvent {
            at_unix_ms: unix_ms_of(self.now_ms),
            identity: Some(opening.identity),
            network: Arc::clone(&record.network),
            peer: record.peer,
            what: SimEventKind::Established {
                id,
                platform: opening.rules.platform,
                device_version: opening.device_version,
                destination: record.destination,
                upstream: record.upstream,
                took_ms,
            },
        });
        self.note_told(is_told);
        true
    }

    /// A session is gone: it is counted, logged and told.
    pub(super) fn gone(&mut self, index: u32, flow: &Flow) {
        let (session, record) = (&flow.session, &flow.record);
        let Some(Verdict { cause, detail, .. }) = flow.verdict.as_deref() else {
            return;
        };
        let counts = session.counts();
        if self.shared.audience.collects_usage {
            self.usage.add(flow.untold());
        }
        let opening = session.opening();
        self.counters.update(|totals| {
            totals.billed.add(counts);
            totals.gone(opening.rules.platform, record.destination);
        });
        self.counters.ended(*cause);
        if let Some(parting) = flow.record.parting.as_deref()
            && matches!(cause, Cause::UpstreamRefused | Cause::UpstreamDisconnect)
        {
            self.counters.parted(parting);
        }
        let detail = detail.clone();
        let is_tls = record.is_tls;
        let duration_ms = self.now_ms.saturating_sub(record.opened_ms);
        info!(
            imsi = %opening.identity.imsi,
            sim_id = %opening.identity.sim_id,
            network = %record.network,
            peer = %record.peer,
            mqtt = opening.device_version.as_str(),
            platform = opening.rules.platform.as_str(),
            duration_ms,
            in_mqtt = counts.device_leg,
            out_mqtt = (!is_tls).then_some(counts.upstream_leg),
            out_mqtts = is_tls.then_some(counts.upstream_leg),
            reason = cause.name(),
            detail,
            "session ended",
        );
        if flow.is_tapped {
            self.taps.ended(index, cause.name());
        }
        let id = self.id_of(index, flow);
        let is_told = self.teller.tell(|| SimEvent {
            at_unix_ms: unix_ms_of(self.now_ms),
            identity: Some(opening.identity),
            network: Arc::clone(&record.network),
            peer: record.peer,
            what: SimEventKind::Ended {
                id,
                was_established: session.phase() == Phase::Established,
                reason: cause.name(),
                detail,
                duration_ms,
                counts,
            },
        });
        self.note_told(is_told);
    }

    fn note_told(&self, is_told: bool) {
        if !is_told {
            self.counters.update(|totals| totals.events_lost += 1);
        }
    }
}
