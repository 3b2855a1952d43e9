//! Sessions: which SIM has which addresses, kept in the database (B-ID-1). Events in, whatever their order; what the
//! live directory must be told out. Functions over a connection: whoever calls has the threads and the transactions.

mod accounting;
mod again;
mod apply;
mod clients;
mod history;
mod rows;

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};
use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension as _, Row};

pub use self::apply::{Applied, apply};
pub use self::clients::settle_clients;
pub use self::history::{HistoryEvent, HistoryKind, events, prune, prune_over, prune_requests};
use crate::open5gs;
use crate::radius::AccountingEvent;

/// Who told of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A packet core, by RADIUS accounting.
    Radius,
    /// An operator, by the API.
    Api,
    /// Open5GS, which was asked.
    Open5gs,
}

impl Source {
    /// As the database calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Radius => "radius",
            Self::Api => "api",
            Self::Open5gs => "open5gs",
        }
    }
}

/// What happened to sessions, and when: milliseconds since the Unix epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionEvent {
    /// When it happened.
    pub time_ms: i64,
    /// What happened.
    pub act: SessionAct,
}

/// What happened to sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionAct {
    /// What a packet core told.
    Accounting(AccountingEvent),
    /// An operator gives a SIM an address.
    Bind {
        /// The network that the address belongs to.
        network: Arc<str>,
        /// The address.
        block: IpNet,
        /// The SIM.
        imsi: Imsi,
        /// Its modem, where it is known.
        imei: Option<Imei>,
    },
    /// An operator takes an address away, whoever gave it.
    Unbind {
        /// The network that the address belongs to.
        network: Arc<str>,
        /// The address.
        block: IpNet,
    },
    /// An operator takes all of a SIM's addresses away, whoever gave them.
    UnbindSim {
        /// The SIM.
        imsi: Imsi,
    },
    /// All sessions that Open5GS has now; those that it told of before and does not have any more are over.
    Replace {
        /// The network that its addresses belong to.
        network: Arc<str>,
        /// Its URL.
        url: Arc<str>,
        /// Its sessions.
        sessions: Vec<open5gs::Session>,
        /// What it has that cannot be read: what those SIMs had before is not over.
        unread: Vec<open5gs::Unread>,
    },
}

impl From<AccountingEvent> for SessionEvent {
    fn from(event: AccountingEvent) -> Self {
        Self {
            time_ms: event.time_ms,
            act: SessionAct::Accounting(event),
        }
    }
}

/// What the live directory must be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionChange {
    /// These addresses are this SIM's from now on.
    Bound {
        /// The network that the addresses belong to.
        network: Arc<str>,
        /// The addresses.
        block: IpNet,
        /// The SIM.
        imsi: Imsi,
        /// Its modem, where it is known.
        imei: Option<Imei>,
        /// The SIM that had them until now. Another one's connections have to end (B-ID-4); the same one only has
        /// another modem, as far as is known.
        before: Option<Imsi>,
    },
    /// These addresses are nobody's any more (B-ID-4).
    Released {
        /// The network that the addresses belong to.
        network: Arc<str>,
        /// The addresses.
        block: IpNet,
        /// The SIM that had them.
        imsi: Imsi,
    },
}

/// One address block of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimSession {
    /// The network that the addresses belong to.
    pub network: Arc<str>,
    /// The addresses.
    pub block: IpNet,
    /// The SIM.
    pub imsi: Imsi,
    /// Its modem, where it is known.
    pub imei: Option<Imei>,
    /// Who told of it.
    pub source: Source,
    /// The access server or URL that did; empty for the API.
    pub nas: String,
    /// The session's id there; empty but for RADIUS.
    pub session_id: String,
    /// What sessions have in common that are bearers of one; empty where nothing was said.
    pub multi_session_id: String,
    /// The access point's name; empty where nothing was said.
    pub apn: String,
    /// When it began, as far as is known.
    pub started_ms: i64,
    /// The time of the last event that told of it. Open5GS's is when it was first found there.
    pub updated_ms: i64,
    /// The RADIUS client that told of it; empty where it is no client's own.
    pub client: String,
}

