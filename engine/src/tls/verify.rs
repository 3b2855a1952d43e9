//! Verify: what an upstream's certificate must be. The checks are rustls's; a refusal names the issuer
//! that nobody knows, which rustls's own does not.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};

use super::certificate::provider;
use super::roots::Roots;

/// A certificate whose chain ends at somebody unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "its certificate comes from {issuer}, which is not among the trusted authorities (upstream.ca_file, or ca \
     of the credential)"
)]
pub(super) struct UnknownIssuer {
    issuer: String,
}

/// Checks that the peer holds its key, and chain, name and times.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    /// Off for tests alone, by an explicit switch: then the key is all.
    checks_certificate: bool,
}

/// A verifier that trusts these authorities, or whoever answers.
///
/// # Errors
/// When there are no authorities.
pub(super) fn verifier(
    roots: &Roots,
    checks_certificate: bool,
) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.store), provider())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(Verifier {
        inner,
        checks_certificate,
    }))
}

/// Who issued the last certificate of a chain.
fn issuer(end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>]) -> String {
    let last = intermediates.last().unwrap_or(end_entity);
    let read = x509_parser::parse_x509_certificate(last);
    read.map_or_else(
        |_| "an issuer that cannot be read".to_owned(),
        |(_, certificate)| format!("{:?}", certificate.issuer().to_string()),
    )
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if !self.checks_certificate {
            return Ok(ServerCertVerified::assertion());
        }
        self.inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|error| {
                if error == Error::InvalidCertificate(CertificateError::UnknownIssuer) {
                    let issuer = issuer(end_entity, intermediates);
                    let unknown = OtherError(Arc::new(UnknownIssuer { issuer }));
                    return Error::InvalidCertificate(CertificateError::Other(unknown));
                }
                error
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner
            .verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
