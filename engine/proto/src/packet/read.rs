//! Read: takes fields off the front of a packet's body, each checked.

use crate::error::Malformed;
use crate::frame::varint;

/// What is left of a body.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// A reader over `body`.
    #[must_use]
    pub const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// Whether everything is read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self
            .rest
            .split_at_checked(count)
            .ok_or(Malformed::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    /// Everything that is left.
    pub const fn take_rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        rest
    }

    /// One byte.
    ///
    /// # Errors
    /// When none is left.
    pub fn byte(&mut self) -> Result<u8, Malformed> {
        let [byte, rest @ ..] = self.rest else {
            return Err(Malformed::Truncated);
        };
        self.rest = rest;
        Ok(*byte)
    }

    /// Two bytes, high one first.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn two_bytes(&mut self) -> Result<u16, Malformed> {
        let [high, low, rest @ ..] = self.rest else {
            return Err(Malformed::Truncated);
        };
        self.rest = rest;
        Ok(u16::from_be_bytes([*high, *low]))
    }

    /// Four bytes, highest one first.
    ///
    /// # Errors
    /// When fewer are left.
    pub fn four_bytes(&mut self) -> Result<u32, Malformed> {
        let [a, b, c, d, rest @ ..] = self.rest else {
            return Err(Malformed::Truncated);
        };
        self.rest = rest;
        Ok(u32::from_be_bytes([*a, *b, *c, *d]))
    }

    /// A variable byte integer.
    ///
    /// # Errors
    /// When it is not whole or runs past four bytes.
    pub fn varint(&mut self) -> Result<usize, Malformed> {
        let (value, length) = varint(self.rest)?.ok_or(Malformed::Truncated)?;
        self.take(length)?;
        Ok(value)
    }

    /// Binary data: two bytes of length, then as many bytes.
    ///
    /// # Errors
    /// When it is not whole.
    pub fn binary(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.two_bytes()?;
        self.take(usize::from(length))
    }

    /// A string: binary data that is UTF-8 without NUL.
    ///
    /// # Errors
    /// When it is not whole or not legal.
    pub fn string(&mut self) -> Result<&'a str, Malformed> {
        text(self.binary()?)
    }

    /// That nothing is left.
    ///
    /// # Errors
    /// When bytes are left.
    pub const fn end(&self) -> Result<(), Malformed> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Malformed::TrailingBytes)
        }
    }
}

/// `bytes` as MQTT text: UTF-8 without NUL.
///
/// # Errors
/// When they are none.
pub fn text(bytes: &[u8]) -> Result<&str, Malformed> {
    let text = core::str::from_utf8(bytes).map_err(|_| Malformed::Utf8)?;
    if memchr::memchr(0, bytes).is_some() {
        Err(Malformed::Utf8)
    } else {
        Ok(text)
    }
}
