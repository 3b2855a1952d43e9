//! Rewrite: a topic and the SIM it came from -> the topic's own ranges and small inserts, in order.
//! Placeholders first, suffix second (B-TOP-1, B-TOP-2).

use alloc::string::String;
use core::iter::FusedIterator;
use core::ops::Range;

use crate::identity::{Identity, UNKNOWN_IMEI};
use crate::limits::SIM_ID_DIGITS_MAX;
use crate::rules::TopicRules;
use crate::topic::{find_brace, split_share};

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

/// What stands for a part of the identity (B-TOP-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Placeholder {
    Imsi,
    SimId,
    Imei,
}

impl Placeholder {
    /// The first one in `text`, and where it stands.
    #[inline]
    fn find(text: &[u8]) -> Option<(Range<usize>, Self)> {
        let mut start = find_brace(text)?;
        loop {
            let candidate = text.get(start..)?;
            if let Some((placeholder, bytes)) = Self::at_front(candidate) {
                return Some((start..start.checked_add(bytes)?, placeholder));
            }
            let next = start.checked_add(1)?;
            start = next.checked_add(find_brace(text.get(next..)?)?)?;
        }
    }

    /// The one that `text` begins with, and its bytes.
    #[inline]
    fn at_front(text: &[u8]) -> Option<(Self, usize)> {
        if text.starts_with(b"{{imsi}}") {
            Some((Self::Imsi, 8))
        } else if text.starts_with(b"{{simId}}") {
            Some((Self::SimId, 9))
        } else if text.starts_with(b"{{imei}}") {
            Some((Self::Imei, 8))
        } else {
            None
        }
    }

    fn value(self, identity: &Identity) -> &str {
        match self {
            Self::Imsi => identity.imsi.as_str(),
            Self::SimId => identity.sim_id.as_str(),
            Self::Imei => identity.imei_text(),
        }
    }

    /// Writes the value to the front of `room`.
    #[inline]
    fn write(self, identity: &Identity, room: &mut [u8]) -> Option<usize> {
        match (self, &identity.imei) {
            (Self::Imsi, _) => identity.imsi.write(room),
            (Self::SimId, _) => identity.sim_id.write(room),
            (Self::Imei, Some(imei)) => imei.write(room),
            // B-TOP-3
            (Self::Imei, None) => write(UNKNOWN_IMEI.as_bytes(), room),
        }
    }
}

/// Room in which a topic of `topic_bytes` is written as it is published, at least: a placeholder of nine
/// bytes becomes 22 at most, and every value is written with its whole field.
pub(crate) const fn published_room(topic_bytes: usize) -> usize {
    topic_bytes
        .saturating_mul(3)
        .saturating_add(2 * SIM_ID_DIGITS_MAX)
}

/// Writes to the front of `room` how a topic is published, as [`published`] has it, and returns how many
/// bytes that is. `None` where the room is less than [`published_room`].
#[inline]
pub(crate) fn write_published(
    rules: &TopicRules,
    identity: &Identity,
    topic: &[u8],
    room: &mut [u8],
) -> Option<usize> {
    let mut rest = topic;
    let mut end = 0_usize;
    if rules.replace_placeholders {
        while let Some((range, placeholder)) = Placeholder::find(rest) {
            let literal = rest.get(..range.start)?;
            end = end.checked_add(write(literal, room.get_mut(end..)?)?)?;
            end = end.checked_add(placeholder.write(identity, room.get_mut(end..)?)?)?;
            rest = rest.get(range.end..)?;
        }
    }
    end = end.checked_add(write(rest, room.get_mut(end..)?)?)?;
    if rules.append_imsi {
        *room.get_mut(end)? = b'/';
        end = end.checked_add(1)?;
        end = end.checked_add(identity.imsi.write(room.get_mut(end..)?)?)?;
    }
    Some(end)
}

