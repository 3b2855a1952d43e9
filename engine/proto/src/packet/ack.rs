//! The small packets: acknowledgements, CONNACK, pings, DISCONNECT, AUTH.

use super::properties::{self, Place, Value, id};
use super::read::Reader;
use super::{Kind, Version};
use crate::error::{Malformed, Offence};

/// A CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connack {
    /// Whether the upstream kept a session.
    pub session_present: bool,
    /// Return code, or reason code in v5; 0 is success.
    pub code: u8,
    /// v5: the keep alive that governs instead of the device's own (B-KEEP-6), in seconds.
    pub server_keep_alive: Option<u16>,
    /// v5: the largest packet that the upstream accepts, in bytes.
    pub maximum_packet_size: Option<u32>,
}

impl Connack {
    /// Checks the body of a CONNACK.
    ///
    /// # Errors
    /// When it is malformed.
    pub fn read(body: &[u8], version: Version) -> Result<Self, Offence> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        let code = reader.byte()?;
        let mut connack = Self {
            session_present: flags & 1 != 0,
            code,
            server_keep_alive: None,
            maximum_packet_size: None,
        };
        // B-CON-4: an upstream that knows no v5 refuses it in its own version, without properties.
        if version == Version::V5 && matches!(body, [0, 1..=5]) {
            return Ok(connack);
        }
        // MQTT 3.1 does not use the flags.
        if flags & 0b1111_1110 != 0 && version != Version::V31 {
            return Err(Malformed::ReservedBits.into());
        }
        if version == Version::V5 {
            check_reason(Kind::Connack, code)?;
            properties::read(
                &mut reader,
                Place::Upstream(Kind::Connack),
                &mut |id, value| {
                    let Value::Number(number) = value else { return };
                    match id {
                        id::SERVER_KEEP_ALIVE => {
                            connack.server_keep_alive = u16::try_from(number).ok();
                        }
                        id::MAXIMUM_PACKET_SIZE => connack.maximum_packet_size = Some(number),
                        _ => {}
                    }
                },
            )?;
        } else if code > 5 {
            return Err(Malformed::ReasonCode(code).into());
        }
        reader.end()?;
        Ok(connack)
    }
}

/// Checks the body of a PUBACK, PUBREC, PUBREL or PUBCOMP and returns its packet identifier.
///
/// # Errors
/// When it is malformed.
pub fn read_acknowledgement(
    kind: Kind,
    body: &[u8],
    version: Version,
    place: Place,
) -> Result<u16, Offence> {
    let mut reader = Reader::new(body);
    let packet_id = reader.packet_id()?;
    if version == Version::V5 && !reader.is_empty() {
        check_reason(kind, reader.byte()?)?;
        if !reader.is_empty() {
            properties::read(&mut reader, place, &mut |_, _| {})?;
        }
    }
    reader.end()?;
    Ok(packet_id)
}

/// Checks the body of a SUBACK or UNSUBACK and returns the codes in it; none in an UNSUBACK before v5.
///
/// # Errors
/// When it is malformed.
pub fn read_granted(kind: Kind, body: &[u8], version: Version) -> Result<&[u8], Offence> {
    let mut reader = Reader::new(body);
    reader.packet_id()?;
    if version == Version::V5 {
        properties::read(&mut reader, Place::Upstream(kind), &mut |_, _| {})?;
    } else if kind == Kind::Unsuback {
        reader.end()?;
        return Ok(&[]);
    }
    let codes = reader.take_rest();
    if codes.is_empty() {
        return Err(Malformed::Truncated.into());
    }
    for code in codes {
        if version == Version::V5 {
            check_reason(kind, *code)?;
        } else if !matches!(code, 0 | 1 | 2 | 0x80) {
            return Err(Malformed::ReasonCode(*code).into());
        }
    }
    Ok(codes)
}

/// Checks the body of a DISCONNECT or an AUTH.
///
/// # Errors
/// When it is malformed.
pub fn read_reason(kind: Kind, body: &[u8], version: Version, place: Place) -> Result<(), Offence> {
    let mut reader = Reader::new(body);
    if version == Version::V5 && !reader.is_empty() {
        check_reason(kind, reader.byte()?)?;
        if !reader.is_empty() {
            properties::read(&mut reader, place, &mut |_, _| {})?;
        }
    }
    Ok(reader.end()?)
}

