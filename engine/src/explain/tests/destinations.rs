//! Tests of what `ringbeam explain` says of each kind of destination.

use super::*;
use crate::fleet::samples;

/// The answer for SIM 440100000000001 with this entry point.
fn answer(entry_point: &Value) -> String {
    let mut object = entry_point.clone();
    object["enabled"] = json!(true);
    let root = samples::certificate("root").0;
    let document = json!({
        "groups": [{"groupId": "g", "configuration":
            {"SoracomBeam": {"mqtt://beam.soracom.io:1883": object}}}],
        "credentials": [
            samples::x509("x-440100000000001", json!({"ca": root})),
            samples::x509("unchecked", json!({"insecureSkipVerify": true})),
            samples::azure("a"), samples::pubnub("p"),
            samples::google("g", &samples::ec_key(), "ES256"),
        ],
        "sims": [{"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"}],
    });
    let toml =
        "listener = [{ address = \"127.0.0.1:1883\" }]\n[upstream]\ntoken_lifetime_seconds = 90";
    let config = Config::from_toml(toml, Path::new("ringbeam.toml")).unwrap();
    let fleet = Fleet::from_json("fleet.json", document.to_string()).unwrap();
    let query = Query {
        subject: Subject::Address("10.0.0.1".parse().unwrap()),
        network: None,
    };
    let text = explain(&config, &fleet, &query).unwrap();
    // No secret, and no token, which would hold one's signature.
    for secret in ["hush", "BEGIN", "sig=", "eyJ"] {
        assert!(!text.contains(secret), "{text}");
    }
    text
}

fn check(entry_point: &Value, expected: &[&str]) {
    let text = answer(entry_point);
    for line in expected {
        assert!(text.contains(&format!("\n{line}\n")), "{line}\n{text}");
    }
}

#[test]
fn b_az_1_azures_login_is_explained() {
    let azure = json!({"destination": "mqtts://hub.azure-devices.net.", "useAzureIoT": true,
                       "azureIoTCredential": {"$credentialsId": "a"}});
    check(
        &azure,
        &[
            "CONNECT       goes on to the destination",
            "destination   mqtts://hub.azure-devices.net.:8883 (MQTT over TLS)",
            "TLS name      hub.azure-devices.net",
            "client id     the device's own, unchanged",
            "user name     hub.azure-devices.net/{client id}/?api-version=2021-04-12",
            "password      a shared access signature (HMAC-SHA256), good for 90 seconds",
            "certificate   none",
        ],
    );
    let warning =
        "warning       Azure IoT Hub supports neither QoS 2 nor retained messages, nor MQTT 3.1";
    assert_eq!(answer(&azure).matches(warning).count(), 1);
}

#[test]
fn b_gcp_1_and_b_pn_1_other_clouds_are_explained() {
    check(
        &json!({"destination": "mqtts://h", "useGoogleIoT": true,
                "googleIoTCredential": {"$credentialsId": "g"}}),
        &[
            "client id     projects/p/locations/r/registries/g/devices/d-440100000000001",
            "user name     unused",
            "password      a JSON Web Token, good for 90 seconds",
        ],
    );
    check(
        &json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}}),
        &[
            "destination   mqtts://mqtt.pndsn.com:8883 (MQTT over TLS)",
            "client id     ********/********/{client id}",
            "user name     none; the device's own stays here",
            "password      none; the device's own stays here",
        ],
    );
}

#[test]
fn b_aws_1_certificates_are_explained() {
    let with = |id: &str| {
        json!({"destination": "mqtts://a.iot.eu-central-1.amazonaws.com:443", "useClientCert": true,
               "clientCerts": {"default": {"$credentialsId": id}}})
    };
    let certificate = "\"CN=device\", expires Jan  1 00:00:00 2031 +00:00";
    check(
        &with("x-#{imsi}"),
        &[
            "TLS name      a.iot.eu-central-1.amazonaws.com",
            "ALPN          x-amzn-mqtt-ca",
            &format!("certificate   \"x-440100000000001\": {certificate}"),
            "              the broker's own is checked against the usual roots and 1 of the credential",
        ],
    );
    check(
        &with("unchecked"),
        &["              the broker's own is NOT CHECKED (insecureSkipVerify)"],
    );
    // B-CRED-1, B-CFG-4
    for (manner, look) in [
        ("close", "a close without CONNACK"),
        ("connack", "CONNACK 3 (MQTT 5: 0x88)"),
    ] {
        let mut missing = with("y-#{imsi}");
        missing["whenUnavailable"] = manner.into();
        check(
            &missing,
            &[
                &format!("CONNECT       refused with {look}: the SIM's credential is not there"),
                &format!("unavailable   {look}"),
                "credential    \"y-440100000000001\" is needed; it is not there, or of another type",
            ],
        );
    }
}
