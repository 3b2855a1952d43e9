//! Resumption: sessions that follow each other save the handshake's costly half.

use super::super::harness::authority::Authority;
use super::super::harness::fleet::new_sim;
use super::super::harness::tls_server::{Manner, ONLY_12, ONLY_13, TlsServer};
use super::engine;

/// How many of so many sessions in a row were resumed.
fn resumed(server: &TlsServer, authority: &Authority, sessions: u16) -> usize {
    let ringbeam = engine(authority, server.address());
    let mut resumed = 0;
    for number in 0..sessions {
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(number), 4);
        resumed += usize::from(peer.is_resumed());
        device.send(&[0xe0, 0]);
        // As a device does; one that stays has a moment for answers.
        drop(device);
        assert_eq!(peer.rest(), [0xe0, 0]);
    }
    resumed
}

#[test]
fn sessions_that_follow_each_other_are_resumed() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let resumed = resumed(&server, &authority, 200);
        assert!(resumed >= 180, "{resumed} of 200");
    }
}

#[test]
fn a_server_without_tickets_is_served_with_full_handshakes() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            has_tickets: false,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        assert_eq!(resumed(&server, &authority, 5), 0);
    }
}

#[test]
fn a_server_that_has_forgotten_its_tickets_is_served_all_the_same() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let identity = authority.server();
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&identity, &manner);
        let ringbeam = engine(&authority, server.address());
        let (device, peer) = server.session(ringbeam.address(), new_sim(1), 4);
        drop((device, peer));
        let server = server.restarted(&identity, &manner);
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
        assert!(!peer.is_resumed());
        device.send(&[0xc0, 0]);
        peer.expect(&[0xc0, 0]);
    }
}
