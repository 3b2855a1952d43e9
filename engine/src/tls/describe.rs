//! Describe: what rustls says of a failure, in the words of whoever has to mend it.

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};
use x509_parser::time::ASN1Time;

/// One line on why a connection to an upstream failed.
pub(super) fn describe(error: &Error) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many more, which say enough by themselves"
    )]
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::AlertReceived(alert) => format!("it refused: {}", self::alert(*alert)),
        Error::PeerIncompatible(error) => incompatible(error),
        Error::InvalidMessage(
            InvalidMessage::InvalidContentType
            | InvalidMessage::UnknownProtocolVersion
            | InvalidMessage::UnexpectedMessage(_),
        ) => "it does not answer in TLS; is it a port for plain MQTT?".to_owned(),
        Error::NoApplicationProtocol => {
            "it speaks none of the protocols that were asked for (ALPN)".to_owned()
        }
        Error::DecryptError => "a record that does not decrypt".to_owned(),
        Error::PeerSentOversizedRecord => "a record that is too long".to_owned(),
        other => other.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    let date = |seconds: u64| {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        ASN1Time::from_timestamp(seconds).map_or_else(|_| "?".to_owned(), |time| time.to_string())
    };
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many more, which say enough by themselves"
    )]
    match error {
        CertificateError::Expired => "its certificate has expired".to_owned(),
        CertificateError::ExpiredContext { time, not_after } => format!(
            "its certificate expired on {}; it is {} now",
            date(not_after.as_secs()),
            date(time.as_secs())
        ),
        CertificateError::NotValidYet => "its certificate is not valid yet".to_owned(),
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "its certificate is valid from {} on; it is {} now",
            date(not_before.as_secs()),
            date(time.as_secs())
        ),
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => format!(
            "its certificate is for {}, not for {}",
            if presented.is_empty() {
                "no name at all".to_owned()
            } else {
                presented.join(", ")
            },
            expected.to_str()
        ),
        CertificateError::UnknownIssuer => {
            "its certificate comes from an unknown authority".to_owned()
        }
        CertificateError::BadSignature => {
            "its certificate is not signed by the authority it names".to_owned()
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "its certificate is not for servers".to_owned()
        }
        CertificateError::BadEncoding => "its certificate cannot be read".to_owned(),
        CertificateError::Revoked => "its certificate was revoked".to_owned(),
        // Ours, and those of webpki that have no name in rustls.
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "its certificate is an authority's own, or the chain is in the wrong order".to_owned()
        }
        CertificateError::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "its certificate is of X.509 version 1, which names no host: issue it again with a \
             subjectAltName"
                .to_owned()
        }
        CertificateError::Other(other) => other.to_string(),
        other => other.to_string(),
    }
}

fn alert(alert: AlertDescription) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the others say enough by their names"
    )]
    let meaning = match alert {
        AlertDescription::CertificateRequired => "it asks for a client certificate",
        AlertDescription::UnknownCA => "it does not know who issued the client certificate",
        AlertDescription::BadCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnsupportedCertificate => "it does not accept the client certificate",
        AlertDescription::CertificateExpired => "the client certificate has expired",
        AlertDescription::CertificateRevoked => "the client certificate was revoked",
        AlertDescription::AccessDenied => "the client certificate gives no access",
        AlertDescription::ProtocolVersion => "it speaks neither TLS 1.2 nor TLS 1.3",
        AlertDescription::HandshakeFailure => {
            "it has no cipher or key exchange in common, or asks for a client certificate"
        }
        AlertDescription::UnrecognisedName => "it does not serve this name (SNI)",
        AlertDescription::NoApplicationProtocol => {
            "it does not speak the protocol asked for (ALPN)"
        }
        _ => return format!("alert {alert:?}"),
    };
    format!("{meaning} (alert {alert:?})")
}

fn incompatible(error: &PeerIncompatible) -> String {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "rustls has many more, which say enough by their names"
    )]
    match error {
        PeerIncompatible::ServerDoesNotSupportTls12Or13
        | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig
        | PeerIncompatible::Tls12NotOffered
        | PeerIncompatible::Tls12NotOfferedOrEnabled => {
            "it speaks neither TLS 1.2 nor TLS 1.3".to_owned()
        }
        other => format!("it has too little in common: {other:?}"),
    }
}
