//! What is read of the upstream's answers: CONNACK, and what acknowledgements are about.

use super::Version;
use super::properties::{self, Value, id};
use super::read::Reader;
use crate::error::Malformed;

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
    /// Reads the body of a CONNACK. One without properties is understood in every version: an upstream that knows no
    /// v5 refuses it in its own version (B-CON-4).
    ///
    /// # Errors
    /// When it ends too early, or its properties cannot be read.
    pub fn read(body: &[u8], version: Version) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let flags = reader.byte()?;
        let mut connack = Self {
            session_present: flags & 1 != 0,
            code: reader.byte()?,
            server_keep_alive: None,
            maximum_packet_size: None,
        };
        if version == Version::V5 && !reader.is_empty() {
            let properties = properties::take(&mut reader)?;
            properties::each(properties, &mut |id, value| match (id, value) {
                (id::SERVER_KEEP_ALIVE, Value::Number(number)) => {
                    connack.server_keep_alive = u16::try_from(number).ok();
                }
                // No packet fits into nothing.
                (id::MAXIMUM_PACKET_SIZE, Value::Number(number)) if number > 0 => {
                    connack.maximum_packet_size = Some(number);
                }
                _ => {}
            })?;
        }
        Ok(connack)
    }
}

/// The packet identifier that the body of a PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK or UNSUBACK begins with: what
/// it answers. The rest is its receiver's to judge (B-ERR-6).
///
/// # Errors
/// When it is not there.
pub fn read_acknowledged(body: &[u8]) -> Result<u16, Malformed> {
    Reader::new(body).two_bytes()
}

/// The codes in the body of a SUBACK or UNSUBACK, as many as there are.
///
/// # Errors
/// When it ends before them.
pub fn read_codes(body: &[u8], version: Version) -> Result<&[u8], Malformed> {
    let mut reader = Reader::new(body);
    reader.two_bytes()?;
    if version == Version::V5 && !reader.is_empty() {
        properties::take(&mut reader)?;
    }
    Ok(reader.take_rest())
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
        for version in [Version::V31, Version::V311, Version::V5] {
            // B-CON-4: the refusal of an upstream that speaks 3.1.1 at most is no offence; B-ERR-6: nor are codes
            // and flags that no version knows.
            for (body, session_present, code) in [
                ([1, 0], true, 0),
                ([0, 5], false, 5),
                ([0, 6], false, 6),
                ([2, 0], false, 0),
                ([0xff, 0xff], true, 0xff),
            ] {
                let expected = Ok(plain(session_present, code));
                assert_eq!(Connack::read(&body, version), expected, "{body:02x?}");
            }
            for body in [&[][..], &[0]] {
                let truncated = Err(Malformed::Truncated);
                assert_eq!(Connack::read(body, version), truncated);
            }
        }
        let older = Connack::read(&[0, 0, 0], Version::V311);
        assert_eq!(older, Ok(plain(false, 0)));
        let properties = [0, 0, 8, 0x13, 0, 30, 0x27, 0, 0, 16, 0];
        let connack = Connack::read(&properties, Version::V5).unwrap();
        assert_eq!(connack.server_keep_alive, Some(30));
        assert_eq!(connack.maximum_packet_size, Some(4096));
        let nothing = Connack::read(&[0, 0, 5, 0x27, 0, 0, 0, 0], Version::V5);
        assert_eq!(nothing, Ok(plain(false, 0)));
        let unreadable = Connack::read(&[0, 0, 1, 0x7f], Version::V5);
        assert_eq!(unreadable, Err(Malformed::Property(0x7f)));
    }

    #[test]
    fn acknowledgements_say_what_they_answer() {
        assert_eq!(read_acknowledged(&[1, 7]), Ok(0x107));
        assert_eq!(read_acknowledged(&[0, 0, 0xff]), Ok(0));
        assert_eq!(read_acknowledged(&[1]), Err(Malformed::Truncated));
        for (body, version, codes) in [
            (&[0, 7, 0, 0x80][..], Version::V311, Ok(&[0, 0x80][..])),
            (&[0, 7], Version::V311, Ok(&[])),
            (&[0, 7], Version::V5, Ok(&[])),
            (&[0, 7, 0, 0x11], Version::V5, Ok(&[0x11])),
            (&[0, 7, 4, 0x1f, 0, 1, b'r', 2], Version::V5, Ok(&[2])),
            (&[0, 7, 9, 2], Version::V5, Err(Malformed::Truncated)),
        ] {
            assert_eq!(read_codes(body, version), codes, "{body:02x?}");
        }
    }
}
