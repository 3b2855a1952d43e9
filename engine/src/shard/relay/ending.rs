//! Ending: a session's last words, and the orderly close of both connections. A descriptor is closed when the ring has
//! nothing more to do with it.

use std::rc::Rc;
use std::sync::atomic::Ordering;

use ringbeam_proto::error::{Cause, Phase, Refusal};
use ringbeam_proto::session::Side;

use super::batch::NONE;
use super::flow::{Flow, Stage, Verdict};
use super::leg::Reading;
use super::wire::Wire;
use super::{FlowId, Relay};
use crate::limits::LINGER_MS;
use crate::shard::mailbox;

impl<W: Wire> Relay<W> {
    /// The session has ended: last words to both sides, behind what is on its way.
    pub(super) fn end(&mut self, index: u32, cause: Cause) {
        let now_ms = self.now_ms;
        let flow = self.flows.get(index as usize);
        if flow.is_some_and(|flow| flow.device.entry != NONE || flow.upstream.entry != NONE) {
            // What is under way in this round comes first.
            self.flush();
        }
        if self.greet(index) {
            self.prevail(index);
        }
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if flow.has_ended() {
            if cause.is_abrupt() {
                flow.stage = Stage::Reaping;
                self.attend_to(index);
            }
            return;
        }
        let id = FlowId {
            index,
            generation: flow.generation,
        };
        let is_devices = matches!(cause, Cause::DeviceReset | Cause::DeviceStalled);
        let broken = if is_devices {
            Side::Device
        } else {
            Side::Upstream
        };
        let failure = flow.take_failure(broken);
        let renewal = flow
            .renewing
            .take()
            .and_then(|mut renewing| renewing.end(id));
        let detail = failure.or(renewal).or_else(|| detail(flow, cause));
        flow.verdict = Some(Box::new(Verdict {
            cause,
            detail,
            awaited: Vec::new(),
        }));
        flow.record.sim.end();
        let imsi = flow.session.opening().identity.imsi;
        let phase = flow.session.phase();
        let silent = flow.record.upstream;
        flow.limit_ms = now_ms.saturating_add(LINGER_MS);
        flow.from_device.ending = None;
        flow.from_upstream.ending = None;
        if cause.is_abrupt() {
            flow.stage = Stage::Reaping;
        } else {
            flow.stage = Stage::Finishing;
            self.say_farewell(index, cause);
        }
        if phase == Phase::Connecting && is_silence(cause) {
            // It takes connections and does not answer: others of its name are better for a while.
            self.tell_front(mailbox::Message::AddressFailed(silent));
        }
        self.yield_to_rivals(imsi, index);
        self.attend_to(index);
    }

