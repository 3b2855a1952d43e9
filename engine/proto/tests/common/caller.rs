//! Caller: does for a session what the engine does, without sockets, and checks on every call what the
//! session owes its caller: progress, nothing taken that was not given, bounded output.

use std::mem::take;
use std::ops::Range;

use ringbeam_proto::error::{Cause, Phase};
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::{BATCH_INSERT_BYTES, PACKET_BYTES_MAX, REPLY_BYTES};
use ringbeam_proto::packet::Version;
use ringbeam_proto::rules::Rules;
use ringbeam_proto::session::{Next, NotRenewable, Opening, Outputs, Session, Side};

/// A packet grows by less than this factor: nine bytes of a placeholder become 22 digits.
const GROWTH_MAX: usize = 3;

/// What a vectored send takes.
const SLICES_MAX: usize = 1024;

/// One direction of a session.
#[derive(Default)]
pub(crate) struct Direction {
    /// Bytes that the session has not dealt with, and where they stand in the whole stream.
    pending: Vec<u8>,
    offset: usize,
    /// The session has nothing to do before there are this many.
    need: usize,
    outputs: Outputs,
    /// Everything that went to the other side.
    pub(crate) forwarded: Vec<u8>,
    /// Everything that was answered.
    pub(crate) replied: Vec<u8>,
    /// Which ranges of the whole stream were forwarded without a copy, in order.
    pub(crate) borrowed: Vec<Range<usize>>,
    /// What each call took of the whole stream.
    pub(crate) calls: Vec<Range<usize>>,
}

impl Direction {
    /// Whether nothing of it waits.
    pub(crate) fn is_dealt_with(&self) -> bool {
        self.pending.is_empty()
    }
}

/// The caller of one session.
pub(crate) struct Caller {
    pub(crate) session: Session,
    pub(crate) from_device: Direction,
    pub(crate) from_upstream: Direction,
    pub(crate) end: Option<Cause>,
}

impl Caller {
    /// The CONNECT has gone upstream.
    pub(crate) fn connecting(version: Version, rules: Rules) -> Self {
        let opening = Opening {
            identity: identity(),
            rules,
            device_version: version,
            upstream_version: rules.platform.upstream_version(version).unwrap_or(version),
            keep_alive_seconds: 60,
            has_authentication_method: version == Version::V5,
            manners: Manners::default(),
        };
        Self {
            session: Session::new(opening, 0),
            from_device: Direction::default(),
            from_upstream: Direction::default(),
            end: None,
        }
    }

    /// The CONNACK has come.
    pub(crate) fn open(version: Version, rules: Rules) -> Self {
        Self::connecting(version, rules).accepted()
    }

    /// The CONNACK comes.
    pub(crate) fn accepted(self) -> Self {
        let mut caller = self;
        let connack: &[u8] = match caller.session.opening().upstream_version {
            Version::V31 | Version::V311 => &[0x20, 2, 0, 0],
            Version::V5 => &[0x20, 3, 0, 0, 0],
        };
        caller.feed(Side::Upstream, connack, &mut |pending| pending);
        assert_eq!(caller.session.phase(), Phase::Established);
        caller.from_upstream = Direction::default();
        caller
    }

    pub(crate) fn direction(&mut self, from: Side) -> &mut Direction {
        match from {
            Side::Device => &mut self.from_device,
            Side::Upstream => &mut self.from_upstream,
        }
    }

    /// Bytes come from one side; `taken` says how many of some pending bytes the kernel takes at once.
    pub(crate) fn feed(&mut self, from: Side, bytes: &[u8], taken: &mut dyn FnMut(usize) -> usize) {
        self.direction(from).pending.extend_from_slice(bytes);
        let phase = self.session.phase();
        self.drive(from, taken);
        if self.session.phase() != phase {
            self.drive(Side::Device, taken);
        }
    }

    fn drive(&mut self, from: Side, taken: &mut dyn FnMut(usize) -> usize) {
        let mut direction = take(self.direction(from));
        while self.end.is_none()
            && !direction.is_dealt_with()
            && direction.pending.len() >= direction.need
        {
            direction.need = 0;
            let outputs = &mut direction.outputs;
            let input = direction.pending.as_slice();
            outputs.forward.clear(0);
            let received = self.session.receive(from, input, 0, outputs);
            let rest = input.len().checked_sub(received.consumed);
            let rest = rest.unwrap_or_else(|| panic!("{received:?} of {} bytes", input.len()));
            assert!(
                outputs.forward.inserted_bytes()
                    <= BATCH_INSERT_BYTES + GROWTH_MAX * PACKET_BYTES_MAX
            );
            assert!(outputs.forward.piece_count() <= SLICES_MAX);
            assert!(outputs.reply.len() <= REPLY_BYTES + 4);
            let has_output = !outputs.forward.is_empty() || !outputs.reply.is_empty();
            direction.replied.append(&mut outputs.reply);
            self.send(from, &mut direction, taken);
            direction.pending.drain(..received.consumed);
            let start = direction.offset;
            direction.offset += received.consumed;
            direction.calls.push(start..direction.offset);
            match received.next {
                Next::Read(need) => {
                    assert!(need > rest, "{need} bytes are there");
                    assert!(need <= PACKET_BYTES_MAX, "{need} bytes at once");
                    direction.need = need;
                    break;
                }
                Next::Hold => {
                    let is_connecting = self.session.phase() == Phase::Connecting;
                    let is_off = self.session.can_renew() == Err(NotRenewable::Off);
                    assert!(from == Side::Device && (is_connecting || !is_off));
                    break;
                }
                Next::Send => assert!(has_output, "nothing to send, nothing taken"),
                Next::End(cause) => self.end = Some(cause),
            }
        }
        *self.direction(from) = direction;
    }

    /// Sends what a call produced, as many bytes at a time as `taken` says.
    fn send(
        &mut self,
        from: Side,
        direction: &mut Direction,
        taken: &mut dyn FnMut(usize) -> usize,
    ) {
        let input = direction.pending.as_slice();
        let forward = &mut direction.outputs.forward;
        while !forward.is_empty() {
            let mut count = taken(forward.pending_bytes()).clamp(1, forward.pending_bytes());
            let billed_bytes = count;
            for slice in forward.slices(input) {
                let slice = &slice[..slice.len().min(count)];
                count -= slice.len();
                direction.forwarded.extend_from_slice(slice);
                // Where it is a part of the input, it is no copy.
                let start = (slice.as_ptr() as usize).wrapping_sub(input.as_ptr() as usize);
                if start < input.len() {
                    let start = direction.offset + start;
                    direction.borrowed.push(start..start + slice.len());
                }
                if count == 0 {
                    break;
                }
            }
            assert_eq!(count, 0, "fewer bytes than are pending");
            self.session
                .count_sent(from.other(), forward.take(billed_bytes));
        }
    }
}

pub(crate) fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000000001".parse().unwrap(),
        imei: None,
    }
}
