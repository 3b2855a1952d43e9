//! Packets: checked views of MQTT 3.1, 3.1.1 and 5.0 over the bytes they arrived in.

pub mod ack;
pub mod codes;
pub mod connect;
pub mod granted;
pub mod parting;
pub mod properties;
pub mod publish;
pub mod read;
pub mod subscribe;

use crate::error::Malformed;

/// The MQTT version that one peer speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Version {
    /// 3.1, protocol level 3, "MQIsdp".
    V31,
    /// 3.1.1, protocol level 4.
    V311,
    /// 5.0, protocol level 5.
    V5,
}

impl Version {
    /// The protocol level that a CONNECT names.
    #[must_use]
    pub const fn level(self) -> u8 {
        match self {
            Self::V31 => 3,
            Self::V311 => 4,
            Self::V5 => 5,
        }
    }

    /// The version's usual name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V31 => "3.1",
            Self::V311 => "3.1.1",
            Self::V5 => "5",
        }
    }
}

/// A quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::enum_variant_names, reason = "MQTT's own names")]
pub enum Qos {
    /// 0
    AtMostOnce,
    /// 1
    AtLeastOnce,
    /// 2
    ExactlyOnce,
}

impl Qos {
    /// The quality of service that two bits stand for.
    ///
    /// # Errors
    /// For 3, which is reserved.
    pub const fn from_bits(bits: u8) -> Result<Self, Malformed> {
        match bits & 3 {
            0 => Ok(Self::AtMostOnce),
            1 => Ok(Self::AtLeastOnce),
            2 => Ok(Self::ExactlyOnce),
            _ => Err(Malformed::Qos),
        }
    }

    /// Its two bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        match self {
            Self::AtMostOnce => 0,
            Self::AtLeastOnce => 1,
            Self::ExactlyOnce => 2,
        }
    }
}

/// A packet type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 1, from the device.
    Connect,
    /// 2, from the upstream.
    Connack,
    /// 3, from both.
    Publish,
    /// 4, from both.
    Puback,
    /// 5, from both.
    Pubrec,
    /// 6, from both.
    Pubrel,
    /// 7, from both.
    Pubcomp,
    /// 8, from the device.
    Subscribe,
    /// 9, from the upstream.
    Suback,
    /// 10, from the device.
    Unsubscribe,
    /// 11, from the upstream.
    Unsuback,
    /// 12, from the device.
    Pingreq,
    /// 13, from the upstream.
    Pingresp,
    /// 14, from the device; in v5 from both.
    Disconnect,
    /// 15, v5 only, from both.
    Auth,
}

impl Kind {
    /// Every packet type, in the order of their numbers from 1.
    pub const ALL: [Self; 15] = [
        Self::Connect,
        Self::Connack,
        Self::Publish,
        Self::Puback,
        Self::Pubrec,
        Self::Pubrel,
        Self::Pubcomp,
        Self::Subscribe,
        Self::Suback,
        Self::Unsubscribe,
        Self::Unsuback,
        Self::Pingreq,
        Self::Pingresp,
        Self::Disconnect,
        Self::Auth,
    ];

    /// The packet type that the first byte of a packet names.
    ///
    /// # Errors
    /// For the numbers that `version` does not define.
    pub fn from_first_byte(first: u8, version: Version) -> Result<Self, Malformed> {
        let number = first >> 4;
        match usize::from(number)
            .checked_sub(1)
            .and_then(|index| Self::ALL.get(index))
        {
            Some(Self::Auth) if version != Version::V5 => Err(Malformed::UnknownKind(number)),
            Some(kind) => Ok(*kind),
            None => Err(Malformed::UnknownKind(number)),
        }
    }

    /// The number that MQTT gives it.
    #[must_use]
    pub const fn number(self) -> u8 {
        (self as u8).saturating_add(1)
    }

    /// The name that MQTT gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Connack => "CONNACK",
            Self::Publish => "PUBLISH",
            Self::Puback => "PUBACK",
            Self::Pubrec => "PUBREC",
            Self::Pubrel => "PUBREL",
            Self::Pubcomp => "PUBCOMP",
            Self::Subscribe => "SUBSCRIBE",
            Self::Suback => "SUBACK",
            Self::Unsubscribe => "UNSUBSCRIBE",
            Self::Unsuback => "UNSUBACK",
            Self::Pingreq => "PINGREQ",
            Self::Pingresp => "PINGRESP",
            Self::Disconnect => "DISCONNECT",
            Self::Auth => "AUTH",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn auth_exists_in_v5_only_and_0_never() {
        assert_eq!(Kind::from_first_byte(0xf0, Version::V5), Ok(Kind::Auth));
        assert_eq!(
            Kind::from_first_byte(0xf0, Version::V311),
            Err(Malformed::UnknownKind(15))
        );
        assert_eq!(
            Kind::from_first_byte(0x00, Version::V5),
            Err(Malformed::UnknownKind(0))
        );
        assert_eq!(Kind::from_first_byte(0x30, Version::V31), Ok(Kind::Publish));
    }
}
