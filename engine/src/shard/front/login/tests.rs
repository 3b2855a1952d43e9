//! Tests of the CONNECT that each kind of destination gets, as bytes. Signatures are checked by `openssl`.

use super::*;
use crate::fleet::samples;
use ringbeam_proto::error::Refusal;
use ringbeam_proto::packet::connect::{Opening, read};
use serde_json::{Value, json};

/// A 3.1.1 CONNECT of client `c`, with user name and password.
const DEVICE: &[u8] = b"\x10\x13\x00\x04MQTT\x04\xc2\x00\x3c\x00\x01c\x00\x01u\x00\x01p";

const CLOCK: Validity = Validity {
    issued_unix_seconds: 1_700_000_000,
    lifetime_seconds: 3600,
};

fn write_for(value: &Value, list: &Value) -> Result<Login, Cause> {
    let credentials = samples::read(list).unwrap();
    let entry_point = EntryPoint::from_json(value, &credentials).unwrap();
    let identity = identity();
    let Ok(Opening::Whole(connect, _)) = read(DEVICE) else {
        panic!()
    };
    write(&connect, &entry_point, &credentials, &identity, CLOCK)
}

fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: None,
    }
}

fn connect(packet: &[u8]) -> Connect<'_> {
    let Ok(Opening::Whole(connect, length)) = read(packet) else {
        panic!("{packet:02x?}")
    };
    assert_eq!(length, packet.len());
    connect
}

fn google(key: &str, algorithm: &str) -> Login {
    let value = json!({"destination": "mqtts://h", "useGoogleIoT": true,
                       "googleIoTCredential": {"$credentialsId": "g"}});
    write_for(&value, &json!([samples::google("g", key, algorithm)])).unwrap()
}

/// A part of a token, decoded by `openssl`.
fn decode(part: &str) -> Vec<u8> {
    let mut text = part.replace('-', "+").replace('_', "/");
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    samples::openssl(&["base64", "-d", "-A"], text.as_bytes())
}

/// Lets `openssl` verify the token in a CONNECT; `signature` is what it wants to see of it.
fn verify(login: &Login, key: &str, algorithm: &str, signature: impl Fn(&[u8]) -> Vec<u8>) {
    let connect = connect(&login.packet);
    assert_eq!(
        connect.client_id,
        "projects/p/locations/r/registries/g/devices/d-440100000000001"
    );
    assert_eq!(connect.username, Some("unused"));
    let token = std::str::from_utf8(connect.password.unwrap()).unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signed] = parts.as_slice() else {
        panic!("{token}")
    };
    let header_json: Value = serde_json::from_slice(&decode(header)).unwrap();
    assert_eq!(header_json, json!({"alg": algorithm, "typ": "JWT"}));
    let claims_json: Value = serde_json::from_slice(&decode(claims)).unwrap();
    let expected = json!({"iat": 1_700_000_000, "exp": 1_700_003_600, "aud": "p"});
    assert_eq!(claims_json, expected);
    assert!(!token.contains('='));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let public = samples::openssl(&["pkey", "-pubout"], key.as_bytes());
    std::fs::write(path("public"), public).unwrap();
    std::fs::write(path("signature"), signature(&decode(signed))).unwrap();
    let answer = samples::openssl_text(
        &[
            "dgst",
            "-sha256",
            "-verify",
            &path("public"),
            "-signature",
            &path("signature"),
        ],
        format!("{header}.{claims}").as_bytes(),
    );
    assert_eq!(answer, "Verified OK\n");
    assert_eq!(login.token_expires_unix_seconds, Some(1_700_003_600));
}

#[test]
fn b_gcp_1_openssl_verifies_the_token_of_an_rsa_key() {
    let key = samples::rsa_key();
    verify(&google(&key, "RS256"), &key, "RS256", <[u8]>::to_vec);
}

#[test]
fn b_gcp_1_openssl_verifies_the_token_of_an_ec_key() {
    let key = samples::ec_key();
    // Tokens hold the two numbers one behind the other, openssl wants them in DER.
    let der = |signature: &[u8]| {
        assert_eq!(signature.len(), 64);
        let mut body = Vec::new();
        for number in signature.chunks(32) {
            let number: Vec<u8> = number
                .iter()
                .copied()
                .skip_while(|byte| *byte == 0)
                .collect();
            let sign = number[0] >= 0x80;
            body.extend([2, u8::try_from(number.len()).unwrap() + u8::from(sign)]);
            body.extend(sign.then_some(0));
            body.extend(number);
        }
        let mut der = vec![0x30, u8::try_from(body.len()).unwrap()];
        der.extend(body);
        der
    };
    verify(&google(&key, "ES256"), &key, "ES256", der);
}

