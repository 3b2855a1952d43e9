//! Race: attempts to connect to several addresses, staggered, of which the first that succeeds wins
//! (RFC 8305, section 5). The others are closed.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use crate::limits::{ATTEMPT_STAGGER_MS, ATTEMPTS_AT_ONCE, REASONS_NAMED};
use crate::shard::addresses::Addresses;
use crate::shard::spare::{Permit, Spare};
use crate::sys::clock::now_ms;
use crate::sys::socket::{Socket, words_of};

/// What a race uses of its shard.
#[derive(Clone, Copy)]
pub(super) struct Means<'a> {
    pub(super) addresses: &'a Addresses,
    pub(super) spare: &'a Spare,
    /// Local addresses to connect from.
    pub(super) sources: &'a [IpAddr],
    /// How long what is sent may stay unacknowledged (B-KEEP-7).
    pub(super) patience: Duration,
}

/// Attempts to connect to one destination.
pub(super) struct Race<'a> {
    means: Means<'a>,
    deadline_ms: u64,
    /// Those whose turn has not come.
    waiting: VecDeque<SocketAddr>,
    running: Vec<Attempt<'a>>,
    /// Those that failed, and why.
    failed: Vec<(SocketAddr, io::Error)>,
    /// When the next one may begin beside the others.
    next_ms: u64,
}

struct Attempt<'a> {
    address: SocketAddr,
    began_ms: u64,
    /// When it has had its share of the time, should others need its place.
    share_ms: u64,
    connecting: Pin<Box<dyn Future<Output = io::Result<Socket>> + 'a>>,
    /// None for the one that has the session's own descriptor.
    permit: Option<Permit<'a>>,
}

/// What a race waits for.
enum Event {
    Ended(usize, io::Result<Socket>),
    Passed,
}

impl<'a> Race<'a> {
    pub(super) fn new(means: Means<'a>, found: &[SocketAddr], deadline_ms: u64) -> Self {
        Self {
            means,
            deadline_ms,
            waiting: means.addresses.order(found, now_ms()),
            running: Vec::new(),
            failed: Vec::new(),
            next_ms: 0,
        }
    }

    /// Runs until one attempt has succeeded, which is given with its address, or all have failed. May be
    /// dropped; then [`Self::give_up`] tells of those under way.
    pub(super) async fn run(&mut self) -> Option<(Socket, SocketAddr)> {
        loop {
            let pause_ms = self.advance(now_ms());
            if self.running.is_empty() {
                return None;
            }
            match self.next_event(pause_ms).await {
                Event::Ended(index, Ok(socket)) => {
                    let winner = self.running.swap_remove(index);
                    self.means.addresses.succeeded(winner.address);
                    self.remember_the_silent(now_ms());
                    self.running.clear();
                    return Some((socket, winner.address));
                }
                Event::Ended(index, Err(error)) => {
                    let now_ms = now_ms();
                    self.next_ms = now_ms;
                    self.lose(index, error, now_ms);
                }
                Event::Passed => {}
            }
        }
    }

    /// The deadline has come: those under way have timed out.
    pub(super) fn give_up(&mut self) {
        self.remember_the_silent(now_ms());
        let late = |attempt: Attempt<'_>| (attempt.address, io::ErrorKind::TimedOut.into());
        self.failed.extend(self.running.drain(..).map(late));
    }

    /// Every address that was tried and why it failed, as far as there is room.
    pub(super) fn report(&self) -> String {
        let named = self.failed.iter().take(REASONS_NAMED);
        let mut parts: Vec<_> = named
            .map(|(address, error)| format!("{address}: {}", words_of(error)))
            .collect();
        let unnamed = self.failed.len().saturating_sub(REASONS_NAMED);
        for (count, what) in [(unnamed, "failed"), (self.waiting.len(), "not tried")] {
            if count > 0 {
                parts.push(format!("{count} more {what}"));
            }
        }
        parts.join("; ")
    }

