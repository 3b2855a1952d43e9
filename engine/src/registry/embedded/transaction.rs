//! Transaction: one moment of the registry. What is read belongs together, and what is written is there as a whole
//! or not at all.

use ipnet::IpNet;
use ringbeam_proto::identity::Imsi;
use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::sealed::Sealed;
use super::secret::SecretKey;
use super::sessions::{
    self, Applied, HistoryEvent, Open5gsSource, SessionChange, SessionEvent, SimSession,
};
use super::{StoreError, document};
use crate::fleet::{Fleet, SecretValue};
use crate::limits::RADIUS_REQUESTS;
use crate::sys::clock::unix_ms;

/// One moment of the registry.
#[derive(Debug)]
pub struct Moment<'a> {
    pub(super) transaction: Transaction<'a>,
    pub(super) key: &'a SecretKey,
}

/// An object with when it came and when it last changed.
#[derive(Clone)]
pub struct Stored {
    /// The object, secrets in clear.
    pub(crate) object: SecretValue,
    /// In milliseconds since 1970; 0 where nobody knows.
    pub created_ms: i64,
    /// In milliseconds since 1970; 0 where nobody knows.
    pub modified_ms: i64,
}

impl std::fmt::Debug for Stored {
    /// Without the object.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Stored")
            .field("modified_ms", &self.modified_ms)
            .finish_non_exhaustive()
    }
}

