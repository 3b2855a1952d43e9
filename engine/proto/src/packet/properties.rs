//! Properties of MQTT 5 (section 2.2.2): a length, then identifier and value pairs. Checked against
//! the packet they stand in; values are handed to the caller as they pass.

use super::Kind;
use super::read::Reader;
use crate::error::{Forbidden, Malformed, Offence};

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
    /// Authentication Data.
    pub const AUTHENTICATION_DATA: u8 = 0x16;
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
    /// User Property.
    pub const USER_PROPERTY: u8 = 0x26;
    /// Maximum Packet Size.
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    /// Wildcard Subscription Available.
    pub const WILDCARD_SUBSCRIPTION_AVAILABLE: u8 = 0x28;
    /// Subscription Identifier Available.
    pub const SUBSCRIPTION_IDENTIFIER_AVAILABLE: u8 = 0x29;
    /// Shared Subscription Available.
    pub const SHARED_SUBSCRIPTION_AVAILABLE: u8 = 0x2a;
}

/// Where a set of properties stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In a packet of this type from the device.
    Device(Kind),
    /// In a packet of this type from the upstream.
    Upstream(Kind),
    /// In the will of a CONNECT.
    Will,
}

/// A property's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number of any width.
    Number(u32),
    /// Text.
    Text(&'a str),
    /// Binary data.
    Binary(&'a [u8]),
    /// Two strings.
    Pair(&'a str, &'a str),
}

enum Shape {
    Flag,
    TwoBytes,
    FourBytes,
    Varint,
    Text,
    Binary,
    Pair,
}

/// The value's shape, by identifier (table 2-4); `None` for identifiers that do not exist.
fn shape(id: u8) -> Option<Shape> {
    Some(match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => Shape::Flag,
        0x02 | 0x11 | 0x18 | 0x27 => Shape::FourBytes,
        0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Shape::Text,
        0x09 | 0x16 => Shape::Binary,
        0x0b => Shape::Varint,
        0x13 | 0x21 | 0x22 | 0x23 => Shape::TwoBytes,
        0x26 => Shape::Pair,
        _ => return None,
    })
}

/// Whether the property may stand there (table 2-4).
fn belongs(id: u8, place: Place) -> bool {
    use Kind::{
        Auth, Connack, Connect, Disconnect, Puback, Pubcomp, Publish, Pubrec, Pubrel, Suback,
        Subscribe, Unsuback, Unsubscribe,
    };
    let (kind, from_upstream) = match place {
        Place::Will => {
            return matches!(id, 0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x18 | 0x26);
        }
        Place::Device(kind) => (kind, false),
        Place::Upstream(kind) => (kind, true),
    };
    match kind {
        Connect => matches!(
            id,
            0x11 | 0x15 | 0x16 | 0x17 | 0x19 | 0x21 | 0x22 | 0x26 | 0x27
        ),
        Connack => matches!(
            id,
            0x11 | 0x12 | 0x13 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f | 0x21 | 0x22 | 0x24..=0x2a
        ),
        Publish => {
            matches!(id, 0x01 | 0x02 | 0x03 | 0x08 | 0x09 | 0x23 | 0x26)
                || (id == id::SUBSCRIPTION_IDENTIFIER && from_upstream)
        }
        Puback | Pubrec | Pubrel | Pubcomp | Suback | Unsuback => matches!(id, 0x1f | 0x26),
        Subscribe => matches!(id, 0x0b | 0x26),
        Unsubscribe => id == id::USER_PROPERTY,
        Disconnect => match id {
            0x1f | 0x26 => true,
            0x11 => !from_upstream,
            0x1c => from_upstream,
            _ => false,
        },
        Auth => matches!(id, 0x15 | 0x16 | 0x1f | 0x26),
        Kind::Pingreq | Kind::Pingresp => false,
    }
}

/// Reads the properties at the front of `reader`, checks them, and hands each to `visit`.
///
/// # Errors
/// When one is malformed, does not belong there, stands there twice or has an illegal value.
pub fn read<'a>(
    reader: &mut Reader<'a>,
    place: Place,
    visit: &mut dyn FnMut(u8, Value<'a>),
) -> Result<(), Offence> {
    let length = reader.varint()?;
    let mut properties = Reader::new(reader.take(length)?);
    let mut seen = 0_u64;
    while !properties.is_empty() {
        let id = properties.byte()?;
        let shape = shape(id)
            .filter(|_| belongs(id, place))
            .ok_or(Malformed::Property(id))?;
        let repeats = id == id::USER_PROPERTY
            || (id == id::SUBSCRIPTION_IDENTIFIER && place == Place::Upstream(Kind::Publish));
        let bit = 1_u64.wrapping_shl(u32::from(id));
        if seen & bit != 0 && !repeats {
            return Err(Forbidden::PropertyTwice(id).into());
        }
        seen |= bit;
        let value = read_value(&mut properties, &shape)?;
        check_value(id, &shape, value)?;
        visit(id, value);
    }
    Ok(())
}

