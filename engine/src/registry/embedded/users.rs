//! Users: who may use the API. Their passwords and keys are kept as hashes alone.

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::OptionalExtension as _;
use zeroize::Zeroizing;

use super::StoreError;
use super::secret::{SecretError, random_bytes};
use super::transaction::Moment;

/// Bytes that a password has, at the least and at the most.
const PASSWORD_BYTES: std::ops::RangeInclusive<usize> = 8..=1024;

/// Bytes of an e-mail address, at the most.
const EMAIL_BYTES: usize = 254;

/// Random bytes of a key, and of its id.
const KEY_BYTES: usize = 48;
const KEY_ID_BYTES: usize = 24;
const SALT_BYTES: usize = 16;

/// Memory in KiB, passes and lanes of a password's hash (OWASP's minimum for Argon2id).
const ARGON2: (u32, u32, u32) = (19 * 1024, 2, 1);

/// Why a user is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not an e-mail address.
    #[error("no e-mail address: one with a name, an @ and a host is accepted")]
    Email,
    /// Too short or too long.
    #[error("a password has 8 to 1024 bytes")]
    Password,
    /// Nobody has this address.
    #[error("there is no user with this e-mail address")]
    Unknown,
}

/// A key that was just made. It is shown once: what is kept cannot be turned back into it.
pub struct AuthKey {
    /// Its id.
    pub id: String,
    /// What proves that its holder may use it.
    pub key: Zeroizing<String>,
}

impl Moment<'_> {
    /// Takes a user, or a new password of one. True when there was none before.
    ///
    /// # Errors
    /// When address or password are none, or the database refuses.
    pub fn put_user(&self, email: &str, password: &[u8], now_ms: i64) -> Result<bool, StoreError> {
        if !is_email(email) {
            return Err(UserError::Email.into());
        }
        if !PASSWORD_BYTES.contains(&password.len()) {
            return Err(UserError::Password.into());
        }
        let hash = hash_password(password)?;
        let is_new = self.password_hash(email)?.is_none();
        self.transaction.execute(
            "INSERT INTO users (email, password_hash, created_ms) VALUES (?1, ?2, ?3)
             ON CONFLICT (email) DO UPDATE SET password_hash = excluded.password_hash",
            (email, hash, now_ms),
        )?;
        Ok(is_new)
    }

    /// Makes a key for a user.
    ///
    /// # Errors
    /// When there is no such user, or the database refuses.
    pub fn add_auth_key(&self, email: &str, now_ms: i64) -> Result<AuthKey, StoreError> {
        let key = AuthKey {
            id: format!("keyId-{}", random::<KEY_ID_BYTES>()?),
            key: Zeroizing::new(format!("secret-{}", random::<KEY_BYTES>()?)),
        };
        let added = self.transaction.execute(
            "INSERT INTO auth_keys (auth_key_id, email, key_hash, created_ms)
             SELECT ?1, email, ?3, ?4 FROM users WHERE email = ?2",
            (&key.id, email, hash_text(&key.key), now_ms),
        )?;
        if added == 0 {
            return Err(UserError::Unknown.into());
        }
        Ok(key)
    }

    /// Takes a key away.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_auth_key(&self, id: &str) -> Result<(), StoreError> {
        let delete = "DELETE FROM auth_keys WHERE auth_key_id = ?1";
        self.transaction.execute(delete, [id])?;
        Ok(())
    }

    /// The user who has been there longest.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn first_user(&self) -> Result<Option<String>, StoreError> {
        let select = "SELECT email FROM users ORDER BY created_ms, email LIMIT 1";
        let found = self.transaction.query_row(select, [], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// The hash of a user's password.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn password_hash(&self, email: &str) -> Result<Option<String>, StoreError> {
        let select = "SELECT password_hash FROM users WHERE email = ?1";
        let found = self
            .transaction
            .query_row(select, [email], |row| row.get(0));
        Ok(found.optional()?)
    }

    /// Whether there is a key of this id.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn has_auth_key(&self, id: &str) -> Result<bool, StoreError> {
        let select = "SELECT 1 FROM auth_keys WHERE auth_key_id = ?1";
        Ok(self.transaction.prepare_cached(select)?.exists([id])?)
    }

    /// Whose key this is.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn key_owner(&self, id: &str, key: &str) -> Result<Option<String>, StoreError> {
        let select = "SELECT email, key_hash FROM auth_keys WHERE auth_key_id = ?1";
        let found: Option<(String, Vec<u8>)> = self
            .transaction
            .query_row(select, [id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let owner = found.filter(|(_, hash)| is_hash_of(hash, key));
        Ok(owner.map(|(email, _)| email))
    }
}

