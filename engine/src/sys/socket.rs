//! Socket: a TCP connection on this thread's ring. Waiting for readiness goes through the ring and
//! holds no buffer; reading and sending never wait.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, IntoRawFd as _, OwnedFd};
use std::time::Duration;

use monoio::io::{CancelHandle, CancelableAsyncReadRent as _};
use monoio::net::TcpStream;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, recv, sendmsg, shutdown};
use socket2::{Domain, Protocol, SockRef, TcpKeepalive, Type};

use crate::limits::{DEVICE_UNACKNOWLEDGED_MS, UPSTREAM_KEEPALIVE_SECONDS};

/// Known to Linux since 6.3, and not yet to libc.
const IP_LOCAL_PORT_RANGE: libc::c_int = 51;

/// A range of ports as that option has it: the highest in the upper half, the lowest in the lower one.
const ALL_PORTS: libc::c_uint = 0xffff_0001;

/// A connection, or one that is being opened.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Takes over an accepted connection of this thread, which has its listener's options.
    #[must_use]
    pub const fn accepted(stream: TcpStream) -> Self {
        Self { stream }
    }

    /// Takes over a connection that comes from another thread.
    ///
    /// # Errors
    /// When this thread's ring cannot take it.
    pub fn adopt(descriptor: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            stream: TcpStream::from_std(descriptor.into())?,
        })
    }

    /// Gives the connection away, to another thread or ring. Nothing that waits for it may be under way: all of
    /// that was awaited to its end.
    #[must_use]
    pub fn release(self) -> OwnedFd {
        let descriptor = self.stream.into_raw_fd();
        // SAFETY: the stream has given it up, and nobody else has it.
        unsafe { OwnedFd::from_raw_fd(descriptor) }
    }

    /// Begins to connect; [`Self::writable`] tells when that has come to an end, and
    /// [`Self::connected`] how.
    ///
    /// # Errors
    /// When no descriptor or no local address is left, or the kernel refuses at once.
    pub fn connect(to: SocketAddr, from: Option<SocketAddr>) -> io::Result<Self> {
        let socket = unconnected(to)?;
        if let Some(from) = from {
            // The port is chosen at connect, so that it may be used once per destination.
            set_ip_option(&socket, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
            socket.bind(&from.into())?;
        }
        match socket.connect(&to.into()) {
            Err(error)
                if rustix::io::Errno::from_io_error(&error)
                    != Some(rustix::io::Errno::INPROGRESS) =>
            {
                Err(error)
            }
            _ => Self::adopt(socket.into()),
        }
    }

    /// How connecting ended.
    ///
    /// # Errors
    /// When it failed.
    pub fn connected(&self) -> io::Result<()> {
        match SockRef::from(&self.descriptor()).take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// B-KEEP-7: breaks the connection when the peer has acknowledged nothing for so long, or has had no room for so long.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn give_up_after(&self, patience: Duration) -> io::Result<()> {
        SockRef::from(&self.descriptor()).set_tcp_user_timeout(Some(patience))
    }

    /// Waits until there is something to read, an end or an error included. May be dropped: nothing is
    /// lost by it, and no buffer is held meanwhile.
    ///
    /// # Errors
    /// When the ring refuses.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }

    /// Waits until there is room to send, or an error. May be dropped.
    ///
    /// # Errors
    /// When the ring refuses.
    pub async fn writable(&self) -> io::Result<()> {
        self.stream.writable(false).await
    }

    /// Reads what is there; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there; others when the connection broke.
    pub fn receive(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let (_, length) = recv(self.descriptor(), buffer, RecvFlags::DONTWAIT)?;
        Ok(length)
    }

    /// Receives what comes next, as far as `room` has capacity; nothing is the end. `None` where it was called back before. Once
    /// it has been awaited to its end nothing waits for the connection any more, and it may be given away.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn receive_until(
        &mut self,
        room: Vec<u8>,
        recall: CancelHandle,
    ) -> io::Result<Option<Vec<u8>>> {
        let (received, bytes) = self.stream.cancelable_read(room, recall).await;
        match received {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Sends as much as the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; others when the connection broke.
    pub fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(sendmsg(
            self.descriptor(),
            slices,
            &mut SendAncillaryBuffer::default(),
            flags,
        )?)
    }

    /// Says that nothing more will be sent. That the connection is gone already is no error.
    pub fn finish_sending(&self) {
        finish_sending(self.descriptor());
    }

    /// See [`leave_to_the_kernel`].
    pub fn leave_to_the_kernel(&self) {
        leave_to_the_kernel(self.descriptor());
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        // SAFETY: the stream owns the descriptor and outlives the borrow of `self`.
        unsafe { BorrowedFd::borrow_raw(self.stream.as_raw_fd()) }
    }
}

/// Says that nothing more will be sent. That the connection is gone already is no error.
pub fn finish_sending(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket, Shutdown::Write);
}

