//! Tests of the way from a configuration object to a plan.

use super::*;
use ringbeam_proto::platform::Platform;
use serde_json::json;

fn credentials() -> Credentials {
    let mut problems = Problems::default();
    let list = json!([
        {"credentialsId": "x", "type": "x509", "credentials": {"cert": "hush", "key": "hush"}},
        {"credentialsId": "p", "type": "pubnub-credentials",
         "credentials": {"pubKey": "hush", "subKey": "hush"}},
        {"credentialsId": "a", "type": "azureIoT-credentials",
         "credentials": {"sharedAccessKeyName": "hush", "sharedAccessKey": "hush"}},
    ]);
    let credentials = Credentials::read(&list, &JsonPath::ROOT, &mut problems);
    assert!(problems.is_empty());
    credentials
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn read(value: &Value) -> Result<EntryPoint, Vec<String>> {
    EntryPoint::from_json(value, &credentials()).map_err(|problems| lines(&problems))
}

/// The plan before TLS is refused.
fn resolve(value: &Value) -> (EntryPoint, Vec<String>) {
    let mut problems = Problems::default();
    let path = JsonPath::ROOT;
    let settings = Settings::read(value, &path, &mut problems).unwrap();
    let credentials = credentials();
    let reading = Reading {
        settings: &settings,
        path: &path,
        credentials: &credentials,
        problems: &mut problems,
    };
    let plan = reading.resolve().1.unwrap();
    (plan, lines(&problems.into_result(None::<()>).unwrap_err()))
}

fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: None,
    }
}

#[test]
fn a_whole_object_becomes_a_plan() {
    let entry_point = read(&json!({
        "name": "demo", "enabled": "true", "destination": "mqtt://broker.example/x",
        "username": "u-#{imsi}", "password": "p-#{imei}", "addSubscriberHeader": true,
        "replaceTopic": "true", "rewriteWill": true, "version": "201912",
    }))
    .unwrap();
    assert_eq!(entry_point.name, "demo");
    assert!(entry_point.enabled);
    assert_eq!(
        entry_point.destination.to_string(),
        "mqtt://broker.example:1883"
    );
    let topics = TopicRules {
        append_imsi: true,
        replace_placeholders: true,
        rewrite_will: true,
    };
    assert_eq!(
        entry_point.rules,
        Rules {
            platform: Platform::V201912,
            topics
        }
    );
    let CredentialPlan::Configured {
        username: Some(username),
        password: Some(password),
    } = &entry_point.credentials
    else {
        panic!("{:?}", entry_point.credentials)
    };
    // B-CON-2, B-TOP-3
    assert_eq!(username.render(&identity()), "u-440100000000001");
    assert_eq!(password.render(&identity()), "p-unknown-imei");
    assert_eq!(
        entry_point.warnings,
        ["destination: what follows host and port is ignored"]
    );
}

#[test]
fn b_cfg_2_what_is_omitted_is_at_its_default() {
    let entry_point = read(&json!({"destination": "mqtt://h"})).unwrap();
    assert_eq!(entry_point.name, "");
    assert!(!entry_point.enabled);
    assert_eq!(entry_point.rules, Rules::default());
    let none = CredentialPlan::Configured {
        username: None,
        password: None,
    };
    assert_eq!(entry_point.credentials, none);
    assert!(entry_point.warnings.is_empty());
}

#[test]
fn b_cfg_1_the_object_comes_back_in_one_spelling_with_unknown_keys() {
    let entry_point = read(&json!({
        "destination": "mqtt://h/a", "usePubNub": "false", "enabled": "true", "colour": {"a": [1]},
        "password": "", "username": "",
    }))
    .unwrap();
    assert_eq!(
        entry_point.to_json(),
        json!({
            "destination": "mqtt://h/a", "usePubnub": false, "enabled": true,
            "colour": {"a": [1]}, "password": "", "username": "",
        })
    );
    let again = read(&entry_point.to_json()).unwrap();
    assert_eq!(again.to_json(), entry_point.to_json());
    assert!(
        entry_point
            .warnings
            .iter()
            .any(|warning| warning.contains("\"colour\": unknown key"))
    );
}