    fn say_farewell(&mut self, index: u32, cause: Cause) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let (mut device, mut upstream) = (Vec::new(), Vec::new());
        flow.session.farewell(cause, &mut device, &mut upstream);
        for (side, farewell) in [(Side::Device, device), (Side::Upstream, upstream)] {
            let Some(flow) = self.flows.get_mut(index as usize) else {
                return;
            };
            let mut words = flow.leg_mut(side).take_due();
            if flow.session.is_amid_message(side.other()) {
                // A message that broke off leaves nothing to say, unless the device still gets the rest of it.
                if side == Side::Device && flow.becomes_half_closed() {
                    flow.device.put_due(&words);
                }
                continue;
            }
            words.extend_from_slice(&farewell);
            self.say(index, side, &words);
        }
    }

    /// Takes a session that has ended as far as it goes.
    pub(super) fn go_on_ending(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        match flow.stage {
            Stage::Joined | Stage::Leaving => {}
            Stage::Finishing => {
                let is_flushed = flow.device.is_clear() && flow.upstream.is_clear();
                if !is_flushed || flow.awaits_answers(self.now_ms) {
                    return;
                }
                if self.close_tls(index) {
                    // It has something to say about that.
                    return self.attend_to(index);
                }
                self.finish(index);
            }
            Stage::HalfClosed => {
                if flow.over(Side::Upstream).is_some() {
                    self.close_sending(index, Side::Device);
                }
            }
            Stage::Closing => {
                let is_over = |leg: &super::Leg| leg.is_absent() || leg.reading != Reading::Open;
                if is_over(&flow.device) && is_over(&flow.upstream) {
                    flow.stage = Stage::Reaping;
                    self.reap(index);
                }
            }
            Stage::Reaping => self.reap(index),
        }
    }

    /// Everything is said.
    fn finish(&mut self, index: u32) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        if flow.becomes_half_closed() {
            // The device may still read: it gets what the upstream says.
            flow.stage = Stage::HalfClosed;
            if let Some(socket) = flow.upstream.socket() {
                self.wire.finish_sending(socket);
            }
            self.attend_to(index);
            return;
        }
        self.close_sending(index, Side::Upstream);
        self.close_sending(index, Side::Device);
    }

    /// Nothing more is sent to this side; what still comes from both is read away.
    fn close_sending(&mut self, index: u32, side: Side) {
        let Some(flow) = self.flows.get_mut(index as usize) else {
            return;
        };
        let leg = flow.leg(side);
        // Where the peer has closed as well, closing is all there is to do.
        if let Some(socket) = leg.socket()
            && leg.reading == Reading::Open
        {
            self.wire.finish_sending(socket);
        }
        flow.stage = Stage::Closing;
        if let Some(verdict) = flow.verdict.as_deref_mut() {
            verdict.awaited.clear();
        }
        self.attend_to(index);
    }

    /// Has TLS say that nothing more will be sent; true when it has something to say.
    pub(super) fn close_tls(&mut self, index: u32) -> bool {
        let Self { flows, batch, .. } = self;
        let Some(flow) = flows.get_mut(index as usize) else {
            return false;
        };
        let leg = &mut flow.upstream;
        let Some(tls) = leg.tls.as_deref_mut() else {
            return false;
        };
        tls.close();
        let has_words = !tls.outgoing().is_empty();
        if has_words && leg.is_clear() {
            super::enter(batch, leg, index, Side::Upstream);
        }
        has_words
    }

    /// Nothing more is done with both connections: they are closed as soon as the ring lets them go.
    fn reap(&mut self, index: u32) {
        for side in [Side::Device, Side::Upstream] {
            self.stop(index, side);
        }
        let is_free = |flow: &Flow| !flow.device.is_busy() && !flow.upstream.is_busy();
        if !self.flows.get(index as usize).is_some_and(is_free) {
            return;
        }
        let mut flow = self.flows.remove(index as usize);
        self.live.fetch_sub(1, Ordering::Relaxed);
        for leg in [&mut flow.upstream, &mut flow.device] {
            if let Some(socket) = leg.take_socket() {
                self.wire.close(socket);
            }
        }
        self.forget_waiting(&flow);
        for way in [&flow.from_device, &flow.from_upstream] {
            self.forget_kept(way.kept.len());
        }
        self.gone(index, &flow);
        let imsi = flow.session.opening().identity.imsi;
        if let Some(allowance) = flow.allowance.take()
            && Rc::strong_count(&allowance) <= 2
        {
            self.allowances.remove(&imsi);
        }
    }
}

/// What there is to know beside the name of what ended a session, where nothing broke.
fn detail(flow: &Flow, cause: Cause) -> Option<String> {
    let own_words = matches!(
        cause,
        Cause::UpstreamRefused | Cause::UpstreamDisconnect | Cause::DeviceDisconnect
    );
    if own_words {
        return flow.record.parting.as_ref().map(ToString::to_string);
    }
    if matches!(cause, Cause::DeviceStalled | Cause::UpstreamStalled) {
        return Some(format!("it took nothing for {} ms", flow.stall_timeout_ms));
    }
    if cause == Cause::KeepAliveTimeout {
        let seconds = flow.session.keep_alive_seconds();
        return Some(format!("keep alive {seconds} s"));
    }
    if cause == Cause::Refused(Refusal::UpstreamTimeout) {
        let upstream = flow.record.upstream;
        return Some(format!("{upstream} did not answer the CONNECT"));
    }
    cause.detail()
}

/// Whether an upstream that has not answered a CONNECT ends like this of its own doing.
const fn is_silence(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Refused(Refusal::UpstreamTimeout | Refusal::UpstreamClosed)
            | Cause::UpstreamStalled
            | Cause::UpstreamTls
    )
}
