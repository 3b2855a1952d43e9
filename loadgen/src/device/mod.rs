//! Device: one connection of the fleet, with what it has sent and what is still to be acknowledged.

pub mod client_id;
mod in_flight;
mod incoming;
mod open;
mod outgoing;

use std::cell::{Cell, RefCell};
use std::rc::Rc;

pub use open::open_all;
pub use outgoing::Next;

use self::in_flight::InFlight;
use crate::fleet::Fleet;
use crate::message::topic_sum;
use crate::plan::{Kind, Pace, Plan};
use crate::schedule::{Spread, Times};
use crate::sys::Socket;
use crate::wire::encode::PublishPrefix;
use crate::wire::{Qos, Version};

/// What a device is there for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It publishes.
    Publisher,
    /// It subscribes to a filter and checks what arrives, of one device where that is known.
    Subscriber {
        /// The filter.
        filter: String,
        /// The only device whose messages belong here.
        expects: Option<u32>,
    },
    /// It subscribes to a filter, reads slowly and checks nothing.
    SlowReader {
        /// The filter.
        filter: String,
    },
    /// It connects and stays away from all else: 0 says nothing, 1 half of a CONNECT, 2 a CONNECT.
    HalfOpen(u32),
}

/// One device.
#[derive(Debug)]
pub struct Device {
    /// From 1.
    pub number: u32,
    /// What it is there for.
    pub role: Role,
    version: Version,
    qos: Qos,
    prefix: PublishPrefix,
    topic_sum: u32,
    link: RefCell<Link>,
    traffic: RefCell<Traffic>,
    /// When something was last sent, in ns.
    last_sent_ns: Cell<u64>,
}

/// Its connection.
#[derive(Debug, Default)]
struct Link {
    socket: Option<Rc<Socket>>,
    /// What is to be sent.
    out: Vec<u8>,
    /// How much of it the kernel has taken.
    taken: usize,
    /// Whether somebody waits for the kernel to take it.
    is_blocked: bool,
    is_open: bool,
}

impl Link {
    /// What the kernel has not taken yet.
    fn rest(&self) -> &[u8] {
        self.out.get(self.taken..).unwrap_or_default()
    }

    /// Forgets what was to be sent.
    fn clear(&mut self) {
        self.out.clear();
        self.taken = 0;
        self.is_blocked = false;
    }
}

/// What it sends.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is set and cleared by itself"
)]
struct Traffic {
    times: Times,
    sequence: u32,
    in_flight: InFlight,
    /// Messages that may be sent at once, where there is no rate.
    credits: u32,
    /// Whether the sender has it in its queue.
    is_queued: bool,
    is_finished: bool,
    /// In lock step: whether its message of this round has not come in yet.
    is_outstanding: bool,
    /// When it could send again after the entry point had held it back, in ns.
    released_ns: u64,
}

impl Device {
    /// Device `number` of a plan.
    #[must_use]
    pub fn new(plan: &Plan, number: u32) -> Self {
        let turn = usize::try_from(number - 1).unwrap_or_default();
        let version = plan.versions[turn % plan.versions.len()];
        let role = role(plan, number);
        let all_qos = &plan.message.qos;
        let qos = if role == Role::Publisher {
            // Every QoS meets every version, whatever the lengths of the two lists.
            all_qos[turn / plan.versions.len() % all_qos.len()]
        } else {
            all_qos.iter().copied().max().unwrap_or(Qos::AtMostOnce)
        };
        let (topic, expected) = plan.topics(number);
        let (rate, spread) = match plan.pace {
            Pace::Rate(rate, spread) => (rate, spread),
            Pace::Window(_) | Pace::Lockstep | Pace::Once | Pace::Silent => (1.0, Spread::Uniform),
        };
        Self {
            number,
            version,
            qos,
            prefix: PublishPrefix::new(version, qos, &topic, plan.message.payload),
            topic_sum: topic_sum(expected.as_bytes()),
            link: RefCell::default(),
            traffic: RefCell::new(Traffic {
                times: Times::new(spread, rate, (number - 1, plan.publishers), plan.seed),
                sequence: 0,
                in_flight: InFlight::default(),
                credits: 0,
                is_queued: false,
                is_finished: role != Role::Publisher,
                is_outstanding: false,
                released_ns: 0,
            }),
            role,
            last_sent_ns: Cell::new(0),
        }
    }

