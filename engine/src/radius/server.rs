//! Server: accounting requests of one UDP socket. Datagrams in, batches of events to a [`Sink`], and an answer to each
//! request once the sink has kept its event. What is not for us is dropped without a word, and counted.
//!
//! ```text
//! read what is there -> known client? whole? authentic? new? -> a batch of events -> sink -> answers
//! ```

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tracing::warn;

use super::answers::{Answers, Known, RequestKey};
use super::clients::Clients;
use super::counters::{Count, Counters};
use super::event::{self, AccountingEvent, Ignored, Reading, Sender};
use super::networks::Networks;
use super::packet::{Code, Malformed, Packet};
use super::told::{Fault, Told};
use crate::limits::{RADIUS_BATCH, RADIUS_BATCHES, RADIUS_PACKET_BYTES, RADIUS_SOCKET_BYTES};

/// Who may send, and what it leads to.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who may send.
    pub clients: Clients,
    /// Where access points lead.
    pub networks: Networks,
    /// Whether every request has to say when it happened, and that was about now.
    pub require_event_timestamp: bool,
    /// Whether every request has to be signed as a whole, beside its authenticator.
    pub require_message_authenticator: bool,
    /// Milliseconds since the Unix epoch.
    pub now_ms: fn() -> i64,
}

/// Events could not be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not stored")]
pub struct NotStored;

/// What became of events that were kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The access servers of those that had come before.
    pub replayed: Vec<Arc<str>>,
    /// The access servers of those that would have ended what another client told of.
    pub foreign: Vec<Arc<str>>,
}

/// Keeps events.
pub trait Sink {
    /// Keeps all of these, or none. Batches may be under way at the same time, and an event may come more than once:
    /// what it means has to depend on its time, not on when it is kept.
    ///
    /// # Errors
    /// When they are not kept; their senders will send them again.
    fn store(
        &self,
        events: Vec<AccountingEvent>,
    ) -> impl Future<Output = Result<Kept, NotStored>> + Send;
}

/// A socket for [`serve`], with room for what comes while batches are stored. Call it inside a runtime. An answer leaves
/// from the address that the socket is bound to: a host with several should name one.
///
/// # Errors
/// When the address cannot be had.
pub fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own.
        socket.set_only_v6(true)?;
    }
    // As much as the host allows.
    socket.set_recv_buffer_size(RADIUS_SOCKET_BYTES)?;
    socket.bind(&address.into())?;
    UdpSocket::from_std(socket.into())
}

/// Serves a socket for as long as it works; the future may be dropped at any time. New settings hold for what comes
/// after them.
///
/// # Errors
/// It ends with what broke the socket.
pub async fn serve(
    socket: UdpSocket,
    settings: Arc<ArcSwap<Settings>>,
    sink: impl Sink + Sync,
    counters: Arc<Counters>,
) -> io::Error {
    let mut server = Server {
        socket: &socket,
        settings: &settings,
        sink: &sink,
        counters: &counters,
        answers: Answers::default(),
        told: Told::default(),
        batches: Vec::with_capacity(RADIUS_BATCHES),
    };
    let mut buffer = vec![0; RADIUS_PACKET_BYTES];
    loop {
        match poll_fn(|context| server.next(context)).await {
            Next::Stored(outcome) => server.finish(outcome),
            Next::Readable(Err(error)) => return error,
            Next::Readable(Ok(())) => {
                if let Err(error) = server.receive(&mut buffer) {
                    return error;
                }
                // Whoever shares the thread has a turn between two batches, however much comes.
                tokio::task::yield_now().await;
            }
        }
    }
}

type Batch<'a> = Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

struct Server<'a, S> {
    socket: &'a UdpSocket,
    settings: &'a ArcSwap<Settings>,
    sink: &'a S,
    counters: &'a Counters,
    answers: Answers,
    told: Told,
    /// What is being stored.
    batches: Vec<Batch<'a>>,
}

/// What happens next.
enum Next {
    Readable(io::Result<()>),
    Stored(Outcome),
}

/// A batch that the sink is done with.
struct Outcome {
    result: Result<Kept, NotStored>,
    requests: Vec<Request>,
}

/// A request that waits for its event to be kept.
struct Request {
    client: SocketAddr,
    key: RequestKey,
    answer: Vec<u8>,
}

/// A datagram that is not for us.
enum Dropped {
    UnknownClient,
    Malformed(Malformed),
    WrongAuthenticator,
    Unsigned,
    NoTimestamp,
}

impl<'a, S: Sink + Sync> Server<'a, S> {
    fn next(&mut self, context: &mut Context<'_>) -> Poll<Next> {
        for place in 0..self.batches.len() {
            let batch = self
                .batches
                .get_mut(place)
                .map(|b| b.as_mut().poll(context));
            if let Some(Poll::Ready(outcome)) = batch {
                drop(self.batches.swap_remove(place));
                return Poll::Ready(Next::Stored(outcome));
            }
        }
        if self.batches.len() >= RADIUS_BATCHES {
            return Poll::Pending;
        }
        self.socket.poll_recv_ready(context).map(Next::Readable)
    }

