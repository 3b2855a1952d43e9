//! Identity: the SIM's and the modem's number as gateways write them into attributes, in the forms seen in the field.

use ringbeam_proto::identity::{Imei, Imsi};

/// The IMSI of a 3GPP-IMSI attribute: digits, or packed two to a byte.
pub(super) fn imsi(value: &[u8]) -> Option<Imsi> {
    text_digits(value)
        .and_then(|digits| digits.parse().ok())
        .or_else(|| {
            packed_digits(value)
                .filter(|digits| matches!(digits.len(), 14 | 15))?
                .parse()
                .ok()
        })
}

/// The IMSI of a User-Name, which gateways fill in as they like. Accepted are 14 or 15 digits, alone or before an `@`,
/// and the names of EAP-AKA, EAP-SIM and EAP-AKA' (3GPP TS 23.003, section 19.3.2): one digit more, a 0, 1 or 6, in
/// front of the 15 of an IMSI. Fewer digits are no IMSI of today, but may be a telephone number.
pub(super) fn imsi_of_user_name(value: &[u8]) -> Option<Imsi> {
    let name = value.split(|byte| *byte == b'@').next()?;
    let digits = text_digits(name)?;
    match digits.len() {
        14 | 15 => digits.parse().ok(),
        16 => digits.strip_prefix(['0', '1', '6'])?.parse().ok(),
        _ => None,
    }
}

/// The IMEI of a 3GPP-IMEISV attribute: 14 digits, perhaps with a check digit or with a software version behind them,
/// as text or packed.
pub(super) fn imei(value: &[u8]) -> Option<Imei> {
    let has_length = |digits: &String| matches!(digits.len(), 14..=16);
    let digits = text_digits(value)
        .map(str::to_owned)
        .filter(has_length)
        .or_else(|| packed_digits(value).filter(has_length))?;
    Imei::with_check_digit(&digits)
}

/// Digits as text; some gateways end it as C does.
fn text_digits(value: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(value).ok()?.trim_end_matches('\0');
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then_some(text)
}

/// Digits two to a byte, the low half first, and an `F` behind an odd number of them (TBCD, 3GPP TS 29.002).
fn packed_digits(value: &[u8]) -> Option<String> {
    if !matches!(value.len(), 7 | 8) {
        return None;
    }
    let mut digits = String::with_capacity(16);
    let mut is_over = false;
    for half in value.iter().flat_map(|byte| [byte & 0x0f, byte >> 4]) {
        if half == 0x0f {
            is_over = true;
            continue;
        }
        let digit = char::from_digit(u32::from(half), 10)?;
        if is_over {
            return None;
        }
        digits.push(digit);
    }
    Some(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_id_1_imsis_are_read_in_every_form_that_is_seen() {
        let check = |value: &[u8], expected: Option<&str>| {
            let found = imsi(value);
            assert_eq!(found.as_ref().map(Imsi::as_str), expected, "{value:?}");
        };
        check(b"440100000000001", Some("440100000000001"));
        check(b"440100000000001\0", Some("440100000000001"));
        check(b"44010000000001", Some("44010000000001"));
        check(b"4401000000000011", None);
        check(b"12345", None);
        check(b"44010000000000x", None);
        check(b"", None);
        check(
            &[0x44, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf1],
            Some("440100000000001"),
        );
        check(&[0x44, 0xf0, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf1], None);
        check(&[0x4a, 0x10, 0x00, 0x00, 0x00, 0x00, 0x00, 0xf1], None);
    }

    #[test]
    fn b_id_1_a_user_name_is_an_imsi_only_where_it_looks_like_one() {
        let check = |value: &str, expected: Option<&str>| {
            let found = imsi_of_user_name(value.as_bytes());
            assert_eq!(found.as_ref().map(Imsi::as_str), expected, "{value}");
        };
        check("440100000000001", Some("440100000000001"));
        check("440100000000001@apn", Some("440100000000001"));
        check(
            "0440100000000001@nai.epc.mnc010.mcc440.3gppnetwork.org",
            Some("440100000000001"),
        );
        check("6440100000000001@wlan", Some("440100000000001"));
        check("2440100000000001@x", None);
        check("819012345678", None);
        check("user", None);
        check("@x", None);
        check("", None);
    }

    #[test]
    fn b_id_1_an_imei_has_its_check_digit_whatever_was_sent() {
        let check = |value: &[u8], expected: Option<&str>| {
            let found = imei(value);
            assert_eq!(found.as_ref().map(Imei::as_str), expected, "{value:?}");
        };
        // The worked example of 3GPP TS 23.003, annex B, is 26053179311383 with check digit 7.
        check(b"2605317931138301", Some("260531793113837"));
        check(b"26053179311383", Some("260531793113837"));
        check(b"260531793113830", Some("260531793113837"));
        check(b"260531793113837", Some("260531793113837"));
        check(b"3534567890123401", Some("353456789012348"));
        check(
            &[0x62, 0x50, 0x13, 0x97, 0x13, 0x31, 0x38, 0x10],
            Some("260531793113837"),
        );
        check(
            &[0x62, 0x50, 0x13, 0x97, 0x13, 0x31, 0x38, 0xf7],
            Some("260531793113837"),
        );
        check(
            &[0x62, 0x50, 0x13, 0x97, 0x13, 0x31, 0x38],
            Some("260531793113837"),
        );
        // Eight bytes that happen to be digits as text are packed ones.
        check(b"01234567", Some("031323334353637"));
        check(b"260531793113", None);
        check(b"26053179311383011", None);
        check(b"unknown", None);
        check(b"", None);
    }
}
