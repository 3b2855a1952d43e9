//! Link: one TLS connection without its socket. What was received goes in and comes out in clear; what is
//! to be sent goes in in clear and comes out as records. While nothing is under way it holds no buffer.
//!
//! ```text
//! socket -> open(): appends to the batch       slices -> seal() -> outgoing() -> socket
//!              |                                                           ^
//!              +------ answers of TLS itself (KeyUpdate, alerts) ----------+
//! ```

use std::io;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use super::describe::describe;
use crate::limits::{
    TLS_INCOMING_BYTES_MAX, TLS_READ_BYTES, TLS_SEAL_BYTES, TLS_SPARE_BUFFERS, TLS_SPARE_BYTES,
};

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
    /// Records of a handshake as they come.
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
    /// In clear, of the time before the relay.
    clear: Vec<u8>,
    /// Records to be sent, and how much of them has been.
    outgoing: Vec<u8>,
    outgoing_sent: usize,
    phase: Phase,
    has_peer_closed: bool,
    has_failed: bool,
}

/// How far our own side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Handshake,
    Open,
    Closed,
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
            outgoing: Vec::new(),
            outgoing_sent: 0,
            phase: Phase::Handshake,
            has_peer_closed: false,
            has_failed: false,
        };
        link.process(&mut [], &mut Vec::new())?;
        Ok(link)
    }

    /// Whether the handshake is through, so that [`Self::seal`] may be used.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.phase == Phase::Open
    }

    /// Whether the peer has said that it sends nothing more.
    #[must_use]
    pub const fn has_peer_closed(&self) -> bool {
        self.has_peer_closed
    }

    /// Takes what came in clear during the handshake.
    pub fn take_clear(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.clear)
    }

    /// Reads records by `read`, while there is a handshake. What else is in them waits.
    ///
    /// # Errors
    /// Those of `read`; `UnexpectedEof` when the peer closed; `InvalidData` with a [`TlsError`] when it broke
    /// TLS, after which [`Self::outgoing`] may hold an alert for it.
    pub fn receive(
        &mut self,
        workspace: &mut Workspace,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let incoming = &mut workspace.incoming;
        incoming.resize(TLS_READ_BYTES, 0);
        let count = read(incoming)?;
        let records = incoming.get_mut(..count).unwrap_or_default();
        if records.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut clear = std::mem::take(&mut self.clear);
        let opened = self.open(records, &mut clear);
        self.clear = clear;
        opened?;
        if self.has_peer_closed {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(())
    }

    /// Opens records, and appends to `clear` what is in them; [`Self::outgoing`] may hold an answer. What comes after a
    /// failure is ignored.
    ///
    /// # Errors
    /// When the peer broke TLS; then [`Self::outgoing`] may hold an alert for it.
    pub fn open(&mut self, records: &mut [u8], clear: &mut Vec<u8>) -> Result<(), TlsError> {
        if self.has_peer_closed || self.has_failed {
            return Ok(());
        }
        if self.partial.is_empty() {
            let taken = self.process(records, clear)?;
            let rest = records.get(taken..).unwrap_or_default();
            self.partial.extend_from_slice(rest);
            return Ok(());
        }
        if self.partial.len() > TLS_INCOMING_BYTES_MAX {
            let error = TlsError("a handshake message without an end".to_owned());
            return Err(error);
        }
        self.partial.extend_from_slice(records);
        if !is_whole(&self.partial) {
            return Ok(());
        }
        let mut assembled = std::mem::take(&mut self.partial);
        let taken = self.process(&mut assembled, clear)?;
        let rest = assembled.get(taken..).unwrap_or_default();
        self.partial.extend_from_slice(rest);
        Ok(())
    }

    /// Turns these slices into records, behind those that wait.
    ///
    /// # Errors
    /// When the connection can be used no longer.
    pub fn seal<'a>(
        &mut self,
        workspace: &mut Workspace,
        slices: impl Iterator<Item = &'a [u8]>,
    ) -> Result<(), TlsError> {
        if self.has_failed {
            // The alert was the last word.
            return Err(TlsError("the connection has failed".to_owned()));
        }
        let Workspace { clear, spare, .. } = workspace;
        clear.clear();
        if self.outgoing.capacity() == 0 {
            self.outgoing = spare.pop().unwrap_or_default();
        }
        for mut slice in slices {
            while !slice.is_empty() {
                let room = TLS_SEAL_BYTES.saturating_sub(clear.len());
                let (now, later) = slice.split_at(slice.len().min(room));
                clear.extend_from_slice(now);
                slice = later;
                if clear.len() == TLS_SEAL_BYTES {
                    self.write(|traffic, room| traffic.encrypt(clear, room))?;
                    clear.clear();
                }
            }
        }
        if !clear.is_empty() {
            self.write(|traffic, room| traffic.encrypt(clear, room))?;
        }
        Ok(())
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
            let is_kept = buffer.capacity() <= TLS_SPARE_BYTES;
            if is_kept && workspace.spare.len() < TLS_SPARE_BUFFERS {
                workspace.spare.push(buffer);
            }
        }
    }

    /// Lets rustls deal with records: how many bytes of them it is done with. What is in them is appended to
    /// `clear`.
    fn process(&mut self, records: &mut [u8], clear: &mut Vec<u8>) -> Result<usize, TlsError> {
        let mut taken = 0_usize;
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
                        clear.extend_from_slice(record.payload);
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
            // Its alert is still to be written.
            is_done |= failure.is_some() && !self.connection.wants_write();
            if is_done {
                let Some(failure) = failure else {
                    return Ok(taken);
                };
                self.failed();
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
        let mut failure = None;
        loop {
            let status = self.connection.process_tls_records(&mut self.partial);
            match status.state {
                Ok(ConnectionState::WriteTraffic(mut traffic)) if failure.is_none() => {
                    return encode(&mut self.outgoing, |room| put(&mut traffic, room));
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    encode(&mut self.outgoing, |room| data.encode(room))?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(_) if failure.is_none() => {
                    return Err(TlsError("the connection is closing".to_owned()));
                }
                Ok(_) => {}
                // A record's beginning that waited for its rest is none.
                Err(error) => {
                    failure.get_or_insert_with(|| TlsError(describe(&error)));
                }
            }
            if let Some(failure) = &failure {
                self.failed();
                if !self.connection.wants_write() {
                    return Err(failure.clone());
                }
            }
        }
    }

    /// Whatever else there was to say, the alert is the last of it, and rustls must not see again what it has refused.
    fn failed(&mut self) {
        self.phase = Phase::Closed;
        self.has_failed = true;
        self.partial = Vec::new();
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

/// Whether the record at the front is there to its end, so that looking at it makes sense.
fn is_whole(records: &[u8]) -> bool {
    match records {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
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
    let mut room = 0;
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
            let error = link.receive(workspace, answered).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
            // One alert for it, fatal, and nothing behind that.
            assert_eq!(link.outgoing().get(..6), Some(&[0x15, 3, 3, 0, 2, 2][..]));
            assert_eq!(link.outgoing().len(), 7);
            link.close();
            let clear = std::iter::once(&b"a message"[..]);
            link.seal(workspace, clear).unwrap_err();
            // rustls must not see again what it has refused.
            link.open(&mut answer.to_vec(), &mut Vec::new()).unwrap();
            assert_eq!(link.outgoing().len(), 7);
        }
    }

    #[test]
    fn a_handshake_message_without_an_end_is_not_kept_for_ever() {
        let clients = Clients::new(Roots::system(), [], None).unwrap();
        let workspace = &mut Workspace::default();
        let name = ServerName::try_from("broker.example").unwrap();
        let mut link = clients.anonymous().link(name, None).unwrap();
        let hello = link.outgoing().len();
        link.sent(workspace, hello);
        // A server's hello of the greatest length that can be said, in records of the greatest size.
        let mut record = vec![0x16, 3, 3, 0x40, 0, 2, 0xff, 0xff, 0xff];
        record.resize(5 + TLS_SEAL_BYTES, 0);
        loop {
            let more = |room: &mut [u8]| {
                room[..record.len()].copy_from_slice(&record);
                Ok(record.len())
            };
            if link.receive(workspace, more).is_err() {
                break;
            }
            let kept = link.partial.len();
            assert!(kept <= TLS_INCOMING_BYTES_MAX + TLS_READ_BYTES, "{kept}");
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
                link.receive(workspace, read).unwrap();
            }
        }
        assert_eq!(server.alpn_protocol(), Some(&b"x-amzn-mqtt-ca"[..]));
        assert_eq!(server.server_name(), Some("broker.example"));
    }
}
