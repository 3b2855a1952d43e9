//! Tests of the way from a configuration object to a plan.

use super::*;
use crate::fleet::destination;
use crate::fleet::login::CredentialPlan;
use crate::fleet::samples;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::TopicRules;
use ringbeam_proto::template::Template;
use serde_json::json;

fn credentials() -> Credentials {
    samples::read(&json!([
        samples::x509("x", json!({})),
        samples::pubnub("p"),
        samples::azure("a"),
        samples::google("g", &samples::ec_key(), "ES256"),
    ]))
    .unwrap()
}

fn lines(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

fn read(value: &Value) -> Result<EntryPoint, Vec<String>> {
    EntryPoint::from_json(value, &credentials()).map_err(|problems| lines(&problems))
}

/// The plan of an entry point that is in order.
fn plan(value: &Value) -> EntryPoint {
    read(value).unwrap()
}

/// A plan that sends neither user name nor password.
fn no_credentials() -> Login {
    Login::Standard {
        credentials: CredentialPlan::Configured {
            username: None,
            password: None,
        },
        certificate: None,
    }
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
    let Login::Standard {
        credentials:
            CredentialPlan::Configured {
                username: Some(username),
                password: Some(password),
            },
        certificate: None,
    } = &entry_point.login
    else {
        panic!("{:?}", entry_point.login)
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
    assert_eq!(entry_point.login, no_credentials());
    assert!(!entry_point.renew_upstream);
    assert_eq!(entry_point.limits, LimitOverrides::default());
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
    // Without effect, the missing certificate is no problem either.
    let plan = plan(&json!({
        "destination": "mqtts://h", "useAzureIoT": true, "username": "u", "password": "p",
        "useClientCredentials": true, "useClientCert": true,
        "azureIoTCredential": {"$credentialsId": "a"},
    }));
    let reference = Template::compile("a");
    assert_eq!(plan.login, Login::AzureIot { reference });
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
            "destination: found \"mqtt://…@h\" (a user name before the host: it belongs into \
             \"username\"); accepted: {urls}"
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
    assert_eq!(
        read(&json!({"usePubnub": true})).unwrap_err(),
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
        let plan = plan(&value);
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
fn b_cfg_4_a_host_that_tls_cannot_name_is_refused() {
    let problems = read(&json!({"destination": "mqtts://broker.0x1"})).unwrap_err();
    assert_eq!(
        problems,
        [
            "destination: found \"broker.0x1\", which TLS takes for no name; \
          accepted: a host name or IP address that a certificate can be for"
        ]
    );
    // Without TLS nobody asks for it.
    read(&json!({"destination": "mqtt://broker.0x1"})).unwrap();
    for host in ["h", "h.", "127.0.0.1", "[::1]"] {
        let plan = plan(&json!({"destination": format!("mqtts://{host}")}));
        assert!(plan.destination.server_name().is_some(), "{host}");
    }
}

#[test]
fn b_aws_1_a_certificate_on_port_443_names_the_protocol() {
    let check = |destination: &str, certificate: bool, expected: Option<&[u8]>| {
        let plan = plan(&json!({
            "destination": destination, "useClientCert": certificate,
            "clientCerts": {"default": {"$credentialsId": "x"}},
        }));
        assert_eq!(plan.alpn(), expected, "{destination}");
    };
    check("mqtts://h:443", true, Some(b"x-amzn-mqtt-ca"));
    check("mqtts://h:443", false, None);
    check("mqtts://h:8883", true, None);
    check("mqtt://h:443", true, None);
    let azure = json!({"destination": "mqtts://h:443", "useAzureIoT": true,
                       "azureIoTCredential": {"$credentialsId": "a"}});
    assert_eq!(plan(&azure).alpn(), None);
}

#[test]
fn b_pn_1_pubnubs_host_is_the_configurations_unless_the_entry_point_names_one() {
    let host: PubnubHost = "127.0.0.1:1884".parse().unwrap();
    let check = |destination: Option<&str>, expected: &str| {
        let mut value = json!({"usePubnub": true, "pubnubCredential": {"$credentialsId": "p"}});
        if let Some(destination) = destination {
            value["destination"] = json!(destination);
        }
        let mut plan = plan(&value);
        plan.set_pubnub_host(&host);
        assert_eq!(plan.destination.to_string(), expected);
    };
    check(None, "mqtts://127.0.0.1:1884");
    check(Some("mqtts://h"), "mqtts://h:8883");
    let mut standard = plan(&json!({"destination": "mqtt://h"}));
    standard.set_pubnub_host(&host);
    assert_eq!(standard.destination.to_string(), "mqtt://h:1883");
}

#[test]
fn b_cred_1_every_reference_may_depend_on_the_sim() {
    let check = |switch: &str, reference: &str, value: Value| {
        let mut object = json!({"destination": "mqtts://h"});
        object[switch] = json!(true);
        object[reference] = value;
        let plan = plan(&object);
        assert!(plan.has_credential_per_sim(), "{switch}");
        let missing = plan.missing_credential(&credentials(), &identity());
        assert_eq!(missing.as_deref(), Some("c-440100000000001"), "{switch}");
    };
    let id = json!({"$credentialsId": "c-#{imsi}"});
    check("useClientCert", "clientCerts", json!({"default": id}));
    check("useAzureIoT", "azureIoTCredential", id.clone());
    check("useGoogleIoT", "googleIoTCredential", id.clone());
    check("usePubnub", "pubnubCredential", id);
}

#[test]
fn b_tok_1_renewal_is_switched_on_by_its_key() {
    let plan = plan(&json!({"destination": "mqtts://h", "renewUpstream": "true"}));
    assert!(plan.renew_upstream && plan.warnings.is_empty(), "{plan:?}");
}

#[test]
fn b_cfg_2_limits_that_are_written_stand_before_those_of_the_file() {
    let defaults = Limits {
        messages_per_second: 10,
        bytes_per_second: 1_000,
    };
    let check = |written: Value, messages_per_second, bytes_per_second| {
        let mut value = json!({"destination": "mqtt://h"});
        if !written.is_null() {
            value["ringbeamLimits"] = written;
        }
        let plan = plan(&value);
        let expected = Limits {
            messages_per_second,
            bytes_per_second,
        };
        assert_eq!(plan.limits(&defaults), expected, "{value}");
        assert!(plan.warnings.is_empty(), "{plan:?}");
    };
    check(Value::Null, 10, 1_000);
    check(json!({}), 10, 1_000);
    check(json!({"messagesPerSecond": 5}), 5, 1_000);
    check(json!({"bytesPerSecond": 5}), 10, 5);
    // 0 is no limit, whatever the file says.
    check(json!({"messagesPerSecond": 0}), 0, 1_000);
    check(json!({"messagesPerSecond": 0, "bytesPerSecond": 0}), 0, 0);
}

#[test]
fn what_has_no_effect_is_a_warning() {
    let entry_point = read(&json!({
        "destination": "mqtt://h:8883", "rewriteWill": true,
        "version": "201509",
        "useClientCredentials": true, "username": "u", "password": "hush",
    }))
    .unwrap();
    let Login::Standard { credentials, .. } = &entry_point.login else {
        panic!("{:?}", entry_point.login)
    };
    assert_eq!(*credentials, CredentialPlan::PassThrough);
    assert_eq!(
        entry_point.warnings,
        [
            "username, password: no effect while useClientCredentials is on",
            "rewriteWill: no effect, under 201509 wills are removed",
            "destination: port 8883 is MQTT over TLS as a rule, but mqtt:// is plain",
        ]
    );
    assert!(!format!("{entry_point:?}").contains("hush"));
}

#[test]
fn b_cfg_4_a_credential_that_cannot_be_used_is_refused_where_it_is_used() {
    let list = json!([{"credentialsId": "x509", "type": "x509",
                       "credentials": {"ca": "PEM", "cert": "PEM", "key": "PEM"}}]);
    let mut problems = Problems::default();
    let root = JsonPath::ROOT;
    let credentials = Credentials::read(&list, &root.key("credentials"), &mut problems);
    assert!(problems.is_empty());
    assert!(
        credentials
            .warnings()
            .any(|warning| warning.contains("credential \"x509\": unusable")
                && warning.contains("no PEM"))
    );
    let plain = json!({"destination": "mqtt://h"});
    EntryPoint::from_json(&plain, &credentials).unwrap();
    let used = json!({"destination": "mqtts://h", "useClientCert": true,
                      "clientCerts": {"default": {"$credentialsId": "x509"}}});
    // B-CRED-1: no SIM has this one, but one may have.
    let mut of_sims = used.clone();
    of_sims["clientCerts"]["default"]["$credentialsId"] = "x#{imsi}".into();
    assert_eq!(
        EntryPoint::from_json(&of_sims, &credentials)
            .unwrap_err()
            .len(),
        3
    );
    of_sims["clientCerts"]["default"]["$credentialsId"] = "y#{imsi}".into();
    EntryPoint::from_json(&of_sims, &credentials).unwrap();
    let refused = EntryPoint::from_json(&used, &credentials).unwrap_err();
    let paths: Vec<String> = refused.iter().map(ToString::to_string).collect();
    for key in ["ca", "cert", "key"] {
        let path = format!("credentials[0].credentials.{key}: found no PEM");
        assert!(
            paths.iter().any(|line| line.starts_with(&path)),
            "{paths:?}"
        );
    }
}
