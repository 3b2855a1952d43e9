//! OpenSSL as a server, for what no rustls server does: versions of the past, renegotiation, changes of keys
//! that ask for none in return.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use super::super::harness::PATIENCE;
use super::super::harness::authority::Authority;
use super::super::harness::fleet::new_imsi;
use super::super::harness::peer::{connack, publish};
use super::{UNAVAILABLE, connecting, engine, text};

/// `openssl s_server`, which serves one connection at a time by its standard input and output.
struct Server {
    child: Child,
    input: ChildStdin,
    output: Receiver<Vec<u8>>,
    /// What it printed and nobody has waited for.
    printed: Vec<u8>,
    address: SocketAddr,
}

impl Server {
    fn start(authority: &Authority, options: &[&str]) -> Self {
        let [certificate, key] = authority.files("openssl", &authority.server());
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        // What it prints of itself comes at once, though it is no terminal.
        let mut child = Command::new("stdbuf")
            .args(["-o0", "openssl", "s_server", "-accept"])
            .args([&address.to_string(), "-cert"])
            .arg(certificate)
            .arg("-key")
            .arg(key)
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed: make test does it");
        let mut pipe = child.stdout.take().unwrap();
        let (sender, output) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = pipe.read(&mut buffer) {
                if sender.send(buffer[..length].to_vec()).is_err() {
                    return;
                }
            }
        });
        let input = child.stdin.take().unwrap();
        let mut server = Self {
            child,
            input,
            output,
            printed: Vec::new(),
            address,
        };
        server.wait_for(b"ACCEPT");
        server
    }

    /// Waits until it has printed this.
    fn wait_for(&mut self, expected: &[u8]) {
        loop {
            let mut places = self.printed.windows(expected.len());
            if let Some(place) = places.position(|part| part == expected) {
                self.printed.drain(..place + expected.len());
                return;
            }
            let more = self.output.recv_timeout(PATIENCE);
            self.printed.extend(more.expect("more output of openssl"));
        }
    }

    /// Has it send bytes, or do what a letter stands for.
    fn say(&mut self, bytes: &[u8]) {
        self.input.write_all(bytes).unwrap();
        self.input.flush().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[test]
fn b_con_4_a_server_of_the_past_is_said_to_be_one() {
    let authority = Authority::new("Private Root");
    let server = Server::start(&authority, &["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]);
    let ringbeam = engine(&authority, server.address);
    for (version, expected) in UNAVAILABLE {
        let mut device = connecting(&ringbeam, version);
        assert_eq!(device.rest(), expected);
    }
    let line = ringbeam.wait_for_log(&[("reason", "refused_upstream_tls")]);
    let detail = text(&line["detail"]);
    assert!(detail.contains("neither TLS 1.2 nor TLS 1.3"), "{detail}");
}

#[test]
fn renegotiation_is_refused_and_ends_the_session_in_an_orderly_way() {
    let authority = Authority::new("Private Root");
    let mut server = Server::start(&authority, &["-tls1_2"]);
    let ringbeam = engine(&authority, server.address);
    let mut device = connecting(&ringbeam, 4);
    server.wait_for(b"MQTT");
    server.say(connack(4));
    device.expect(connack(4));
    server.say(b"R\n");
    // The engine says no; OpenSSL takes that for a reason to end the connection with an alert.
    device.expect_closed();
    let line = ringbeam.wait_for_log(&[("message", "session ended")]);
    let reason = text(&line["reason"]);
    assert!(reason.starts_with("upstream_"), "{line}");
    // And the next device is served.
    let mut device = connecting(&ringbeam, 4);
    server.wait_for(b"MQTT");
    server.say(connack(4));
    device.expect(connack(4));
}

#[test]
fn a_change_of_keys_that_asks_for_none_in_return_is_followed() {
    let authority = Authority::new("Private Root");
    let mut server = Server::start(&authority, &["-tls1_3"]);
    let ringbeam = engine(&authority, server.address);
    let mut device = connecting(&ringbeam, 4);
    server.wait_for(b"MQTT");
    server.say(connack(4));
    device.expect(connack(4));
    for letter in [b"k\n", b"K\n", b"k\n"] {
        server.say(letter);
        server.wait_for(b"SSL_do_handshake -> 1");
        let message = publish("d", b"payload\n");
        server.say(&message);
        device.expect(&message);
        device.send(&publish("t", b"payload\n"));
        server.wait_for(format!("t/{}payload", new_imsi(1)).as_bytes());
    }
}
