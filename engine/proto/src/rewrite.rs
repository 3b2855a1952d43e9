//! Rewrite: a topic and the SIM it came from -> the topic's own ranges and small inserts, in order.
//! Placeholders first, suffix second (B-TOP-1, B-TOP-2).

use alloc::string::String;
use core::iter::FusedIterator;
use core::ops::Range;

use crate::identity::Identity;
use crate::rules::TopicRules;
use crate::topic::split_share;

/// A part of a rewritten topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment<'a> {
    /// A range of the original topic.
    Topic(Range<usize>),
    /// Bytes that were not in it.
    Insert(&'a str),
}

impl Segment<'_> {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Topic(range) => range.len(),
            Self::Insert(text) => text.len(),
        }
    }

    /// Whether it has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, out of the original topic.
    #[must_use]
    pub fn text<'t>(&'t self, topic: &'t str) -> &'t str {
        match self {
            Self::Topic(range) => topic.get(range.clone()).unwrap_or_default(),
            Self::Insert(text) => text,
        }
    }
}

/// The parts of a rewritten topic, in order.
#[derive(Clone, Debug)]
pub struct Segments<'a> {
    topic: &'a str,
    identity: &'a Identity,
    /// Bytes of the topic that are handed out.
    position: usize,
    replace: bool,
    /// A placeholder's value that comes next.
    value: Option<&'a str>,
    suffix: Suffix,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Suffix {
    Slash,
    Imsi,
    Done,
}

/// How a topic is published: placeholders replaced, `/{IMSI}` appended.
#[must_use]
pub fn published<'a>(rules: &TopicRules, identity: &'a Identity, topic: &'a str) -> Segments<'a> {
    let suffix = if rules.append_imsi {
        Suffix::Slash
    } else {
        Suffix::Done
    };
    Segments {
        topic,
        identity,
        position: 0,
        replace: rules.replace_placeholders,
        value: None,
        suffix,
    }
}

/// How a filter is subscribed to or unsubscribed from: placeholders replaced. A share name is not
/// touched, though `{{imsi}}` could stand in it.
#[must_use]
pub fn subscribed<'a>(rules: &TopicRules, identity: &'a Identity, filter: &'a str) -> Segments<'a> {
    let (share, inner) = split_share(filter);
    // What precedes the filter proper is handed out unread.
    let skipped = if share.is_some() {
        filter.len().saturating_sub(inner.len())
    } else {
        0
    };
    let replace = rules.replace_placeholders;
    let untouched = filter.get(..skipped).filter(|text| !text.is_empty());
    Segments {
        topic: filter,
        identity,
        position: skipped,
        replace,
        value: untouched,
        suffix: Suffix::Done,
    }
}

/// Whether a published topic changes at all.
#[must_use]
pub fn changes_published(rules: &TopicRules, topic: &str) -> bool {
    rules.append_imsi || changes_subscribed(rules, topic)
}

/// Whether a filter may change: it holds the beginning of a placeholder.
#[must_use]
pub fn changes_subscribed(rules: &TopicRules, filter: &str) -> bool {
    rules.replace_placeholders && memchr::memchr(b'{', filter.as_bytes()).is_some()
}

/// The rewritten topic or filter as text: what `explain` shows and tests compare with.
#[must_use]
pub fn topic_text(
    rules: &TopicRules,
    identity: &Identity,
    topic: &str,
    is_published: bool,
) -> String {
    let segments = if is_published {
        published(rules, identity, topic)
    } else {
        subscribed(rules, identity, topic)
    };
    let mut text = String::new();
    for segment in segments {
        text.push_str(segment.text(topic));
    }
    text
}

impl<'a> Segments<'a> {
    /// The next placeholder from `position` on: where it stands, and its value.
    fn placeholder(&self) -> Option<(Range<usize>, &'a str)> {
        if !self.replace {
            return None;
        }
        let mut from = self.position;
        loop {
            let rest = self.topic.get(from..)?;
            let start = from.checked_add(memchr::memchr(b'{', rest.as_bytes())?)?;
            let candidate = self.topic.get(start..)?;
            for (placeholder, value) in [
                ("{{imsi}}", self.identity.imsi.as_str()),
                ("{{simId}}", self.identity.sim_id.as_str()),
                ("{{imei}}", self.identity.imei_text()),
            ] {
                if candidate.starts_with(placeholder) {
                    return Some((start..start.checked_add(placeholder.len())?, value));
                }
            }
            from = start.checked_add(1)?;
        }
    }
}

