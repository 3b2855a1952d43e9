//! Tests of what `ringbeam explain` answers.

mod destinations;

use super::*;
use serde_json::{Value, json};
use std::path::Path;

fn config() -> Config {
    let toml = "listener = [{ address = \"127.0.0.1:1883\" }, \
                { network = \"apn\", address = \"127.0.0.1:1884\" }]
                limits = { bytes_per_second = 1000 }";
    Config::from_toml(toml, Path::new("ringbeam.toml")).unwrap()
}

fn fleet() -> Fleet {
    let entry_point = |value: Value| json!({"SoracomBeam": {"mqtt://beam.soracom.io:1883": value}});
    let document = json!({
        "groups": [
            {"groupId": "new", "tags": {"name": "Sensors"}, "configuration": entry_point(json!({
                "name": "demo", "enabled": true, "destination": "mqtt://broker.example",
                "username": "u-#{imsi}-#{imei}", "password": "hush", "addSubscriberHeader": true,
                "replaceTopic": "true", "rewriteWill": true, "colour": "hush-hush"}))},
            {"groupId": "old", "configuration": entry_point(json!({
                "enabled": true, "destination": "mqtt://broker.example", "version": "201509",
                "useClientCredentials": true,
                "ringbeamLimits": {"messagesPerSecond": 5, "bytesPerSecond": 0}}))},
            {"groupId": "off", "configuration": entry_point(json!({
                "destination": "mqtt://broker.example"}))},
            {"groupId": "empty"},
        ],
        "sims": [
            {"simId": "1", "imsi": "440100000000001", "imei": "353456789012348",
             "groupId": "new", "ips": ["10.0.0.1", "2001:db8::/64"]},
            {"simId": "2", "imsi": "440100000000002", "groupId": "old", "ip": "10.0.0.2"},
            {"simId": "3", "imsi": "440100000000003", "groupId": "off", "ip": "10.0.0.3"},
            {"simId": "4", "imsi": "440100000000004", "groupId": "empty", "ip": "10.0.0.4"},
            {"simId": "5", "imsi": "440100000000005", "ip": "10.0.0.5"},
            {"simId": "6", "imsi": "440100000000006", "network": "apn", "ip": "10.0.0.1"},
            {"simId": "7", "imsi": "440100000000007", "network": "dark"},
        ],
        "simRanges": [{"cidr": "10.1.0.0/16", "imsiBase": "440100000100000", "simIdBase": "100000",
                       "groupId": "new"}],
    });
    Fleet::from_json("fleet.json", document.to_string()).unwrap()
}

fn ask(subject: &str, network: Option<&str>) -> Result<String, String> {
    let subject = match subject.parse() {
        Ok(address) => Subject::Address(address),
        Err(_) => Subject::Imsi(subject.parse().unwrap()),
    };
    explain(
        &config(),
        &fleet(),
        &Query {
            subject,
            network: network.map(str::to_owned),
        },
    )
}

#[test]
fn a_served_sim_is_explained_to_the_end() {
    let expected = "\
SIM           1
IMSI          440100000000001
IMEI          353456789012348
address       10.0.0.1
network       default
group         new (Sensors)
entry point   \"demo\", enabled
CONNECT       goes on to the destination
version       201912
              upstream speaks the device's MQTT version: 3.1, 3.1.1 or 5
              QoS 0, 1 and 2 pass unchanged, as the upstream supports them
              with a client certificate the destination's own protocol is kept
destination   mqtt://broker.example:1883 (MQTT over TCP)
client id     the device's own, unchanged
user name     u-440100000000001-353456789012348
password      ********
PUBLISH       sensors/{{imsi}}/temp goes on as sensors/440100000000001/temp/440100000000001
SUBSCRIBE     sensors/{{imsi}}/temp goes on as sensors/440100000000001/temp
will          passes; topic sensors/{{imsi}}/temp goes on as \
sensors/440100000000001/temp/440100000000001
keep alive    0, or 5 to 1200 seconds
              anything else: CONNACK 5 (MQTT 5: 0x87)
unavailable   a close without CONNACK
limits        1000 bytes/s
configuration
  name                  set      \"demo\"
  enabled               set      true
  destination           set      \"mqtt://broker.example\"
  username              set      \"u-#{imsi}-#{imei}\"
  password              set      ********
  useClientCredentials  default  false
  useClientCert         default  false
  clientCerts           default  absent
  usePubnub             default  false
  pubnubCredential      default  absent
  useGoogleIoT          default  false
  googleIoTCredential   default  absent
  useAzureIoT           default  false
  azureIoTCredential    default  absent
  addSubscriberHeader   set      true
  replaceTopic          set      true
  version               default  \"201912\"
  rewriteWill           set      true
  renewUpstream         default  false
  ringbeamLimits        default  absent
  whenUnavailable       default  \"close\"
  colour                set      unknown key, kept without effect
warning       \"colour\": unknown key, kept without effect";
    let answer = ask("10.0.0.1", Some("default")).unwrap();
    assert_eq!(
        answer.lines().collect::<Vec<_>>(),
        expected.lines().collect::<Vec<_>>()
    );
}

