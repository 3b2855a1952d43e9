//! Handshake: TLS on a fresh connection to an upstream, until both sides may send (B-CON-4).

use std::io::{self, IoSlice};
use std::rc::Rc;

use ringbeam_proto::error::{Cause, Refusal};

use super::dial::NotReached;
use crate::shard::Shard;
use crate::shard::connections::{Connection, Interrupt};
use crate::sys::socket::Socket;
use crate::tls::Link;

/// Lets the handshake of `link` pass over `socket`.
///
/// # Errors
/// With why the session ends.
pub(super) async fn handshake(
    shard: &Shard,
    connection: &Rc<Connection>,
    socket: &Socket,
    mut link: Box<Link>,
) -> Result<Box<Link>, NotReached> {
    let refused = |refusal, detail: &str| NotReached {
        cause: Cause::Refused(refusal),
        detail: Some(detail.to_owned()),
    };
    let interrupted = |interrupt| match interrupt {
        Interrupt::Due => refused(
            Refusal::UpstreamTimeout,
            "TLS: it did not answer in time; is it a port for plain MQTT?",
        ),
        Interrupt::End(cause) => NotReached {
            cause,
            detail: None,
        },
    };
    let failed = |error: io::Error| {
        let closed = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        let detail = if closed.contains(&error.kind()) {
            "TLS: it closed during the handshake; is it a port for plain MQTT?".to_owned()
        } else {
            format!("TLS: {error}")
        };
        refused(Refusal::UpstreamTls, &detail)
    };
    loop {
        if !send(shard, socket, &mut link).map_err(failed)? {
            let writable = connection.guard(socket.writable()).await;
            writable.map_err(interrupted)?.map_err(failed)?;
            continue;
        }
        if link.is_open() {
            return Ok(link);
        }
        let readable = connection.guard(socket.readable()).await;
        readable.map_err(interrupted)?.map_err(failed)?;
        if let Err(error) = receive(shard, socket, &mut link) {
            // An alert tells it why, if it listens.
            drop(send(shard, socket, &mut link));
            return Err(failed(error));
        }
    }
}

/// Gives the kernel what is to be sent, and says whether it took all of it.
fn send(shard: &Shard, socket: &Socket, link: &mut Link) -> io::Result<bool> {
    while !link.outgoing().is_empty() {
        match socket.send(&[IoSlice::new(link.outgoing())]) {
            Ok(count) => link.sent(&mut shard.tls_workspace.borrow_mut(), count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(true)
}

/// Takes in what is there. What is in clear waits in the link: nothing is, before the CONNECT.
fn receive(shard: &Shard, socket: &Socket, link: &mut Link) -> io::Result<()> {
    let workspace = &mut shard.tls_workspace.borrow_mut();
    match link.receive(workspace, |room| socket.receive(room)) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
        Err(error) => Err(error),
    }
}
