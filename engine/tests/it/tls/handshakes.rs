//! Handshakes: every way in which one fails is CONNACK 3 for the device (B-CON-4) and a line for whoever
//! has to mend it; and those that succeed, with every kind of key.

use std::io::Write as _;
use std::net::Shutdown;

use rustls::ProtocolVersion;

use super::super::harness::authority::{Authority, Identity, Wish};
use super::super::harness::fleet::{new_sim, tls_fleet, tls_fleet_to};
use super::super::harness::peer::{Upstream, connack};
use super::super::harness::ringbeam::{Ringbeam, Setup};
use super::super::harness::tls_server::{BOTH, Manner, ONLY_12, ONLY_13, TlsServer};
use super::super::harness::wait_until;
use super::{UNAVAILABLE, connecting, engine, started, text};

/// Connects in both versions while `serve` plays the upstream once for each. Every device must get its
/// CONNACK 3, and the log one line for each, with `reason` and all of `details`.
fn refused(ringbeam: &Ringbeam, mut serve: impl FnMut(), reason: &str, details: &[&str]) {
    let before = ringbeam.descriptors();
    for (version, expected) in UNAVAILABLE {
        let mut device = connecting(ringbeam, version);
        serve();
        assert_eq!(device.rest(), expected, "MQTT level {version}");
    }
    ringbeam.wait_for_logs(2, "message", "connection refused");
    for line in ringbeam.log_lines() {
        if line["message"] == "connection refused" {
            assert_eq!(line["reason"], reason, "{line}");
            let detail = text(&line["detail"]);
            for expected in details {
                assert!(detail.contains(expected), "{expected:?} in {detail:?}");
            }
        }
    }
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
}

/// The same for a server that shows this, to an engine that trusts `authority`.
fn refused_certificate(authority: &Authority, shown: &Identity, details: &[&str]) {
    let server = TlsServer::listen(shown);
    let ringbeam = engine(authority, server.address());
    // Whatever the engine says to it, the server fails to shake hands.
    let serve = || assert!(server.try_accept().is_err());
    refused(&ringbeam, serve, "refused_upstream_tls", details);
}

#[test]
fn b_con_4_an_expired_certificate_is_named_with_its_date() {
    let authority = Authority::new("Private Root");
    let shown = authority.issue(Wish {
        years: [2020, 2021],
        ..Wish::server()
    });
    refused_certificate(&authority, &shown, &["expired", "Jan  1", "2021"]);
}

#[test]
fn b_con_4_a_certificate_of_the_future_is_named_with_its_date() {
    let authority = Authority::new("Private Root");
    let shown = authority.issue(Wish {
        years: [3000, 3001],
        ..Wish::server()
    });
    refused_certificate(&authority, &shown, &["valid from", "3000"]);
}

#[test]
fn b_con_4_a_certificate_for_another_name_names_both() {
    let authority = Authority::new("Private Root");
    let shown = authority.issue(Wish {
        names: vec!["broker.example".to_owned(), "other.example".to_owned()],
        ..Wish::server()
    });
    let names = ["broker.example", "other.example", "127.0.0.1"];
    refused_certificate(&authority, &shown, &names);
}

#[test]
fn b_con_4_an_unknown_issuer_is_named() {
    let shown = Authority::new("Somebody Else").server();
    let details = ["Somebody Else", "ca_file"];
    refused_certificate(&Authority::new("Private Root"), &shown, &details);
}

#[test]
fn b_con_4_an_issuer_of_the_same_name_and_another_key_is_refused() {
    let shown = Authority::new("Private Root").server();
    refused_certificate(
        &Authority::new("Private Root"),
        &shown,
        &["its certificate"],
    );
}

#[test]
fn b_con_4_a_missing_intermediate_is_named() {
    let authority = Authority::new("Private Root");
    let shown = authority.intermediate("In Between").server().alone();
    refused_certificate(&authority, &shown, &["In Between"]);
}

#[test]
fn b_con_4_a_chain_in_the_wrong_order_is_said_to_be() {
    let authority = Authority::new("Private Root");
    let shown = authority.intermediate("In Between").server().reversed();
    refused_certificate(&authority, &shown, &["wrong order"]);
}

#[test]
fn b_con_4_an_authoritys_own_certificate_is_said_to_be() {
    let authority = Authority::new("Private Root");
    refused_certificate(&authority, &authority.itself(), &["authority's own"]);
}

#[test]
fn b_con_4_a_clients_certificate_is_no_servers() {
    let authority = Authority::new("Private Root");
    let shown = authority.issue(Wish::client("127.0.0.1"));
    refused_certificate(&authority, &shown, &["not for servers"]);
}

#[test]
fn b_con_4_a_port_for_plain_mqtt_is_guessed() {
    // A broker that is sent TLS closes, or answers in its own protocol.
    for answer in [&b""[..], connack(4), b"HTTP/1.1 400 Bad Request\r\n\r\n"] {
        let upstream = Upstream::listen();
        let ringbeam = engine(&Authority::new("Private Root"), upstream.address());
        let serve = || {
            let mut peer = upstream.accept();
            peer.bytes(5);
            peer.send(answer);
        };
        refused(&ringbeam, serve, "refused_upstream_tls", &["plain MQTT"]);
    }
}

