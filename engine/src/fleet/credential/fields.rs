//! The fields of one credential, read without ever showing what stands in them.

use serde_json::Value;

use crate::fleet::json::{Object, kind};
use crate::problem::Problems;

/// The fields, and where refusals go.
pub(super) struct Fields<'a> {
    pub(super) object: Object<'a>,
    /// Of what has the wrong shape.
    pub(super) problems: &'a mut Problems,
    /// Of what has the right one and cannot be used all the same.
    pub(super) unusable: &'a mut Problems,
}

impl<'a> Fields<'a> {
    /// A text that must be there and hold something.
    pub(super) fn text(&mut self, name: &str) -> Option<&'a str> {
        match self.object.fields.get(name) {
            Some(Value::String(text)) if text.is_empty() => {
                self.refuse(name, "an empty string", "a string that is not empty");
                None
            }
            Some(Value::String(text)) => Some(text),
            Some(other) => {
                self.refuse(name, kind(other), "a string");
                None
            }
            None => {
                self.refuse(name, "nothing", "a string");
                None
            }
        }
    }

    /// A text of which MQTT makes a string: those cannot hold NUL.
    pub(super) fn packet_text(&mut self, name: &str) -> Option<&'a str> {
        let text = self.text(name)?;
        if text.contains('\0') {
            self.refuse(name, "a NUL character", "text without it");
            return None;
        }
        Some(text)
    }

    /// A text that may be absent, null or empty; `Err` where it was refused.
    pub(super) fn optional_text(&mut self, name: &str) -> Result<Option<&'a str>, Refused> {
        let member = self.object.member(name);
        if member.is_none_or(|value| value.as_str() == Some("")) {
            return Ok(None);
        }
        self.text(name).map(Some).ok_or(Refused)
    }

    /// A switch that may be absent or null, written as a boolean or as its name (B-CFG-1).
    pub(super) fn switch(&mut self, name: &str) -> Option<bool> {
        match self.object.member(name) {
            None => Some(false),
            Some(Value::Bool(switch)) => Some(*switch),
            Some(Value::String(text)) if text == "true" => Some(true),
            Some(Value::String(text)) if text == "false" => Some(false),
            Some(Value::String(_)) => {
                self.refuse(name, "another text", "true or false");
                None
            }
            Some(other) => {
                self.refuse(name, kind(other), "true or false");
                None
            }
        }
    }

    /// Notes a refusal.
    pub(super) fn refuse(&mut self, name: &str, found: &str, accepted: &str) {
        let path = self.object.path.key(name);
        self.problems.refuse(path, found, accepted);
    }

    /// Notes that a text is none of what it should be.
    pub(super) fn refuse_content(&mut self, name: &str, found: &str, accepted: &str) {
        let path = self.object.path.key(name);
        self.unusable.refuse(path, found, accepted);
    }
}

/// A field was refused, and the problem is noted.
#[derive(Debug)]
pub(super) struct Refused;
