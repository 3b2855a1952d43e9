//! Records: who changed what, and what happened to SIMs. Both are bounded: the oldest go.

use serde_json::Value;

use super::StoreError;
use super::transaction::{Moment, sql};

/// Somebody's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditEntry {
    /// Later entries have greater numbers.
    pub id: i64,
    /// In milliseconds since 1970.
    pub time_ms: i64,
    /// Who did it.
    pub user: String,
    /// What was done.
    pub action: String,
    /// To what.
    pub resource: String,
}

/// Something that happened to a SIM.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Later entries have greater numbers; 0 where it has none yet.
    pub id: i64,
    /// In milliseconds since 1970.
    pub time_ms: i64,
    /// The SIM.
    pub imsi: String,
    /// `error`, `warning` or `info`.
    pub level: String,
    /// What there is to say.
    pub body: Value,
}

/// Which of the entries.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogQuery<'a> {
    /// Of one SIM.
    pub imsi: Option<&'a str>,
    /// Not before, in milliseconds since 1970.
    pub from_ms: Option<i64>,
    /// Not after, in milliseconds since 1970.
    pub to_ms: Option<i64>,
    /// Older than the entry of this number.
    pub before: Option<i64>,
}

impl Moment<'_> {
    /// Notes a change.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_audit(
        &self,
        user: &str,
        action: &str,
        resource: &str,
        now_ms: i64,
    ) -> Result<(), StoreError> {
        let insert = "INSERT INTO audit (time_ms, user, action, resource) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.transaction.prepare_cached(insert)?;
        insert.execute((now_ms, user, action, resource))?;
        Ok(())
    }

    /// Changes, the latest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn audit(&self, before: Option<i64>, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let select = "SELECT id, time_ms, user, action, resource FROM audit WHERE id < ?1 ORDER BY id DESC LIMIT ?2";
        let mut select = self.transaction.prepare_cached(select)?;
        let rows = select.query_map((before.unwrap_or(i64::MAX), sql(limit)), |row| {
            Ok(AuditEntry {
                id: row.get(0)?,
                time_ms: row.get(1)?,
                user: row.get(2)?,
                action: row.get(3)?,
                resource: row.get(4)?,
            })
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    /// Notes what happened to SIMs.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_logs(&self, entries: &[LogEntry]) -> Result<(), StoreError> {
        let insert = "INSERT INTO logs (time_ms, imsi, level, body) VALUES (?1, ?2, ?3, ?4)";
        let mut insert = self.transaction.prepare_cached(insert)?;
        for entry in entries {
            insert.execute((
                entry.time_ms,
                &entry.imsi,
                &entry.level,
                entry.body.to_string(),
            ))?;
        }
        Ok(())
    }

    /// What happened, the latest first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn logs(&self, query: LogQuery<'_>, limit: usize) -> Result<Vec<LogEntry>, StoreError> {
        let LogQuery {
            imsi,
            from_ms,
            to_ms,
            before,
        } = query;
        let of_imsi = if imsi.is_some() {
            "imsi = ?5 AND"
        } else {
            "?5 IS NULL AND"
        };
        let mut select = self.transaction.prepare_cached(&format!(
            "SELECT id, time_ms, imsi, level, body FROM logs
             WHERE {of_imsi} id < ?1 AND time_ms >= ?2 AND time_ms <= ?3 ORDER BY id DESC LIMIT ?4"
        ))?;
        let before = before.unwrap_or(i64::MAX);
        let (from, to) = (from_ms.unwrap_or(0), to_ms.unwrap_or(i64::MAX));
        let mut rows = select.query((before, from, to, sql(limit), imsi))?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            let body = row.get_ref(4)?.as_str().map_err(rusqlite::Error::from)?;
            list.push(LogEntry {
                id: row.get(0)?,
                time_ms: row.get(1)?,
                imsi: row.get(2)?,
                level: row.get(3)?,
                body: serde_json::from_str(body)?,
            });
        }
        Ok(list)
    }

    /// Forgets what is older, and the oldest beyond so many.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn prune_records(
        &self,
        logs_before_ms: i64,
        logs_max: usize,
        audit_max: usize,
    ) -> Result<(), StoreError> {
        self.transaction
            .execute("DELETE FROM logs WHERE time_ms < ?1", [logs_before_ms])?;
        for (table, max) in [("logs", logs_max), ("audit", audit_max)] {
            let delete =
                format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
            self.transaction.execute(&delete, [sql(max)])?;
        }
        Ok(())
    }
}
