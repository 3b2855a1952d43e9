//! A scripted upstream with TLS: as well-behaved or as broken as the test says. What it sends can be had
//! as records first, to be cut, damaged or held back.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection};
use rustls::{ProtocolVersion, SupportedProtocolVersion};
use socket2::SockRef;

use super::PATIENCE;
use super::authority::{Authority, Identity};
use super::peer::{Peer, connack, connect_packet};

/// Both versions.
pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];
/// TLS 1.2 alone.
pub const ONLY_12: &[&SupportedProtocolVersion] = &[&TLS12];
/// TLS 1.3 alone.
pub const ONLY_13: &[&SupportedProtocolVersion] = &[&TLS13];

/// Largest plaintext of one record.
pub const RECORD_BYTES: usize = 16 * 1024;

/// A listener whose connections are TLS.
pub struct TlsServer {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

/// One connection from the engine.
pub struct TlsPeer {
    /// The TLS itself.
    pub tls: ServerConnection,
    stream: TcpStream,
}

/// How a server is.
pub struct Manner<'a> {
    /// What it speaks.
    pub versions: &'static [&'static SupportedProtocolVersion],
    /// Whose clients' certificates it asks for.
    pub clients: Option<&'a Authority>,
    /// Whether sessions can be resumed.
    pub has_tickets: bool,
    /// Protocols that it speaks, if it says.
    pub protocols: &'a [&'a [u8]],
}

impl Default for Manner<'_> {
    fn default() -> Self {
        Self {
            versions: BOTH,
            clients: None,
            has_tickets: true,
            protocols: &[],
        }
    }
}

impl TlsServer {
    /// Listens with this identity, and nothing special.
    pub fn listen(identity: &Identity) -> Self {
        Self::listen_with(identity, &Manner::default())
    }

    /// Listens in this manner.
    pub fn listen_with(identity: &Identity, manner: &Manner<'_>) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").unwrap(),
            config: configured(identity, manner),
        }
    }

    /// The same server with nothing left of what it knew.
    pub fn restarted(self, identity: &Identity, manner: &Manner<'_>) -> Self {
        Self {
            config: configured(identity, manner),
            ..self
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Connections get this little room for what comes in.
    pub fn narrow(&self) {
        let socket = SockRef::from(&self.listener);
        socket.set_recv_buffer_size(4096).unwrap();
    }

    /// The next connection as it is, without any TLS.
    pub fn accept_stream(&self) -> TcpStream {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// The next connection, its handshake before it.
    pub fn accept_raw(&self) -> TlsPeer {
        let mut tls = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        // A test says by itself how much it sends.
        tls.set_buffer_limit(None);
        TlsPeer {
            tls,
            stream: self.accept_stream(),
        }
    }

    /// The next connection, its handshake behind it, if that succeeds.
    pub fn try_accept(&self) -> io::Result<TlsPeer> {
        let mut peer = self.accept_raw();
        peer.shake_hands()?;
        Ok(peer)
    }

    /// The next connection, its handshake behind it.
    pub fn accept(&self) -> TlsPeer {
        self.try_accept().unwrap()
    }

    /// A device's whole session through the engine at `to`: the device's end and this one.
    pub fn session(&self, to: SocketAddr, from: impl Into<IpAddr>, version: u8) -> (Peer, TlsPeer) {
        self.session_of(Peer::connect(from, to), version)
    }

    /// The same for a device that has connected.
    pub fn session_of(&self, mut device: Peer, version: u8) -> (Peer, TlsPeer) {
        let connect = connect_packet(version, "device");
        device.send(&connect);
        let mut peer = self.accept();
        peer.packet();
        peer.send(connack(version));
        device.expect(connack(version));
        (device, peer)
    }
}

impl TlsPeer {
    /// Goes through the handshake; a refusal's alert is sent before it fails.
    pub fn shake_hands(&mut self) -> io::Result<()> {
        while self.tls.is_handshaking() {
            self.tls.complete_io(&mut self.stream)?;
        }
        self.flush()
    }

    /// Reads until TLS has an answer or its handshake is through.
    pub fn hear(&mut self) {
        while self.tls.is_handshaking() && !self.tls.wants_write() {
            self.tls.read_tls(&mut self.stream).unwrap();
            self.tls.process_new_packets().unwrap();
        }
    }

    /// Whether the handshake took up an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.tls.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// The version that was agreed on.
    pub fn version(&self) -> ProtocolVersion {
        self.tls.protocol_version().unwrap()
    }

    /// The name that was asked for (SNI).
    pub fn server_name(&self) -> Option<&str> {
        self.tls.server_name()
    }

    /// Sends bytes, in as few records as they fit into.
    pub fn send(&mut self, bytes: &[u8]) {
        let records = self.seal(bytes);
        self.send_raw(&records);
    }

    /// The records of these bytes, with whatever else TLS wants to say.
    pub fn seal(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.tls.writer().write_all(bytes).unwrap();
        let mut records = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut records).unwrap();
        }
        records
    }

    /// Sends bytes that are no records, or are some already.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends what TLS wants to say by itself.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.tls.wants_write() {
            self.tls.write_tls(&mut self.stream)?;
        }
        Ok(())
    }

    /// Reads what there is in clear: 0 when the engine has ended its TLS.
    pub fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.tls.reader().read(buffer) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                result => return result,
            }
            self.tls.read_tls(&mut self.stream)?;
            self.tls
                .process_new_packets()
                .map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
            self.flush()?;
        }
    }

    /// Reads exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut filled = 0;
        while filled < count {
            let read = self.read(&mut bytes[filled..]).unwrap();
            assert!(read > 0, "ended after {filled} of {count} bytes");
            filled += read;
        }
        bytes
    }

    /// Reads one whole packet.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = self.bytes(2);
        let mut length = usize::from(packet[1] & 0x7f);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            packet.extend(self.bytes(1));
            length |= usize::from(packet[packet.len() - 1] & 0x7f) << shift;
            shift += 7;
        }
        packet.extend(self.bytes(length));
        packet
    }

    /// Expects these bytes next.
    pub fn expect(&mut self, expected: &[u8]) {
        let found = self.bytes(expected.len());
        assert!(
            found == expected,
            "\n found {:02x?}\n expected {:02x?}",
            &found[..found.len().min(100)],
            &expected[..expected.len().min(100)]
        );
    }

    /// Everything until the engine ends its TLS, which it does in an orderly way.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer).unwrap() {
                0 => return rest,
                count => rest.extend_from_slice(&buffer[..count]),
            }
        }
    }

    /// What ends the connection, when it is no orderly end.
    pub fn failure(&mut self) -> io::Error {
        let mut buffer = [0; 4096];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => panic!("an orderly end"),
                Ok(_) => {}
                Err(error) => return error,
            }
        }
    }

    /// Ends TLS (`close_notify`), and nothing beneath it.
    pub fn close_tls(&mut self) {
        self.tls.send_close_notify();
        self.flush().unwrap();
    }

    /// Closes the sending side beneath TLS.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// The stream beneath TLS.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

fn configured(identity: &Identity, manner: &Manner<'_>) -> Arc<ServerConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(manner.versions)
        .unwrap();
    let builder = match manner.clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let mut roots = RootCertStore::empty();
            let root = CertificateDer::from_pem_slice(authority.pem().as_bytes()).unwrap();
            roots.add(root).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let resolver = Arc::new(SingleCertAndKey::from(identity.certified()));
    let mut config = builder.with_cert_resolver(resolver);
    if manner.has_tickets {
        config.session_storage = ServerSessionMemoryCache::new(4096);
    } else {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    config.alpn_protocols = manner.protocols.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
