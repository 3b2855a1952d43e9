//! Calendar: days and months as the vendor counts them: Japan's, nine hours ahead of UTC, which its own example of
//! a bucket shows (B-BILL-2). Seconds since 1970 in, beginnings of buckets out.

/// How far ahead days begin, in seconds.
const AHEAD_SECONDS: i64 = 9 * 3600;

/// Seconds of a day.
pub(super) const DAY_SECONDS: i64 = 86_400;

/// Seconds of the smallest bucket.
pub(super) const MINUTES_SECONDS: i64 = 300;

/// How wide a bucket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Period {
    Month,
    Day,
    Minutes,
}

impl Period {
    /// The vendor's name for it.
    pub(super) fn parse(text: &str) -> Option<Self> {
        match text {
            "month" => Some(Self::Month),
            "day" => Some(Self::Day),
            "minutes" => Some(Self::Minutes),
            _ => None,
        }
    }

    /// The beginning of the bucket that a time lies in.
    pub(super) fn start(self, seconds: i64) -> i64 {
        match self {
            Self::Minutes => seconds.saturating_sub(seconds.rem_euclid(MINUTES_SECONDS)),
            Self::Day => {
                let local = seconds.saturating_add(AHEAD_SECONDS);
                seconds.saturating_sub(local.rem_euclid(DAY_SECONDS))
            }
            Self::Month => {
                let day = day_of_month(seconds).saturating_sub(1);
                let start = Self::Day.start(seconds);
                start.saturating_sub(day.saturating_mul(DAY_SECONDS))
            }
        }
    }

    /// The beginning of the bucket after it.
    pub(super) fn next(self, seconds: i64) -> i64 {
        let start = self.start(seconds);
        match self {
            Self::Minutes => start.saturating_add(MINUTES_SECONDS),
            Self::Day => start.saturating_add(DAY_SECONDS),
            // 31 days on is always in the next month, or at its end.
            Self::Month => {
                let beyond = start.saturating_add(31 * DAY_SECONDS);
                let into = day_of_month(beyond).saturating_sub(1);
                beyond.saturating_sub(into.saturating_mul(DAY_SECONDS))
            }
        }
    }

    /// A bucket's name: its digits of year, month, day, hour and minute.
    pub(super) fn name(self, start: i64) -> String {
        let local = start.saturating_add(AHEAD_SECONDS);
        let (year, month, day) = civil(local.div_euclid(DAY_SECONDS));
        let minutes = local.rem_euclid(DAY_SECONDS) / 60;
        match self {
            Self::Month => format!("{year:04}{month:02}"),
            Self::Day => format!("{year:04}{month:02}{day:02}"),
            Self::Minutes => {
                let (hour, minute) = (minutes / 60, minutes % 60);
                format!("{year:04}{month:02}{day:02}{hour:02}{minute:02}")
            }
        }
    }
}

fn day_of_month(seconds: i64) -> i64 {
    let local = seconds.saturating_add(AHEAD_SECONDS);
    let (_, _, day) = civil(local.div_euclid(DAY_SECONDS));
    day
}

/// Year, month and day of a day, counted from 1970-01-01 (Hinnant, "chrono-compatible low-level date algorithms").
const fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days.saturating_add(719_468);
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era.saturating_mul(400) + (month <= 2) as i64;
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_bill_2_the_vendors_example_is_the_beginning_of_a_day() {
        assert_eq!(Period::Day.start(1_709_218_800 + 5), 1_709_218_800);
        assert_eq!(Period::Day.name(1_709_218_800), "20240301");
        assert_eq!(
            Period::Month.start(1_709_218_800 + 86_400 * 30),
            1_709_218_800
        );
        assert_eq!(Period::Month.name(1_709_218_800), "202403");
        assert_eq!(Period::Minutes.start(1_709_218_800 + 299), 1_709_218_800);
        assert_eq!(Period::Minutes.name(1_709_218_800 + 300), "202403010005");
    }

    #[test]
    fn every_bucket_ends_where_the_next_begins() {
        for period in [Period::Month, Period::Day, Period::Minutes] {
            let mut start = period.start(1_700_000_000);
            for _ in 0..40 {
                let next = period.next(start);
                assert!(next > start);
                assert_eq!(period.start(next), next);
                assert_eq!(period.start(next - 1), start);
                assert_eq!(period.next(next - 1), next);
                start = next;
            }
        }
        // A leap year's February.
        assert_eq!(
            Period::Month.name(Period::Month.next(1_706_713_200)),
            "202403"
        );
        assert_eq!(Period::parse("year"), None);
    }
}
