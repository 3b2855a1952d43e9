//! Link: one TLS connection without its socket. What was received goes in and comes out in clear; what is
//! to be sent goes in in clear and comes out as records. While nothing is under way it holds no buffer.
//!
//! ```text
//! socket -> receive() -> caller's buffer        caller's slices -> seal() -> outgoing() -> socket
//!              |                                                      ^
//!              +---- answers of TLS itself (KeyUpdate, alerts) -------+
//! ```

use std::io::{self, IoSlice};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::describe::describe;
use crate::limits::{TLS_INCOMING_BYTES_MAX, TLS_READ_BYTES, TLS_SEAL_BYTES, TLS_SPARE_BUFFERS};

/// Why a connection can be used no longer, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TlsError(String);

impl TlsError {
    /// A failure before TLS itself had a say.
    #[must_use]
    pub fn new(why: &str) -> Self {
        Self(why.to_owned())
    }
}

impl From<TlsError> for io::Error {
    fn from(error: TlsError) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// Buffers that all connections of one thread use in turn.
#[derive(Debug, Default)]
pub struct Workspace {
    /// Records as they come, with what was left of those before.
    incoming: Vec<u8>,
    /// Slices on their way into one record.
    clear: Vec<u8>,
    /// Emptied buffers for records to be sent.
    spare: Vec<Vec<u8>>,
}

/// One connection.
pub struct Link {
    connection: UnbufferedClientConnection,
    /// The beginning of a record, or of a message over several.
    partial: Vec<u8>,
    /// In clear, not fetched yet: what one read brought beyond the room there was.
    clear: Vec<u8>,
    clear_taken: usize,
    /// Records to be sent, and how much of them has been.
    outgoing: Vec<u8>,
    outgoing_sent: usize,
    phase: Phase,
    has_peer_closed: bool,
}

/// How far our own side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    Closed,
}

/// What one reception came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes in clear.
    pub clear: usize,
    /// Whether the socket may hold more.
    pub is_filled: bool,
    /// Whether the peer has closed, and nothing more comes.
    pub is_end: bool,
}

impl Link {
    /// A connection that has said nothing yet; its first bytes are ready to be sent.
    pub(super) fn new(
        config: Arc<ClientConfig>,
        server: ServerName<'static>,
        protocols: Vec<Vec<u8>>,
    ) -> Result<Self, TlsError> {
        let connection = UnbufferedClientConnection::new_with_alpn(config, server, protocols)
            .map_err(|error| TlsError(describe(&error)))?;
        let mut link = Self {
            connection,
            partial: Vec::new(),
            clear: Vec::new(),
            clear_taken: 0,
            outgoing: Vec::new(),
            outgoing_sent: 0,
            phase: Phase::Handshake,
            has_peer_closed: false,
        };
        link.process(&mut [], &mut [])?;
        Ok(link)
    }

    /// Whether the handshake is through, so that [`Self::seal`] may be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Bytes in clear that wait to be fetched.
    #[must_use]
    pub const fn waiting_bytes(&self) -> usize {
        self.clear.len().saturating_sub(self.clear_taken)
    }

