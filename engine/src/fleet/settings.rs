//! Settings: an entry point's configuration object as it was typed. Each known key is checked for its
//! shape alone and brought to one spelling; keys that nobody knows are kept as they are (B-CFG-1).

use std::fmt;

use ringbeam_proto::farewell::{Manner, Manners};
use ringbeam_proto::platform::Platform;
use serde_json::{Map, Value};

use super::destination;
use super::json::{JsonPath, Object, describe, erase, kind};
use super::limits::LimitOverrides;
use crate::problem::{Problems, quoted};

/// What a value must look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// A string.
    Text,
    /// A string that no message shows, with every placeholder that a user name may hold.
    Secret,
    /// A boolean, or one of the strings `"true"` and `"false"`.
    Switch,
    /// The name of a platform version.
    Version,
    /// `{"$credentialsId": "…"}`
    Reference,
    /// `{"default": {"$credentialsId": "…"}}`
    Certificates,
    /// `{"messagesPerSecond": n, "bytesPerSecond": n}`
    Limits,
    /// What a refusal looks like.
    Manner,
}

/// A key that has a meaning.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, in the spelling that is written back.
    pub name: &'static str,
    /// What holds where it is omitted (B-CFG-2), as text.
    pub default: &'static str,
    shape: Shape,
}

const fn key(name: &'static str, shape: Shape, default: &'static str) -> Key {
    Key {
        name,
        default,
        shape,
    }
}

/// Every key that has a meaning, in the order in which they are explained.
pub const KEYS: [Key; 21] = [
    key("name", Shape::Text, "\"\""),
    key("enabled", Shape::Switch, "false"),
    key("destination", Shape::Text, "absent"),
    key("username", Shape::Text, "absent"),
    key("password", Shape::Secret, "absent"),
    key("useClientCredentials", Shape::Switch, "false"),
    key("useClientCert", Shape::Switch, "false"),
    key("clientCerts", Shape::Certificates, "absent"),
    key("usePubnub", Shape::Switch, "false"),
    key("pubnubCredential", Shape::Reference, "absent"),
    key("useGoogleIoT", Shape::Switch, "false"),
    key("googleIoTCredential", Shape::Reference, "absent"),
    key("useAzureIoT", Shape::Switch, "false"),
    key("azureIoTCredential", Shape::Reference, "absent"),
    key("addSubscriberHeader", Shape::Switch, "false"),
    key("replaceTopic", Shape::Switch, "false"),
    key("version", Shape::Version, "\"201912\""),
    key("rewriteWill", Shape::Switch, "false"),
    key("renewUpstream", Shape::Switch, "false"),
    key("ringbeamLimits", Shape::Limits, "absent"),
    key("whenUnavailable", Shape::Manner, "\"close\""),
];

/// The other spellings of `usePubnub` (B-CFG-1).
const PUBNUB_SPELLINGS: [&str; 2] = ["usePubnum", "usePubNub"];

/// The member that names a credential.
const CREDENTIALS_ID: &str = "$credentialsId";

/// The members of `ringbeamLimits`.
const MESSAGES_PER_SECOND: &str = "messagesPerSecond";
const BYTES_PER_SECOND: &str = "bytesPerSecond";

/// An entry point's configuration object, every known key of the right shape.
#[derive(Clone, PartialEq, Default)]
pub struct Settings {
    fields: Map<String, Value>,
}

impl Settings {
    /// Reads a configuration object; `None` where it is none. A value of the wrong shape is refused
    /// (B-CFG-4) and null from then on: set, but of no use.
    pub(super) fn read(
        value: &Value,
        path: &JsonPath<'_>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let object = Object::new(value, path, problems)?;
        let mut settings = Self::default();
        for (name, value) in object.fields {
            let value_path = path.key(name);
            let Some(key) = find_key(name) else {
                settings.fields.insert(name.clone(), value.clone());
                continue;
            };
            let value = check(key.shape, value, &value_path, problems).unwrap_or(Value::Null);
            // B-CFG-1: one switch under several names must say one thing.
            let earlier = settings.fields.get(key.name);
            if earlier.is_some_and(|earlier| *earlier != value) {
                problems.refuse(
                    value_path,
                    format_args!("{}, but another spelling says otherwise", describe(&value)),
                    "one of usePubnub, usePubnum, usePubNub",
                );
            }
            settings.fields.insert(key.name.to_owned(), value);
        }
        Some(settings)
    }