impl Moment<'_> {
    /// Objects of an encrypted table in the order of their ids, from the one behind `after` on.
    ///
    /// # Errors
    /// When the database or the key refuses.
    pub fn sealed_list(
        &self,
        table: Sealed,
        after: &str,
        limit: usize,
    ) -> Result<Vec<Stored>, StoreError> {
        let (name, column) = (table.table(), table.column());
        let mut select = self.transaction.prepare_cached(&format!(
            "SELECT {column}, object, created_ms, modified_ms FROM {name} WHERE {column} > ?1 ORDER BY {column} LIMIT ?2"
        ))?;
        let mut rows = select.query((after, sql(limit)))?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(self.unseal(table, row)?);
        }
        Ok(list)
    }

    /// All groups and all credentials, as a fleet document has them.
    ///
    /// # Errors
    /// When the database or the key refuses.
    pub(crate) fn sections(&self) -> Result<(SecretValue, SecretValue), StoreError> {
        document::sections(&self.transaction, self.key)
    }

    /// One object of an encrypted table.
    ///
    /// # Errors
    /// When the database or the key refuses.
    pub fn sealed(&self, table: Sealed, id: &str) -> Result<Option<Stored>, StoreError> {
        let (name, column) = (table.table(), table.column());
        let mut select = self.transaction.prepare_cached(&format!(
            "SELECT {column}, object, created_ms, modified_ms FROM {name} WHERE {column} = ?1"
        ))?;
        let mut rows = select.query([id])?;
        rows.next()?.map(|row| self.unseal(table, row)).transpose()
    }

    fn unseal(&self, table: Sealed, row: &Row<'_>) -> Result<Stored, StoreError> {
        Ok(Stored {
            object: SecretValue(table.open(self.key, row)?),
            created_ms: row.get(2)?,
            modified_ms: row.get(3)?,
        })
    }

    /// Puts an object into an encrypted table, in the place of the one with its id if there is one.
    ///
    /// # Errors
    /// When the database or the key refuses.
    pub(crate) fn put_sealed(
        &self,
        table: Sealed,
        object: &SecretValue,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let (id, sealed) = table.seal(self.key, &object.0)?;
        let (name, column) = (table.table(), table.column());
        let mut insert = self.transaction.prepare_cached(&format!(
            "INSERT INTO {name} ({column}, object, created_ms, modified_ms) VALUES (?1, ?2, ?3, ?3)
             ON CONFLICT ({column}) DO UPDATE SET object = excluded.object, modified_ms = excluded.modified_ms"
        ))?;
        insert.execute((id, sealed, now_ms))?;
        Ok(())
    }

    /// Removes an object of an encrypted table; false where there is none.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn delete_sealed(&self, table: Sealed, id: &str) -> Result<bool, StoreError> {
        let (name, column) = (table.table(), table.column());
        let delete = format!("DELETE FROM {name} WHERE {column} = ?1");
        Ok(self.transaction.execute(&delete, [id])? > 0)
    }

    /// The sessions of a SIM.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sessions_of(&self, imsi: &Imsi) -> Result<Vec<SimSession>, StoreError> {
        Ok(sessions::of_imsi(&self.transaction, imsi)?)
    }

    /// Notes what happened to sessions. What the fleet that is in use must be told.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn apply_sessions(
        &self,
        events: &[SessionEvent],
    ) -> Result<Vec<SessionChange>, StoreError> {
        Ok(self.apply_told(events)?.changes)
    }

    /// The same with what became of the events, for whoever tells of them.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn apply_told(&self, events: &[SessionEvent]) -> Result<Applied, StoreError> {
        Ok(sessions::apply(&self.transaction, events, unix_ms())?)
    }

    /// Has sessions follow RADIUS clients that have come, gone or other rights; see [`sessions::settle_clients`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn settle_clients(&self, names: &[&str], listed: &[&str]) -> Result<(), StoreError> {
        Ok(sessions::settle_clients(&self.transaction, names, listed)?)
    }

    /// The session that has an address.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn session_at(
        &self,
        network: &str,
        block: &IpNet,
    ) -> Result<Option<SimSession>, StoreError> {
        Ok(sessions::holder(&self.transaction, network, block)?)
    }

    /// Each Open5GS whose sessions there are.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) fn open5gs_sources(&self) -> Result<Vec<Open5gsSource>, StoreError> {
        Ok(sessions::open5gs_sources(&self.transaction)?)
    }

    /// Takes back what an operator lent to SIMs that a fleet does not have any more. What a packet core says stays: it
    /// knows of SIMs that may yet come.
    ///
    /// # Errors
    /// When the database refuses.
    pub(super) fn release_lost(&self, fleet: &Fleet, now_ms: i64) -> Result<(), StoreError> {
        let mut lost = Vec::new();
        sessions::sessions(&self.transaction, |session| {
            let is_lent = session.source == sessions::Source::Api;
            if is_lent && fleet.sim(&session.imsi).is_none() {
                lost.push(SessionEvent {
                    time_ms: now_ms,
                    act: sessions::SessionAct::UnbindSim { imsi: session.imsi },
                });
            }
        })?;
        self.apply_sessions(&lost)?;
        Ok(())
    }

    /// What happened to a SIM's sessions, newest first; see [`sessions::events`].
    ///
    /// # Errors
    /// When the database refuses.
    pub fn session_events(
        &self,
        imsi: &Imsi,
        (from_ms, to_ms): (i64, i64),
        limit: usize,
        before_ms: Option<i64>,
    ) -> Result<Vec<HistoryEvent>, StoreError> {
        let connection = &self.transaction;
        let events = sessions::events(connection, imsi, from_ms..=to_ms, limit, before_ms);
        Ok(events?)
    }

    /// Forgets what happened to sessions before a time and beyond so many, and what is remembered of RADIUS sessions that
    /// are over, in part. How many rows went.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn prune_sessions(
        &self,
        events_before_ms: i64,
        events_max: usize,
        over_before_ms: i64,
    ) -> Result<usize, StoreError> {
        let events = sessions::prune(&self.transaction, events_before_ms, events_max)?;
        let over = sessions::prune_over(&self.transaction, over_before_ms)?;
        let requests =
            sessions::prune_requests(&self.transaction, over_before_ms, RADIUS_REQUESTS)?;
        Ok(events.saturating_add(over).saturating_add(requests))
    }

    /// Writes something that means nothing: whether that can be done.
    ///
    /// # Errors
    /// When the database refuses.
    pub(crate) fn touch(&self, now_ms: i64) -> Result<(), StoreError> {
        let upsert = "INSERT INTO meta (name, value) VALUES ('touched_ms', ?1)
                      ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        self.transaction
            .execute(upsert, [now_ms.to_be_bytes().as_slice()])?;
        Ok(())
    }

    /// A text of this installation's own, made when it is first asked for.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn own_text(
        &self,
        name: &str,
        make: impl FnOnce() -> Result<String, StoreError>,
    ) -> Result<String, StoreError> {
        let select = "SELECT value FROM meta WHERE name = ?1";
        let found: Option<Vec<u8>> = self
            .transaction
            .query_row(select, [name], |row| row.get(0))
            .optional()?;
        if let Some(found) = found {
            return Ok(String::from_utf8_lossy(&found).into_owned());
        }
        let text = make()?;
        let insert = "INSERT INTO meta (name, value) VALUES (?1, ?2)";
        self.transaction.execute(insert, (name, text.as_bytes()))?;
        Ok(text)
    }
}

/// A count as SQLite takes it.
pub(super) fn sql(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
