//! Packet: one MQTT packet as a line of text. It may be the beginning alone, or none at all; passwords and what stands
//! for them are masked.

use ringbeam_proto::frame::{FixedHeader, varint};
use ringbeam_proto::packet::{Kind, Version};

use super::stream::Shown;
use crate::control::mask::MASK;

/// Characters of a payload or a text that are shown.
const PREVIEW: usize = 512;

/// Filters or codes that are listed.
const LISTED: usize = 20;

/// Says what a packet is.
pub(super) fn show(packet: &[u8], header: FixedHeader, version: Version) -> Shown {
    let mut shown = Shown {
        kind: "?",
        text: String::new(),
        bytes: header.packet_bytes(),
        topic: None,
        payload: None,
    };
    let Ok(kind) = Kind::from_first_byte(header.first, version) else {
        "no packet of this version".clone_into(&mut shown.text);
        return shown;
    };
    shown.kind = kind.as_str();
    let body = packet.get(header.header_bytes..).unwrap_or_default();
    let mut reader = Reader {
        rest: body,
        is_v5: version == Version::V5,
    };
    let described = match kind {
        Kind::Connect => connect(&mut reader),
        Kind::Connack => connack(&mut reader),
        Kind::Publish => publish(&mut reader, header.flags(), &mut shown),
        Kind::Subscribe | Kind::Unsubscribe => filters(&mut reader, kind),
        Kind::Suback | Kind::Unsuback => codes(&mut reader),
        Kind::Puback | Kind::Pubrec | Kind::Pubrel | Kind::Pubcomp => acknowledgement(&mut reader),
        Kind::Pingreq | Kind::Pingresp => Some(String::new()),
        Kind::Disconnect | Kind::Auth => reason(&mut reader),
    };
    shown.text = described.unwrap_or_else(|| "cut off, or malformed".to_owned());
    shown
}

/// Reads what is there.
struct Reader<'a> {
    rest: &'a [u8],
    is_v5: bool,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count)?;
        self.rest = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u16> {
        let bytes = self.take(2)?.first_chunk()?;
        Some(u16::from_be_bytes(*bytes))
    }

    fn binary(&mut self) -> Option<&'a [u8]> {
        let length = self.number()?;
        self.take(usize::from(length))
    }

    fn text(&mut self) -> Option<String> {
        self.binary().map(preview)
    }

    /// Steps over properties, where the version has them. They may hold secrets and are not shown.
    fn properties(&mut self) -> Option<()> {
        if self.is_v5 {
            let (length, length_bytes) = varint(self.rest).ok()??;
            self.take(length_bytes.checked_add(length)?)?;
        }
        Some(())
    }
}

fn connect(reader: &mut Reader<'_>) -> Option<String> {
    let (name, level) = (reader.text()?, reader.byte()?);
    // The packet says its version itself.
    reader.is_v5 = level == 5;
    // B-CON-6
    let (level, bridge) = match level {
        0x83 | 0x84 => (level & 0x7f, " of a bridge"),
        _ => (level, ""),
    };
    let (flags, keep_alive) = (reader.byte()?, reader.number()?);
    reader.properties()?;
    let mut text = format!(
        "{name} level {level}{bridge}, client id {:?}, clean {}, keep alive {keep_alive} s",
        reader.text()?,
        flags & 0b10 != 0,
    );
    if flags & 0b100 != 0 {
        reader.properties()?;
        let (topic, payload) = (reader.text()?, reader.binary()?);
        let (qos, retain) = (flags >> 3 & 3, flags & 0b10_0000 != 0);
        text.push_str(&format!(
            ", will {topic:?} QoS {qos} retain {retain}, {} bytes",
            payload.len()
        ));
    }
    if flags & 0b1000_0000 != 0 {
        text.push_str(&format!(", user name {:?}", reader.text()?));
    }
    if flags & 0b0100_0000 != 0 {
        text.push_str(&format!(", password {MASK}"));
    }
    Some(text)
}

fn connack(reader: &mut Reader<'_>) -> Option<String> {
    let (flags, code) = (reader.byte()?, reader.byte()?);
    Some(format!("code {code}, session present {}", flags & 1 != 0))
}

fn publish(reader: &mut Reader<'_>, flags: u8, shown: &mut Shown) -> Option<String> {
    let topic = reader.text()?;
    let qos = flags >> 1 & 3;
    let mut text = format!("{topic}, QoS {qos}");
    if qos > 0 {
        text.push_str(&format!(", packet id {}", reader.number()?));
    }
    for (bit, word) in [(1, ", retain"), (8, ", dup")] {
        if flags & bit != 0 {
            text.push_str(word);
        }
    }
    reader.properties()?;
    shown.topic = Some(topic);
    shown.payload = Some(preview(reader.rest));
    Some(text)
}

