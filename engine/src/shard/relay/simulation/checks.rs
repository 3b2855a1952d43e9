//! Checks: what has to be true of every session, whatever happened to it. What should have been sent is what a
//! session makes of everything that was received, in one piece.

use std::ops::RangeInclusive;

use ringbeam_proto::error::{Cause, Phase};
use ringbeam_proto::farewell::{farewell, write_farewell};
use ringbeam_proto::limits::IDLE_MS_MAX;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::{Next, Opening, Outputs, Session, Side};

use super::network::Network;
use super::packets;
use super::socket::Socket;
use super::world::{CONNACK_MS, Pair, STALL_MS};
use crate::limits::{LINGER_MS, RENEWAL_MS_MAX};

/// How a session ended, as seen from outside.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// Why and when; unknown where it was gone at once.
    pub(super) cause: Option<Cause>,
    pub(super) at_ms: u64,
    pub(super) gone_ms: Option<u64>,
    /// When the operator cut whatever there was, or never.
    pub(super) cut_ms: u64,
    /// When the device and the broker were heard last before that, and when they took something last.
    pub(super) heard_ms: (u64, u64),
    pub(super) delivered_ms: (u64, u64),
    /// Since when something of the device waited to be received, or more of it.
    pub(super) unread_ms: Option<u64>,
}

impl Ending {
    /// Whether something may have been under way at the very end.
    fn is_cut(&self) -> bool {
        let is_abrupt = self.cause.is_none_or(Cause::is_abrupt);
        let is_late = self
            .gone_ms
            .is_none_or(|gone_ms| gone_ms >= self.lingers_until_ms());
        is_abrupt || is_late
    }

    /// Until when nobody cuts what is still to be said and read.
    fn lingers_until_ms(&self) -> u64 {
        self.cut_ms.min(self.at_ms + LINGER_MS)
    }
}

/// One direction of a session that is gone.
#[derive(Debug)]
struct Way<'a> {
    from: Side,
    to: &'a Socket,
    /// The other side may have ended TLS before it.
    may_be_torn: bool,
    expected: Expected,
    found: Found,
    /// Packets billed on the leg that it comes from, and those of them that were sent there.
    billed: u64,
    billed_out: RangeInclusive<u64>,
}

/// What one side's bytes come to.
#[derive(Debug, Default)]
struct Expected {
    forward: Vec<u8>,
    reply: Vec<u8>,
    /// Billed packets that are whole.
    billed: u64,
}

/// What was sent to one side.
#[derive(Debug, Default)]
struct Found {
    forward_bytes: usize,
    reply_bytes: usize,
    billed: u64,
    /// Whether it ends between two packets.
    is_whole: bool,
}

/// What a session makes of everything that came from both sides.
fn expect(opening: Opening, device: &[u8], upstream: &[u8]) -> [Expected; 2] {
    let mut session = Session::new(opening, 0);
    // The CONNACK comes before anything of the device goes on.
    let down = pass(&mut session, Side::Upstream, upstream);
    let up = pass(&mut session, Side::Device, device);
    let counts = session.counts();
    [
        Expected {
            billed: counts.device_leg,
            ..up
        },
        Expected {
            billed: counts.upstream_leg,
            ..down
        },
    ]
}

fn pass(session: &mut Session, from: Side, input: &[u8]) -> Expected {
    let mut expected = Expected::default();
    let mut rest = input;
    loop {
        let mut outputs = Outputs::default();
        let received = session.receive(from, rest, 0, &mut outputs);
        for slice in outputs.forward.slices(rest) {
            expected.forward.extend_from_slice(slice);
        }
        expected.reply.append(&mut outputs.reply);
        rest = &rest[received.consumed..];
        if received.next != Next::Send {
            return expected;
        }
    }
}

/// Finds in what was sent the expected packets, in order and whole, with acknowledgements of the relay's own and
/// its last words between them.
fn find(sent: &[u8], expected: &Expected, own: &[u8], end: &Ending, to: (Side, Opening)) -> Found {
    let (side, opening) = to;
    let is_old = opening.rules.platform == Platform::V201509;
    let mut found = Found {
        is_whole: true,
        ..Found::default()
    };
    let mut rest = sent;
    while !rest.is_empty() {
        let length = packets::packet_bytes(rest).unwrap_or(usize::MAX);
        let packet = &rest[..rest.len().min(length)];
        // B-VER-2: acknowledgements do not pass.
        if is_old && matches!(packet[0], 0x40 | 0x50 | 0x70) {
            let due = own.get(found.reply_bytes..).unwrap_or_default();
            assert!(due.starts_with(packet), "{side:?}: acknowledgement");
            found.reply_bytes += packet.len();
        } else if expected.forward[found.forward_bytes..].starts_with(packet) {
            found.forward_bytes += packet.len();
            // B-VER-5, B-VER-6
            let is_billed = match (side, packet[0] >> 4) {
                (_, 3) | (Side::Upstream, 8 | 10) => true,
                (Side::Upstream, 12) => is_old,
                _ => false,
            };
            found.billed += u64::from(is_billed && packet.len() == length);
        } else {
            check_last_words(rest, &found, end, (side, opening));
            return found;
        }
        found.is_whole = packet.len() == length;
        rest = &rest[packet.len()..];
    }
    found
}

