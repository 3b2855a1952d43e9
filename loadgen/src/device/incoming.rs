//! Incoming: what reaches a device, from its CONNACK to the end of its connection.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_channel::oneshot::Sender;

use super::{Device, Role};
use crate::fleet::Fleet;
use crate::sys::{Socket, monotonic_ns};
use crate::verify::Receiver;
use crate::wire::decode::{Decoder, Packet, Publish};
use crate::wire::{Qos, encode, kind};

/// How often a slow reader reads.
const SLOW_READS_PER_SECOND: u32 = 10;

/// How a connection came to an end, or why it was never opened.
pub(super) type Reason = String;

/// Reads a connection until it ends. `opened` hears once whether it has become a session.
pub(super) async fn receive(
    device: Rc<Device>,
    fleet: Rc<Fleet>,
    socket: Rc<Socket>,
    opened: Sender<Result<(), Reason>>,
) {
    let version = device.version;
    let mut incoming = Incoming {
        device,
        fleet,
        decoder: Decoder::new(version),
        opened: Some(opened),
        answers: Vec::new(),
        end: None,
    };
    let reason = loop {
        if let Err(error) = socket.readable().await {
            break error.to_string();
        }
        match incoming.read(&socket) {
            Ok(()) => {}
            Err(reason) => break reason,
        }
        if let Some(reason) = incoming.end.take() {
            break reason;
        }
        if incoming.opened.is_none() && matches!(incoming.device.role, Role::SlowReader { .. }) {
            let pause = Duration::from_secs(1) / SLOW_READS_PER_SECOND;
            monoio::time::sleep(pause).await;
        }
    };
    incoming.ended(&socket, reason);
}

struct Incoming {
    device: Rc<Device>,
    fleet: Rc<Fleet>,
    decoder: Decoder,
    /// Until the session is there.
    opened: Option<Sender<Result<(), Reason>>>,
    answers: Vec<u8>,
    end: Option<Reason>,
}

impl Incoming {
    /// Reads once and deals with what was there.
    fn read(&mut self, socket: &Socket) -> Result<(), Reason> {
        let fleet = Rc::clone(&self.fleet);
        let buffer = &mut *fleet.buffer.borrow_mut();
        let size = match self.device.role {
            Role::SlowReader { .. } => {
                usize::try_from(fleet.plan.slow_rate / SLOW_READS_PER_SECOND).unwrap_or(1)
            }
            Role::Publisher | Role::Subscriber { .. } | Role::HalfOpen(_) => buffer.len(),
        };
        let size = size.clamp(1, buffer.len());
        let part = buffer.get_mut(..size).unwrap_or_default();
        let length = match socket.receive(part) {
            Ok(0) => return Err("closed by the other side".to_owned()),
            Ok(length) => length,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let bytes = part.get(..length).unwrap_or_default();
        let mut decoder = std::mem::replace(&mut self.decoder, Decoder::new(self.device.version));
        let decoded = decoder.decode(bytes, |_, packet| self.packet(packet));
        self.decoder = decoder;
        if !self.answers.is_empty() {
            let answers = std::mem::take(&mut self.answers);
            self.device
                .send(&self.fleet, |out| out.extend_from_slice(&answers));
        }
        decoded.map_err(|error| error.to_string())
    }

    fn packet(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Connack {
                code: 0,
                receive_maximum,
            } => self.connected(*receive_maximum),
            Packet::Connack { code, .. } => self.end = Some(format!("CONNACK {code:#04x}")),
            Packet::Suback { codes, .. } => {
                if codes.iter().any(|code| *code >= 0x80) {
                    self.end = Some("SUBACK refuses".to_owned());
                } else {
                    self.opened();
                }
            }
            Packet::Publish(publish) => self.publish(publish),
            Packet::Acknowledgement { kind, id, reason } => self.acknowledged(*kind, *id, *reason),
            Packet::Ping { .. } => self.fleet.tally.pongs.increment(),
            Packet::Disconnect { reason } => self.end = Some(format!("DISCONNECT {reason:#04x}")),
            Packet::Connect { .. } | Packet::Subscribe { .. } => {
                self.end = Some("a packet that only devices send".to_owned());
            }
        }
    }

