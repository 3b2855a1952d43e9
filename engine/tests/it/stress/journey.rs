//! Journey: one session from its connect to its end, both ends driven by one thread, which never waits for one
//! of them alone. Dice decide everything.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::SockRef;

use super::end::{End, PAYLOAD_BYTES_MAX, Part, Planned};
use crate::harness::PATIENCE;
use crate::harness::dice::Dice;
use crate::harness::fleet::{new_imsi, new_sim, old_imsi, old_sim};
use crate::harness::peer::{Peer, connack, connect_packet};

/// A session's upstream connection, and the number in its client id.
pub type Arrived = (u32, TcpStream);

/// Bytes of a narrow socket's room.
const NARROW_BYTES: usize = 96 * 1024;

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Disconnect,
    DeviceFinishes,
    DeviceLeaves,
    DeviceResets,
    UpstreamFinishes,
    UpstreamLeaves,
    UpstreamResets,
}

const ENDINGS: [Ending; 7] = [
    Ending::Disconnect,
    Ending::DeviceFinishes,
    Ending::DeviceLeaves,
    Ending::DeviceResets,
    Ending::UpstreamFinishes,
    Ending::UpstreamLeaves,
    Ending::UpstreamResets,
];

/// One session.
#[derive(Debug)]
pub struct Journey {
    /// No other session has it.
    pub number: u32,
    /// Its SIM's place in the range.
    pub sim: u16,
    pub dice: Dice,
}

/// Both ends of it.
#[derive(Debug)]
struct Pair {
    device: End,
    upstream: End,
    dice: Dice,
    moved: Instant,
}

fn part(dice: &mut Dice, number: u32, is_up: bool) -> Part {
    let count = dice.below(30);
    let payload_bytes = |dice: &mut Dice| {
        let most = match dice.below(20) {
            0 => PAYLOAD_BYTES_MAX,
            1 | 2 => 40_000,
            3..=6 => 4_000,
            _ => 200,
        };
        dice.below(most)
    };
    let messages = (0..count).map(|_| Planned {
        qos: dice.one(&[0, 0, 1, 2]),
        payload_bytes: payload_bytes(dice),
    });
    Part {
        messages: messages.collect(),
        mark: u64::from(number) << 1 | u64::from(is_up),
        topic: format!("s/{number}/{{{{imsi}}}}"),
        arrives_as: format!("s/{number}/{{{{imsi}}}}"),
        qos_max: 2,
        versions: [4, 4],
    }
}

impl Journey {
    /// Goes all the way through the engine at `to`. The upstream's connections come from `arrivals`.
    pub fn go(mut self, to: SocketAddr, arrivals: &Receiver<Arrived>) {
        let dice = &mut self.dice;
        let number = self.number;
        let is_old = dice.once_in(3);
        let version = if is_old { 4 } else { dice.one(&[4, 5]) };
        let (from, imsi) = if is_old {
            (old_sim(self.sim), old_imsi(self.sim))
        } else {
            (new_sim(self.sim), new_imsi(self.sim))
        };
        let mut parts = [part(dice, number, true), part(dice, number, false)];
        parts[0].arrives_as = format!("s/{number}/{imsi}/{imsi}");
        if is_old {
            parts[0].qos_max = 0;
            parts[1]
                .messages
                .iter_mut()
                .for_each(|message| message.qos = 0);
        }
        for part in &mut parts {
            part.versions = [version; 2];
        }
        let Some((device, upstream)) = self.connect(from, to, version, arrivals) else {
            return;
        };
        let [up, down] = parts;
        let dice = &mut self.dice;
        Pair {
            device: End::new(device, up.clone(), down.clone(), dice.split()),
            upstream: End::new(upstream, down, up, dice.split()),
            dice: dice.split(),
            moved: Instant::now(),
        }
        .go();
    }

    /// Both ends of a session whose CONNACK has come, unless the device is one that vanishes before.
    fn connect(
        &mut self,
        from: Ipv4Addr,
        to: SocketAddr,
        version: u8,
        arrivals: &Receiver<Arrived>,
    ) -> Option<(TcpStream, TcpStream)> {
        let dice = &mut self.dice;
        let mut device = Peer::connect(from, to);
        if dice.once_in(4) {
            narrow(device.stream());
        }
        let connect = connect_packet(version, &format!("{:010}", self.number));
        let vanishes = dice.once_in(12);
        let length = if vanishes {
            dice.below(connect.len() + 1)
        } else {
            connect.len()
        };
        let (first, second) = connect[..length].split_at(dice.below(length + 1));
        device.send(first);
        device.send(second);
        if vanishes {
            if dice.once_in(2) {
                device.reset();
            }
            return None;
        }
        let arrived = || arrivals.recv_timeout(PATIENCE).expect("a connection");
        let upstream = loop {
            let (number, stream) = arrived();
            // Others are of devices that have vanished.
            if number == self.number {
                break stream;
            }
        };
        if dice.once_in(4) {
            narrow(&upstream);
        }
        Peer::from(upstream.try_clone().unwrap()).send(connack(version));
        device.expect(connack(version));
        Some((device.stream().try_clone().unwrap(), upstream))
    }
}

