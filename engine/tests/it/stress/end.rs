//! End: one end of a relayed session, driven without ever waiting. It sends its part of the script in pieces
//! cut anywhere, and holds everything that comes against the other end's part: in order, whole, once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use socket2::SockRef;

use crate::harness::dice::Dice;
use crate::harness::peer::{packet, string};

/// The longest payload.
pub const PAYLOAD_BYTES_MAX: usize = 700 * 1024;
/// Bytes to be sent beyond which no further message is begun.
const AHEAD_BYTES: usize = 64 * 1024;
/// Messages that wait for their acknowledgements at a time.
const UNANSWERED: usize = 16;

/// A message of the script.
#[derive(Clone, Copy, Debug)]
pub struct Planned {
    pub qos: u8,
    pub payload_bytes: usize,
}

/// What one end says, and how the other one hears it.
#[derive(Clone, Debug)]
pub struct Part {
    pub messages: Vec<Planned>,
    /// What no other session's payloads begin with.
    pub mark: u64,
    pub topic: String,
    pub arrives_as: String,
    /// The QoS at most with which it arrives.
    pub qos_max: u8,
    /// Of this end's MQTT, and of the other's.
    pub versions: [u8; 2],
}

/// Whether more comes from the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hears {
    More,
    /// It has closed, or the connection broke.
    Nothing,
}

/// One end.
#[derive(Debug)]
pub struct End {
    stream: TcpStream,
    own: Part,
    other: Part,
    dice: Dice,
    /// Packets, of which the first may have been sent in part.
    outgoing: VecDeque<u8>,
    incoming: Vec<u8>,
    begun: usize,
    arrived: usize,
    /// Which acknowledgement comes next for a packet id.
    awaited: BTreeMap<u16, u8>,
    /// Packet ids of QoS 2 that the other end has not released.
    unreleased: BTreeSet<u16>,
    pings: usize,
    hears: Hears,
    may_send: bool,
    is_disconnected: bool,
    /// Until when it reads nothing.
    stalled: Option<Instant>,
}

impl Part {
    fn message(&self, number: usize, has_arrived: bool) -> Vec<u8> {
        let Planned { qos, payload_bytes } = self.messages[number];
        let (topic, qos, version) = if has_arrived {
            (&self.arrives_as, qos.min(self.qos_max), self.versions[1])
        } else {
            (&self.topic, qos, self.versions[0])
        };
        let mut body = string(topic);
        if qos > 0 {
            body.extend(packet_id(number).to_be_bytes());
        }
        if version >= 5 {
            body.push(0);
        }
        let mark = [self.mark.to_be_bytes(), (number as u64).to_be_bytes()].concat();
        let noise = &NOISE[number * 7 % 4096..][..payload_bytes];
        body.extend(mark);
        body.extend_from_slice(noise);
        packet(0x30 | (qos << 1), &body)
    }
}

/// Bytes without a pattern.
static NOISE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut dice = Dice::new(1);
    let words = (PAYLOAD_BYTES_MAX + 4096).div_ceil(8);
    (0..words).flat_map(|_| dice.next().to_be_bytes()).collect()
});

fn packet_id(number: usize) -> u16 {
    u16::try_from(number % 60_000 + 1).unwrap()
}

fn acknowledgement(first: u8, id: u16) -> [u8; 4] {
    let [high, low] = id.to_be_bytes();
    [first, 2, high, low]
}

impl End {
    pub fn new(stream: TcpStream, own: Part, other: Part, dice: Dice) -> Self {
        stream.set_nonblocking(true).unwrap();
        Self {
            stream,
            own,
            other,
            dice,
            outgoing: VecDeque::new(),
            incoming: Vec::new(),
            begun: 0,
            arrived: 0,
            awaited: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            pings: 0,
            hears: Hears::More,
            may_send: true,
            is_disconnected: false,
            stalled: None,
        }
    }

    pub const fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Messages that were begun, and those that have come.
    pub const fn counts(&self) -> (usize, usize) {
        (self.begun, self.arrived)
    }

    /// Whether all that was begun is sent.
    pub fn is_flushed(&self) -> bool {
        self.outgoing.is_empty()
    }

    /// Whether it has said everything, and heard every answer.
    pub fn is_done(&self) -> bool {
        let has_said = self.begun == self.own.messages.len() && self.is_flushed();
        let has_heard = self.arrived == self.other.messages.len();
        let is_answered = self.awaited.is_empty() && self.unreleased.is_empty() && self.pings == 0;
        has_said && has_heard && is_answered
    }

    pub fn hears_more(&self) -> bool {
        self.hears == Hears::More
    }

    /// Whether the other end has said goodbye.
    pub const fn is_disconnected(&self) -> bool {
        self.is_disconnected
    }

    /// Whether it reads nothing now.
    pub fn is_stalled(&mut self) -> bool {
        self.stalled = self.stalled.filter(|until| Instant::now() < *until);
        self.stalled.is_some()
    }

    /// Reads nothing for a while.
    pub fn stall(&mut self, duration: Duration) {
        self.stalled = Some(Instant::now() + duration);
    }

    /// Reads again.
    pub const fn hear_on(&mut self) {
        self.stalled = None;
    }

    /// Asks whether somebody is there.
    pub fn ping(&mut self) {
        self.pings += 1;
        self.outgoing.extend([0xc0, 0]);
    }

