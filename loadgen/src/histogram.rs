//! Histogram: durations in ns with three significant digits, as HDR histograms and logs have them.

use std::io;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::serialization::interval_log::{IntervalLogWriterBuilder, Tag};
use hdrhistogram::serialization::{Deserializer, Serializer as _, V2DeflateSerializer};
use serde::{Deserialize, Serialize};

/// Longest duration that is told from longer ones: an hour, in ns.
const LONGEST_NS: u64 = 3_600_000_000_000;

/// Durations, counted.
#[derive(Clone, Debug)]
pub struct Durations(hdrhistogram::Histogram<u64>);

/// What of the durations is at or below which value, in µs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Percentiles {
    /// Half of them.
    pub p50: f64,
    /// 90 %.
    pub p90: f64,
    /// 99 %.
    pub p99: f64,
    /// 99.9 %.
    pub p999: f64,
    /// All of them.
    pub max: f64,
}

impl Default for Durations {
    #[expect(clippy::expect_used, reason = "the bounds are constants")]
    fn default() -> Self {
        let bounded = hdrhistogram::Histogram::new_with_bounds(1, LONGEST_NS, 3);
        Self(bounded.expect("bounds that the library accepts"))
    }
}

impl Durations {
    /// Counts one, in ns.
    pub fn record(&mut self, duration_ns: u64) {
        self.0.saturating_record(duration_ns.max(1));
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// Adds all of another's.
    pub fn add(&mut self, other: &Self) {
        // Both have the same bounds, so that nothing can be out of them.
        let _ = self.0.add(&other.0);
    }

    /// Takes what is there and begins again.
    #[must_use]
    pub fn take(&mut self) -> Self {
        std::mem::take(self)
    }

    /// `None` where there are no durations.
    #[must_use]
    pub fn percentiles(&self) -> Option<Percentiles> {
        if self.0.is_empty() {
            return None;
        }
        Some(Percentiles {
            p50: self.quantile_us(0.5),
            p90: self.quantile_us(0.9),
            p99: self.quantile_us(0.99),
            p999: self.quantile_us(0.999),
            max: self.quantile_us(1.0),
        })
    }

    /// The value that a share of the durations is at or below, in µs; 0 where there are none.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> f64 {
        let highest = self.0.value_at_quantile(share).min(self.0.max());
        micros(highest)
    }

    /// In the compressed form of HDR logs, base64.
    ///
    /// # Errors
    /// When the library cannot.
    pub fn to_text(&self) -> anyhow::Result<String> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes)?;
        Ok(STANDARD.encode(bytes))
    }

    /// Out of that form.
    ///
    /// # Errors
    /// When it is none.
    pub fn from_text(text: &str) -> anyhow::Result<Self> {
        let bytes = STANDARD.decode(text)?;
        let found = Deserializer::new().deserialize(&mut bytes.as_slice())?;
        Ok(Self(found))
    }
}

#[expect(clippy::cast_precision_loss, reason = "durations are below 2^52 ns")]
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

/// Durations of one span of a run.
#[derive(Clone, Debug)]
pub struct Interval {
    /// What they are durations of.
    pub tag: &'static str,
    /// From the beginning of the log.
    pub start: Duration,
    /// How long the span was.
    pub length: Duration,
    /// The durations.
    pub durations: Durations,
}

/// Writes an HDR log, as `HistogramLogProcessor` and its like read it; values are ns.
///
/// # Errors
/// When it cannot be written.
pub fn write_log(
    out: &mut impl io::Write,
    began: SystemTime,
    intervals: &[Interval],
) -> anyhow::Result<()> {
    let mut serializer = V2DeflateSerializer::new();
    let mut log = IntervalLogWriterBuilder::new()
        .add_comment("durations in ns, by ringbeam-loadgen")
        .with_start_time(began)
        .with_base_time(began)
        .with_max_value_divisor(1e6)
        .begin_log_with(out, &mut serializer)?;
    for interval in intervals {
        log.write_histogram(
            &interval.durations.0,
            interval.start,
            interval.length,
            Tag::new(interval.tag),
        )
        .map_err(|error| anyhow::anyhow!("{error:?}"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hdrhistogram::serialization::interval_log::{IntervalLogIterator, LogEntry};

    fn to_a_thousand() -> Durations {
        let mut durations = Durations::default();
        for micros in 1..=1000 {
            durations.record(micros * 1000);
        }
        durations
    }

    fn close(found: f64, expected: f64) {
        assert!(
            (found - expected).abs() <= expected / 1000.0,
            "{found} {expected}"
        );
    }

    #[test]
    fn known_durations_have_known_percentiles() {
        let found = to_a_thousand().percentiles().unwrap();
        close(found.p50, 500.0);
        close(found.p90, 900.0);
        close(found.p99, 990.0);
        close(found.p999, 999.0);
        close(found.max, 1000.0);
        assert_eq!(Durations::default().percentiles(), None);
        let mut beyond = Durations::default();
        beyond.record(u64::MAX);
        close(beyond.percentiles().unwrap().max, 3.6e9);
    }

    #[test]
    fn sums_and_texts_keep_every_duration() {
        let mut twice = to_a_thousand();
        twice.add(&to_a_thousand());
        let read = Durations::from_text(&twice.to_text().unwrap()).unwrap();
        assert_eq!(read.count(), 2000);
        assert_eq!(read.percentiles(), twice.percentiles());
        assert_eq!(twice.take().count(), 2000);
        assert_eq!(twice.count(), 0);
        Durations::from_text("AAAA").unwrap_err();
    }

    #[test]
    fn logs_are_read_by_any_reader_of_them() {
        let interval = |tag, seconds| Interval {
            tag,
            start: Duration::from_secs(seconds),
            length: Duration::from_secs(1),
            durations: to_a_thousand(),
        };
        let mut log = Vec::new();
        let began = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        write_log(
            &mut log,
            began,
            &[interval("latency", 0), interval("lag", 1)],
        )
        .unwrap();
        let found: Vec<_> = IntervalLogIterator::new(&log)
            .filter_map(|entry| match entry.unwrap() {
                LogEntry::Interval(line) => Some((
                    line.tag().unwrap().as_str().to_owned(),
                    line.start_timestamp(),
                    line.encoded_histogram().to_owned(),
                )),
                LogEntry::StartTime(_) | LogEntry::BaseTime(_) => None,
            })
            .collect();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].0, "latency");
        assert_eq!(found[1].1, Duration::from_secs(1));
        let read = Durations::from_text(&found[1].2).unwrap();
        assert_eq!(read.percentiles(), to_a_thousand().percentiles());
    }
}
