//! The dashboard for Grafana: it can be imported, and shows what a running ringbeam serves.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use super::super::harness::peer::Upstream;
use super::super::harness::ringbeam::project_file;
use super::serving;

/// Every expression of every panel, those within rows too.
fn expressions<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::Object(fields) => {
            found.extend(fields.get("expr").and_then(Value::as_str));
            fields.values().for_each(|value| expressions(value, found));
        }
        Value::Array(list) => list.iter().for_each(|value| expressions(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The metrics that an expression names.
fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words =
        expression.split(|character: char| !character.is_alphanumeric() && character != '_');
    words.filter(|word| word.starts_with("ringbeam_"))
}

#[test]
fn the_dashboard_shows_what_is_served_and_all_of_it() {
    let text = fs::read_to_string(project_file("tuning/grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(dashboard["schemaVersion"], 39);
    assert_eq!(dashboard["templating"]["list"][0]["type"], "datasource");
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<i64> = panels
        .iter()
        .map(|panel| panel["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len());
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let shown: BTreeSet<&str> = found
        .iter()
        .flat_map(|expression| names(expression))
        .collect();

    let ringbeam = serving(&Upstream::listen());
    let served = ringbeam.nobody().get("/metrics").expect(200).text();
    let mut known = BTreeSet::new();
    for line in served
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
    {
        match line.split_once(' ').unwrap() {
            (name, "histogram") => known.insert(format!("{name}_bucket")),
            (name, _) => known.insert(name.to_owned()),
        };
    }
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    assert_eq!(shown, known);
}
