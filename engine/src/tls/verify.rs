//! Verify: what an upstream's certificate must be. The checks are rustls's; a refusal names the issuer
//! that nobody knows, which rustls's own does not.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
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

/// Checks chain, name and times.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
}

/// Checks nothing but that the peer holds its key: for tests, by an explicit switch.
#[derive(Debug)]
struct Anyone {
    algorithms: WebPkiSupportedAlgorithms,
}

/// A verifier that trusts these authorities.
///
/// # Errors
/// When there are none.
pub(super) fn verifier(roots: &Roots) -> Result<Arc<dyn ServerCertVerifier>, String> {
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots.store), provider())
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(Verifier { inner }))
}

/// One that trusts whoever answers.
pub(super) fn insecure() -> Arc<dyn ServerCertVerifier> {
    Arc::new(Anyone {
        algorithms: provider().signature_verification_algorithms,
    })
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

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
