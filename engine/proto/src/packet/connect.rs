//! CONNECT: read from the device, checked, and written anew for the upstream.

use alloc::vec::Vec;

use super::properties::{self, id};
use super::read::Reader;
use super::{Kind, Qos, Version};
use crate::error::{BadClientId, Cause, Forbidden, Malformed, Offence, Refusal};
use crate::frame::{Varint, fixed_header};
use crate::limits::{
    CONNECT_BYTES_MAX, KEEP_ALIVE_SECONDS_MAX, KEEP_ALIVE_SECONDS_MIN, STRING_BYTES_MAX,
};

const FIRST_BYTE: u8 = 0x10;
/// The bit of the protocol level that a mosquitto bridge sets, in MQTT 3.1 and 3.1.1 (B-CON-6).
const LEVEL_BRIDGE: u8 = 0b1000_0000;
const FLAG_CLEAN: u8 = 0b0000_0010;
const FLAG_WILL: u8 = 0b0000_0100;
const FLAG_WILL_RETAIN: u8 = 0b0010_0000;
const FLAG_PASSWORD: u8 = 0b0100_0000;
const FLAG_USERNAME: u8 = 0b1000_0000;

/// A checked CONNECT.
#[derive(Clone, Copy, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub struct Connect<'a> {
    /// The MQTT version it asks for.
    pub version: Version,
    /// Whether it says that it is a bridge: a broker that passes messages on (B-CON-6).
    pub is_bridge: bool,
    /// Clean session, or clean start in v5.
    pub clean: bool,
    /// In seconds; 0 is none.
    pub keep_alive_seconds: u16,
    /// v5: the properties with their length in front; empty otherwise.
    pub properties: &'a [u8],
    /// v5: whether it starts an authentication exchange.
    pub has_authentication_method: bool,
    /// May be empty.
    pub client_id: &'a str,
    /// What the upstream publishes when the session breaks.
    pub will: Option<Will<'a>>,
    /// The device's own user name.
    pub username: Option<&'a str>,
    /// The device's own password.
    pub password: Option<&'a [u8]>,
}

impl core::fmt::Debug for Connect<'_> {
    fn fmt(&self, formatter: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        formatter
            .debug_struct("Connect")
            .field("version", &self.version)
            .field("client_id", &self.client_id)
            .field("keep_alive_seconds", &self.keep_alive_seconds)
            .finish_non_exhaustive()
    }
}

/// A will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Will<'a> {
    /// Quality of service.
    pub qos: Qos,
    /// Whether it is kept for later subscribers.
    pub retain: bool,
    /// v5: the properties with their length in front; empty otherwise.
    pub properties: &'a [u8],
    /// Its topic.
    pub topic: &'a str,
    /// Its payload.
    pub payload: &'a [u8],
}

/// Why a CONNECT is not served, and the version it spoke if that was readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// What to log and answer.
    pub cause: Cause,
    /// What to answer in.
    pub version: Option<Version>,
}

/// The front of a device's stream, seen as a CONNECT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening<'a> {
    /// Not whole yet; it will have this many bytes, if that is known.
    Partial(Option<usize>),
    /// Whole, and its length in bytes.
    Whole(Connect<'a>, usize),
}

