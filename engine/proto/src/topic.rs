//! Topic: which names may be published to, and where a filter has its share name (MQTT 3.1.1 and 5, section
//! 4.7). UTF-8 and NUL are checked where strings are read; whether a filter is legal says whoever gets it.

/// What one look at a published topic finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    /// ASCII without NUL and wildcards: legal text and, unless it is empty, a legal name.
    pub(crate) is_plain: bool,
    /// Whether a `{` stands in it, with which a placeholder begins.
    pub(crate) has_brace: bool,
}

/// Looks at a topic once, eight bytes at a time.
#[inline]
pub(crate) fn look(topic: &[u8]) -> Look {
    let (words, rest) = topic.as_chunks::<8>();
    let (mut strange, mut braces) = (0, 0);
    for bytes in words {
        let word = u64::from_le_bytes(*bytes);
        strange |= strange_bytes(word);
        braces |= brace_bytes(word);
    }
    match topic.last_chunk() {
        // It overlaps the word before.
        Some(bytes) if !rest.is_empty() => {
            let word = u64::from_le_bytes(*bytes);
            strange |= strange_bytes(word);
            braces |= brace_bytes(word);
        }
        _ => {
            for byte in rest {
                strange |= strange_bytes(eight(*byte));
                braces |= brace_bytes(eight(*byte));
            }
        }
    }
    Look {
        is_plain: strange == 0,
        has_brace: braces != 0,
    }
}

/// Where the first `{` stands.
#[inline]
pub(crate) fn find_brace(text: &[u8]) -> Option<usize> {
    let (words, rest) = text.as_chunks::<8>();
    let mut start = 0_usize;
    for bytes in words {
        let found = brace_bytes(u64::from_le_bytes(*bytes));
        if found != 0 {
            return Some(start.saturating_add(lowest_byte(found)));
        }
        start = start.saturating_add(8);
    }
    let found = rest.iter().position(|byte| *byte == b'{')?;
    Some(start.saturating_add(found))
}

/// Marks the bytes of `word` that are not ASCII, NUL or a wildcard; see [`zero_bytes`].
#[inline]
const fn strange_bytes(word: u64) -> u64 {
    // `+` and `#` differ in one bit.
    let wildcard = (word | eight(b'+' ^ b'#')) ^ eight(b'+' | b'#');
    word & eight(0x80) | zero_bytes(word) | zero_bytes(wildcard)
}

/// Marks the bytes of `word` that are `{`; see [`zero_bytes`].
#[inline]
const fn brace_bytes(word: u64) -> u64 {
    zero_bytes(word ^ eight(b'{'))
}

/// The index of the lowest byte that is marked.
#[inline]
const fn lowest_byte(marks: u64) -> usize {
    (marks.trailing_zeros() >> 3) as usize
}

const fn eight(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// The highest bit of every byte that is zero. Bytes above the lowest such one may be marked wrongly.
#[inline]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(eight(1)) & !word & eight(0x80)
}

/// Whether a wildcard stands in `name`, which can then not be published to.
#[must_use]
pub fn has_wildcard(name: &str) -> bool {
    memchr::memchr2(b'+', b'#', name.as_bytes()).is_some()
}

/// Splits `$share/{name}/{filter}` into its share name and the filter that follows it. Any other
/// filter has no share name. A `$share/` without a filter gives an empty one.
#[must_use]
pub fn split_share(filter: &str) -> (Option<&str>, &str) {
    match filter.strip_prefix("$share/") {
        Some(rest) => {
            let (share, inner) = rest.split_once('/').unwrap_or((rest, ""));
            (Some(share), inner)
        }
        None => (None, filter),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn b_top_5_names_have_no_wildcards() {
        for (name, has) in [
            ("a", false),
            ("", false),
            ("a//b", false),
            ("$SYS/x", false),
            ("a/+", true),
            ("a/#", true),
            ("a+b", true),
            ("日本/温度", false),
        ] {
            assert_eq!(has_wildcard(name), has, "{name:?}");
        }
    }

    /// B-TOP-5: one look says the same as a check of every byte, wherever a byte stands.
    #[test]
    fn one_look_finds_what_every_byte_says() {
        let check = |topic: &[u8]| {
            let strange = |byte: &u8| !byte.is_ascii() || b"\0+#".contains(byte);
            let expected = Look {
                is_plain: !topic.iter().any(strange),
                has_brace: topic.contains(&b'{'),
            };
            assert_eq!(look(topic), expected, "{topic:02x?}");
            let first = topic.iter().position(|byte| *byte == b'{');
            assert_eq!(find_brace(topic), first, "{topic:02x?}");
        };
        for length in 0..40 {
            check(&vec![b'z'; length]);
            for index in 0..length {
                for byte in 0..=255 {
                    let mut topic = vec![b'a'; length];
                    topic[index] = byte;
                    check(&topic);
                    topic[index / 2] = b'{';
                    check(&topic);
                }
            }
        }
    }

    #[test]
    fn b_top_2_a_share_name_is_told_from_its_filter() {
        for (filter, share, inner) in [
            ("a/#", None, "a/#"),
            ("$share/g/a", Some("g"), "a"),
            ("$share/g//", Some("g"), "/"),
            ("$share/g", Some("g"), ""),
            ("$share//a", Some(""), "a"),
            ("$shared/g/a", None, "$shared/g/a"),
        ] {
            assert_eq!(split_share(filter), (share, inner), "{filter:?}");
        }
    }
}