/// Whether the packet type has the reason code (MQTT 5, section 2.4).
fn check_reason(kind: Kind, code: u8) -> Result<(), Malformed> {
    let legal = match kind {
        Kind::Connack => {
            matches!(code, 0 | 0x80..=0x8a | 0x8c | 0x90 | 0x95 | 0x97 | 0x99..=0x9d | 0x9f)
        }
        Kind::Puback | Kind::Pubrec => {
            matches!(
                code,
                0 | 0x10 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99
            )
        }
        Kind::Pubrel | Kind::Pubcomp => matches!(code, 0 | 0x92),
        Kind::Suback => {
            matches!(
                code,
                0..=2 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91 | 0x97 | 0x9e | 0xa1 | 0xa2
            )
        }
        Kind::Unsuback => matches!(code, 0 | 0x11 | 0x80 | 0x83 | 0x87 | 0x8f | 0x91),
        Kind::Disconnect => {
            matches!(code, 0 | 4 | 0x80..=0x83 | 0x87 | 0x89 | 0x8b..=0x90 | 0x93..=0xa2)
        }
        Kind::Auth => matches!(code, 0 | 0x18 | 0x19),
        Kind::Connect
        | Kind::Publish
        | Kind::Subscribe
        | Kind::Unsubscribe
        | Kind::Pingreq
        | Kind::Pingresp => false,
    };
    if legal {
        Ok(())
    } else {
        Err(Malformed::ReasonCode(code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connacks_are_read() {
        let plain = |session_present, code| Connack {
            session_present,
            code,
            server_keep_alive: None,
            maximum_packet_size: None,
        };
        assert_eq!(Connack::read(&[1, 0], Version::V311), Ok(plain(true, 0)));
        assert_eq!(Connack::read(&[0, 5], Version::V311), Ok(plain(false, 5)));
        assert_eq!(
            Connack::read(&[0, 6], Version::V311),
            Err(Malformed::ReasonCode(6).into())
        );
        assert_eq!(
            Connack::read(&[2, 0], Version::V311),
            Err(Malformed::ReservedBits.into())
        );
        assert_eq!(
            Connack::read(&[0], Version::V311),
            Err(Malformed::Truncated.into())
        );
        assert_eq!(
            Connack::read(&[0, 0, 0], Version::V311),
            Err(Malformed::TrailingBytes.into())
        );
        // B-CON-4: the refusal of an upstream that speaks 3.1.1 at most is no offence.
        assert_eq!(Connack::read(&[0, 1], Version::V5), Ok(plain(false, 1)));
        assert_eq!(
            Connack::read(&[0, 0], Version::V5),
            Err(Malformed::Truncated.into())
        );
        let properties = [0, 0, 8, 0x13, 0, 30, 0x27, 0, 0, 16, 0];
        let connack = Connack::read(&properties, Version::V5).unwrap();
        assert_eq!(connack.server_keep_alive, Some(30));
        assert_eq!(connack.maximum_packet_size, Some(4096));
    }

    #[test]
    fn acknowledgements_are_checked() {
        let read =
            |kind, body, version| read_acknowledgement(kind, body, version, Place::Device(kind));
        assert_eq!(read(Kind::Puback, &[0, 7], Version::V311), Ok(7));
        assert_eq!(
            read(Kind::Puback, &[0, 7, 0], Version::V311),
            Err(Malformed::TrailingBytes.into())
        );
        assert_eq!(read(Kind::Puback, &[0, 7, 0x10], Version::V5), Ok(7));
        assert_eq!(
            read(Kind::Pubrel, &[0, 7, 0x10], Version::V5),
            Err(Malformed::ReasonCode(0x10).into())
        );
        assert_eq!(read(Kind::Puback, &[0, 7, 0, 0], Version::V5), Ok(7));
        assert_eq!(
            read_granted(Kind::Suback, &[0, 7, 0, 0x80], Version::V311),
            Ok(&[0, 0x80][..])
        );
        assert_eq!(
            read_granted(Kind::Suback, &[0, 7], Version::V311),
            Err(Malformed::Truncated.into())
        );
        assert_eq!(
            read_granted(Kind::Unsuback, &[0, 7], Version::V311),
            Ok(&[][..])
        );
        assert_eq!(
            read_granted(Kind::Unsuback, &[0, 7, 0, 0x11], Version::V5),
            Ok(&[0x11][..])
        );
    }
}
