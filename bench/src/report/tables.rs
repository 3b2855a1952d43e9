//! Tables: figures to the cells of Markdown tables. Text in cells is escaped here.

use serde::Serialize;

use super::Report;
use super::metric;
use super::number::{number, ratio};
use crate::model::Row;
use crate::summary::{Spread, base_of, shards_of};

/// Stands where nothing was measured.
const NOTHING: &str = "–";

/// The most characters of a failure in a cell; the list of failures has all of it.
const REASON_CHARACTERS_MAX: usize = 48;

/// A Markdown table.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Table {
    /// What stands above it; empty where it needs nothing.
    pub(super) title: String,
    pub(super) head: Vec<String>,
    pub(super) rows: Vec<Vec<String>>,
}

/// The metric that matters of every scenario, with a column per subject: a table for each number of shards.
pub(super) fn headlines(report: &Report) -> Vec<Table> {
    cohorts(report)
        .into_iter()
        .map(|cohort| {
            let has_versions = report.summary.scenarios.iter().any(|scenario| {
                let metric = metric::headline(&report.summary, scenario);
                let found = report
                    .summary
                    .version_ratio(scenario, &metric, cohort.shards);
                found.is_some()
            });
            let mut head = vec!["scenario".to_owned()];
            head.extend(cohort.subjects.iter().map(|subject| {
                let is_baseline = base_of(subject) == report.summary.baseline;
                escape(subject) + if is_baseline { " (baseline)" } else { "" }
            }));
            if has_versions {
                head.push("201509 / 201912".to_owned());
            }
            let rows = scenarios(report, &cohort)
                .map(|scenario| headline_row(report, &cohort, scenario, has_versions))
                .collect();
            Table {
                title: cohort.title(),
                head,
                rows,
            }
        })
        .collect()
}

fn headline_row(
    report: &Report,
    cohort: &Cohort<'_>,
    scenario: &str,
    has_versions: bool,
) -> Vec<String> {
    let metric = metric::headline(&report.summary, scenario);
    let mut cells = vec![format!(
        "{}<br>{}",
        escape(scenario),
        escape(metric::label(&metric))
    )];
    for subject in &cohort.subjects {
        cells.push(headline_cell(report, subject, scenario, &metric));
    }
    if has_versions {
        let versions = report
            .summary
            .version_ratio(scenario, &metric, cohort.shards);
        cells.push(versions.map_or_else(|| NOTHING.to_owned(), |spread| with_range(spread, ratio)));
    }
    cells
}

fn headline_cell(report: &Report, subject: &str, scenario: &str, metric: &str) -> String {
    let mut lines = Vec::new();
    if let Some(figure) = report.summary.figure(subject, scenario, metric) {
        lines.push(with_range(&figure.spread, number));
        if base_of(subject) != report.summary.baseline
            && let Some(to_baseline) = &figure.ratio_to_baseline
        {
            lines.push(ratio(to_baseline.median));
        }
        if metric.starts_with("latency_")
            && let Some(late) = report
                .summary
                .figure(subject, scenario, "generator_too_late")
            && late.spread.max > 0.0
        {
            let flagged = late.spread.rounds.iter().filter(|flag| **flag > 0.0);
            lines.push(format!(
                "generator late in {}",
                of_rounds(flagged.count(), late.spread.rounds.len())
            ));
        }
    }
    let rounds = || measured_rounds(&report.rows, subject, scenario);
    let failures: Vec<&str> = rounds().filter_map(|row| row.failure.as_deref()).collect();
    if let Some(reason) = failures.first() {
        let reason = escape(&shortened(reason));
        lines.push(if failures.len() == rounds().count() {
            format!("FAILED ({reason})")
        } else {
            format!(
                "{} FAILED ({reason})",
                of_rounds(failures.len(), rounds().count())
            )
        });
    }
    if lines.is_empty() {
        NOTHING.to_owned()
    } else {
        lines.join("<br>")
    }
}

/// All metrics of every scenario: least, median and greatest.
pub(super) fn details(report: &Report) -> Vec<Table> {
    let mut tables = Vec::new();
    let cohorts = cohorts(report);
    for scenario in &report.summary.scenarios {
        for cohort in &cohorts {
            let subjects: Vec<&str> = cohort.subjects_of(report, scenario);
            if subjects.is_empty() {
                continue;
            }
            let title = cohort.title();
            let mut head = vec!["metric".to_owned()];
            head.extend(subjects.iter().map(|subject| escape(subject)));
            tables.push(Table {
                title: if title.is_empty() {
                    escape(scenario)
                } else {
                    format!("{}, {title}", escape(scenario))
                },
                head,
                rows: detail_rows(report, &subjects, scenario),
            });
        }
    }
    tables
}

