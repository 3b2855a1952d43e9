//! Tests of credentials: what is accepted, what is refused and how, and that nothing shows a secret.

use super::samples::*;
use super::*;
use ringbeam_proto::identity::Identity;
use serde_json::json;

use crate::fleet::login::Validity;

const CERT: &str = "a certificate in PEM, with its chain behind it";
const KEY: &str = "a private key in PEM without a passphrase: RSA, ECDSA or Ed25519";

fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: None,
    }
}

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
        let json: Value = serde_json::from_str(credential.to_json()).unwrap();
        assert_eq!(json, *element);
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

#[test]
fn b_gcp_1_keys_of_every_form_are_read_and_those_of_another_kind_refused() {
    let (rsa, ec) = (rsa_key(), ec_key());
    let pkcs1 = openssl_text(&["rsa", "-traditional"], rsa.as_bytes());
    let ec_pkcs8 = openssl_text(&["pkcs8", "-topk8", "-nocrypt"], ec.as_bytes());
    assert!(pkcs1.contains("BEGIN RSA PRIVATE KEY") && ec.contains("BEGIN EC PRIVATE KEY"));
    for (key, algorithm) in [
        (&rsa, "RS256"),
        (&pkcs1, "RS256"),
        (&ec, "ES256"),
        (&ec_pkcs8, "ES256"),
    ] {
        assert_eq!(
            one(google("a", key, algorithm)).kind(),
            CredentialKind::GoogleIot
        );
    }
    let check = |key: &str, algorithm: &str, found: &str| {
        let problems = problems(google("a", key, algorithm));
        let start = format!("privateKey: found {found}; accepted: for {algorithm} an ");
        assert!(
            problems.len() == 1 && problems[0].starts_with(&start),
            "{problems:?}"
        );
    };
    let other = "a key of another kind";
    check(&rsa, "ES256", other);
    check(&pkcs1, "ES256", other);
    check(&ec, "RS256", other);
    check(&ec_pkcs8, "RS256", other);
    let p384 = openssl_text(&["ecparam", "-name", "secp384r1", "-genkey"], b"");
    check(&p384, "ES256", other);
    let short = openssl_text(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:1024",
        ],
        b"",
    );
    check(&short, "RS256", other);
    check("hush", "RS256", "no PEM");
    check(&certificate("a").0, "RS256", "PEM without a private key");
    let locked = openssl_text(
        &["pkcs8", "-topk8", "-passout", "pass:hush"],
        rsa.as_bytes(),
    );
    check(
        &locked,
        "RS256",
        "a key that is encrypted with a passphrase",
    );
}

#[test]
fn b_cfg_4_certificates_and_keys_that_do_not_fit_are_refused() {
    let (cert, key) = certificate("one");
    let (other_cert, other_key) = certificate("two");
    let check = |cert: &str, key: &str, expected: &[String]| {
        let fields = json!({"cert": cert, "key": key});
        let found = problems(json!({"credentialsId": "a", "type": "x509", "credentials": fields}));
        assert_eq!(found, expected);
    };
    let bad_cert = |found: &str| format!("cert: found {found}; accepted: {CERT}");
    let bad_key = |found: &str| format!("key: found {found}; accepted: {KEY}");
    let of_first = "accepted: the private key of the first certificate in cert";
    check("hush", &key, &[bad_cert("no PEM")]);
    check(&key, &key, &[bad_cert("PEM without a certificate")]);
    check("hush", "hush", &[bad_cert("no PEM"), bad_key("no PEM")]);
    check(&cert, "hush", &[bad_key("no PEM")]);
    check(&cert, &cert, &[bad_key("PEM without a private key")]);
    check(
        &cert,
        &other_key,
        &[format!(
            "key: found a key that does not belong to the first certificate; {of_first}"
        )],
    );
    check(
        &format!("{other_cert}{cert}"),
        &key,
        &[format!(
            "key: found the key of certificate 2 in cert: the chain is in the wrong order, the key's \
             certificate comes first; {of_first}"
        )],
    );
    let check = |field: &str, value: Value, expected: &str| {
        let found = problems(x509("a", json!({field: value})));
        assert_eq!(found, [format!("{field}: found {expected}")]);
    };
    check(
        "ca",
        json!("hush"),
        "no PEM; accepted: root certificates in PEM",
    );
    check("ca", json!(5), "a number; accepted: a string");
    check(
        "ca",
        json!(""),
        "an empty string; accepted: a string that is not empty",
    );
    check(
        "insecureSkipVerify",
        json!("hush"),
        "another text; accepted: true or false",
    );
    check(
        "insecureSkipVerify",
        json!(1),
        "a number; accepted: true or false",
    );
}

