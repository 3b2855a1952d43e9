//! Properties of MQTT 5 (section 2.2.2): a length, then identifier and value pairs. They pass as they came,
//! and whoever gets them judges them (B-ERR-6); the few that this crate acts on are looked up here.

use super::read::Reader;
use crate::error::Malformed;

/// Identifiers that this crate acts on.
pub mod id {
    /// Subscription Identifier.
    pub const SUBSCRIPTION_IDENTIFIER: u8 = 0x0b;
    /// Assigned Client Identifier.
    pub const ASSIGNED_CLIENT_IDENTIFIER: u8 = 0x12;
    /// Server Keep Alive.
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    /// Authentication Method.
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    /// Reason String.
    pub const REASON_STRING: u8 = 0x1f;
    /// Receive Maximum.
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    /// Topic Alias Maximum.
    pub const TOPIC_ALIAS_MAXIMUM: u8 = 0x22;
    /// Topic Alias.
    pub const TOPIC_ALIAS: u8 = 0x23;
    /// Maximum QoS.
    pub const MAXIMUM_QOS: u8 = 0x24;
    /// Retain Available.
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    /// Maximum Packet Size.
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    /// Wildcard Subscription Available.
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    /// Subscription Identifier Available.
    pub const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
    /// Shared Subscription Available.
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2a;
}

/// A property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number of any width.
    Number(u32),
    /// Text or binary data.
    Bytes(&'a [u8]),
    /// Two strings, which nobody here reads.
    Pair,
}

enum Shape {
    Byte,
    TwoBytes,
    FourBytes,
    Varint,
    Bytes,
    Pair,
}

/// The value's shape, by identifier (table 2-4); `None` for identifiers that do not exist.
fn shape(id: u8) -> Option<Shape> {
    Some(match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Shape::Byte,
        0x02 | 0x11 | 0x18 | 0x27 => Shape::FourBytes,
        0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => Shape::Bytes,
        0x0b => Shape::Varint,
        0x13 | 0x21 | 0x22 | 0x23 => Shape::TwoBytes,
        0x26 => Shape::Pair,
        _ => return None,
    })
}

/// Takes the properties at the front of `reader`, without their length.
///
/// # Errors
/// When they are not whole.
pub fn take<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let length = reader.varint()?;
    reader.take(length)
}

/// Hands each of these properties to `visit`.
///
/// # Errors
/// When one is not whole or does not exist: what stands behind it cannot be read.
pub fn each<'a>(
    properties: &'a [u8],
    visit: &mut dyn FnMut(u8, Value<'a>),
) -> Result<(), Malformed> {
    let mut reader = Reader::new(properties);
    while !reader.is_empty() {
        let id = reader.byte()?;
        let shape = shape(id).ok_or(Malformed::Property(id))?;
        visit(id, read_value(&mut reader, &shape)?);
    }
    Ok(())
}

/// Whether the property `wanted` is among these.
///
/// # Errors
/// As [`each`].
pub fn has(properties: &[u8], wanted: u8) -> Result<bool, Malformed> {
    let mut is_there = false;
    each(properties, &mut |id, _| is_there |= id == wanted)?;
    Ok(is_there)
}

fn read_value<'a>(reader: &mut Reader<'a>, shape: &Shape) -> Result<Value<'a>, Malformed> {
    Ok(match shape {
        Shape::Byte => Value::Number(u32::from(reader.byte()?)),
        Shape::TwoBytes => Value::Number(u32::from(reader.two_bytes()?)),
        Shape::FourBytes => Value::Number(reader.four_bytes()?),
        Shape::Varint => Value::Number(u32::try_from(reader.varint()?).unwrap_or(u32::MAX)),
        Shape::Bytes => Value::Bytes(reader.binary()?),
        Shape::Pair => {
            reader.binary()?;
            reader.binary()?;
            Value::Pair
        }
    })
}

/// Passes over the value of the property `id`.
///
/// # Errors
/// When it is malformed or no such property exists.
pub(super) fn skip(reader: &mut Reader<'_>, id: u8) -> Result<(), Malformed> {
    let shape = shape(id).ok_or(Malformed::Property(id))?;
    read_value(reader, &shape)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn properties_are_told_apart_and_not_judged() {
        let check = |bytes: &[u8], expected: Result<Vec<(u8, Value<'_>)>, Malformed>| {
            let mut found = Vec::new();
            let mut reader = Reader::new(bytes);
            let result = take(&mut reader)
                .and_then(|properties| each(properties, &mut |id, value| found.push((id, value))));
            assert_eq!(result.map(|()| found), expected, "{bytes:02x?}");
        };
        use Value::{Bytes, Number, Pair};
        check(&[0], Ok(vec![]));
        check(&[2, 0x01, 1], Ok(vec![(0x01, Number(1))]));
        check(&[3, 0x23, 1, 0], Ok(vec![(0x23, Number(256))]));
        check(&[5, 0x11, 0, 0, 1, 0], Ok(vec![(0x11, Number(256))]));
        check(&[3, 0x0b, 0x80, 0x01], Ok(vec![(0x0b, Number(128))]));
        check(&[4, 0x12, 0, 1, 0xff], Ok(vec![(0x12, Bytes(&[0xff]))]));
        check(&[7, 0x26, 0, 1, b'a', 0, 1, 0], Ok(vec![(0x26, Pair)]));
        // Twice, out of range, longer than need be: whoever gets them sees to that.
        check(
            &[0x84, 0x00, 0x01, 2, 0x01, 3],
            Ok(vec![(0x01, Number(2)), (0x01, Number(3))]),
        );
        check(&[2, 0x7f, 0], Err(Malformed::Property(0x7f)));
        check(&[5, 0x01, 1], Err(Malformed::Truncated));
        check(&[1, 0x01], Err(Malformed::Truncated));
        check(&[4, 0x26, 0, 1, b'a'], Err(Malformed::Truncated));
        check(
            &[5, 0x0b, 128, 128, 128, 128],
            Err(Malformed::VarintOverlong),
        );
    }
}
