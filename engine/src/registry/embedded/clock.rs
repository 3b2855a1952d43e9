//! Clock: how late it is as far as the registry believes. What is old is forgotten by this clock alone: the host's may jump,
//! and what was forgotten for that would be gone for good (B-ID-7).

use rusqlite::OptionalExtension as _;

use super::StoreError;
use super::transaction::Moment;

/// Where it stands in the table of texts.
const NAME: &str = "believed_ms";

/// How late it is believed to be where `before_ms` was believed and `passed_ms` have passed since then, as far as this
/// process knows, and the host's clock shows `shown_ms`. It goes at most twice as fast as time does, so that it comes up with
/// a host that was off, and never jumps ahead with a clock that does.
const fn believed(before_ms: i64, passed_ms: i64, shown_ms: i64) -> i64 {
    let reached_ms = before_ms.saturating_add(passed_ms.saturating_mul(2));
    if shown_ms < reached_ms {
        shown_ms
    } else {
        reached_ms
    }
}

impl Moment<'_> {
    /// How late it is believed to be from now on, in milliseconds since 1970. Where nothing was believed before, as late as
    /// it was when the last of all that is kept was written.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn believe_clock(&self, passed_ms: i64, shown_ms: i64) -> Result<i64, StoreError> {
        let select = "SELECT CAST(value AS INTEGER) FROM meta WHERE name = ?1";
        let before_ms: Option<i64> = self
            .transaction
            .query_row(select, [NAME], |row| row.get(0))
            .optional()?;
        let before_ms = match before_ms {
            Some(before_ms) => before_ms,
            None => self.newest_ms()?.unwrap_or(shown_ms),
        };
        let now_ms = believed(before_ms, passed_ms, shown_ms);
        self.transaction.execute(
            "INSERT INTO meta (name, value) VALUES (?1, CAST(?2 AS BLOB)) \
             ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (NAME, now_ms.to_string()),
        )?;
        Ok(now_ms)
    }

    /// When the last of what is forgotten some time was written.
    fn newest_ms(&self) -> Result<Option<i64>, StoreError> {
        let newest = "SELECT max(time_ms) FROM ( \
             SELECT max(start) * 1000 AS time_ms FROM usage WHERE period = 300 UNION ALL \
             SELECT max(start) * 1000 FROM usage WHERE period = 86400 UNION ALL \
             SELECT max(time_ms) FROM logs UNION ALL \
             SELECT max(time_ms) FROM session_events)";
        Ok(self.transaction.query_row(newest, [], |row| row.get(0))?)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::empty;
    use super::super::{UsageCounts, UsageShare};
    use super::*;

    const DAY_MS: i64 = 86_400_000;

    #[test]
    fn b_id_7_a_clock_that_jumps_is_followed_at_twice_the_speed_of_time() {
        let check = |(passed_ms, shown_ms), expected| {
            assert_eq!(believed(1000, passed_ms, shown_ms), expected);
        };
        // As it goes as a rule, and a bit slower or faster.
        check((600, 1600), 1600);
        check((600, 1599), 1599);
        check((600, 1700), 1700);
        // It jumps, is found so at the start, and is set back.
        check((600, 1000 + 600 * DAY_MS), 2200);
        check((0, 1000 + 600 * DAY_MS), 1000);
        check((600, 500), 500);
        check((i64::MAX, i64::MAX), i64::MAX);
    }

    #[test]
    fn b_id_7_what_is_believed_begins_with_what_is_kept_and_outlives_the_program() {
        let (_folder, registry) = empty();
        let believe = |passed_ms, shown_ms| {
            let believed = registry.change(|moment| moment.believe_clock(passed_ms, shown_ms));
            believed.unwrap()
        };
        assert_eq!(believe(0, 5000), 5000);
        assert_eq!(believe(0, 600 * DAY_MS), 5000);
        assert_eq!(believe(1000, 600 * DAY_MS), 7000);
        assert_eq!(believe(1000, 6500), 6500);

        let (_folder, registry) = empty();
        let share = UsageShare {
            imsi: "440100000000001".to_owned(),
            platform: "201912",
            starts: (86_700, 86_400),
            counts: UsageCounts::default(),
        };
        let believed = registry.change(|moment| {
            moment.add_usage(std::slice::from_ref(&share))?;
            moment.believe_clock(0, 600 * DAY_MS)
        });
        assert_eq!(believed.unwrap(), 86_700_000);
    }
}