#[test]
fn b_az_1_azure_gets_the_devices_client_id_and_a_token() {
    let value = json!({"destination": "mqtts://hub", "useAzureIoT": true,
                       "azureIoTCredential": {"$credentialsId": "a"}});
    let login = write_for(&value, &json!([samples::azure("a")])).unwrap();
    let connect = connect(&login.packet);
    assert_eq!(connect.client_id, "c");
    assert_eq!(connect.username, Some("hub/c/?api-version=2021-04-12"));
    let password = std::str::from_utf8(connect.password.unwrap()).unwrap();
    let start = "SharedAccessSignature sr=hub%2Fdevices%2Fc&sig=";
    assert!(password.starts_with(start), "{password}");
    assert!(
        password.ends_with("&se=1700003600&skn=hush-name"),
        "{password}"
    );
    assert_eq!(login.token_expires_unix_seconds, Some(1_700_003_600));
    assert!(login.credential.is_none());
    assert_eq!(
        format!("{login:?}"),
        format!("Login {{ packet_bytes: {}, .. }}", login.packet.len())
    );
}

#[test]
fn b_pn_1_pubnub_gets_keys_in_the_client_id_and_no_names() {
    let value = json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}});
    let login = write_for(&value, &json!([samples::pubnub("p")])).unwrap();
    let expected: &[u8] = b"\x10\x1f\x00\x04MQTT\x04\x02\x00\x3c\x00\x13hush-pub/hush-sub/c";
    assert_eq!(*login.packet, expected);
}

#[test]
fn b_con_2_and_b_aws_1_a_standard_destination_gets_what_is_configured() {
    let value = json!({
        "destination": "mqtts://h", "useClientCredentials": true, "useClientCert": true,
        "clientCerts": {"default": {"$credentialsId": "x-#{imsi}"}},
    });
    let list = json!([samples::x509("x-440100000000001", json!({}))]);
    let login = write_for(&value, &list).unwrap();
    assert_eq!(*login.packet, DEVICE);
    assert_eq!(&*login.credential.unwrap().id, "x-440100000000001");
    assert_eq!(login.token_expires_unix_seconds, None);
    // B-CRED-1
    let refused = write_for(&value, &json!([])).map(|_| ());
    assert_eq!(refused, Err(Cause::Refused(Refusal::NoCredential)));
    let plain = write_for(&json!({"destination": "mqtt://h"}), &json!([])).unwrap();
    let expected: &[u8] = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x3c\x00\x01c";
    assert_eq!(*plain.packet, expected);
}

#[test]
fn b_tok_2_the_upstream_knows_a_session_by_the_client_id_that_is_sent_there() {
    let key = samples::ec_key();
    let google = json!({"destination": "mqtts://h", "useGoogleIoT": true,
                        "googleIoTCredential": {"$credentialsId": "g"}});
    let google_list = json!([samples::google("g", &key, "ES256")]);
    let pubnub = json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}});
    let pubnub_list = json!([samples::pubnub("p")]);
    let plain = json!({"destination": "mqtt://h"});
    let formed = connect(&write_for(&pubnub, &pubnub_list).unwrap().packet)
        .client_id
        .to_owned();
    assert!(formed.ends_with("/c"));
    let device = "projects/p/locations/r/registries/g/devices/d-440100000000001";
    let nameless = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00";
    for (value, list, named, unnamed) in [
        (&plain, &json!([]), "c", None),
        (&google, &google_list, device, Some(device)),
        (&pubnub, &pubnub_list, &*formed, None),
    ] {
        let credentials = samples::read(list).unwrap();
        let entry_point = EntryPoint::from_json(value, &credentials).unwrap();
        let identity = identity();
        for (packet, expected) in [(DEVICE, Some(named)), (nameless, unnamed)] {
            let connect = connect(packet);
            let login = write(&connect, &entry_point, &credentials, &identity, CLOCK).unwrap();
            assert_eq!(login.client_id(&connect, &entry_point).as_deref(), expected);
        }
    }
}
