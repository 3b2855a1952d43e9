//! Real: a relay on the test's own thread, over real sockets, round by round: what messages cost it, and who goes
//! before whom.

mod fair;
mod frugal;
mod waiting;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use arc_swap::ArcSwap;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::session::{Opening, Session, Side};
use zeroize::Zeroizing;

use super::inbox::shared;
use super::{Message, Record, Relay, Seam, Shared, Upstream};
use crate::fleet::{DestinationKind, Fleet, Limits};
use crate::limits::INBOX_MESSAGES;
use crate::shard::admission::Place;
use crate::shard::counters::{SimRecord, SimSession};
use crate::shard::report::Audience;
use crate::shard::{Settings, Snapshot};
use crate::sys::allocations::allocations;
use crate::sys::ring::{Buffers, Features, Ring};
use crate::tls::{Clients, Roots};

const IMSI: &str = "440100000000001";
const CONNECT: &[u8] = b"the CONNECT";
const CONNACK: [u8; 4] = [0x20, 2, 0, 0];
const CONNACK_V5: [u8; 5] = [0x20, 3, 0, 0, 0];
/// Rounds that anything may take.
const ROUNDS: usize = 1_000_000;

/// A relay, and both peers of each of its sessions.
struct Table {
    relay: Relay<Ring>,
    sessions: Vec<Peers>,
    /// What a peer has received.
    received: Vec<u8>,
    spent: Spent,
}

/// Both ends of a session.
struct Peers {
    device: TcpStream,
    broker: TcpStream,
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
            manners: Manners::default(),
            upstream_timeout_ms: 0,
            stall_timeout_ms: 0,
            unknown_address_wait_ms: 0,
            told_networks: Arc::default(),
            sessions_per_sim: 1,
            source_addresses: Vec::new(),
            connects_per_second: 0,
            token_lifetime_seconds: 0,
            limits: Limits::default(),
        },
    }
}

/// A SIM whose sessions all are.
struct Sim {
    imsi: String,
    version: Version,
    platform: Platform,
    record: Arc<SimRecord>,
}

impl Sim {
    /// Of a number in place of the IMSI's last digit.
    fn new(number: u8, version: Version, platform: Platform) -> Self {
        let (start, _) = IMSI.split_at(IMSI.len() - 1);
        Self {
            imsi: format!("{start}{number}"),
            version,
            platform,
            record: Arc::default(),
        }
    }
}

fn opening(sim: &Sim) -> Opening {
    Opening {
        identity: Identity {
            imsi: sim.imsi.parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: None,
        },
        rules: Rules {
            platform: sim.platform,
            topics: TopicRules {
                append_imsi: true,
                replace_placeholders: true,
                rewrite_will: false,
            },
        },
        device_version: sim.version,
        upstream_version: sim.version,
        keep_alive_seconds: 0,
        has_authentication_method: false,
        manners: Manners::default(),
    }
}

impl Table {
    /// With so many sessions whose CONNACK has come, each of a SIM of its own.
    fn new(platform: Platform, sessions: usize) -> Self {
        let sims: Vec<_> = (1..)
            .map(|number| Sim::new(number, Version::V311, platform))
            .take(sessions)
            .collect();
        // The last one is of the IMSI that tests know.
        Self::of(&sims.iter().rev().collect::<Vec<_>>())
    }

    /// With a session for each time that a SIM is named.
    fn of(sims: &[&Sim]) -> Self {
        let sessions = sims.len();
        let buffers = Buffers::new().unwrap();
        let ring = Ring::new(&buffers, Features::default()).unwrap();
        let parts = Shared {
            snapshot: Arc::new(ArcSwap::from_pointee(snapshot())),
            mailboxes: Vec::new().into(),
            index: 0,
            coalesce_us: 0,
            waiting_bytes: usize::MAX,
            features: Features::default(),
            audience: Audience::default(),
        };
        let live = Arc::new(AtomicUsize::new(sessions));
        let mut relay = Relay::new(ring, buffers, shared(), parts, (live, sessions));
        relay.read_messages();
        let mut table = Self {
            relay,
            sessions: Vec::new(),
            received: vec![0; 4 << 20],
            spent: Spent::default(),
        };
        for (number, sim) in sims.iter().enumerate() {
            let connack = match sim.version {
                Version::V5 => &CONNACK_V5[..],
                Version::V31 | Version::V311 => &CONNACK[..],
            };
            table.join(sim);
            table.expect((number, Side::Upstream), CONNECT);
            table.send((number, Side::Upstream), connack);
            table.expect((number, Side::Device), connack);
        }
        table
    }

    fn join(&mut self, sim: &Sim) {
        let relay = &mut self.relay;
        let [(device, device_leg), (broker, upstream_leg)] = [pair(), pair()];
        self.sessions.push(Peers { device, broker });
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
        relay.join(Seam {
            device: device_leg.into(),
            upstream: Upstream {
                socket: upstream_leg.into(),
                tls: None,
            },
            session: Session::new(opening(sim), relay.now_ms),
            read_ahead: Zeroizing::default(),
            connect: Zeroizing::new(CONNECT.to_vec()),
            connack_deadline_ms: u64::MAX,
            stall_timeout_ms: 60_000,
            renewing: None,
            limits: Limits::default(),
            contender: None,
            record: Box::new(Record {
                network: "default".into(),
                peer: here,
                upstream: here,
                is_tls: false,
                destination: DestinationKind::Mqtt,
                told: Counts::default(),
                opened_ms: relay.now_ms,
                place: Place::of_a_session(),
                sim: SimSession::begin(Arc::clone(&sim.record), u32::MAX).unwrap(),
                faults: crate::shard::relay::Faults::default(),
                parting: None,
            }),
        });
    }

    fn peer(&mut self, (session, side): (usize, Side)) -> &mut TcpStream {
        let Peers { device, broker } = &mut self.sessions[session];
        match side {
            Side::Device => device,
            Side::Upstream => broker,
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
    fn send(&mut self, from: (usize, Side), mut bytes: &[u8]) {
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
    fn expect(&mut self, to: (usize, Side), expected: &[u8]) {
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

    /// Ends all sessions, so that the kernel is done with the buffers.
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
        panic!("sessions stay");
    }
}

/// A PUBLISH with a topic and, for QoS 1 and 2, the packet id 7.
fn publish(qos: u8, topic: &str, payload: usize) -> Vec<u8> {
    let mut body = text(topic.as_bytes());
    body.extend(if qos > 0 { &[0, 7][..] } else { &[] });
    body.resize(body.len() + payload, b'x');
    packet(qos, &body)
}

/// One of version 5, with so many bytes of user properties at least and a payload of 8.
fn publish_with_properties(topic: &str, bytes: usize) -> Vec<u8> {
    let mut properties = Vec::new();
    while properties.len() < bytes {
        let left = (bytes - properties.len()).min(60_000);
        properties.push(0x26);
        properties.extend(text(b"k"));
        properties.extend(text(&vec![b'v'; left]));
    }
    let mut body = text(topic.as_bytes());
    body.extend(varint(properties.len()));
    body.extend(properties);
    body.extend([b'x'; 8]);
    packet(0, &body)
}

fn packet(qos: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x30 | (qos << 1)];
    packet.extend(varint(body.len()));
    packet.extend(body);
    packet
}

fn text(bytes: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
    [&length[..], bytes].concat()
}

fn varint(mut left: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while left > 0x7f {
        bytes.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
        left >>= 7;
    }
    bytes.push(u8::try_from(left).unwrap());
    bytes
}
