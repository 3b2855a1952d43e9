//! TLS towards upstreams: rustls, driven by hand. Bytes in, bytes out; it opens no connection and knows no
//! MQTT.

mod certificate;

pub use certificate::{
    ClientCertificate, InvalidCertificate, InvalidClientCertificate, InvalidKey,
    certificates_from_pem, key_from_pem,
};