fn check_last_words(words: &[u8], found: &Found, end: &Ending, (side, opening): (Side, Opening)) {
    assert!(found.is_whole, "{side:?}: words in the middle of a packet");
    let Some(cause) = end.cause else {
        assert!(words.len() <= 5, "{side:?}: {words:02x?}");
        return;
    };
    let version = Some(opening.device_version);
    let phase = if found.forward_bytes == 0 {
        Phase::Connecting
    } else {
        Phase::Established
    };
    let mut expected = Vec::new();
    match side {
        Side::Device => {
            let words = farewell(cause, version, phase, opening.manners);
            write_farewell(words, &mut expected);
        }
        // B-KEEP-4
        Side::Upstream if cause.disconnects_upstream() => expected.extend([0xe0, 0]),
        Side::Upstream => {}
    }
    assert!(
        expected.starts_with(words),
        "{side:?}: {words:02x?} after {found:?}, {expected:02x?} for {cause:?}"
    );
}

/// Whether everything that came from a side has gone on when a session ends like this. A device that closed or said
/// DISCONNECT still gets what its upstream says, unless both are cut.
fn is_complete(cause: Cause, from: Side, is_cut: bool) -> bool {
    match from {
        Side::Device => matches!(
            cause,
            Cause::DeviceDisconnect
                | Cause::DeviceClosed
                | Cause::DeviceReset
                | Cause::DeviceOffence(_)
        ),
        Side::Upstream => {
            matches!(
                cause,
                Cause::UpstreamDisconnect
                    | Cause::UpstreamRefused
                    | Cause::UpstreamClosed
                    | Cause::UpstreamReset
                    | Cause::UpstreamOffence(_)
            ) || (matches!(cause, Cause::DeviceDisconnect | Cause::DeviceClosed) && !is_cut)
        }
    }
}

/// Checks a session that is gone.
pub(super) fn check(pair: &Pair, end: &Ending, network: &Network) {
    let (device, broker) = (
        &network.sockets[pair.device.socket],
        &network.sockets[pair.broker.socket],
    );
    let input = [pair.read_ahead.as_slice(), &device.received].concat();
    let (said, heard) = match &pair.clear {
        None => (&broker.received, &broker.taken),
        Some(clear) => (&clear.said, &clear.heard),
    };
    if let Some(clear) = &pair.clear {
        // B-CON-4
        let is_right = match end.cause {
            Some(Cause::UpstreamClosed) => clear.has_closed,
            Some(Cause::UpstreamTls) => clear.has_lied,
            _ => true,
        };
        assert!(is_right, "TLS did not end like that: {end:?}");
    }
    let [up, down] = expect(pair.opening, &input, said);
    let connect_bytes = pair.connect.len().min(heard.len());
    let (connect, sent_up) = heard.split_at(connect_bytes);
    assert!(pair.connect.starts_with(connect), "the CONNECT comes first");
    let to = (Side::Upstream, pair.opening);
    let found_up = find(sent_up, &up, &down.reply, end, to);
    let to = (Side::Device, pair.opening);
    let found_down = find(&device.taken, &down, &up.reply, end, to);
    let own_bytes = (up.reply.len(), found_down.reply_bytes);
    let counts = pair.billed;
    let (up_out, down_out) = (found_up.billed, found_down.billed);
    // Over TLS a message counts with the last record of all that was sent with it.
    let may_be_cut = broker.has_send_failed || broker.is_broken() || end.is_cut();
    let is_secure = pair.clear.is_some();
    let up_least = if is_secure && may_be_cut { 0 } else { up_out };
    let ways = [
        Way {
            from: Side::Device,
            to: broker,
            may_be_torn: pair.clear.as_ref().is_some_and(|clear| clear.has_lied),
            expected: up,
            found: found_up,
            billed: counts.device_leg,
            billed_out: down_out..=down_out,
        },
        Way {
            from: Side::Upstream,
            to: device,
            may_be_torn: false,
            expected: down,
            found: found_down,
            billed: counts.upstream_leg,
            billed_out: up_least..=up_out,
        },
    ];
    for way in &ways {
        check_way(way, end);
    }
    let is_old = pair.opening.rules.platform == Platform::V201509;
    if is_old && may_say(&ways[1], end) {
        // B-VER-2: what was taken whole is acknowledged.
        assert_eq!(own_bytes.0, own_bytes.1, "acknowledgements");
    }
    check_times(pair, end, [device, broker]);
}

