//! Credentials: what the entry point shows to an upstream in a device's stead. Their values are
//! secrets: nothing here prints one.

use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;
use serde_json::{Map, Value};

use super::hasher;
use super::json::{JsonPath, Object, kind};
use crate::problem::{Problems, quoted};

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// `x509`: a client certificate, its key, and perhaps a private root.
    X509,
    /// `azureIoT-credentials`: a shared access key of an Azure IoT hub.
    AzureIot,
    /// `googleIoT-credentials`: a device's signing key in a Google Cloud IoT Core registry.
    GoogleIot,
    /// `pubnub-credentials`: the two keys of a PubNub key set.
    Pubnub,
    /// `username-password-credentials`
    UsernamePassword,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::X509,
        Self::AzureIot,
        Self::GoogleIot,
        Self::Pubnub,
        Self::UsernamePassword,
    ];

    /// The name that `type` gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::AzureIot => "azureIoT-credentials",
            Self::GoogleIot => "googleIoT-credentials",
            Self::Pubnub => "pubnub-credentials",
            Self::UsernamePassword => "username-password-credentials",
        }
    }

    /// The texts that a credential of this kind must hold.
    const fn required(self) -> &'static [&'static str] {
        match self {
            Self::X509 => &["cert", "key"],
            Self::AzureIot => &["sharedAccessKeyName", "sharedAccessKey"],
            Self::GoogleIot => &[
                "projectId",
                "region",
                "registryId",
                "deviceId",
                "privateKey",
                "algorithm",
            ],
            Self::Pubnub => &["pubKey", "subKey"],
            Self::UsernamePassword => &["username", "password"],
        }
    }

    /// The texts that it may hold beside those.
    const fn optional(self) -> &'static [&'static str] {
        match self {
            Self::X509 => &["ca"],
            Self::AzureIot | Self::GoogleIot | Self::Pubnub | Self::UsernamePassword => &[],
        }
    }
}

/// One credential.
pub struct Credential {
    /// Its id.
    pub id: Arc<str>,
    /// What it is for.
    pub kind: CredentialKind,
    fields: Map<String, Value>,
}

