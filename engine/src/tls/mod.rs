//! TLS towards upstreams: rustls, driven by hand. Bytes in, bytes out: it opens no connection, waits for
//! nothing and knows no MQTT. Whatever changes in rustls changes here alone.
//!
//! ```text
//! certificate, roots -> client (one per credential) -> link (one per connection)
//!                           |                            ^
//!                           +-- store: tickets, shared --+
//! ```

mod certificate;
mod client;
mod describe;
mod link;
mod roots;
mod store;
mod verify;

pub(crate) use certificate::provider;
pub use certificate::{
    ClientCertificate, InvalidCertificate, InvalidClientCertificate, InvalidKey,
    certificates_from_pem, key_from_pem,
};
pub use client::{Client, Clients, Presented};
pub use link::{Link, TlsError, Workspace};
pub use roots::Roots;