    /// The object to write back: known keys in one spelling and form, unknown ones as they came
    /// (B-CFG-1). It holds the password in clear.
    #[must_use]
    pub fn to_json(&self) -> Value {
        Value::Object(self.fields.clone())
    }

    /// A value in its one form, secrets included.
    pub(crate) fn value(&self, name: &str) -> Option<&Value> {
        self.fields.get(name)
    }

    /// Whether the key was written, or is at its default (B-CFG-2).
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.fields.contains_key(name)
    }

    /// The keys that have no meaning here.
    pub fn unknown_keys(&self) -> impl Iterator<Item = &str> {
        self.fields
            .keys()
            .map(String::as_str)
            .filter(|name| find_key(name).is_none())
    }

    /// A value as `explain` shows it: never a secret.
    #[must_use]
    pub fn shown(&self, key: &Key) -> Option<String> {
        let value = self.fields.get(key.name)?;
        if let Some(url) = value.as_str().filter(|_| key.name == "destination") {
            return Some(quoted(&destination::shown(url)));
        }
        Some(match key.shape {
            Shape::Secret => "********".to_owned(),
            Shape::Text
            | Shape::Switch
            | Shape::Version
            | Shape::Reference
            | Shape::Certificates
            | Shape::Limits
            | Shape::Manner => value.to_string(),
        })
    }

    /// A switch; off by default.
    pub(super) fn is_on(&self, name: &str) -> bool {
        self.fields
            .get(name)
            .and_then(Value::as_bool)
            .unwrap_or_default()
    }

    /// A text, empty or not.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.fields.get(name).and_then(Value::as_str)
    }

    /// A text that holds something. An empty one counts as absent: forms send empty fields along.
    pub(super) fn filled_text(&self, name: &str) -> Option<&str> {
        self.text(name).filter(|text| !text.is_empty())
    }

    /// Whether the key was written with a value of the wrong shape.
    pub(super) fn is_refused(&self, name: &str) -> bool {
        self.fields
            .get(name)
            .is_some_and(|value| value.is_null() && find_key(name).is_some())
    }

    /// The platform version.
    pub(super) fn platform(&self) -> Platform {
        self.text("version").and_then(platform).unwrap_or_default()
    }

    /// What a device is told while its upstream cannot be had (B-CON-4).
    pub(super) fn when_unavailable(&self) -> Manner {
        let written = self.text("whenUnavailable");
        let manner = written.and_then(|text| text.parse().ok());
        manner.unwrap_or_else(|| Manners::default().upstream)
    }

    /// The credential that a reference names.
    pub(super) fn reference(&self, name: &str) -> Option<&str> {
        credentials_id(self.fields.get(name)?)
    }

    /// The credential that `clientCerts` names.
    pub(super) fn certificate(&self) -> Option<&str> {
        credentials_id(self.fields.get("clientCerts")?.get("default")?)
    }

    /// What `ringbeamLimits` says.
    pub(super) fn limits(&self) -> LimitOverrides {
        let limits = self.fields.get("ringbeamLimits");
        let written = |name| limits?.get(name).and_then(rate);
        LimitOverrides {
            messages_per_second: written(MESSAGES_PER_SECOND),
            bytes_per_second: written(BYTES_PER_SECOND),
        }
    }
}

/// The password is among its texts, and under a key that is misspelt it may be anywhere.
impl Drop for Settings {
    fn drop(&mut self) {
        self.fields.values_mut().for_each(erase);
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.fields.keys()).finish()
    }
}