/// Reads the CONNECT at the front of `stream` (B-CON-3). What cannot become a legal one is refused
/// without waiting for its end.
///
/// # Errors
/// With what to answer.
pub fn read(stream: &[u8]) -> Result<Opening<'_>, Unserved> {
    let offence = |version, offence: Offence| Unserved {
        cause: Cause::DeviceOffence(offence),
        version,
    };
    let Some(first) = stream.first() else {
        return Ok(Opening::Partial(None));
    };
    // MQTT 3.1 does not use the flags, and the version is not known yet (B-ERR-2).
    if first & 0xf0 != FIRST_BYTE {
        return Err(offence(None, Forbidden::FirstPacket(Kind::Connect).into()));
    }
    let Some(header) = fixed_header(stream).map_err(|error| offence(None, error.into()))? else {
        return Ok(Opening::Partial(None));
    };
    let packet_bytes = header.packet_bytes();
    let body_so_far = stream.get(header.header_bytes..).unwrap_or_default();
    let body_so_far = body_so_far.get(..header.remaining).unwrap_or(body_so_far);
    let mut reader = Reader::new(body_so_far);
    let (version, is_bridge) = match read_version(&mut reader) {
        Ok(found) => found,
        Err(Unserved {
            cause: Cause::DeviceOffence(Offence::Malformed(Malformed::Truncated)),
            ..
        }) if body_so_far.len() < header.remaining => {
            return Ok(Opening::Partial(Some(packet_bytes.min(CONNECT_BYTES_MAX))));
        }
        Err(unserved) => return Err(unserved),
    };
    let offence = |error| offence(Some(version), error);
    if header.flags() != 0 && version != Version::V31 {
        return Err(offence(Malformed::HeaderFlags.into()));
    }
    if version == Version::V5 && !header.is_minimal() {
        return Err(offence(Malformed::VarintOverlong.into()));
    }
    if packet_bytes > CONNECT_BYTES_MAX {
        return Err(offence(Forbidden::TooLarge.into()));
    }
    if body_so_far.len() < header.remaining {
        return Ok(Opening::Partial(Some(packet_bytes)));
    }
    let connect =
        read_rest(&mut reader, version, is_bridge).map_err(|error| offence(error.into()))?;
    // MQTT-3.1.3-8; MQTT 3.1 asks for at least one character.
    let needs_client_id = match version {
        Version::V31 => true,
        Version::V311 => !connect.clean,
        Version::V5 => false,
    };
    if needs_client_id && connect.client_id.is_empty() {
        return Err(Unserved {
            cause: Cause::Refused(Refusal::ClientId(BadClientId::Empty)),
            version: Some(version),
        });
    }
    Ok(Opening::Whole(connect, packet_bytes))
}

/// The protocol name and level: the version, and whether a bridge speaks it.
fn read_version(reader: &mut Reader<'_>) -> Result<(Version, bool), Unserved> {
    let malformed = |error: Malformed| Unserved {
        cause: Cause::DeviceOffence(error.into()),
        version: None,
    };
    let refused = |refusal| Unserved {
        cause: Cause::Refused(refusal),
        version: None,
    };
    let name_bytes = reader.two_bytes().map_err(malformed)?;
    if !matches!(name_bytes, 4 | 6) {
        return Err(malformed(Malformed::ProtocolName));
    }
    let name = reader.take(usize::from(name_bytes)).map_err(malformed)?;
    let level = reader.byte().map_err(malformed)?;
    // B-CON-6: no other version has the bit.
    let is_bridge = matches!(level, 0x83 | 0x84);
    let spoken = if is_bridge {
        level & !LEVEL_BRIDGE
    } else {
        level
    };
    let version = match (name, spoken) {
        (b"MQIsdp", 3) => Version::V31,
        (b"MQTT", 4) => Version::V311,
        (b"MQTT", 5) => Version::V5,
        // B-CON-5
        (b"MQTT" | b"MQIsdp", 6..) => return Err(refused(Refusal::LevelTooHigh(level))),
        (b"MQTT" | b"MQIsdp", _) => return Err(refused(Refusal::LevelTooLow(level))),
        _ => return Err(malformed(Malformed::ProtocolName)),
    };
    Ok((version, is_bridge))
}

fn read_rest<'a>(
    reader: &mut Reader<'a>,
    version: Version,
    is_bridge: bool,
) -> Result<Connect<'a>, Malformed> {
    let flags = reader.byte()?;
    check_flags(flags, version)?;
    let keep_alive_seconds = reader.two_bytes()?;
    let (properties, found) = read_properties(reader, version)?;
    let has_authentication_method = properties::has(found, id::AUTHENTICATION_METHOD)?;
    let client_id = reader.string()?;
    let will = if flags & FLAG_WILL == 0 {
        None
    } else {
        let (properties, _) = read_properties(reader, version)?;
        let topic = reader.string()?;
        Some(Will {
            qos: Qos::from_bits(flags >> 3)?,
            retain: flags & FLAG_WILL_RETAIN != 0,
            properties,
            topic,
            payload: reader.binary()?,
        })
    };
    // MQTT 3.1 lets the strings be missing though their flags are set (B-ERR-2).
    let missing = |reader: &Reader<'_>| version == Version::V31 && reader.is_empty();
    let username = if flags & FLAG_USERNAME == 0 || missing(reader) {
        None
    } else {
        Some(reader.string()?)
    };
    let password = if flags & FLAG_PASSWORD == 0 || missing(reader) {
        None
    } else {
        Some(reader.binary()?)
    };
    reader.end()?;
    Ok(Connect {
        version,
        is_bridge,
        clean: flags & FLAG_CLEAN != 0,
        keep_alive_seconds,
        properties,
        has_authentication_method,
        client_id,
        will,
        username,
        password,
    })
}

