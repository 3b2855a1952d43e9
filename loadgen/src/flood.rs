//! Flood: connections of one more SIM that publish as fast as they are taken, and the broker's end of them. MQTT 5, QoS
//! 0, with user properties of so many bytes in each message. Nobody checks them: they are what the measured devices have
//! for a neighbour. One thread of its own does it all, so that the others' times are their own.

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvFlags, SendFlags};
use socket2::{Domain, Protocol, SockAddr, Type};

use crate::wire::encode::{connect, publish_with_properties};
use crate::wire::{Version, kind};

/// What its client ids begin with, by which a sink knows its connections.
pub const CLIENT_ID: &str = "flood-";

/// Bytes of messages that are sent at once, at most.
const WRITE_BYTES: usize = 256 * 1024;

/// Bytes that are thrown away at once, at most.
const DROP_BYTES: usize = 1024 * 1024;

/// How long a connection may take to be accepted.
const ACCEPTED_WITHIN: Duration = Duration::from_secs(10);

/// How often is looked for what no descriptor tells.
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 5_000_000,
};

/// What floods: so many connections of one address, with properties of so many bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodPlan {
    /// Connections.
    pub connections: u32,
    /// Bytes of properties in each message.
    pub properties: usize,
}

/// A flood under way.
#[derive(Debug)]
pub struct Flood {
    shared: Arc<Shared>,
    drain: Sender<OwnedFd>,
    drained: Receiver<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    is_over: AtomicBool,
    /// Bytes that were taken, and connections that ended.
    sent: AtomicU64,
    ended: AtomicU64,
}

impl Default for Flood {
    fn default() -> Self {
        let (drain, drained) = unbounded();
        Self {
            shared: Arc::default(),
            drain,
            drained,
            thread: None,
        }
    }
}

impl Flood {
    /// Where a sink of this process hands over the broker's end of a connection.
    #[must_use]
    pub fn drain(&self) -> Sender<OwnedFd> {
        self.drain.clone()
    }

    /// Opens the connections, and begins.
    ///
    /// # Errors
    /// When one of them is not accepted.
    pub fn begin(
        &mut self,
        plan: FloodPlan,
        target: SocketAddr,
        from: Option<IpAddr>,
    ) -> anyhow::Result<()> {
        let devices = (0..plan.connections)
            .map(|number| open(number, target, from).context("--flood"))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut message = Vec::new();
        publish_with_properties(&mut message, "flood", plan.properties);
        let times = WRITE_BYTES.div_ceil(message.len());
        let pump = Pump {
            shared: Arc::clone(&self.shared),
            drained: self.drained.clone(),
            devices: devices.into_iter().map(|socket| (socket, 0)).collect(),
            brokers: Vec::new(),
            messages: message.repeat(times),
            buffer: vec![0; DROP_BYTES],
        };
        let thread = std::thread::Builder::new().name("flood".to_owned());
        self.thread = Some(thread.spawn(move || pump.run())?);
        Ok(())
    }

    /// Bytes that were taken so far.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Ends it. Connections that had ended by themselves.
    pub fn end(&mut self) -> u64 {
        self.shared.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // What it had to tell is told.
            thread.join().ok();
        }
        self.shared.ended.load(Ordering::Relaxed)
    }
}

/// A session of version 5, accepted.
fn open(number: u32, target: SocketAddr, from: Option<IpAddr>) -> anyhow::Result<OwnedFd> {
    let socket = socket2::Socket::new(
        Domain::for_address(target),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if let Some(from) = from {
        crate::sys::bind_without_port(&socket)?;
        socket.bind(&SocketAddr::new(from, 0).into())?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.connect_timeout(&SockAddr::from(target), ACCEPTED_WITHIN)?;
    socket.set_read_timeout(Some(ACCEPTED_WITHIN))?;
    let mut stream = TcpStream::from(socket);
    let mut hello = Vec::new();
    connect(&mut hello, Version::V5, &format!("{CLIENT_ID}{number}"), 0);
    io::Write::write_all(&mut stream, &hello)?;
    // The sink's own CONNACK: five bytes.
    let mut connack = [0; 5];
    stream.read_exact(&mut connack).context("no CONNACK")?;
    ensure!(
        connack[0] >> 4 == kind::CONNACK && connack[3] == 0,
        "refused: {connack:02x?}"
    );
    stream.set_nonblocking(true)?;
    Ok(stream.into())
}

/// Its thread.
struct Pump {
    shared: Arc<Shared>,
    drained: Receiver<OwnedFd>,
    /// Connections, and how far each is in the messages.
    devices: Vec<(OwnedFd, usize)>,
    brokers: Vec<OwnedFd>,
    messages: Vec<u8>,
    /// Named when something is thrown away.
    buffer: Vec<u8>,
}

impl Pump {
    fn run(mut self) {
        while !self.shared.is_over.load(Ordering::Relaxed) {
            self.brokers.extend(self.drained.try_iter());
            let ready = self.ready();
            let (devices, brokers) = ready.split_at(self.devices.len().min(ready.len()));
            let (mut devices, mut brokers) = (devices.iter(), brokers.iter());
            let Self {
                shared,
                messages,
                buffer,
                devices: sockets,
                brokers: ends,
                ..
            } = &mut self;
            let before = sockets.len();
            sockets.retain_mut(|device| {
                let is_ready = devices.next().is_some_and(|is_ready| *is_ready);
                !is_ready || send(shared, messages, device)
            });
            let ended = before - sockets.len();
            shared.ended.fetch_add(ended as u64, Ordering::Relaxed);
            ends.retain(|broker| {
                let is_ready = brokers.next().is_some_and(|is_ready| *is_ready);
                !is_ready || drop_from(broker, buffer)
            });
        }
    }

    /// Waits, and says of which connection there is something to do.
    fn ready(&self) -> Vec<bool> {
        let devices = self.devices.iter();
        let devices = devices.map(|(socket, _)| PollFd::new(socket, PollFlags::OUT));
        let brokers = self.brokers.iter();
        let brokers = brokers.map(|socket| PollFd::new(socket, PollFlags::IN));
        let mut polls: Vec<_> = devices.chain(brokers).collect();
        // Cut short, it is asked again.
        poll(&mut polls, Some(&LOOK_EVERY)).ok();
        let is_ready = |poll: &PollFd<'_>| !poll.revents().is_empty();
        polls.iter().map(is_ready).collect()
    }
}

/// Sends as much as is taken. Whether the connection goes on.
fn send(shared: &Shared, messages: &[u8], (socket, at): &mut (OwnedFd, usize)) -> bool {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    let rest = messages.get(*at..).unwrap_or_default();
    match rustix::net::send(&*socket, rest, flags) {
        Ok(count) => {
            *at = (*at + count) % messages.len();
            shared.sent.fetch_add(count as u64, Ordering::Relaxed);
            true
        }
        Err(error) => is_later(error),
    }
}

/// Throws away what has come. Whether the connection goes on.
fn drop_from(socket: &OwnedFd, buffer: &mut [u8]) -> bool {
    // TCP counts the bytes then, and copies none of them.
    let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
    match rustix::net::recv(socket, buffer, flags) {
        Ok((_, count)) => count > 0,
        Err(error) => is_later(error),
    }
}

fn is_later(error: rustix::io::Errno) -> bool {
    matches!(error, rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
}