/// Writes `text` to the front of `room`, and returns its length. Parts of topics are a few bytes, which two
/// stores that may overlap copy sooner than a call does.
#[inline]
fn write(text: &[u8], room: &mut [u8]) -> Option<usize> {
    let room = room.get_mut(..text.len())?;
    if text.len() > 16 {
        room.copy_from_slice(text);
    } else if let (Some(first), Some(last)) = (text.first_chunk::<8>(), text.last_chunk()) {
        *room.first_chunk_mut()? = *first;
        *room.last_chunk_mut::<8>()? = *last;
    } else if let (Some(first), Some(last)) = (text.first_chunk::<4>(), text.last_chunk()) {
        *room.first_chunk_mut()? = *first;
        *room.last_chunk_mut::<4>()? = *last;
    } else {
        for (slot, byte) in room.iter_mut().zip(text) {
            *slot = *byte;
        }
    }
    Some(text.len())
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

/// Whether a published topic changes at all; `has_brace`: a `{` stands in it.
#[must_use]
#[inline]
pub const fn changes_published(rules: &TopicRules, has_brace: bool) -> bool {
    rules.append_imsi || (rules.replace_placeholders && has_brace)
}

/// Whether a filter may change: it holds the beginning of a placeholder.
#[must_use]
pub fn changes_subscribed(rules: &TopicRules, filter: &str) -> bool {
    rules.replace_placeholders && find_brace(filter.as_bytes()).is_some()
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
        let rest = self.topic.as_bytes().get(self.position..)?;
        let (range, placeholder) = Placeholder::find(rest)?;
        let start = self.position.checked_add(range.start)?;
        let end = self.position.checked_add(range.end)?;
        Some((start..end, placeholder.value(self.identity)))
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
    use alloc::vec;
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

    /// B-TOP-1, B-TOP-2, B-TOP-3: written in one go, a topic is what its parts make.
    #[test]
    fn topics_are_written_as_their_parts_say() {
        let longest = Identity {
            imsi: "440100000000001".parse().unwrap(),
            sim_id: "8981100000000000000001".parse().unwrap(),
            imei: Some("3534567890123481".parse().unwrap()),
        };
        let shortest = Identity {
            imsi: "440100".parse().unwrap(),
            sim_id: "8".parse().unwrap(),
            imei: None,
        };
        let repeated = |part: &str| part.repeat(511 / part.len());
        let mut topics = vec![
            String::from("sensors/{{imsi}}/temp"),
            String::from("日本/{{imei}}/語{{"),
            String::from("{{{simId}}}{{imsi}"),
            repeated("{{simId}}"),
            repeated("{{imsi}}"),
            repeated("{{imei}}"),
            repeated("{"),
        ];
        topics.extend((0..40).map(|length| "t".repeat(length)));
        topics.extend((0..40).map(|length| "t".repeat(length) + "{{imsi}}"));
        for identity in [identity(), longest, shortest] {
            for rules in [NEITHER, APPEND, REPLACE, BOTH] {
                for topic in &topics {
                    let mut room = vec![b'?'; published_room(topic.len())];
                    let count = write_published(&rules, &identity, topic.as_bytes(), &mut room);
                    let expected = topic_text(&rules, &identity, topic, true);
                    assert_eq!(count, Some(expected.len()), "{topic}");
                    assert!(room.starts_with(expected.as_bytes()), "{topic}");
                }
            }
        }
        assert_eq!(write_published(&BOTH, &longest, b"t", &mut [0; 16]), None);
    }

    #[test]
    fn nothing_to_rewrite_returns_the_topic_in_one_piece() {
        let identity = identity();
        let topic = "a/b/{c}";
        for rules in [NEITHER, REPLACE] {
            let segments: Vec<_> = published(&rules, &identity, topic).collect();
            assert_eq!(segments, [Segment::Topic(0..topic.len())]);
        }
        for (rules, has_brace, expected) in [
            (REPLACE, false, false),
            (REPLACE, true, true),
            (APPEND, false, true),
            (NEITHER, true, false),
        ] {
            assert_eq!(changes_published(&rules, has_brace), expected);
        }
    }
}