fn detail_rows(report: &Report, subjects: &[&str], scenario: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for metric in metric::of_scenario(&report.summary, scenario) {
        let spreads: Vec<_> = subjects
            .iter()
            .map(|subject| report.summary.figure(subject, scenario, &metric))
            .collect();
        if spreads.iter().all(Option::is_none) {
            continue;
        }
        let mut cells = vec![escape(&metric)];
        cells.extend(spreads.into_iter().map(|figure| {
            figure.map_or_else(|| NOTHING.to_owned(), |figure| all_three(&figure.spread))
        }));
        rows.push(cells);
    }
    let mut counts = vec!["rounds that count".to_owned()];
    counts.extend(subjects.iter().map(|subject| {
        let rounds = || measured_rounds(&report.rows, subject, scenario);
        let whole = rounds().filter(|row| row.failure.is_none()).count();
        format!("{whole} of {}", rounds().count())
    }));
    rows.push(counts);
    rows
}

/// Subjects with the same `@shards`: comparable with each other alone.
struct Cohort<'a> {
    shards: &'a str,
    subjects: Vec<&'a str>,
}

impl Cohort<'_> {
    fn title(&self) -> String {
        match self.shards.trim_start_matches('@') {
            "" => String::new(),
            "1" => "1 shard".to_owned(),
            number => format!("{} shards", escape(number)),
        }
    }

    fn subjects_of(&self, report: &Report, scenario: &str) -> Vec<&str> {
        let ran = |subject: &&str| {
            let mut rounds = report.rows.iter();
            rounds.any(|row| row.subject == *subject && row.scenario == scenario)
        };
        self.subjects.iter().copied().filter(ran).collect()
    }
}

fn cohorts(report: &Report) -> Vec<Cohort<'_>> {
    let mut cohorts: Vec<Cohort<'_>> = Vec::new();
    for subject in report.summary.subjects.names() {
        let shards = shards_of(subject);
        match cohorts.iter_mut().find(|cohort| cohort.shards == shards) {
            Some(cohort) => cohort.subjects.push(subject),
            None => cohorts.push(Cohort {
                shards,
                subjects: vec![subject],
            }),
        }
    }
    cohorts
}

fn scenarios<'a>(report: &'a Report, cohort: &'a Cohort<'a>) -> impl Iterator<Item = &'a str> {
    let scenarios = report.summary.scenarios.iter().map(String::as_str);
    scenarios.filter(|scenario| !cohort.subjects_of(report, scenario).is_empty())
}

/// The rounds of one subject under one scenario, without the extra one.
fn measured_rounds<'a>(
    rows: &'a [Row],
    subject: &'a str,
    scenario: &'a str,
) -> impl Iterator<Item = &'a Row> {
    rows.iter()
        .filter(move |row| row.subject == subject && row.scenario == scenario && row.round > 0)
}

fn with_range(spread: &Spread, written: fn(f64) -> String) -> String {
    let median = written(spread.median);
    if spread.rounds.len() < 2 {
        return median;
    }
    let bound = |value| written(value).trim_start_matches('×').to_owned();
    format!("{median} ({}–{})", bound(spread.min), bound(spread.max))
}

/// Least, median and greatest; once where they are written the same.
fn all_three(spread: &Spread) -> String {
    let [min, median, max] = [spread.min, spread.median, spread.max].map(number);
    if min == max {
        median
    } else {
        format!("{min} / {median} / {max}")
    }
}

fn of_rounds(count: usize, all: usize) -> String {
    format!("{count} of {all} rounds")
}

