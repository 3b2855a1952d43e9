//! Identity: the digits that name a SIM. Text in, checked digits out; nothing is allocated.

use core::fmt;
use core::str::FromStr;

use crate::limits::{IMEI_DIGITS_MAX, IMSI_DIGITS_MAX, SIM_ID_DIGITS_MAX};

/// What a topic or a user name says where the IMEI is not known (B-TOP-3).
pub const UNKNOWN_IMEI: &str = "unknown-imei";

/// Why a text is no identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDigits {
    /// A character is no ASCII digit.
    #[error("only the digits 0 to 9 are accepted")]
    NotDigits,
    /// Too few or too many digits.
    #[error("{found} digits, accepted are {min} to {max}")]
    Length {
        /// Digits found.
        found: usize,
        /// Fewest accepted.
        min: usize,
        /// Most accepted.
        max: usize,
    },
}

/// Up to `N` decimal digits, leading zeros kept.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Digits<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Digits<N> {
    fn parse(text: &str, min: usize) -> Result<Self, InvalidDigits> {
        if !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidDigits::NotDigits);
        }
        let found = text.len();
        let length = InvalidDigits::Length { found, min, max: N };
        if found < min {
            return Err(length);
        }
        let mut bytes = [0; N];
        bytes
            .get_mut(..found)
            .ok_or(length)?
            .copy_from_slice(text.as_bytes());
        Ok(Self {
            bytes,
            len: u8::try_from(found).map_err(|_| length)?,
        })
    }

    fn as_str(&self) -> &str {
        let digits = self.bytes.get(..usize::from(self.len)).unwrap_or_default();
        core::str::from_utf8(digits).unwrap_or_default()
    }

    /// Writes the digits to the front of `room`, and returns how many they are. Their whole field is
    /// copied, since that is one store: `None` where `room` is less.
    #[inline]
    fn write(&self, room: &mut [u8]) -> Option<usize> {
        *room.first_chunk_mut()? = self.bytes;
        Some(usize::from(self.len))
    }

    fn plus(&self, offset: u64) -> Option<Self> {
        let mut sum = *self;
        let mut carry = u128::from(offset);
        for digit in sum.bytes.get_mut(..usize::from(sum.len))?.iter_mut().rev() {
            if carry == 0 {
                break;
            }
            let value = u128::from(digit.wrapping_sub(b'0')).checked_add(carry)?;
            *digit = b'0'.checked_add(u8::try_from(value.checked_rem(10)?).ok()?)?;
            carry = value.checked_div(10)?;
        }
        (carry == 0).then_some(sum)
    }

    /// The value as a number, without its leading zeros.
    fn value(&self) -> u128 {
        self.as_str().parse().unwrap_or_default()
    }
}

macro_rules! digits {
    ($(#[$doc:meta])* $name:ident, $min:literal, $max:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Digits<$max>);

        impl $name {
            /// The digits as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// How many digits it has.
            #[expect(clippy::len_without_is_empty, reason = "it has one at least")]
            #[must_use]
            pub fn len(&self) -> usize {
                usize::from(self.0.len)
            }

            /// Writes the digits to the front of `room`, which their longest must fit, and returns
            /// how many they are. What follows them there is overwritten.
            #[inline]
            pub(crate) fn write(&self, room: &mut [u8]) -> Option<usize> {
                self.0.write(room)
            }

            /// The identity `offset` numbers on, of the same width; `None` where the width is used up.
            #[must_use]
            pub fn plus(&self, offset: u64) -> Option<Self> {
                self.0.plus(offset).map(Self)
            }

            /// How far `self` lies after `base` among identities of its width, if it does.
            #[must_use]
            pub fn offset_from(&self, base: &Self) -> Option<u64> {
                if self.0.len != base.0.len {
                    return None;
                }
                u64::try_from(self.0.value().checked_sub(base.0.value())?).ok()
            }
        }

        impl FromStr for $name {
            type Err = InvalidDigits;

            fn from_str(text: &str) -> Result<Self, InvalidDigits> {
                Digits::parse(text, $min).map(Self)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(self.as_str())
            }
        }
    };
}

digits!(
    /// The subscriber's number in the mobile network: 6 to 15 digits (ITU-T E.212).
    Imsi, 6, IMSI_DIGITS_MAX
);
digits!(
    /// The SIM card's own number, as a rule its ICCID: 1 to 22 digits.
    SimId, 1, SIM_ID_DIGITS_MAX
);
digits!(
    /// The modem's number: 14 to 16 digits (3GPP TS 23.003).
    Imei, 14, IMEI_DIGITS_MAX
);

impl Imei {
    /// The IMEI of 14 to 16 digits: its first 14, and the check digit (3GPP TS 23.003, annex B). What networks send
    /// there instead is a zero as often as not, or a software version (IMEISV); one modem must not have two names.
    #[must_use]
    pub fn with_check_digit(text: &str) -> Option<Self> {
        let Self(Digits { mut bytes, .. }) = text.parse().ok()?;
        let (body, rest) = bytes.split_at_mut_checked(14)?;
        let sum = body.iter().enumerate().fold(0_u8, |sum, (place, digit)| {
            let digit = digit.wrapping_sub(b'0');
            // Every second one counts double, by the sum of the digits that this makes.
            let value = match (place & 1, digit) {
                (0, _) => digit,
                (_, 0..=4) => digit.saturating_mul(2),
                (_, _) => digit.saturating_mul(2).saturating_sub(9),
            };
            sum.saturating_add(value)
        });
        let check = 10_u8.checked_sub(sum.checked_rem(10)?)?.checked_rem(10)?;
        rest.fill(0);
        *rest.first_mut()? = b'0'.checked_add(check)?;
        Some(Self(Digits { bytes, len: 15 }))
    }
}

/// Who a session belongs to (B-ID-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The subscriber.
    pub imsi: Imsi,
    /// The card.
    pub sim_id: SimId,
    /// The modem, where it is known.
    pub imei: Option<Imei>,
}

