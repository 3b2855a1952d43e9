//! Usage: billed packets by SIM, platform version and bucket (B-BILL-1). A share is added once, in one transaction
//! with everything else of it, so that no crash counts it twice.

use super::StoreError;
use super::transaction::{Moment, sql};

/// Billed packets of one SIM under one platform version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageShare {
    /// The SIM.
    pub imsi: String,
    /// The platform version.
    pub platform: &'static str,
    /// When its buckets of five minutes and of a day begin, in seconds since 1970.
    pub starts: (i64, i64),
    /// What was counted.
    pub counts: UsageCounts,
}

/// Billed packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageCounts {
    /// On the device's leg.
    pub in_mqtt: i64,
    /// On the upstream's leg over TCP.
    pub out_mqtt: i64,
    /// On the upstream's leg over TLS.
    pub out_mqtts: i64,
}

/// A bucket's width as the table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bucket {
    /// Five minutes.
    Minutes,
    /// A day.
    Day,
}

impl Bucket {
    /// In seconds.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        match self {
            Self::Minutes => 300,
            Self::Day => 86_400,
        }
    }
}

/// What one SIM, or all, used in one bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The SIM; empty where all are meant.
    pub imsi: String,
    /// When the bucket begins, in seconds since 1970.
    pub start: i64,
    /// The platform version.
    pub platform: String,
    /// What was counted.
    pub counts: UsageCounts,
}

impl Moment<'_> {
    /// Adds shares to their buckets.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_usage(&self, shares: &[UsageShare]) -> Result<(), StoreError> {
        let mut insert = self.transaction.prepare_cached(
            "INSERT INTO usage (imsi, period, start, platform, in_mqtt, out_mqtt, out_mqtts)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (imsi, period, start, platform) DO UPDATE SET in_mqtt = in_mqtt + excluded.in_mqtt,
                 out_mqtt = out_mqtt + excluded.out_mqtt, out_mqtts = out_mqtts + excluded.out_mqtts",
        )?;
        for share in shares {
            let UsageCounts {
                in_mqtt,
                out_mqtt,
                out_mqtts,
            } = share.counts;
            let (minutes, day) = share.starts;
            for (bucket, start) in [(Bucket::Minutes, minutes), (Bucket::Day, day)] {
                let (imsi, platform, seconds) = (&share.imsi, share.platform, bucket.seconds());
                insert.execute((imsi, seconds, start, platform, in_mqtt, out_mqtt, out_mqtts))?;
            }
        }
        Ok(())
    }

    /// A SIM's buckets that begin in a span, which includes its beginning.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn usage_of(
        &self,
        imsi: &str,
        bucket: Bucket,
        from: i64,
        to: i64,
    ) -> Result<Vec<UsageRow>, StoreError> {
        self.usage_rows(
            "SELECT imsi, start, platform, in_mqtt, out_mqtt, out_mqtts FROM usage
             WHERE imsi = ?1 AND period = ?2 AND start >= ?3 AND start < ?4 ORDER BY start, platform",
            (imsi, bucket.seconds(), from, to),
        )
    }

    /// The sums of all SIMs' buckets that begin in a span.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn usage_of_all(
        &self,
        bucket: Bucket,
        from: i64,
        to: i64,
    ) -> Result<Vec<UsageRow>, StoreError> {
        self.usage_rows(
            "SELECT '', start, platform, sum(in_mqtt), sum(out_mqtt), sum(out_mqtts) FROM usage
             WHERE period = ?1 AND start >= ?2 AND start < ?3 GROUP BY start, platform ORDER BY start, platform",
            (bucket.seconds(), from, to),
        )
    }

    /// The SIMs that used most in a span, most first.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn usage_top(
        &self,
        bucket: Bucket,
        from: i64,
        to: i64,
        limit: usize,
    ) -> Result<Vec<UsageRow>, StoreError> {
        self.usage_rows(
            "SELECT imsi, min(start), '', sum(in_mqtt), sum(out_mqtt), sum(out_mqtts) FROM usage
             WHERE period = ?1 AND start >= ?2 AND start < ?3 GROUP BY imsi ORDER BY sum(in_mqtt) DESC, imsi LIMIT ?4",
            (bucket.seconds(), from, to, sql(limit)),
        )
    }

    /// Every SIM's buckets that begin in a span, one by one, those of one SIM and version next to each other.
    ///
    /// # Errors
    /// When the database refuses, or whoever takes them.
    pub fn usage_visit(
        &self,
        bucket: Bucket,
        from: i64,
        to: i64,
        mut take: impl FnMut(UsageRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut select = self.transaction.prepare_cached(
            "SELECT imsi, start, platform, in_mqtt, out_mqtt, out_mqtts FROM usage
             WHERE period = ?1 AND start >= ?2 AND start < ?3 ORDER BY imsi, platform, start",
        )?;
        let mut rows = select.query((bucket.seconds(), from, to))?;
        while let Some(row) = rows.next()? {
            take(usage_row(row)?)?;
        }
        Ok(())
    }

    fn usage_rows(
        &self,
        text: &str,
        parameters: impl rusqlite::Params,
    ) -> Result<Vec<UsageRow>, StoreError> {
        let mut select = self.transaction.prepare_cached(text)?;
        let mut rows = select.query(parameters)?;
        let mut list = Vec::new();
        while let Some(row) = rows.next()? {
            list.push(usage_row(row)?);
        }
        Ok(list)
    }

    /// Forgets buckets that begin before these times.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn prune_usage(&self, minutes_before: i64, days_before: i64) -> Result<usize, StoreError> {
        let delete = "DELETE FROM usage WHERE period = ?1 AND start < ?2";
        let mut delete = self.transaction.prepare_cached(delete)?;
        let minutes = delete.execute((Bucket::Minutes.seconds(), minutes_before))?;
        let days = delete.execute((Bucket::Day.seconds(), days_before))?;
        Ok(minutes.saturating_add(days))
    }
}

fn usage_row(row: &rusqlite::Row<'_>) -> Result<UsageRow, StoreError> {
    Ok(UsageRow {
        imsi: row.get(0)?,
        start: row.get(1)?,
        platform: row.get(2)?,
        counts: UsageCounts {
            in_mqtt: row.get(3)?,
            out_mqtt: row.get(4)?,
            out_mqtts: row.get(5)?,
        },
    })
}
