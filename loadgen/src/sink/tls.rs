//! TLS of a sink: rustls between the socket and the session.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{HandshakeKind, RootCertStore, ServerConfig, ServerConnection};

/// Files that make a sink speak TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its certificate and those that vouch for it, PEM.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// Who vouches for clients; they need a certificate then.
    pub client_ca: Option<PathBuf>,
    /// Whether clients may resume earlier sessions.
    pub has_tickets: bool,
}

/// Reads them.
///
/// # Errors
/// With the file that is missing or does not fit.
pub fn load(identity: &Identity) -> anyhow::Result<Arc<ServerConfig>> {
    let certificates = certificates(&identity.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&identity.key)
        .with_context(|| format!("{}: no private key", identity.key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()?;
    let builder = match &identity.client_ca {
        None => versions.with_no_client_auth(),
        Some(file) => {
            let mut roots = RootCertStore::empty();
            for root in self::certificates(file)? {
                roots
                    .add(root)
                    .with_context(|| format!("{}", file.display()))?;
            }
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build()?;
            versions.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(certificates, key)
        .context("the certificate and the key do not fit each other")?;
    if !identity.has_tickets {
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(file)
        .with_context(|| format!("{}", file.display()))?
        .collect();
    let found = found.with_context(|| format!("{}", file.display()))?;
    anyhow::ensure!(!found.is_empty(), "{}: no certificate", file.display());
    Ok(found)
}

/// One connection's TLS.
#[derive(Debug)]
pub(super) struct Tls(ServerConnection);

impl Tls {
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        let mut connection = ServerConnection::new(config)?;
        // What is said is sent at once; it is bounded by what one read asks for.
        connection.set_buffer_limit(None);
        Ok(Self(connection))
    }

    /// Takes what came over the wire; returns what it says.
    ///
    /// # Errors
    /// When it is not acceptable; [`Self::send`] has the alert then.
    pub(super) fn received(&mut self, mut wire: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut plain = Vec::new();
        while !wire.is_empty() {
            // Reading from a slice cannot fail. Nothing is taken any more once the peer has said goodbye.
            if self.0.read_tls(&mut wire).unwrap_or_default() == 0 {
                break;
            }
            let state = self.0.process_new_packets()?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            let rest = plain.get_mut(start..).unwrap_or_default();
            let length = self.0.reader().read(rest).unwrap_or_default();
            plain.truncate(start + length);
        }
        Ok(plain)
    }

    /// Whether an earlier session was taken up; `None` before that is decided.
    pub(super) fn is_resumed(&self) -> Option<bool> {
        let kind = self.0.handshake_kind().filter(|_| !self.0.is_handshaking());
        kind.map(|kind| kind == HandshakeKind::Resumed)
    }

    /// What has to go over the wire so that `plain` is said, handshake and alerts included.
    pub(super) fn send(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        // Writing into memory cannot fail.
        self.0.writer().write_all(plain).ok();
        while self.0.wants_write() {
            if self.0.write_tls(&mut wire).is_err() {
                break;
            }
        }
        wire
    }
}
