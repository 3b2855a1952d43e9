//! Summary: rows to figures. Per subject, scenario and metric the least, the median and the greatest of the
//! rounds, and ratios that are taken round by round, because the rounds of one run share the machine's mood.

pub mod ordered;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::model::Row;
use ordered::Ordered;

/// What ratios are taken to where nothing else is named.
pub const BASELINE: &str = "haproxy";

/// The older platform version's subject.
pub const V201509: &str = "ringbeam-201509";

/// The newer platform version's subject.
pub const V201912: &str = "ringbeam-201912";

/// Everything that `summary.json` says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Summary {
    /// The subject that ratios are taken to, without `@shards`.
    pub baseline: String,
    /// Figures by subject, scenario and metric. A scenario in which every round failed has none.
    pub subjects: Ordered<Ordered<BTreeMap<String, Figure>>>,
    /// 201509 over 201912 by scenario, metric and `201509_to_201912`, with `@shards` behind it where subjects have it.
    pub versions: Ordered<BTreeMap<String, BTreeMap<String, Spread>>>,
    /// The rounds that count in no figure.
    pub failures: Vec<Failure>,
    /// Scenarios as they first occur in the rows.
    #[serde(skip)]
    pub scenarios: Vec<String>,
}

/// A metric of one subject under one scenario.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figure {
    /// The values of the rounds.
    #[serde(flatten)]
    pub spread: Spread,
    /// Round by round over the baseline with the same `@shards`; none where no round of both is whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio_to_baseline: Option<Spread>,
}

/// Values and where they lie.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The least.
    pub min: f64,
    /// The middle one, or the mean of the two middle ones.
    pub median: f64,
    /// The greatest.
    pub max: f64,
    /// All of them, by round.
    pub rounds: Vec<f64>,
}

/// A round that counts for nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Its subject.
    pub subject: String,
    /// Its scenario.
    pub scenario: String,
    /// Which round; 0 is an extra one beside the measured rounds.
    pub round: u32,
    /// Why.
    pub failure: String,
}

impl Summary {
    /// Sums up `rows`, with ratios to `baseline`, or where none is named to [`BASELINE`] if it is there and else to
    /// the first subject.
    #[must_use]
    pub fn of(rows: &[Row], baseline: Option<&str>) -> Self {
        let samples = samples(rows);
        let baseline = baseline.map_or_else(|| default_baseline(rows), str::to_owned);
        let mut subjects = Ordered::default();
        let mut versions = Ordered::default();
        let mut scenarios = Ordered::<()>::default();
        for row in rows {
            scenarios.entry(&row.scenario);
        }
        for (subject, by_scenario) in samples.iter() {
            let to_baseline = samples.get(&format!("{baseline}{}", shards_of(subject)));
            let figures: &mut Ordered<BTreeMap<String, Figure>> = subjects.entry(subject);
            for (scenario, by_metric) in by_scenario.iter() {
                let to = to_baseline.and_then(|of| of.get(scenario));
                *figures.entry(scenario) = by_metric
                    .iter()
                    .filter_map(|(metric, values)| {
                        let ratio_to_baseline = to
                            .and_then(|of| of.get(metric))
                            .and_then(|to| ratios(values, to));
                        Some((metric.clone(), figure(values, ratio_to_baseline)?))
                    })
                    .collect();
            }
        }
        for scenario in scenarios.names() {
            for (subject, by_scenario) in samples.iter() {
                if base_of(subject) == V201509
                    && let Some(of) = by_scenario.get(scenario)
                    && let Some(to) = samples
                        .get(&format!("{V201912}{}", shards_of(subject)))
                        .and_then(|to| to.get(scenario))
                {
                    compare_versions(versions.entry(scenario), shards_of(subject), of, to);
                }
            }
        }
        Self {
            baseline,
            subjects,
            versions,
            failures: failures(rows),
            scenarios: scenarios.names().map(str::to_owned).collect(),
        }
    }

