//! Credentials that expire: the upstream is renewed before, with a fresh one, and neither the device nor the
//! broker notices more than another connection.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::harness::fleet::{fleet_with, new_imsi, new_sim};
use crate::harness::mosquitto::free_port;
use crate::harness::peer::{Peer, connack, connect_packet, publish};
use crate::harness::ringbeam::{Ringbeam, Setup, output};

use super::authority::{Authority, SealedUpstream};
use super::broker::Broker;
use super::client::{Client, Login};
use super::{DISCONNECT, PINGREQ, acknowledged_publish, acknowledgement};

/// A kind of destination that wants tokens.
struct Kind {
    switch: &'static str,
    reference: &'static str,
    credential: Value,
}

fn azure() -> Kind {
    Kind {
        switch: "useAzureIoT",
        reference: "azureIoTCredential",
        credential: json!({ "credentialsId": "c", "type": "azureIoT-credentials", "credentials": {
            "sharedAccessKeyName": "device", "sharedAccessKey": "aHVzaC1henVyZQ==",
        } }),
    }
}

fn google() -> Kind {
    let mut command = Command::new("openssl");
    let (code, key, stderr) = output(command.args(["ecparam", "-name", "prime256v1", "-genkey"]));
    assert_eq!(code, Some(0), "{stderr}");
    Kind {
        switch: "useGoogleIoT",
        reference: "googleIoTCredential",
        credential: json!({ "credentialsId": "c", "type": "googleIoT-credentials", "credentials": {
            "projectId": "p", "region": "r", "registryId": "g", "deviceId": "d-#{imsi}",
            "privateKey": key, "algorithm": "ES256",
        } }),
    }
}

/// An engine whose tokens live for 5 seconds, towards such a destination on a port of localhost.
fn engine(kind: &Kind, authority: &Authority, port: u16) -> Ringbeam {
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut fleet = fleet_with(nowhere, |_, object| {
        object["destination"] = format!("mqtts://localhost:{port}").into();
        object["renewUpstream"] = true.into();
        object[kind.switch] = true.into();
        object[kind.reference] = json!({ "$credentialsId": "c" });
    });
    fleet["credentials"] = json!([kind.credential]);
    let upstream = format!(
        "[upstream]\ntoken_lifetime_seconds = 5\nca_file = \"{}\"",
        authority.file("root.pem").display()
    );
    Setup::new(&fleet).section(&upstream).start()
}

/// A CONNECT of 3.1.1 in its fields: client id, user name, password.
fn fields(connect: &[u8]) -> [String; 3] {
    let start = if connect[1] & 0x80 == 0 { 2 } else { 3 };
    // Behind protocol name, level, flags and keep alive.
    let mut rest = &connect[start + 10..];
    let mut next = || {
        let length = usize::from(u16::from_be_bytes([rest[0], rest[1]]));
        let (text, after) = rest[2..].split_at(length);
        rest = after;
        String::from_utf8(text.to_vec()).unwrap()
    };
    [next(), next(), next()]
}

/// Records every CONNECT of one device over so many renewals.
fn record(kind: &Kind, renewals: usize) -> Vec<[String; 3]> {
    let authority = Authority::new();
    let upstream = SealedUpstream::listen(&authority);
    let ringbeam = engine(kind, &authority, upstream.address().port());
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    let mut connects = Vec::new();
    for number in 0..=renewals {
        let mut peer = upstream.accept();
        connects.push(fields(&peer.packet()));
        peer.send(connack(4));
        if number == 0 {
            device.expect(connack(4));
        }
        device.send(&publish("t", b"x"));
        let expected = publish(&format!("t/{}", new_imsi(1)), b"x");
        assert_eq!(peer.packet(), expected);
        if number < renewals {
            // It is left in good order, and the next connection comes when this one is closed.
            assert_eq!(peer.rest(), DISCONNECT);
            assert!(upstream.is_untouched());
        }
    }
    ringbeam.wait_for_logs(renewals, "message", "upstream renewed");
    let log = ringbeam.log_text();
    for [_, _, password] in &connects {
        assert!(!log.contains(&**password), "{log}");
    }
    connects
}

/// That each is greater than the one before.
fn assert_ascending(numbers: &[u64]) {
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

#[test]
fn b_tok_1_and_b_az_1_every_connect_has_a_fresh_signature() {
    let connects = record(&azure(), 3);
    let mut expiries = Vec::new();
    for [client_id, username, password] in &connects {
        assert_eq!(client_id, "device");
        assert_eq!(username, "localhost/device/?api-version=2021-04-12");
        assert!(password.starts_with("SharedAccessSignature sr="));
        let (_, expiry) = password.split_once("&se=").unwrap();
        let digits: String = expiry.chars().take_while(char::is_ascii_digit).collect();
        expiries.push(digits.parse().unwrap());
    }
    assert_ascending(&expiries);
}

#[test]
fn b_tok_1_and_b_gcp_1_every_connect_has_a_fresh_jwt() {
    let connects = record(&google(), 2);
    let mut expiries = Vec::new();
    for [client_id, username, password] in &connects {
        let device = format!("d-{}", new_imsi(1));
        let expected = format!("projects/p/locations/r/registries/g/devices/{device}");
        assert_eq!((client_id, &**username), (&expected, "unused"));
        let claims = password.split('.').nth(1).unwrap();
        let claims = URL_SAFE_NO_PAD.decode(claims).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], "p");
        expiries.push(claims["exp"].as_u64().unwrap());
    }
    assert_ascending(&expiries);
}

