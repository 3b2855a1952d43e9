//! SUBSCRIBE and UNSUBSCRIBE: a packet identifier, properties, then filters.

use core::ops::Range;

use super::properties::{self, Place};
use super::read::Reader;
use super::{Kind, Qos, Version};
use crate::error::{Forbidden, Malformed, Offence};
use crate::topic;

/// A checked SUBSCRIBE or UNSUBSCRIBE.
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
    /// Checks the body of a SUBSCRIBE or UNSUBSCRIBE.
    ///
    /// # Errors
    /// When it is malformed or not allowed in `version`.
    pub fn read(kind: Kind, body: &'a [u8], version: Version) -> Result<Self, Offence> {
        let mut reader = Reader::new(body);
        reader.packet_id()?;
        if version == Version::V5 {
            properties::read(&mut reader, Place::Device(kind), &mut |_, _| {})?;
        }
        let before_bytes = body.len().saturating_sub(reader.remaining());
        let (before, entries) = body
            .split_at_checked(before_bytes)
            .ok_or(Malformed::Truncated)?;
        if entries.is_empty() {
            return Err(Forbidden::NoFilters.into());
        }
        let with_options = kind == Kind::Subscribe;
        while !reader.is_empty() {
            let filter = reader.string()?;
            // Before v5, `$share/` is a level like any other (B-ERR-2).
            let legal = match version {
                Version::V31 | Version::V311 => topic::has_legal_wildcards(filter),
                Version::V5 => topic::is_legal_filter(filter),
            };
            if !legal {
                return Err(Forbidden::TopicFilter.into());
            }
            if with_options {
                check_options(reader.byte()?, filter, version)?;
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

fn check_options(options: u8, filter: &str, version: Version) -> Result<(), Offence> {
    match version {
        // MQTT 3.1 does not use the upper bits (B-ERR-2).
        Version::V31 => {
            Qos::from_bits(options)?;
        }
        Version::V311 => {
            Qos::from_bits(options)?;
            if options & 0b1111_1100 != 0 {
                return Err(Malformed::ReservedBits.into());
            }
        }
        Version::V5 => {
            if options & 0b1100_0000 != 0 {
                return Err(Malformed::ReservedBits.into());
            }
            if options & 0b0011_0000 == 0b0011_0000 || options & 0b0011 == 0b0011 {
                return Err(Forbidden::SubscriptionOption.into());
            }
            // MQTT-3.8.3-4
            if options & 0b0100 != 0 && topic::split_share(filter).0.is_some() {
                return Err(Forbidden::NoLocalShared.into());
            }
        }
    }
    Ok(())
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
    fn illegal_subscriptions_are_refused() {
        let check = |body: &[u8], version, expected: Offence| {
            assert_eq!(
                Filters::read(Kind::Subscribe, body, version),
                Err(expected),
                "{body:02x?}"
            );
        };
        check(&[0, 9], Version::V311, Forbidden::NoFilters.into());
        check(
            &[0, 0, 0, 1, b'a', 0],
            Version::V311,
            Forbidden::PacketIdZero.into(),
        );
        check(
            &[0, 9, 0, 1, b'a'],
            Version::V311,
            Malformed::Truncated.into(),
        );
        check(&[0, 9, 0, 1, b'a', 3], Version::V311, Malformed::Qos.into());
        check(
            &[0, 9, 0, 1, b'a', 4],
            Version::V311,
            Malformed::ReservedBits.into(),
        );
        check(
            &[0, 9, 0, 2, b'a', b'#', 0],
            Version::V311,
            Forbidden::TopicFilter.into(),
        );
        check(
            &[0, 9, 0, 0, 0],
            Version::V311,
            Forbidden::TopicFilter.into(),
        );
        check(
            &[0, 9, 0, 0, 1, b'a', 0x40],
            Version::V5,
            Malformed::ReservedBits.into(),
        );
        for options in [0x30, 0x03] {
            check(
                &[0, 9, 0, 0, 1, b'a', options],
                Version::V5,
                Forbidden::SubscriptionOption.into(),
            );
        }
        let shared = [&[0, 9, 0, 0, 10][..], b"$share/g/a", &[4]].concat();
        check(&shared, Version::V5, Forbidden::NoLocalShared.into());
        Filters::read(Kind::Subscribe, &[0, 9, 0, 1, b'a', 4], Version::V31).unwrap();
    }

    #[test]
    fn b_err_2_share_is_an_ordinary_level_before_v5() {
        for filter in [&b"$share/g"[..], b"$share//a", b"$share/+/a"] {
            let length = [0, u8::try_from(filter.len()).unwrap()];
            let old = [&[0, 9][..], &length, filter, &[0]].concat();
            let new = [&[0, 9, 0][..], &length, filter, &[0]].concat();
            for version in [Version::V31, Version::V311] {
                Filters::read(Kind::Subscribe, &old, version).unwrap();
            }
            assert_eq!(
                Filters::read(Kind::Subscribe, &new, Version::V5),
                Err(Forbidden::TopicFilter.into())
            );
        }
    }
}