    /// Says goodbye behind everything else.
    pub fn say_goodbye(&mut self) {
        self.outgoing.extend([0xe0, 0]);
        self.own.messages.truncate(self.begun);
    }

    /// Begins no more messages.
    pub fn say_no_more(&mut self) {
        self.own.messages.truncate(self.begun);
    }

    /// Sends something, and says whether it did.
    pub fn send_some(&mut self) -> bool {
        if !self.may_send {
            return false;
        }
        if self.outgoing.len() < AHEAD_BYTES
            && self.begun < self.own.messages.len()
            && self.awaited.len() < UNANSWERED
        {
            self.begin();
        }
        let most = self.dice.one(&[16, 1_500, 1 << 16]);
        let most = 1 + self.dice.below(most);
        let (front, _) = self.outgoing.as_slices();
        let piece = &front[..front.len().min(most)];
        if piece.is_empty() {
            return false;
        }
        match self.stream.write(piece) {
            Ok(count) => {
                self.outgoing.drain(..count);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(_) => {
                self.may_send = false;
                self.outgoing.clear();
                false
            }
        }
    }

    fn begin(&mut self) {
        let message = self.own.message(self.begun, false);
        match self.own.messages[self.begun].qos {
            0 => None,
            1 => self.awaited.insert(packet_id(self.begun), 0x40),
            _ => self.awaited.insert(packet_id(self.begun), 0x50),
        };
        self.outgoing.extend(message);
        self.begun += 1;
    }

    /// Reads something, and says whether it did.
    pub fn read_some(&mut self) -> bool {
        if self.hears == Hears::Nothing || self.is_stalled() {
            return false;
        }
        let most = self.dice.one(&[64, 4_096, 1 << 17]);
        let start = self.incoming.len();
        self.incoming.resize(start + most, 0);
        let count = match self.stream.read(&mut self.incoming[start..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.incoming.truncate(start);
                return false;
            }
            Err(_) => 0,
        };
        self.incoming.truncate(start + count);
        if count == 0 {
            self.hears = Hears::Nothing;
        }
        self.hear();
        true
    }

    /// Deals with the packets that are whole.
    fn hear(&mut self) {
        let incoming = std::mem::take(&mut self.incoming);
        let mut rest = &incoming[..];
        while let Some(length) = packet_length(rest) {
            let (packet, behind) = rest.split_at(length);
            self.packet(packet);
            rest = behind;
        }
        // What is cut off has to be the beginning of what would have come.
        if self.hears == Hears::Nothing && matches!(rest.first(), Some(0x30..=0x3f)) {
            let expected = self.other.message(self.arrived, true);
            assert!(
                expected.starts_with(rest),
                "a beginning that is not the next message's"
            );
        }
        self.incoming = rest.to_vec();
    }

    fn packet(&mut self, packet: &[u8]) {
        let id = || u16::from_be_bytes([packet[2], packet[3]]);
        let kind = packet[0];
        match kind {
            0x30..=0x3f => self.published(packet),
            0x40 | 0x50 | 0x70 => {
                let (id, awaited) = (id(), self.awaited.remove(&id()));
                assert_eq!(
                    awaited,
                    Some(kind),
                    "an answer to {id} that nobody waits for"
                );
                if kind == 0x50 {
                    self.awaited.insert(id, 0x70);
                    self.outgoing.extend(acknowledgement(0x62, id));
                }
            }
            0x62 => {
                assert!(
                    self.unreleased.remove(&id()),
                    "released twice, or never begun"
                );
                self.outgoing.extend(acknowledgement(0x70, id()));
            }
            0xc0 => self.outgoing.extend([0xd0, 0]),
            0xd0 => self.pings = self.pings.checked_sub(1).expect("an answer too many"),
            0xe0 => self.is_disconnected = true,
            _ => panic!("nobody sent {packet:02x?}"),
        }
    }

    fn published(&mut self, packet: &[u8]) {
        assert!(!self.is_disconnected, "behind a goodbye");
        let number = self.arrived;
        let planned = self.other.messages.get(number).expect("a message too many");
        let qos = planned.qos.min(self.other.qos_max);
        let expected = self.other.message(number, true);
        let (is_same, length) = (packet == expected, packet.len());
        let begins = &packet[..length.min(64)];
        assert!(
            is_same,
            "message {number} of {}: {length} bytes, {begins:02x?}",
            expected.len()
        );
        self.arrived += 1;
        let id = packet_id(number);
        match qos {
            0 => {}
            1 => self.outgoing.extend(acknowledgement(0x40, id)),
            _ => {
                self.unreleased.insert(id);
                self.outgoing.extend(acknowledgement(0x50, id));
            }
        }
    }

    /// Closes its sending side, and reads on.
    pub fn finish(&mut self) {
        self.may_send = false;
        // It may have been closed or broken from the other side meanwhile.
        drop(self.stream.shutdown(Shutdown::Write));
    }

    /// Gives up the connection: with a reset, or as a program does that ends.
    pub fn leave(self, does_reset: bool) {
        if does_reset {
            let linger = Some(Duration::ZERO);
            SockRef::from(&self.stream).set_linger(linger).unwrap();
        }
    }
}

/// The length of the packet at the front, if it is there whole.
fn packet_length(bytes: &[u8]) -> Option<usize> {
    let mut length = 0;
    for (place, byte) in bytes.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            let whole = 2 + place + length;
            return (whole <= bytes.len()).then_some(whole);
        }
    }
    None
}
