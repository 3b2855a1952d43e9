//! Secret: the key that a registry's secrets are encrypted by, and how. Each secret is bound to its place, so that
//! nobody who can write the file moves one to another.

use std::fmt;
use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand;
use zeroize::Zeroizing;

use crate::problem::Problem;

/// The environment variable that holds the key.
pub const KEY_VARIABLE: &str = "RINGBEAM_SECRET_KEY";

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// What a key has to look like.
const KEY_FORM: &str = "a key of 32 bytes, as 64 hexadecimal digits";

/// What is wrong with the file of the key.
fn in_file(found: String) -> Problem {
    let path = "registry.secret_key_file";
    Problem::new(path, found, format!("a file with {KEY_FORM}"))
}

/// So many random bytes.
///
/// # Errors
/// When the system has no random numbers.
pub fn random_bytes<const BYTES: usize>() -> Result<Zeroizing<[u8; BYTES]>, SecretError> {
    let mut bytes = Zeroizing::new([0; BYTES]);
    rand::fill(&mut *bytes).map_err(|_| SecretError::NoRandom)?;
    Ok(bytes)
}

/// Encrypts and decrypts secrets.
pub struct SecretKey(LessSafeKey);

impl SecretKey {
    /// The key of the environment, or else that of the file which the configuration names.
    ///
    /// # Errors
    /// When neither has one. The refusal never shows any of it.
    pub fn find(file: Option<&Path>) -> Result<Self, Problem> {
        if let Some(text) = std::env::var_os(KEY_VARIABLE) {
            let text = Zeroizing::new(text.into_encoded_bytes());
            return Self::from_hex(&text)
                .ok_or_else(|| Problem::new(KEY_VARIABLE, "something else", KEY_FORM));
        }
        let Some(file) = file else {
            let found = format!("no key, and none in {KEY_VARIABLE}");
            return Err(in_file(found));
        };
        Self::read(file)
    }

    /// The key of a file.
    fn read(file: &Path) -> Result<Self, Problem> {
        let text = std::fs::read(file).map(Zeroizing::new).map_err(|error| {
            in_file(format!(
                "{}, which cannot be read ({error})",
                file.display()
            ))
        })?;
        Self::from_hex(&text)
            .ok_or_else(|| in_file(format!("{} with something else", file.display())))
    }

    /// A new key, in the form that files and the environment have it in.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new_text() -> Result<Zeroizing<String>, SecretError> {
        let key = random_bytes::<KEY_BYTES>()?;
        Ok(Zeroizing::new(
            key.iter().map(|byte| format!("{byte:02x}")).collect(),
        ))
    }

    /// A key as hexadecimal digits; white space around them is no part of it.
    pub(crate) fn from_hex(text: &[u8]) -> Option<Self> {
        let digits = text.trim_ascii();
        let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
        if digits.len() != 2 * KEY_BYTES {
            return None;
        }
        for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
            for digit in pair {
                let value = char::from(*digit).to_digit(16)?;
                *byte = (*byte << 4) | u8::try_from(value).ok()?;
            }
        }
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*key).ok()?;
        Some(Self(LessSafeKey::new(key)))
    }

    /// Encrypts what stands at `place`.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn seal(&self, place: &Place<'_>, secret: &[u8]) -> Result<Vec<u8>, SecretError> {
        let nonce = *random_bytes::<NONCE_LEN>()?;
        let mut sealed = Zeroizing::new(secret.to_vec());
        let (tag_nonce, aad) = (
            Nonce::assume_unique_for_key(nonce),
            Aad::from(place.bytes()),
        );
        self.0
            .seal_in_place_append_tag(tag_nonce, aad, &mut *sealed)
            .map_err(|_| SecretError::NoRandom)?;
        Ok([&nonce[..], &sealed[..]].concat())
    }

    /// Decrypts what stands at `place`.
    ///
    /// # Errors
    /// When another key encrypted it, or for another place, or it was changed.
    pub(super) fn open(
        &self,
        place: &Place<'_>,
        sealed: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, SecretError> {
        let (nonce, sealed) = sealed
            .split_first_chunk::<NONCE_LEN>()
            .ok_or(SecretError::Foreign)?;
        let mut opened = Zeroizing::new(sealed.to_vec());
        let (nonce, aad) = (
            Nonce::assume_unique_for_key(*nonce),
            Aad::from(place.bytes()),
        );
        let length = self
            .0
            .open_in_place(nonce, aad, &mut opened)
            .map_err(|_| SecretError::Foreign)?
            .len();
        opened.truncate(length);
        Ok(opened)
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SecretKey")
    }
}

/// Where a secret stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    /// The table.
    pub(super) table: &'a str,
    /// The row's id.
    pub(super) id: &'a str,
}

impl Place<'_> {
    fn bytes(&self) -> Vec<u8> {
        [self.table.as_bytes(), b"\0", self.id.as_bytes()].concat()
    }
}

/// Why a secret could not be encrypted or decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// There were no random numbers.
    #[error("no random numbers")]
    NoRandom,
    /// It was not encrypted by this key for this place.
    #[error("encrypted by another key, or changed")]
    Foreign,
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &[u8] = b"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n";
    const PLACE: Place<'static> = Place {
        table: "groups",
        id: "a",
    };

    #[test]
    fn a_secret_comes_back_by_its_key_at_its_place_alone() {
        SecretKey::from_hex(SecretKey::new_text().unwrap().as_bytes()).unwrap();
        let key = SecretKey::from_hex(HEX).unwrap();
        let sealed = key.seal(&PLACE, b"secret").unwrap();
        assert_eq!(**key.open(&PLACE, &sealed).unwrap(), *b"secret");
        assert_ne!(sealed, key.seal(&PLACE, b"secret").unwrap());
        let other = SecretKey::from_hex(&[b'0'; 64]).unwrap();
        assert_eq!(other.open(&PLACE, &sealed), Err(SecretError::Foreign));
        for place in [
            Place { id: "b", ..PLACE },
            Place {
                table: "x",
                ..PLACE
            },
        ] {
            assert_eq!(key.open(&place, &sealed), Err(SecretError::Foreign));
        }
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(key.open(&PLACE, &changed), Err(SecretError::Foreign));
            key.open(&PLACE, &sealed[..at]).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_shown() {
        for text in [&b""[..], b"00", &[b'g'; 64], &[b'0'; 63], &[b'0'; 66]] {
            assert!(SecretKey::from_hex(text).is_none());
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, "not-a-key").unwrap();
        let refusal = SecretKey::read(&file).unwrap_err().to_string();
        assert!(
            refusal.starts_with("registry.secret_key_file: found"),
            "{refusal}"
        );
        assert!(!refusal.contains("not-a-key"), "{refusal}");
        let key = SecretKey::from_hex(HEX).unwrap();
        assert_eq!(format!("{key:?}"), "SecretKey");
    }
}