#[test]
fn certificates_of_every_key_kind_are_read() {
    for algorithm in [
        &["rsa:2048"][..],
        &["ed25519"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ] {
        let both = openssl_text(
            &[
                &[
                    "req",
                    "-x509",
                    "-batch",
                    "-nodes",
                    "-subj",
                    "/CN=device",
                    "-keyout",
                    "-",
                    "-newkey",
                ],
                algorithm,
            ]
            .concat(),
            b"",
        );
        let fields = json!({"cert": both, "key": both});
        let credential = one(json!({"credentialsId": "a", "type": "x509", "credentials": fields}));
        assert_eq!(credential.x509().unwrap().subject, "\"CN=device\"");
    }
}

#[test]
fn the_fingerprint_tells_everything_apart_that_matters() {
    let base = x509("a", json!({}));
    let with = |field: &str, value: Value| {
        let mut changed = base.clone();
        changed["credentials"][field] = value;
        one(changed).x509().unwrap().fingerprint
    };
    let mut seen = vec![
        one(base.clone()).x509().unwrap().fingerprint,
        one(x509("a", json!({}))).x509().unwrap().fingerprint,
        with("ca", json!(certificate("root").0)),
        with("insecureSkipVerify", json!("true")),
    ];
    // What is at its default anyway changes nothing.
    assert_eq!(with("insecureSkipVerify", json!(false)), seen[0]);
    assert_eq!(with("ca", json!(null)), seen[0]);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 4);
}

#[test]
fn certificates_that_end_soon_and_brokers_that_nobody_checks_are_warned_of() {
    let list = json!([
        x509("b", json!({"insecureSkipVerify": true})),
        x509("a", json!({})),
        pubnub("c")
    ]);
    let credentials = read(&list).unwrap();
    assert_eq!(
        credentials.warnings().collect::<Vec<_>>(),
        [
            "credential \"b\": insecureSkipVerify is on: NOBODY CHECKS WHO THE BROKER IS, anyone on the way can \
          read and change everything; for tests alone"
        ]
    );
    let certificate = credentials.find("a").unwrap();
    let certificate = certificate.x509().unwrap();
    assert_eq!(certificate.expires_unix_seconds, EXPIRES_UNIX_SECONDS);
    let check = |now: u64, expected: Option<&str>| {
        assert_eq!(
            certificate.expiry_warning(now).as_deref(),
            expected,
            "{now}"
        );
    };
    let day = 86_400;
    check(EXPIRES_UNIX_SECONDS - 30 * day, None);
    check(
        EXPIRES_UNIX_SECONDS - 30 * day + 1,
        Some("its certificate expires soon, on Jan  1 00:00:00 2031 +00:00"),
    );
    check(
        EXPIRES_UNIX_SECONDS,
        Some("its certificate expires soon, on Jan  1 00:00:00 2031 +00:00"),
    );
    check(
        EXPIRES_UNIX_SECONDS + 1,
        Some("its certificate expired on Jan  1 00:00:00 2031 +00:00"),
    );
    let warnings = credentials.expiry_warnings(EXPIRES_UNIX_SECONDS + 1);
    assert_eq!(warnings.len(), 2);
    assert!(
        warnings[0].starts_with("credential \"a\": its certificate expired"),
        "{warnings:?}"
    );
    assert!(credentials.expiry_warnings(0).is_empty());
}

#[test]
fn b_gcp_1_one_keys_tokens_are_used_again_for_a_sixtieth_of_their_life() {
    let credential = one(google("a", &ec_key(), "ES256"));
    let Content::GoogleIot(google) = &credential.content else {
        panic!("{credential:?}")
    };
    let at = |issued_unix_seconds, lifetime_seconds| {
        let validity = Validity {
            issued_unix_seconds,
            lifetime_seconds,
        };
        google.token(validity).unwrap().validity.issued_unix_seconds
    };
    assert_eq!(at(1000, 3600), 1000);
    assert_eq!(at(1060, 3600), 1000);
    assert_eq!(at(1061, 3600), 1061);
    // A clock that was set back, another lifetime, a short one.
    assert_eq!(at(1060, 3600), 1060);
    assert_eq!(at(1060, 5), 1060);
    assert_eq!(at(1061, 5), 1061);
    assert_eq!(
        google.client_id(&identity()),
        "projects/p/locations/r/registries/g/devices/d-440100000000001"
    );
}
