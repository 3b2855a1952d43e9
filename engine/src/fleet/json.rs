//! JSON read with its path in mind, so that every refusal can say where it stands. Values in,
//! checked texts and numbers out; a wrong one is noted and reading goes on.

use std::fmt::{self, Display};
use std::str::FromStr;

use serde_json::{Map, Value};
use zeroize::Zeroize as _;

use crate::problem::{Problems, quoted};

/// The way to a value, kept on the stack and written out only for a refusal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JsonPath<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Step<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl JsonPath<'_> {
    /// The whole document.
    pub(crate) const ROOT: JsonPath<'static> = JsonPath {
        parent: None,
        step: Step::Root,
    };

    /// The way to a member of an object.
    pub(crate) fn key<'b>(&'b self, key: &'b str) -> JsonPath<'b> {
        JsonPath {
            parent: Some(self),
            step: Step::Key(key),
        }
    }

    /// The way to an element of a list.
    pub(crate) fn index(&self, index: usize) -> JsonPath<'_> {
        JsonPath {
            parent: Some(self),
            step: Step::Index(index),
        }
    }
}

impl Display for JsonPath<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parent = self
            .parent
            .filter(|parent| !matches!(parent.step, Step::Root));
        if let Some(parent) = parent {
            parent.fmt(formatter)?;
        }
        match self.step {
            Step::Root => Ok(()),
            Step::Index(index) => write!(formatter, "[{index}]"),
            Step::Key(key) if !is_plain(key) => {
                write!(formatter, "[{}]", quoted(key))
            }
            Step::Key(key) if parent.is_some() => write!(formatter, ".{key}"),
            Step::Key(key) => formatter.write_str(key),
        }
    }
}

fn is_plain(key: &str) -> bool {
    let mut bytes = key.bytes();
    bytes
        .next()
        .is_some_and(|byte| byte.is_ascii_alphabetic() || b"_$".contains(&byte))
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"_$".contains(&byte))
}

/// What a value is, without showing it: it may be a secret.
pub(crate) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// What a value is that is no secret.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Bool(switch) => switch.to_string(),
        Value::Number(number) => format!("the number {number}"),
        Value::String(text) => quoted(text),
        Value::Null | Value::Array(_) | Value::Object(_) => kind(value).to_owned(),
    }
}

/// A value with secrets in it: its texts are erased when it is dropped.
#[derive(Clone, PartialEq)]
pub(crate) struct SecretValue(pub(crate) Value);

impl Drop for SecretValue {
    fn drop(&mut self) {
        erase(&mut self.0);
    }
}

/// Erases every text of a value.
pub(crate) fn erase(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(list) => list.iter_mut().for_each(erase),
        Value::Object(fields) => fields.values_mut().for_each(erase),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// An object and the way to it.
#[derive(Clone, Copy)]
pub(crate) struct Object<'a> {
    pub(crate) fields: &'a Map<String, Value>,
    pub(crate) path: &'a JsonPath<'a>,
}

impl<'a> Object<'a> {
    /// `value` as an object; anything else is refused unseen.
    pub(crate) fn new(
        value: &'a Value,
        path: &'a JsonPath<'a>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let fields = value.as_object();
        if fields.is_none() {
            problems.refuse(path, kind(value), "an object");
        }
        fields.map(|fields| Self { fields, path })
    }

