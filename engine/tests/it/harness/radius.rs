//! Gateways: whoever tells of sessions by RADIUS, with requests made by hand, or by FreeRADIUS's client.

use std::cell::Cell;
use std::io::{self, ErrorKind, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use md5::{Digest as _, Md5};

use super::PATIENCE;

/// What every gateway here shares with the engine.
pub const SECRET: &str = "hush-gateway";

/// What happened to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Start = 1,
    Stop = 2,
    Interim = 3,
    On = 7,
    Off = 8,
}

/// Attributes of a request.
#[derive(Clone, Debug, Default)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Of a request about an access server.
    pub fn new(status: Status, nas: Ipv4Addr) -> Self {
        Self::default()
            .bytes(40, &(status as u32).to_be_bytes())
            .bytes(4, &nas.octets())
    }

    /// Of a request about a SIM's session at 10.0.0.9, by the access point `iot.example`.
    pub fn session(status: Status, id: &str, imsi: &str, address: impl Into<IpAddr>) -> Self {
        let nas = Ipv4Addr::new(10, 0, 0, 9);
        Self::new(status, nas).of(id, imsi, address, "iot.example")
    }

    /// The same of any access server, and by any access point.
    pub fn of(self, id: &str, imsi: &str, address: impl Into<IpAddr>, access_point: &str) -> Self {
        let request = self.text(44, id).text(30, access_point).vendor(1, imsi);
        match address.into() {
            IpAddr::V4(address) => request.bytes(8, &address.octets()),
            IpAddr::V6(address) => request.bytes(97, &[&[0, 128][..], &address.octets()].concat()),
        }
    }

    /// Whatever stands there.
    pub fn raw(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    /// With the time at which it happened, in seconds.
    pub fn at(self, seconds: u32) -> Self {
        self.bytes(55, &seconds.to_be_bytes())
    }

    /// With the name that an access server gives itself.
    pub fn named(self, name: &str) -> Self {
        self.text(32, name)
    }

    fn text(self, kind: u8, value: &str) -> Self {
        self.bytes(kind, value.as_bytes())
    }

    fn bytes(mut self, kind: u8, value: &[u8]) -> Self {
        self.0
            .extend([kind, u8::try_from(value.len() + 2).unwrap()]);
        self.0.extend(value);
        self
    }

    /// One of 3GPP's.
    fn vendor(self, kind: u8, value: &str) -> Self {
        let length = u8::try_from(value.len() + 2).unwrap();
        let own = [
            &10415_u32.to_be_bytes()[..],
            &[kind, length],
            value.as_bytes(),
        ]
        .concat();
        self.bytes(26, &own)
    }
}

/// A gateway's socket.
pub struct Gateway {
    socket: UdpSocket,
    secret: String,
    identifier: Cell<u8>,
}

impl Gateway {
    /// One on 127.0.0.1.
    pub fn new(server: SocketAddr) -> Self {
        Self::with(Ipv4Addr::LOCALHOST, server, SECRET)
    }

    /// One with an address and a secret of its own.
    pub fn with(own: Ipv4Addr, server: SocketAddr, secret: &str) -> Self {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.connect(server).unwrap();
        Self {
            socket,
            secret: secret.to_owned(),
            identifier: Cell::new(0),
        }
    }

    /// An accounting request as it is sent.
    pub fn request(&self, Attributes(attributes): &Attributes) -> Vec<u8> {
        let identifier = self.identifier.get();
        self.identifier.set(identifier.wrapping_add(1));
        let length = u16::try_from(20 + attributes.len()).unwrap();
        let [high, low] = length.to_be_bytes();
        let head = [4, identifier, high, low];
        let authenticator = digest(&[&head, &[0; 16], attributes, self.secret.as_bytes()]);
        [&head[..], &authenticator, attributes].concat()
    }

    /// Sends a request, and waits for its answer; it is sent again as gateways do.
    pub fn tell(&self, attributes: &Attributes) {
        self.tell_again(&self.request(attributes));
    }

    /// The same with a request that may have been sent before.
    pub fn tell_again(&self, request: &[u8]) {
        let began = Instant::now();
        while !self.is_answered(request, Duration::from_millis(1000)) {
            assert!(began.elapsed() < PATIENCE, "no answer");
        }
    }

    /// Whether a request that is sent once is answered within a while.
    pub fn is_answered(&self, request: &[u8], patience: Duration) -> bool {
        self.send(request);
        let began = Instant::now();
        loop {
            let Some(left) = patience.checked_sub(began.elapsed()) else {
                return false;
            };
            match self.receive(left.max(Duration::from_millis(1))) {
                Some(answer) if self.is_answer(request, &answer) => return true,
                // An answer to what was sent again before.
                Some(_) => {}
                None => return false,
            }
        }
    }

    /// Sends any datagram; nobody may be there to take it.
    pub fn send(&self, datagram: &[u8]) {
        match self.socket.send(datagram) {
            Err(error) if error.kind() != ErrorKind::ConnectionRefused => panic!("{error}"),
            _ => {}
        }
    }

    /// The next datagram within a while.
    pub fn receive(&self, patience: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = [0; 4096];
        match self.socket.recv(&mut buffer) {
            Ok(length) => Some(buffer[..length].to_vec()),
            Err(error) if is_nothing(&error) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// The next datagram, if it is there.
    pub fn receive_now(&self) -> Option<Vec<u8>> {
        let mut buffer = [0; 4096];
        let flags = rustix::net::RecvFlags::DONTWAIT;
        let received = rustix::net::recv(&self.socket, &mut buffer, flags).ok()?;
        Some(buffer[..received.0].to_vec())
    }

    /// Whether a datagram answers a request, and its sender knows the secret.
    pub fn is_answer(&self, request: &[u8], answer: &[u8]) -> bool {
        let Some((head, rest)) = answer.split_at_checked(4) else {
            return false;
        };
        let (authenticator, attributes) = rest.split_at(16);
        let secret = self.secret.as_bytes();
        head[0] == 5
            && head[1] == request[1]
            && authenticator == digest(&[head, &request[4..20], attributes, secret])
    }
}

fn is_nothing(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(
        kind,
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::ConnectionRefused
    )
}

fn digest(parts: &[&[u8]]) -> [u8; 16] {
    let mut digest = Md5::new();
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize().into()
}

/// Has FreeRADIUS's client send requests, one after the other; whether each was answered by a packet with the right
/// authenticators, and what it said.
pub fn radclient(server: SocketAddr, secret: &str, kind: &str, requests: &str) -> (bool, String) {
    let mut command = Command::new("radclient");
    let own = "Packet-Src-IP-Address = 127.0.0.70";
    let requests: Vec<String> = requests
        .split("\n\n")
        .map(|request| format!("{own}\n{request}"))
        .collect();
    command
        .args(["-x", "-r", "2", "-t", "1", "-D", "/usr/share/freeradius"])
        .args([&server.to_string(), kind, secret])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("radclient (freeradius-utils)");
    let mut input = child.stdin.take().unwrap();
    input.write_all(requests.join("\n\n").as_bytes()).unwrap();
    drop(input);
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.success(), said)
}
