//! Renewal: sessions whose upstream is replaced while messages flow, between a device and a broker that keep to MQTT
//! and to nothing more. Each remembers what it was promised; at the end nobody must have been deceived.

mod broker;
mod check;
mod client;
mod dialing;
mod message;
mod plan;

pub(super) use self::check::check;
pub(super) use self::dialing::{Dialing, Errand};
pub(super) use self::plan::{Minds, Request, plan};

use std::cell::RefCell;
use std::rc::Rc;

use self::broker::Seat;
use self::client::Client;

/// What a peer of such a session goes by.
#[derive(Debug)]
pub(super) enum Mind {
    Client(Rc<RefCell<Client>>),
    Broker(Seat),
}

impl Mind {
    /// What it answers to a packet.
    pub(super) fn hear(&mut self, packet: &[u8], now_ms: u64) -> Vec<u8> {
        match self {
            Self::Client(client) => client.borrow_mut().hear(packet),
            Self::Broker(seat) => seat.hear(packet, now_ms),
        }
    }

    /// What it says when it is to do something of its own.
    pub(super) fn ask(&mut self, request: &Request) -> Vec<u8> {
        match self {
            Self::Client(client) => client.borrow_mut().ask(request),
            Self::Broker(seat) => seat.ask(request),
        }
    }

    /// Whether it waits for nothing.
    pub(super) fn is_settled(&self) -> bool {
        match self {
            Self::Client(client) => client.borrow().is_settled(),
            Self::Broker(_) => true,
        }
    }
}
