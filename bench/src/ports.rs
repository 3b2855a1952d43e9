//! Ports: free ones on loopback, and whether somebody listens on one, without connecting to it. They lie below those
//! that Linux gives connections by default (32768 and up), so that none is taken before its listener is there.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::bail;

const FIRST: u16 = 21_000;
const COUNT: u16 = 10_000;
/// How `/proc/net/tcp` writes the state of a listening socket.
const LISTEN: &str = "0A";

/// A port that nobody uses, and that nobody else who asks here is given while this lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The same number in UDP, which nobody needs: two comparisons at once cannot both have it.
    _claim: UdpSocket,
}

impl Port {
    /// Its number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Finds a free port.
///
/// # Errors
/// When all are taken.
pub fn claim() -> anyhow::Result<Port> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Two runs at once begin at different places.
    let start = u16::try_from(std::process::id() % u32::from(COUNT)).unwrap_or_default();
    for _ in 0..COUNT {
        let offset = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
        let number = FIRST + (start + offset) % COUNT;
        let address = (Ipv4Addr::LOCALHOST, number);
        if let Ok(claim) = UdpSocket::bind(address)
            && TcpListener::bind(address).is_ok()
        {
            return Ok(Port {
                number,
                _claim: claim,
            });
        }
    }
    bail!("no free port between {FIRST} and {}", FIRST + COUNT - 1)
}

/// Whether a socket listens on this port. A proxy would pass a trial connection on to its upstream, so none is made.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn is_listening(port: u16) -> anyhow::Result<bool> {
    let ending = format!(":{port:04X}");
    let is_it = |line: &str| {
        let mut fields = line.split_ascii_whitespace().skip(1);
        fields.next().is_some_and(|local| local.ends_with(&ending)) && fields.nth(1) == Some(LISTEN)
    };
    Ok(fs::read_to_string("/proc/net/tcp")?.lines().any(is_it))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use crate::clock;

    #[test]
    fn a_free_port_is_listened_on_only_while_somebody_does() {
        let claimed = claim().unwrap();
        let port = claimed.number();
        // A program that another test starts at this moment holds our sockets until it has become itself.
        let is_free_in_time = || {
            let start = clock::now();
            while is_listening(port).unwrap() && start.elapsed() < Duration::from_secs(10) {
                clock::pause();
            }
            !is_listening(port).unwrap()
        };
        assert!(is_free_in_time());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
        assert!(is_listening(port).unwrap());
        drop(listener);
        assert!(is_free_in_time());
    }

    #[test]
    fn a_claimed_port_is_given_to_nobody_else() {
        let port = claim().unwrap();
        UdpSocket::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap_err();
        assert_ne!(claim().unwrap().number(), port.number());
    }
}