    /// Fetches what is there in clear; when nothing is, reads records by `read` first.
    ///
    /// # Errors
    /// Those of `read`; `UnexpectedEof` when the peer closed without saying so; `InvalidData` with a
    /// [`TlsError`] when it broke TLS, after which [`Self::outgoing`] may hold an alert for it.
    pub fn receive(
        &mut self,
        workspace: &mut Workspace,
        buffer: &mut [u8],
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Received> {
        let waiting = self.fetch(buffer);
        if waiting > 0 || self.has_peer_closed {
            return Ok(Received {
                clear: waiting,
                // What was not fetched has a caller that comes again.
                is_filled: true,
                is_end: waiting == 0,
            });
        }
        let incoming = &mut workspace.incoming;
        let before = self.partial.len();
        if before > TLS_INCOMING_BYTES_MAX {
            let error = TlsError("a handshake message without an end".to_owned());
            return Err(error.into());
        }
        let length = before.saturating_add(TLS_READ_BYTES);
        if incoming.len() < length {
            incoming.resize(length, 0);
        }
        let count = read(incoming.get_mut(before..length).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if let Some(front) = incoming.get_mut(..before) {
            front.copy_from_slice(&self.partial);
        }
        let end = before.saturating_add(count);
        let records = incoming.get_mut(..end).unwrap_or_default();
        let (taken, clear) = self.process(records, buffer)?;
        let rest = records.get(taken..).unwrap_or_default();
        self.partial.clear();
        if rest.is_empty() {
            self.partial = Vec::new();
        } else {
            self.partial.extend_from_slice(rest);
        }
        Ok(Received {
            clear,
            is_filled: count == TLS_READ_BYTES || self.waiting_bytes() > 0 || self.has_peer_closed,
            is_end: self.has_peer_closed && clear == 0,
        })
    }

    /// Turns as much of these slices into records as one send should carry, and says how much. Not to be
    /// called while [`Self::outgoing`] holds something.
    ///
    /// # Errors
    /// When the connection can be used no longer.
    pub fn seal(
        &mut self,
        workspace: &mut Workspace,
        slices: &[IoSlice<'_>],
    ) -> Result<usize, TlsError> {
        let Workspace { clear, spare, .. } = workspace;
        clear.clear();
        for slice in slices {
            let room = TLS_SEAL_BYTES.saturating_sub(clear.len());
            let length = slice.len().min(room);
            clear.extend_from_slice(slice.get(..length).unwrap_or_default());
        }
        if self.outgoing.capacity() == 0 {
            self.outgoing = spare.pop().unwrap_or_default();
        }
        self.write(|traffic, room| traffic.encrypt(clear, room))?;
        Ok(clear.len())
    }

    /// Says that nothing more will be sent.
    pub fn close(&mut self) {
        if self.is_open() {
            self.phase = Phase::Closed;
            // A connection that is broken already has nothing to say.
            drop(self.write(|traffic, room| traffic.queue_close_notify(room)));
        }
    }

    /// Records to be sent.
    #[must_use]
    pub fn outgoing(&self) -> &[u8] {
        self.outgoing.get(self.outgoing_sent..).unwrap_or_default()
    }

    /// The socket took this many bytes of them.
    pub fn sent(&mut self, workspace: &mut Workspace, count: usize) {
        self.outgoing_sent = self.outgoing_sent.saturating_add(count);
        if self.outgoing_sent >= self.outgoing.len() {
            self.outgoing_sent = 0;
            let mut buffer = std::mem::take(&mut self.outgoing);
            buffer.clear();
            if workspace.spare.len() < TLS_SPARE_BUFFERS {
                workspace.spare.push(buffer);
            }
        }
    }

    /// Hands out what waits in clear.
    fn fetch(&mut self, buffer: &mut [u8]) -> usize {
        let rest = self.clear.get(self.clear_taken..).unwrap_or_default();
        let length = rest.len().min(buffer.len());
        if let (Some(from), Some(to)) = (rest.get(..length), buffer.get_mut(..length)) {
            to.copy_from_slice(from);
        }
        self.clear_taken = self.clear_taken.saturating_add(length);
        if self.clear_taken >= self.clear.len() {
            self.clear = Vec::new();
            self.clear_taken = 0;
        }
        length
    }

    /// Lets rustls deal with records: how many bytes of them it is done with, and how many bytes in clear
    /// they came to. What of those has no room waits.
    fn process(
        &mut self,
        records: &mut [u8],
        buffer: &mut [u8],
    ) -> Result<(usize, usize), TlsError> {
        let (mut taken, mut filled) = (0_usize, 0_usize);
        let mut failure = None;
        loop {
            let rest = records.get_mut(taken..).unwrap_or_default();
            let UnbufferedStatus {
                mut discard, state, ..
            } = self.connection.process_tls_records(rest);
            let mut is_done = false;
            match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(|error| TlsError(describe(&error)))?;
                        discard = discard.saturating_add(record.discard);
                        filled = deliver(record.payload, buffer, filled, &mut self.clear);
                    }
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::PeerClosed) => self.has_peer_closed = true,
                Ok(ConnectionState::WriteTraffic(_)) => {
                    if self.phase == Phase::Handshake && failure.is_none() {
                        self.phase = Phase::Open;
                    }
                    is_done = true;
                }
                Ok(_) => is_done = true,
                Err(error) => failure = Some(TlsError(describe(&error))),
            }
            taken = taken.saturating_add(discard);
            // Its alert is still to be written. Once it is, rustls must not see again what it has refused.
            is_done |= failure.is_some() && !self.connection.wants_write();
            if is_done {
                let Some(failure) = failure else {
                    return Ok((taken, filled));
                };
                // Whatever else there was to say, the alert was the last of it.
                self.phase = Phase::Closed;
                self.partial = Vec::new();
                return Err(failure);
            }
        }
    }

    /// Appends records of our own.
    fn write(
        &mut self,
        mut put: impl FnMut(
            &mut rustls::unbuffered::WriteTraffic<'_, rustls::client::ClientConnectionData>,
            &mut [u8],
        ) -> Result<usize, EncryptError>,
    ) -> Result<(), TlsError> {
        loop {
            let status = self.connection.process_tls_records(&mut self.partial);
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    return encode(&mut self.outgoing, |room| put(&mut traffic, room));
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) => return Err(TlsError("the connection is closing".to_owned())),
                Err(error) => return Err(TlsError(describe(&error))),
            }
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Link")
            .field("phase", &self.phase)
            .field("outgoing", &self.outgoing().len())
            .finish_non_exhaustive()
    }
}

