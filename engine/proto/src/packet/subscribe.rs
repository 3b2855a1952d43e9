//! SUBSCRIBE and UNSUBSCRIBE: a packet identifier, properties, then filters.

use core::ops::Range;

use super::properties;
use super::read::Reader;
use super::{Kind, Version};
use crate::error::Malformed;

/// A SUBSCRIBE or UNSUBSCRIBE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filters<'a> {
    /// The body up to the first filter: packet identifier and properties.
    pub before: &'a [u8],
    /// The filters, each with its options in a SUBSCRIBE.
    entries: &'a [u8],
    with_options: bool,
}

/// One filter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The filter, share name included.
    pub filter: &'a str,
    /// Where it stands in the body.
    pub range: Range<usize>,
    /// The subscription options; none in an UNSUBSCRIBE.
    pub options: Option<u8>,
}

impl<'a> Filters<'a> {
    /// Reads the body of a SUBSCRIBE or UNSUBSCRIBE, so that its filters can be rewritten; whether they are legal
    /// says the upstream (B-ERR-6).
    ///
    /// # Errors
    /// When its filters cannot be told apart, or are no text.
    pub fn read(kind: Kind, body: &'a [u8], version: Version) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        reader.two_bytes()?;
        if version == Version::V5 {
            properties::take(&mut reader)?;
        }
        let before_bytes = body.len().saturating_sub(reader.remaining());
        let (before, entries) = body
            .split_at_checked(before_bytes)
            .ok_or(Malformed::Truncated)?;
        let with_options = kind == Kind::Subscribe;
        while !reader.is_empty() {
            reader.string()?;
            if with_options {
                reader.byte()?;
            }
        }
        Ok(Self {
            before,
            entries,
            with_options,
        })
    }

    /// The filters in order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'a>> {
        let mut reader = Reader::new(self.entries);
        let with_options = self.with_options;
        let body_bytes = self.before.len().saturating_add(self.entries.len());
        core::iter::from_fn(move || {
            if reader.is_empty() {
                return None;
            }
            let filter = reader.string().ok()?;
            let end = body_bytes.saturating_sub(reader.remaining());
            let options = if with_options {
                Some(reader.byte().ok()?)
            } else {
                None
            };
            Some(Entry {
                filter,
                range: end.saturating_sub(filter.len())..end,
                options,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn filters_are_checked_and_listed() {
        let body = [0, 9, 0, 1, b'a', 1, 0, 3, b'b', b'/', b'#', 2];
        let filters = Filters::read(Kind::Subscribe, &body, Version::V311).unwrap();
        let entries: Vec<_> = filters.entries().collect();
        assert_eq!(
            entries[0],
            Entry {
                filter: "a",
                range: 4..5,
                options: Some(1)
            }
        );
        assert_eq!(
            entries[1],
            Entry {
                filter: "b/#",
                range: 8..11,
                options: Some(2)
            }
        );
        let body = [0, 9, 0, 0, 1, b'a', 0, 1, b'b'];
        let filters = Filters::read(Kind::Unsubscribe, &body, Version::V5).unwrap();
        assert_eq!(
            filters
                .entries()
                .map(|entry| entry.filter)
                .collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn filters_that_cannot_be_told_apart_are_refused() {
        let check = |body: &[u8], version, expected| {
            let found = Filters::read(Kind::Subscribe, body, version);
            assert_eq!(found, Err(expected), "{body:02x?}");
        };
        check(&[0], Version::V311, Malformed::Truncated);
        check(&[0, 9], Version::V5, Malformed::Truncated);
        check(&[0, 9, 0, 1, b'a'], Version::V311, Malformed::Truncated);
        check(&[0, 9, 0, 3, b'a', 0], Version::V311, Malformed::Truncated);
        check(&[0, 9, 0, 1, 0, 0], Version::V311, Malformed::Utf8);
        check(&[0, 9, 0, 1, 0xff, 0], Version::V311, Malformed::Utf8);
    }

    #[test]
    fn b_err_6_the_upstream_judges_filters_and_options() {
        let read = |body: &[u8], version| {
            let filters = Filters::read(Kind::Subscribe, body, version).unwrap();
            filters.entries().count()
        };
        assert_eq!(read(&[0, 9], Version::V311), 0);
        assert_eq!(read(&[0, 0, 0, 1, b'a', 0], Version::V311), 1);
        assert_eq!(read(&[0, 9, 0, 0, 0], Version::V311), 1);
        assert_eq!(read(&[0, 9, 0, 2, b'a', b'#', 0xff], Version::V311), 1);
        assert_eq!(read(&[0, 9, 1, 0x7f, 0, 1, b'a', 0x33], Version::V5), 1);
    }
}
