//! Peers over real sockets: a device on a SIM's address, and a scripted upstream that does exactly what
//! the test says.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// One end of a connection.
pub struct Peer {
    stream: TcpStream,
}

impl From<TcpStream> for Peer {
    fn from(stream: TcpStream) -> Self {
        Self::new(stream)
    }
}

/// A scripted upstream.
pub struct Upstream {
    listener: TcpListener,
}

impl Upstream {
    /// Listens on a free loopback port.
    pub fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        // A connection that never comes fails the test.
        let patience = Some(PATIENCE);
        SockRef::from(&listener).set_read_timeout(patience).unwrap();
        Self { listener }
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    /// The next connection from the engine.
    pub fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        Peer::new(stream)
    }

    /// Accepts, reads the CONNECT, answers it, and returns both.
    pub fn accept_connect(&self, connack: &[u8]) -> (Peer, Vec<u8>) {
        let mut peer = self.accept();
        let connect = peer.packet();
        peer.send(connack);
        (peer, connect)
    }

    /// A device's whole session through the engine at `to`: the device's end and this one.
    pub fn session(&self, to: SocketAddr, from: impl Into<IpAddr>, version: u8) -> (Peer, Peer) {
        let mut device = Peer::connect(from, to);
        device.send(&connect_packet(version, "device"));
        let (peer, _) = self.accept_connect(connack(version));
        device.expect(connack(version));
        (device, peer)
    }

    /// Everybody who has connected by now.
    pub fn accept_all(&self) -> Vec<Peer> {
        self.listener.set_nonblocking(true).unwrap();
        let accepted = std::iter::from_fn(|| self.listener.accept().ok());
        let peers = accepted.map(|(stream, _)| {
            stream.set_nonblocking(false).unwrap();
            Peer::new(stream)
        });
        let peers = peers.collect();
        self.listener.set_nonblocking(false).unwrap();
        peers
    }

    /// Whether a connection is there to be accepted.
    pub fn is_waited_for(&self) -> bool {
        let mut listener = [PollFd::new(&self.listener, PollFlags::IN)];
        poll(&mut listener, Some(&Timespec::default())).unwrap() > 0
    }

    /// Whether nobody has connected.
    pub fn is_untouched(&self) -> bool {
        self.listener.set_nonblocking(true).unwrap();
        let result = self.listener.accept();
        self.listener.set_nonblocking(false).unwrap();
        matches!(result, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream }
    }

    /// A device's connection from a SIM's address.
    pub fn connect(from: impl Into<IpAddr>, to: SocketAddr) -> Self {
        Self::try_connect(from, to).unwrap()
    }

    /// The same, where it may fail.
    pub fn try_connect(from: impl Into<IpAddr>, to: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
        socket.bind(&SocketAddr::new(from.into(), 0).into())?;
        socket.connect_timeout(&to.into(), PATIENCE)?;
        Ok(Self::new(socket.into()))
    }

    /// A device's connection with a small receive buffer.
    pub fn connect_narrow(from: impl Into<IpAddr>, to: SocketAddr) -> Self {
        let socket = Socket::new(Domain::for_address(to), Type::STREAM, None).unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        socket
            .bind(&SocketAddr::new(from.into(), 0).into())
            .unwrap();
        socket.connect(&to.into()).unwrap();
        Self::new(socket.into())
    }

    /// Sends bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends bytes, as far as the peer lets it.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Reads exactly so many bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Reads one whole packet.
    pub fn packet(&mut self) -> Vec<u8> {
        self.try_packet()
            .unwrap_or_else(|error| panic!("no packet: {error}"))
    }

    /// Reads one whole packet, if one comes.
    pub fn try_packet(&mut self) -> io::Result<Vec<u8>> {
        let mut packet = vec![0; 2];
        self.stream.read_exact(&mut packet)?;
        let mut length = usize::from(packet[1] & 0x7f);
        let mut shift = 7;
        while packet[packet.len() - 1] & 0x80 != 0 {
            let mut byte = [0];
            self.stream.read_exact(&mut byte)?;
            packet.push(byte[0]);
            length |= usize::from(byte[0] & 0x7f) << shift;
            shift += 7;
        }
        let head = packet.len();
        packet.resize(head + length, 0);
        self.stream.read_exact(&mut packet[head..])?;
        Ok(packet)
    }

    /// Expects these bytes next.
    pub fn expect(&mut self, expected: &[u8]) {
        let found = self.bytes(expected.len());
        assert_eq!(
            found, expected,
            "\n found {found:02x?}\n expected {expected:02x?}"
        );
    }

    /// Expects the end of the connection and nothing before it, orderly or not.
    pub fn expect_closed(&mut self) {
        let rest = self.rest();
        assert!(rest.is_empty(), "before the end: {rest:02x?}");
    }

    /// Everything until the end of the connection.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(0) => return rest,
                Ok(count) => rest.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => return rest,
                // The machine may stop and go on: a read with a time limit is not begun anew by itself.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("neither bytes nor the end: {error}; before it {rest:02x?}"),
            }
        }
    }

    /// Whether bytes or the end come within a while.
    pub fn answers_within(&mut self, duration: Duration) -> bool {
        self.stream.set_read_timeout(Some(duration)).unwrap();
        let result = self.stream.peek(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        result.is_ok()
    }

    /// Expects that nothing comes for a while, and no end either.
    pub fn expect_silence(&mut self, duration: Duration) {
        self.stream.set_read_timeout(Some(duration)).unwrap();
        let mut byte = [0];
        let result = self.stream.peek(&mut byte);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        match result {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            other => panic!("not silent: {other:?} {byte:02x?}"),
        }
    }

    /// Closes the sending side.
    pub fn finish_sending(&self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Breaks the connection with a reset.
    pub fn reset(self) {
        SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// The stream itself.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }
}

/// CONNECT of a version with a client id, clean, keep alive 60.
pub fn connect_packet(version: u8, client_id: &str) -> Vec<u8> {
    connect_with_keep_alive(version, client_id, 60)
}

/// The same with a keep alive in seconds.
pub fn connect_with_keep_alive(version: u8, client_id: &str, seconds: u16) -> Vec<u8> {
    let mut body = match version {
        3 => b"\x00\x06MQIsdp\x03\x02".to_vec(),
        _ => [b"\x00\x04MQTT", &[version, 2][..]].concat(),
    };
    body.extend(seconds.to_be_bytes());
    if version >= 5 {
        body.push(0);
    }
    body.extend(string(client_id));
    packet(0x10, &body)
}

/// The CONNACK of success in a version.
pub fn connack(version: u8) -> &'static [u8] {
    if version >= 5 {
        &[0x20, 3, 0, 0, 0]
    } else {
        &[0x20, 2, 0, 0]
    }
}

/// A string with its length.
pub fn string(text: &str) -> Vec<u8> {
    [
        &u16::try_from(text.len()).unwrap().to_be_bytes()[..],
        text.as_bytes(),
    ]
    .concat()
}

/// A packet with its remaining length.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let byte = u8::try_from(length & 0x7f).unwrap();
        length >>= 7;
        packet.push(if length > 0 { byte | 0x80 } else { byte });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// A QoS 0 PUBLISH before v5.
pub fn publish(topic: &str, payload: &[u8]) -> Vec<u8> {
    packet(0x30, &[&string(topic)[..], payload].concat())
}