    /// Reads what is there, a batch at most, and begins to store it.
    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let settings = self.settings.load();
        let (mut events, mut requests) = (Vec::new(), Vec::new());
        for _ in 0..RADIUS_BATCH {
            let (length, client) = match self.socket.try_recv_from(buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A client that was answered has gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let datagram = buffer.get(..length).unwrap_or_default();
            match self.take(&settings, client, datagram) {
                Ok(Some((event, request))) => {
                    events.push(event);
                    requests.push(request);
                }
                Ok(None) => {}
                Err(reason) => self.counters.count(reason.into()),
            }
        }
        if !events.is_empty() {
            let sink = self.sink;
            self.batches.push(Box::pin(async move {
                let result = sink.store(events).await;
                Outcome { result, requests }
            }));
        }
        Ok(())
    }

    /// Deals with one datagram: what has to be stored before it is answered, if anything.
    fn take(
        &mut self,
        settings: &Settings,
        client: SocketAddr,
        datagram: &[u8],
    ) -> Result<Option<(AccountingEvent, Request)>, Dropped> {
        let known = settings.clients.find(client.ip());
        let known = known.ok_or(Dropped::UnknownClient)?;
        let secret = &known.secret;
        let packet = Packet::parse(datagram).map_err(Dropped::Malformed)?;
        if !packet.is_authentic(secret) {
            return Err(Dropped::WrongAuthenticator);
        }
        if packet.code() == Code::Status {
            self.answer(client, &packet.answer(secret), Count::Status);
            return Ok(None);
        }
        if settings.require_message_authenticator && !packet.is_signed() {
            return Err(Dropped::Unsigned);
        }
        let now_ms = (settings.now_ms)();
        let key = RequestKey::new(client, &packet);
        match self.answers.begin(key, now_ms) {
            Known::New => {}
            Known::Storing => {
                self.counters.count(Count::Storing);
                return Ok(None);
            }
            Known::Answered => {
                self.answer(client, &packet.answer(secret), Count::Repeated);
                return Ok(None);
            }
        }
        let answer = packet.answer(secret);
        let sender = Sender {
            address: client.ip(),
            client: known,
            clients: &settings.clients,
        };
        match event::read(packet.attributes(), sender, &settings.networks, now_ms) {
            Ok(Reading {
                mut event,
                is_clock_wrong,
            }) => {
                if is_clock_wrong {
                    self.wrong_clock(&event, client, now_ms);
                }
                let is_dated = event.own_ms.is_some() && !is_clock_wrong;
                if settings.require_event_timestamp && !is_dated {
                    self.answers.failed(&key);
                    return Err(Dropped::NoTimestamp);
                }
                event.request = Some(*packet.authenticator());
                let request = Request {
                    client,
                    key,
                    answer,
                };
                Ok(Some((event, request)))
            }
            Err(ignored) => {
                if matches!(ignored, Ignored::ForeignNetwork | Ignored::ForeignNas)
                    && self.told.is_news(Fault::Foreign, &known.name)
                {
                    warn!(%client, what = Count::from(ignored).name(), "a RADIUS client speaks of a network or an access server that is not its own; it is answered, and nothing is bound or ended");
                }
                self.answers.answered(key, now_ms);
                self.answer(client, &answer, ignored.into());
                Ok(None)
            }
        }
    }

    fn wrong_clock(&mut self, event: &AccountingEvent, client: SocketAddr, now_ms: i64) {
        self.counters.count(Count::WrongClock);
        if self.told.is_news(Fault::WrongClock, &event.nas) {
            let ahead_ms = event.own_ms.map(|own_ms| own_ms.saturating_sub(now_ms));
            let ahead_seconds = ahead_ms.map(|ms| ms / 1000);
            warn!(nas = %event.nas, %client, ahead_seconds, "the clock of this access server, or of this host, is wrong; the times at which it tells count instead of its own");
        }
    }

    /// Answers what was stored, and leaves the rest to be sent again.
    fn finish(&mut self, Outcome { result, requests }: Outcome) {
        let now_ms = (self.settings.load().now_ms)();
        for request in requests {
            if result.is_ok() {
                self.answers.answered(request.key, now_ms);
                self.answer(request.client, &request.answer, Count::Stored);
            } else {
                self.answers.failed(&request.key);
                self.counters.count(Count::NotStored);
            }
        }
        let Kept { replayed, foreign } = result.unwrap_or_default();
        for nas in replayed {
            self.counters.count(Count::Replayed);
            if self.told.is_news(Fault::Replayed, &nas) {
                warn!(%nas, "a request of this access server came again long after it was answered, or an access server without a clock (Event-Timestamp) says the same twice; it changes nothing");
            }
        }
        for nas in foreign {
            self.counters.count(Count::ForeignSession);
            if self.told.is_news(Fault::Foreign, &nas) {
                warn!(%nas, "a RADIUS client would end sessions of this access server, of which another client told; where both may, list it in nas of both");
            }
        }
    }

    fn answer(&self, client: SocketAddr, answer: &[u8], count: Count) {
        self.counters.count(count);
        if self.socket.try_send_to(answer, client).is_err() {
            self.counters.count(Count::Unsent);
        }
    }
}

impl From<Dropped> for Count {
    fn from(dropped: Dropped) -> Self {
        match dropped {
            Dropped::UnknownClient => Self::UnknownClient,
            Dropped::WrongAuthenticator => Self::WrongAuthenticator,
            Dropped::Unsigned => Self::Unsigned,
            Dropped::NoTimestamp => Self::NoTimestamp,
            Dropped::Malformed(Malformed::Code(_)) => Self::OtherCode,
            Dropped::Malformed(_) => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests;
