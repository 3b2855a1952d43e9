//! Table: a scenario's medians, for the terminal.

use crate::model::Row;
use crate::scenario::Scenario;
use crate::summary::Spread;

/// Subjects down, the scenario's main metrics across; subjects whose rounds all failed say so.
#[must_use]
pub fn of(scenario: &Scenario, rows: &[Row]) -> String {
    let mut subjects: Vec<&str> = Vec::new();
    for row in rows {
        if !subjects.contains(&row.subject.as_str()) {
            subjects.push(&row.subject);
        }
    }
    let shown = |metric: &&str| rows.iter().any(|row| row.metrics.contains_key(*metric));
    let metrics: Vec<_> = scenario.shows.iter().copied().filter(shown).collect();
    let mut lines = vec![
        std::iter::once(scenario.name)
            .chain(metrics.iter().copied())
            .map(str::to_owned)
            .collect(),
    ];
    for subject in subjects {
        let of_subject = |row: &&Row| row.subject == subject && row.round > 0;
        let right: Vec<_> = rows
            .iter()
            .filter(of_subject)
            .filter(|row| row.failure.is_none())
            .collect();
        let mut line = vec![subject.to_owned()];
        if right.is_empty() {
            line.push("FAILED".to_owned());
        } else {
            let values = |metric: &&str| {
                right
                    .iter()
                    .filter_map(|row| row.metrics.get(*metric))
                    .copied()
                    .collect()
            };
            line.extend(
                metrics
                    .iter()
                    .map(|metric| Spread::of(values(metric)))
                    .map(|spread| spread.map_or_else(|| "-".to_owned(), |s| written(s.median))),
            );
        }
        lines.push(line);
    }
    aligned(&lines)
}

fn written(value: f64) -> String {
    if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

/// The first column to the left, the others to the right.
fn aligned(lines: &[Vec<String>]) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or_default();
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .filter_map(|line| line.get(column))
                .map(String::len)
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            text += &if column == 0 {
                format!("{cell:<width$}")
            } else {
                format!("  {cell:>width$}")
            };
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn row(subject: &str, round: u32, cost: f64, failure: Option<&str>) -> Row {
        Row {
            subject: subject.to_owned(),
            scenario: "lockstep-1".to_owned(),
            round,
            failure: failure.map(str::to_owned),
            metrics: BTreeMap::from([("cpu_us_per_msg".to_owned(), cost)]),
        }
    }

    #[test]
    fn medians_leave_failed_rounds_out() {
        let rows = [
            row("haproxy", 1, 14.0, None),
            row("haproxy", 2, 1000.0, Some("lost")),
            row("haproxy", 3, 15.0, None),
            row("nginx", 1, 2.0, Some("lost")),
        ];
        let scenario = Scenario::named("lockstep-1").unwrap();
        let text = of(scenario, &rows);
        let expected =
            "lockstep-1  cpu_us_per_msg\nhaproxy              14.50\nnginx               FAILED\n";
        assert_eq!(text, expected);
    }
}
