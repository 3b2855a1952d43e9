//! Faults: worlds in which the relay once went wrong, each reduced to what it takes.

use ringbeam_proto::error::Cause;
use ringbeam_proto::limits::REPLY_BYTES;
use ringbeam_proto::platform::Platform::{V201509, V201912};
use ringbeam_proto::session::Side;

use super::peer::{Manner, Step};
use super::plan::Plan;
use super::world::STALL_MS;
use super::{Simulation, packets};

const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const DISCONNECT: [u8; 2] = [0xe0, 0];
const PINGREQ: [u8; 2] = [0xc0, 0];
const PINGRESP: [u8; 2] = [0xd0, 0];
const PUBACK: [u8; 4] = [0x40, 2, 0, 1];
/// A message that wants that.
const AT_LEAST_ONCE: &[u8] = b"\x32\x06\x00\x01a\x00\x01.";

/// Lets a session happen, which also checks whatever holds of any.
fn play(plan: Plan) -> Simulation {
    let mut simulation = Simulation::of(vec![plan]);
    simulation.run();
    simulation
}

impl Simulation {
    /// Why the first session ended.
    fn cause(&self) -> Cause {
        self.endings[0].cause.unwrap()
    }

    /// What was sent to a side of it.
    fn sent(&self, side: Side) -> &[u8] {
        let (world, pair) = (&self.relay.wire, &self.relay.wire.pairs[0]);
        let peer = match side {
            Side::Device => &pair.device,
            Side::Upstream => &pair.broker,
        };
        &world.network.sockets[peer.socket].taken
    }
}

fn message(payload_bytes: usize) -> Vec<u8> {
    let mut body = b"\x00\x01t".to_vec();
    body.extend((0..payload_bytes).map(|index| u8::try_from(index % 251).unwrap()));
    packets::packet(0x30, &body)
}

fn say(bytes: &[u8]) -> Step {
    Step::Say(bytes.to_vec())
}

/// B-VER-2: what was taken of the device is acknowledged, also behind the rest of what its upstream says.
#[test]
fn b_ver_2_a_device_that_half_closes_amid_a_message_to_it_is_acknowledged() {
    let message = message(1_000);
    let (begin, rest) = message.split_at(600);
    let mut plan = Plan::of(
        V201509,
        vec![
            Step::Listen,
            Step::Wait(50),
            say(AT_LEAST_ONCE),
            Step::Finish,
        ],
        vec![
            Step::Listen,
            say(begin),
            Step::Wait(500),
            say(rest),
            Step::Wait(50),
            Step::Close,
        ],
    );
    plan.broker.manner = Manner::STAYING;
    let simulation = play(plan);
    assert_eq!(simulation.cause(), Cause::DeviceClosed);
    let expected = [&CONNACK, message.as_slice(), &PUBACK].concat();
    assert_eq!(simulation.sent(Side::Device), expected);
}

/// B-KEEP-4: what still comes from the upstream is delivered, as it came.
#[test]
fn b_keep_4_a_device_that_half_closes_amid_a_spliced_message_gets_all_of_it() {
    let message = message(200_000);
    let (begin, rest) = message.split_at(100);
    let mut plan = Plan::of(
        V201912,
        vec![
            Step::Listen,
            Step::Stall(1_000),
            Step::Wait(500),
            Step::Finish,
        ],
        vec![Step::Listen, say(begin), Step::Wait(100), say(rest)],
    );
    plan.device.rooms = [200_000, 5_000];
    plan.broker.manner = Manner::STAYING;
    let mut simulation = Simulation::of(vec![plan]);
    assert!(simulation.run().spliced > 0);
    assert_eq!(simulation.cause(), Cause::DeviceClosed);
    let expected = [&CONNACK, message.as_slice()].concat();
    assert!(simulation.sent(Side::Device) == expected);
}

/// B-KEEP-4: what stands before a DISCONNECT is answered behind it, at leisure, whoever closes when; the device is
/// closed when its upstream has closed.
#[test]
fn b_keep_4_a_device_that_said_disconnect_still_gets_its_answers() {
    for is_finishing in [false, true] {
        let mut device = vec![
            Step::Listen,
            say(&[AT_LEAST_ONCE, &PINGREQ, &DISCONNECT].concat()),
        ];
        if is_finishing {
            device.push(Step::Finish);
        }
        let broker = vec![
            Step::Listen,
            Step::Wait(900),
            say(&message(1_000)),
            Step::Wait(900),
            Step::Close,
        ];
        let mut plan = Plan::of(V201912, device, broker);
        plan.broker.manner = Manner::STAYING;
        let simulation = play(plan);
        assert_eq!(simulation.cause(), Cause::DeviceDisconnect);
        let expected = [&CONNACK[..], &PUBACK, &PINGRESP, &message(1_000)].concat();
        assert_eq!(simulation.sent(Side::Device), expected);
    }
}

/// B-BILL-1: it looked as if the upstream had sent what it must not, and messages were not counted.
#[test]
fn b_bill_1_an_upstream_is_understood_after_a_device_was_lost_amid_a_spliced_message() {
    let said = [message(200_000), message(9), message(3_000)].concat();
    let (begin, rest) = said.split_at(100);
    let mut plan = Plan::of(
        V201912,
        vec![
            Step::Listen,
            Step::Stall(60_000),
            say(&message(4_000)),
            Step::Wait(500),
            Step::Reset,
        ],
        vec![
            Step::Listen,
            Step::Stall(60_000),
            say(begin),
            Step::Wait(100),
            say(rest),
            Step::Wait(1_000),
            Step::Finish,
        ],
    );
    plan.device.rooms = [200_000, 5_000];
    plan.broker.rooms = [200_000, 600];
    let mut simulation = Simulation::of(vec![plan]);
    assert!(simulation.run().spliced > 0);
    assert_eq!(simulation.cause(), Cause::UpstreamClosed);
    let counts = simulation.relay.wire.pairs[0].billed;
    assert_eq!((counts.device_leg, counts.upstream_leg), (1, 3));
}

