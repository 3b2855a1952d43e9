//! Embedded registry: the fleet in one SQLite file that this program alone writes. What was acknowledged is on the
//! disk: the log is written ahead and synchronised at every commit. Groups and credentials are encrypted, for both
//! hold secrets.

mod clock;
mod document;
mod records;
mod rehearsal;
mod schema;
mod sealed;
mod secret;
mod serving;
pub mod sessions;
mod sims;
mod transaction;
mod unwritten;
mod usage;
mod users;

use std::cell::{Cell, RefCell};
use std::fs::{OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension as _, TransactionBehavior};
use serde_json::Value;

use self::document::{Keep, Keeping};
pub use self::records::{AuditEntry, LogEntry, LogQuery};
pub use self::rehearsal::Scope;
use self::schema::SchemaError;
pub use self::sealed::Sealed;
use self::secret::Place;
pub use self::secret::{KEY_VARIABLE, SecretError, SecretKey, random_bytes};
pub use self::serving::{NotServing, Serving};
pub use self::sims::{Matching, SimField, SimFilter, SimOrder, SimQuery, StoredSim};
pub use self::transaction::{Moment, Stored};
pub use self::unwritten::{Refusal, Unwritten};
pub use self::usage::{Bucket, UsageCounts, UsageRow, UsageShare};
pub use self::users::{AuthKey, UserError, hash_text, is_hash_of, random, verify_password};
use super::Registry;
use crate::fleet::{Fleet, FleetReader, SecretValue, visit};
use crate::problem::Problem;
use crate::sys::clock::unix_ms;

/// How long one program waits for another that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the text that tells whether the key is the right one stands.
const KEY_CHECK: Place<'static> = Place {
    table: "meta",
    id: "key_check",
};

/// That text.
const KEY_CHECK_TEXT: &[u8] = b"ringbeam";

/// A registry's database, open.
#[derive(Debug)]
pub struct EmbeddedRegistry {
    path: PathBuf,
    key: SecretKey,
    connection: RefCell<Connection>,
    /// Why the last attempt to write failed, if it did.
    unwritten: Cell<Option<Unwritten>>,
}