    /// A metric of one subject under one scenario.
    #[must_use]
    pub fn figure(&self, subject: &str, scenario: &str, metric: &str) -> Option<&Figure> {
        self.subjects.get(subject)?.get(scenario)?.get(metric)
    }

    /// 201509 over 201912 with `shards`, such as `@2` or nothing.
    #[must_use]
    pub fn version_ratio(&self, scenario: &str, metric: &str, shards: &str) -> Option<&Spread> {
        let by_shards = self.versions.get(scenario)?.get(metric)?;
        by_shards.get(&version_key(shards))
    }
}

/// The subject's name without `@shards`.
#[must_use]
pub fn base_of(subject: &str) -> &str {
    subject.split_once('@').map_or(subject, |(base, _)| base)
}

/// `@shards` of a subject's name, or nothing.
#[must_use]
pub fn shards_of(subject: &str) -> &str {
    subject.strip_prefix(base_of(subject)).unwrap_or_default()
}

fn version_key(shards: &str) -> String {
    format!("201509_to_201912{shards}")
}

/// A metric's values with their rounds.
type Values = Vec<(u32, f64)>;
type Samples = BTreeMap<String, Values>;

/// What counts: no failed rows, nothing that is not a number, and of round 0 only what no measured round says:
/// it ran under a tracer, so its other figures are the tracer's too.
fn samples(rows: &[Row]) -> Ordered<Ordered<Samples>> {
    let measured: BTreeSet<&str> = rows
        .iter()
        .filter(|row| row.round > 0)
        .flat_map(|row| row.metrics.keys().map(String::as_str))
        .collect();
    let mut samples = Ordered::<Ordered<Samples>>::default();
    for row in rows {
        let by_metric = samples.entry(&row.subject).entry(&row.scenario);
        if row.failure.is_some() {
            continue;
        }
        for (metric, value) in &row.metrics {
            if value.is_finite() && (row.round > 0 || !measured.contains(metric.as_str())) {
                by_metric
                    .entry(metric.clone())
                    .or_default()
                    .push((row.round, *value));
            }
        }
    }
    samples
}

fn default_baseline(rows: &[Row]) -> String {
    let mut bases = rows.iter().map(|row| base_of(&row.subject));
    let first = bases.clone().next().unwrap_or(BASELINE);
    bases
        .find(|base| *base == BASELINE)
        .unwrap_or(first)
        .to_owned()
}

fn figure(values: &Values, ratio_to_baseline: Option<Spread>) -> Option<Figure> {
    let spread = Spread::of(values.iter().map(|(_, value)| *value).collect())?;
    Some(Figure {
        spread,
        ratio_to_baseline,
    })
}

/// Round i of `of` over round i of `to`, where both are there.
fn ratios(of: &Values, to: &Values) -> Option<Spread> {
    let ratio = |(round, value): &(u32, f64)| {
        let (_, base) = to.iter().find(|(other, _)| other == round && *round > 0)?;
        Some(value / base).filter(|ratio| ratio.is_finite())
    };
    Spread::of(of.iter().filter_map(ratio).collect())
}

fn compare_versions(
    into: &mut BTreeMap<String, BTreeMap<String, Spread>>,
    shards: &str,
    of: &Samples,
    to: &Samples,
) {
    for (metric, values) in of {
        if let Some(spread) = to.get(metric).and_then(|to| ratios(values, to)) {
            into.entry(metric.clone())
                .or_default()
                .insert(version_key(shards), spread);
        }
    }
}

fn failures(rows: &[Row]) -> Vec<Failure> {
    rows.iter()
        .filter_map(|row| {
            Some(Failure {
                subject: row.subject.clone(),
                scenario: row.scenario.clone(),
                round: row.round,
                failure: row.failure.clone()?,
            })
        })
        .collect()
}

