//! Client certificates: what a group's credential says is shown upstream, and nothing of it to anybody else.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use super::super::harness::authority::{Authority, Identity, Wish};
use super::super::harness::fleet::{fleet_with, new_imsi, new_sim, old_sim, saying};
use super::super::harness::mosquitto::{Mosquitto, client};
use super::super::harness::peer::{connect_packet, publish};
use super::super::harness::ringbeam::{Setup, output};
use super::super::harness::tls_server::{Manner, ONLY_12, ONLY_13, TlsPeer, TlsServer};
use super::super::harness::wait_until;
use super::{connecting, text};

/// A credential as the fleet's document has it.
fn credential(id: &str, identity: &Identity, ca: Option<&Authority>) -> Value {
    let mut credentials = json!({ "cert": identity.chain.concat(), "key": identity.key });
    if let Some(authority) = ca {
        credentials["ca"] = authority.pem().into();
    }
    json!({ "credentialsId": id, "type": "x509", "credentials": credentials })
}

/// A fleet whose groups present the credential named after them: `new` and `old`.
fn fleet(destination: &str, credentials: &[Value]) -> Value {
    let nowhere = ([127, 0, 0, 1], 1).into();
    let mut fleet = fleet_with(nowhere, |group, object| {
        object["destination"] = destination.into();
        object["useClientCert"] = true.into();
        object["clientCerts"] = json!({ "default": { "$credentialsId": group } });
    });
    fleet["credentials"] = credentials.into();
    saying(fleet)
}

/// The certificate that the engine showed.
fn shown(peer: &TlsPeer) -> Option<Vec<u8>> {
    let first = peer.tls.peer_certificates()?.first()?;
    Some(first.to_vec())
}

fn der(identity: &Identity) -> Vec<u8> {
    let first = CertificateDer::from_pem_slice(identity.chain[0].as_bytes());
    first.unwrap().to_vec()
}

#[test]
fn b_ver_4_every_kind_of_certificate_is_shown_under_both_platform_versions() {
    let authority = Authority::new("Private Root");
    for (versions, algorithm) in [
        (ONLY_12, &rcgen::PKCS_ECDSA_P256_SHA256),
        (ONLY_13, &rcgen::PKCS_ECDSA_P384_SHA384),
        (ONLY_13, &rcgen::PKCS_ED25519),
        (ONLY_12, &rcgen::PKCS_RSA_SHA256),
        (ONLY_13, &rcgen::PKCS_RSA_SHA256),
    ] {
        let manner = Manner {
            versions,
            clients: Some(&authority),
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let identity = authority.intermediate("In Between").issue(Wish {
            algorithm,
            ..Wish::client("fleet")
        });
        let credentials = ["new", "old"].map(|id| credential(id, &identity, None));
        // Under 201509 a certificate makes it TLS whatever the destination says.
        for (scheme, sims) in [
            ("mqtts", &[new_sim(1), old_sim(1)][..]),
            ("mqtt", &[old_sim(1)]),
        ] {
            let destination = format!("{scheme}://{}", server.address());
            let ringbeam = Setup::new(&fleet(&destination, &credentials))
                .section(&authority.section())
                .start();
            for sim in sims {
                let (_device, peer) = server.session(ringbeam.address(), *sim, 4);
                assert_eq!(shown(&peer), Some(der(&identity)));
            }
        }
    }
}

#[test]
fn the_credentials_own_authority_is_trusted_for_its_groups_alone() {
    let authority = Authority::new("Private Root");
    let server = TlsServer::listen(&authority.server());
    let identity = authority.issue(Wish::client("fleet"));
    let credentials = [
        credential("new", &identity, Some(&authority)),
        credential("old", &identity, None),
    ];
    let destination = format!("mqtts://{}", server.address());
    let ringbeam = Setup::new(&fleet(&destination, &credentials)).start();
    drop(server.session(ringbeam.address(), new_sim(1), 4));
    let mut device = super::super::harness::peer::Peer::connect(old_sim(1), ringbeam.address());
    device.send(&connect_packet(4, "device"));
    assert!(server.try_accept().is_err());
    assert_eq!(device.rest(), [0x20, 2, 0, 3]);
}

#[test]
fn insecure_skip_verify_takes_any_certificate_and_says_so_loudly() {
    for versions in [ONLY_12, ONLY_13] {
        let manner = Manner {
            versions,
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&Authority::new("Nobody's").server(), &manner);
        let identity = Authority::new("Private Root").issue(Wish::client("fleet"));
        let mut careless = credential("new", &identity, None);
        careless["credentials"]["insecureSkipVerify"] = true.into();
        let credentials = [careless, credential("old", &identity, None)];
        let destination = format!("mqtts://{}", server.address());
        let ringbeam = Setup::new(&fleet(&destination, &credentials)).start();
        assert!(ringbeam.log_text().contains("NOBODY CHECKS"));
        drop(server.session(ringbeam.address(), new_sim(1), 4));
        let mut device = super::super::harness::peer::Peer::connect(old_sim(1), ringbeam.address());
        device.send(&connect_packet(4, "device"));
        assert!(server.try_accept().is_err());
        assert_eq!(device.rest(), [0x20, 2, 0, 3]);
    }
}

#[test]
fn tickets_of_one_credential_are_never_used_with_another() {
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            clients: Some(&authority),
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let identities = ["new", "old"].map(|name| authority.issue(Wish::client(name)));
        let credentials = [
            credential("new", &identities[0], None),
            credential("old", &identities[1], None),
        ];
        let destination = format!("mqtts://{}", server.address());
        let ringbeam = Setup::new(&fleet(&destination, &credentials))
            .section(&authority.section())
            .start();
        for round in 0..3 {
            for (sim, identity) in [(new_sim(1), &identities[0]), (old_sim(1), &identities[1])] {
                let (mut device, mut peer) = server.session(ringbeam.address(), sim, 4);
                assert_eq!(shown(&peer), Some(der(identity)));
                assert_eq!(peer.is_resumed(), round > 0);
                device.send(&[0xe0, 0]);
                assert_eq!(peer.rest(), [0xe0, 0]);
            }
        }
    }
}

