//! Template: a configured text with `#{imsi}` and `#{imei}` in it (B-CON-2), compiled once into
//! segments, so that a CONNECT only copies them together.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::identity::{Identity, UNKNOWN_IMEI};
use crate::limits::{IMEI_DIGITS_MAX, IMSI_DIGITS_MAX};

/// Placeholders of one text that are tried out against another.
const PLACEHOLDERS_TRIED: usize = 3;

#[derive(Clone, PartialEq, Eq)]
enum Segment {
    /// Erased when it is dropped: it may be a password.
    Literal(Zeroizing<String>),
    Imsi,
    Imei,
}

/// A compiled text. Its `Debug` shows no literal: a password may be one.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Template {
    segments: Vec<Segment>,
}

impl Template {
    /// Compiles `text`; whatever is no known placeholder stays as it is.
    #[must_use]
    pub fn compile(text: &str) -> Self {
        let mut segments = Vec::new();
        let mut rest = text;
        // Never grown, which would leave a copy behind.
        let mut literal = Zeroizing::new(String::with_capacity(text.len()));
        while let Some(character) = rest.chars().next() {
            let (segment, after) = if let Some(after) = rest.strip_prefix("#{imsi}") {
                (Some(Segment::Imsi), after)
            } else if let Some(after) = rest.strip_prefix("#{imei}") {
                (Some(Segment::Imei), after)
            } else {
                literal.push(character);
                (None, rest.get(character.len_utf8()..).unwrap_or_default())
            };
            rest = after;
            if let Some(segment) = segment {
                if !literal.is_empty() {
                    segments.push(Segment::Literal(literal));
                    literal = Zeroizing::new(String::with_capacity(rest.len()));
                }
                segments.push(segment);
            }
        }
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Self { segments }
    }

    /// Whether the text depends on the SIM.
    #[must_use]
    pub fn has_placeholders(&self) -> bool {
        self.segments
            .iter()
            .any(|segment| !matches!(segment, Segment::Literal(_)))
    }

    /// Whether some SIM's text may be this one. With many placeholders it is taken for possible.
    #[must_use]
    pub fn may_render(&self, text: &str) -> bool {
        let is_literal = |segment: &&Segment| matches!(segment, Segment::Literal(_));
        let literals = self.segments.iter().filter(is_literal).count();
        let placeholders = self.segments.len().saturating_sub(literals);
        placeholders > PLACEHOLDERS_TRIED || may_render(&self.segments, text)
    }

    /// The text for one SIM.
    #[must_use]
    pub fn render(&self, identity: &Identity) -> String {
        let parts = || {
            self.segments.iter().map(|segment| match segment {
                Segment::Literal(literal) => literal.as_str(),
                Segment::Imsi => identity.imsi.as_str(),
                Segment::Imei => identity.imei_text(),
            })
        };
        // Whole from the start: a text that grows leaves copies behind, and it may be a password.
        let size = parts().fold(0, |size: usize, part| size.saturating_add(part.len()));
        let mut text = String::with_capacity(size);
        parts().for_each(|part| text.push_str(part));
        text
    }

    /// The text as it was configured.
    #[must_use]
    pub fn source(&self) -> String {
        self.segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(literal) => literal.as_str(),
                Segment::Imsi => "#{imsi}",
                Segment::Imei => "#{imei}",
            })
            .collect::<Vec<_>>()
            .concat()
    }
}

/// Whether the segments can make up the text, with digits of any number for a placeholder.
fn may_render(segments: &[Segment], text: &str) -> bool {
    let Some((first, others)) = segments.split_first() else {
        return text.is_empty();
    };
    match first {
        Segment::Literal(literal) => text
            .strip_prefix(literal.as_str())
            .is_some_and(|rest| may_render(others, rest)),
        Segment::Imsi | Segment::Imei => {
            let rest = text.trim_start_matches(|character: char| character.is_ascii_digit());
            let digits = text.len().saturating_sub(rest.len());
            let is_unknown = *first == Segment::Imei
                && text
                    .strip_prefix(UNKNOWN_IMEI)
                    .is_some_and(|rest| may_render(others, rest));
            is_unknown
                || (1..=digits.min(IMSI_DIGITS_MAX.max(IMEI_DIGITS_MAX))).any(|length| {
                    text.get(length..)
                        .is_some_and(|rest| may_render(others, rest))
                })
        }
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Template")
            .field("segments", &self.segments.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;

    #[test]
    fn b_con_2_placeholders_of_configured_texts_are_replaced() {
        let known = Identity {
            imsi: "440100000000001".parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: Some("353456789012348".parse().unwrap()),
        };
        let unknown = Identity {
            imei: None,
            ..known
        };
        let check = |text: &str, with_imei: &str, without_imei: &str| {
            let template = Template::compile(text);
            assert_eq!(template.render(&known), with_imei);
            // B-TOP-3
            assert_eq!(template.render(&unknown), without_imei);
            assert_eq!(template.source(), text);
        };
        check("", "", "");
        check("plain", "plain", "plain");
        check("#{imsi}", "440100000000001", "440100000000001");
        check(
            "a-#{imsi}-#{imei}",
            "a-440100000000001-353456789012348",
            "a-440100000000001-unknown-imei",
        );
        check("##{imsi}}", "#440100000000001}", "#440100000000001}");
        check(
            "#{simId} #{IMSI} #{imsi",
            "#{simId} #{IMSI} #{imsi",
            "#{simId} #{IMSI} #{imsi",
        );
        check(
            "日本#{imei}語",
            "日本353456789012348語",
            "日本unknown-imei語",
        );
        check("{{imsi}}", "{{imsi}}", "{{imsi}}");
    }

    #[test]
    fn debug_shows_no_literal() {
        assert!(!format!("{:?}", Template::compile("secret")).contains("secret"));
    }

    #[test]
    fn b_cred_1_a_text_that_some_sim_has_is_known_for_one() {
        let check = |template: &str, text: &str, expected: bool| {
            let found = Template::compile(template).may_render(text);
            assert_eq!(found, expected, "{template} {text}");
        };
        check("cert", "cert", true);
        check("cert", "certs", false);
        check("c-#{imsi}", "c-440100000000001", true);
        check("c-#{imsi}", "c-", false);
        check("c-#{imsi}", "d-440100000000001", false);
        check("c-#{imsi}", "c-44010x", false);
        check("c-#{imsi}", "c-12345678901234567", false);
        check("#{imsi}1", "4401", true);
        check("#{imsi}/#{imei}", "4401/unknown-imei", true);
        check("#{imsi}/#{imei}", "4401/353456789012348", true);
        check("#{imsi}", "unknown-imei", false);
        check("#{imsi}#{imsi}#{imsi}#{imsi}", "anything", true);
    }
}