fn read_value<'a>(reader: &mut Reader<'a>, shape: &Shape) -> Result<Value<'a>, Malformed> {
    Ok(match shape {
        Shape::Flag => Value::Number(u32::from(reader.byte()?)),
        Shape::TwoBytes => Value::Number(u32::from(reader.two_bytes()?)),
        Shape::FourBytes => Value::Number(reader.four_bytes()?),
        Shape::Varint => Value::Number(u32::try_from(reader.varint()?).unwrap_or(u32::MAX)),
        Shape::Text => Value::Text(reader.string()?),
        Shape::Binary => Value::Binary(reader.binary()?),
        Shape::Pair => Value::Pair(reader.string()?, reader.string()?),
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

fn check_value(id: u8, shape: &Shape, value: Value<'_>) -> Result<(), Forbidden> {
    let legal = match (id, shape, value) {
        (id::TOPIC_ALIAS, _, Value::Number(0)) => return Err(Forbidden::TopicAlias),
        (_, Shape::Flag, Value::Number(number)) => number <= 1,
        // Receive Maximum, Maximum Packet Size and Subscription Identifier are never zero.
        (
            0x21 | id::MAXIMUM_PACKET_SIZE | id::SUBSCRIPTION_IDENTIFIER,
            _,
            Value::Number(number),
        ) => number != 0,
        // A Response Topic is published to.
        (0x08, _, Value::Text(topic)) => crate::topic::is_legal_name(topic),
        _ => true,
    };
    if legal {
        Ok(())
    } else {
        Err(Forbidden::PropertyValue(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_checked_against_their_place() {
        let check = |bytes: &[u8], place, expected: Result<usize, Offence>| {
            let mut count = 0;
            let mut reader = Reader::new(bytes);
            let result = read(&mut reader, place, &mut |_, _| count += 1).map(|()| count);
            assert_eq!(result, expected, "{bytes:02x?} in {place:?}");
        };
        let publish = Place::Device(Kind::Publish);
        check(&[0], publish, Ok(0));
        check(&[2, 0x01, 1], publish, Ok(1));
        check(
            &[2, 0x01, 2],
            publish,
            Err(Forbidden::PropertyValue(0x01).into()),
        );
        check(
            &[4, 0x01, 1, 0x01, 1],
            publish,
            Err(Forbidden::PropertyTwice(0x01).into()),
        );
        check(&[3, 0x23, 0, 0], publish, Err(Forbidden::TopicAlias.into()));
        check(&[3, 0x23, 0, 9], publish, Ok(1));
        check(
            &[2, 0x0b, 1],
            publish,
            Err(Malformed::Property(0x0b).into()),
        );
        check(&[2, 0x0b, 1], Place::Upstream(Kind::Publish), Ok(1));
        check(
            &[4, 0x0b, 1, 0x0b, 2],
            Place::Upstream(Kind::Publish),
            Ok(2),
        );
        check(
            &[4, 0x0b, 1, 0x0b, 2],
            Place::Device(Kind::Subscribe),
            Err(Forbidden::PropertyTwice(0x0b).into()),
        );
        check(
            &[2, 0x0b, 0],
            Place::Device(Kind::Subscribe),
            Err(Forbidden::PropertyValue(0x0b).into()),
        );
        let pairs = [
            14, 0x26, 0, 1, b'a', 0, 1, b'b', 0x26, 0, 1, b'a', 0, 1, b'b',
        ];
        check(&pairs, publish, Ok(2));
        check(
            &[4, 0x08, 0, 1, b'#'],
            publish,
            Err(Forbidden::PropertyValue(0x08).into()),
        );
        check(
            &[2, 0x7f, 0],
            publish,
            Err(Malformed::Property(0x7f).into()),
        );
        check(&[5, 0x01, 1], publish, Err(Malformed::Truncated.into()));
        check(&[1, 0x01], publish, Err(Malformed::Truncated.into()));
        check(
            &[5, 0x11, 0, 0, 0, 9],
            Place::Device(Kind::Disconnect),
            Ok(1),
        );
        check(
            &[5, 0x11, 0, 0, 0, 9],
            Place::Upstream(Kind::Disconnect),
            Err(Malformed::Property(0x11).into()),
        );
        check(&[5, 0x18, 0, 0, 0, 9], Place::Will, Ok(1));
    }
}
