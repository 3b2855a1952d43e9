//! Taps: who looks at what passes in the sessions of a SIM, and what is shown. A session that nobody looks at has one flag for
//! it, which is looked at once a read.

use std::sync::{Arc, Weak};

use ahash::RandomState;
use bytes::Bytes;
use crossbeam_channel::{Sender, TrySendError};
use hashbrown::HashMap;
use ringbeam_proto::identity::Imsi;
use ringbeam_proto::output::Output;
use ringbeam_proto::session::{Session, Side};

use super::batch::NONE;
use super::flow::Flow;
use super::wire::Wire;
use super::{FlowId, Relay};
use crate::limits::{TAP_EVENT_BYTES, TAPS};
use crate::shard::report::{ConnectionId, TapDirection, TapEvent, TapEventKind, TapRequest};
use crate::sys::clock::unix_ms;

/// Everybody who looks.
#[derive(Debug, Default)]
pub(super) struct Taps {
    shard: usize,
    taps: Vec<Tap>,
    /// The number of the last one.
    number: u64,
    /// Some are over.
    has_over: bool,
}

/// Somebody who looks at a SIM's sessions.
#[derive(Debug)]
struct Tap {
    number: u64,
    imsi: Imsi,
    until_ms: u64,
    events: Sender<TapEvent>,
    is_wanted: Weak<()>,
    /// Events that found no room since the last one.
    lost: u64,
    is_over: bool,
    /// The sessions that it was told of, by their places.
    sessions: HashMap<u32, Seen, RandomState>,
}

/// A session as a tap sees it.
#[derive(Debug)]
struct Seen {
    id: ConnectionId,
    /// Whether it was amid a message from the device, and from the upstream, when it was seen first: those are not shown.
    amid: [bool; 2],
}

/// How a session stood before it dealt with what came from a side.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// Payload bytes that were still to come.
    left: usize,
    /// Whether they are sent on.
    goes_on: bool,
}

/// What a session made of what came from a side.
pub(super) struct Made<'a> {
    /// Which one.
    from: Side,
    before: Before,
    /// What came, all that was looked at, and how much of it was dealt with.
    input: &'a [u8],
    consumed: usize,
    /// What is sent on, if there is somebody to send it to.
    output: Option<&'a Output>,
}

/// Bytes that a tap shows.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    leg: Side,
    direction: TapDirection,
    begins_packet: bool,
    holds_secrets: bool,
    bytes: &'a [u8],
}

impl<'a> Made<'a> {
    pub(super) const fn of(
        from: Side,
        before: Before,
        (input, consumed): (&'a [u8], usize),
        output: Option<&'a Output>,
    ) -> Self {
        Self {
            from,
            before,
            input,
            consumed,
            output,
        }
    }
}

impl Before {
    pub(super) const fn of(session: &Session, from: Side) -> Self {
        Self {
            left: session.payload_left(from),
            goes_on: session.may_splice(from),
        }
    }
}

impl Taps {
    pub(super) fn new(shard: usize) -> Self {
        Self {
            shard,
            ..Self::default()
        }
    }

    /// One more, by its number; `None` where there are too many, and whoever looks finds that nobody shows anything.
    fn add(&mut self, request: TapRequest) -> Option<u64> {
        if self.taps.len() >= TAPS {
            return None;
        }
        self.number = self.number.wrapping_add(1);
        let TapRequest {
            imsi,
            until_ms,
            events,
            is_wanted,
        } = request;
        self.taps.push(Tap {
            number: self.number,
            imsi,
            until_ms,
            events,
            is_wanted,
            lost: 0,
            is_over: false,
            sessions: HashMap::default(),
        });
        Some(self.number)
    }

    /// A session is there: those who look at its SIM are told, or one of them alone. Says whether there is any.
    fn begin(&mut self, index: u32, flow: &Flow, only: Option<u64>) -> bool {
        let imsi = flow.session.opening().identity.imsi;
        let id = FlowId {
            index,
            generation: flow.generation,
        };
        let id = ConnectionId::new(self.shard, id);
        let mut is_any = false;
        for tap in &mut self.taps {
            let is_meant = only.is_none_or(|number| number == tap.number);
            // One that is looked for may have begun in the meantime.
            if tap.imsi == imsi && is_meant && !tap.sessions.contains_key(&index) {
                tap.begin(index, id, flow, only.is_some());
                self.has_over |= tap.is_over;
                is_any = true;
            }
        }
        is_any
    }

    /// A session made something of what came from a side.
    pub(super) fn passed(&mut self, index: u32, made: &Made<'_>) {
        self.each(index, |tap| tap.passed(index, made));
    }

    /// The relay says something of its own to a side, between two packets.
    pub(super) fn said(&mut self, index: u32, leg: Side, bytes: &[u8], holds_secrets: bool) {
        let part = Part {
            leg,
            direction: TapDirection::Sent,
            begins_packet: true,
            holds_secrets,
            bytes,
        };
        self.each(index, |tap| tap.show(index, part));
    }

    /// A session is gone.
    pub(super) fn ended(&mut self, index: u32, reason: &'static str) {
        self.each(index, |tap| {
            if let Some(seen) = tap.sessions.remove(&index) {
                tap.tell(seen.id, TapEventKind::Ended { reason });
            }
        });
    }