#[test]
fn b_id_2_refusals_are_named_with_their_codes() {
    let refused = "CONNECT       refused with CONNACK 5 (MQTT 5: 0x87): ";
    let check = |subject: &str, why: &str| {
        let answer = ask(subject, None).unwrap();
        assert!(answer.contains(&format!("{refused}{why}")), "{answer}");
    };
    check("10.9.9.9", "no SIM has the address");
    check("440109999999999", "no SIM has the address");
    check("10.0.0.5", "the SIM is in no group");
    check("10.0.0.4", "the group has no entry point");
    check("10.0.0.3", "the entry point is disabled");
    // What it would do is still said.
    assert!(
        ask("10.0.0.3", None)
            .unwrap()
            .contains("destination   mqtt://broker.example:1883")
    );
}

#[test]
fn the_older_version_and_pass_through_are_explained() {
    let answer = ask("440100000000002", None).unwrap();
    for line in [
        "IMEI          unknown-imei",
        "address       10.0.0.2",
        "version       201509",
        "              upstream is MQTT 3.1.1 always; an MQTT 5 device is refused with CONNACK 1 of 3.1.1",
        "user name     the device's own, unchanged",
        "password      the device's own, unchanged",
        "PUBLISH       sensors/{{imsi}}/temp goes on as sensors/{{imsi}}/temp",
        "will          removed",
        "limits        5 messages/s\n",
        "  ringbeamLimits        set      {\"bytesPerSecond\":0,\"messagesPerSecond\":5}",
    ] {
        assert!(answer.contains(line), "{line}\n{answer}");
    }
}

#[test]
fn b_id_3_networks_are_told_apart() {
    let answer = ask("10.0.0.1", None).unwrap();
    assert_eq!(answer.matches("SIM           ").count(), 2, "{answer}");
    let answer = ask("10.0.0.1", Some("apn")).unwrap();
    assert!(answer.contains("IMSI          440100000000006"), "{answer}");
    assert_eq!(answer.matches("SIM           ").count(), 1, "{answer}");
    assert!(
        ask("440100000000001", Some("apn"))
            .unwrap()
            .contains("none has this IMSI")
    );
    let error = ask("10.0.0.1", Some("none")).unwrap_err();
    assert_eq!(error, "no network \"none\"; there are: apn, dark, default");
    let answer = ask("440100000000007", None).unwrap();
    assert!(
        answer.contains("address       none: it cannot connect"),
        "{answer}"
    );
    assert!(
        answer.contains("network       dark, which no listener serves"),
        "{answer}"
    );
}

#[test]
fn b_id_1_addresses_of_every_form_find_their_sim() {
    let check = |subject: &str, imsi: &str, address: &str| {
        let answer = ask(subject, Some("default")).unwrap();
        assert!(
            answer.contains(&format!("IMSI          {imsi}\n")),
            "{answer}"
        );
        assert!(
            answer.contains(&format!("address       {address}\n")),
            "{answer}"
        );
    };
    check("::ffff:10.0.0.1", "440100000000001", "10.0.0.1");
    check("2001:db8::5", "440100000000001", "2001:db8::5");
    check(
        "440100000000001",
        "440100000000001",
        "10.0.0.1, 2001:db8::/64",
    );
    check("10.1.0.7", "440100000100007", "10.1.0.7");
    check("440100000100007", "440100000100007", "10.1.0.7");
}

#[test]
fn nothing_shows_a_secret() {
    for subject in ["10.0.0.1", "440100000000001", "440100000100007"] {
        assert!(!ask(subject, None).unwrap().contains("hush"));
    }
}