#[test]
fn b_cfg_3_services_exclude_each_other_and_the_standard_keys() {
    let problems = read(&json!({
        "destination": "mqtt://h", "usePubnub": true, "useAzureIoT": true,
        "pubnubCredential": {"$credentialsId": "p"},
    }))
    .unwrap_err();
    assert_eq!(
        problems[0],
        "useAzureIoT: found usePubnub and useAzureIoT at once; \
         accepted: at most one of usePubnub, useGoogleIoT, useAzureIoT"
    );
    let (plan, problems) = resolve(&json!({
        "destination": "mqtts://h", "useAzureIoT": true, "username": "u", "password": "p",
        "useClientCredentials": true, "useClientCert": true,
        "azureIoTCredential": {"$credentialsId": "a"},
    }));
    // Without effect, the missing certificate is no problem either.
    assert!(problems.is_empty(), "{problems:?}");
    let none = CredentialPlan::Configured {
        username: None,
        password: None,
    };
    assert_eq!(plan.credentials, none);
    assert_eq!(
        plan.warnings,
        [
            "username: no effect while useAzureIoT is on",
            "password: no effect while useAzureIoT is on",
            "useClientCredentials: no effect while useAzureIoT is on",
            "useClientCert: no effect while useAzureIoT is on",
        ]
    );
}

#[test]
fn b_cfg_4_refusals_say_path_found_and_accepted() {
    let check = |value: Value, expected: &[&str]| {
        assert_eq!(read(&value).unwrap_err(), expected, "{value}");
    };
    let urls = destination::ACCEPTED;
    check(
        json!({}),
        &[&format!("destination: found nothing; accepted: {urls}")],
    );
    check(
        json!({"destination": 5}),
        &["destination: found the number 5; accepted: a string"],
    );
    check(
        json!({"destination": "http://h"}),
        &[&format!(
            "destination: found \"http://h\" (a scheme that is neither mqtt:// nor mqtts://); \
             accepted: {urls}"
        )],
    );
    check(
        json!({"destination": "mqtt://u:hush@h"}),
        &[&format!(
            "destination: found a user name before the host: it belongs into \"username\"; \
             accepted: {urls}"
        )],
    );
    check(
        json!({"destination": "mqtt://h", "password": "hush"}),
        &["username: found nothing beside a password; accepted: a user name, or no password"],
    );
    check(
        json!({"destination": "mqtt://h", "password": "hush", "username": 5}),
        &["username: found the number 5; accepted: a string"],
    );
    check(
        json!({"destination": "mqtt://h", "username": "a\u{0}b"}),
        &["username: found a NUL character; accepted: text without it"],
    );
    check(
        json!({"destination": "mqtt://h", "username": "#{imei}".repeat(4096)}),
        &[
            "username: found 65536 bytes with its placeholders replaced; \
           accepted: at most 65535 bytes",
        ],
    );
    check(
        json!({"destination": "mqtt://h", "version": "201911", "enabled": "maybe"}),
        &[
            "enabled: found \"maybe\"; accepted: true or false",
            "version: found \"201911\"; accepted: \"201912\" or \"201509\"",
        ],
    );
}

