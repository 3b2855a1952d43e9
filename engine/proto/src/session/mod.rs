//! Session: a device and its upstream, joined. Bytes of one side go in; what goes to the other side,
//! what is answered, and whether it ends come out. The caller moves the bytes and tells the time.
//!
//! ```text
//!            receive(Device, bytes)                receive(Upstream, bytes)
//! device ---------------------------> session <--------------------------- upstream
//!    ^  reply: local acknowledgements    |  output: to the other side          ^
//!    +-----------------------------------+-------------------------------------+
//! ```

mod head;
mod publish;
mod renewal;
mod subscribe;

use alloc::boxed::Box;
use alloc::vec::Vec;

pub use renewal::{LEAVE, NotRenewable, RenewalConnect};

use crate::billing::Counts;
use crate::error::{Cause, Forbidden, Offence, Phase};
use crate::farewell::{Manners, farewell, write_farewell};
use crate::frame::{FixedHeader, fixed_header};
use crate::identity::Identity;
use crate::keep_alive::KeepAlive;
use crate::limits::{BATCH_INSERT_BYTES, BATCH_PIECES, PACKET_BYTES_MAX, REPLY_BYTES};
use crate::output::Output;
use crate::packet::ack::{Connack, read_acknowledged};
use crate::packet::parting::Parting;
use crate::packet::{Kind, Qos, Version};
use crate::platform::Delivery;
use crate::rules::Rules;
use crate::tally::{Came, Tallies, Tally};
use renewal::Renewal;

/// What each of many sessions costs beside its identity and counts; two cache lines and a half.
const _: () = assert!(size_of::<Session>() <= 160);

/// One of a session's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// The MQTT client behind a SIM.
    Device,
    /// The operator's broker.
    Upstream,
}

impl Side {
    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Device => Self::Upstream,
            Self::Upstream => Self::Device,
        }
    }
}

/// What a session is opened with.
#[derive(Clone, Copy, Debug)]
pub struct Opening {
    /// Whose it is.
    pub identity: Identity,
    /// Its entry point's rules.
    pub rules: Rules,
    /// The MQTT version of the device.
    pub device_version: Version,
    /// The MQTT version of the upstream.
    pub upstream_version: Version,
    /// The keep alive that the device asked for, in seconds.
    pub keep_alive_seconds: u16,
    /// v5: whether an authentication exchange may come before the CONNACK.
    pub has_authentication_method: bool,
    /// What the device is told where there is a choice.
    pub manners: Manners,
}

/// What follows after some bytes were taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Read on; the packet at the front needs this many bytes before more can be done.
    Read(usize),
    /// Send what there is, then give the rest again.
    Send,
    /// Keep the rest, and give it again whenever the other side has been heard: until the CONNACK has
    /// come (B-CON-4), or what a renewal waits for.
    Hold,
    /// Send what there is, then end. [`Cause::UpstreamRefused`] after [`Session::upstream_left`] ends
    /// that attempt alone.
    End(Cause),
}

/// What became of some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many are dealt with.
    pub consumed: usize,
    /// What follows.
    pub next: Next,
}

/// Where a call's results go.
#[derive(Clone, Debug, Default)]
pub struct Outputs {
    /// What goes to the other side, with ranges of the input.
    pub forward: Output,
    /// What is answered to the side itself; it waits while a message of the
    /// other side is half passed ([`Session::is_amid_message`]).
    pub reply: Vec<u8>,
    /// What the caller itself has to say to the other side; it goes between two packets.
    pub due: Vec<u8>,
    /// Why a peer refused or left, where it said so; with [`Next::End`] alone.
    pub parting: Option<Parting>,
    /// What has come so far, of all sessions that were given these.
    pub tally: Tallies,
}

/// What one call has dealt with.
#[derive(Clone, Copy, Default)]
struct Dealt {
    /// Messages that began.
    publishes: u64,
    /// Bytes of all other packets.
    other_bytes: usize,
}

impl Dealt {
    /// One packet more.
    fn note(&mut self, from: Side, first: u8, bytes: usize, tally: &mut Tally) {
        if first >> 4 == PUBLISH >> 4 {
            self.publishes = self.publishes.saturating_add(1);
        } else {
            self.other_bytes = self.other_bytes.saturating_add(bytes);
            let bytes = bytes as u64;
            tally.note(from, first, Came { packets: 1, bytes });
        }
    }

