//! Mask: secrets go in and do not come out. What stands for one, sent back, means the one that is there.

use serde_json::{Map, Value};

use crate::fleet::{ENTRY_POINT_KEY, NAMESPACE};

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
        hide(entry_point, |key| ENTRY_POINT_SECRETS.contains(&key));
    }
}

/// Puts the secrets of the group that is there where a new one says that they stay.
pub(super) fn keep_group(group: &mut Value, before: &Value) {
    let beam = before
        .get("configuration")
        .and_then(|configuration| configuration.get(NAMESPACE));
    if let Some(Value::Object(fields)) = group
        .get_mut("configuration")
        .and_then(|configuration| configuration.get_mut(NAMESPACE))
    {
        for (key, entry_point) in fields {
            keep(entry_point, beam.and_then(|beam| beam.get(key)));
        }
    }
}

/// Puts the secrets of an entry point that is there where a new one says that they stay.
pub(super) fn keep_entry_point(entry_point: &mut Value, group: &Value) {
    let before = group
        .get("configuration")
        .and_then(|configuration| configuration.get(NAMESPACE)?.get(ENTRY_POINT_KEY));
    keep(entry_point, before);
}

/// A credential without its secrets.
pub(super) fn credential(credential: &mut Value) {
    if let Some(fields) = credential.get_mut("credentials") {
        hide(fields, |key| !CREDENTIAL_PUBLIC.contains(&key));
    }
}

/// Puts the secrets of the credential that is there where a new one says that they stay.
pub(super) fn keep_credential(credential: &mut Value, before: &Value) {
    if let Some(fields) = credential.get_mut("credentials") {
        keep(fields, before.get("credentials"));
    }
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
        let is_empty = value.is_null() || value.as_str() == Some("");
        if is_secret(key) && !is_empty {
            crate::fleet::erase(value);
            *value = Value::from(MASK);
        }
    }
}

fn keep(object: &mut Value, before: Option<&Value>) {
    for (key, value) in object.as_object_mut().into_iter().flatten() {
        if value.as_str() == Some(MASK)
            && let Some(secret) = before.and_then(|before| before.get(key))
        {
            *value = secret.clone();
        }
    }
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
        keep_group(&mut written, &stored);
        assert_eq!(written, stored);

        let stored = json!({"credentialsId": "c", "type": "x509",
            "credentials": {"cert": "PEM", "key": "hush", "passphrase": null}});
        let mut shown = stored.clone();
        credential(&mut shown);
        assert_eq!(
            shown["credentials"],
            json!({"cert": "PEM", "key": MASK, "passphrase": null})
        );
        keep_credential(&mut shown, &stored);
        assert_eq!(shown, stored);
    }
}
