//! Rows: the sentences in which [`apply`](super::apply()) speaks to the database.

use std::sync::Arc;

use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};
use rusqlite::{OptionalExtension as _, Params, Transaction, params};

use super::history::HistoryKind;
use super::{COLUMNS, SimSession, Source, optional, session};
use crate::limits::RADIUS_CLOCK_MS;
use crate::radius::RequestId;

/// What writes ends with.
pub(super) type Done = Result<(), rusqlite::Error>;

/// What was last heard of a RADIUS session.
#[derive(Clone, Copy)]
pub(super) struct Heard {
    pub(super) updated_ms: i64,
    pub(super) is_over: bool,
    pub(super) imsi: Option<Imsi>,
    /// By the access server's own clock: when it began, or when it ended if it is over.
    pub(super) own_ms: Option<i64>,
}

/// An access server, as one client speaks of it.
#[derive(Clone, Copy)]
pub(super) struct Nas<'a> {
    pub(super) name: &'a str,
    pub(super) client: &'a str,
    pub(super) networks: &'a [Arc<str>],
}

impl<'a> Nas<'a> {
    /// Whoever tells of sessions otherwise.
    pub(super) const fn named(name: &'a str) -> Self {
        Self {
            name,
            client: "",
            networks: &[],
        }
    }

    /// Whether a session is one of its own: the same client told of it, or it is no client's own and this one may speak of
    /// its network.
    pub(super) fn has(&self, held: &SimSession) -> bool {
        let is_own = if held.client.is_empty() {
            self.networks.contains(&held.network)
        } else {
            self.client == held.client
        };
        is_own && held.source == Source::Radius && held.nas == self.name
    }
}

/// The tables, in one transaction.
pub(super) struct Rows<'a> {
    pub(super) transaction: &'a Transaction<'a>,
    /// What time it is: what is later was written while this host's clock was ahead.
    pub(super) now_ms: i64,
}

impl Rows<'_> {
    fn select(
        &self,
        condition: &str,
        parameters: impl Params,
    ) -> rusqlite::Result<Vec<SimSession>> {
        let query = format!("SELECT {COLUMNS} FROM sessions WHERE {condition}");
        let mut select = self.transaction.prepare_cached(&query)?;
        let rows = select.query_map(parameters, session)?;
        rows.map(|row| row.map(|row| self.believed(row))).collect()
    }

    /// A time that has not come yet is none: nobody knows when that was, and whatever happens about now is later (B-ID-7).
    fn past_ms(&self, time_ms: i64) -> i64 {
        if time_ms <= self.now_ms {
            return time_ms;
        }
        self.now_ms.saturating_sub_unsigned(RADIUS_CLOCK_MS)
    }

    fn believed(&self, row: SimSession) -> SimSession {
        SimSession {
            started_ms: self.past_ms(row.started_ms),
            updated_ms: self.past_ms(row.updated_ms),
            ..row
        }
    }

    fn execute(&self, sentence: &str, parameters: impl Params) -> Done {
        self.transaction
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
        let held = super::holder(self.transaction, network, block)?;
        Ok(held.map(|held| self.believed(held)))
    }

    /// What a SIM has.
    pub(super) fn of_imsi(&self, imsi: &Imsi) -> rusqlite::Result<Vec<SimSession>> {
        self.select("imsi = ?1", [imsi.as_str()])
    }

    /// What a RADIUS session has, and whether another client's of that id has something.
    pub(super) fn of_session(
        &self,
        nas: &Nas<'_>,
        session_id: &str,
    ) -> rusqlite::Result<(Vec<SimSession>, bool)> {
        let condition = "nas = ?1 AND session_id = ?2 AND source = 'radius'";
        let mut held = self.select(condition, (nas.name, session_id))?;
        let all = held.len();
        held.retain(|held| nas.has(held));
        let is_foreign = held.len() < all;
        Ok((held, is_foreign))
    }

    /// What RADIUS sessions of an access server have of which nothing is known after a time, and whether another client's
    /// of that name have something.
    pub(super) fn of_nas(
        &self,
        nas: &Nas<'_>,
        last_ms: i64,
    ) -> rusqlite::Result<(Vec<SimSession>, bool)> {
        let condition = "nas = ?1 AND source = 'radius'";
        let mut held = self.select(condition, [nas.name])?;
        let all = held.len();
        held.retain(|held| nas.has(held));
        let is_foreign = held.len() < all;
        held.retain(|held| held.updated_ms <= last_ms);
        Ok((held, is_foreign))
    }

    /// What an Open5GS told of.
    pub(super) fn of_url(&self, network: &str, url: &str) -> rusqlite::Result<Vec<SimSession>> {
        let condition = "network = ?1 AND nas = ?2 AND source = 'open5gs'";
        self.select(condition, (network, url))
    }

    /// Writes a session, in place of whoever has its address.
    pub(super) fn write(&self, row: &SimSession) -> Done {
        let upsert = "INSERT INTO sessions VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
             ON CONFLICT DO UPDATE SET imsi = ?4, imei = ?5, source = ?6, nas = ?7, session_id = ?8, \
             multi_session_id = ?9, apn = ?10, started_ms = ?11, updated_ms = ?12, client = ?13";
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
            row.client,
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
    pub(super) fn heard(&self, nas: &Nas<'_>, session_id: &str) -> rusqlite::Result<Option<Heard>> {
        // The client's own first.
        let query = "SELECT updated_ms, is_over, imsi, own_ms FROM accounting \
                     WHERE nas = ?1 AND session_id = ?2 AND client IN (?3, '') \
                     ORDER BY client DESC LIMIT 1";
        let mut select = self.transaction.prepare_cached(query)?;
        let heard = select.query_row((nas.name, session_id, nas.client), |row| {
            Ok(Heard {
                updated_ms: self.past_ms(row.get(0)?),
                is_over: row.get(1)?,
                imsi: optional(row, 2)?,
                own_ms: row.get(3)?,
            })
        });
        heard.optional()
    }

    /// This was heard of it.
    pub(super) fn hear(&self, nas: &Nas<'_>, session_id: &str, heard: &Heard) -> Done {
        let upsert = "INSERT INTO accounting VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO UPDATE \
                      SET updated_ms = ?4, is_over = ?5, imsi = ?6, own_ms = ?7";
        let parameters = params![
            nas.name,
            session_id,
            nas.client,
            heard.updated_ms,
            heard.is_over,
            heard.imsi.as_ref().map(Imsi::as_str),
            heard.own_ms,
        ];
        self.execute(upsert, parameters)
    }

    /// Forgets what was heard of an access server's sessions until a time, and of those after now.
    pub(super) fn forget_nas(&self, nas: &Nas<'_>, last_ms: i64) -> Done {
        let delete = "DELETE FROM accounting WHERE nas = ?1 AND session_id <> '' AND client IN (?2, '') \
                      AND (updated_ms <= ?3 OR updated_ms > ?4)";
        self.execute(delete, (nas.name, nas.client, last_ms, self.now_ms))
    }

    /// Whether a request gave or ended something before.
    pub(super) fn is_known(&self, nas: &str, request: &RequestId) -> rusqlite::Result<bool> {
        let query = "SELECT 1 FROM accounting_requests WHERE nas = ?1 AND authenticator = ?2";
        let mut select = self.transaction.prepare_cached(query)?;
        select.exists(params![nas, request])
    }

    /// A request gave or ended something.
    pub(super) fn know(&self, nas: &str, request: &RequestId) -> Done {
        let insert = "INSERT OR IGNORE INTO accounting_requests VALUES (?1, ?2, ?3)";
        self.execute(insert, params![nas, request, self.now_ms])
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