impl Identity {
    /// The modem's number, or what stands for an unknown one (B-TOP-3).
    #[must_use]
    pub fn imei_text(&self) -> &str {
        self.imei.as_ref().map_or(UNKNOWN_IMEI, Imei::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::borrow::ToOwned as _;
    use alloc::string::ToString as _;

    #[test]
    fn digits_keep_leading_zeros_and_refuse_the_rest() {
        let check = |text: &str, expected: Result<&str, InvalidDigits>| {
            let parsed = text.parse::<Imsi>();
            assert_eq!(
                parsed.map(|imsi| imsi.to_string()),
                expected.map(str::to_owned)
            );
        };
        check("001010000000001", Ok("001010000000001"));
        check("440100000000001", Ok("440100000000001"));
        check("44010000000000x", Err(InvalidDigits::NotDigits));
        check("４４０１", Err(InvalidDigits::NotDigits));
        check(
            "12345",
            Err(InvalidDigits::Length {
                found: 5,
                min: 6,
                max: 15,
            }),
        );
        check(
            "4401000000000012",
            Err(InvalidDigits::Length {
                found: 16,
                min: 6,
                max: 15,
            }),
        );
        check(
            "",
            Err(InvalidDigits::Length {
                found: 0,
                min: 6,
                max: 15,
            }),
        );
    }

    #[test]
    fn ranges_count_within_their_width() {
        let base: Imsi = "440100000099999".parse().unwrap();
        assert_eq!(base.plus(1).unwrap().as_str(), "440100000100000");
        assert_eq!(base.plus(0), Some(base));
        let last: Imsi = "999999999999999".parse().unwrap();
        assert_eq!(last.plus(1), None);
        let zeros: SimId = "0009".parse().unwrap();
        assert_eq!(zeros.plus(u64::MAX), None);
        assert_eq!(zeros.plus(90).unwrap().as_str(), "0099");
        assert_eq!(base.plus(70_000).unwrap().offset_from(&base), Some(70_000));
        assert_eq!(base.offset_from(&base.plus(1).unwrap()), None);
    }

    #[test]
    fn b_id_1_one_modem_has_one_imei() {
        let check = |text: &str, expected: Option<&str>| {
            let imei = Imei::with_check_digit(text);
            assert_eq!(imei.as_ref().map(Imei::as_str), expected, "{text}");
        };
        // The example of 3GPP TS 23.003, annex B.
        check("26053179311383", Some("260531793113837"));
        check("260531793113830", Some("260531793113837"));
        check("2605317931138301", Some("260531793113837"));
        check("353456789012348", Some("353456789012348"));
        check("00000000000000", Some("000000000000000"));
        check("2605317931138", None);
        check("2605317931138x", None);
        let imei = Imei::with_check_digit("2605317931138301");
        assert_eq!(imei, "260531793113837".parse().ok());
    }
}
