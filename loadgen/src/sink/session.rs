//! Session: one connection of a sink, from its first byte to its end.

use std::io;
use std::sync::Arc;

use super::tls::Tls;
use super::{Sink, http};
use crate::device::client_id;
use crate::flood::CLIENT_ID;
use crate::message::Stamp;
use crate::sys::Socket;
use crate::verify::{Book, Receiver};
use crate::wire::decode::{Decoder, Packet, Publish};
use crate::wire::{Qos, Version, encode, kind};

/// First byte of a TLS record that begins a handshake.
const TLS_HANDSHAKE: u8 = 0x16;

/// Reads in a row before others get their turn.
const READS_MAX: usize = 4;

/// Serves a connection: MQTT, MQTT in TLS, or a request for the verdict.
///
/// # Errors
/// When the connection breaks.
pub(super) async fn run(socket: &Socket, sink: &Sink) -> io::Result<()> {
    socket.readable().await?;
    let mut first = Vec::new();
    receive(socket, sink, |bytes| first.extend_from_slice(bytes))?;
    match first.first() {
        None => return Ok(()),
        Some(b'G') => {
            http::answer(socket, &sink.books, first).await?;
            return socket.finish().await;
        }
        Some(_) => {}
    }
    let is_tls = first.first() == Some(&TLS_HANDSHAKE);
    let mut tls = match (&sink.tls, is_tls) {
        (Some(config), true) => Some(Tls::new(Arc::clone(config)).map_err(io::Error::other)?),
        (None, false) => None,
        _ => {
            sink.books.malformed();
            return Ok(());
        }
    };
    let mut session = Session::new(sink);
    let mut is_open = session.take(&mut tls, &first);
    while is_open {
        let out = session.drain(&mut tls);
        socket.send_all(&out).await?;
        if session.state.is_flood
            && let Some(drain) = sink.books.drain()
        {
            // What comes is nobody's concern here.
            drain.send(socket.duplicate()?).map_err(io::Error::other)?;
            return Ok(());
        }
        socket.readable().await?;
        for _ in 0..READS_MAX {
            let mut length = 0;
            receive(socket, sink, |bytes| {
                length = bytes.len();
                is_open = !bytes.is_empty() && session.take(&mut tls, bytes);
            })?;
            if !is_open || length < super::READ_BYTES {
                break;
            }
        }
    }
    socket.send_all(&session.drain(&mut tls)).await
}

