//! Frugal: what a message costs a relay over real sockets, once it has seen some. No memory is asked for, and
//! a payload of any size worth mentioning is copied nowhere.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::BORROW_BYTES_MIN;
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::session::{Opening, Session, Side};
use zeroize::Zeroizing;

use super::inbox::shared;
use super::{Message, Record, Relay, Seam, Shared, Upstream};
use crate::fleet::{Fleet, Limits};
use crate::limits::{INBOX_MESSAGES, RECEIVE_BYTES, RECEIVES_IN_A_ROW};
use crate::shard::admission::Admission;
use crate::shard::counters::SimSession;
use crate::shard::{Settings, Snapshot};
use crate::sys::allocations::allocations;
use crate::sys::ring::{Buffers, Features, Ring};
use crate::tls::{Clients, Roots};

const IMSI: &str = "440100000000001";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
/// Messages before anything is counted, and those that are.
const MESSAGES: [usize; 2] = [200, 500];
/// Bytes of a payload that is spliced: more than a connection has taken in before its turn is over.
const LARGE: usize = 2 * RECEIVES_IN_A_ROW * RECEIVE_BYTES;
/// Rounds that a message may take.
const ROUNDS: usize = 1_000_000;

/// A relay on the test's own thread, with one session, and both its peers.
struct Table {
    relay: Relay<Ring>,
    device: TcpStream,
    broker: TcpStream,
    /// What a peer has received.
    received: Vec<u8>,
    spent: Spent,
}

/// What rounds have cost.
#[derive(Debug, Default)]
struct Spent {
    allocations: u64,
    /// Payload bytes that one round has copied, the most of any.
    copied_bytes: usize,
    /// Bytes of one round's own memory, the most of any.
    arena_bytes: usize,
}

fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let here = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (there, _) = listener.accept().unwrap();
    here.set_nonblocking(true).unwrap();
    for stream in [&here, &there] {
        stream.set_nodelay(true).unwrap();
    }
    (here, there)
}

fn snapshot() -> Snapshot {
    Snapshot {
        fleet: Fleet::from_json("fleet", r#"{"sims": [], "groups": []}"#).unwrap(),
        tls: Clients::new(Roots::system(), [], None).unwrap(),
        settings: Settings {
            connect_timeout_ms: 0,
            upstream_timeout_ms: 0,
            stall_timeout_ms: 0,
            sessions_per_sim: 1,
            source_addresses: Vec::new(),
            connects_per_second: 0,
            token_lifetime_seconds: 0,
            limits: Limits::default(),
        },
    }
}

fn opening(platform: Platform) -> Opening {
    Opening {
        identity: Identity {
            imsi: IMSI.parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: None,
        },
        rules: Rules {
            platform,
            topics: TopicRules {
                append_imsi: true,
                replace_placeholders: true,
                rewrite_will: false,
            },
        },
        device_version: Version::V311,
        upstream_version: Version::V311,
        keep_alive_seconds: 0,
        has_authentication_method: false,
    }
}

impl Table {
    /// A session whose CONNACK has come.
    fn new(platform: Platform) -> Self {
        let buffers = Buffers::new().unwrap();
        let ring = Ring::new(&buffers, Features::default()).unwrap();
        let parts = Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot())),
            mailboxes: Vec::new().into(),
            index: 0,
            coalesce_us: 0,
            features: Features::default(),
        };
        let live = Arc::new(AtomicUsize::new(1));
        let mut relay = Relay::new(ring, buffers, shared(), parts, (live, 1));
        relay.read_messages();
        let [(device, device_leg), (broker, upstream_leg)] = [pair(), pair()];
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        relay.join(Seam {
            device: device_leg.into(),
            upstream: Upstream {
                socket: upstream_leg.into(),
                tls: None,
            },
            session: Session::new(opening(platform), relay.now_ms),
            read_ahead: Zeroizing::default(),
            connect: Zeroizing::new(b"the CONNECT".to_vec()),
            connack_deadline_ms: u64::MAX,
            stall_timeout_ms: 60_000,
            renewing: None,
            limits: Limits::default(),
            record: Box::new(Record {
                network: "default".into(),
                peer: here,
                upstream: here,
                is_tls: false,
                opened_ms: relay.now_ms,
                place: Admission::new(1).enter(true).unwrap(),
                sim: SimSession::begin(Arc::default(), 1).unwrap(),
            }),
        });
        let mut table = Self {
            relay,
            device,
            broker,
            received: vec![0; 4 << 20],
            spent: Spent::default(),
        };
        table.expect(Side::Upstream, b"the CONNECT");
        table.send(Side::Upstream, &CONNACK);
        table.expect(Side::Device, &CONNACK);
        table
    }

    const fn peer(&mut self, side: Side) -> &mut TcpStream {
        match side {
            Side::Device => &mut self.device,
            Side::Upstream => &mut self.broker,
        }
    }

    /// A round, which never waits.
    fn round(&mut self) {
        let Self { relay, spent, .. } = self;
        relay.wire.waker().wake();
        let before = allocations();
        relay.round().unwrap();
        spent.allocations += allocations() - before;
        // What the round has to send is still here.
        let forward = &relay.batch.outputs.forward;
        spent.copied_bytes = spent.copied_bytes.max(forward.copied_bytes());
        spent.arena_bytes = spent.arena_bytes.max(relay.batch.arena_bytes());
    }

    /// A peer sends, and waits for nothing but room.
    fn send(&mut self, from: Side, mut bytes: &[u8]) {
        for _ in 0..ROUNDS {
            if bytes.is_empty() {
                return;
            }
            match self.peer(from).write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.round(),
                Err(error) => panic!("{error}"),
            }
        }
        panic!("nothing is taken any more");
    }

    /// A peer receives this next.
    fn expect(&mut self, to: Side, expected: &[u8]) {
        let mut count = 0;
        for _ in 0..ROUNDS {
            if count == expected.len() {
                break;
            }
            self.round();
            let mut received = std::mem::take(&mut self.received);
            match self.peer(to).read(&mut received[count..expected.len()]) {
                Ok(0) => panic!("closed"),
                Ok(more) => count += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => panic!("{error}"),
            }
            self.received = received;
        }
        assert!(self.received[..count] == *expected, "not what was expected");
    }

    /// Ends the session, so that the kernel is done with the buffers.
    fn end(mut self) {
        self.relay
            .inbox
            .push(Message::Stop, INBOX_MESSAGES)
            .unwrap();
        for _ in 0..ROUNDS {
            if self.relay.flows.is_empty() {
                return;
            }
            self.round();
        }
        panic!("the session stays");
    }
}

