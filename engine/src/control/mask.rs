//! Mask: secrets go in and do not come out. What stands for one, sent back, means the one that is there.

use serde_json::{Map, Value};

use crate::fleet::{ENTRY_POINT_KEY, NAMESPACE};
use crate::problem::Problem;
use crate::registry::Sealed;

/// What stands for a secret.
pub(super) const MASK: &str = "********";

/// Keys of an entry point's object that are secrets.
const ENTRY_POINT_SECRETS: [&str; 1] = ["password"];

/// Keys of credentials that are none.
const CREDENTIAL_PUBLIC: [&str; 12] = [
    "ca",
    "cert",
    "insecureSkipVerify",
    "sharedAccessKeyName",
    "projectId",
    "region",
    "registryId",
    "deviceId",
    "algorithm",
    "username",
    "accessKeyId",
    "roleArn",
];

/// A group without its secrets.
pub(super) fn group(group: &mut Value) {
    for entry_point in entry_points(group) {
        hide(entry_point, is_entry_point_secret);
    }
}

/// Puts the secrets of an object that is there, or null where none is, where a new one says that they stay.
///
/// # Errors
/// When there is none to stay.
pub(crate) fn keep_object(
    table: Sealed,
    object: &mut Value,
    before: &Value,
) -> Result<(), Problem> {
    match table {
        Sealed::Groups => keep_group(object, before),
        Sealed::Credentials => keep_credential(object, before),
    }
}

/// Puts the secrets of the group that is there where a new one says that they stay.
///
/// # Errors
/// When there is none to stay.
pub(super) fn keep_group(group: &mut Value, before: &Value) -> Result<(), Problem> {
    let beam = before
        .get("configuration")
        .and_then(|configuration| configuration.get(NAMESPACE));
    if let Some(Value::Object(fields)) = group
        .get_mut("configuration")
        .and_then(|configuration| configuration.get_mut(NAMESPACE))
    {
        for (key, entry_point) in fields {
            let path = format!("configuration.{NAMESPACE}.{key}");
            let before = beam.and_then(|beam| beam.get(key));
            keep(entry_point, before, is_entry_point_secret, &path)?;
        }
    }
    Ok(())
}

/// Puts the secrets of an entry point that is there where a new one says that they stay.
///
/// # Errors
/// When there is none to stay.
pub(super) fn keep_entry_point(entry_point: &mut Value, group: &Value) -> Result<(), Problem> {
    let before = group
        .get("configuration")
        .and_then(|configuration| configuration.get(NAMESPACE)?.get(ENTRY_POINT_KEY));
    keep(entry_point, before, is_entry_point_secret, "")
}

/// A credential without its secrets.
pub(super) fn credential(credential: &mut Value) {
    if let Some(fields) = credential.get_mut("credentials") {
        hide(fields, is_credential_secret);
    }
}

/// Puts the secrets of the credential that is there where a new one says that they stay.
///
/// # Errors
/// When there is none to stay.
pub(super) fn keep_credential(credential: &mut Value, before: &Value) -> Result<(), Problem> {
    if let Some(fields) = credential.get_mut("credentials") {
        let before = before.get("credentials");
        keep(fields, before, is_credential_secret, "credentials")?;
    }
    Ok(())
}

fn is_entry_point_secret(key: &str) -> bool {
    ENTRY_POINT_SECRETS.contains(&key)
}

fn is_credential_secret(key: &str) -> bool {
    !CREDENTIAL_PUBLIC.contains(&key)
}

fn entry_points(group: &mut Value) -> impl Iterator<Item = &mut Value> {
    let beam = group
        .get_mut("configuration")
        .and_then(|configuration| configuration.get_mut(NAMESPACE))
        .and_then(Value::as_object_mut);
    beam.into_iter().flat_map(Map::values_mut)
}

fn hide(object: &mut Value, is_secret: impl Fn(&str) -> bool) {
    for (key, value) in object.as_object_mut().into_iter().flatten() {
        if is_secret(key) && !is_empty(value) {
            crate::fleet::erase(value);
            *value = Value::from(MASK);
        }
    }
}

/// The mask itself is never taken for a secret: whoever sends it does not know the secret, and would lose it.
fn keep(
    object: &mut Value,
    before: Option<&Value>,
    is_secret: impl Fn(&str) -> bool,
    path: &str,
) -> Result<(), Problem> {
    for (key, value) in object.as_object_mut().into_iter().flatten() {
        if !is_secret(key) || value.as_str() != Some(MASK) {
            continue;
        }
        let secret = before.and_then(|before| before.get(key));
        let secret = secret.filter(|secret| !is_empty(secret)).ok_or_else(|| {
            let path = format!("{path}.{key}");
            let found = "the mask, and no secret that it could stand for";
            Problem::new(path.trim_start_matches('.'), found, "the secret itself")
        })?;
        *value = secret.clone();
    }
    Ok(())
}

fn is_empty(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_hidden_and_stay_where_the_mask_comes_back() {
        let stored = json!({"groupId": "g", "configuration": {NAMESPACE: {ENTRY_POINT_KEY: {
            "username": "u", "password": "hush", "destination": "mqtt://h"}}}});
        let mut shown = stored.clone();
        group(&mut shown);
        let shown_text = shown.to_string();
        assert!(shown_text.contains(MASK) && !shown_text.contains("hush"));
        let mut written = shown;
        keep_group(&mut written, &stored).unwrap();
        assert_eq!(written, stored);

        let stored = json!({"credentialsId": "c", "type": "x509",
            "credentials": {"cert": "PEM", "key": "hush", "passphrase": null}});
        let mut shown = stored.clone();
        credential(&mut shown);
        assert_eq!(
            shown["credentials"],
            json!({"cert": "PEM", "key": MASK, "passphrase": null})
        );
        keep_credential(&mut shown, &stored).unwrap();
        assert_eq!(shown, stored);
    }

    #[test]
    fn the_mask_is_no_secret() {
        let entry_point = |password: Value| json!({"username": MASK, "password": password});
        let group = |entry_point: Value| json!({"configuration": {NAMESPACE: {ENTRY_POINT_KEY: entry_point}}});
        for before in [
            Value::Null,
            group(entry_point(Value::Null)),
            group(entry_point("".into())),
        ] {
            let mut written = group(entry_point(MASK.into()));
            let problem = keep_group(&mut written, &before).unwrap_err();
            let path = format!("configuration.{NAMESPACE}.{ENTRY_POINT_KEY}.password");
            assert_eq!(problem.path, path);
            let problem = keep_entry_point(&mut entry_point(MASK.into()), &before).unwrap_err();
            assert_eq!(problem.path, "password");
        }
        let mut credential = json!({"credentials": {"username": MASK, "key": MASK}});
        let problem = keep_credential(&mut credential, &Value::Null).unwrap_err();
        assert_eq!(problem.path, "credentials.key");
    }
}
