//! History: what happened to each SIM's sessions, newest first, for as long as it is kept.

use std::ops::RangeInclusive;
use std::sync::Arc;

use ringbeam_proto::identity::{Imei, Imsi};
use rusqlite::{Connection, Row, named_params};

use super::{optional, parsed};
use crate::limits::{SESSION_PRUNE_ROWS, SESSIONS_OVER};

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryKind {
    /// A SIM got an address.
    Created,
    /// It kept it, with another session or modem.
    Modified,
    /// It lost it.
    Deleted,
}

impl HistoryKind {
    /// As the vendor's API calls it, and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Modified => "Modified",
            Self::Deleted => "Deleted",
        }
    }
}

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryEvent {
    /// The SIM.
    pub imsi: Imsi,
    /// When, in milliseconds since the Unix epoch.
    pub time_ms: i64,
    /// What.
    pub kind: HistoryKind,
    /// The network that the address belongs to.
    pub network: Arc<str>,
    /// The address, or the prefix where it is more than one.
    pub address: String,
    /// Its modem, where it was known.
    pub imei: Option<Imei>,
    /// The access point's name; empty where nothing was said.
    pub apn: String,
    /// The session's id; empty but for RADIUS.
    pub session_id: String,
}

/// What happened to a SIM between two times, and before a third, newest first: `limit` events, and those at the same time
/// as the last of them, so that the next call goes on with `before_ms` set to that time.
///
/// # Errors
/// When the database refuses, or a row is none of this program's.
pub fn events(
    connection: &Connection,
    imsi: &Imsi,
    times_ms: RangeInclusive<i64>,
    limit: usize,
    before_ms: Option<i64>,
) -> Result<Vec<HistoryEvent>, rusqlite::Error> {
    let (from_ms, to_ms) = times_ms.into_inner();
    let to_ms = before_ms.map_or(to_ms, |before_ms| to_ms.min(before_ms.saturating_sub(1)));
    let Some(skipped) = limit.checked_sub(1) else {
        return Ok(Vec::new());
    };
    let mut select = connection.prepare_cached(
        "SELECT imsi, time_ms, event, network, address, imei, apn, session_id FROM session_events \
         WHERE imsi = :imsi AND time_ms <= :to AND time_ms >= coalesce( \
             (SELECT time_ms FROM session_events \
              WHERE imsi = :imsi AND time_ms BETWEEN :from AND :to \
              ORDER BY time_ms DESC LIMIT 1 OFFSET :skipped), :from) \
         ORDER BY time_ms DESC, position DESC",
    )?;
    let parameters = named_params! {
        ":imsi": imsi.as_str(),
        ":from": from_ms,
        ":to": to_ms,
        ":skipped": i64::try_from(skipped).unwrap_or(i64::MAX),
    };
    select.query_map(parameters, event)?.collect()
}

fn event(row: &Row<'_>) -> rusqlite::Result<HistoryEvent> {
    let kind = match row.get_ref(2)?.as_str()? {
        "Created" => HistoryKind::Created,
        "Deleted" => HistoryKind::Deleted,
        _ => HistoryKind::Modified,
    };
    Ok(HistoryEvent {
        imsi: parsed(row, 0)?,
        time_ms: row.get(1)?,
        kind,
        network: Arc::from(row.get_ref(3)?.as_str()?),
        address: row.get(4)?,
        imei: optional(row, 5)?,
        apn: row.get(6)?,
        session_id: row.get(7)?,
    })
}

/// Forgets what happened before `older_than_ms`, and the oldest events beyond `rows_max`. Returns how many rows were
/// deleted; while that is not 0, more may be left for the next call.
///
/// # Errors
/// When the database refuses.
pub fn prune(
    connection: &Connection,
    older_than_ms: i64,
    rows_max: usize,
) -> Result<usize, rusqlite::Error> {
    let at_once = i64::try_from(SESSION_PRUNE_ROWS).unwrap_or(i64::MAX);
    let old = connection
        .prepare_cached(
            "DELETE FROM session_events WHERE position IN \
             (SELECT position FROM session_events WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)",
        )?
        .execute((older_than_ms, at_once))?;
    // Positions follow each other, so that the last one tells how many there are at most.
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let many = connection
        .prepare_cached(
            "DELETE FROM session_events WHERE position IN \
             (SELECT position FROM session_events \
              WHERE position <= (SELECT max(position) FROM session_events) - ?1 \
              ORDER BY position LIMIT ?2)",
        )?
        .execute((rows_max, at_once))?;
    Ok(old.saturating_add(many))
}

/// Forgets RADIUS sessions without an address of which nothing was heard since `older_than_ms`, and the oldest of them
/// beyond a bound: what comes late about one of those may bind again what is over. Returns how many rows were deleted.
///
/// # Errors
/// When the database refuses.
pub fn prune_over(connection: &Connection, older_than_ms: i64) -> Result<usize, rusqlite::Error> {
    prune_over_beyond(connection, older_than_ms, SESSIONS_OVER)
}

pub(super) fn prune_over_beyond(
    connection: &Connection,
    older_than_ms: i64,
    rows_max: usize,
) -> Result<usize, rusqlite::Error> {
    let at_once = i64::try_from(SESSION_PRUNE_ROWS).unwrap_or(i64::MAX);
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let old = connection
        .prepare_cached(
            "DELETE FROM accounting WHERE (nas, session_id, client) IN \
             (SELECT nas, session_id, client FROM accounting AS a WHERE updated_ms < ?1 AND NOT EXISTS \
                 (SELECT 1 FROM sessions AS s \
                  WHERE s.nas = a.nas AND s.session_id = a.session_id AND s.source = 'radius') \
              ORDER BY updated_ms LIMIT ?2)",
        )?
        .execute((older_than_ms, at_once))?;
    let over: i64 = connection
        .prepare_cached("SELECT count(*) FROM accounting WHERE is_over = 1")?
        .query_row([], |row| row.get(0))?;
    let surplus = over.saturating_sub(rows_max).clamp(0, at_once);
    let many = connection
        .prepare_cached(
            "DELETE FROM accounting WHERE (nas, session_id, client) IN \
             (SELECT nas, session_id, client FROM accounting WHERE is_over = 1 ORDER BY updated_ms LIMIT ?1)",
        )?
        .execute([surplus])?;
    Ok(old.saturating_add(many))
}

/// Forgets requests that came before `older_than_ms`, and the oldest of them beyond a bound: when one of those is sent
/// again it is as new. Returns how many rows were deleted.
///
/// # Errors
/// When the database refuses.
pub fn prune_requests(
    connection: &Connection,
    older_than_ms: i64,
    rows_max: usize,
) -> Result<usize, rusqlite::Error> {
    let at_once = i64::try_from(SESSION_PRUNE_ROWS).unwrap_or(i64::MAX);
    let delete = "DELETE FROM accounting_requests WHERE (nas, authenticator) IN \
                  (SELECT nas, authenticator FROM accounting_requests WHERE time_ms < ?1 ORDER BY time_ms LIMIT ?2)";
    let mut delete = connection.prepare_cached(delete)?;
    let old = delete.execute((older_than_ms, at_once))?;
    let all: i64 = connection.query_row("SELECT count(*) FROM accounting_requests", [], |row| {
        row.get(0)
    })?;
    let rows_max = i64::try_from(rows_max).unwrap_or(i64::MAX);
    let surplus = all.saturating_sub(rows_max).clamp(0, at_once);
    let many = delete.execute((i64::MAX, surplus))?;
    Ok(old.saturating_add(many))
}