fn filters(reader: &mut Reader<'_>, kind: Kind) -> Option<String> {
    let mut text = format!("packet id {}", reader.number()?);
    reader.properties()?;
    for number in 0.. {
        if reader.rest.is_empty() {
            break;
        }
        let filter = reader.text()?;
        let options = if kind == Kind::Subscribe {
            format!(" QoS {}", reader.byte()? & 3)
        } else {
            String::new()
        };
        if number < LISTED {
            text.push_str(&format!(", {filter}{options}"));
        } else if number == LISTED {
            text.push_str(", …");
        }
    }
    Some(text)
}

fn codes(reader: &mut Reader<'_>) -> Option<String> {
    let mut text = format!("packet id {}", reader.number()?);
    reader.properties()?;
    for code in reader.rest.iter().take(LISTED) {
        text.push_str(&format!(", 0x{code:02x}"));
    }
    Some(text)
}

fn acknowledgement(reader: &mut Reader<'_>) -> Option<String> {
    let id = reader.number()?;
    Some(match reader.byte() {
        Some(reason) => format!("packet id {id}, reason 0x{reason:02x}"),
        None => format!("packet id {id}"),
    })
}

fn reason(reader: &mut Reader<'_>) -> Option<String> {
    let reason = reader.byte();
    Some(reason.map_or_else(String::new, |reason| format!("reason 0x{reason:02x}")))
}

/// Text as text, anything else as hexadecimal digits; not all of it where it is long.
fn preview(bytes: &[u8]) -> String {
    let part = bytes.get(..PREVIEW).unwrap_or(bytes);
    let text = match std::str::from_utf8(part) {
        Ok(text) => Some(text),
        // A character may be cut.
        Err(error) if part.len() < bytes.len() && error.error_len().is_none() => {
            let valid = part.get(..error.valid_up_to()).unwrap_or_default();
            std::str::from_utf8(valid).ok()
        }
        Err(_) => None,
    };
    let is_text = |text: &&str| {
        !text
            .chars()
            .any(|character| character.is_control() && !"\t\n\r".contains(character))
    };
    let mut preview = match text.filter(is_text) {
        Some(text) => text.to_owned(),
        None => part.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if part.len() < bytes.len() {
        preview.push('…');
    }
    preview
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ringbeam_proto::frame::fixed_header;

    fn text(packet: &[u8], version: Version) -> String {
        let shown = show(packet, fixed_header(packet).unwrap().unwrap(), version);
        let payload = shown.payload.unwrap_or_default();
        format!("{} {} {payload}", shown.kind, shown.text)
            .trim_end()
            .to_owned()
    }

    #[test]
    fn packets_read_as_people_know_them_and_passwords_are_masked() {
        let connect = b"\x10\x20\0\x04MQTT\x04\xc6\0\x3c\0\x01c\0\x01w\0\x02hi\0\x01u\0\x04hush";
        let shown = text(connect, Version::V311);
        assert_eq!(
            shown,
            "CONNECT MQTT level 4, client id \"c\", clean true, keep alive 60 s, will \"w\" QoS 0 retain false, \
             2 bytes, user name \"u\", password ********"
        );
        let bridge = b"\x10\x0d\0\x04MQTT\x84\x02\0\x3c\0\x01b";
        assert_eq!(
            text(bridge, Version::V311),
            "CONNECT MQTT level 4 of a bridge, client id \"b\", clean true, keep alive 60 s"
        );
        let rows: [(&[u8], &str); 9] = [
            (b"\x20\x02\x01\x00", "CONNACK code 0, session present true"),
            (
                b"\x33\x06\0\x01t\0\x07x",
                "PUBLISH t, QoS 1, packet id 7, retain x",
            ),
            (b"\x30\x05\0\x01t\xff\x00", "PUBLISH t, QoS 0 ff00"),
            (
                b"\x82\x06\0\x07\0\x01a\x01",
                "SUBSCRIBE packet id 7, a QoS 1",
            ),
            (b"\xa2\x05\0\x07\0\x01a", "UNSUBSCRIBE packet id 7, a"),
            (b"\x90\x03\0\x07\x80", "SUBACK packet id 7, 0x80"),
            (b"\x40\x02\0\x07", "PUBACK packet id 7"),
            (b"\xc0\x00", "PINGREQ"),
            (b"\x30\x05\0\x09t", "PUBLISH cut off, or malformed"),
        ];
        for (packet, expected) in rows {
            assert_eq!(text(packet, Version::V311), expected);
        }
        assert_eq!(
            text(b"\xe0\x02\x98\x00", Version::V5),
            "DISCONNECT reason 0x98"
        );
        assert_eq!(
            text(b"\x30\x07\0\x01t\x02\x01\x01x", Version::V5),
            "PUBLISH t, QoS 0 x"
        );
        assert_eq!(preview("é".repeat(300).as_bytes()).chars().count(), 257);
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_much_for_it(packet in proptest::collection::vec(any::<u8>(), 2..200), v5: bool) {
            let version = if v5 { Version::V5 } else { Version::V311 };
            if let Ok(Some(header)) = fixed_header(&packet) {
                show(&packet, header, version);
            }
        }
    }
}
