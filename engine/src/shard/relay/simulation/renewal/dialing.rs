//! Dialing: whoever opens other connections to an upstream, in the front's place. They come to something, late or
//! to nothing, as a seed decides.

use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use super::super::super::{Attempt, FlowId, Redial};
use super::super::network::Network;
use crate::limits::LINGER_MS;

/// What a relay asks for.
#[derive(Debug)]
enum Call {
    Dial(FlowId, Attempt),
    GiveUp(FlowId),
    /// A connection is closed that nobody asks about any more.
    Drop(OwnedFd),
}

/// The relay's end.
#[derive(Debug)]
pub(in super::super) struct Caller {
    calls: Sender<Call>,
    count: AtomicUsize,
    /// Once in so many times nothing can be asked.
    is_busy: usize,
    can_log_in: bool,
}

impl Redial for Caller {
    fn dial(&self, id: FlowId, attempt: Attempt) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed);
        if self.is_busy > 0 && count % self.is_busy == self.is_busy - 1 {
            if let Some(left) = attempt.left {
                self.calls.send(Call::Drop(left)).unwrap();
            }
            return false;
        }
        self.calls.send(Call::Dial(id, attempt)).unwrap();
        true
    }

    fn give_up(&self, id: FlowId) {
        self.calls.send(Call::GiveUp(id)).unwrap();
    }

    fn can_log_in(&self) -> bool {
        self.can_log_in
    }
}

/// A connection that is being opened.
#[derive(Debug)]
pub(in super::super) struct Errand {
    pub(in super::super) id: FlowId,
    at_ms: u64,
    /// The old connection, and how long its end is awaited.
    left: Option<OwnedFd>,
    left_until_ms: u64,
    pub(in super::super) deadline_ms: u64,
}

/// All of them.
#[derive(Debug)]
pub(in super::super) struct Dialing {
    sender: Sender<Call>,
    receiver: Receiver<Call>,
    errands: Vec<Errand>,
    /// Connections that the relay was told of, by their numbers.
    told: Vec<(FlowId, usize)>,
    /// Errands that were given up, of which the relay is to be told.
    pub(in super::super) given_up: Vec<FlowId>,
}

impl Dialing {
    pub(in super::super) fn new() -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender,
            receiver,
            errands: Vec::new(),
            told: Vec::new(),
            given_up: Vec::new(),
        }
    }

    pub(in super::super) fn caller(&self, is_busy: usize, can_log_in: bool) -> Box<Caller> {
        Box::new(Caller {
            calls: self.sender.clone(),
            count: AtomicUsize::default(),
            is_busy,
            can_log_in,
        })
    }

    /// Hears what the relay has asked for.
    pub(in super::super) fn hear(&mut self, network: &mut Network) {
        while let Ok(call) = self.receiver.try_recv() {
            match call {
                Call::Dial(id, attempt) => {
                    let delay_ms = u64::try_from(attempt.delay.as_millis()).unwrap();
                    let slow_ms = if network.dice.once_in(12) {
                        15_000
                    } else {
                        300
                    };
                    let now_ms = network.now_ms;
                    self.told.retain(|(told, _)| *told != id);
                    self.errands.push(Errand {
                        id,
                        at_ms: now_ms + delay_ms + network.dice.below_ms(slow_ms),
                        left: attempt.left,
                        left_until_ms: now_ms + LINGER_MS,
                        deadline_ms: attempt.deadline_ms,
                    });
                }
                Call::Drop(left) => network.close(left),
                Call::GiveUp(id) => {
                    if let Some(place) = self.errands.iter().position(|it| it.id == id) {
                        let errand = self.errands.remove(place);
                        errand.left.into_iter().for_each(|left| network.close(left));
                        self.given_up.push(id);
                    }
                    // Nobody takes it out of the relay's queue.
                    for (told, number) in &self.told {
                        if *told == id {
                            network.forget(*number);
                        }
                    }
                }
            }
        }
    }

    fn ready_ms(errand: &Errand, network: &Network) -> u64 {
        match &errand.left {
            None => errand.at_ms,
            Some(left) => {
                let socket = &network.sockets[network.number(left.as_fd())];
                let is_over = socket.has_peer_finished || socket.is_broken();
                let until_ms = if is_over { 0 } else { errand.left_until_ms };
                errand.at_ms.max(until_ms)
            }
        }
    }

    /// When one comes to something.
    pub(in super::super) fn next_ms(&self, network: &Network) -> Option<u64> {
        let errands = self.errands.iter();
        errands.map(|it| Self::ready_ms(it, network)).min()
    }

    /// One whose time has come.
    pub(in super::super) fn next(&mut self, network: &mut Network) -> Option<Errand> {
        let is_ready = |it: &Errand| Self::ready_ms(it, network) <= network.now_ms;
        let place = self.errands.iter().position(is_ready)?;
        let mut errand = self.errands.remove(place);
        if let Some(left) = errand.left.take() {
            network.close(left);
        }
        Some(errand)
    }

    /// The relay is told of a connection.
    pub(in super::super) fn tell(&mut self, id: FlowId, number: usize) {
        self.told.push((id, number));
    }
}
