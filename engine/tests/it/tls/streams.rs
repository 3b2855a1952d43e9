//! Streams: what an open TLS connection may bring, in every cut, arrives unchanged; what it may not bring
//! ends the session with a reason, and its upstream with an alert.

use rustls::{AlertDescription, Error};

use super::super::harness::authority::Authority;
use super::super::harness::fleet::{new_imsi, new_sim};
use super::super::harness::peer::{Peer, packet, publish, string};
use super::super::harness::tls_server::{
    Manner, ONLY_12, ONLY_13, RECORD_BYTES, TlsPeer, TlsServer,
};
use super::super::harness::wait_until;
use super::{ending, engine, started};

const VERSIONS: [&[&rustls::SupportedProtocolVersion]; 2] = [ONLY_12, ONLY_13];

/// A session over one version of TLS, handed to `check`, and how it ended.
fn over(
    versions: &'static [&'static rustls::SupportedProtocolVersion],
    mqtt: u8,
    check: impl FnOnce(&mut Peer, &mut TlsPeer),
) -> (String, String) {
    let authority = Authority::new("Private Root");
    let manner = Manner {
        versions,
        ..Manner::default()
    };
    let server = TlsServer::listen_with(&authority.server(), &manner);
    let ringbeam = engine(&authority, server.address());
    let before = ringbeam.descriptors();
    let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), mqtt);
    check(&mut device, &mut peer);
    drop((device, peer));
    let ending = ending(&ringbeam);
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
    ending
}

fn arrived(payload: &[u8]) -> Vec<u8> {
    publish(&format!("t/{}", new_imsi(1)), payload)
}

#[test]
fn records_cut_at_every_byte_and_of_every_size_arrive() {
    for versions in VERSIONS {
        over(versions, 4, |device, peer| {
            let message = publish("down", b"payload");
            // Every byte of a record by itself.
            for byte in peer.seal(&message) {
                peer.send_raw(&[byte]);
            }
            device.expect(&message);
            // A record for every byte in clear, one at a time and all at once.
            for byte in &message {
                peer.send(&[*byte]);
            }
            device.expect(&message);
            let records: Vec<_> = message
                .iter()
                .flat_map(|byte| peer.seal(&[*byte]))
                .collect();
            peer.send_raw(&records);
            device.expect(&message);
            // Two records in two pieces, cut anywhere.
            let message = publish("d", b"x");
            let mut cut = 1;
            loop {
                let records = [peer.seal(&message), peer.seal(&message)].concat();
                let (front, back) = records.split_at(cut);
                peer.send_raw(front);
                peer.send_raw(back);
                device.expect(&[&message[..], &message[..]].concat());
                cut += 1;
                if cut == records.len() {
                    break;
                }
            }
            device.send(&publish("t", b"alive"));
            peer.expect(&arrived(b"alive"));
        });
    }
}

#[test]
fn many_packets_in_a_record_and_records_of_the_largest_size_arrive() {
    for versions in VERSIONS {
        over(versions, 4, |device, peer| {
            // All of the record is packets; then one packet fills it to the last byte.
            let one = publish("d", b"small");
            let many = one.repeat(RECORD_BYTES / one.len());
            peer.send(&many);
            device.expect(&many);
            let full = publish("d", &vec![7; RECORD_BYTES - 4 - 2]);
            assert_eq!(full.len(), RECORD_BYTES);
            peer.send(&full.repeat(3));
            device.expect(&full.repeat(3));
            // And the other way, where each packet gets its suffix.
            device.send(&publish("t", b"small").repeat(2_000));
            peer.expect(&arrived(b"small").repeat(2_000));
        });
    }
}

#[test]
fn keys_may_be_changed_by_either_side_at_any_time() {
    let (_authority, server, ringbeam) = started();
    let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
    for round in 0..50_u32 {
        // The engine is asked to change its own keys too, while messages pass both ways.
        peer.tls.refresh_traffic_keys().unwrap();
        peer.send(&publish("d", &round.to_be_bytes()));
        device.expect(&publish("d", &round.to_be_bytes()));
        device.send(&publish("t", &round.to_be_bytes()));
        peer.expect(&arrived(&round.to_be_bytes()));
    }
    // Asked for while nothing else passes: the next message up finds its way.
    peer.tls.refresh_traffic_keys().unwrap();
    peer.flush().unwrap();
    device.send(&publish("t", b"after"));
    peer.expect(&arrived(b"after"));
    // In the middle of a message.
    let message = publish("d", &vec![7; 40_000]);
    let (front, back) = message.split_at(20_000);
    peer.send(front);
    peer.tls.refresh_traffic_keys().unwrap();
    peer.send(back);
    device.expect(&message);
}

#[test]
fn b_top_6_messages_of_64_mib_pass_both_ways_with_memory_bounded() {
    for versions in VERSIONS {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let ringbeam = engine(&authority, server.address());
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
        let payload: Vec<u8> = (0..64_u32 << 20)
            .map(|place| place.wrapping_mul(2_654_435_761).to_be_bytes()[0])
            .collect();
        let before = ringbeam.resident_bytes();
        let up = arrived(&payload);
        let mut sending = device.stream().try_clone().unwrap();
        let message = publish("t", &payload);
        std::thread::scope(|scope| {
            scope.spawn(|| std::io::Write::write_all(&mut sending, &message).unwrap());
            peer.expect(&up);
        });
        let down = publish("d", &payload);
        std::thread::scope(|scope| {
            scope.spawn(|| peer.send(&down));
            assert!(device.bytes(down.len()) == down);
        });
        let after = ringbeam.resident_bytes();
        assert!(
            after < before + (16 << 20),
            "from {before} to {after} bytes"
        );
    }
}