/// Whether this is the password of a hash. Without a hash it takes as long, and is not. It takes tens of
/// milliseconds and 19 MiB on purpose.
#[must_use]
pub fn verify_password(hash: Option<&str>, password: &[u8]) -> bool {
    let Some(hash) = hash else {
        drop(hash_password(password));
        return false;
    };
    let Ok(hash) = PasswordHash::new(hash) else {
        return false;
    };
    argon2().verify_password(password, &hash).is_ok()
}

/// Whether a text is the one that a hash was made of.
#[must_use]
pub fn is_hash_of(hash: &[u8], text: &str) -> bool {
    verify_slices_are_equal(hash, &hash_text(text)).is_ok()
}

fn is_email(text: &str) -> bool {
    let is_plain = |part: &str| {
        !part.is_empty()
            && !part
                .chars()
                .any(|character| character.is_whitespace() || character.is_control())
    };
    text.len() <= EMAIL_BYTES
        && text
            .rsplit_once('@')
            .is_some_and(|(name, host)| is_plain(name) && is_plain(host))
}

fn argon2() -> Argon2<'static> {
    let (memory, passes, lanes) = ARGON2;
    let params = Params::new(memory, passes, lanes, None).unwrap_or_default();
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

fn hash_password(password: &[u8]) -> Result<String, StoreError> {
    let salt = SaltString::encode_b64(&*random_bytes::<SALT_BYTES>()?)
        .map_err(|_| SecretError::NoRandom)?;
    let hash = argon2().hash_password(password, &salt);
    // Its parameters are valid, and the length was looked at.
    Ok(hash.map_err(|_| UserError::Password)?.to_string())
}

/// The hash of a long random text, which needs no slow one.
#[must_use]
pub fn hash_text(text: &str) -> Vec<u8> {
    digest(&SHA256, text.as_bytes()).as_ref().to_vec()
}

/// A random text of so many random bytes.
///
/// # Errors
/// When the system has no random numbers.
pub fn random<const BYTES: usize>() -> Result<String, StoreError> {
    Ok(URL_SAFE_NO_PAD.encode(*random_bytes::<BYTES>()?))
}

impl std::fmt::Debug for AuthKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("AuthKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::empty;
    use super::*;

    #[test]
    fn a_password_lets_its_user_in_until_there_is_a_new_one() {
        let (_folder, registry) = empty();
        let put = |email: &str, password: &[u8]| {
            registry.change(|moment| moment.put_user(email, password, 1))
        };
        let is_let_in = |email: &str, password: &[u8]| {
            let hash = registry.read(|moment| moment.password_hash(email)).unwrap();
            verify_password(hash.as_deref(), password)
        };
        assert!(put("a@example.com", b"first password").unwrap());
        assert!(is_let_in("a@example.com", b"first password"));
        assert!(!is_let_in("a@example.com", b"other password"));
        assert!(!is_let_in("b@example.com", b"first password"));
        assert!(!put("a@example.com", b"second password").unwrap());
        assert!(!is_let_in("a@example.com", b"first password"));
        assert!(is_let_in("a@example.com", b"second password"));
        assert!(!verify_password(Some("no hash"), b"second password"));
    }

    #[test]
    fn what_is_no_address_or_no_password_is_refused() {
        let (_folder, registry) = empty();
        let refused = |email: &str, password: &[u8]| {
            let put = registry.change(|moment| moment.put_user(email, password, 1));
            put.unwrap_err().to_string()
        };
        for email in [
            "",
            "a",
            "@",
            "a@",
            "@b",
            "a b@c",
            "a@b\n",
            &format!("{}@b", "a".repeat(254)),
        ] {
            assert_eq!(
                refused(email, b"long enough"),
                UserError::Email.to_string(),
                "{email:?}"
            );
        }
        for password in [&b"short"[..], &[b'x'; 1025]] {
            assert_eq!(refused("a@b", password), UserError::Password.to_string());
        }
    }

    #[test]
    fn a_key_is_its_owners_and_only_its_hash_is_kept() {
        let (folder, registry) = empty();
        let add = || registry.change(|moment| moment.add_auth_key("a@b", 1));
        assert!(matches!(add(), Err(StoreError::User(UserError::Unknown))));
        let user = registry.change(|moment| moment.put_user("a@b", b"long enough", 1));
        assert!(user.unwrap());
        let (first, second) = (add().unwrap(), add().unwrap());
        assert!(first.id.starts_with("keyId-") && first.key.starts_with("secret-"));
        let owner =
            |id: &str, key: &str| registry.read(|moment| moment.key_owner(id, key)).unwrap();
        assert_eq!(owner(&first.id, &first.key).as_deref(), Some("a@b"));
        assert_eq!(owner(&first.id, &second.key), None);
        assert_eq!(owner("keyId-x", &first.key), None);
        assert!(!format!("{first:?}").contains(&**first.key));
        drop(registry);
        let file = std::fs::read(folder.path().join("db")).unwrap();
        for secret in [first.key.as_bytes(), b"long enough"] {
            assert!(!file.windows(secret.len()).any(|window| window == secret));
        }
    }
}
