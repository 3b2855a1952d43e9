//! Rows: the sentences in which [`apply`](super::apply()) speaks to the database.

use ipnet::IpNet;
use ringbeam_proto::identity::Imei;
use rusqlite::{OptionalExtension as _, Params, Transaction, params};

use super::history::HistoryKind;
use super::{COLUMNS, SimSession, session};

/// What writes ends with.
pub(super) type Done = Result<(), rusqlite::Error>;

/// What was last heard of a RADIUS session.
pub(super) struct Heard {
    pub(super) updated_ms: i64,
    pub(super) is_over: bool,
}

/// The tables, in one transaction.
pub(super) struct Rows<'a>(pub(super) &'a Transaction<'a>);

impl Rows<'_> {
    fn select(
        &self,
        condition: &str,
        parameters: impl Params,
    ) -> rusqlite::Result<Vec<SimSession>> {
        let query = format!("SELECT {COLUMNS} FROM sessions WHERE {condition}");
        let mut select = self.0.prepare_cached(&query)?;
        select.query_map(parameters, session)?.collect()
    }

    fn execute(&self, sentence: &str, parameters: impl Params) -> Done {
        self.0
            .prepare_cached(sentence)?
            .execute(parameters)
            .map(drop)
    }

    /// Who has an address.
    pub(super) fn holder(
        &self,
        network: &str,
        block: &IpNet,
    ) -> rusqlite::Result<Option<SimSession>> {
        let condition = "network = ?1 AND address = ?2 AND prefix = ?3";
        let key = (network, block.addr().to_string(), block.prefix_len());
        Ok(self.select(condition, key)?.pop())
    }

    /// What a RADIUS session has.
    pub(super) fn of_session(
        &self,
        nas: &str,
        session_id: &str,
    ) -> rusqlite::Result<Vec<SimSession>> {
        let condition = "nas = ?1 AND session_id = ?2 AND source = 'radius'";
        self.select(condition, (nas, session_id))
    }

    /// What RADIUS sessions of an access server have of which nothing is known after a time.
    pub(super) fn of_nas(&self, nas: &str, last_ms: i64) -> rusqlite::Result<Vec<SimSession>> {
        let condition = "nas = ?1 AND source = 'radius' AND updated_ms <= ?2";
        self.select(condition, (nas, last_ms))
    }

    /// What an Open5GS told of.
    pub(super) fn of_url(&self, network: &str, url: &str) -> rusqlite::Result<Vec<SimSession>> {
        let condition = "network = ?1 AND nas = ?2 AND source = 'open5gs'";
        self.select(condition, (network, url))
    }

    /// Writes a session, in place of whoever has its address.
    pub(super) fn write(&self, row: &SimSession) -> Done {
        let upsert = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT DO UPDATE SET imsi = ?4, imei = ?5, source = ?6, nas = ?7, session_id = ?8, \
             multi_session_id = ?9, apn = ?10, started_ms = ?11, updated_ms = ?12";
        let parameters = params![
            &*row.network,
            row.block.addr().to_string(),
            row.block.prefix_len(),
            row.imsi.as_str(),
            row.imei.as_ref().map(Imei::as_str),
            row.source.name(),
            row.nas,
            row.session_id,
            row.multi_session_id,
            row.apn,
            row.started_ms,
            row.updated_ms,
        ];
        self.execute(upsert, parameters)
    }

    /// Deletes a session.
    pub(super) fn delete(&self, row: &SimSession) -> Done {
        let delete = "DELETE FROM sessions WHERE network = ?1 AND address = ?2 AND prefix = ?3";
        let address = row.block.addr().to_string();
        self.execute(delete, (&*row.network, address, row.block.prefix_len()))
    }

    /// What was last heard of a RADIUS session, or of an access server (no session).
    pub(super) fn heard(&self, nas: &str, session_id: &str) -> rusqlite::Result<Option<Heard>> {
        let query = "SELECT updated_ms, is_over FROM accounting WHERE nas = ?1 AND session_id = ?2";
        let mut select = self.0.prepare_cached(query)?;
        let heard = select.query_row((nas, session_id), |row| {
            Ok(Heard {
                updated_ms: row.get(0)?,
                is_over: row.get(1)?,
            })
        });
        heard.optional()
    }

    /// Something was heard of it.
    pub(super) fn hear(&self, nas: &str, session_id: &str, time_ms: i64, is_over: bool) -> Done {
        let upsert = "INSERT INTO accounting VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE \
                      SET updated_ms = max(updated_ms, ?3), is_over = ?4 \
                      WHERE updated_ms < ?3 OR is_over <> ?4";
        self.execute(upsert, (nas, session_id, time_ms, is_over))
    }

    /// Forgets what was heard of an access server's sessions until a time.
    pub(super) fn forget_nas(&self, nas: &str, last_ms: i64) -> Done {
        let delete =
            "DELETE FROM accounting WHERE nas = ?1 AND session_id <> '' AND updated_ms <= ?2";
        self.execute(delete, (nas, last_ms))
    }

    /// Writes history.
    pub(super) fn remember(&self, kind: HistoryKind, row: &SimSession, time_ms: i64) -> Done {
        let is_single = row.block.prefix_len() == row.block.max_prefix_len();
        let address = if is_single {
            row.block.addr().to_string()
        } else {
            row.block.to_string()
        };
        let insert = "INSERT INTO session_events \
             (imsi, time_ms, event, network, address, imei, apn, session_id) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
        let parameters = params![
            row.imsi.as_str(),
            time_ms,
            kind.name(),
            &*row.network,
            address,
            row.imei.as_ref().map(Imei::as_str),
            row.apn,
            row.session_id,
        ];
        self.execute(insert, parameters)
    }
}