/// Why a registry cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its file is not there.
    #[error("no database there")]
    Missing,
    /// Its file cannot be opened.
    #[error("cannot be opened ({0})")]
    File(#[from] io::Error),
    /// It is no registry of this program's version.
    #[error("{0}")]
    Schema(String),
    /// The key is not the one that its secrets were encrypted by.
    #[error("its secrets were encrypted by another key")]
    WrongKey,
    /// A secret cannot be encrypted or decrypted.
    #[error("{0}")]
    Secret(#[from] SecretError),
    /// More is asked for than the database can compare with.
    #[error("too many texts to compare with; at most 100 are accepted")]
    TooManyTexts,
    /// A user cannot be taken.
    #[error("{0}")]
    User(#[from] UserError),
    /// The database refused.
    #[error("{0}")]
    Sqlite(#[from] rusqlite::Error),
    /// An object in it is none.
    #[error("an object that cannot be read ({0})")]
    Object(#[from] serde_json::Error),
}

impl From<SchemaError> for StoreError {
    fn from(error: SchemaError) -> Self {
        match error {
            SchemaError::Sqlite(error) => Self::Sqlite(error),
            SchemaError::Foreign | SchemaError::Newer { .. } => Self::Schema(error.to_string()),
        }
    }
}

impl StoreError {
    /// As a refusal of the file at this path.
    pub(super) fn problem(&self, path: &Path) -> Problem {
        let accepted = match self {
            Self::Missing => "a database, which `ringbeam fleet import` makes",
            Self::WrongKey => "the key that it was made with",
            Self::Schema(_) | Self::Object(_) => "a registry's database",
            Self::File(_)
            | Self::Secret(_)
            | Self::User(_)
            | Self::Sqlite(_)
            | Self::TooManyTexts => "",
        };
        Problem::new("", self, accepted).in_file(path)
    }
}

impl EmbeddedRegistry {
    /// Opens the registry at `path`.
    ///
    /// # Errors
    /// When there is none, or it cannot be used, or not with this key.
    pub fn open(path: &Path, key: SecretKey) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing);
        }
        let mut connection = Connection::open(path)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        schema::check(&connection)?;
        let journal: String =
            connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
        if journal != "wal" {
            let why = format!("it cannot be written ahead here, but is in mode {journal:?}");
            return Err(StoreError::Schema(why));
        }
        connection.pragma_update(None, "synchronous", "full")?;
        // A rehearsal writes there, also while the disk takes nothing.
        connection.pragma_update(None, "temp_store", "memory")?;
        schema::migrate(&mut connection)?;
        check_key(&mut connection, &key)?;
        Ok(Self {
            path: path.to_owned(),
            key,
            connection: RefCell::new(connection),
            unwritten: Cell::new(None),
        })
    }

    /// The same where one that is not there yet begins empty.
    ///
    /// # Errors
    /// When it cannot be made or used, or not with this key.
    pub fn open_or_create(path: &Path, key: SecretKey) -> Result<Self, StoreError> {
        create(path)?;
        Self::open(path, key)
    }

    /// Replaces the whole fleet by that of a document, or leaves everything as it is.
    ///
    /// # Errors
    /// When it cannot be stored. Inside is every refusal of the document.
    pub fn import(
        &self,
        source: &Path,
        document: &[u8],
    ) -> Result<Result<Fleet, Vec<Problem>>, StoreError> {
        let nothing = Kept::new(|_: Sealed, _: &mut Value| Ok(()));
        let fleet = self.import_all(document, &nothing, |_, _| Ok(()))?;
        let named = |problem: Problem| problem.in_file(source);
        Ok(fleet.map_err(|problems| problems.into_iter().map(named).collect()))
    }

    /// The same where objects may say of secrets that they stay: `keep` puts them in, from the object that is there, or
    /// null where none is, or refuses. `note` notes the change.
    ///
    /// # Errors
    /// When it cannot be stored. Inside is every refusal of the document.
    pub(crate) fn import_kept(
        &self,
        document: &[u8],
        keep: impl Fn(Sealed, &mut Value, &Value) -> Result<(), Problem>,
        note: impl FnOnce(&Moment<'_>, i64) -> Result<(), StoreError>,
    ) -> Result<Result<Fleet, Vec<Problem>>, StoreError> {
        let (groups, credentials) = self.read(|moment| moment.sections())?;
        let kept = Kept::new(move |table: Sealed, object: &mut Value| {
            let before = match table {
                Sealed::Groups => &groups,
                Sealed::Credentials => &credentials,
            };
            let mut before = before.0.as_array().into_iter().flatten();
            let id = object.get(table.id()).cloned();
            let same = before.find(|before| id.is_some() && before.get(table.id()) == id.as_ref());
            keep(table, object, same.unwrap_or(&Value::Null)).map_err(|mut problem| {
                let id = id.as_ref().and_then(Value::as_str).unwrap_or_default();
                problem.path = format!("{}.{id}.{}", table.table(), problem.path);
                problem
            })
        });
        self.import_all(document, &kept, note)
    }

    fn import_all(
        &self,
        document: &[u8],
        keep: &impl Keep,
        note: impl FnOnce(&Moment<'_>, i64) -> Result<(), StoreError>,
    ) -> Result<Result<Fleet, Vec<Problem>>, StoreError> {
        let mut reader = FleetReader::of_document(document);
        let mut keeping = Keeping {
            inner: &mut reader,
            keep,
        };
        if let Err(error) = visit(document, &mut keeping) {
            reader.refuse_syntax(&error);
        }
        let fleet = match reader.finish() {
            Ok(fleet) => fleet,
            Err(problems) => return Ok(Err(problems)),
        };
        let refusals = keep.refusals();
        if !refusals.is_empty() {
            return Ok(Err(refusals));
        }
        let now_ms = unix_ms();
        self.change(|moment| {
            document::import(&moment.transaction, &self.key, document, keep, now_ms)?;
            moment.release_lost(&fleet, now_ms)?;
            note(moment, now_ms)
        })?;
        self.bind_sessions(&fleet)?;
        Ok(Ok(fleet))
    }

    /// Gives the fleet's SIMs the addresses that they have for now.
    fn bind_sessions(&self, fleet: &Fleet) -> Result<(), StoreError> {
        let bind = |session: sessions::SimSession| {
            let sessions::SimSession {
                network,
                block,
                imsi,
                imei,
                ..
            } = session;
            fleet.bind(&network, block, imsi, imei);
        };
        self.with(|connection, _| Ok(sessions::sessions(connection, bind)?))
    }

    /// The whole fleet as a document, secrets included.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub fn export(&self, output: &mut impl io::Write) -> Result<(), StoreError> {
        self.export_shown(output, |_, _| {})
    }

    /// The same as somebody may see it.
    ///
    /// # Errors
    /// When it cannot be read or written.
    pub(crate) fn export_shown(
        &self,
        output: &mut impl io::Write,
        show: impl Fn(Sealed, &mut Value),
    ) -> Result<(), StoreError> {
        self.with(|connection, key| document::export(connection, key, output, show))
    }

    /// Changes the registry: all that `act` does holds once this returns, or nothing of it where that fails.
    ///
    /// # Errors
    /// Those of `act`, and when the database refuses.
    pub fn change<T, E: Refusal>(
        &self,
        act: impl FnOnce(&Moment<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let changed = self.transact(TransactionBehavior::Immediate, act);
        match &changed {
            Ok(_) => self.unwritten.set(None),
            // What is refused says nothing of the database.
            Err(error) => {
                if let Some(why) = error.unwritten() {
                    self.unwritten.set(Some(why));
                }
            }
        }
        changed
    }

    /// Why the last attempt to write failed, if it did.
    pub fn unwritten(&self) -> Option<Unwritten> {
        self.unwritten.get()
    }

    /// How long a change waits for another program that writes.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn set_patience(&self, patience: Duration) -> Result<(), StoreError> {
        self.with(|connection, _| Ok(connection.busy_timeout(patience)?))
    }

    /// Reads the registry as of one moment.
    ///
    /// # Errors
    /// Those of `act`, and when the database refuses.
    pub fn read<T, E: From<StoreError>>(
        &self,
        act: impl FnOnce(&Moment<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        self.transact(TransactionBehavior::Deferred, act)
    }

    fn transact<T, E: From<StoreError>>(
        &self,
        behavior: TransactionBehavior,
        act: impl FnOnce(&Moment<'_>) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut connection = self.connection.borrow_mut();
        let transaction = connection.transaction_with_behavior(behavior);
        let moment = Moment {
            transaction: transaction.map_err(StoreError::from)?,
            key: &self.key,
        };
        let done = act(&moment)?;
        moment.transaction.commit().map_err(StoreError::from)?;
        Ok(done)
    }

    fn with<T>(
        &self,
        act: impl FnOnce(&mut Connection, &SecretKey) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        act(&mut self.connection.borrow_mut(), &self.key)
    }
}

impl Registry for EmbeddedRegistry {
    fn load(&self) -> Result<Fleet, Vec<Problem>> {
        let mut reader = FleetReader::default();
        let read = self.with(|connection, key| document::read(connection, key, &mut reader));
        let refused = |error: StoreError| vec![error.problem(&self.path)];
        read.map_err(refused)?;
        let fleet = reader.finish().map_err(|problems| -> Vec<Problem> {
            let problems = problems.into_iter();
            problems
                .map(|problem| problem.in_file(&self.path))
                .collect()
        })?;
        self.bind_sessions(&fleet).map_err(refused)?;
        Ok(fleet)
    }
}

/// What is kept of each object of a list.
struct Kept<F> {
    keep: F,
    refusals: RefCell<Vec<Problem>>,
}

impl<F: Fn(Sealed, &mut Value) -> Result<(), Problem>> Kept<F> {
    const fn new(keep: F) -> Self {
        Self {
            keep,
            refusals: RefCell::new(Vec::new()),
        }
    }
}

impl<F: Fn(Sealed, &mut Value) -> Result<(), Problem>> Keep for Kept<F> {
    fn keep(&self, table: Sealed, list: &mut SecretValue) {
        let objects = list.0.as_array_mut().into_iter().flatten();
        let refusals = objects.filter_map(|object| (self.keep)(table, object).err());
        self.refusals.borrow_mut().extend(refusals);
    }

    fn refusals(&self) -> Vec<Problem> {
        self.refusals.borrow().clone()
    }
}

/// Makes the file, for its owner alone, unless it is there.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    match options.write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => file.set_permissions(Permissions::from_mode(0o600)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this is the key; that of a registry which has none yet.
fn check_key(connection: &mut Connection, key: &SecretKey) -> Result<(), StoreError> {
    if let Some(check) = key_check(connection)? {
        return is_key(key, &check);
    }
    // Of two programs that make it at once, the key of the first one holds.
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    if let Some(check) = key_check(&transaction)? {
        return is_key(key, &check);
    }
    let check = key.seal(&KEY_CHECK, KEY_CHECK_TEXT)?;
    let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
    transaction.execute(insert, (KEY_CHECK.id, check))?;
    Ok(transaction.commit()?)
}

fn key_check(connection: &Connection) -> rusqlite::Result<Option<Vec<u8>>> {
    let query = "SELECT value FROM meta WHERE name = ?1";
    let found = connection.query_row(query, [KEY_CHECK.id], |row| row.get(0));
    found.optional()
}

fn is_key(key: &SecretKey, check: &[u8]) -> Result<(), StoreError> {
    match key.open(&KEY_CHECK, check) {
        Ok(text) if **text == *KEY_CHECK_TEXT => Ok(()),
        _ => Err(StoreError::WrongKey),
    }
}

#[cfg(test)]
mod tests;