/// An entry point's configuration object in its one form (B-CFG-1); `None` where it has none.
pub(crate) fn canonical(object: &Value) -> Option<Value> {
    let mut problems = Problems::default();
    let settings = Settings::read(object, &JsonPath::ROOT, &mut problems)?;
    problems.is_empty().then(|| settings.to_json())
}

fn find_key(name: &str) -> Option<&'static Key> {
    let name = if PUBNUB_SPELLINGS.contains(&name) {
        "usePubnub"
    } else {
        name
    };
    KEYS.iter().find(|key| key.name == name)
}

fn platform(name: &str) -> Option<Platform> {
    [Platform::V201912, Platform::V201509]
        .into_iter()
        .find(|version| version.as_str() == name)
}

/// A number per second; 0 is no limit.
fn rate(value: &Value) -> Option<u32> {
    u32::try_from(value.as_u64()?).ok()
}

fn credentials_id(reference: &Value) -> Option<&str> {
    reference
        .get(CREDENTIALS_ID)?
        .as_str()
        .filter(|id| !id.is_empty())
}

/// The value in its one form, if it has the shape.
fn check(
    shape: Shape,
    value: &Value,
    path: &JsonPath<'_>,
    problems: &mut Problems,
) -> Option<Value> {
    match (shape, value) {
        (Shape::Text | Shape::Secret, Value::String(_)) | (Shape::Switch, Value::Bool(_)) => {
            Some(value.clone())
        }
        (Shape::Switch, Value::String(text)) if text == "true" => Some(Value::Bool(true)),
        (Shape::Switch, Value::String(text)) if text == "false" => Some(Value::Bool(false)),
        (Shape::Version, Value::String(text)) if platform(text).is_some() => Some(value.clone()),
        (Shape::Manner, Value::String(text)) if text.parse::<Manner>().is_ok() => {
            Some(value.clone())
        }
        (Shape::Reference, Value::Object(_)) => {
            check_reference(value, path, problems).then(|| value.clone())
        }
        (Shape::Certificates, Value::Object(fields)) => {
            let good = fields
                .get("default")
                .is_none_or(|reference| check_reference(reference, &path.key("default"), problems));
            good.then(|| value.clone())
        }
        (Shape::Limits, Value::Object(fields)) => {
            check_limits(Object { fields, path }, problems);
            Some(value.clone())
        }
        (Shape::Secret, _) => {
            problems.refuse(path, kind(value), accepted(shape));
            None
        }
        (_, _) => {
            problems.refuse(path, describe(value), accepted(shape));
            None
        }
    }
}

fn accepted(shape: Shape) -> &'static str {
    match shape {
        Shape::Text | Shape::Secret => "a string",
        Shape::Switch => "true or false",
        Shape::Version => "\"201912\" or \"201509\"",
        Shape::Reference => "{\"$credentialsId\": \"an id\"}",
        Shape::Certificates => "{\"default\": {\"$credentialsId\": \"an id\"}}",
        Shape::Manner => "\"close\" or \"connack\"",
        Shape::Limits => "{\"messagesPerSecond\": n, \"bytesPerSecond\": n}",
    }
}

fn check_reference(value: &Value, path: &JsonPath<'_>, problems: &mut Problems) -> bool {
    let Some(object) = Object::new(value, path, problems) else {
        return false;
    };
    let id = object.fields.get(CREDENTIALS_ID);
    if let Some(wrong) = id.filter(|id| !id.is_string()) {
        problems.refuse(
            path.key(CREDENTIALS_ID),
            kind(wrong),
            "the id of a credential",
        );
        return false;
    }
    true
}

fn check_limits(object: Object<'_>, problems: &mut Problems) {
    let known = [MESSAGES_PER_SECOND, BYTES_PER_SECOND];
    object.refuse_unknown(&known, problems);
    for name in known {
        let value = object.fields.get(name);
        if let Some(wrong) = value.filter(|value| rate(value).is_none()) {
            problems.refuse(
                object.path.key(name),
                describe(wrong),
                "a whole number from 0 to 4294967295; 0 is no limit",
            );
        }
    }
}

#[cfg(test)]
mod tests;