    /// A member; null counts as absent.
    pub(crate) fn member(&self, key: &str) -> Option<&'a Value> {
        self.fields.get(key).filter(|value| !value.is_null())
    }

    /// A text that may be absent.
    pub(crate) fn text(&self, key: &str, problems: &mut Problems) -> Option<&'a str> {
        let value = self.member(key)?;
        let text = value.as_str();
        if text.is_none() {
            problems.refuse(self.path.key(key), describe(value), "a string");
        }
        text
    }

    /// A text that must be there and hold something.
    pub(crate) fn required_text(
        &self,
        key: &str,
        accepted: &str,
        problems: &mut Problems,
    ) -> Option<&'a str> {
        if self.member(key).is_none() {
            problems.refuse(self.path.key(key), "nothing", accepted);
        }
        let text = self.text(key, problems)?;
        if text.is_empty() {
            problems.refuse(self.path.key(key), "an empty string", accepted);
        }
        Some(text).filter(|text| !text.is_empty())
    }

    /// A text of a certain form that may be absent.
    pub(crate) fn parsed<T>(&self, key: &str, accepted: &str, problems: &mut Problems) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        let text = self.text(key, problems)?;
        match text.parse() {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                let found = format_args!("{} ({error})", quoted(text)).to_string();
                problems.refuse(self.path.key(key), found, accepted);
                None
            }
        }
    }

    /// A text of a certain form that must be there.
    pub(crate) fn required<T>(
        &self,
        key: &str,
        accepted: &str,
        problems: &mut Problems,
    ) -> Option<T>
    where
        T: FromStr<Err: Display>,
    {
        if self.member(key).is_none() {
            problems.refuse(self.path.key(key), "nothing", accepted);
        }
        self.parsed(key, accepted, problems)
    }

    /// An object that may be absent.
    pub(crate) fn object(
        &self,
        key: &str,
        problems: &mut Problems,
    ) -> Option<&'a Map<String, Value>> {
        let value = self.member(key)?;
        let fields = value.as_object();
        if fields.is_none() {
            problems.refuse(self.path.key(key), kind(value), "an object");
        }
        fields
    }

    /// Refuses every key that is not in `accepted`.
    pub(crate) fn refuse_unknown(&self, accepted: &[&str], problems: &mut Problems) {
        for key in self
            .fields
            .keys()
            .filter(|key| !accepted.contains(&key.as_str()))
        {
            problems.refuse(self.path.key(key), "an unknown key", accepted.join(", "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn b_cfg_4_paths_read_like_the_document() {
        let root = JsonPath::ROOT;
        let groups = root.key("groups");
        let first = groups.index(0);
        let configuration = first.key("configuration");
        let beam = configuration.key("SoracomBeam");
        let entry = beam.key("mqtt://beam.soracom.io:1883");
        assert_eq!(
            entry.key("version").to_string(),
            r#"groups[0].configuration.SoracomBeam["mqtt://beam.soracom.io:1883"].version"#
        );
        assert_eq!(
            first.key("$credentialsId").to_string(),
            "groups[0].$credentialsId"
        );
        assert_eq!(root.key("a b").to_string(), r#"["a b"]"#);
        assert_eq!(root.to_string(), "");
    }

    #[test]
    fn every_text_of_a_value_is_erased() {
        let mut value = json!({"a": "hush", "b": [1, "hush", {"c": "hush"}], "d": null, "e": true});
        erase(&mut value);
        assert_eq!(
            value,
            json!({"a": "", "b": [1, "", {"c": ""}], "d": null, "e": true})
        );
    }

    #[test]
    fn b_cfg_4_members_are_checked_and_every_problem_is_kept() {
        let value = json!({"a": 5, "b": null, "c": "", "d": "x", "e": [], "f": "7"});
        let mut problems = Problems::default();
        let root = JsonPath::ROOT;
        let object = Object::new(&value, &root, &mut problems).unwrap();
        assert_eq!(object.text("a", &mut problems), None);
        assert_eq!(object.text("b", &mut problems), None);
        assert_eq!(object.required_text("c", "an id", &mut problems), None);
        assert_eq!(object.required::<u8>("d", "a byte", &mut problems), None);
        assert_eq!(object.required::<u8>("b", "a byte", &mut problems), None);
        assert_eq!(object.parsed::<u8>("f", "a byte", &mut problems), Some(7));
        assert!(object.object("e", &mut problems).is_none());
        object.refuse_unknown(&["a", "b", "c", "d", "e"], &mut problems);
        let texts: Vec<String> = problems
            .into_result(Some(()))
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            texts,
            [
                "a: found the number 5; accepted: a string",
                "c: found an empty string; accepted: an id",
                "d: found \"x\" (invalid digit found in string); accepted: a byte",
                "b: found nothing; accepted: a byte",
                "e: found a list; accepted: an object",
                "f: found an unknown key; accepted: a, b, c, d, e",
            ]
        );
    }
}
