//! Tests of Google's signing keys and tokens.

use super::*;
use crate::fleet::login::Validity;
use crate::fleet::samples::{openssl_text, rsa_key};
use ringbeam_proto::identity::Identity;

fn identity() -> Identity {
    Identity {
        imsi: "440100000000001".parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: None,
    }
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