fn check_flags(flags: u8, version: Version) -> Result<(), Malformed> {
    let lone_password = flags & FLAG_PASSWORD != 0 && flags & FLAG_USERNAME == 0;
    if lone_password && version != Version::V5 {
        return Err(Malformed::ConnectFlags);
    }
    // MQTT 3.1 reserves nothing here and ignores will bits without a will (B-ERR-2).
    if version == Version::V31 {
        return Ok(());
    }
    if flags & 1 != 0 {
        return Err(Malformed::ReservedBits);
    }
    if flags & FLAG_WILL == 0 && flags & (FLAG_WILL_RETAIN | 0b0001_1000) != 0 {
        Err(Malformed::ConnectFlags)
    } else {
        Ok(())
    }
}

/// Properties with their length in front, and without; nothing before v5.
fn read_properties<'a>(
    reader: &mut Reader<'a>,
    version: Version,
) -> Result<(&'a [u8], &'a [u8]), Malformed> {
    if version != Version::V5 {
        return Ok((&[], &[]));
    }
    let mut ahead = *reader;
    let properties = properties::take(&mut ahead)?;
    let with_length = reader.remaining().saturating_sub(ahead.remaining());
    Ok((reader.take(with_length)?, properties))
}

/// B-KEEP-1: 0, or 5 to 1200 seconds.
///
/// # Errors
/// For anything else.
pub fn check_keep_alive(seconds: u16) -> Result<(), Refusal> {
    match seconds {
        0 | KEEP_ALIVE_SECONDS_MIN..=KEEP_ALIVE_SECONDS_MAX => Ok(()),
        _ => Err(Refusal::KeepAlive(seconds)),
    }
}

impl Connect<'_> {
    /// The packet's bytes.
    ///
    /// # Errors
    /// When a field is longer than MQTT can say.
    pub fn write(&self) -> Result<Vec<u8>, Forbidden> {
        let mut body = Vec::with_capacity(64);
        let name: &[u8] = if self.version == Version::V31 {
            b"MQIsdp"
        } else {
            b"MQTT"
        };
        write_binary(&mut body, name)?;
        let bridge = if self.is_bridge { LEVEL_BRIDGE } else { 0 };
        body.push(self.version.level() | bridge);
        body.push(self.flags());
        body.extend_from_slice(&self.keep_alive_seconds.to_be_bytes());
        body.extend_from_slice(self.properties);
        write_binary(&mut body, self.client_id.as_bytes())?;
        if let Some(will) = &self.will {
            body.extend_from_slice(will.properties);
            write_binary(&mut body, will.topic.as_bytes())?;
            write_binary(&mut body, will.payload)?;
        }
        if let Some(username) = self.username {
            write_binary(&mut body, username.as_bytes())?;
        }
        if let Some(password) = self.password {
            write_binary(&mut body, password)?;
        }
        let length = Varint::encode(body.len()).ok_or(Forbidden::TooLarge)?;
        let mut packet = Vec::with_capacity(body.len().saturating_add(5));
        packet.push(FIRST_BYTE);
        packet.extend_from_slice(length.as_bytes());
        packet.append(&mut body);
        Ok(packet)
    }

    fn flags(&self) -> u8 {
        let mut flags = 0;
        if self.clean {
            flags |= FLAG_CLEAN;
        }
        if let Some(will) = &self.will {
            flags |= FLAG_WILL | (will.qos.bits() << 3);
            if will.retain {
                flags |= FLAG_WILL_RETAIN;
            }
        }
        if self.username.is_some() {
            flags |= FLAG_USERNAME;
        }
        if self.password.is_some() {
            flags |= FLAG_PASSWORD;
        }
        flags
    }
}

fn write_binary(body: &mut Vec<u8>, bytes: &[u8]) -> Result<(), Forbidden> {
    if bytes.len() > STRING_BYTES_MAX {
        return Err(Forbidden::TooLarge);
    }
    let length = u16::try_from(bytes.len()).map_err(|_| Forbidden::TooLarge)?;
    body.extend_from_slice(&length.to_be_bytes());
    body.extend_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests;
