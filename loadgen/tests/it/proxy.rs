//! Proxy: stands between devices and the sink, knows where MQTT packets end, and does one kind of damage.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::Builder;
use std::time::Duration;

/// What is done to messages on their way up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Damage {
    /// Nothing.
    None,
    /// One is not forwarded.
    Drop,
    /// One is forwarded twice.
    Duplicate,
    /// One is forwarded after the one behind it.
    Reorder,
    /// A bit of a payload is flipped.
    Corrupt,
    /// One is forwarded with a topic of another device.
    Topic,
    /// One is forwarded in the next device's session.
    Misroute,
    /// Nothing is forwarded for a while.
    Stall(Duration),
    /// Everything is forwarded so much later.
    Delay(Duration),
    /// Nothing is sent back but the answer to CONNECT.
    Mute,
    /// The connection is cut in the middle of a message.
    Cut,
}

/// Which message of a device is damaged.
const VICTIM: u32 = 20;

/// Starts a proxy in front of a sink; it ends with the process.
pub(crate) fn start(sink: &str, damage: Damage) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let sink: SocketAddr = sink.parse().unwrap();
    let accept = move || {
        // What a session hands to the one after it.
        let (_, mut handed) = channel();
        for device in listener.incoming() {
            let (others, next_handed) = channel();
            let upstream = TcpStream::connect(sink).unwrap();
            let session = Session {
                device: device.unwrap(),
                upstream: upstream.try_clone().unwrap(),
                damage,
                others,
            };
            let received = std::mem::replace(&mut handed, next_handed);
            spawn(move || session.run());
            spawn(move || write_handed(&received, upstream));
        }
    };
    spawn(accept);
    address.to_string()
}

fn spawn(body: impl FnOnce() + Send + 'static) {
    Builder::new().spawn(body).unwrap();
}

/// Whole packets of the session before, put between the packets of this one. Only one session damages at a time,
/// and a packet is one write, so that they do not mix.
fn write_handed(packets: &Receiver<Vec<u8>>, mut upstream: TcpStream) {
    for packet in packets {
        upstream.write_all(&packet).ok();
    }
}

struct Session {
    device: TcpStream,
    upstream: TcpStream,
    damage: Damage,
    others: Sender<Vec<u8>>,
}

impl Session {
    fn run(mut self) {
        self.upstream.set_nodelay(true).unwrap();
        let mut down = (
            self.upstream.try_clone().unwrap(),
            self.device.try_clone().unwrap(),
        );
        let is_mute = self.damage == Damage::Mute;
        spawn(move || {
            if is_mute {
                let connack = read_packet(&mut down.0).unwrap_or_default();
                down.1.write_all(&connack).ok();
                std::io::copy(&mut down.0, &mut std::io::sink()).ok();
            }
            std::io::copy(&mut down.0, &mut down.1).ok();
            down.1.shutdown(Shutdown::Both).ok();
        });
        let mut published = 0;
        let mut kept = None;
        while let Some(packet) = read_packet(&mut self.device) {
            let mut forward = vec![packet];
            if forward[0][0] >> 4 == 3 {
                published += 1;
                if published == VICTIM || matches!(self.damage, Damage::Delay(_)) {
                    forward = self.damaged(forward.remove(0), &mut kept);
                } else if let Some(packet) = kept.take() {
                    forward.push(packet);
                }
            }
            if forward
                .iter()
                .any(|packet| self.upstream.write_all(packet).is_err())
            {
                break;
            }
        }
        self.upstream.shutdown(Shutdown::Both).ok();
    }

    /// What is forwarded instead of a message.
    fn damaged(&self, packet: Vec<u8>, kept: &mut Option<Vec<u8>>) -> Vec<Vec<u8>> {
        match self.damage {
            Damage::None | Damage::Mute => vec![packet],
            Damage::Drop => Vec::new(),
            Damage::Duplicate => vec![packet.clone(), packet],
            Damage::Reorder => {
                *kept = Some(packet);
                Vec::new()
            }
            Damage::Corrupt => {
                let mut packet = packet;
                *packet.last_mut().unwrap() ^= 1;
                vec![packet]
            }
            Damage::Topic => {
                let mut packet = packet;
                // Behind type, length of the packet and length of the topic.
                packet[4] ^= 1;
                vec![packet]
            }
            Damage::Misroute => {
                self.others.send(packet).unwrap();
                Vec::new()
            }
            Damage::Stall(time) | Damage::Delay(time) => {
                wait(time);
                vec![packet]
            }
            Damage::Cut => {
                let half = packet.len() / 2;
                (&self.upstream).write_all(&packet[..half]).unwrap();
                self.upstream.shutdown(Shutdown::Both).unwrap();
                Vec::new()
            }
        }
    }
}

/// Waits, as the damage that is done.
fn wait(time: Duration) {
    let (_keep, never) = channel::<()>();
    never.recv_timeout(time).unwrap_err();
}

fn read_packet(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut packet = vec![0; 2];
    stream.read_exact(&mut packet).ok()?;
    while packet.last()? & 0x80 != 0 {
        packet.push(0);
        let at = packet.len() - 1;
        stream.read_exact(&mut packet[at..]).ok()?;
    }
    let length = packet[1..]
        .iter()
        .rev()
        .fold(0, |length, byte| length << 7 | usize::from(byte & 0x7f));
    let start = packet.len();
    packet.resize(start + length, 0);
    stream.read_exact(&mut packet[start..]).ok()?;
    Some(packet)
}