/// Everything has gone on where it must have, and is billed.
fn check_way(way: &Way<'_>, end: &Ending) {
    let Way {
        from,
        to,
        expected,
        found,
        ..
    } = way;
    let is_complete = end
        .cause
        .is_some_and(|cause| is_complete(cause, *from, end.is_cut()));
    if is_complete && !to.has_send_failed && !to.is_broken() && !way.may_be_torn {
        assert_eq!(found.forward_bytes, expected.forward.len(), "from {from:?}");
    }
    // B-BILL-1: a leg counts what was received whole and what the kernel took whole.
    let received = if is_complete {
        expected.billed
    } else {
        found.billed
    };
    let range = received + way.billed_out.start()..=expected.billed + way.billed_out.end();
    assert!(
        range.contains(&way.billed),
        "billed from {from:?}: {} in {range:?}",
        way.billed
    );
}

/// Whether there was time to tell the device something at the end, and somebody to tell.
fn may_say(down: &Way<'_>, end: &Ending) -> bool {
    let is_taken = matches!(
        end.cause,
        Some(Cause::DeviceDisconnect | Cause::DeviceClosed)
    );
    let is_there = !down.to.has_send_failed && !down.to.is_broken();
    is_taken && is_there && down.found.is_whole && down.to.closed_ms < end.lingers_until_ms()
}

pub(super) fn check_times(pair: &Pair, end: &Ending, sockets: [&Socket; 2]) {
    let gone_ms = end.gone_ms.expect("it is gone");
    let silence_ms = match pair.opening.keep_alive_seconds {
        0 => IDLE_MS_MAX,
        seconds => u64::from(seconds) * 1500,
    };
    let acted_ms = pair.device.acted_ms.max(pair.broker.acted_ms);
    let last_ms = acted_ms.max(pair.began_ms);
    let renewal_ms = pair.minds.as_ref().map_or(0, |_| 2 * RENEWAL_MS_MAX);
    let opening_ms = CONNACK_MS + renewal_ms;
    let latest_ms = last_ms + silence_ms + STALL_MS + opening_ms + 2 * LINGER_MS + 1_000;
    assert!(gone_ms <= latest_ms, "{gone_ms} after {latest_ms}");
    let Some(cause) = end.cause else {
        return;
    };
    let (device_ms, broker_ms) = end.heard_ms;
    if cause == Cause::KeepAliveTimeout {
        assert!(end.at_ms >= device_ms + silence_ms, "B-KEEP-2");
        // Whoever is not read is not silent.
        let is_unread = |since_ms: &u64| end.at_ms > since_ms + 1_000;
        assert_eq!(end.unread_ms.filter(is_unread), None, "B-KEEP-5");
    } else if cause == Cause::IdleTimeout {
        // What TLS says of its own is no traffic.
        let heard_ms = match &pair.clear {
            None => device_ms.max(broker_ms),
            Some(_) => device_ms,
        };
        assert!(end.at_ms >= heard_ms + silence_ms, "B-KEEP-3");
    } else if cause == Cause::DeviceStalled {
        assert!(end.at_ms >= end.delivered_ms.0 + STALL_MS, "B-KEEP-5");
    } else if cause == Cause::UpstreamStalled {
        // It takes nothing, or says no more in the middle of a message.
        let moved_ms = broker_ms.min(end.delivered_ms.1);
        assert!(end.at_ms >= moved_ms + STALL_MS, "B-KEEP-5");
    }
    assert!(gone_ms <= end.at_ms + LINGER_MS + 1_000, "it lingers");
    let has_lied = pair.clear.as_ref().is_some_and(|clear| clear.has_lied);
    for socket in sockets {
        // Whoever reads to the end gets everything, if that takes no longer than it may. What is no TLS is not read away.
        let is_late = socket.closed_ms >= end.lingers_until_ms();
        let is_excused = cause.is_abrupt() || has_lied || is_late;
        assert!(!socket.has_lost || is_excused, "closed with bytes unread");
    }
}
