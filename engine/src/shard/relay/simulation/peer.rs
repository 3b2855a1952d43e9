//! Peer: a device or a broker of the simulation. It follows its script at its own pace, answers what it is told,
//! and stops reading, closes or breaks the connection where the script says so.

use std::collections::VecDeque;

use ringbeam_proto::packet::Version;

use super::dice::Dice;
use super::network::{Network, Read};
use super::packets;
use super::plan::Part;
use super::renewal::{Mind, Request};
use super::secure::{Clear, Secure};
use super::socket::Pipe;

/// What a peer does next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Say(Vec<u8>),
    /// TLS: takes other keys.
    RenewKeys,
    /// TLS: ends it in good order.
    CloseTls,
    /// TLS: says what is none.
    Lie(Vec<u8>),
    /// Begins something.
    Ask(Request),
    /// Waits until nothing is unanswered.
    Settle,
    /// Waits so many milliseconds, reading on.
    Wait(u64),
    /// Does not read for so many milliseconds.
    Stall(u64),
    /// Waits until it was told something.
    Listen,
    /// Sends nothing more, and reads on.
    Finish,
    Close,
    Reset,
}

/// How a peer does what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Whether it closes when it is told that the other side has.
    closes: bool,
    /// Bytes that it reads or writes at a time, and milliseconds between two times, at most.
    pace: (usize, u64),
}

impl Manner {
    pub(super) const QUICK: Self = Self {
        closes: true,
        pace: (1_000_000, 1),
    };

    /// It does not close because the other side has.
    pub(super) const STAYING: Self = Self {
        closes: false,
        ..Self::QUICK
    };

    /// Whatever the dice say.
    pub(super) fn any(dice: &mut Dice) -> Self {
        Self {
            closes: !dice.once_in(8),
            pace: match dice.below(12) {
                0 => (40, 4_000),
                1..4 => (700, 20),
                4..8 => (20_000, 20),
                _ => (1_000_000, 20),
            },
        }
    }

    /// One that gets somewhere within half an hour.
    pub(super) fn brisk(dice: &mut Dice) -> Self {
        Self {
            closes: !dice.once_in(8),
            pace: [(700, 20), (20_000, 20), (1_000_000, 20)][dice.below(3)],
        }
    }
}

/// One end of a session.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
pub(super) struct Peer {
    pub(super) socket: usize,
    version: Version,
    steps: VecDeque<Step>,
    to_send: Pipe,
    /// What was read and is no whole packet yet.
    reading: Vec<u8>,
    /// What it answers a CONNECT with.
    connack: Option<Vec<u8>>,
    /// What it goes by, where it is one that keeps to MQTT.
    mind: Option<Mind>,
    secure: Option<Box<Secure>>,
    closes: bool,
    pace: (usize, u64),
    has_heard: bool,
    has_finished: bool,
    pub(super) has_left: bool,
    /// When it does something next, and from when on it reads and goes on with its script, in milliseconds.
    wake_ms: u64,
    reads_from_ms: u64,
    steps_from_ms: u64,
    /// When it did something last.
    pub(super) acted_ms: u64,
}

impl Peer {
    pub(super) fn new(
        socket: usize,
        version: Version,
        part: Part,
        connack: Option<Vec<u8>>,
        mind: Option<Mind>,
    ) -> Self {
        let Manner { closes, pace } = part.manner;
        Self {
            socket,
            version,
            steps: part.steps.into(),
            to_send: Pipe::default(),
            reading: Vec::new(),
            connack,
            mind,
            secure: None,
            closes,
            pace,
            has_heard: false,
            has_finished: false,
            has_left: false,
            wake_ms: 0,
            reads_from_ms: 0,
            steps_from_ms: 0,
            acted_ms: 0,
        }
    }

    /// When it can do something, in milliseconds, as things are; `u64::MAX` where it waits for the relay.
    pub(super) fn next_ms(&self, network: &Network) -> u64 {
        if self.has_left {
            return u64::MAX;
        }
        let socket = &network.sockets[self.socket];
        let is_over = socket.is_over() && self.closes;
        let can_read = socket.has_outbound() || is_over;
        let read_ms = if can_read {
            self.reads_from_ms
        } else {
            u64::MAX
        };
        let can_send = socket.peer_room() > 0 || socket.is_broken() || socket.is_closed();
        let send_ms = if self.to_send.len() > 0 && can_send {
            0
        } else {
            u64::MAX
        };
        let step_ms = if self.may_step() {
            self.steps_from_ms
        } else {
            u64::MAX
        };
        let next_ms = read_ms.min(send_ms).min(step_ms);
        if next_ms == u64::MAX {
            next_ms
        } else {
            next_ms.max(self.wake_ms)
        }
    }

    /// Its time has come.
    pub(super) fn act(&mut self, network: &mut Network) {
        let now_ms = network.now_ms;
        self.acted_ms = now_ms;
        self.wake_ms = now_ms + 1 + network.dice.below_ms(self.pace.1);
        if self.reads_from_ms <= now_ms {
            self.read(network);
        }
        if self.has_left {
            return;
        }
        self.write(network);
        if self.may_step() && self.steps_from_ms <= now_ms {
            self.step(network);
        }
    }

