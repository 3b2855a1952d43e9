//! Reach: an open connection to an entry point's destination, over TLS where it asks for that, as whoever
//! the SIM is there (B-CON-4).

use std::net::SocketAddr;
use std::rc::Rc;

use ringbeam_proto::error::{Cause, Refusal};

use super::dial::{Dialed, NotReached, Target, dial};
use super::handshake::handshake;
use crate::fleet::{Credential, EntryPoint};
use crate::shard::connections::Connection;
use crate::shard::relay::Upstream;
use crate::shard::{Shard, Snapshot};
use crate::sys::clock::{now_ms, now_us};
use crate::tls::{Link, TlsError};

/// An open connection, its TLS with it.
pub(super) struct Reached {
    pub(super) upstream: Upstream,
    /// Where to.
    pub(super) address: SocketAddr,
}

/// What is reached, and as whom.
pub(super) struct Way<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) entry_point: &'a EntryPoint,
    /// The client certificate to present.
    pub(super) certificate: Option<&'a Credential>,
}

/// Connects. The connection's deadline is armed already, for `deadline_ms`, and is again when this is done. An
/// address that takes the connection and then fails in TLS leaves the others a try.
///
/// # Errors
/// With why the session ends.
pub(super) async fn reach(
    shard: &Shard,
    connection: &Rc<Connection>,
    way: Way<'_>,
    deadline_ms: u64,
) -> Result<Reached, NotReached> {
    let began_us = now_us();
    let reached = match attempt(shard, connection, &way, deadline_ms, Try::First).await {
        Err(Failed {
            may_retry: true, ..
        }) => attempt(shard, connection, &way, deadline_ms, Try::Last).await,
        reached_or_failed => reached_or_failed,
    };
    let reached = reached.map_err(|failed| failed.why)?;
    let took_us = now_us().saturating_sub(began_us);
    shard
        .counters
        .update(|totals| totals.upstream_connects.observe(took_us));
    Ok(reached)
}

/// Which of two.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Try {
    First,
    Last,
}

/// An attempt came to nothing.
struct Failed {
    why: NotReached,
    /// Whether another address may do better.
    may_retry: bool,
}

impl From<NotReached> for Failed {
    fn from(why: NotReached) -> Self {
        Self {
            why,
            may_retry: false,
        }
    }
}

async fn attempt(
    shard: &Shard,
    connection: &Rc<Connection>,
    way: &Way<'_>,
    deadline_ms: u64,
    which: Try,
) -> Result<Reached, Failed> {
    let destination = &way.entry_point.destination;
    let target = Target::new(destination, &way.snapshot.settings);
    // Made first, so that what cannot be presented opens no connection.
    let link = destination.tls.then(|| way.link()).transpose();
    let link = link.map_err(|error| NotReached {
        cause: Cause::Refused(Refusal::UpstreamTls),
        detail: Some(format!("{destination}: {error}")),
    })?;
    let Dialed {
        socket,
        address,
        has_others,
    } = dial(shard, connection, &target, deadline_ms).await?;
    let Some(link) = link else {
        let upstream = Upstream {
            socket: socket.release(),
            tls: None,
        };
        return Ok(Reached { upstream, address });
    };
    let may_retry = has_others && which == Try::First;
    if may_retry {
        let now_ms = now_ms();
        let half_ms = deadline_ms.saturating_sub(now_ms) / 2;
        let until_ms = now_ms.saturating_add(half_ms);
        shard.deadlines.arm(connection, Some(until_ms));
    }
    let shaken = handshake(shard, connection, &socket, Box::new(link)).await;
    shard.deadlines.arm(connection, Some(deadline_ms));
    match shaken {
        Ok(link) => {
            let upstream = Upstream {
                socket: socket.release(),
                tls: Some(link),
            };
            Ok(Reached { upstream, address })
        }
        Err(NotReached { cause, detail }) => {
            let is_its_fault = matches!(cause, Cause::Refused(_));
            if is_its_fault {
                shard.addresses.failed(address, now_ms());
            }
            let at = if has_others {
                format!("{destination} at {address}")
            } else {
                destination.to_string()
            };
            let detail = detail.map(|detail| format!("{at}: {detail}"));
            Err(Failed {
                why: NotReached { cause, detail },
                may_retry: is_its_fault && may_retry,
            })
        }
    }
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
