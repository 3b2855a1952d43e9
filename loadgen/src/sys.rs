//! System: sockets, a timer and clocks, as the kernel has them; the only unsafe code here. Waiting for
//! readiness goes through this thread's ring; reading and sending never wait.
#![allow(
    unsafe_code,
    reason = "descriptors of monoio's types, and one socket option"
)]

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use monoio::net::{TcpListener, TcpStream, UnixStream};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, clock_gettime,
    timerfd_create, timerfd_settime,
};
use socket2::{Domain, Protocol, SockRef, Type};

/// Bytes that are read of a peer that has its answer, at most.
const UNREAD_MAX: usize = 1024 * 1024;

/// How long one that has its answer may be silent before it closes.
const FINISH_TIME: Duration = Duration::from_secs(2);

/// A TCP connection, or one that is being opened.
#[derive(Debug)]
pub struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// Takes over an accepted connection.
    ///
    /// # Errors
    /// When its options cannot be set.
    pub fn accepted(stream: TcpStream) -> io::Result<Self> {
        let socket = Self { stream };
        SockRef::from(&descriptor(&socket.stream)).set_tcp_nodelay(true)?;
        Ok(socket)
    }

    /// Opens a connection, from a source address where one is given.
    ///
    /// # Errors
    /// When the address cannot be bound, or nobody answers there.
    pub async fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<Self> {
        let socket = socket2::Socket::new(
            Domain::for_address(to),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_tcp_nodelay(true)?;
        if let Some(from) = from {
            // The port is chosen at connect, so that one port may serve once per destination.
            bind_without_port(&socket)?;
            socket.bind(&SocketAddr::new(from, 0).into())?;
        }
        match socket.connect(&to.into()) {
            Err(error) if Errno::from_io_error(&error) != Some(Errno::INPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        let socket = Self {
            stream: TcpStream::from_std(OwnedFd::from(socket).into())?,
        };
        socket.writable().await?;
        match SockRef::from(&descriptor(&socket.stream)).take_error()? {
            Some(error) => Err(error),
            None => Ok(socket),
        }
    }

    /// Waits until there is something to read, an end or an error included.
    ///
    /// # Errors
    /// When the ring refuses.
    pub async fn readable(&self) -> io::Result<()> {
        self.stream.readable(false).await
    }

    /// Waits until there is room to send, or an error.
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
        let fd = descriptor(&self.stream);
        let (_, length) = rustix::net::recv(fd, buffer, RecvFlags::DONTWAIT)?;
        Ok(length)
    }

    /// Sends as much as the kernel takes.
    ///
    /// # Errors
    /// `WouldBlock` when it takes nothing; others when the connection broke.
    pub fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(rustix::net::send(descriptor(&self.stream), bytes, flags)?)
    }

    /// Sends everything, waiting for room where there is none.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn send_all(&self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.send(bytes) {
                Ok(sent) => bytes = bytes.get(sent..).unwrap_or_default(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Says that nothing more comes, and reads what the peer still sends until it has closed too, within bounds:
    /// closing on unread bytes would reset the connection, and take what was sent last from the peer.
    ///
    /// # Errors
    /// When the connection broke.
    pub async fn finish(&self) -> io::Result<()> {
        rustix::net::shutdown(descriptor(&self.stream), Shutdown::Write)?;
        let mut left = UNREAD_MAX;
        let mut part = [0; 512];
        while left > 0 {
            match self.receive(&mut part) {
                Ok(0) => break,
                Ok(length) => left = left.saturating_sub(length),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let wait = monoio::time::timeout(FINISH_TIME, self.readable());
                    match wait.await {
                        Ok(readable) => readable?,
                        Err(_) => break,
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Another descriptor of it.
    ///
    /// # Errors
    /// When none is left.
    pub fn duplicate(&self) -> io::Result<OwnedFd> {
        descriptor(&self.stream).try_clone_to_owned()
    }

    /// Ends both directions, so that whoever waits on it returns. That it is gone already is no error.
    pub fn shutdown(&self) {
        let _ = rustix::net::shutdown(descriptor(&self.stream), Shutdown::Both);
    }
}

/// Opens a listener that several threads may share an address by.
///
/// # Errors
/// When the address is taken or not ours.
pub fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    Ok(socket.into())
}

/// Connections that may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const LISTEN_BACKLOG: i32 = 16_384;

/// Hands a listener to this thread's ring.
///
/// # Errors
/// When the ring cannot take it.
pub fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    TcpListener::from_std(listener)
}

/// A timer with the kernel's own resolution; the runtime's counts in milliseconds.
#[derive(Debug)]
pub struct Timer {
    // The runtime has no type for a timer; all that is asked of this one is readiness.
    stream: UnixStream,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self {
            stream: UnixStream::from_std(timer.into())?,
        })
    }

    /// Waits until a moment of the monotonic clock, in nanoseconds. Passes through the ring even where
    /// that moment has gone, so that others get their turn. May be dropped.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn until(&self, moment_ns: u64) -> io::Result<()> {
        let whole = Duration::from_nanos(moment_ns.max(1));
        let value = Timespec {
            tv_sec: i64::try_from(whole.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: whole.subsec_nanos().into(),
        };
        let once = Itimerspec {
            it_interval: Timespec::default(),
            it_value: value,
        };
        timerfd_settime(descriptor(&self.stream), TimerfdTimerFlags::ABSTIME, &once)?;
        self.stream.readable(false).await
    }
}

/// Nanoseconds of the monotonic clock.
#[must_use]
pub fn monotonic_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Nanoseconds of the wall clock since 1970.
#[must_use]
pub fn wall_ns() -> u64 {
    nanoseconds(ClockId::Realtime)
}

fn nanoseconds(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    let seconds = u64::try_from(now.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(now.tv_nsec).unwrap_or_default();
    seconds.saturating_mul(1_000_000_000).saturating_add(nanos)
}

/// What tells one boot of one machine from any other: two processes with the same one share a monotonic clock.
#[must_use]
pub fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Raises the descriptor limit to the hard one and returns it.
///
/// # Errors
/// When the kernel refuses.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let hard = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: hard,
        maximum: hard,
    };
    setrlimit(Resource::Nofile, limit)?;
    Ok(hard.unwrap_or(u64::MAX))
}

fn descriptor(owner: &impl AsRawFd) -> BorrowedFd<'_> {
    // SAFETY: the owner holds the descriptor open and outlives the borrow.
    unsafe { BorrowedFd::borrow_raw(owner.as_raw_fd()) }
}

/// Lets a later bind leave the choice of the port to connect (ip(7), `IP_BIND_ADDRESS_NO_PORT`).
pub fn bind_without_port(socket: &impl AsFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    let length = libc::socklen_t::try_from(size_of_val(&on)).unwrap_or_default();
    // SAFETY: the option's value is a live integer of the length given.
    let result = unsafe {
        libc::setsockopt(
            socket.as_fd().as_raw_fd(),
            libc::IPPROTO_IP,
            libc::IP_BIND_ADDRESS_NO_PORT,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