/// Puts bytes into the caller's buffer as far as there is room, and the rest behind what waits.
fn deliver(bytes: &[u8], buffer: &mut [u8], filled: usize, waiting: &mut Vec<u8>) -> usize {
    let room = buffer.get_mut(filled..).unwrap_or_default();
    let length = if waiting.is_empty() {
        bytes.len().min(room.len())
    } else {
        0
    };
    let (now, later) = bytes.split_at_checked(length).unwrap_or((&[], bytes));
    if let Some(room) = room.get_mut(..length) {
        room.copy_from_slice(now);
    }
    waiting.extend_from_slice(later);
    filled.saturating_add(length)
}

/// Why something could not be written.
trait Refused {
    /// The room that it needs, where that was the reason.
    fn required_bytes(&self) -> Option<usize>;
}

impl Refused for EncodeError {
    fn required_bytes(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::AlreadyEncoded => None,
        }
    }
}

impl Refused for EncryptError {
    fn required_bytes(&self) -> Option<usize> {
        match self {
            Self::InsufficientSize(InsufficientSizeError { required_size }) => Some(*required_size),
            Self::EncryptExhausted => None,
        }
    }
}

/// Has records written behind those there are, in as much room as they need.
fn encode<E: Refused>(
    outgoing: &mut Vec<u8>,
    mut put: impl FnMut(&mut [u8]) -> Result<usize, E>,
) -> Result<(), TlsError> {
    let before = outgoing.len();
    let mut room = outgoing.capacity().saturating_sub(before);
    loop {
        outgoing.resize(before.saturating_add(room), 0);
        let result = put(outgoing.get_mut(before..).unwrap_or_default());
        let written = *result.as_ref().unwrap_or(&0);
        outgoing.truncate(before.saturating_add(written));
        match result {
            Ok(_) => return Ok(()),
            Err(refused) => match refused.required_bytes() {
                Some(required) if required > room => room = required,
                _ => return Err(TlsError("no record can be written any more".to_owned())),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::{Clients, Roots};

    #[test]
    fn b_con_4_an_upstream_that_answers_in_no_tls_ended_the_shard() {
        let clients = Clients::new(Roots::system(), [], None).unwrap();
        let workspace = &mut Workspace::default();
        for answer in [
            &b"\x20\x02\x00\x00 and what is no record"[..],
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            &[0xff; 64],
            // A record of that much is too long for any.
            &[0x16, 3, 3, 0xff, 0xff, 0],
        ] {
            let name = ServerName::try_from("broker.example").unwrap();
            let mut link = clients.anonymous().link(name, None).unwrap();
            let hello = link.outgoing().len();
            link.sent(workspace, hello);
            let answered = |room: &mut [u8]| {
                room[..answer.len()].copy_from_slice(answer);
                Ok(answer.len())
            };
            let error = link.receive(workspace, &mut [], answered).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            // One alert for it, fatal, and nothing behind that.
            assert_eq!(link.outgoing().get(..6), Some(&[0x15, 3, 3, 0, 2, 2][..]));
            assert_eq!(link.outgoing().len(), 7);
            link.close();
            assert_eq!(link.outgoing().len(), 7);
        }
    }

    #[test]
    fn b_aws_1_the_protocol_that_is_asked_for_reaches_the_server() {
        let own = rcgen::generate_simple_self_signed(["broker.example".to_owned()]).unwrap();
        let key =
            rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let mut config =
            rustls::ServerConfig::builder_with_provider(crate::tls::certificate::provider())
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![own.cert.der().clone()], key)
                .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"x-amzn-mqtt-ca".to_vec()];
        let mut server = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let roots = Roots::system().with(&[own.cert.der().clone()]).unwrap();
        let clients = Clients::new(roots, [], None).unwrap();
        let name = ServerName::try_from("broker.example").unwrap();
        let mut link = clients
            .anonymous()
            .link(name, Some(b"x-amzn-mqtt-ca"))
            .unwrap();
        let workspace = &mut Workspace::default();
        while server.is_handshaking() || !link.is_open() {
            let sent = server.read_tls(&mut link.outgoing()).unwrap();
            link.sent(workspace, sent);
            server.process_new_packets().unwrap();
            let mut answer = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut answer).unwrap();
            }
            if !answer.is_empty() {
                let read = |room: &mut [u8]| {
                    room[..answer.len()].copy_from_slice(&answer);
                    Ok(answer.len())
                };
                link.receive(workspace, &mut [], read).unwrap();
            }
        }
        assert_eq!(server.alpn_protocol(), Some(&b"x-amzn-mqtt-ca"[..]));
        assert_eq!(server.server_name(), Some("broker.example"));
    }
}