#[test]
fn b_con_4_a_client_certificate_that_the_server_does_not_know_is_said_to_be_refused() {
    // Under TLS 1.3 the server says so only when the handshake is through for the client.
    for versions in [ONLY_12, ONLY_13] {
        let authority = Authority::new("Private Root");
        let manner = Manner {
            versions,
            clients: Some(&authority),
            ..Manner::default()
        };
        let server = TlsServer::listen_with(&authority.server(), &manner);
        let stranger = Authority::new("Somebody Else").issue(Wish::client("stranger"));
        let credentials = ["new", "old"].map(|id| credential(id, &stranger, None));
        let destination = format!("mqtts://{}", server.address());
        let ringbeam = Setup::new(&fleet(&destination, &credentials))
            .section(&authority.section())
            .start();
        let mut device = connecting(&ringbeam, 4);
        assert!(server.try_accept().is_err());
        assert_eq!(device.rest(), [0x20, 2, 0, 3]);
        let is_told = |line: &Value| {
            let detail = text(&line["detail"]);
            text(&line["reason"]).contains("upstream_tls") && detail.contains("UnknownCA")
        };
        wait_until("the reason", || ringbeam.log_lines().iter().any(is_told));
        assert!(!ringbeam.log_text().contains("PRIVATE KEY"));
    }
}

#[test]
fn mosquitto_takes_the_certificates_name_for_the_users() {
    let authority = Authority::new("Private Root");
    let [certificate, key] = authority.files("server", &authority.server());
    let more = format!(
        "cafile {}\nrequire_certificate true\nuse_identity_as_username true",
        authority.file().display()
    );
    let broker = Mosquitto::start_tls(&certificate, &key, &more);
    let identity = authority.issue(Wish::client("fleet"));
    let credentials = ["new", "old"].map(|id| credential(id, &identity, None));
    let destination = format!("mqtts://{}", broker.tls_address());
    let ringbeam = Setup::new(&fleet(&destination, &credentials))
        .section(&authority.section())
        .start();
    for sim in [new_sim(1), old_sim(1)] {
        let mut command = client("mosquitto_pub", Some(sim), ringbeam.address());
        command.args(["-q", "1", "-t", "t", "-m", "x"]);
        assert_eq!(output(&mut command).0, Some(0));
    }
    broker.wait_for_log("u'fleet'");
}

#[test]
fn b_cfg_5_a_certificate_is_replaced_under_traffic_and_a_bad_one_is_not() {
    let authority = Authority::new("Private Root");
    let manner = Manner {
        clients: Some(&authority),
        ..Manner::default()
    };
    let server = TlsServer::listen_with(&authority.server(), &manner);
    let (first, second) = (
        authority.issue(Wish::client("first")),
        authority.issue(Wish::client("second")),
    );
    let destination = format!("mqtts://{}", server.address());
    let with = |identity: &Identity, reference: &str| {
        // B-CRED-1: the reference may depend on the SIM.
        let id = reference.replace("#{imsi}", &new_imsi(1));
        let mut fleet = fleet(&destination, &[credential(&id, identity, None)]);
        for group in fleet["groups"].as_array_mut().unwrap() {
            let object = &mut group["configuration"]["SoracomBeam"]["mqtt://beam.soracom.io:1883"];
            if object["clientCerts"].is_object() {
                object["clientCerts"] = json!({ "default": { "$credentialsId": reference } });
            } else {
                group["configuration"] = json!({});
            }
        }
        fleet
    };
    for reference in ["the-one", "of-#{imsi}"] {
        let ringbeam = Setup::new(&with(&first, reference))
            .section(&authority.section())
            .start();
        let (mut device, mut peer) = server.session(ringbeam.address(), new_sim(1), 4);
        assert_eq!(shown(&peer), Some(der(&first)));
        let mut traffic = |number: u8| {
            device.send(&[0xc0, 0]);
            peer.expect(&[0xc0, 0]);
            let message = publish("t", &[number]);
            peer.send(&message);
            device.expect(&message);
        };
        traffic(1);
        ringbeam.setup().write_fleet(&with(&second, reference));
        assert!(ringbeam.reload());
        traffic(2);
        let (_second_device, second_peer) = server.session(ringbeam.address(), new_sim(1), 4);
        assert_eq!(shown(&second_peer), Some(der(&second)));
        assert!(!second_peer.is_resumed());
        let spoilt = Identity {
            chain: vec!["no certificate".to_owned()],
            key: second.key.clone(),
        };
        let mixed = Identity {
            chain: first.chain.clone(),
            key: second.key.clone(),
        };
        for bad in [&spoilt, &mixed] {
            ringbeam.setup().write_fleet(&with(bad, reference));
            assert!(!ringbeam.reload(), "{reference}");
            traffic(3);
            let (_third_device, third_peer) = server.session(ringbeam.address(), new_sim(1), 4);
            assert_eq!(shown(&third_peer), Some(der(&second)));
        }
        traffic(4);
    }
}
