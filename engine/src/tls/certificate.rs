//! Certificates and keys as PEM texts: read, checked against each other, ready to be presented. What is
//! wrong with one is said without showing any of it.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{CipherSuite, SupportedCipherSuite};

/// A client certificate with its chain and its key.
#[derive(Clone)]
pub struct ClientCertificate {
    pub(super) certified: Arc<CertifiedKey>,
}

/// Why a text holds no usable certificate.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCertificate {
    /// Not PEM.
    #[error("no PEM")]
    NotPem,
    /// PEM without a certificate.
    #[error("PEM without a certificate")]
    NoCertificate,
    /// A certificate whose inside cannot be read.
    #[error("a certificate that cannot be read")]
    Unreadable,
}

/// Why a text holds no usable key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Not PEM.
    #[error("no PEM")]
    NotPem,
    /// PEM without a private key.
    #[error("PEM without a private key")]
    NoKey,
    /// A key that only a passphrase opens.
    #[error("a key that is encrypted with a passphrase")]
    Encrypted,
    /// A kind or size of key that TLS has no use for.
    #[error("a key of an unsupported kind")]
    Unsupported,
    /// The key of another certificate.
    #[error("a key that does not belong to the first certificate")]
    OfAnother,
}

/// Which of the two texts is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidClientCertificate {
    /// The certificate.
    #[error("certificate: {0}")]
    Certificate(#[from] InvalidCertificate),
    /// The key.
    #[error("key: {0}")]
    Key(#[from] InvalidKey),
}

impl ClientCertificate {
    /// Reads a certificate with the chain behind it, and its key: RSA, ECDSA or Ed25519; PKCS #8, PKCS #1
    /// or SEC 1.
    ///
    /// # Errors
    /// When either cannot be used, or they do not belong together.
    pub fn from_pem(certificates: &str, key: &str) -> Result<Self, InvalidClientCertificate> {
        let chain = certificates_from_pem(certificates)?;
        let key = key_from_pem(key)?;
        let key = provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_| InvalidKey::Unsupported)?;
        // Not by way of rustls's own check: it reads no certificates of X.509 version 1, which a server may
        // well accept.
        let is_of_first = match key.public_key() {
            Some(public_key) => public_key.as_ref() == public_key_of(&chain)?,
            None => true,
        };
        if !is_of_first {
            return Err(InvalidKey::OfAnother.into());
        }
        let certified = CertifiedKey::new(chain, key);
        Ok(Self {
            certified: Arc::new(certified),
        })
    }

    /// The certificate itself and those behind it, DER.
    #[must_use]
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }
}

impl std::fmt::Debug for ClientCertificate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("ClientCertificate")
            .field("certificates", &self.certified.cert.len())
            .finish_non_exhaustive()
    }
}

/// The public key that the first certificate of a chain is for, DER.
fn public_key_of<'a>(chain: &'a [CertificateDer<'static>]) -> Result<&'a [u8], InvalidCertificate> {
    let first = chain.first().ok_or(InvalidCertificate::NoCertificate)?;
    let (_, certificate) =
        x509_parser::parse_x509_certificate(first).map_err(|_| InvalidCertificate::Unreadable)?;
    Ok(certificate.tbs_certificate.subject_pki.raw)
}

/// Every certificate of a text; one at least.
///
/// # Errors
/// When there is none, or something in the text is no PEM.
pub fn certificates_from_pem(
    text: &str,
) -> Result<Vec<CertificateDer<'static>>, InvalidCertificate> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| InvalidCertificate::NotPem)?;
    if certificates.is_empty() {
        let has_pem = text.contains("-----BEGIN ");
        return Err(if has_pem {
            InvalidCertificate::NoCertificate
        } else {
            InvalidCertificate::NotPem
        });
    }
    for certificate in &certificates {
        x509_parser::parse_x509_certificate(certificate)
            .map_err(|_| InvalidCertificate::Unreadable)?;
    }
    Ok(certificates)
}

/// The first private key of a text.
///
/// # Errors
/// When there is none that can be read without a passphrase.
pub fn key_from_pem(text: &str) -> Result<PrivateKeyDer<'static>, InvalidKey> {
    if text.contains("ENCRYPTED") {
        return Err(InvalidKey::Encrypted);
    }
    PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| {
        let has_pem = text.contains("-----BEGIN ");
        if has_pem && matches!(error, pem::Error::NoItemsFound) {
            InvalidKey::NoKey
        } else {
            InvalidKey::NotPem
        }
    })
}

/// The one cryptography of this process. Suites with SHA-256 come first: processors have instructions for it,
/// and none for SHA-384, which was a tenth of a handshake's cost.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> = std::sync::LazyLock::new(|| {
        let mut provider = rustls::crypto::aws_lc_rs::default_provider();
        let prefers_others = |suite: &SupportedCipherSuite| {
            !matches!(
                suite.suite(),
                CipherSuite::TLS13_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                    | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
            )
        };
        provider.cipher_suites.sort_by_key(prefers_others);
        Arc::new(provider)
    });
    Arc::clone(&PROVIDER)
}
