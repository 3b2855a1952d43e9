//! A private authority with one certificate for localhost, and an upstream over TLS that does what a test
//! says.

use std::fs;
use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tempfile::TempDir;

use crate::harness::{PATIENCE, wait_for};

/// The authority's certificate, and a server's with its key; PEM files in a folder.
pub struct Authority {
    folder: TempDir,
    config: Arc<ServerConfig>,
}

impl Authority {
    /// A new one.
    pub fn new() -> Self {
        let mut root = CertificateParams::default();
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.distinguished_name
            .push(DnType::CommonName, "a private authority");
        let root = CertifiedIssuer::self_signed(root, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned()];
        let server = CertificateParams::new(names).unwrap();
        let server = server.signed_by(&key, &root).unwrap();
        let folder = TempDir::new().unwrap();
        for (name, pem) in [
            ("root.pem", root.pem()),
            ("server.pem", server.pem()),
            ("server.key", key.serialize_pem()),
        ] {
            fs::write(folder.path().join(name), pem).unwrap();
        }
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![server.der().clone()], key)
            .unwrap();
        Self {
            folder,
            config: Arc::new(config),
        }
    }

    /// One of its files: `root.pem`, `server.pem` or `server.key`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// An upstream over TLS.
pub struct SealedUpstream {
    listener: TcpListener,
    config: Arc<ServerConfig>,
}

/// One connection to it.
pub struct SealedPeer {
    stream: StreamOwned<ServerConnection, TcpStream>,
}

impl SealedUpstream {
    /// Listens on a free loopback port.
    pub fn listen(authority: &Authority) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        Self {
            listener,
            config: Arc::clone(&authority.config),
        }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// Whether nobody has connected since the last one.
    pub fn is_untouched(&self) -> bool {
        self.listener.accept().is_err()
    }

    /// The next connection.
    pub fn accept(&self) -> SealedPeer {
        let (stream, _) = wait_for("a connection", || self.listener.accept().ok());
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let connection = ServerConnection::new(Arc::clone(&self.config)).unwrap();
        SealedPeer {
            stream: StreamOwned::new(connection, stream),
        }
    }
}

impl SealedPeer {
    /// Reads one packet, whose remaining length is below 16,384.
    pub fn packet(&mut self) -> Vec<u8> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet).unwrap();
        let mut length = usize::from(packet[1] & 0x7f);
        if packet[1] & 0x80 != 0 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            length |= usize::from(byte[0]) << 7;
            packet.push(byte[0]);
        }
        let head = packet.len();
        packet.resize(head + length, 0);
        self.stream.read_exact(&mut packet[head..]).unwrap();
        packet
    }

    /// Reads one such packet, if it begins within a while.
    pub fn packet_within(&mut self, duration: Duration) -> Option<Vec<u8>> {
        self.stream.sock.set_read_timeout(Some(duration)).unwrap();
        let begins = self.stream.fill_buf().is_ok();
        self.stream.sock.set_read_timeout(Some(PATIENCE)).unwrap();
        begins.then(|| self.packet())
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Everything until TLS is ended in good order.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).unwrap();
        rest
    }
}