impl Credential {
    /// One of its values, which is a secret.
    #[must_use]
    pub fn secret(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    fn read(value: &Value, path: &JsonPath<'_>, problems: &mut Problems) -> Option<Self> {
        let object = Object::new(value, path, problems)?;
        let id = object.required_text("credentialsId", "an id", problems);
        let kind = read_kind(object, problems);
        if object.member("credentials").is_none() {
            problems.refuse(path.key("credentials"), "nothing", "an object");
        }
        let fields = object.object("credentials", problems)?;
        let kind = kind?;
        let fields_path = path.key("credentials");
        for name in kind.required() {
            check_secret(fields.get(*name), &fields_path.key(name), problems);
        }
        for name in kind.optional() {
            let value = fields.get(*name).filter(|value| !value.is_null());
            if value.is_some() {
                check_secret(value, &fields_path.key(name), problems);
            }
        }
        if kind == CredentialKind::GoogleIot {
            let algorithm = fields.get("algorithm").and_then(Value::as_str);
            if algorithm.is_some_and(|name| !["RS256", "ES256"].contains(&name)) {
                problems.refuse(
                    fields_path.key("algorithm"),
                    "another algorithm",
                    "\"RS256\" or \"ES256\"",
                );
            }
        }
        Some(Self {
            id: Arc::from(id?),
            kind,
            fields: fields.clone(),
        })
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

fn read_kind(object: Object<'_>, problems: &mut Problems) -> Option<CredentialKind> {
    let accepted = CredentialKind::ALL.map(CredentialKind::as_str).join(", ");
    let name = object.required_text("type", &accepted, problems)?;
    let kind = CredentialKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name);
    if kind.is_none() {
        problems.refuse(object.path.key("type"), quoted(name), accepted);
    }
    kind
}

/// Refuses what is no text with something in it, without showing it.
fn check_secret(value: Option<&Value>, path: &JsonPath<'_>, problems: &mut Problems) {
    match value {
        Some(Value::String(text)) if text.is_empty() => {
            problems.refuse(path, "an empty string", "a string that is not empty");
        }
        Some(Value::String(_)) => {}
        Some(other) => problems.refuse(path, kind(other), "a string"),
        None => problems.refuse(path, "nothing", "a string"),
    }
}

/// The credentials of a fleet, by id.
#[derive(Debug, Default)]
pub struct Credentials {
    by_id: HashMap<Arc<str>, Arc<Credential>, hasher::Fixed>,
}

impl Credentials {
    /// The credential of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Credential>> {
        self.by_id.get(id)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Reads a list of credentials.
    pub(super) fn read(value: &Value, path: &JsonPath<'_>, problems: &mut Problems) -> Self {
        let mut credentials = Self::default();
        let Some(list) = value.as_array() else {
            problems.refuse(path, kind(value), "a list of credentials");
            return credentials;
        };
        for (index, element) in list.iter().enumerate() {
            let path = path.index(index);
            let Some(credential) = Credential::read(element, &path, problems) else {
                continue;
            };
            match credentials.by_id.entry(Arc::clone(&credential.id)) {
                Entry::Vacant(vacant) => {
                    vacant.insert(Arc::new(credential));
                }
                Entry::Occupied(_) => problems.refuse(
                    path.key("credentialsId"),
                    format_args!("{}, which stands above already", quoted(&credential.id)),
                    "an id of its own for each credential",
                ),
            }
        }
        credentials
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Result<Credentials, Vec<String>> {
        let mut problems = Problems::default();
        let root = JsonPath::ROOT;
        let credentials = Credentials::read(value, &root.key("credentials"), &mut problems);
        problems
            .into_result(Some(credentials))
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn every_kind_is_read_and_no_secret_is_shown() {
        let credentials = read(&json!([
            {"credentialsId": "a", "type": "x509", "credentials": {"cert": "hush", "key": "hush"}},
            {"credentialsId": "b", "type": "x509", "description": "with a root",
             "credentials": {"ca": "hush", "cert": "hush", "key": "hush"}},
            {"credentialsId": "c", "type": "azureIoT-credentials",
             "credentials": {"sharedAccessKeyName": "hush", "sharedAccessKey": "hush"}},
            {"credentialsId": "d", "type": "googleIoT-credentials",
             "credentials": {"projectId": "p", "region": "r", "registryId": "g",
                             "deviceId": "d-#{imsi}", "privateKey": "hush", "algorithm": "ES256"}},
            {"credentialsId": "e", "type": "pubnub-credentials",
             "credentials": {"pubKey": "hush", "subKey": "hush"}},
            {"credentialsId": "f", "type": "username-password-credentials",
             "credentials": {"username": "hush", "password": "hush"}},
        ]))
        .unwrap();
        assert_eq!(credentials.len(), 6);
        assert!(!credentials.is_empty());
        assert!(!format!("{credentials:?}").contains("hush"));
        let google = credentials.find("d").unwrap();
        assert_eq!(google.secret("deviceId"), Some("d-#{imsi}"));
        assert_eq!(google.secret("absent"), None);
        assert!(credentials.find("g").is_none());
    }

    #[test]
    fn b_cfg_4_credentials_that_do_not_hold_are_refused_without_showing_them() {
        let problems = read(&json!([
            {"credentialsId": "a", "type": "x509", "credentials": {"cert": "hush", "key": 5}},
            {"credentialsId": "a", "type": "psk", "credentials": {"key": "hush"}},
            {"type": "x509", "credentials": "hush"},
            "hush",
            {"credentialsId": "b", "type": "username-password-credentials",
             "credentials": {"username": "u", "password": "p"}},
            {"credentialsId": "b", "type": "pubnub-credentials",
             "credentials": {"pubKey": "", "subKey": "s"}},
            {"credentialsId": "c", "type": "googleIoT-credentials",
             "credentials": {"projectId": "p", "region": "r", "registryId": "g",
                             "deviceId": "d", "privateKey": "hush", "algorithm": "hush"}},
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
                "credentials[5].credentials.pubKey: found an empty string; \
                 accepted: a string that is not empty"
                    .to_owned(),
                "credentials[5].credentialsId: found \"b\", which stands above already; \
                 accepted: an id of its own for each credential"
                    .to_owned(),
                "credentials[6].credentials.algorithm: found another algorithm; \
                 accepted: \"RS256\" or \"ES256\""
                    .to_owned(),
            ]
        );
    }
}
