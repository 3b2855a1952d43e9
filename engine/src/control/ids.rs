//! Ids: those of what is new here, in the vendor's forms.

use crate::registry::{StoreError, random_bytes};

/// Digits of an operator's id.
const OPERATOR_DIGITS: usize = 10;

/// A new operator's id.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn new_operator_id() -> Result<String, StoreError> {
    digits("OP", OPERATOR_DIGITS)
}

/// A prefix with so many random digits behind it, 16 at the most.
///
/// # Errors
/// When the system has no random numbers.
pub(super) fn digits(prefix: &str, count: usize) -> Result<String, StoreError> {
    let bytes = random_bytes::<16>()?;
    let random = bytes.iter().map(|byte| char::from(b'0' + byte % 10));
    Ok(prefix.chars().chain(random.take(count)).collect())
}

/// A new id, in the form of a UUID of random numbers.
///
/// # Errors
/// When the system has none.
pub(super) fn new_id() -> Result<String, StoreError> {
    let number = u128::from_be_bytes(*random_bytes()?) & !(0xf_u128 << 76) & !(0x3_u128 << 62);
    let text = format!("{:032x}", number | (0x4 << 76) | (0x2 << 62));
    let part = |from: usize, to: usize| text.get(from..to).unwrap_or_default();
    let parts = [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ];
    Ok(parts.join("-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_the_form_of_a_random_uuid() {
        let (one, other) = (new_id().unwrap(), new_id().unwrap());
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(one.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&one.as_bytes()[19]));
    }
}