    fn each(&mut self, index: u32, mut show: impl FnMut(&mut Tap)) {
        for tap in &mut self.taps {
            if tap.sessions.contains_key(&index) {
                show(tap);
                self.has_over |= tap.is_over;
            }
        }
    }
}

impl Tap {
    fn begin(&mut self, index: u32, id: ConnectionId, flow: &Flow, is_under_way: bool) {
        let amid = [Side::Device, Side::Upstream].map(|side| flow.session.is_amid_message(side));
        self.sessions.insert(index, Seen { id, amid });
        let (opening, record) = (flow.session.opening(), &flow.record);
        self.tell(
            id,
            TapEventKind::Begun {
                identity: opening.identity,
                network: Arc::clone(&record.network),
                peer: record.peer,
                upstream: record.upstream,
                over_tls: record.is_tls,
                platform: opening.rules.platform,
                device_version: opening.device_version,
                upstream_version: opening.upstream_version,
                is_under_way,
            },
        );
    }

    fn passed(&mut self, index: u32, made: &Made<'_>) {
        let Made {
            from,
            before: Before { left, goes_on },
            input,
            consumed,
            output,
        } = *made;
        let Some(seen) = self.sessions.get_mut(&index) else {
            return;
        };
        let [from_device, from_upstream] = &mut seen.amid;
        let amid = match from {
            Side::Device => from_device,
            Side::Upstream => from_upstream,
        };
        // What is left of the message that it was amid.
        let skipped = if *amid { left.min(consumed) } else { 0 };
        *amid &= left > skipped;
        let received = Part {
            leg: from,
            direction: TapDirection::Received,
            begins_packet: left == skipped,
            holds_secrets: false,
            bytes: input.get(skipped..consumed).unwrap_or_default(),
        };
        self.show(index, received);
        let Some(output) = output else {
            return;
        };
        let skipped = if goes_on { skipped } else { 0 };
        let mut bytes = Vec::with_capacity(output.produced_bytes());
        for slice in output.slices(input) {
            bytes.extend_from_slice(slice);
        }
        let sent = Part {
            leg: from.other(),
            direction: TapDirection::Sent,
            begins_packet: received.begins_packet || !goes_on,
            holds_secrets: false,
            bytes: bytes.get(skipped..).unwrap_or_default(),
        };
        self.show(index, sent);
    }

    fn show(&mut self, index: u32, part: Part<'_>) {
        let Some(id) = self.sessions.get(&index).map(|seen| seen.id) else {
            return;
        };
        for (number, bytes) in part.bytes.chunks(TAP_EVENT_BYTES).enumerate() {
            if self.events.is_full() {
                self.lost = self.lost.saturating_add(1);
                continue;
            }
            let what = TapEventKind::Passed {
                leg: part.leg,
                direction: part.direction,
                begins_packet: part.begins_packet && number == 0,
                holds_secrets: part.holds_secrets,
                bytes: Bytes::copy_from_slice(bytes),
            };
            self.tell(id, what);
        }
    }

    fn tell(&mut self, session: ConnectionId, what: TapEventKind) {
        self.is_over |= self.is_wanted.strong_count() == 0;
        if self.is_over {
            return;
        }
        let told = self.events.try_send(TapEvent {
            session,
            at_unix_ms: unix_ms(),
            gap: self.lost,
            what,
        });
        match told {
            Ok(()) => self.lost = 0,
            Err(TrySendError::Full(_)) => self.lost = self.lost.saturating_add(1),
            Err(TrySendError::Disconnected(_)) => self.is_over = true,
        }
    }
}

impl<W: Wire> Relay<W> {
    /// Somebody wants to look. Says the number of the tap, for which sessions that are under way are looked for.
    pub(super) fn tap(&mut self, request: TapRequest) -> Option<u64> {
        self.tend_taps();
        let until_ms = request.until_ms;
        let number = self.taps.add(request)?;
        self.remember_taps(until_ms);
        Some(number)
    }

    /// Has the wheel come back when a tap is over.
    fn remember_taps(&mut self, until_ms: u64) {
        self.wheel.visit(until_ms, (NONE, 0));
        self.wire.set_timer(self.wheel.next_ms());
    }

    /// Shows a session that begins to those who look at its SIM.
    pub(super) fn tap_new(&mut self, index: u32) {
        if self.taps.taps.is_empty() {
            return;
        }
        if let Some(flow) = self.flows.get_mut(index as usize) {
            flow.is_tapped = self.taps.begin(index, flow, None);
        }
    }

    /// Shows sessions that are under way to one who looks at their SIM.
    pub(super) fn tap_between(&mut self, places: std::ops::Range<u32>, number: u64) {
        for index in places {
            if let Some(flow) = self.flows.get_mut(index as usize) {
                flow.is_tapped |= self.taps.begin(index, flow, Some(number));
            }
        }
    }

    /// A time has come that may end taps.
    pub(super) fn tend_taps(&mut self) {
        let now_ms = self.now_ms;
        let mut next_ms = None;
        for tap in &mut self.taps.taps {
            tap.is_over |= tap.until_ms <= now_ms || tap.is_wanted.strong_count() == 0;
            self.taps.has_over |= tap.is_over;
            if !tap.is_over {
                next_ms =
                    Some(next_ms.map_or(tap.until_ms, |next_ms: u64| next_ms.min(tap.until_ms)));
            }
        }
        if let Some(next_ms) = next_ms {
            self.remember_taps(next_ms);
        }
        self.sweep_taps();
    }

    /// Taps that are over go.
    pub(super) fn sweep_taps(&mut self) {
        if !std::mem::take(&mut self.taps.has_over) {
            return;
        }
        let over: Vec<Tap> = self.taps.taps.extract_if(.., |tap| tap.is_over).collect();
        for index in over.iter().flat_map(|tap| tap.sessions.keys()) {
            if let Some(flow) = self.flows.get_mut(*index as usize) {
                let mut taps = self.taps.taps.iter();
                flow.is_tapped = taps.any(|tap| tap.sessions.contains_key(index));
            }
        }
    }
}