/// Reads what is there into the thread's buffer. Nothing being there after all is no end.
fn receive(socket: &Socket, sink: &Sink, take: impl FnOnce(&[u8])) -> io::Result<()> {
    let buffer = &mut *sink.buffer.borrow_mut();
    match socket.receive(buffer) {
        Ok(length) => take(buffer.get(..length).unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What is known of a connection.
struct Session<'a> {
    sink: &'a Sink,
    decoder: Decoder,
    state: State,
    /// Whether its TLS handshake has been counted.
    has_handshake: bool,
}

#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each comes by itself")]
struct State {
    out: Vec<u8>,
    is_connected: bool,
    has_ended: bool,
    /// Whether it is one of a flood's.
    is_flood: bool,
    /// Run and number of the device, where the client id is one of a generator's.
    device: Option<(u32, u32)>,
    book: Option<Arc<Book>>,
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        if self.state.is_connected {
            self.sink.books.count_session(-1);
        }
    }
}

impl<'a> Session<'a> {
    fn new(sink: &'a Sink) -> Self {
        Self {
            sink,
            decoder: Decoder::new(Version::V311),
            state: State::default(),
            has_handshake: false,
        }
    }

    /// Takes what came in. Returns whether the session goes on.
    fn take(&mut self, tls: &mut Option<Tls>, bytes: &[u8]) -> bool {
        let taken = match tls {
            None => self.take_plain(bytes),
            Some(tls) => match tls.received(bytes) {
                Ok(plain) => {
                    if let (false, Some(is_resumed)) = (self.has_handshake, tls.is_resumed()) {
                        self.has_handshake = true;
                        self.sink.books.shaken_hands(is_resumed);
                    }
                    self.take_plain(&plain)
                }
                // The device, or whoever is in between, sees the alert.
                Err(_) => return false,
            },
        };
        if !taken {
            self.sink.books.malformed();
        }
        taken && !self.state.has_ended
    }

    fn take_plain(&mut self, bytes: &[u8]) -> bool {
        let Self {
            sink,
            decoder,
            state,
            ..
        } = self;
        let mut is_legal = true;
        let decoded = decoder.decode(bytes, |version, packet| {
            is_legal &= state.packet(sink, version, packet);
        });
        decoded.is_ok() && is_legal
    }

    /// What is to be sent, as it goes over the wire.
    fn drain(&mut self, tls: &mut Option<Tls>) -> Vec<u8> {
        let out = std::mem::take(&mut self.state.out);
        match tls {
            None => out,
            Some(tls) => tls.send(&out),
        }
    }
}

impl State {
    /// Returns whether the packet may come at this point.
    fn packet(&mut self, sink: &Sink, version: Version, packet: &Packet<'_>) -> bool {
        if self.has_ended || self.is_connected == matches!(packet, Packet::Connect { .. }) {
            return false;
        }
        match packet {
            Packet::Connect { client_id, .. } => {
                self.is_connected = true;
                sink.books.count_session(1);
                self.device = client_id::read(client_id);
                self.is_flood = client_id.starts_with(CLIENT_ID.as_bytes());
                encode::connack(&mut self.out, version, 0);
            }
            Packet::Publish(publish) => self.publish(sink, publish),
            Packet::Acknowledgement { kind, id, .. } if *kind == kind::PUBREL => {
                encode::acknowledge(&mut self.out, kind::PUBCOMP, *id);
            }
            Packet::Subscribe { kind, id, granted } => {
                let is_subscribe = *kind == kind::SUBSCRIBE;
                let answer = if is_subscribe {
                    kind::SUBACK
                } else {
                    kind::UNSUBACK
                };
                let has_codes = is_subscribe || version.has_properties();
                let codes = if has_codes { granted.as_slice() } else { &[] };
                encode::granted(&mut self.out, version, (answer, *id), codes);
            }
            Packet::Ping { kind } if *kind == kind::PINGREQ => {
                encode::bare(&mut self.out, kind::PINGRESP);
            }
            Packet::Disconnect { .. } => self.has_ended = true,
            Packet::Connack { .. }
            | Packet::Acknowledgement { .. }
            | Packet::Suback { .. }
            | Packet::Ping { .. } => return false,
        }
        true
    }

    fn publish(&mut self, sink: &Sink, publish: &Publish<'_>) {
        match publish.qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => encode::acknowledge(&mut self.out, kind::PUBACK, publish.id),
            Qos::ExactlyOnce => encode::acknowledge(&mut self.out, kind::PUBREC, publish.id),
        }
        match &publish.stamp {
            Ok(stamp) => {
                let receiver = Receiver {
                    number: 0,
                    expects: self
                        .device
                        .filter(|(run, _)| *run == stamp.run)
                        .map(|(_, device)| device),
                };
                let book = self.book(sink, stamp);
                if book.arrived(receiver, publish, stamp) {
                    sink.books.credit(stamp.run, stamp.device);
                }
            }
            Err(_) => {
                // Whose it was: as the session says, or else as the damaged head does.
                let own = self.device.map(|(run, _)| sink.books.of(run));
                let claimed = || publish.claims.and_then(|(run, _)| sink.books.find(run));
                match own.or_else(claimed) {
                    Some(book) => book.damaged(),
                    None => sink.books.unrecognised(),
                }
            }
        }
    }

    /// The book that a message goes into; the one before goes into the same, as a rule.
    fn book(&mut self, sink: &Sink, stamp: &Stamp) -> &Book {
        let known = self.book.take().filter(|book| book.run() == stamp.run);
        self.book
            .insert(known.unwrap_or_else(|| sink.books.of(stamp.run)))
    }
}
