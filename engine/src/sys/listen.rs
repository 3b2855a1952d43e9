//! Listen: TCP listeners, one per shard on the same address; the kernel spreads connections over them.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::socket::set_device_options;

/// Opens `count` listeners on one address. Port 0 picks a free port, the same for all.
///
/// # Errors
/// When the address is in use, by this program or another, or cannot be used.
pub fn listen(address: SocketAddr, count: usize, backlog: i32) -> io::Result<Vec<TcpListener>> {
    if address.port() != 0 {
        // Port sharing would let a second process in unnoticed; a socket that does not share finds out.
        socket(address, false)?;
    }
    let mut listeners = Vec::with_capacity(count);
    let mut bound = address;
    for _ in 0..count {
        let socket = socket(bound, true)?;
        set_device_options(&SockRef::from(&socket))?;
        socket.listen(backlog)?;
        let listener = TcpListener::from(socket);
        bound = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

/// Finds out whether connections can be made from an address.
///
/// # Errors
/// When it is not this host's.
pub fn probe_source(address: IpAddr) -> io::Result<()> {
    socket(SocketAddr::new(address, 0), false).map(drop)
}

fn socket(address: SocketAddr, shares_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // IPv4 has listeners of its own.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_share_a_port_and_strangers_do_not() {
        let first = listen("127.0.0.1:0".parse().unwrap(), 3, 16).unwrap();
        let address = first[0].local_addr().unwrap();
        assert!(
            first
                .iter()
                .all(|listener| listener.local_addr().unwrap() == address)
        );
        let error = listen(address, 1, 16).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        drop(first);
        assert_eq!(listen(address, 1, 16).unwrap().len(), 1);
    }

    #[test]
    fn ipv6_leaves_ipv4_alone() {
        // Somebody else may have a port of IPv4 by chance, not every one.
        let is_left_alone = (0..50).any(|_| {
            let six = listen("[::]:0".parse().unwrap(), 1, 16).unwrap();
            let port = six[0].local_addr().unwrap().port();
            listen(SocketAddr::from(([0, 0, 0, 0], port)), 1, 16).is_ok()
        });
        assert!(is_left_alone);
    }
}