    /// Whether it has a session.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.link.borrow().is_open
    }

    /// Ends its connection: in order, with a DISCONNECT, or as if it had lost the network.
    pub fn close(&self, fleet: &Fleet, is_in_order: bool) {
        if is_in_order && self.is_open() {
            self.disconnect(fleet);
        }
        let mut link = self.link.borrow_mut();
        if std::mem::take(&mut link.is_open) {
            fleet.tally.closed.increment();
        }
        if let Some(socket) = link.socket.take() {
            socket.shutdown();
        }
        link.clear();
        drop(link);
        self.traffic.borrow_mut().in_flight = InFlight::default();
    }

    /// Where it is half open: counts it if the other side has ended its connection.
    pub fn look_shed(&self, fleet: &Fleet) {
        if !matches!(self.role, Role::HalfOpen(_)) {
            return;
        }
        let Some(socket) = self.link.borrow().socket.clone() else {
            return;
        };
        // What was sent to it, a CONNACK or a DISCONNECT, stands before the end.
        let mut buffer = [0; 256];
        loop {
            match socket.receive(&mut buffer) {
                Ok(0) => break fleet.tally.shed.increment(),
                Ok(_) => {}
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => break,
                Err(_) => break fleet.tally.shed.increment(),
            }
        }
    }

    /// In lock step: its message of this round is on its way.
    pub fn set_out(&self) {
        self.traffic.borrow_mut().is_outstanding = true;
    }

    /// In lock step: its message has come in, or never will. Returns whether it was on its way.
    pub fn has_come_in(&self) -> bool {
        std::mem::take(&mut self.traffic.borrow_mut().is_outstanding)
    }

    /// Counts it as having nothing more to send, once.
    pub fn finish(&self, fleet: &Fleet) {
        let was_finished = std::mem::replace(&mut self.traffic.borrow_mut().is_finished, true);
        if !was_finished {
            fleet.tally.finished.increment();
        }
    }
}

fn role(plan: &Plan, number: u32) -> Role {
    let Some(beyond) = number.checked_sub(plan.publishers + 1) else {
        return Role::Publisher;
    };
    if beyond < plan.subscribers {
        let partner = (plan.kind == Kind::P2p).then_some(beyond + 1);
        return Role::Subscriber {
            filter: plan.filter(partner.unwrap_or(number)),
            expects: partner,
        };
    }
    match beyond - plan.subscribers {
        reader if reader < plan.slow_readers => Role::SlowReader {
            filter: plan.filter(number),
        },
        other => Role::HalfOpen(other % 3),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser as _;

    use crate::options::{Command, Options};

    fn plan(more: &str) -> Plan {
        let line =
            format!("x publish --target 127.0.0.1:1 --sims 127.9.0.0/16 --connections 36 {more}");
        let options = Options::try_parse_from(line.split_whitespace()).unwrap();
        let Command::Publish(options) = options.command else {
            panic!("{line}");
        };
        Plan::publish(&options).unwrap()
    }

    #[test]
    fn every_qos_meets_every_version() {
        for (qos, versions) in [
            ("0,1,2", "3.1,3.1.1,5"),
            ("0,1", "5"),
            ("1,2", "3.1.1,5"),
            ("2", "3.1,5"),
        ] {
            let plan = plan(&format!("--qos {qos} --mqtt {versions}"));
            let devices: Vec<_> = (1..=36).map(|number| Device::new(&plan, number)).collect();
            for wanted_qos in &plan.message.qos {
                for wanted in &plan.versions {
                    let is_it =
                        |device: &&Device| device.qos == *wanted_qos && device.version == *wanted;
                    let share = plan.message.qos.len() * plan.versions.len();
                    assert_eq!(
                        devices.iter().filter(is_it).count(),
                        36 / share,
                        "{qos} {versions}"
                    );
                }
            }
        }
    }
}
