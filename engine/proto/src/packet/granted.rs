//! Granted: what a v5 CONNACK promises to the client, to compare a later upstream's with, and the same
//! CONNACK without topic aliases. Body in, promises or a packet out.

use alloc::string::String;
use alloc::vec::Vec;

use super::properties::{self, Value, id};
use super::read::{Reader, text};
use crate::error::Malformed;
use crate::frame::Varint;

/// What a v5 CONNACK grants; its absent properties have MQTT's defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// Messages of QoS 1 and 2 that the client may leave unacknowledged.
    receive_maximum: u32,
    /// Largest packet in bytes.
    packet_bytes_max: u32,
    /// Highest quality of service.
    qos_max: u32,
    /// Retained messages; wildcard, identified and shared subscriptions: 1 where there are such.
    available: [u32; 4],
    /// In seconds, where it governs instead of the client's.
    server_keep_alive: Option<u32>,
    /// The client id, where the client named none.
    assigned_client_id: Option<String>,
}

impl Default for Granted {
    fn default() -> Self {
        Self {
            receive_maximum: u32::from(u16::MAX),
            packet_bytes_max: u32::MAX,
            qos_max: 2,
            available: [1; 4],
            server_keep_alive: None,
            assigned_client_id: None,
        }
    }
}

impl Granted {
    /// Reads the body of a v5 CONNACK.
    ///
    /// # Errors
    /// When its properties cannot be read.
    pub fn read(body: &[u8]) -> Result<Self, Malformed> {
        let mut granted = Self::default();
        let mut reader = Reader::new(body);
        reader.take(2)?;
        if reader.is_empty() {
            return Ok(granted);
        }
        let mut assigned = None;
        properties::each(properties::take(&mut reader)?, &mut |id, value| {
            let number = match value {
                Value::Number(number) => number,
                Value::Bytes(text) if id == id::ASSIGNED_CLIENT_IDENTIFIER => {
                    assigned = Some(text);
                    return;
                }
                Value::Bytes(_) | Value::Pair => return,
            };
            let [retain, wildcard, identified, shared] = &mut granted.available;
            match id {
                id::RECEIVE_MAXIMUM => granted.receive_maximum = number,
                id::MAXIMUM_PACKET_SIZE => granted.packet_bytes_max = number,
                id::MAXIMUM_QOS => granted.qos_max = number,
                id::RETAIN_AVAILABLE => *retain = number,
                id::WILDCARD_SUBSCRIPTION_AVAILABLE => *wildcard = number,
                id::SUBSCRIPTION_IDENTIFIER_AVAILABLE => *identified = number,
                id::SHARED_SUBSCRIPTION_AVAILABLE => *shared = number,
                id::SERVER_KEEP_ALIVE => granted.server_keep_alive = Some(number),
                _ => {}
            }
        })?;
        // It is said again in the CONNECT of a renewal.
        granted.assigned_client_id = assigned.map(text).transpose()?.map(String::from);
        Ok(granted)
    }

    /// The client id that the server chose.
    #[must_use]
    pub fn assigned_client_id(&self) -> Option<&str> {
        self.assigned_client_id.as_deref()
    }

    /// Whether a client that was told `self` is right with a server that says `later`. The later CONNECT
    /// names the assigned client id, so that no other may be assigned.
    #[must_use]
    pub fn is_kept_by(&self, later: &Self) -> bool {
        let available = self
            .available
            .iter()
            .zip(later.available)
            .all(|(told, now)| now >= *told);
        let client_id = later.assigned_client_id.is_none()
            || later.assigned_client_id == self.assigned_client_id;
        available
            && client_id
            && later.receive_maximum >= self.receive_maximum
            && later.packet_bytes_max >= self.packet_bytes_max
            && later.qos_max >= self.qos_max
            && later.server_keep_alive == self.server_keep_alive
    }
}