    fn connected(&mut self, receive_maximum: u16) {
        let mut traffic = self.device.traffic.borrow_mut();
        traffic.in_flight.limit(receive_maximum);
        drop(traffic);
        match &self.device.role {
            Role::Subscriber { filter, .. } | Role::SlowReader { filter } => {
                let (version, qos) = (self.device.version, self.device.qos);
                encode::subscribe(&mut self.answers, version, 1, filter, qos);
            }
            Role::Publisher | Role::HalfOpen(_) => self.opened(),
        }
    }

    fn opened(&mut self) {
        if let Some(opened) = self.opened.take() {
            self.device.link.borrow_mut().is_open = true;
            opened.send(Ok(())).ok();
        }
    }

    fn publish(&mut self, publish: &Publish<'_>) {
        match publish.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => encode::acknowledge(&mut self.answers, kind::PUBACK, publish.id),
            Qos::ExactlyOnce => encode::acknowledge(&mut self.answers, kind::PUBREC, publish.id),
        }
        let Role::Subscriber { expects, .. } = self.device.role else {
            return;
        };
        let Some(book) = &self.fleet.book else { return };
        match &publish.stamp {
            Ok(stamp) if stamp.run == self.fleet.run => {
                let receiver = Receiver {
                    number: self.device.number,
                    expects,
                };
                book.arrived(receiver, publish, stamp);
            }
            Ok(_) => self.fleet.tally.error("a message of another run arrived"),
            Err(_) => book.damaged(),
        }
    }

    fn acknowledged(&mut self, which: u8, id: u16, reason: u8) {
        if reason >= 0x80 {
            let reason = format!("a message was refused with {reason:#04x}");
            self.fleet.tally.error(&reason);
        }
        let is_last = match (which, self.device.qos) {
            (kind::PUBREL, _) => {
                return encode::acknowledge(&mut self.answers, kind::PUBCOMP, id);
            }
            (kind::PUBREC, Qos::ExactlyOnce) => reason >= 0x80,
            (kind::PUBACK, Qos::AtLeastOnce) | (kind::PUBCOMP, Qos::ExactlyOnce) => true,
            _ => {
                let tally = &self.fleet.tally;
                return tally.error("an acknowledgement of another QoS");
            }
        };
        if !is_last {
            return encode::acknowledge(&mut self.answers, kind::PUBREL, id);
        }
        let had_room = self.device.has_room();
        let ended = self.device.traffic.borrow_mut().in_flight.end(id);
        let Some(intended_ns) = ended else {
            // What comes behind the end of a session is no concern of the next one.
            if self.device.is_open() {
                self.fleet.tally.error("an acknowledgement of nothing");
            }
            return;
        };
        self.fleet.tally.answered.increment();
        let latency_ns = monotonic_ns().saturating_sub(intended_ns);
        if intended_ns >= self.fleet.span.get().measure_ns {
            let tally = &self.fleet.tally;
            tally.acknowledged.with(|all| all.record(latency_ns));
        }
        self.fleet.acknowledged(&self.device);
        if !had_room {
            self.device.traffic.borrow_mut().released_ns = monotonic_ns();
            self.fleet.queue(&self.device);
        }
    }

    /// The connection has ended; whether that was to be, its device knows.
    fn ended(&mut self, socket: &Rc<Socket>, reason: Reason) {
        let mut link = self.device.link.borrow_mut();
        let is_current = link
            .socket
            .as_ref()
            .is_some_and(|current| Rc::ptr_eq(current, socket));
        if is_current {
            link.socket = None;
            link.clear();
        }
        let was_open = is_current && std::mem::take(&mut link.is_open);
        drop(link);
        if let Some(opened) = self.opened.take() {
            opened.send(Err(reason)).ok();
        } else if was_open {
            let tally = &self.fleet.tally;
            tally.ended.increment();
            if matches!(self.device.role, Role::SlowReader { .. }) {
                tally.shed.increment();
            } else {
                tally.error(&format!("session ended: {reason}"));
            }
            self.device.finish(&self.fleet);
            self.fleet.came_in(&self.device);
        }
    }
}