#[test]
fn b_tok_1_a_device_that_speaks_before_it_acknowledges_is_not_held_up() {
    let authority = Authority::new();
    let upstream = SealedUpstream::listen(&authority);
    let ringbeam = engine(&azure(), &authority, upstream.address().port());
    let mut device = Peer::connect(new_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    let mut peer = upstream.accept();
    peer.packet();
    peer.send(connack(4));
    device.expect(connack(4));
    // Not acknowledged: the renewal that is soon due has something to wait for.
    let down = acknowledged_publish(4, 0x32, "d", 1, b"down");
    peer.send(&down);
    device.expect(&down);
    let topic = format!("t/{}", new_imsi(1));
    for number in 0_u32.. {
        device.send(&publish("t", &number.to_be_bytes()));
        let expected = publish(&topic, &number.to_be_bytes());
        let arrived = peer.packet_within(Duration::from_secs(5));
        let arrived = arrived.expect("the device's message, or a DISCONNECT before it");
        if arrived == expected {
            device.expect_silence(Duration::from_millis(20));
            continue;
        }
        assert_eq!(arrived, DISCONNECT);
        drop(peer);
        peer = upstream.accept();
        peer.packet();
        peer.send(connack(4));
        assert_eq!(peer.packet(), expected);
        break;
    }
    // What it acknowledges late is not the new upstream's.
    device.send(&acknowledgement(4, 1));
    device.send(&PINGREQ);
    assert_eq!(peer.packet(), PINGREQ);
}

#[test]
fn b_tok_1_and_b_az_1_ten_renewals_under_traffic_at_a_real_broker_lose_and_repeat_nothing() {
    outlive_tokens(&azure(), 10);
}

#[test]
fn b_tok_1_and_b_gcp_1_renewals_under_traffic_at_a_real_broker_lose_and_repeat_nothing() {
    outlive_tokens(&google(), 2);
}

/// Two devices on a real broker, one whose session it keeps and one that begins anew each time, speak and
/// hear until both were renewed that often.
fn outlive_tokens(kind: &Kind, renewals: usize) {
    let authority = Authority::new();
    let plain = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let sealed = free_port();
    let broker = Broker::start_at(plain, |_| {
        format!(
            "listener {sealed} 127.0.0.1\ncertfile {}\nkeyfile {}",
            authority.file("server.pem").display(),
            authority.file("server.key").display()
        )
    });
    let ringbeam = engine(kind, &authority, sealed);
    let login = |version, client_id, is_clean, will| Login {
        version,
        client_id,
        is_clean,
        will,
    };
    let mut watcher = Client::connect(Ipv4Addr::LOCALHOST, plain, login(4, "watcher", true, None));
    watcher.subscribe("up/#", 2);
    watcher.subscribe("will/#", 2);
    let mut keeper = Client::connect(
        new_sim(1),
        ringbeam.address(),
        login(4, "keeper", false, Some("will/keeper")),
    );
    keeper.subscribe("down", 2);
    let mut fresh = Client::connect(
        new_sim(2),
        ringbeam.address(),
        login(5, "fresh", true, Some("will/fresh")),
    );
    let mut round = 0;
    while ringbeam.log_text().matches("upstream renewed").count() < 2 * renewals {
        for qos in [1, 2] {
            keeper.publish("up/keeper", qos, &format!("keeper {qos} {round}"));
            fresh.publish("up/fresh", qos, &format!("fresh {qos} {round}"));
            watcher.publish("down", qos, &format!("down {qos} {round}"));
        }
        round += 1;
        for client in [&mut keeper, &mut fresh, &mut watcher] {
            client.settle();
            // What comes meanwhile sets the pace.
            while client.turn(Duration::from_millis(10)) {}
        }
    }
    let last = round - 1;
    for payload in [format!("keeper 2 {last}"), format!("fresh 2 {last}")] {
        watcher.turn_until_payload(&payload);
    }
    keeper.turn_until_payload(&format!("down 2 {last}"));
    let heard = counts(&[&watcher, &keeper]);
    for number in 0..round {
        for who in ["keeper", "fresh", "down"] {
            assert!(
                heard.contains_key(&*format!("{who} 1 {number}")),
                "{number}"
            );
            let count = heard.get(&*format!("{who} 2 {number}"));
            assert_eq!(count, Some(&1), "{who} {number}");
        }
    }
    let topics = watcher.received().iter().map(|(topic, ..)| topic);
    assert_eq!(topics.filter(|topic| topic.starts_with("will/")).count(), 0);
    assert!(!broker.log().contains("already connected"));
    assert!(!ringbeam.log_text().contains("upstream lost"));
    // Wills are still there: a device that dies is missed.
    drop(keeper);
    watcher.turn_until("the will", |watcher| {
        let last = watcher.received().last();
        last.is_some_and(|(topic, ..)| topic == "will/keeper")
    });
}

/// How often each payload was received.
fn counts<'a>(clients: &[&'a Client]) -> BTreeMap<&'a str, usize> {
    let mut counts = BTreeMap::new();
    for (_, _, payload) in clients.iter().flat_map(|client| client.received()) {
        *counts.entry(&**payload).or_default() += 1;
    }
    counts
}
