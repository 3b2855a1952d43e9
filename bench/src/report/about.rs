//! About: in words, what the scenarios and subjects of a report are. Names that are not known here, of other versions
//! of this program or of proxies on other machines, are left out.

use std::collections::BTreeSet;

use super::Report;
use super::tables::{Table, escape};
use crate::scenario::Scenario;
use crate::subject::Subject;
use crate::summary::base_of;

/// A table of scenarios and one of subjects, in the order of the rows; none without a known name.
#[must_use]
pub(super) fn tables(report: &Report) -> Vec<Table> {
    let scenarios = report.summary.scenarios.iter().filter_map(|name| {
        let scenario = Scenario::named(name)?;
        Some((scenario.name, scenario.about))
    });
    let mut seen = BTreeSet::new();
    let names = report.summary.subjects.names().map(base_of);
    let subjects = names
        .filter(|name| seen.insert(*name))
        .filter_map(Subject::named)
        .map(|subject| (subject.name(), subject.about()));
    [
        table("scenario", "what it does", scenarios),
        table("subject", "what it is and does", subjects),
    ]
    .into_iter()
    .filter(|table| !table.rows.is_empty())
    .collect()
}

fn table(
    what: &str,
    about: &str,
    rows: impl Iterator<Item = (&'static str, &'static str)>,
) -> Table {
    Table {
        title: String::new(),
        head: vec![what.to_owned(), about.to_owned()],
        rows: rows
            .map(|(name, about)| vec![escape(name), escape(about)])
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn names(change: impl Fn(usize) -> (&'static str, &'static str)) -> Vec<Vec<String>> {
        let mut rows = sample::rows();
        rows.truncate(3);
        for (index, row) in rows.iter_mut().enumerate() {
            let (subject, scenario) = change(index);
            (row.subject, row.scenario) = (subject.to_owned(), scenario.to_owned());
        }
        let tables = tables(&Report::new(None, rows));
        let name = |cells: &Vec<String>| cells[0].clone();
        let of_table = |table: &Table| table.rows.iter().map(name).collect::<Vec<_>>();
        tables.iter().map(of_table).collect()
    }

    #[test]
    fn known_names_are_explained_once_and_others_left_out() {
        let found = names(|index| match index {
            0 => ("haproxy@1", "qos1"),
            1 => ("haproxy@2", "qos1"),
            _ => ("at-the-customer", "latency"),
        });
        assert_eq!(found, [vec!["qos1", "latency"], vec!["haproxy"]]);
        assert!(names(|_| ("at-the-customer", "of-yore")).is_empty());
    }
}
