//! Client id: `rbl-RUN-NUMBER`, by which a sink knows whose session it is. At most 23 characters, as MQTT 3.1 has it.

/// The client id of a device.
#[must_use]
pub fn write(run: u32, number: u32) -> String {
    format!("rbl-{run:08x}-{number}")
}

/// Run and number, where it is such a client id.
#[must_use]
pub fn read(client_id: &[u8]) -> Option<(u32, u32)> {
    let text = std::str::from_utf8(client_id).ok()?;
    let (run, number) = text.strip_prefix("rbl-")?.split_once('-')?;
    Some((u32::from_str_radix(run, 16).ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for (run, number) in [(0, 1), (u32::MAX, u32::MAX)] {
            let text = write(run, number);
            assert!(text.len() <= 23, "{text}");
            assert_eq!(read(text.as_bytes()), Some((run, number)));
        }
        for other in ["", "rbl-", "rbl-x-1", "local.bridge", "rbl-1-"] {
            assert_eq!(read(other.as_bytes()), None, "{other}");
        }
    }
}
