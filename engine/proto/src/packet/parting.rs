//! Parting: why a peer refuses or leaves, as its own last packet says it. It is for whoever runs the engine: nothing is decided by it, so
//! that whatever cannot be read of it is merely missing.

use alloc::string::String;
use core::fmt;

use super::properties::{self, Value, id};
use super::read::Reader;
use super::{Kind, Version, codes};
use crate::limits::{PARTING_CHARACTERS, PARTING_WORD_CHARACTERS};

/// A CONNACK that refuses, or a DISCONNECT that says why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// The packet's type.
    pub kind: Kind,
    /// Return code of a CONNACK before v5, else reason code.
    pub code: u8,
    /// v5: what it says beside the code, as far as it is kept; a stranger's words.
    words: Option<String>,
}

impl Parting {
    /// What the body of a CONNACK or DISCONNECT says, where that is a reason.
    #[must_use]
    pub fn read(kind: Kind, body: &[u8], version: Version) -> Option<Self> {
        let mut reader = Reader::new(body);
        if kind == Kind::Connack {
            reader.byte().ok()?;
        }
        let code = reader.byte().ok().filter(|code| *code != 0)?;
        let mut words = None;
        if version == Version::V5 {
            let mut keep = |id: u8, value: Value<'_>| {
                if let (id::REASON_STRING, Value::Bytes(text)) = (id, value) {
                    words = Some(kept(&String::from_utf8_lossy(text)));
                }
            };
            // What cannot be read of it says nothing; whether that matters is decided elsewhere.
            let properties = properties::take(&mut reader);
            let _ = properties.and_then(|properties| properties::each(properties, &mut keep));
        }
        Some(Self { kind, code, words })
    }
}

/// As much of a stranger's words as is kept. A long word may be a token, and is not shown.
fn kept(text: &str) -> String {
    let mut kept = String::new();
    for (number, word) in text.split(' ').enumerate() {
        if number > 0 {
            kept.push(' ');
        }
        let is_long = word.chars().nth(PARTING_WORD_CHARACTERS).is_some();
        kept.push_str(if is_long { "********" } else { word });
        if let Some((cut, _)) = kept.char_indices().nth(PARTING_CHARACTERS) {
            kept.truncate(cut);
            kept.push('…');
            break;
        }
    }
    kept
}

/// `CONNACK 5, not authorized`; in v5 `CONNACK 0x87, not authorized: "what it says"`, without anything that a terminal would obey.
impl fmt::Display for Parting {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, code, words } = self;
        write!(formatter, "{} {}", kind.as_str(), codes::Shown(*code))?;
        if let Some(name) = codes::name(*kind, *code) {
            write!(formatter, ", {name}")?;
        }
        match words.as_deref() {
            None | Some("") => Ok(()),
            Some(words) => write!(formatter, ": {words:?}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;
    use alloc::vec::Vec;

    use crate::frame::Varint;

    fn said(kind: Kind, body: &[u8], version: Version) -> Option<String> {
        let parting = Parting::read(kind, body, version);
        parting.map(|parting| parting.to_string())
    }

    /// A v5 CONNACK's body with a reason string.
    fn connack(code: u8, words: &str) -> Vec<u8> {
        let length = u16::try_from(words.len()).unwrap().to_be_bytes();
        let property = [&[0x1f][..], &length, words.as_bytes()].concat();
        let before = Varint::encode(property.len()).unwrap();
        [&[0, code], before.as_bytes(), &property].concat()
    }

    #[test]
    fn codes_have_names_and_words_come_along() {
        let check = |kind, body: &[u8], version, expected: Option<&str>| {
            assert_eq!(
                said(kind, body, version).as_deref(),
                expected,
                "{body:02x?}"
            );
        };
        use Kind::{Connack, Disconnect};
        check(Connack, &[0, 0], Version::V311, None);
        check(
            Connack,
            &[0, 5],
            Version::V311,
            Some("CONNACK 5, not authorized"),
        );
        check(Connack, &[0, 9], Version::V311, Some("CONNACK 9"));
        // An upstream that knows no v5.
        check(
            Connack,
            &[0, 1],
            Version::V5,
            Some("CONNACK 1, unacceptable protocol version"),
        );
        check(
            Connack,
            &[0, 0x87, 0],
            Version::V5,
            Some("CONNACK 0x87, not authorized"),
        );
        let body = connack(0x8a, "until noon");
        check(
            Connack,
            &body,
            Version::V5,
            Some("CONNACK 0x8a, banned: \"until noon\""),
        );
        check(
            Connack,
            &connack(0x8a, ""),
            Version::V5,
            Some("CONNACK 0x8a, banned"),
        );
        check(Disconnect, &[], Version::V5, None);
        check(Disconnect, &[0], Version::V5, None);
        check(
            Disconnect,
            &[0x8e],
            Version::V5,
            Some("DISCONNECT 0x8e, session taken over"),
        );
        check(
            Disconnect,
            &[4],
            Version::V5,
            Some("DISCONNECT 4, with its will"),
        );
        check(
            Disconnect,
            &[0xc1, 9, 9],
            Version::V5,
            Some("DISCONNECT 0xc1"),
        );
    }

    #[test]
    fn a_strangers_words_are_bounded_escaped_and_hold_no_token() {
        let body = connack(0x80, "a\u{1b}[2J\nb \u{202e}c");
        let said = said(Kind::Connack, &body, Version::V5).unwrap();
        assert_eq!(
            said,
            "CONNACK 0x80, unspecified error: \"a\\u{1b}[2J\\nb \\u{202e}c\""
        );
        let token = "x".repeat(PARTING_WORD_CHARACTERS + 1);
        assert_eq!(kept(&alloc::format!("no {token} here")), "no ******** here");
        let long = "é ".repeat(PARTING_CHARACTERS);
        assert_eq!(kept(&long).chars().count(), PARTING_CHARACTERS + 1);
        assert_eq!(
            kept(&"x ".repeat(30_000)).chars().count(),
            PARTING_CHARACTERS + 1
        );
    }
}