    /// All messages of the call, and all payload: whatever was dealt with and is nothing else.
    #[inline]
    const fn messages(self, consumed: usize) -> Came {
        Came {
            packets: self.publishes,
            bytes: consumed.saturating_sub(self.other_bytes) as u64,
        }
    }
}

/// The packet at the front of what is left of the input.
#[derive(Clone, Copy)]
struct Front<'a> {
    from: Side,
    header: FixedHeader,
    /// From the packet's first byte on.
    rest: &'a [u8],
    /// Where that byte stands in the input.
    offset: usize,
}

/// What one packet came to.
enum Step {
    /// It took this many bytes.
    Took(usize),
    /// It is not whole without this many.
    Need(usize),
    /// It has to wait.
    Hold,
    /// It took this many bytes and opened the session, with this keep alive in seconds.
    Opened(usize, u16),
    /// It took this many bytes, and was the last.
    Last(usize, Cause),
}

/// The PUBLISH whose payload is passing from one side.
#[derive(Clone, Copy, Debug, Default)]
struct Passing {
    /// Payload bytes still to come: fewer than 2^28, as MQTT has it.
    payload_bytes: u32,
    /// The acknowledgement that is due here after them, with its packet identifier.
    acknowledge: Option<(Qos, u16)>,
    /// It goes no further than here.
    is_dropped: bool,
}

/// The state of both sides.
#[derive(Clone, Debug)]
pub struct Session {
    opening: Opening,
    phase: Phase,
    /// By the side they come from.
    from_device: Passing,
    from_upstream: Passing,
    /// v5: the largest packet that the upstream accepts, in bytes.
    upstream_packet_bytes_max: u32,
    keep_alive: KeepAlive,
    counts: Counts,
    /// Present where the upstream leg may be replaced.
    renewal: Option<Box<Renewal>>,
}