/// Has what comes next acknowledged at once: a peer with Nagle's algorithm would wait for it with the
/// second of two short answers. That the kernel refuses is no error.
pub fn acknowledge_soon(socket: BorrowedFd<'_>) {
    let _ = rustix::net::sockopt::set_tcp_quickack(socket, true);
}

/// Ends both directions at once. That the connection is gone already is no error.
pub fn cut(socket: BorrowedFd<'_>) {
    let _ = shutdown(socket, Shutdown::Both);
}

/// Has nothing that is done with a connection wait, splicing above all: what splice(2) is told about that
/// counts for the pipe alone.
///
/// # Errors
/// When the kernel refuses.
pub fn never_wait(socket: BorrowedFd<'_>) -> io::Result<()> {
    Ok(rustix::io::ioctl_fionbio(socket, true)?)
}

/// Bytes that the kernel has taken and the peer's has not, by `SIOCOUTQ` (tcp(7)). None where it is gone.
#[must_use]
pub fn undelivered(socket: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the request writes one integer, which is live.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 {
        usize::try_from(bytes).unwrap_or_default()
    } else {
        0
    }
}

/// A socket that can be connected to an address.
fn unconnected(to: SocketAddr) -> io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(
        Domain::for_address(to),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_tcp_nodelay(true)?;
    let (idle, interval, retries) = UPSTREAM_KEEPALIVE_SECONDS;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(idle))
        .with_interval(Duration::from_secs(interval))
        .with_retries(retries);
    socket.set_tcp_keepalive(&keepalive)?;
    search_every_port(&socket)?;
    Ok(socket)
}

/// B-KEEP-7: what a listener's connections have of it. What is small is sent at once; whether a device is there is asked by MQTT
/// alone, and the kernel gives none up before MQTT's rules do.
pub(super) fn set_device_options(listener: &SockRef<'_>) -> io::Result<()> {
    listener.set_tcp_nodelay(true)?;
    // A listener that somebody else made and handed over may have it on.
    listener.set_keepalive(false)?;
    listener.set_tcp_user_timeout(Some(Duration::from_millis(DEVICE_UNACKNOWLEDGED_MS)))
}

/// A connection is about to be closed: what is left of it is the kernel's, which gives it up in its own time. A device that is gone
/// would otherwise keep the kernel busy for half an hour more. That the kernel refuses is no error.
pub fn leave_to_the_kernel(socket: BorrowedFd<'_>) {
    drop(SockRef::from(&socket).set_tcp_user_timeout(None));
}

/// The kernel's words for why something failed, without their number.
#[must_use]
pub fn words_of(error: &io::Error) -> String {
    let text = error.to_string();
    let words = text.split(" (os error").next();
    words.unwrap_or_default().to_owned()
}

/// Lets connect look at one port after the other (ip(7), `IP_LOCAL_PORT_RANGE`). Without a range of its
/// own a socket is first offered every second port alone, and once those are taken by connections to the
/// same destination each further connect looks at all of them in vain. The host's own range bounds this
/// one, so that nothing else changes.
fn search_every_port(socket: &impl AsFd) -> io::Result<()> {
    match set_ip_option(socket, IP_LOCAL_PORT_RANGE, ALL_PORTS) {
        // Linux before 6.3 does not know it, and is merely slower.
        Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => Ok(()),
        result => result,
    }
}

fn set_ip_option(socket: &impl AsFd, option: libc::c_int, value: libc::c_uint) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or_default();
    // SAFETY: the option's value is a live integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            option,
            (&raw const value).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernel's own choice of ports, by default or as this host has it.
    fn host_range() -> std::ops::RangeInclusive<u16> {
        let text = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
        let mut bounds = text.split_whitespace().map(|bound| bound.parse().unwrap());
        bounds.next().unwrap()..=bounds.next().unwrap()
    }

    /// Connects have taken a millisecond and more, since half of the ports to one broker were taken.
    #[test]
    fn connect_looks_at_every_port_of_the_hosts_range() {
        for to in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = std::net::TcpListener::bind(to) else {
                assert!(to.contains("::"), "IPv4 has a loopback address everywhere");
                continue;
            };
            let to = listener.local_addr().unwrap();
            let socket = unconnected(to).unwrap();
            socket.set_nonblocking(false).unwrap();
            let (mut value, mut length) = (0_u32, 4);
            // SAFETY: the value and its length are live and fit each other.
            let result = unsafe {
                libc::getsockopt(
                    socket.as_raw_fd(),
                    libc::IPPROTO_IP,
                    IP_LOCAL_PORT_RANGE,
                    (&raw mut value).cast(),
                    &raw mut length,
                )
            };
            assert!(result != 0 || value == ALL_PORTS, "{value:#x}");
            socket.connect(&to.into()).unwrap();
            let port = socket.local_addr().unwrap().as_socket().unwrap().port();
            assert!(host_range().contains(&port), "{port}");
        }
    }
}