#[test]
fn b_cfg_4_credentials_in_use_must_exist_and_fit() {
    let path = "clientCerts.default.$credentialsId";
    let accepted = "accepted: the id of a credential of type x509";
    let check = |reference: Value, expected: &[String]| {
        let mut value = json!({"destination": "mqtt://h", "useClientCert": true});
        value["clientCerts"] = reference;
        let found = read(&value).err().unwrap_or_default();
        assert_eq!(found, expected, "{value}");
    };
    check(json!({"default": {"$credentialsId": "x"}}), &[]);
    // B-CRED-1
    check(json!({"default": {"$credentialsId": "x-#{imsi}"}}), &[]);
    check(json!({}), &[format!("{path}: found nothing; {accepted}")]);
    check(
        json!({"default": {"$credentialsId": "y"}}),
        &[format!(
            "{path}: found \"y\", which is not in credentials; {accepted}"
        )],
    );
    check(
        json!({"default": {"$credentialsId": "p"}}),
        &[format!(
            "{path}: found \"p\", of type pubnub-credentials; {accepted}"
        )],
    );
    check(
        json!("x"),
        &[
            "clientCerts: found \"x\"; accepted: {\"default\": {\"$credentialsId\": \"an id\"}}"
                .to_owned(),
        ],
    );
    let (_, problems) = resolve(&json!({"usePubnub": true}));
    assert_eq!(
        problems,
        ["pubnubCredential.$credentialsId: found nothing; \
          accepted: the id of a credential of type pubnub-credentials"]
    );
    // What is not in use is not looked up.
    let idle = json!({"destination": "mqtt://h", "pubnubCredential": {"$credentialsId": "none"}});
    read(&idle).unwrap();
}

#[test]
fn b_ver_4_and_b_dst_1_say_when_a_destination_is_tls() {
    let check = |value: Value, expected: &str, warned: &str| {
        let (plan, problems) = resolve(&value);
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(plan.destination.to_string(), expected, "{value}");
        assert_eq!(plan.warnings.join(" "), warned, "{value}");
    };
    let with = |version: &str, destination: &str| {
        json!({
            "destination": destination, "version": version, "useClientCert": true,
            "clientCerts": {"default": {"$credentialsId": "x"}},
        })
    };
    let unused = "useClientCert: the client certificate is unused over mqtt:// under 201912";
    check(with("201912", "mqtt://h"), "mqtt://h:1883", unused);
    check(with("201912", "mqtts://h"), "mqtts://h:8883", "");
    check(with("201509", "mqtt://h"), "mqtts://h:8883", "");
    check(with("201509", "mqtt://h:99"), "mqtts://h:99", "");
    let azure = json!({
        "destination": "mqtt://hub.example", "useAzureIoT": true,
        "azureIoTCredential": {"$credentialsId": "a"},
    });
    let warned = "destination: mqtt:// is used as mqtts://, as useAzureIoT requires";
    check(azure, "mqtts://hub.example:8883", warned);
    let pubnub = json!({"usePubnum": true, "pubnubCredential": {"$credentialsId": "p"}});
    check(pubnub, "mqtts://mqtt.pndsn.com:8883", "");
}

#[test]
fn what_needs_tls_is_refused_as_not_in_this_version() {
    let check = |value: Value, expected: &str| {
        let problems = read(&value).unwrap_err();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with(expected), "{problems:?}");
        assert!(problems[0].contains("not in this version"), "{problems:?}");
    };
    check(
        json!({"destination": "mqtts://h"}),
        "destination: found \"mqtts://h:8883\"",
    );
    let pubnub = json!({"usePubnum": true, "pubnubCredential": {"$credentialsId": "p"}});
    check(pubnub, "usePubnub: found true");
    let certificate = json!({
        "destination": "mqtt://h", "version": "201509", "useClientCert": true,
        "clientCerts": {"default": {"$credentialsId": "x"}},
    });
    check(certificate, "useClientCert: found true");
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let entry_point = read(&json!({
        "destination": "mqtt://h:8883", "renewUpstream": true, "rewriteWill": true,
        "ringbeamLimits": {"messagesPerSecond": 5}, "version": "201509",
        "useClientCredentials": true, "username": "u", "password": "hush",
    }))
    .unwrap();
    assert_eq!(entry_point.credentials, CredentialPlan::PassThrough);
    assert_eq!(
        entry_point.warnings,
        [
            "username, password: no effect while useClientCredentials is on",
            "renewUpstream: not in this version, has no effect yet",
            "ringbeamLimits: not in this version, has no effect yet",
            "rewriteWill: no effect, under 201509 wills are removed",
            "destination: port 8883 is MQTT over TLS as a rule, but mqtt:// is plain",
        ]
    );
    assert!(!format!("{entry_point:?}").contains("hush"));
}
