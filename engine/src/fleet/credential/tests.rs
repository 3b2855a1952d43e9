//! Tests of credentials: what is accepted, what is refused and how, and that nothing shows a secret.

mod google;
mod x509;

use super::samples::{azure, certificate, ec_key, google, pubnub, read, username_password, x509};
use super::*;
use serde_json::json;

fn one(element: Value) -> Arc<Credential> {
    let credentials = read(&json!([element])).unwrap();
    Arc::clone(credentials.sorted()[0])
}

/// The problems of one credential, each after `credentials[0].credentials.`.
fn problems(element: Value) -> Vec<String> {
    let problems = read(&json!([element])).unwrap_err();
    let path = "credentials[0].credentials.";
    problems
        .iter()
        .map(|line| line.strip_prefix(path).unwrap_or(line).to_owned())
        .collect()
}

#[test]
fn every_kind_is_read_and_no_secret_is_shown() {
    let list = json!([
        x509("a", json!({})),
        x509("b", json!({"ca": certificate("root").0})),
        azure("c"),
        google("d", &ec_key(), "ES256"),
        pubnub("e"),
        username_password("f"),
    ]);
    let credentials = read(&list).unwrap();
    assert_eq!(credentials.len(), 6);
    assert!(!credentials.is_empty());
    let kinds: Vec<CredentialKind> = credentials.sorted().iter().map(|c| c.kind()).collect();
    assert_eq!(kinds[0], CredentialKind::X509);
    assert_eq!(kinds[1..], CredentialKind::ALL);
    assert_eq!(
        credentials.find("b").unwrap().x509().unwrap().roots.len(),
        1
    );
    assert!(credentials.find("g").is_none());
    let mut shown = format!("{credentials:?}");
    for credential in credentials.sorted() {
        shown += &format!("{:?}", credential.content);
    }
    assert!(
        !shown.contains("hush") && !shown.contains("BEGIN"),
        "{shown}"
    );
    // What came in can be given back.
    for (credential, element) in credentials
        .sorted()
        .into_iter()
        .zip(list.as_array().unwrap())
    {
        assert_eq!(credential.to_json(), element);
    }
}

#[test]
fn b_cfg_4_credentials_that_do_not_hold_are_refused_without_showing_them() {
    let problems = read(&json!([
        {"credentialsId": "a", "type": "x509", "credentials": {"cert": "hush", "key": 5}},
        {"credentialsId": "a", "type": "psk", "credentials": {"key": "hush"}},
        {"type": "pubnub-credentials", "credentials": "hush"},
        "hush",
        username_password("b"),
        {"credentialsId": "b", "type": "pubnub-credentials",
         "credentials": {"pubKey": "hush", "subKey": "hush"}},
    ]))
    .unwrap_err();
    let kinds = "x509, azureIoT-credentials, googleIoT-credentials, pubnub-credentials, \
                 username-password-credentials";
    assert_eq!(
        problems,
        [
            "credentials[0].credentials.key: found a number; accepted: a string".to_owned(),
            format!("credentials[1].type: found \"psk\"; accepted: {kinds}"),
            "credentials[2].credentialsId: found nothing; accepted: an id".to_owned(),
            "credentials[2].credentials: found a string; accepted: an object".to_owned(),
            "credentials[3]: found a string; accepted: an object".to_owned(),
            "credentials[5].credentialsId: found \"b\", which stands above already; \
             accepted: an id of its own for each credential"
                .to_owned(),
        ]
    );
}

/// One row for each text that a credential may be wrong in.
#[test]
fn b_cfg_4_every_bad_field_is_named() {
    let check = |mut element: Value, field: &str, value: Value, expected: &str| {
        element["credentials"][field] = value;
        let found = problems(element);
        assert_eq!(found, [format!("{field}: found {expected}")]);
    };
    let text = "accepted: a string that is not empty";
    for field in ["pubKey", "subKey"] {
        check(
            pubnub("a"),
            field,
            json!(""),
            &format!("an empty string; {text}"),
        );
        check(
            pubnub("a"),
            field,
            json!(["hush"]),
            "a list; accepted: a string",
        );
        check(
            pubnub("a"),
            field,
            json!("hush\0"),
            "a NUL character; accepted: text without it",
        );
    }
    for field in ["username", "password"] {
        check(
            username_password("a"),
            field,
            json!(""),
            &format!("an empty string; {text}"),
        );
    }
    let key = "text that is no base64; accepted: a key in base64";
    for wrong in ["hush!", "aHVzaA", "aHVz aA=="] {
        check(azure("a"), "sharedAccessKey", json!(wrong), key);
    }
    check(
        azure("a"),
        "sharedAccessKeyName",
        json!(5),
        "a number; accepted: a string",
    );
    let good = google("a", &ec_key(), "ES256");
    for field in ["projectId", "region", "registryId", "deviceId"] {
        check(good.clone(), field, json!(null), "null; accepted: a string");
        check(
            good.clone(),
            field,
            json!("hush\0"),
            "a NUL character; accepted: text without it",
        );
    }
    let accepted = "accepted: \"RS256\" or \"ES256\"";
    check(
        good.clone(),
        "algorithm",
        json!("hush"),
        &format!("another algorithm; {accepted}"),
    );
    let mut without = good;
    without["credentials"]
        .as_object_mut()
        .unwrap()
        .remove("privateKey");
    assert_eq!(
        problems(without),
        ["privateKey: found nothing; accepted: a string"]
    );
}
