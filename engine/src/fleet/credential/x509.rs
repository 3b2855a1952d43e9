//! Client certificate: `cert`, `key` and `ca` of a credential, parsed when the fleet is read, and what tells
//! one from another.

use std::fmt;

use aws_lc_rs::digest;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroize as _;

use super::fields::Fields;
use crate::problem::quoted;
use crate::tls::{
    ClientCertificate, InvalidClientCertificate, InvalidKey, Presented, certificates_from_pem,
    key_from_pem,
};

/// Seconds before its end from which on a certificate is warned of: 30 days.
const WARNING_SECONDS: u64 = 30 * 86_400;

const CERTIFICATE_ACCEPTED: &str = "a certificate in PEM, with its chain behind it";
const KEY_ACCEPTED: &str = "a private key in PEM without a passphrase: RSA, ECDSA or Ed25519";
const ROOTS_ACCEPTED: &str = "root certificates in PEM";

/// A client certificate with its key, and what the upstream's own is held against.
pub struct X509 {
    /// What is presented.
    pub certificate: ClientCertificate,
    /// Private roots that the upstream's certificate may come from, beside the public ones.
    pub roots: Vec<CertificateDer<'static>>,
    /// Whether the upstream's certificate is not checked at all: for tests alone.
    pub skips_verification: bool,
    /// SHA-256 over everything above: two that share it are interchangeable.
    pub fingerprint: [u8; 32],
    /// Whom the certificate names.
    pub subject: String,
    /// When it ends.
    pub expires_unix_seconds: u64,
    /// When it ends, to be read.
    pub expires: String,
}

impl X509 {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let (cert, key) = (fields.text("cert"), fields.text("key"));
        let ca = fields.optional_text("ca").ok();
        let skips_verification = fields.switch("insecureSkipVerify");
        let roots = ca.map(|ca| read_roots(ca, fields));
        let certificate = match (cert, key) {
            (Some(cert), Some(key)) => read_certificate(cert, key, fields),
            _ => None,
        };
        let (cert, key, ca, skips_verification) = (cert?, key?, ca?, skips_verification?);
        let (certificate, roots) = (certificate?, roots??);
        let (subject, expires, expires_unix_seconds) = describe(&certificate)?;
        Some(Self {
            fingerprint: fingerprint(&[
                cert,
                key,
                ca.unwrap_or_default(),
                if skips_verification { "skip" } else { "" },
            ]),
            certificate,
            roots,
            skips_verification,
            subject,
            expires_unix_seconds,
            expires,
        })
    }

    /// It as TLS sees it.
    pub(super) fn presented(&self) -> Presented<'_> {
        Presented {
            certificate: &self.certificate,
            roots: &self.roots,
            verifies: !self.skips_verification,
            fingerprint: self.fingerprint,
        }
    }

    /// What to say of its end, if that is near or past.
    #[must_use]
    pub fn expiry_warning(&self, now_unix_seconds: u64) -> Option<String> {
        let Some(left) = self.expires_unix_seconds.checked_sub(now_unix_seconds) else {
            return Some(format!("its certificate expired on {}", self.expires));
        };
        (left < WARNING_SECONDS)
            .then(|| format!("its certificate expires soon, on {}", self.expires))
    }
}

impl fmt::Debug for X509 {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("X509")
            .field("subject", &self.subject)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

fn read_roots(ca: Option<&str>, fields: &mut Fields<'_>) -> Option<Vec<CertificateDer<'static>>> {
    let Some(text) = ca else {
        return Some(Vec::new());
    };
    match certificates_from_pem(text) {
        Ok(roots) => Some(roots),
        Err(error) => {
            fields.refuse_content("ca", &error.to_string(), ROOTS_ACCEPTED);
            None
        }
    }
}

/// B-CFG-4: both texts are looked at, so that both are refused at once.
fn read_certificate(cert: &str, key: &str, fields: &mut Fields<'_>) -> Option<ClientCertificate> {
    match ClientCertificate::from_pem(cert, key) {
        Ok(certificate) => return Some(certificate),
        Err(InvalidClientCertificate::Certificate(error)) => {
            fields.refuse_content("cert", &error.to_string(), CERTIFICATE_ACCEPTED);
            match key_from_pem(key) {
                Ok(mut key) => key.zeroize(),
                Err(error) => fields.refuse_content("key", &error.to_string(), KEY_ACCEPTED),
            }
        }
        Err(InvalidClientCertificate::Key(InvalidKey::OfAnother)) => {
            let accepted = "the private key of the first certificate in cert";
            match owner(cert, key) {
                Some(number) => {
                    let found = format!(
                        "the key of certificate {number} in cert: the chain is in the wrong order, \
                         the key's certificate comes first"
                    );
                    fields.refuse_content("key", &found, accepted);
                }
                None => fields.refuse_content("key", &InvalidKey::OfAnother.to_string(), accepted),
            }
        }
        Err(InvalidClientCertificate::Key(error)) => {
            fields.refuse_content("key", &error.to_string(), KEY_ACCEPTED);
        }
    }
    None
}

/// The number of the certificate that the key belongs to, counted from 1.
fn owner(cert: &str, key: &str) -> Option<usize> {
    let starts = cert.match_indices("-----BEGIN CERTIFICATE-----");
    let fits = |(start, _)| {
        let rest = cert.get(start..).unwrap_or_default();
        ClientCertificate::from_pem(rest, key).is_ok()
    };
    let position = starts.map(fits).position(|fits| fits)?;
    position.checked_add(1)
}

fn fingerprint(parts: &[&str]) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in parts {
        // With its length in front, so that no two lists of parts are one text.
        context.update(&part.len().to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// Subject and end of the certificate itself; `None` where it cannot be read, which reading it has refused.
fn describe(certificate: &ClientCertificate) -> Option<(String, String, u64)> {
    let leaf = certificate.chain().first()?;
    let (_, parsed) = x509_parser::parse_x509_certificate(leaf).ok()?;
    let not_after = parsed.validity().not_after;
    let expires_unix_seconds = u64::try_from(not_after.timestamp()).unwrap_or_default();
    let subject = quoted(&parsed.subject().to_string());
    Some((subject, not_after.to_string(), expires_unix_seconds))
}
