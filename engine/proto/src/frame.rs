//! Frame: where one packet ends and the next begins. Bytes in, a fixed header out; nothing of the
//! body is read here.
//!
//! ```text
//! +------+-------+------------------+----------------------------+
//! | type | flags | remaining length | body: remaining length     |
//! | 4 bit| 4 bit | 1 to 4 bytes     | bytes                      |
//! +------+-------+------------------+----------------------------+
//! ```

use crate::error::Malformed;
use crate::limits::{FIXED_HEADER_BYTES_MAX, REMAINING_LENGTH_BYTES_MAX, REMAINING_LENGTH_MAX};

/// A packet's fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedHeader {
    /// Packet type and flags.
    pub first: u8,
    /// Bytes of the fixed header itself: 2 to 5.
    pub header_bytes: usize,
    /// Bytes of the body.
    pub remaining: usize,
}

impl FixedHeader {
    /// The low four bits of the first byte.
    #[must_use]
    pub const fn flags(self) -> u8 {
        self.first & 0x0f
    }

    /// Whether the remaining length takes no more bytes than its value needs. MQTT 5 demands it
    /// (MQTT-1.5.5-1), earlier versions do not (B-ERR-2); it can be read in any case.
    #[must_use]
    pub fn is_minimal(self) -> bool {
        Varint::encode(self.remaining)
            .is_some_and(|length| length.as_bytes().len().saturating_add(1) == self.header_bytes)
    }

    /// Bytes of the whole packet.
    #[must_use]
    pub const fn packet_bytes(self) -> usize {
        self.header_bytes.saturating_add(self.remaining)
    }
}

/// Reads the fixed header at the front of `stream`; `None` while it is not whole.
///
/// # Errors
/// When the remaining length runs past four bytes.
pub fn fixed_header(stream: &[u8]) -> Result<Option<FixedHeader>, Malformed> {
    let [first, rest @ ..] = stream else {
        return Ok(None);
    };
    Ok(varint(rest)?.map(|(remaining, length)| FixedHeader {
        first: *first,
        header_bytes: length.saturating_add(1),
        remaining,
    }))
}

/// Reads a variable byte integer: its value and its length in bytes; `None` while it is not whole.
///
/// # Errors
/// When it runs past four bytes.
#[inline]
pub fn varint(stream: &[u8]) -> Result<Option<(usize, usize)>, Malformed> {
    let value = |low_first: &[u8]| {
        low_first.iter().rev().fold(0_usize, |value, byte| {
            value.wrapping_shl(7) | usize::from(byte & 0x7f)
        })
    };
    Ok(Some(match *stream {
        [a, ..] if a < 0x80 => (usize::from(a), 1),
        [a, b, ..] if b < 0x80 => (value(&[a, b]), 2),
        [a, b, c, ..] if c < 0x80 => (value(&[a, b, c]), 3),
        [a, b, c, d, ..] if d < 0x80 => (value(&[a, b, c, d]), 4),
        [_, _, _, _, ..] => return Err(Malformed::VarintOverlong),
        _ => return Ok(None),
    }))
}

/// A variable byte integer as it is written, at most four bytes.
#[derive(Clone, Copy, Debug)]
pub struct Varint {
    bytes: [u8; REMAINING_LENGTH_BYTES_MAX],
    len: usize,
}

impl Varint {
    /// Writes `value`; `None` beyond 268,435,455.
    #[must_use]
    #[inline]
    pub const fn encode(value: usize) -> Option<Self> {
        let len = match value {
            0..=0x7f => 1,
            0x80..=0x3fff => 2,
            0x4000..=0x1f_ffff => 3,
            0x20_0000..=REMAINING_LENGTH_MAX => 4,
            _ => return None,
        };
        let (a, b, c, d) = (value, value >> 7, value >> 14, value >> 21);
        Some(Self {
            bytes: [
                more(a, len > 1),
                more(b, len > 2),
                more(c, len > 3),
                more(d, false),
            ],
            len,
        })
    }

    /// How many bytes it has.
    #[must_use]
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "it has one at least")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Its bytes.
    #[must_use]
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The low seven bits of `value`, and whether more follow.
#[expect(
    clippy::cast_possible_truncation,
    reason = "the low bits are what is asked for"
)]
const fn more(value: usize, follows: bool) -> u8 {
    (value & 0x7f) as u8 | if follows { 0x80 } else { 0 }
}

const _: () = assert!(REMAINING_LENGTH_BYTES_MAX == 4);
const _: () = assert!(FIXED_HEADER_BYTES_MAX == 5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_at_any_split() {
        let check = |stream: &[u8], expected| {
            for end in 0..=stream.len() {
                let found = fixed_header(&stream[..end]);
                if end < stream.len() {
                    assert_eq!(found, Ok(None), "{stream:02x?} cut at {end}");
                } else {
                    assert_eq!(found, expected, "{stream:02x?}");
                }
            }
        };
        let header = |first, header_bytes, remaining| {
            Ok(Some(FixedHeader {
                first,
                header_bytes,
                remaining,
            }))
        };
        check(&[0xc0, 0], header(0xc0, 2, 0));
        check(&[0x30, 0x7f], header(0x30, 2, 127));
        check(&[0x30, 0x80, 0x01], header(0x30, 3, 128));
        check(
            &[0x3d, 0xff, 0xff, 0xff, 0x7f],
            header(0x3d, 5, REMAINING_LENGTH_MAX),
        );
        check(
            &[0x30, 0x80, 0x80, 0x80, 0x80],
            Err(Malformed::VarintOverlong),
        );
    }

    #[test]
    fn b_err_2_a_longer_length_than_need_be_is_read_and_noticed() {
        for (stream, minimal) in [
            (&[0xc0, 0][..], true),
            (&[0xc0, 0x80, 0x00], false),
            (&[0xc0, 0x80, 0x80, 0x80, 0x00], false),
            (&[0x30, 0xff, 0x00], false),
            (&[0x30, 0x80, 0x01], true),
        ] {
            let header = fixed_header(stream).unwrap().unwrap();
            assert_eq!(header.is_minimal(), minimal, "{stream:02x?}");
        }
    }

    #[test]
    fn varints_are_written_as_they_are_read() {
        for value in [
            0,
            1,
            127,
            128,
            16_383,
            16_384,
            2_097_151,
            2_097_152,
            REMAINING_LENGTH_MAX,
        ] {
            let written = Varint::encode(value).unwrap();
            assert_eq!(
                varint(written.as_bytes()),
                Ok(Some((value, written.as_bytes().len())))
            );
        }
        assert!(Varint::encode(REMAINING_LENGTH_MAX + 1).is_none());
    }
}