fn shortened(text: &str) -> String {
    if text.chars().count() <= REASON_CHARACTERS_MAX {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(REASON_CHARACTERS_MAX).collect();
    short.truncate(short.trim_end().len());
    short + "…"
}

/// Text that says the same in Markdown, in a table too: on one line, and with nothing that Markdown would act on.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for word in text.split_whitespace() {
        if !escaped.is_empty() {
            escaped.push(' ');
        }
        for (index, character) in word.char_indices() {
            // An underscore between letters is only itself, as in most names.
            let is_edge = index == 0 || index + 1 == word.len();
            if "\\|`*<>[]~&".contains(character) || (character == '_' && is_edge) {
                escaped.push('\\');
            }
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn report(rows: Vec<Row>) -> Report {
        Report::new(Some(sample::run()), rows)
    }

    fn cell(tables: &[Table], row: &str, column: &str) -> String {
        let table = &tables[0];
        let column = table.head.iter().position(|head| head == column).unwrap();
        let found = table.rows.iter().find(|cells| cells[0].starts_with(row));
        found.unwrap()[column].clone()
    }

    fn row(subject: &str, scenario: &str, round: u32, cost: f64) -> Row {
        Row {
            subject: subject.to_owned(),
            scenario: scenario.to_owned(),
            round,
            failure: None,
            metrics: [("cpu_us_per_msg".to_owned(), cost)].into(),
        }
    }

    #[test]
    fn a_headline_has_median_range_and_ratio() {
        let tables = headlines(&report(vec![
            row("haproxy", "lockstep-1", 1, 14.0),
            row("ringbeam-201912", "lockstep-1", 1, 12.0),
            row("ringbeam-201509", "lockstep-1", 1, 12.6),
            row("haproxy", "lockstep-1", 2, 16.0),
            row("ringbeam-201912", "lockstep-1", 2, 12.5),
            row("ringbeam-201509", "qos1", 1, 30.0),
        ]));
        assert_eq!(tables.len(), 1);
        assert_eq!(
            cell(&tables, "lockstep-1", "haproxy (baseline)"),
            "15 (14–16)"
        );
        assert_eq!(
            cell(&tables, "lockstep-1", "ringbeam-201912"),
            "12.25 (12–12.50)<br>×0.8192"
        );
        assert_eq!(
            cell(&tables, "lockstep-1", "ringbeam-201509"),
            "12.60<br>×0.9000"
        );
        assert_eq!(cell(&tables, "lockstep-1", "201509 / 201912"), "×1.050");
        assert_eq!(cell(&tables, "qos1", "ringbeam-201912"), "–");
        assert_eq!(cell(&tables, "qos1", "201509 / 201912"), "–");
    }

    #[test]
    fn failed_rounds_are_said_in_their_cells() {
        let tables = headlines(&report(sample::rows()));
        let all = cell(&tables, "qos2", "mosquitto-bridge");
        assert_eq!(all, "FAILED (it closed 12 connections)");
        let some = cell(&tables, "rate-80k", "nginx");
        assert!(
            some.ends_with(
                "<br>1 of 3 rounds FAILED (3 messages lost \\| sink saw 239,997 of 240,000)"
            ),
            "{some}"
        );
        let late = cell(&tables, "latency", "nginx");
        assert!(
            late.ends_with("<br>generator late in 1 of 3 rounds"),
            "{late}"
        );
    }

    #[test]
    fn a_long_reason_is_cut_in_its_cell() {
        let mut rows = vec![row("nginx", "qos1", 1, 1.0)];
        rows[0].failure = Some("the broker said ".repeat(9));
        let tables = headlines(&report(rows));
        assert_eq!(
            cell(&tables, "qos1", "nginx"),
            "FAILED (the broker said the broker said the broker said…)"
        );
    }

    #[test]
    fn each_number_of_shards_has_a_table() {
        let tables = headlines(&report(vec![
            row("haproxy@1", "lockstep-1", 1, 14.0),
            row("haproxy@2", "lockstep-1", 1, 20.0),
            row("ringbeam-201912@2", "lockstep-1", 1, 10.0),
        ]));
        let titles: Vec<_> = tables.iter().map(|table| table.title.as_str()).collect();
        assert_eq!(titles, ["1 shard", "2 shards"]);
        assert_eq!(
            tables[1].head,
            ["scenario", "haproxy@2 (baseline)", "ringbeam-201912@2"]
        );
        assert_eq!(tables[1].rows[0][2], "10<br>×0.5000");
    }

    #[test]
    fn where_the_purpose_was_not_measured_the_headline_takes_what_was() {
        let mut remote = row("remote", "rate-20k", 1, 0.0);
        remote.metrics = [
            ("latency_us_p50".to_owned(), 80.0),
            ("msgs_per_s".to_owned(), 20_000.0),
        ]
        .into();
        let tables = headlines(&report(vec![remote]));
        assert_eq!(
            tables[0].rows[0],
            ["rate-20k<br>messages per second, arrived", "20,000"]
        );
    }

    #[test]
    fn details_carry_metrics_that_nobody_knows() {
        let tables = details(&report(sample::rows()));
        let latency = tables
            .iter()
            .find(|table| table.title == "latency")
            .unwrap();
        let names: Vec<_> = latency.rows.iter().map(|cells| cells[0].as_str()).collect();
        assert_eq!(
            names,
            [
                "latency_us_p50",
                "latency_us_p90",
                "latency_us_p99",
                "latency_us_p999",
                "latency_us_max",
                "generator_too_late",
                "fog_density",
                "rounds that count"
            ]
        );
        assert_eq!(latency.rows[6][1], "0.2500");
    }

    #[test]
    fn text_is_escaped() {
        let check = |text: &str, expected: &str| assert_eq!(escape(text), expected);
        check("a|b", "a\\|b");
        check("two\nlines | and\ttabs ", "two lines \\| and tabs");
        check(
            "**loud** <b> `x` [y](z)",
            "\\*\\*loud\\*\\* \\<b\\> \\`x\\` \\[y\\](z)",
        );
        check("x86_64 _it_ C:\\d", "x86_64 \\_it\\_ C:\\\\d");
    }
}