#[test]
fn b_con_4_a_server_that_resets_during_the_handshake() {
    let upstream = Upstream::listen();
    let ringbeam = engine(&Authority::new("Private Root"), upstream.address());
    let serve = || {
        let mut peer = upstream.accept();
        peer.bytes(5);
        peer.reset();
    };
    let details = ["closed during the handshake"];
    refused(&ringbeam, serve, "refused_upstream_tls", &details);
}

#[test]
fn b_con_4_a_server_that_closes_in_the_middle_of_its_handshake() {
    let (_authority, server, ringbeam) = started();
    let serve = || {
        let mut peer = server.accept_raw();
        peer.hear();
        let records = peer.seal(b"");
        peer.send_raw(&records[..records.len() / 2]);
        peer.stream().shutdown(Shutdown::Both).unwrap();
    };
    let details = ["closed during the handshake"];
    refused(&ringbeam, serve, "refused_upstream_tls", &details);
}

#[test]
fn b_con_4_a_handshake_that_stalls_ends_in_time() {
    // Nothing at all, and half of the server's first flight.
    for has_begun in [false, true] {
        let authority = Authority::new("Private Root");
        let server = TlsServer::listen(&authority.server());
        let ringbeam = Setup::new(&tls_fleet(server.address()))
            .section(&authority.section())
            .engine("upstream_timeout_ms = 700")
            .start();
        let mut held = Vec::new();
        let serve = || {
            let mut peer = server.accept_raw();
            if has_begun {
                peer.hear();
                let records = peer.seal(b"");
                peer.send_raw(&records[..records.len() / 2]);
            }
            held.push(peer);
        };
        let details = ["TLS", "in time"];
        refused(&ringbeam, serve, "refused_upstream_timeout", &details);
    }
}

#[test]
fn b_con_4_a_server_that_wants_a_client_certificate_is_said_to() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            clients: Some(&authority),
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let ringbeam = engine(&authority, server.address());
        for (version, expected) in UNAVAILABLE {
            let mut device = connecting(&ringbeam, version);
            assert!(server.try_accept().is_err());
            assert_eq!(device.rest(), expected);
        }
        // Under TLS 1.3 the server says so when the handshake is through for the client.
        ringbeam.wait_for_logs(2, "level", "INFO");
        wait_until("both lines", || told(&ringbeam).len() == 2);
        for (reason, detail) in told(&ringbeam) {
            assert!(reason.contains("upstream_tls"), "{reason}");
            assert!(detail.contains("client certificate"), "{detail}");
        }
    }
}

/// Reason and detail of every connection that is over.
fn told(ringbeam: &Ringbeam) -> Vec<(String, String)> {
    let lines = ringbeam.log_lines();
    let over = lines.iter().filter(|line| line["reason"].is_string());
    over.map(|line| (text(&line["reason"]), text(&line["detail"])))
        .collect()
}

#[test]
fn b_con_4_an_alert_is_named() {
    let upstream = Upstream::listen();
    let ringbeam = engine(&Authority::new("Private Root"), upstream.address());
    let serve = || {
        let mut peer = upstream.accept();
        peer.bytes(5);
        // Fatal, protocol_version.
        peer.send(&[0x15, 3, 3, 0, 2, 2, 70]);
    };
    let details = ["neither TLS 1.2 nor TLS 1.3", "ProtocolVersion"];
    refused(&ringbeam, serve, "refused_upstream_tls", &details);
}

#[test]
fn every_kind_of_key_is_taken_in_both_versions() {
    let authority = Authority::new("Private Root");
    let between = authority.intermediate("In Between");
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let shown = between.issue(Wish {
            algorithm,
            ..Wish::server()
        });
        for (versions, expected) in [
            (ONLY_12, ProtocolVersion::TLSv1_2),
            (ONLY_13, ProtocolVersion::TLSv1_3),
            (BOTH, ProtocolVersion::TLSv1_3),
        ] {
            let manner = Manner {
                versions,
                ..Manner::default()
            };
            let server = TlsServer::listen_with(&shown, &manner);
            let ringbeam = engine(&authority, server.address());
            let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
            assert_eq!(peer.version(), expected);
            device.send(&[0xc0, 0]);
            peer.expect(&[0xc0, 0]);
            peer.send(&[0xd0, 0]);
            device.expect(&[0xd0, 0]);
        }
    }
}

#[test]
fn b_aws_1_the_destinations_name_is_sent_and_an_address_is_not() {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    let named = format!("localhost:{}", server.address().port());
    for (upstream, expected) in [
        (named, Some("localhost")),
        (server.address().to_string(), None),
    ] {
        let ringbeam = Setup::new(&tls_fleet_to(&upstream))
            .section(&authority.section())
            .start();
        let (_device, peer) = server.session(ringbeam.address(), new_sim(1), 4);
        assert_eq!(peer.server_name(), expected);
        // Nothing is asked for on a port of no special meaning.
        assert_eq!(peer.tls.alpn_protocol(), None);
    }
}

#[test]
fn a_handshake_that_comes_byte_by_byte_goes_through() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let ringbeam = engine(&authority, server.address());
        let mut device = connecting(&ringbeam, 4);
        let mut peer = server.accept_raw();
        while peer.tls.is_handshaking() || peer.tls.wants_write() {
            for byte in peer.seal(b"") {
                peer.stream().write_all(&[byte]).unwrap();
            }
            if peer.tls.is_handshaking() {
                peer.hear();
            }
        }
        peer.packet();
        for byte in peer.seal(connack(4)) {
            peer.send_raw(&[byte]);
        }
        device.expect(connack(4));
    }
}