impl<'a> Iterator for Segments<'a> {
    type Item = Segment<'a>;

    fn next(&mut self) -> Option<Segment<'a>> {
        if let Some(value) = self.value.take() {
            return Some(Segment::Insert(value));
        }
        if self.position < self.topic.len() {
            let start = self.position;
            let Some((range, value)) = self.placeholder() else {
                self.position = self.topic.len();
                return Some(Segment::Topic(start..self.topic.len()));
            };
            self.position = range.end;
            if range.start == start {
                return Some(Segment::Insert(value));
            }
            self.value = Some(value);
            return Some(Segment::Topic(start..range.start));
        }
        match self.suffix {
            Suffix::Slash => {
                self.suffix = Suffix::Imsi;
                Some(Segment::Insert("/"))
            }
            Suffix::Imsi => {
                self.suffix = Suffix::Done;
                Some(Segment::Insert(self.identity.imsi.as_str()))
            }
            Suffix::Done => None,
        }
    }
}

impl FusedIterator for Segments<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn identity() -> Identity {
        Identity {
            imsi: "440100000000001".parse().unwrap(),
            sim_id: "8981100000000000001".parse().unwrap(),
            imei: Some("353456789012348".parse().unwrap()),
        }
    }

    const BOTH: TopicRules = TopicRules {
        append_imsi: true,
        replace_placeholders: true,
        rewrite_will: false,
    };
    const REPLACE: TopicRules = TopicRules {
        append_imsi: false,
        ..BOTH
    };
    const APPEND: TopicRules = TopicRules {
        replace_placeholders: false,
        ..BOTH
    };
    const NEITHER: TopicRules = TopicRules {
        append_imsi: false,
        ..APPEND
    };

    #[test]
    fn b_top_1_and_2_topics_are_rewritten() {
        let check = |rules: TopicRules, topic: &str, as_published: &str, as_subscribed: &str| {
            assert_eq!(
                topic_text(&rules, &identity(), topic, true),
                as_published,
                "{topic}"
            );
            assert_eq!(
                topic_text(&rules, &identity(), topic, false),
                as_subscribed,
                "{topic}"
            );
        };
        check(NEITHER, "a/{{imsi}}", "a/{{imsi}}", "a/{{imsi}}");
        check(
            APPEND,
            "a/{{imsi}}",
            "a/{{imsi}}/440100000000001",
            "a/{{imsi}}",
        );
        check(APPEND, "test", "test/440100000000001", "test");
        check(
            REPLACE,
            "a/{{imsi}}/b",
            "a/440100000000001/b",
            "a/440100000000001/b",
        );
        check(
            REPLACE,
            "{{simId}}{{imei}}",
            "8981100000000000001353456789012348",
            "8981100000000000001353456789012348",
        );
        check(
            REPLACE,
            "{{{imsi}}}",
            "{440100000000001}",
            "{440100000000001}",
        );
        check(
            REPLACE,
            "{{IMSI}}/{{imsi}/{{",
            "{{IMSI}}/{{imsi}/{{",
            "{{IMSI}}/{{imsi}/{{",
        );
        check(
            BOTH,
            "{{imsi}}",
            "440100000000001/440100000000001",
            "440100000000001",
        );
        check(
            BOTH,
            "日本/{{imsi}}/語",
            "日本/440100000000001/語/440100000000001",
            "日本/440100000000001/語",
        );
        check(
            REPLACE,
            "$share/{{imsi}}/{{imsi}}/#",
            "$share/440100000000001/440100000000001/#",
            "$share/{{imsi}}/440100000000001/#",
        );
    }

    #[test]
    fn b_top_3_an_unknown_imei_is_named_so() {
        let unknown = Identity {
            imei: None,
            ..identity()
        };
        assert_eq!(
            topic_text(&REPLACE, &unknown, "a/{{imei}}", true),
            "a/unknown-imei"
        );
    }

    #[test]
    fn nothing_to_rewrite_returns_the_topic_in_one_piece() {
        let identity = identity();
        let topic = "a/b/{c}";
        for rules in [NEITHER, REPLACE] {
            let segments: Vec<_> = published(&rules, &identity, topic).collect();
            assert_eq!(segments, [Segment::Topic(0..topic.len())]);
        }
        assert!(!changes_published(&REPLACE, "a/b"));
        assert!(changes_published(&APPEND, "a/b"));
    }
}
