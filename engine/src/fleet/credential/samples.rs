//! Credentials for tests. Keys are made by `openssl`, certificates by rcgen: nothing here was written by the
//! code under test.

use std::io::Write as _;
use std::process::{Command, Stdio};

use rcgen::{CertificateParams, DnType, KeyPair, date_time_ymd};
use serde_json::{Value, json};

use super::Credentials;
use crate::fleet::json::JsonPath;
use crate::problem::Problems;

/// 2031-01-01 00:00:00 UTC, when [`certificate`] ends.
pub(crate) const EXPIRES_UNIX_SECONDS: u64 = 1_924_992_000;

/// A certificate and its key, both PEM.
pub(crate) fn certificate(name: &str) -> (String, String) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2031, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    (certificate.pem(), key.serialize_pem())
}

/// What `openssl` answers.
pub(crate) fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}

/// The same, where it is text.
pub(crate) fn openssl_text(arguments: &[&str], input: &[u8]) -> String {
    String::from_utf8(openssl(arguments, input)).unwrap()
}

/// An RSA key of 2048 bits, PKCS #8.
pub(crate) fn rsa_key() -> String {
    openssl_text(
        &[
            "genpkey",
            "-algorithm",
            "RSA",
            "-pkeyopt",
            "rsa_keygen_bits:2048",
        ],
        b"",
    )
}

/// An EC key on P-256, SEC 1 with its parameters in front, as `openssl` writes it by itself.
pub(crate) fn ec_key() -> String {
    openssl_text(&["ecparam", "-name", "prime256v1", "-genkey"], b"")
}

/// A Google credential.
pub(crate) fn google(id: &str, key: &str, algorithm: &str) -> Value {
    json!({"credentialsId": id, "type": "googleIoT-credentials", "credentials": {
        "projectId": "p", "region": "r", "registryId": "g", "deviceId": "d-#{imsi}",
        "privateKey": key, "algorithm": algorithm,
    }})
}

/// An Azure credential whose key is `hush-azure`.
pub(crate) fn azure(id: &str) -> Value {
    json!({"credentialsId": id, "type": "azureIoT-credentials", "credentials": {
        "sharedAccessKeyName": "hush-name", "sharedAccessKey": "aHVzaC1henVyZQ==",
    }})
}

/// A PubNub credential.
pub(crate) fn pubnub(id: &str) -> Value {
    json!({"credentialsId": id, "type": "pubnub-credentials",
           "credentials": {"pubKey": "hush-pub", "subKey": "hush-sub"}})
}

/// A user name and a password.
pub(crate) fn username_password(id: &str) -> Value {
    json!({"credentialsId": id, "type": "username-password-credentials",
           "credentials": {"username": "hush-user", "password": "hush-password"}})
}

/// A client certificate, with more fields.
pub(crate) fn x509(id: &str, more: Value) -> Value {
    let (cert, key) = certificate("device");
    let mut fields = json!({"cert": cert, "key": key});
    let Value::Object(more) = more else {
        panic!("{more}")
    };
    fields.as_object_mut().unwrap().extend(more);
    json!({"credentialsId": id, "type": "x509", "credentials": fields})
}

/// Credentials as a fleet has them; every problem where there is one.
pub(crate) fn read(list: &Value) -> Result<Credentials, Vec<String>> {
    let mut problems = Problems::default();
    let root = JsonPath::ROOT;
    let credentials = Credentials::read(list, &root.key("credentials"), &mut problems);
    for problem in credentials.unusable.values().flatten() {
        problems.add(|| problem.clone());
    }
    problems
        .into_result(Some(credentials))
        .map_err(|problems| problems.iter().map(ToString::to_string).collect())
}