impl Spread {
    /// Of these values; none of no value.
    #[must_use]
    pub fn of(rounds: Vec<f64>) -> Option<Self> {
        let mut sorted = rounds.clone();
        sorted.sort_by(f64::total_cmp);
        let low = sorted.get(sorted.len().checked_sub(1)? / 2)?;
        let high = sorted.get(sorted.len() / 2)?;
        Some(Self {
            min: *sorted.first()?,
            median: f64::midpoint(*low, *high),
            max: *sorted.last()?,
            rounds,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(subject: &str, round: u32, cost: f64) -> Row {
        Row {
            subject: subject.to_owned(),
            scenario: "lockstep-1".to_owned(),
            round,
            failure: None,
            metrics: BTreeMap::from([("cpu_us_per_msg".to_owned(), cost)]),
        }
    }

    fn failed(subject: &str, round: u32, cost: f64) -> Row {
        Row {
            failure: Some("3 messages lost".to_owned()),
            ..row(subject, round, cost)
        }
    }

    fn ratio_rounds(rows: &[Row], subject: &str) -> Option<Vec<f64>> {
        let summary = Summary::of(rows, None);
        let figure = summary.figure(subject, "lockstep-1", "cpu_us_per_msg");
        Some(figure?.ratio_to_baseline.clone()?.rounds)
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middle_ones() {
        let check = |values: &[f64], expected: Option<(f64, f64, f64)>| {
            let spread = Spread::of(values.to_vec());
            assert_eq!(
                spread.map(|s| (s.min, s.median, s.max)),
                expected,
                "{values:?}"
            );
        };
        check(&[], None);
        check(&[4.0], Some((4.0, 4.0, 4.0)));
        check(&[9.0, 1.0, 5.0], Some((1.0, 5.0, 9.0)));
        check(&[9.0, 1.0, 5.0, 7.0], Some((1.0, 6.0, 9.0)));
        check(&[-1.0, 0.0], Some((-1.0, -0.5, 0.0)));
    }

    #[test]
    fn ratios_pair_rounds_and_leave_out_those_that_failed_or_are_missing() {
        let rows = [
            row("haproxy", 1, 10.0),
            row("nginx", 1, 20.0),
            row("nginx", 2, 30.0),
            failed("haproxy", 2, 1.0),
            failed("nginx", 3, 1.0),
            row("haproxy", 3, 10.0),
            row("haproxy", 4, 5.0),
            row("nginx", 4, 20.0),
            row("nginx", 5, 20.0),
            row("haproxy", 6, 0.0),
            row("nginx", 6, 20.0),
        ];
        assert_eq!(ratio_rounds(&rows, "nginx"), Some(vec![2.0, 4.0]));
        let summary = Summary::of(&rows, None);
        let cost = summary.figure("nginx", "lockstep-1", "cpu_us_per_msg");
        assert_eq!(
            cost.map(|figure| figure.spread.rounds.clone()),
            Some(vec![20.0, 30.0, 20.0, 20.0, 20.0])
        );
        let failures: Vec<_> = summary
            .failures
            .iter()
            .map(|failure| (failure.subject.as_str(), failure.round))
            .collect();
        assert_eq!(failures, [("haproxy", 2), ("nginx", 3)]);
    }

    #[test]
    fn a_baseline_of_zero_gives_no_ratio() {
        let rows = [row("haproxy", 1, 0.0), row("nginx", 1, 0.0)];
        assert_eq!(ratio_rounds(&rows, "nginx"), None);
    }

    #[test]
    fn subjects_are_compared_with_the_baseline_of_as_many_shards() {
        let rows = [
            row("haproxy@1", 1, 10.0),
            row("haproxy@2", 1, 20.0),
            row("nginx@1", 1, 10.0),
            row("nginx@2", 1, 10.0),
            row("nginx@4", 1, 10.0),
        ];
        assert_eq!(ratio_rounds(&rows, "nginx@1"), Some(vec![1.0]));
        assert_eq!(ratio_rounds(&rows, "nginx@2"), Some(vec![0.5]));
        assert_eq!(ratio_rounds(&rows, "nginx@4"), None);
        assert_eq!(Summary::of(&rows, None).baseline, "haproxy");
    }

    #[test]
    fn the_versions_are_compared_with_as_many_shards() {
        let rows = [
            row("ringbeam-201509@1", 1, 11.0),
            row("ringbeam-201912@1", 1, 10.0),
            row("ringbeam-201509@2", 1, 30.0),
            row("ringbeam-201912@2", 1, 20.0),
            row("ringbeam-201509", 1, 9.0),
        ];
        let summary = Summary::of(&rows, None);
        let median = |shards| {
            let spread = summary.version_ratio("lockstep-1", "cpu_us_per_msg", shards);
            spread.map(|spread| spread.median)
        };
        assert_eq!(median("@1"), Some(1.1));
        assert_eq!(median("@2"), Some(1.5));
        assert_eq!(median(""), None);
        assert_eq!(summary.baseline, "ringbeam-201509");
    }

    #[test]
    fn the_named_baseline_is_kept_even_where_it_has_no_rows() {
        let rows = [row("nginx", 1, 10.0)];
        let summary = Summary::of(&rows, Some("ringbeam-201912"));
        assert_eq!(summary.baseline, "ringbeam-201912");
        let figure = summary.figure("nginx", "lockstep-1", "cpu_us_per_msg");
        assert_eq!(
            figure.map(|figure| figure.ratio_to_baseline.clone()),
            Some(None)
        );
    }

    #[test]
    fn round_0_adds_what_no_round_measures_and_has_no_ratio() {
        let traced = |subject, calls| Row {
            metrics: BTreeMap::from([
                ("syscalls_per_msg".to_owned(), calls),
                ("cpu_us_per_msg".to_owned(), 900.0),
            ]),
            ..row(subject, 0, 0.0)
        };
        let rows = [
            row("haproxy", 1, 10.0),
            traced("haproxy", 5.0),
            traced("haproxy", 3.0),
            traced("nginx", 5.0),
        ];
        let summary = Summary::of(&rows, None);
        let calls = summary.figure("haproxy", "lockstep-1", "syscalls_per_msg");
        assert_eq!(calls.map(|figure| figure.spread.median), Some(4.0));
        assert_eq!(
            calls.and_then(|figure| figure.ratio_to_baseline.clone()),
            None
        );
        let cost = summary.figure("haproxy", "lockstep-1", "cpu_us_per_msg");
        assert_eq!(cost.map(|figure| figure.spread.max), Some(10.0));
        assert_eq!(
            summary.figure("nginx", "lockstep-1", "cpu_us_per_msg"),
            None
        );
    }

    #[test]
    fn the_json_has_the_agreed_shape() {
        let rows = [
            row("ringbeam-201912", 1, 10.0),
            row("haproxy", 1, 20.0),
            row("ringbeam-201509", 1, 12.5),
            failed("haproxy", 2, 0.0),
        ];
        let figure = |value: f64, ratio: f64| {
            serde_json::json!({"lockstep-1": {"cpu_us_per_msg": {
                "min": value, "median": value, "max": value, "rounds": [value],
                "ratio_to_baseline": {"min": ratio, "median": ratio, "max": ratio, "rounds": [ratio]},
            }}})
        };
        let expected = serde_json::json!({
            "baseline": "haproxy",
            "subjects": {
                "ringbeam-201912": figure(10.0, 0.5),
                "haproxy": figure(20.0, 1.0),
                "ringbeam-201509": figure(12.5, 0.625),
            },
            "versions": {"lockstep-1": {"cpu_us_per_msg": {"201509_to_201912": {
                "min": 1.25, "median": 1.25, "max": 1.25, "rounds": [1.25],
            }}}},
            "failures": [{
                "subject": "haproxy", "scenario": "lockstep-1", "round": 2, "failure": "3 messages lost",
            }],
        });
        let json = serde_json::to_string(&Summary::of(&rows, None)).unwrap();
        let found: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(found, expected);
        // Subjects stand in the order of the run.
        let place = |subject: &str| json.find(&format!("\"{subject}\":{{"));
        let places = ["ringbeam-201912", "haproxy", "ringbeam-201509"].map(place);
        assert!(places.is_sorted() && places[0].is_some(), "{json}");
    }
}
