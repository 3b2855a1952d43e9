//! Tests of client certificates.

use super::*;
use crate::fleet::samples::{EXPIRES_UNIX_SECONDS, openssl_text};

const CERT: &str = "a certificate in PEM, with its chain behind it";
const KEY: &str = "a private key in PEM without a passphrase: RSA, ECDSA or Ed25519";

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
fn certificates_of_version_1_and_empty_fields_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let key = ec_key();
    let file = folder.path().join("key");
    std::fs::write(&file, &key).unwrap();
    let file = file.to_str().unwrap();
    let request = openssl_text(&["req", "-new", "-key", file, "-subj", "/CN=old"], b"");
    let sign = ["x509", "-req", "-signkey", file];
    let certificate = openssl_text(&sign, request.as_bytes());
    let shown = openssl_text(&["x509", "-noout", "-text"], certificate.as_bytes());
    assert!(shown.contains("Version: 1"), "{shown}");
    let fields = json!({ "cert": certificate, "key": key, "ca": "" });
    let credential = one(x509("a", fields));
    assert!(credential.x509().unwrap().subject.contains("old"));
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
    // One text, but cut elsewhere.
    let mut cut = base.clone();
    let text = |name: &str| base["credentials"][name].as_str().unwrap().to_owned();
    cut["credentials"]["cert"] = json!(text("cert") + "\n");
    seen.push(one(cut.clone()).x509().unwrap().fingerprint);
    cut["credentials"]["cert"] = json!(text("cert"));
    cut["credentials"]["key"] = json!("\n".to_owned() + &text("key"));
    seen.push(one(cut).x509().unwrap().fingerprint);
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 6);
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
