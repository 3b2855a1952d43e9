//! Dial: from a destination's name to an open connection (B-CON-4). Every address is tried in turn, and
//! every source address where the ports of one are used up.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use ringbeam_proto::error::{Cause, Refusal};

use super::opening::Prepared;
use crate::shard::Shard;
use crate::shard::connections::{Connection, Interrupt};
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;

/// Why there is no connection: what the device is told, and what the log says beside it.
pub(super) struct NotReached {
    pub(super) cause: Cause,
    pub(super) detail: Option<String>,
}

/// Connects to the upstream.
///
/// # Errors
/// With why the session ends.
pub(super) async fn dial(
    shard: &Shard,
    connection: &Rc<Connection>,
    prepared: &Prepared,
    deadline_ms: u64,
) -> Result<Socket, NotReached> {
    let destination = &prepared.entry_point.destination;
    let refused = |refusal, error: &dyn std::fmt::Display| NotReached {
        cause: Cause::Refused(refusal),
        detail: Some(format!(
            "{}:{}: {error}",
            destination.host, destination.port
        )),
    };
    let interrupted = |interrupt| match interrupt {
        Interrupt::Due => refused(Refusal::UpstreamTimeout, &"it did not answer in time"),
        Interrupt::End(cause) => NotReached {
            cause,
            detail: None,
        },
    };
    let resolved = shard.resolver.resolve(&destination.host, destination.port);
    let addresses = connection
        .guard(resolved)
        .await
        .map_err(interrupted)?
        .map_err(|error| refused(Refusal::UpstreamName, &error))?;
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    let mut left = u64::try_from(addresses.len()).unwrap_or(u64::MAX);
    for address in addresses.iter() {
        // One that does not answer leaves the others their share of the time.
        let now = now_ms();
        let share_ms = deadline_ms
            .saturating_sub(now)
            .checked_div(left)
            .unwrap_or_default();
        shard
            .deadlines
            .arm(connection, Some(now.saturating_add(share_ms)));
        left = left.saturating_sub(1);
        let attempt = connect(shard, &prepared.settings.source_addresses, *address);
        match connection.guard(attempt).await {
            Ok(Ok(socket)) => {
                shard.deadlines.arm(connection, Some(deadline_ms));
                return Ok(socket);
            }
            Ok(Err(error)) => last = error,
            Err(Interrupt::Due) if left > 0 => last = io::ErrorKind::TimedOut.into(),
            Err(interrupt) => return Err(interrupted(interrupt)),
        }
    }
    Err(refused(Refusal::UpstreamUnreachable, &last))
}

/// Connects to one address, from each source address in turn while their ports are used up.
async fn connect(
    shard: &Shard,
    sources: &[std::net::IpAddr],
    to: SocketAddr,
) -> io::Result<Socket> {
    let fitting = || {
        sources
            .iter()
            .filter(|source| source.is_ipv4() == to.is_ipv4())
    };
    let count = fitting().count();
    let first = shard
        .next_source
        .replace(shard.next_source.get().wrapping_add(1));
    let mut attempt = 0;
    loop {
        let source = fitting().nth(
            first
                .wrapping_add(attempt)
                .checked_rem(count)
                .unwrap_or_default(),
        );
        let opened = match Socket::connect(to, source.map(|address| SocketAddr::new(*address, 0))) {
            Ok(socket) => {
                socket.writable().await?;
                socket.connected().map(|()| socket)
            }
            Err(error) => Err(error),
        };
        attempt += 1;
        match opened {
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable && attempt < count => {}
            opened => return opened,
        }
    }
}
