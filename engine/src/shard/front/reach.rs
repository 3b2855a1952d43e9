//! Reach: an open connection to an entry point's destination, over TLS where it asks for that, as whoever
//! the SIM is there (B-CON-4).

use std::rc::Rc;

use ringbeam_proto::error::{Cause, Refusal};

use super::dial::{NotReached, Target, dial};
use super::handshake::handshake;
use crate::fleet::{Credential, EntryPoint};
use crate::shard::connections::Connection;
use crate::shard::relay::Upstream;
use crate::shard::{Shard, Snapshot};
use crate::tls::{Link, TlsError};

/// What is reached, and as whom.
pub(super) struct Way<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) entry_point: &'a EntryPoint,
    /// The client certificate to present.
    pub(super) certificate: Option<&'a Credential>,
}

/// Connects. The connection's deadline is armed already, for `deadline_ms`.
///
/// # Errors
/// With why the session ends.
pub(super) async fn reach(
    shard: &Shard,
    connection: &Rc<Connection>,
    way: Way<'_>,
    deadline_ms: u64,
) -> Result<Upstream, NotReached> {
    let destination = &way.entry_point.destination;
    let target = Target::new(destination, &way.snapshot.settings);
    if !destination.tls {
        let socket = dial(shard, connection, &target, deadline_ms).await?;
        return Ok(Upstream { socket, tls: None });
    }
    // Made first, so that what cannot be presented opens no connection.
    let link = way.link().map_err(|error| NotReached {
        cause: Cause::Refused(Refusal::UpstreamTls),
        detail: Some(format!("{destination}: {error}")),
    })?;
    let socket = dial(shard, connection, &target, deadline_ms).await?;
    let link = handshake(shard, connection, &socket, Box::new(link))
        .await
        .map_err(|NotReached { cause, detail }| NotReached {
            cause,
            detail: detail.map(|detail| format!("{destination}: {detail}")),
        })?;
    Ok(Upstream {
        socket,
        tls: Some(link),
    })
}

impl Way<'_> {
    fn link(&self) -> Result<Link, TlsError> {
        let missing = |what: &str| TlsError::new(what);
        let clients = &self.snapshot.tls;
        let client = match self.certificate.and_then(Credential::x509) {
            Some(x509) => clients
                .presenting(&x509.fingerprint)
                .ok_or_else(|| missing("its client certificate is gone"))?,
            None => clients.anonymous(),
        };
        let name = self.entry_point.destination.server_name();
        let name = name.ok_or_else(|| missing("its host is no name that TLS can check"))?;
        client.link(name, self.entry_point.alpn())
    }
}