/// The whole CONNACK with this body, but without a Topic Alias Maximum; `None` where it has none.
///
/// # Errors
/// When its properties cannot be read.
pub fn without_topic_aliases(body: &[u8]) -> Result<Option<Vec<u8>>, Malformed> {
    let mut reader = Reader::new(body);
    let flags_and_code = reader.take(2)?;
    if reader.is_empty() {
        return Ok(None);
    }
    let all = properties::take(&mut reader)?;
    let Some([before, after]) = around(all, id::TOPIC_ALIAS_MAXIMUM)? else {
        return Ok(None);
    };
    let properties_bytes = before.len().saturating_add(after.len());
    let length = Varint::encode(properties_bytes).ok_or(Malformed::VarintOverlong)?;
    let remaining = properties_bytes
        .saturating_add(length.as_bytes().len())
        .saturating_add(flags_and_code.len());
    let remaining = Varint::encode(remaining).ok_or(Malformed::VarintOverlong)?;
    let mut packet = alloc::vec![0x20];
    for part in [
        remaining.as_bytes(),
        flags_and_code,
        length.as_bytes(),
        before,
        after,
    ] {
        packet.extend_from_slice(part);
    }
    Ok(Some(packet))
}

/// What stands before and behind the first property `wanted`, out of whole properties.
fn around(all: &[u8], wanted: u8) -> Result<Option<[&[u8]; 2]>, Malformed> {
    let mut reader = Reader::new(all);
    while !reader.is_empty() {
        let start = all.len().saturating_sub(reader.remaining());
        let id = reader.byte()?;
        properties::skip(&mut reader, id)?;
        if id == wanted {
            let before = all.get(..start).unwrap_or_default();
            return Ok(Some([before, reader.take_rest()]));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_tok_1_a_stricter_connack_is_noticed() {
        let told = [
            0, 0, 18, 0x21, 0, 20, 0x27, 0, 0, 16, 0, 0x12, 0, 2, b'i', b'd', 0x24, 1, 0x13, 0, 60,
        ];
        let told = Granted::read(&told).unwrap();
        assert_eq!(told.assigned_client_id(), Some("id"));
        let check = |properties: &[u8], expected: bool| {
            let length = u8::try_from(properties.len()).unwrap();
            let body = [&[0, 0, length], properties].concat();
            let later = Granted::read(&body).unwrap();
            assert_eq!(told.is_kept_by(&later), expected, "{properties:02x?}");
        };
        check(&[0x13, 0, 60], true);
        check(&[0x13, 0, 60, 0x21, 0, 20], true);
        check(&[0x13, 0, 60, 0x12, 0, 2, b'i', b'd'], true);
        check(&[], false);
        check(&[0x13, 0, 59], false);
        check(&[0x13, 0, 60, 0x21, 0, 19], false);
        check(&[0x13, 0, 60, 0x27, 0, 0, 15, 255], false);
        check(&[0x13, 0, 60, 0x24, 0], false);
        for available in [0x25, 0x28, 0x29, 0x2a] {
            check(&[0x13, 0, 60, available, 1], true);
            check(&[0x13, 0, 60, available, 0], false);
        }
        check(&[0x13, 0, 60, 0x12, 0, 2, b'n', b'o'], false);
    }

    #[test]
    fn b_tok_1_topic_alias_maximum_is_taken_out() {
        let body = [1, 0, 11, 0x13, 0, 60, 0x22, 0, 9, 0x12, 0, 2, b'i', b'd'];
        let expected = [0x20, 11, 1, 0, 8, 0x13, 0, 60, 0x12, 0, 2, b'i', b'd'];
        assert_eq!(without_topic_aliases(&body), Ok(Some(expected.to_vec())));
        assert_eq!(without_topic_aliases(&[0, 0]), Ok(None));
        assert_eq!(without_topic_aliases(&[0, 0, 0]), Ok(None));
        assert_eq!(without_topic_aliases(&[0, 0, 3, 0x13, 0, 60]), Ok(None));
    }
}