impl Session {
    /// A session whose CONNECT has gone upstream and whose CONNACK has not come.
    #[must_use]
    pub const fn new(opening: Opening, now_ms: u64) -> Self {
        Self {
            opening,
            phase: Phase::Connecting,
            from_device: Passing {
                payload_bytes: 0,
                acknowledge: None,
                is_dropped: false,
            },
            from_upstream: Passing {
                payload_bytes: 0,
                acknowledge: None,
                is_dropped: false,
            },
            upstream_packet_bytes_max: u32::MAX,
            keep_alive: KeepAlive::new(opening.keep_alive_seconds, now_ms),
            counts: Counts {
                device_leg: 0,
                upstream_leg: 0,
            },
            renewal: None,
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// What it was opened with.
    #[must_use]
    pub const fn opening(&self) -> &Opening {
        &self.opening
    }

    /// The keep alive that governs, in seconds; 0 is none.
    #[must_use]
    pub const fn keep_alive_seconds(&self) -> u16 {
        self.keep_alive.seconds()
    }

    /// Billed packets so far.
    #[must_use]
    pub const fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a message from `from` has begun and not ended. Until it has, anything else that goes to
    /// the other side would stand in its middle.
    #[must_use]
    pub const fn is_amid_message(&self, from: Side) -> bool {
        self.passing(from).payload_bytes > 0
    }

    /// Payload bytes of the message from `from` that are still to come.
    #[must_use]
    pub const fn payload_left(&self, from: Side) -> usize {
        self.passing(from).payload_bytes as usize
    }

    /// B-KEEP-5: the engine itself does not read from the device from now on, or does again.
    pub fn withhold(&mut self, is_withheld: bool, now_ms: u64) {
        if is_withheld {
            self.keep_alive.withhold(now_ms);
        } else {
            self.keep_alive.resume(now_ms);
        }
    }

    /// When it ends unless something is heard, and why; `None` before the CONNACK and while its clock
    /// stands still.
    #[must_use]
    pub fn deadline(&self) -> Option<(u64, Cause)> {
        match self.phase {
            Phase::Connecting => None,
            Phase::Established => self.keep_alive.deadline(),
        }
    }

    /// B-BILL-1: the kernel took `packets` billed ones towards `side`.
    pub const fn count_sent(&mut self, side: Side, packets: u64) {
        let leg = match side {
            Side::Device => &mut self.counts.device_leg,
            Side::Upstream => &mut self.counts.upstream_leg,
        };
        *leg = leg.saturating_add(packets);
    }

    /// Takes bytes of one side.
    pub fn receive(
        &mut self,
        from: Side,
        input: &[u8],
        now_ms: u64,
        outputs: &mut Outputs,
    ) -> Received {
        self.keep_alive.heard(from, now_ms);
        let is_plain = self.is_plain();
        let platform = self.opening.rules.platform;
        let mut consumed = 0_usize;
        let mut dealt = Dealt::default();
        let next = loop {
            let rest = input.get(consumed..).unwrap_or_default();
            if self.is_amid_message(from) {
                let length = rest.len().min(self.payload_left(from));
                let payload = rest.get(..length).unwrap_or_default();
                self.pass_payload(from, consumed, payload, outputs);
                consumed = consumed.saturating_add(length);
                if self.is_amid_message(from) {
                    break Next::Read(1);
                }
                continue;
            }
            if !outputs.due.is_empty() {
                outputs.forward.insert(&outputs.due);
                outputs.due.clear();
            }
            if rest.is_empty() {
                break Next::Read(1);
            }
            if outputs.forward.inserted_bytes() >= BATCH_INSERT_BYTES
                || outputs.forward.piece_count() >= BATCH_PIECES
                || outputs.reply.len() >= REPLY_BYTES
            {
                break Next::Send;
            }
            if is_plain
                && let Some(bytes) = self.pass_plain(from, rest, consumed, &mut outputs.forward)
            {
                consumed = consumed.saturating_add(bytes);
                dealt.publishes = dealt.publishes.saturating_add(1);
                continue;
            }
            let first = rest.first().copied().unwrap_or_default();
            match self.step(from, rest, consumed, outputs) {
                Ok(Step::Took(bytes)) => {
                    dealt.note(from, first, bytes, outputs.tally.under_mut(platform));
                    consumed = consumed.saturating_add(bytes);
                }
                Ok(Step::Opened(bytes, keep_alive_seconds)) => {
                    dealt.note(from, first, bytes, outputs.tally.under_mut(platform));
                    self.keep_alive.restart(keep_alive_seconds, now_ms);
                    consumed = consumed.saturating_add(bytes);
                }
                Ok(Step::Need(bytes)) => break Next::Read(bytes),
                Ok(Step::Hold) => break Next::Hold,
                Ok(Step::Last(bytes, cause)) => {
                    dealt.note(from, first, bytes, outputs.tally.under_mut(platform));
                    consumed = consumed.saturating_add(bytes);
                    break Next::End(cause);
                }
                Err(offence) => {
                    break Next::End(match from {
                        Side::Device => Cause::DeviceOffence(offence),
                        Side::Upstream => Cause::UpstreamOffence(offence),
                    });
                }
            }
        };
        let messages = dealt.messages(consumed);
        outputs
            .tally
            .under_mut(platform)
            .note(from, PUBLISH, messages);
        Received { consumed, next }
    }

    /// The last bytes for each side when the session ends for `cause`: to the device, to the upstream.
    /// Nothing is said in the middle of a message.
    pub fn farewell(&self, cause: Cause, device: &mut Vec<u8>, upstream: &mut Vec<u8>) {
        if !self.is_amid_message(Side::Upstream) {
            let version = self.opening.device_version;
            write_farewell(
                farewell(cause, Some(version), self.phase, self.opening.manners),
                device,
            );
        }
        // B-KEEP-4
        if cause.disconnects_upstream() && !self.is_amid_message(Side::Device) {
            upstream.extend_from_slice(&[0xe0, 0]);
        }
    }

    const fn passing(&self, from: Side) -> &Passing {
        match from {
            Side::Device => &self.from_device,
            Side::Upstream => &self.from_upstream,
        }
    }

    fn passing_mut(&mut self, from: Side) -> &mut Passing {
        match from {
            Side::Device => &mut self.from_device,
            Side::Upstream => &mut self.from_upstream,
        }
    }

    const fn version(&self, side: Side) -> Version {
        match side {
            Side::Device => self.opening.device_version,
            Side::Upstream => self.opening.upstream_version,
        }
    }

    /// Deals with the packet at the front of `rest`, which starts at `offset` of the input.
    fn step(
        &mut self,
        from: Side,
        rest: &[u8],
        offset: usize,
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let version = self.version(from);
        let Some(first) = rest.first() else {
            return Ok(Step::Need(1));
        };
        let kind = Kind::from_first_byte(*first, version)?;
        if self.phase == Phase::Connecting && from == Side::Device {
            // v5: the exchange that may precede the CONNACK.
            if kind != Kind::Auth || !self.opening.has_authentication_method {
                return Ok(Step::Hold);
            }
        }
        self.check_allowed(from, kind)?;
        if self.is_put_off(from, kind) {
            return Ok(Step::Hold);
        }
        let Some(header) = fixed_header(rest)? else {
            return Ok(Step::Need(rest.len().saturating_add(1)));
        };
        let front = Front {
            from,
            header,
            rest,
            offset,
        };
        if kind == Kind::Publish {
            return self.publish(front, outputs);
        }
        let packet_bytes = header.packet_bytes();
        if packet_bytes > PACKET_BYTES_MAX {
            return Err(Forbidden::TooLarge.into());
        }
        match rest.get(header.header_bytes..packet_bytes) {
            Some(body) if kind == Kind::Connack && self.is_without_upstream() => {
                self.renewed(front, body, outputs)
            }
            Some(body) if kind == Kind::Connack => self.connack(front, body, outputs),
            Some(body) => self.packet(front, kind, body, outputs),
            None => Ok(Step::Need(packet_bytes)),
        }
    }

    /// Deals with a whole packet that is neither PUBLISH nor CONNACK. B-ERR-6: of most nothing is read; whoever gets
    /// them judges them.
    fn packet(
        &mut self,
        front: Front<'_>,
        kind: Kind,
        body: &[u8],
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let version = self.version(front.from);
        if kind == Kind::Disconnect {
            outputs.parting = Parting::read(kind, body, version);
        }
        if let Some(step) = self.keep_track(front, kind, body, outputs)? {
            return Ok(step);
        }
        let packet_bytes = front.header.packet_bytes();
        let mut step = Step::Took(packet_bytes);
        match kind {
            Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => {
                let packet_id = read_acknowledged(body)?;
                // B-VER-2: acknowledged here, so it goes no further.
                if self.is_local(Qos::ExactlyOnce) {
                    if kind == Kind::Pubrel {
                        write_acknowledgement(PUBCOMP, packet_id, &mut outputs.reply);
                    }
                    return Ok(step);
                }
                self.forward(front, &mut outputs.forward);
            }
            Kind::Subscribe | Kind::Unsubscribe => {
                self.filters(front, kind, body, &mut outputs.forward)?;
            }
            Kind::Suback | Kind::Unsuback => {
                read_acknowledged(body)?;
                self.forward(front, &mut outputs.forward);
            }
            Kind::Disconnect => {
                let cause = match front.from {
                    Side::Device => Cause::DeviceDisconnect,
                    Side::Upstream => Cause::UpstreamDisconnect,
                };
                step = Step::Last(packet_bytes, cause);
                self.forward(front, &mut outputs.forward);
            }
            Kind::Pingreq | Kind::Pingresp | Kind::Auth => {
                self.forward(front, &mut outputs.forward);
            }
            Kind::Connect | Kind::Connack | Kind::Publish => {
                return Err(Forbidden::Kind(kind).into());
            }
        }
        self.bill(front.from, kind, &mut outputs.forward);
        Ok(step)
    }

    /// Whether `from` may send `kind` now. B-ERR-6: what one side alone asks for or answers would mislead the other,
    /// and so would a second handshake.
    fn check_allowed(&self, from: Side, kind: Kind) -> Result<(), Forbidden> {
        let is_awaited = from == Side::Upstream
            && (self.phase == Phase::Connecting || self.is_without_upstream());
        if is_awaited {
            // v5: an exchange may precede the CONNACK of the device.
            let is_exchange = kind == Kind::Auth
                && self.opening.has_authentication_method
                && self.phase == Phase::Connecting;
            return if kind == Kind::Connack || is_exchange {
                Ok(())
            } else {
                Err(Forbidden::FirstPacket(Kind::Connack))
            };
        }
        let is_legal = match kind {
            Kind::Connect | Kind::Connack => false,
            Kind::Subscribe | Kind::Unsubscribe => from == Side::Device,
            Kind::Suback | Kind::Unsuback => from == Side::Upstream,
            Kind::Publish
            | Kind::Puback
            | Kind::Pubrec
            | Kind::Pubrel
            | Kind::Pubcomp
            | Kind::Pingreq
            | Kind::Pingresp
            | Kind::Disconnect
            | Kind::Auth => true,
        };
        if is_legal {
            Ok(())
        } else {
            Err(Forbidden::Kind(kind))
        }
    }

    /// The upstream's answer to the CONNECT, in the device's version.
    fn connack(
        &mut self,
        front: Front<'_>,
        body: &[u8],
        outputs: &mut Outputs,
    ) -> Result<Step, Offence> {
        let connack = Connack::read(body, self.opening.upstream_version)?;
        if self.is_translated() {
            // B-509-1: MQTT 3.1 has no session present.
            outputs.forward.insert(&[0x20, 2, 0, connack.code]);
        } else if !self.announce(&connack, body, &mut outputs.forward)? {
            // B-CON-1
            self.forward(front, &mut outputs.forward);
        }
        let packet_bytes = front.header.packet_bytes();
        if connack.code != 0 {
            let version = self.opening.upstream_version;
            outputs.parting = Parting::read(Kind::Connack, body, version);
            return Ok(Step::Last(packet_bytes, Cause::UpstreamRefused));
        }
        self.phase = Phase::Established;
        if let Some(bytes) = connack.maximum_packet_size {
            self.upstream_packet_bytes_max = bytes;
        }
        // B-KEEP-6
        let seconds = connack
            .server_keep_alive
            .unwrap_or(self.opening.keep_alive_seconds);
        Ok(Step::Opened(packet_bytes, seconds))
    }

    /// B-VER-2: whether a message of this quality of service is acknowledged here.
    fn is_local(&self, qos: Qos) -> bool {
        self.opening.rules.platform.delivery(qos) == Delivery::Local
    }

    /// Whether the device is spoken to in another version than the upstream (B-509-1).
    fn is_translated(&self) -> bool {
        self.opening.device_version != self.opening.upstream_version
    }

    /// Passes a packet as it came, but for flags that the receiving version reserves.
    fn forward(&self, front: Front<'_>, output: &mut Output) {
        let Front { offset, rest, .. } = front;
        let mut written = 0;
        if self.is_translated() {
            output.insert(&[canonical_first_byte(front.header.first)]);
            written = 1;
        }
        let as_it_came = rest.get(written..front.header.packet_bytes());
        output.forward(
            offset.saturating_add(written),
            as_it_came.unwrap_or_default(),
        );
    }

    /// Counts a packet that came in, and marks where it ends on its way out (B-BILL-1).
    fn bill(&mut self, from: Side, kind: Kind, output: &mut Output) {
        if self.bill_received(from, kind) {
            output.bill();
        }
    }

    /// Counts a packet that came in, and says whether its kind is billed (B-BILL-1).
    fn bill_received(&mut self, from: Side, kind: Kind) -> bool {
        let platform = self.opening.rules.platform;
        let billed = match from {
            Side::Device => platform.bills_up(kind),
            Side::Upstream => platform.bills_down(kind),
        };
        if billed {
            self.count_sent(from, 1);
        }
        billed
    }
}

/// The first byte of a packet that is no PUBLISH, with the flags that MQTT 3.1.1 asks for.
const fn canonical_first_byte(first: u8) -> u8 {
    match first >> 4 {
        6 | 8 | 10 => (first & 0xf0) | 0b0010,
        _ => first & 0xf0,
    }
}

const PUBLISH: u8 = 0x30;
const PUBACK: u8 = 0x40;
const PUBREC: u8 = 0x50;
const PUBREL: u8 = 0x62;
const PUBCOMP: u8 = 0x70;

fn write_acknowledgement(first: u8, packet_id: u16, reply: &mut Vec<u8>) {
    let [high, low] = packet_id.to_be_bytes();
    reply.extend_from_slice(&[first, 2, high, low]);
}

#[cfg(test)]
mod tests;