#[test]
fn b_keep_4_an_upstream_that_ends_tls_closes_the_session() {
    for versions in VERSIONS {
        for is_tls_alone in [false, true] {
            let (reason, _) = over(versions, 4, |device, peer| {
                peer.close_tls();
                if !is_tls_alone {
                    peer.finish_sending();
                }
                device.expect_closed();
                // The engine ends its own in an orderly way.
                assert_eq!(peer.rest(), b"");
            });
            assert_eq!(reason, "upstream_closed");
        }
    }
}

#[test]
fn what_an_upstream_says_last_arrives_before_the_end() {
    for versions in VERSIONS {
        let (reason, _) = over(versions, 4, |device, peer| {
            let message = publish("d", &vec![7; 100_000]);
            let mut records = peer.seal(&message);
            peer.tls.send_close_notify();
            records.extend(peer.seal(b""));
            peer.send_raw(&records);
            peer.finish_sending();
            assert!(device.rest() == message);
        });
        assert_eq!(reason, "upstream_closed");
    }
}

#[test]
fn an_upstream_that_vanishes_without_ending_tls_is_a_reset() {
    for versions in VERSIONS {
        let (reason, detail) = over(versions, 4, |device, peer| {
            peer.finish_sending();
            device.expect_closed();
        });
        assert_eq!(reason, "upstream_reset");
        assert!(detail.contains("without ending TLS"), "{detail}");
    }
}

/// The alert that ended a connection.
fn alert(peer: &mut TlsPeer) -> AlertDescription {
    let failure = peer.failure();
    let inner = failure.get_ref().and_then(|inner| inner.downcast_ref());
    match inner {
        Some(Error::AlertReceived(alert)) => *alert,
        other => panic!("no alert: {failure} {other:?}"),
    }
}

#[test]
fn b_err_3_records_that_break_tls_end_the_session_with_an_alert() {
    for versions in VERSIONS {
        // In clear after the handshake; no record at all; a record longer than any; a damaged one.
        let damaged = |peer: &mut TlsPeer| {
            let mut record = peer.seal(&publish("d", b"payload"));
            let last = record.len() - 1;
            record[last] ^= 1;
            record
        };
        type Broken<'a> = (&'a str, &'a dyn Fn(&mut TlsPeer) -> Vec<u8>);
        let rows: [Broken<'_>; 4] = [
            ("", &|_| b"\x30\x04\x00\x01dx plain MQTT".to_vec()),
            ("", &|_| vec![0xff; 100]),
            ("", &|_| [&[0x17, 3, 3, 0x48, 0x01][..], &[0; 100]].concat()),
            ("does not decrypt", &damaged),
        ];
        for (expected, broken) in rows {
            for (mqtt, told) in [(4, &[][..]), (5, &[0xe0, 1, 0x80])] {
                let (reason, detail) = over(versions, mqtt, |device, peer| {
                    let bytes = broken(peer);
                    peer.send_raw(&bytes);
                    assert_eq!(device.rest(), told);
                    let alert = alert(peer);
                    assert!(
                        matches!(
                            alert,
                            AlertDescription::BadRecordMac
                                | AlertDescription::DecodeError
                                | AlertDescription::RecordOverflow
                                | AlertDescription::UnexpectedMessage
                        ),
                        "{alert:?}"
                    );
                });
                assert_eq!(reason, "upstream_tls", "{detail}");
                assert!(detail.contains(expected) && !detail.is_empty(), "{detail}");
            }
        }
    }
}

#[test]
fn an_alert_in_mid_stream_is_named() {
    let (reason, detail) = over(ONLY_13, 4, |device, peer| {
        // A record that the engine's side cannot have sent makes this server refuse it.
        let refused = peer.tls.read_tls(&mut &[0x17, 3, 3, 0, 32][..]);
        assert_eq!(refused.unwrap(), 5);
        let rest = peer.tls.read_tls(&mut &[7_u8; 32][..]);
        assert_eq!(rest.unwrap(), 32);
        peer.tls.process_new_packets().unwrap_err();
        peer.flush().unwrap();
        device.expect_closed();
    });
    assert_eq!(reason, "upstream_tls");
    assert!(detail.contains("BadRecordMac"), "{detail}");
}

#[test]
fn b_keep_4_a_device_that_vanishes_ends_tls_upstream_without_a_disconnect() {
    for versions in VERSIONS {
        over(versions, 4, |device, peer| {
            device.send(&publish("t", b"last"));
            peer.expect(&arrived(b"last"));
            device.stream().shutdown(std::net::Shutdown::Both).unwrap();
            assert_eq!(peer.rest(), b"");
        });
    }
}

#[test]
fn a_device_that_says_goodbye_says_so_upstream_too() {
    for versions in VERSIONS {
        let (reason, _) = over(versions, 5, |device, peer| {
            let up = packet(0x30, &[&string("t")[..], &[0], b"x"].concat());
            device.send(&[&up[..], &[0xe0, 0]].concat());
            let topic = format!("t/{}", new_imsi(1));
            let arrived = packet(0x30, &[&string(&topic)[..], &[0], b"x"].concat());
            assert_eq!(peer.rest(), [&arrived[..], &[0xe0, 0]].concat());
            device.expect_closed();
        });
        assert_eq!(reason, "device_disconnect");
    }
}
