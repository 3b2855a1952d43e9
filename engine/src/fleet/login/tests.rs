//! Tests of who a SIM is at each kind of destination.

use ringbeam_proto::error::BadClientId;

use super::*;
use crate::fleet::{ENTRY_POINT_KEY, Fleet, NAMESPACE, samples};
use serde_json::{Value, json};

const CLOCK: Validity = Validity {
    issued_unix_seconds: 1_700_000_000,
    lifetime_seconds: 3600,
};

fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: None,
    }
}

fn credentials() -> Credentials {
    samples::read(&json!([
        samples::x509("x-440100000000001", json!({})),
        samples::azure("a"),
        samples::google("g", &samples::ec_key(), "ES256"),
        samples::pubnub("p"),
    ]))
    .unwrap()
}

fn account(value: &Value, client_id: &str) -> Result<Account, Refusal> {
    let credentials = credentials();
    let entry_point = EntryPoint::from_json(value, &credentials).unwrap();
    entry_point.account(client_id, &credentials, &identity(), CLOCK)
}

/// User name and password.
fn names(account: &Account) -> (Option<&str>, Option<&str>) {
    match &account.names {
        Names::PassThrough => panic!("{account:?}"),
        Names::Replaced { username, password } => (
            username.as_deref(),
            password.as_ref().map(|password| password.as_str()),
        ),
    }
}

fn azure() -> Value {
    json!({"destination": "mqtts://hub.azure-devices.net.", "useAzureIoT": true,
           "azureIoTCredential": {"$credentialsId": "a"}})
}

fn google() -> Value {
    json!({"destination": "mqtts://h", "useGoogleIoT": true,
           "googleIoTCredential": {"$credentialsId": "g"}})
}

fn pubnub() -> Value {
    json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}})
}

/// The signature comes from `openssl dgst -hmac` over a text that stands here in full.
#[test]
fn b_az_1_azures_token_is_what_openssl_computes() {
    let account = account(&azure(), "d-._~/ä+1").unwrap();
    let resource = "hub.azure-devices.net%2Fdevices%2Fd-._~%2F%C3%A4%2B1";
    let signed = format!("{resource}\n1700003600");
    let signature = samples::openssl(
        &[
            "dgst",
            "-sha256",
            "-mac",
            "HMAC",
            "-macopt",
            "key:hush-azure",
            "-binary",
        ],
        signed.as_bytes(),
    );
    let signature = samples::openssl_text(&["base64", "-A"], &signature);
    let signature = signature
        .replace('+', "%2B")
        .replace('/', "%2F")
        .replace('=', "%3D");
    let (username, password) = names(&account);
    assert_eq!(
        username,
        Some("hub.azure-devices.net/d-._~/ä+1/?api-version=2021-04-12")
    );
    let expected =
        format!("SharedAccessSignature sr={resource}&sig={signature}&se=1700003600&skn=hush-name");
    assert_eq!(password, Some(expected.as_str()));
    assert_eq!(account.token_expires_unix_seconds, Some(1_700_003_600));
    assert_eq!(account.client_id, None);
    assert!(!format!("{account:?}").contains("hush"), "{account:?}");
}

#[test]
fn b_pn_1_pubnubs_keys_stand_before_the_client_id() {
    let account = account(&pubnub(), "device").unwrap();
    assert_eq!(
        account.client_id.as_deref(),
        Some("hush-pub/hush-sub/device")
    );
    assert_eq!(names(&account), (None, None));
    assert_eq!(account.token_expires_unix_seconds, None);
}

#[test]
fn b_gcp_1_google_names_the_device_itself() {
    let account = account(&google(), "device").unwrap();
    assert_eq!(
        account.client_id.as_deref(),
        Some("projects/p/locations/r/registries/g/devices/d-440100000000001")
    );
    assert_eq!(names(&account).0, Some("unused"));
    assert_eq!(account.token_expires_unix_seconds, Some(1_700_003_600));
}

#[test]
fn b_con_2_and_b_ver_4_a_standard_destination_gets_what_is_configured() {
    let with = |version: &str, destination: &str| {
        json!({
            "destination": destination, "version": version, "username": "u-#{imsi}", "password": "p",
            "useClientCert": true, "clientCerts": {"default": {"$credentialsId": "x-#{imsi}"}},
        })
    };
    let check = |value: Value, expected: bool| {
        let account = account(&value, "device").unwrap();
        assert_eq!(names(&account), (Some("u-440100000000001"), Some("p")));
        assert_eq!(account.client_id, None);
        assert_eq!(account.certificate.is_some(), expected, "{value}");
    };
    check(with("201912", "mqtts://h"), true);
    check(with("201912", "mqtt://h"), false);
    check(with("201509", "mqtt://h"), true);
    let through = account(
        &json!({"destination": "mqtt://h", "useClientCredentials": true}),
        "d",
    );
    assert!(matches!(through.unwrap().names, Names::PassThrough));
}

#[test]
fn b_cred_1_a_credential_that_is_not_there_or_of_another_type_is_refused() {
    let check = |id: &str, expected: Result<(), Refusal>| {
        let mut value = azure();
        value["azureIoTCredential"]["$credentialsId"] = json!(id);
        assert_eq!(account(&value, "d").map(|_| ()), expected, "{id}");
    };
    check("a", Ok(()));
    check("x-#{imsi}", Err(Refusal::NoCredential));
    check("y-#{imsi}", Err(Refusal::NoCredential));
}

#[test]
fn what_grows_past_what_mqtt_can_say_is_refused() {
    let check = |value: &Value, client_id_bytes: usize, expected: bool| {
        let account = account(value, &"i".repeat(client_id_bytes));
        let refused = account.err();
        let expected = (!expected).then_some(Refusal::ClientId(BadClientId::TooLong));
        assert_eq!(refused, expected, "{value} {client_id_bytes}");
    };
    let keys = "hush-pub/hush-sub/".len();
    check(&pubnub(), STRING_BYTES_MAX - keys, true);
    check(&pubnub(), STRING_BYTES_MAX - keys + 1, false);
    check(&azure(), STRING_BYTES_MAX - 500, true);
    check(&azure(), STRING_BYTES_MAX, false);
    check(&google(), STRING_BYTES_MAX, true);
}

#[test]
fn b_pn_1_a_fleet_is_told_where_pubnub_is() {
    let entry_point = |value: Value| json!({NAMESPACE: {ENTRY_POINT_KEY: value}});
    let document = json!({
        "groups": [
            {"groupId": "a", "configuration": entry_point(pubnub())},
            {"groupId": "b", "configuration": entry_point(json!({"destination": "mqtt://h"}))},
            {"groupId": "c"},
        ],
        "credentials": [samples::pubnub("p")],
    });
    let fleet = Fleet::from_json("fleet.json", document.to_string()).unwrap();
    let fleet = fleet.with_pubnub_host(&"127.0.0.1:1884".parse().unwrap());
    let destinations: Vec<String> = fleet
        .groups()
        .filter_map(|group| group.entry_point.as_ref())
        .map(|entry_point| entry_point.destination.to_string())
        .collect();
    assert_eq!(destinations, ["mqtts://127.0.0.1:1884", "mqtt://h:1883"]);
}