/// A PUBLISH with a topic and, for QoS 1 and 2, the packet id 7.
fn publish(qos: u8, topic: &str, payload: usize) -> Vec<u8> {
    let mut body = u16::try_from(topic.len()).unwrap().to_be_bytes().to_vec();
    body.extend(topic.as_bytes());
    body.extend(if qos > 0 { &[0, 7][..] } else { &[] });
    body.resize(body.len() + payload, b'x');
    let mut packet = vec![0x30 | (qos << 1)];
    let mut left = body.len();
    while left > 0x7f {
        packet.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    packet.push(u8::try_from(left).unwrap());
    packet.extend(body);
    packet
}

/// What a kind of message costs: `at_once` of them in one segment.
fn spent(platform: Platform, from: Side, (qos, payload, at_once): (u8, usize, usize)) -> Spent {
    let mut table = Table::new(platform);
    let (is_lowered, to) = (platform == Platform::V201509, from.other());
    let (sent, arrives) = match from {
        Side::Device => ("t/{{imsi}}", format!("t/{IMSI}/{IMSI}")),
        Side::Upstream => ("t/{{imsi}}", "t/{{imsi}}".to_owned()),
    };
    let message = publish(qos, sent, payload).repeat(at_once);
    let arriving_qos = if is_lowered { 0 } else { qos };
    let arriving = publish(arriving_qos, &arrives, payload).repeat(at_once);
    let acknowledged = [0x40, 2, 0, 7].repeat(if qos == 1 { at_once } else { 0 });
    for count in MESSAGES {
        table.spent = Spent::default();
        for _ in 0..count {
            table.send(from, &message);
            table.expect(to, &arriving);
            if !is_lowered {
                table.send(to, &acknowledged);
            }
            table.expect(from, &acknowledged);
        }
    }
    assert!(allocations() > 0, "the beginning at least is counted");
    let spent = std::mem::take(&mut table.spent);
    let has_pipe = table.relay.pipe_count > 0;
    assert_eq!(has_pipe, payload >= LARGE, "spliced");
    table.end();
    spent
}

#[test]
fn small_messages_take_no_memory() {
    for platform in [Platform::V201912, Platform::V201509] {
        for from in [Side::Device, Side::Upstream] {
            for (qos, at_once) in [(0, 1), (0, 60), (1, 1), (1, 60)] {
                if qos == 1 && platform == Platform::V201509 && from == Side::Upstream {
                    continue;
                }
                let spent = spent(platform, from, (qos, 64, at_once));
                let name = format!("{platform:?} {from:?} QoS {qos}, {at_once} at once");
                assert_eq!(spent.allocations, 0, "{name}");
            }
        }
    }
}

#[test]
fn b_top_6_payloads_are_copied_nowhere() {
    let sizes = [BORROW_BYTES_MIN, 4_000, 20_000, LARGE];
    for platform in [Platform::V201912, Platform::V201509] {
        for from in [Side::Device, Side::Upstream] {
            for payload in sizes {
                let spent = spent(platform, from, (0, payload, 1));
                let name = format!("{platform:?} {from:?}, {payload} bytes");
                // What is kept or waits would have taken memory.
                assert_eq!((spent.allocations, spent.copied_bytes), (0, 0), "{name}");
                assert!(spent.arena_bytes < 64, "{name}: {spent:?}");
            }
        }
    }
}