/// A session's columns, in the order in which [`session`] reads them.
const COLUMNS: &str = "network, address, prefix, imsi, imei, source, nas, session_id, multi_session_id, apn, \
                       started_ms, updated_ms, client";

/// Shows every session to `visit`.
///
/// # Errors
/// When the database refuses, or a row is none of this program's.
pub fn sessions(
    connection: &Connection,
    mut visit: impl FnMut(SimSession),
) -> Result<(), rusqlite::Error> {
    let mut select = connection.prepare(&format!("SELECT {COLUMNS} FROM sessions"))?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        visit(session(row)?);
    }
    Ok(())
}

/// The sessions of a SIM.
///
/// # Errors
/// When the database refuses, or a row is none of this program's.
pub fn of_imsi(connection: &Connection, imsi: &Imsi) -> Result<Vec<SimSession>, rusqlite::Error> {
    let query = format!("SELECT {COLUMNS} FROM sessions WHERE imsi = ?1");
    let mut select = connection.prepare_cached(&query)?;
    select.query_map([imsi.as_str()], session)?.collect()
}

/// Who has an address.
///
/// # Errors
/// When the database refuses, or a row is none of this program's.
pub fn holder(
    connection: &Connection,
    network: &str,
    block: &IpNet,
) -> Result<Option<SimSession>, rusqlite::Error> {
    let query = format!(
        "SELECT {COLUMNS} FROM sessions WHERE network = ?1 AND address = ?2 AND prefix = ?3"
    );
    let key = (network, block.addr().to_string(), block.prefix_len());
    let mut select = connection.prepare_cached(&query)?;
    select.query_row(key, session).optional()
}

/// An Open5GS that told of sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Open5gsSource {
    /// The network that its addresses belong to.
    pub network: Arc<str>,
    /// Its URL.
    pub url: Arc<str>,
}

/// Each Open5GS whose sessions there are.
///
/// # Errors
/// When the database refuses.
pub fn open5gs_sources(connection: &Connection) -> Result<Vec<Open5gsSource>, rusqlite::Error> {
    let query = "SELECT DISTINCT network, nas FROM sessions WHERE source = 'open5gs'";
    let mut select = connection.prepare(query)?;
    let sources = select.query_map([], |row| {
        Ok(Open5gsSource {
            network: Arc::from(row.get_ref(0)?.as_str()?),
            url: Arc::from(row.get_ref(1)?.as_str()?),
        })
    })?;
    sources.collect()
}

fn session(row: &Row<'_>) -> rusqlite::Result<SimSession> {
    let address: IpAddr = parsed(row, 1)?;
    let source = match row.get_ref(5)?.as_str()? {
        "radius" => Source::Radius,
        "api" => Source::Api,
        _ => Source::Open5gs,
    };
    Ok(SimSession {
        network: Arc::from(row.get_ref(0)?.as_str()?),
        block: IpNet::new(address, row.get(2)?).map_err(|error| foreign(2, error))?,
        imsi: parsed(row, 3)?,
        imei: optional(row, 4)?,
        source,
        nas: row.get(6)?,
        session_id: row.get(7)?,
        multi_session_id: row.get(8)?,
        apn: row.get(9)?,
        started_ms: row.get(10)?,
        updated_ms: row.get(11)?,
        client: row.get(12)?,
    })
}

/// A column's text as what it stands for.
fn parsed<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str()?;
    text.parse().map_err(|error| foreign(column, error))
}

fn optional<T>(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<T>>
where
    T: FromStr,
    T::Err: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(str::parse)
        .transpose()
        .map_err(|error| foreign(column, error))
}

/// A value that this program never wrote.
fn foreign(
    column: usize,
    error: impl std::error::Error + Send + Sync + 'static,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, Box::new(error))
}

#[cfg(test)]
mod tests;