    /// Whether the next step may come, behind what is still to be sent or in its midst.
    fn may_step(&self) -> bool {
        match self.steps.front() {
            None => false,
            Some(Step::Listen) => self.has_heard && self.to_send.len() == 0,
            Some(Step::Settle) => {
                let is_settled = self.mind.as_ref().is_none_or(Mind::is_settled);
                is_settled && self.to_send.len() == 0
            }
            Some(Step::Reset | Step::Stall(_)) => true,
            Some(Step::RenewKeys | Step::CloseTls | Step::Lie(_)) => true,
            Some(Step::Say(_) | Step::Ask(_) | Step::Wait(_) | Step::Finish | Step::Close) => {
                self.to_send.len() == 0
            }
        }
    }

    fn read(&mut self, network: &mut Network) {
        let most = 1 + network.dice.below(self.pace.0);
        match network.peer_read(self.socket, most) {
            Read::Nothing => {}
            Read::End if self.closes => {
                network.peer_close(self.socket);
                self.has_left = true;
            }
            Read::End => {}
            Read::Bytes(bytes) => {
                match &mut self.secure {
                    None => self.reading.extend_from_slice(&bytes),
                    Some(secure) => {
                        let (clear, answer) = secure.hear(&bytes);
                        self.reading.extend(clear);
                        if !self.has_finished {
                            self.to_send.push(&answer);
                        }
                    }
                }
                self.has_heard |= !self.reading.is_empty();
                let mut start = 0;
                while let Some(length) = packets::packet_bytes(&self.reading[start..])
                    && let Some(packet) = self.reading.get(start..start + length)
                {
                    start += length;
                    let answer = match &mut self.mind {
                        Some(mind) => Some(mind.hear(packet, network.now_ms)),
                        None if packet[0] >> 4 == 1 => self.connack.take(),
                        None => packets::answer(packet, self.version),
                    };
                    if !self.has_finished {
                        self.say(&answer.unwrap_or_default());
                    }
                }
                self.reading.drain(..start);
            }
        }
    }

    fn write(&mut self, network: &mut Network) {
        let most = 1 + network.dice.below(self.pace.0);
        let bytes = self.to_send.front(most);
        if bytes.is_empty() {
            return;
        }
        match network.peer_write(self.socket, bytes) {
            Some(count) => self.to_send.skip(count),
            None => {
                // The connection is gone.
                network.peer_close(self.socket);
                self.has_left = true;
            }
        }
    }

    fn say(&mut self, clear: &[u8]) {
        match &mut self.secure {
            None => self.to_send.push(clear),
            Some(secure) => {
                let records = secure.say(clear);
                self.to_send.push(&records);
            }
        }
    }

    /// Has it speak TLS, in which some is said already.
    pub(super) fn secure(&mut self, secure: Box<Secure>, records: &[u8]) {
        self.secure = Some(secure);
        self.to_send.push(records);
    }

    /// What has passed in clear, where it speaks TLS.
    pub(super) fn clear(&mut self, network: &Network) -> Option<Clear> {
        let socket = &network.sockets[self.socket];
        let secure = self.secure.as_mut()?;
        Some(secure.clear(socket.received.len(), &socket.taken))
    }

    fn step(&mut self, network: &mut Network) {
        match self.steps.pop_front() {
            // It has said that it says nothing more.
            Some(Step::RenewKeys | Step::CloseTls | Step::Lie(_)) if self.has_finished => {}
            None | Some(Step::Listen | Step::Settle) => {}
            Some(Step::Ask(request)) => {
                let bytes = self.mind.as_mut().map(|mind| mind.ask(&request));
                self.say(&bytes.unwrap_or_default());
            }
            Some(Step::Say(bytes)) => self.say(&bytes),
            Some(Step::RenewKeys) => {
                let records = self.secure.as_mut().map(|secure| secure.renew_keys());
                self.to_send.push(&records.unwrap_or_default());
            }
            Some(Step::CloseTls) => {
                let records = self.secure.as_mut().map(|secure| secure.close());
                self.to_send.push(&records.unwrap_or_default());
            }
            Some(Step::Lie(bytes)) => {
                let socket = &mut network.sockets[self.socket];
                if let Some(secure) = &mut self.secure
                    && !socket.is_ending
                {
                    socket.lies_from.get_or_insert_with(|| secure.lie(&bytes));
                    self.to_send.push(&bytes);
                }
            }
            Some(Step::Wait(ms)) => self.steps_from_ms = self.acted_ms + ms,
            Some(Step::Stall(ms)) => self.reads_from_ms = self.acted_ms.saturating_add(ms),
            Some(Step::Finish) => {
                network.peer_finish(self.socket);
                self.has_finished = true;
            }
            Some(Step::Close) => {
                network.peer_close(self.socket);
                self.has_left = true;
            }
            Some(Step::Reset) => {
                network.peer_reset(self.socket);
                self.has_left = true;
            }
        }
    }
}
