//! Report: the pages of a folder. `raw.json` and `run.json` go in; `summary.json`, `README.md` and the plots come
//! out, and come out the same each time. Nothing here looks at the clock or at this host.

mod about;
mod metric;
mod number;
mod plots;
mod readme;
#[cfg(test)]
mod sample;
mod tables;

use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::model::{Row, Run};
use crate::summary::Summary;

pub(crate) use metric::purpose;

/// The measured rounds: an array of [`Row`].
const RAW: &str = "raw.json";
/// What they were measured on: one [`Run`].
const RUN: &str = "run.json";
/// The figures for programs.
const SUMMARY: &str = "summary.json";
/// The figures for people.
const README: &str = "README.md";

/// Writes what was measured and all pages about it. Metrics that are not numbers are left out.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, run: &Run, rows: &[Row]) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let mut rows = rows.to_vec();
    for row in &mut rows {
        row.metrics.retain(|_, value| value.is_finite());
    }
    write_json(&folder.join(RAW), &rows)?;
    write_json(&folder.join(RUN), run)?;
    // From the files, as anyone will later, so that the same bytes come out.
    rebuild(folder)
}

/// Writes the pages of a folder again from its `raw.json` and, where it is there, its `run.json`.
///
/// # Errors
/// When there is no `raw.json`, when one of the two is not what it should be (file, line and column are said),
/// or when a page cannot be written.
pub fn rebuild(folder: &Path) -> Result<()> {
    let rows = read_json(&folder.join(RAW))?
        .ok_or_else(|| anyhow!("{}: no {RAW} there, so no report", folder.display()))?;
    let run: Option<Run> = read_json(&folder.join(RUN))?;
    let report = Report::new(run, rows);
    write_json(&folder.join(SUMMARY), &report.summary)?;
    let plots = plots::draw(&report)?;
    for plot in &plots {
        let path = folder.join(plot.file);
        match &plot.svg {
            Some(svg) => write_text(&path, svg)?,
            // One of an earlier state of the rows would contradict the tables.
            None => remove(&path)?,
        }
    }
    write_text(&folder.join(README), &readme::render(&report, &plots)?)
}

/// All that pages are made from.
#[derive(Debug)]
struct Report {
    /// What the rows were measured on, where that was recorded.
    run: Option<Run>,
    rows: Vec<Row>,
    summary: Summary,
}

impl Report {
    fn new(run: Option<Run>, rows: Vec<Row>) -> Self {
        let baseline = run.as_ref().map(|run| run.settings.baseline.as_str());
        let summary = Summary::of(&rows, baseline.filter(|name| !name.is_empty()));
        Self { run, rows, summary }
    }
}

/// What a JSON file holds; none where there is no such file.
fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        text => text.with_context(|| path.display().to_string())?,
    };
    // The error says line and column.
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|error| anyhow!("{}: {error}", path.display()))
}

fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).with_context(|| path.display().to_string())?;
    write_text(path, &format!("{text}\n"))
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result.with_context(|| path.display().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    fn pages(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .map(|path| (path.clone(), fs::read(&path).unwrap()))
            .collect()
    }

    fn names(folder: &Path) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        pages(folder).into_keys().map(name).collect()
    }

    #[test]
    fn rebuilding_gives_the_same_bytes_from_the_two_files_alone() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample::run(), &sample::rows()).unwrap();
        assert_eq!(
            names(folder.path()),
            [
                "README.md",
                "cost-per-message.svg",
                "latency.svg",
                "memory-per-session.svg",
                "raw.json",
                "run.json",
                "scaling.svg",
                "summary.json",
                "versions.svg"
            ]
        );
        let written = pages(folder.path());
        for name in names(folder.path()) {
            if name != RAW && name != RUN {
                fs::remove_file(folder.path().join(name)).unwrap();
            }
        }
        rebuild(folder.path()).unwrap();
        assert!(pages(folder.path()) == written, "rebuilt pages differ");
    }

    #[test]
    fn a_missing_run_leaves_the_host_unrecorded() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample::run(), &sample::rows()).unwrap();
        fs::remove_file(folder.path().join(RUN)).unwrap();
        rebuild(folder.path()).unwrap();
        let readme = fs::read_to_string(folder.path().join(README)).unwrap();
        assert!(readme.contains("not recorded"), "{readme}");
        assert!(!readme.contains(&sample::run().host.kernel), "{readme}");
    }

    #[test]
    fn a_plot_without_data_is_neither_left_nor_linked() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample::run(), &sample::rows()).unwrap();
        let mut rows = sample::rows();
        rows.retain(|row| row.scenario == "latency");
        write(folder.path(), &sample::run(), &rows).unwrap();
        let svgs: Vec<_> = names(folder.path())
            .into_iter()
            .filter(|name| name.ends_with(".svg"))
            .collect();
        assert_eq!(svgs, ["latency.svg", "versions.svg"]);
        let readme = fs::read_to_string(folder.path().join(README)).unwrap();
        assert!(readme.contains("(latency.svg)"), "{readme}");
        assert!(!readme.contains("(scaling.svg)"), "{readme}");
    }

    #[test]
    fn a_report_of_nothing_is_still_a_report() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &sample::run(), &[]).unwrap();
        assert_eq!(
            names(folder.path()),
            ["README.md", "raw.json", "run.json", "summary.json"]
        );
    }

    #[test]
    fn what_is_not_a_number_is_left_out_of_every_file() {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = sample::rows();
        for (index, row) in rows.iter_mut().enumerate() {
            let odd = if index % 2 == 0 {
                f64::NAN
            } else {
                f64::INFINITY
            };
            row.metrics.insert("odd".to_owned(), odd);
        }
        write(folder.path(), &sample::run(), &rows).unwrap();
        for (path, text) in pages(folder.path()) {
            let text = String::from_utf8(text).unwrap();
            for word in ["NaN", "null", "\"odd\"", "infinite"] {
                assert!(!text.contains(word), "{word} in {}", path.display());
            }
        }
    }

    #[test]
    fn broken_json_is_named_with_its_line() {
        let check = |file: &str, text: &str, expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &sample::run(), &sample::rows()).unwrap();
            fs::write(folder.path().join(file), text).unwrap();
            let error = rebuild(folder.path()).unwrap_err().to_string();
            assert!(error.contains(file), "{error}");
            assert!(error.contains(expected), "{error}");
        };
        check(RAW, "[\n  {\"subject\": \"x\",\n", "line 3");
        check(RAW, "[{\"subject\": 5}]", "line 1");
        check(RUN, "{}", "missing field `title`");
        let empty = tempfile::tempdir().unwrap();
        let error = rebuild(empty.path()).unwrap_err().to_string();
        assert!(error.contains("no raw.json"), "{error}");
    }
}