    /// Begins every attempt that may begin now. Returns after how many milliseconds to look again,
    /// while there are more of them.
    fn advance(&mut self, now_ms: u64) -> Option<u64> {
        while let Some(address) = self.waiting.front().copied() {
            if !self.running.is_empty() && now_ms < self.next_ms {
                return Some(self.next_ms - now_ms);
            }
            let is_own_free = self.running.iter().all(|other| other.permit.is_some());
            let permit = match self.running.len() {
                _ if is_own_free => None,
                0..ATTEMPTS_AT_ONCE => self.means.spare.take(),
                _ => None,
            };
            if !is_own_free && permit.is_none() {
                let shares = self.running.iter().map(|attempt| attempt.share_ms);
                let (index, share_ms) = shares.enumerate().min_by_key(|(_, share_ms)| *share_ms)?;
                if share_ms > now_ms {
                    return Some((share_ms - now_ms).min(ATTEMPT_STAGGER_MS));
                }
                self.lose(index, io::ErrorKind::TimedOut.into(), now_ms);
                continue;
            }
            self.waiting.pop_front();
            self.begin(address, permit, now_ms);
        }
        None
    }

    fn begin(&mut self, address: SocketAddr, permit: Option<Permit<'a>>, now_ms: u64) {
        let left = u64::try_from(self.waiting.len()).unwrap_or(u64::MAX);
        let share_ms = self.deadline_ms.saturating_sub(now_ms) / left.saturating_add(1);
        self.next_ms = now_ms.saturating_add(ATTEMPT_STAGGER_MS);
        self.running.push(Attempt {
            address,
            began_ms: now_ms,
            share_ms: now_ms.saturating_add(share_ms.max(ATTEMPT_STAGGER_MS)),
            connecting: Box::pin(connect(self.means, address)),
            permit,
        });
    }

    async fn next_event(&mut self, pause_ms: Option<u64>) -> Event {
        let mut pause =
            pause_ms.map(|millis| Box::pin(monoio::time::sleep(Duration::from_millis(millis))));
        poll_fn(|context| {
            for (index, attempt) in self.running.iter_mut().enumerate() {
                if let Poll::Ready(result) = attempt.connecting.as_mut().poll(context) {
                    return Poll::Ready(Event::Ended(index, result));
                }
            }
            match &mut pause {
                Some(pause) => pause.as_mut().poll(context).map(|()| Event::Passed),
                None => Poll::Pending,
            }
        })
        .await
    }

    fn lose(&mut self, index: usize, error: io::Error, now_ms: u64) {
        let attempt = self.running.swap_remove(index);
        if blames_the_address(&error) {
            self.means.addresses.failed(attempt.address, now_ms);
        }
        self.failed.push((attempt.address, error));
    }

    /// Those that had the time to answer and did not: nobody shall wait for them again.
    fn remember_the_silent(&self, now_ms: u64) {
        let is_silent =
            |attempt: &&Attempt<'_>| now_ms.saturating_sub(attempt.began_ms) >= ATTEMPT_STAGGER_MS;
        for attempt in self.running.iter().filter(is_silent) {
            self.means.addresses.failed(attempt.address, now_ms);
        }
    }
}

/// Whether a failure says anything about the address, and not about this host.
fn blames_the_address(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::TimedOut
    )
}

/// Connects to one address, from each source address in turn while their ports are used up.
async fn connect(means: Means<'_>, to: SocketAddr) -> io::Result<Socket> {
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    for source in means.addresses.sources(means.sources, to) {
        let opened = match Socket::connect(to, source) {
            Ok(socket) => {
                socket.writable().await?;
                // Connecting itself has a deadline of its own.
                let connected = socket.connected();
                let connected = connected.and_then(|()| socket.give_up_after(means.patience));
                connected.map(|()| socket)
            }
            Err(error) => Err(error),
        };
        match opened {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => last = error,
            opened => return opened,
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests;
