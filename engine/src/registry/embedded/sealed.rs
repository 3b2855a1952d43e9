//! Sealed: the tables of encrypted objects, and an object's way into a row and out of it.

use rusqlite::Row;
use serde_json::Value;
use zeroize::Zeroizing;

use super::StoreError;
use super::secret::{Place, SecretKey};

/// Which of the encrypted tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sealed {
    /// Groups.
    Groups,
    /// Credentials.
    Credentials,
}

impl Sealed {
    /// The table.
    pub(super) const fn table(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Credentials => "credentials",
        }
    }

    /// Its column of ids.
    pub(super) const fn column(self) -> &'static str {
        match self {
            Self::Groups => "group_id",
            Self::Credentials => "credentials_id",
        }
    }

    /// The key of an object's id.
    pub(crate) const fn id(self) -> &'static str {
        match self {
            Self::Groups => "groupId",
            Self::Credentials => "credentialsId",
        }
    }

    /// An object's id, and the object as the table holds it.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn seal<'a>(
        self,
        key: &SecretKey,
        object: &'a Value,
    ) -> Result<(&'a str, Vec<u8>), StoreError> {
        let id = object
            .get(self.id())
            .and_then(Value::as_str)
            .unwrap_or_default();
        let text = Zeroizing::new(serde_json::to_vec(object)?);
        Ok((id, key.seal(&self.place(id), &text)?))
    }

    /// The object of a row, of which the first column is the id and the second the object.
    ///
    /// # Errors
    /// When the database or the key refuses.
    pub(super) fn open(self, key: &SecretKey, row: &Row<'_>) -> Result<Value, StoreError> {
        let id = row.get_ref(0)?.as_str().map_err(rusqlite::Error::from)?;
        let sealed = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
        Ok(serde_json::from_slice(&key.open(&self.place(id), sealed)?)?)
    }

    const fn place(self, id: &str) -> Place<'_> {
        Place {
            table: self.table(),
            id,
        }
    }
}