impl Pair {
    fn go(mut self) {
        let ending = self.dice.one(&ENDINGS);
        // Half of them end whatever is under way.
        let mut turns = if self.dice.once_in(2) {
            self.dice.below(400)
        } else {
            usize::MAX
        };
        while turns > 0 && !(self.device.is_done() && self.upstream.is_done()) {
            turns -= 1;
            self.turn();
            self.be_moody();
            let has_lost = !self.device.hears_more() || !self.upstream.hears_more();
            assert!(!has_lost, "it ended by itself");
        }
        self.end(ending);
    }

    /// What either end may do at any time.
    fn be_moody(&mut self) {
        let Self {
            device,
            upstream,
            dice,
            ..
        } = self;
        match dice.below(1_000) {
            0 | 1 => device.stall(millis(dice.below(300))),
            2 | 3 => upstream.stall(millis(dice.below(300))),
            // Nobody does anything.
            4 => std::thread::sleep(millis(dice.below(100))),
            5..=9 => device.ping(),
            _ => {}
        }
    }

    /// Both ends do what they can, or wait until they can do something.
    fn turn(&mut self) {
        let Self {
            device, upstream, ..
        } = self;
        let moves = [
            device.send_some(),
            upstream.send_some(),
            device.read_some(),
            upstream.read_some(),
        ];
        if moves.contains(&true) {
            self.moved = Instant::now();
            return;
        }
        assert!(self.moved.elapsed() < PATIENCE, "nothing moves: {self:?}");
        wait(&mut [&mut self.device, &mut self.upstream]);
    }

    fn end(mut self, ending: Ending) {
        let is_quiet = self.device.is_done() && self.upstream.is_done();
        match ending {
            Ending::DeviceLeaves | Ending::DeviceResets => {
                let Self {
                    device, upstream, ..
                } = self;
                device.leave(ending == Ending::DeviceResets);
                last(upstream);
            }
            Ending::UpstreamLeaves | Ending::UpstreamResets => {
                let Self {
                    device, upstream, ..
                } = self;
                upstream.leave(ending == Ending::UpstreamResets);
                last(device);
            }
            Ending::Disconnect | Ending::DeviceFinishes | Ending::UpstreamFinishes => {
                let (finishes, other) = if ending == Ending::UpstreamFinishes {
                    (&mut self.upstream, &mut self.device)
                } else {
                    (&mut self.device, &mut self.upstream)
                };
                if ending == Ending::Disconnect {
                    finishes.say_goodbye();
                } else {
                    finishes.say_no_more();
                }
                // While one goes, a message of the other's may be cut.
                other.say_no_more();
                self.finish(ending, is_quiet);
            }
        }
    }

    /// One end sends what it has begun and closes; both read to the end.
    fn finish(mut self, ending: Ending, is_quiet: bool) {
        let is_up = ending != Ending::UpstreamFinishes;
        loop {
            let end = if is_up { &self.device } else { &self.upstream };
            if end.is_flushed() {
                break;
            }
            self.turn();
        }
        // Nothing that is on its way towards who closes is in the way of what that one has said.
        let is_clear = if is_up {
            self.upstream.is_flushed() && self.upstream.counts().0 == self.device.counts().1
        } else {
            self.device.is_flushed() && self.device.counts().0 == self.upstream.counts().1
        };
        let end = if is_up {
            &mut self.device
        } else {
            &mut self.upstream
        };
        end.finish();
        while self.device.hears_more() || self.upstream.hears_more() {
            self.turn();
            let closed = [!self.device.hears_more(), !self.upstream.hears_more()];
            for (end, is_closed) in [&mut self.device, &mut self.upstream]
                .into_iter()
                .zip(closed)
            {
                if is_closed && end.is_flushed() {
                    end.finish();
                }
            }
        }
        let (said, heard) = if is_up {
            (self.device.counts().0, self.upstream.counts().1)
        } else {
            (self.upstream.counts().0, self.device.counts().1)
        };
        if is_clear || is_quiet {
            assert_eq!(
                heard, said,
                "{ending:?}: everything that was said before the end"
            );
        }
        if is_quiet && ending == Ending::Disconnect {
            assert!(self.upstream.is_disconnected(), "the goodbye passes");
        }
    }
}

/// Reads to the end what comes of a session whose other end has gone.
fn last(mut end: End) {
    let mut moved = Instant::now();
    end.hear_on();
    while end.hears_more() {
        if [end.send_some(), end.read_some()].contains(&true) {
            moved = Instant::now();
            continue;
        }
        assert!(moved.elapsed() < PATIENCE, "the end does not come: {end:?}");
        wait(&mut [&mut end]);
    }
}

/// Until one of these can do something, or what was stalled goes on by itself.
fn wait(ends: &mut [&mut End]) {
    let mut fds: Vec<_> = ends
        .iter_mut()
        .map(|end| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::IN, !end.is_stalled() && end.hears_more());
            flags.set(PollFlags::OUT, !end.is_flushed());
            PollFd::new(end.stream(), flags)
        })
        .collect();
    let limit = Timespec {
        tv_sec: 0,
        tv_nsec: 5_000_000,
    };
    poll(&mut fds, Some(&limit)).unwrap();
}

/// Has the kernel keep little, though still whole segments: what does not fit waits in the engine.
fn narrow(stream: &TcpStream) {
    SockRef::from(stream)
        .set_recv_buffer_size(NARROW_BYTES)
        .unwrap();
}

fn millis(count: usize) -> Duration {
    Duration::from_millis(u64::try_from(count).unwrap())
}