/// B-KEEP-5: a device that takes no acknowledgements is not read, and not silent for that.
#[test]
fn b_keep_5_a_device_that_stalls_is_not_called_silent() {
    // As many as may wait, behind some that the kernel does not take.
    let count = REPLY_BYTES / PUBACK.len();
    let mut plan = Plan::of(
        V201509,
        vec![
            Step::Listen,
            Step::Stall(STALL_MS - 50),
            Step::Say(AT_LEAST_ONCE.repeat(100)),
            Step::Wait(100),
            Step::Say(AT_LEAST_ONCE.repeat(count)),
            Step::Wait(500),
            say(&PINGREQ),
            Step::Wait(STALL_MS),
            say(&DISCONNECT),
            Step::Close,
        ],
        Vec::new(),
    );
    plan.opening.keep_alive_seconds = 5;
    plan.device.rooms = [200_000, 64];
    let simulation = play(plan);
    assert_eq!(simulation.cause(), Cause::DeviceDisconnect);
    let expected = [&CONNACK, PUBACK.repeat(100 + count).as_slice(), &PINGRESP].concat();
    assert_eq!(simulation.sent(Side::Device), expected);
}

/// B-KEEP-2: what has come with the time is heard before the time.
#[test]
fn b_keep_2_what_comes_with_the_deadline_is_in_time() {
    // When the device was heard last, and when it was found silent.
    let play = |wait_ms: u64| {
        let device = vec![Step::Listen, Step::Wait(wait_ms), say(&PINGREQ)];
        let mut plan = Plan::of(V201912, device, Vec::new());
        plan.opening.keep_alive_seconds = 5;
        let simulation = play(plan);
        assert_eq!(simulation.cause(), Cause::KeepAliveTimeout);
        let ending = &simulation.endings[0];
        (ending.heard_ms.0, ending.at_ms)
    };
    let (heard_ms, _) = play(1_000);
    let (_, deadline_ms) = play(60_000);
    let wait_ms = 1_000 + deadline_ms - heard_ms;
    let mut is_met = false;
    for wait_ms in wait_ms - 3..=wait_ms + 3 {
        let (last_ms, end_ms) = play(wait_ms);
        is_met |= last_ms == deadline_ms;
        assert!(end_ms >= last_ms + 7_500);
    }
    assert!(is_met);
}

/// B-KEEP-5: a message that goes on slowly makes progress, copied or spliced.
#[test]
fn b_keep_5_an_upstream_that_trickles_a_message_is_not_stuck() {
    // More than may wait for the end of the message.
    let count = REPLY_BYTES / PUBACK.len() + 100;
    let device = || {
        vec![
            Step::Listen,
            Step::Wait(100),
            Step::Say(AT_LEAST_ONCE.repeat(count)),
            Step::Wait(60_000),
            say(&DISCONNECT),
            Step::Close,
        ]
    };
    for payload_bytes in [40, 200_000] {
        let message = message(payload_bytes);
        let (begin, rest) = message.split_at(20);
        let (slow, last) = rest.split_at(20);
        let mut broker = vec![Step::Listen, say(begin)];
        // It has stopped.
        let simulation = play(Plan::of(V201509, device(), broker.clone()));
        assert_eq!(simulation.cause(), Cause::UpstreamStalled);
        for byte in slow {
            broker.extend([Step::Wait(STALL_MS / 4), say(&[*byte])]);
        }
        broker.push(say(last));
        let simulation = play(Plan::of(V201509, device(), broker));
        assert_eq!(simulation.cause(), Cause::DeviceDisconnect);
        let expected = [&CONNACK, message.as_slice(), &PUBACK.repeat(count)].concat();
        assert!(simulation.sent(Side::Device) == expected);
    }
}

/// An upstream over TLS that says this, bytes that are none among it.
fn lying(device: Vec<Step>, lies: Vec<Step>) -> Plan {
    let broker = [vec![Step::Listen, Step::Wait(50)], lies].concat();
    let mut plan = Plan::of(V201912, device, broker);
    plan.tls = Some(true);
    plan
}

/// B-CON-4: it was answered with one alert after another.
#[test]
fn b_con_4_what_comes_behind_broken_tls_is_ignored() {
    // More than is received at once.
    let lies = vec![Step::Lie(vec![0xff; 40_000])];
    let simulation = play(lying(vec![Step::Listen], lies));
    assert_eq!(simulation.cause(), Cause::UpstreamTls);
    let clear = simulation.relay.wire.pairs[0].clear.as_ref().unwrap();
    assert!(clear.is_alerted);
}

/// B-CON-4, B-BILL-1: what waits for its rest may be found to be no record when something is to be sent. That
/// is not sent, and not counted.
#[test]
fn b_con_4_tls_that_breaks_amid_a_record_ends_the_session_when_something_is_sent() {
    let device = vec![Step::Listen, Step::Wait(500), say(&message(9))];
    // A record of that much is too long for any.
    let lies = vec![
        Step::Lie(vec![0x17, 3, 3]),
        Step::Wait(50),
        Step::Lie(vec![0xff; 2]),
    ];
    let simulation = play(lying(device, lies));
    assert_eq!(simulation.cause(), Cause::UpstreamTls);
    let counts = simulation.relay.wire.pairs[0].billed;
    assert_eq!((counts.device_leg, counts.upstream_leg), (1, 0));
}
