//! Plots: the pictures of a report, each from the figures that it is about. One without data has no picture.

mod axis;
mod canvas;
mod colour;
mod lines;
mod rows;

use anyhow::Result;

use super::Report;
use super::metric::{self, COST};
use crate::summary::{Spread, Summary, V201509, base_of, shards_of};
use axis::Axis;
use canvas::{Heading, page};
use lines::Line;
use rows::{Group, Mark, Shape};

/// A picture of the report.
#[derive(Debug)]
pub(super) struct Plot {
    /// Its file.
    pub(super) file: &'static str,
    /// What it shows, for those who do not see it.
    pub(super) about: &'static str,
    /// None where nothing was measured that it could show.
    pub(super) svg: Option<String>,
}

/// All pictures.
///
/// # Errors
/// When the drawing library refuses.
pub(super) fn draw(report: &Report) -> Result<Vec<Plot>> {
    let summary = &report.summary;
    Ok(vec![
        Plot {
            file: "cost-per-message.svg",
            about: "Processor time per message, by scenario and subject",
            svg: cost(summary)?,
        },
        Plot {
            file: "latency.svg",
            about: "Latency by percentile and subject",
            svg: latency(summary)?,
        },
        Plot {
            file: "memory-per-session.svg",
            about: "Memory per idle session: the proxy's own, and the host's slab",
            svg: memory(summary)?,
        },
        Plot {
            file: "scaling.svg",
            about: "Processor time per message over the number of open sessions",
            svg: scaling(summary)?,
        },
        Plot {
            file: "versions.svg",
            about: "Platform version 201509 over 201912, by scenario",
            svg: versions(summary)?,
        },
    ])
}

fn cost(summary: &Summary) -> Result<Option<String>> {
    let groups = groups(summary, COST, |scenario| {
        metric::purpose(scenario) == COST && open_sessions(scenario).is_none()
    });
    if groups.is_empty() {
        return Ok(None);
    }
    let heading = Heading {
        title: "What a message costs",
        about: "Median of the rounds, whiskers from the least to the greatest. Shorter is better.",
        legend: legend(summary, &groups),
    };
    page(&heading, rows::height(&groups), |area| {
        let name = "the proxy's CPU time per message, µs";
        rows::draw(area, name, &groups, Shape::Bar)
    })
    .map(Some)
}

fn latency(summary: &Summary) -> Result<Option<String>> {
    const PERCENTILES: [(f64, &str, &str); 5] = [
        (0.0, "latency_us_p50", "50"),
        (1.0, "latency_us_p90", "90"),
        (2.0, "latency_us_p99", "99"),
        (3.0, "latency_us_p999", "99.9"),
        (4.0, "latency_us_max", "max"),
    ];
    let lines = lines(summary, |subject| {
        let point = |(place, metric, _)| {
            let spread = &summary.figure(subject, "latency", metric)?.spread;
            // Zero has no place on a logarithmic axis.
            (spread.min > 0.0).then_some((place, spread))
        };
        PERCENTILES.into_iter().filter_map(point).collect()
    });
    if lines.is_empty() {
        return Ok(None);
    }
    let marks = PERCENTILES.map(|(place, _, label)| (place, label.to_owned()));
    let x = Axis::named("percentile of the messages", marks.into());
    let (low, high) = lines::range(&lines);
    let y = Axis::logarithmic("latency, µs (logarithmic)", low, high);
    let heading = Heading {
        title: "How late messages arrive",
        about: "Scenario latency, from the intended send time. Median of the rounds, whiskers from the least to the \
                greatest. Lower is better.",
        legend: lines.iter().map(|line| line.subject).collect(),
    };
    page(&heading, lines::HEIGHT, |area| {
        lines::draw(area, &x, &y, &lines)
    })
    .map(Some)
}

fn memory(summary: &Summary) -> Result<Option<String>> {
    const PANELS: [(&str, &str); 2] = [
        (
            "pss_bytes_per_session",
            "the proxy's PSS per session, bytes",
        ),
        (
            "slab_bytes_per_session",
            "the host's slab per session, bytes (load's ends included)",
        ),
    ];
    let is_idle = |scenario: &str| scenario.starts_with("idle-");
    let mut panels =
        Vec::from(PANELS.map(|(metric, name)| (name, groups(summary, metric, is_idle))));
    panels.retain(|(_, groups)| !groups.is_empty());
    let Some(height) = panels.iter().map(|(_, groups)| rows::height(groups)).max() else {
        return Ok(None);
    };
    let all: Vec<_> = panels.iter().flat_map(|(_, groups)| groups).collect();
    let heading = Heading {
        title: "What an idle session keeps in memory",
        about: "Median of the rounds, whiskers from the least to the greatest. Shorter is better. Each side has its own scale.",
        legend: legend(summary, all),
    };
    page(&heading, height, |area| {
        let areas = area.split_evenly((1, panels.len()));
        for (area, (name, groups)) in areas.iter().zip(&panels) {
            rows::draw(area, name, groups, Shape::Bar)?;
        }
        Ok(())
    })
    .map(Some)
}

fn scaling(summary: &Summary) -> Result<Option<String>> {
    let mut scales: Vec<(f64, &str)> = summary
        .scenarios
        .iter()
        .filter_map(|scenario| Some((open_sessions(scenario)?.log10(), scenario.as_str())))
        .collect();
    scales.sort_by(|one, other| one.0.total_cmp(&other.0));
    let lines = lines(summary, |subject| {
        let point = |(place, scenario): &(f64, &str)| {
            let figure = summary.figure(subject, scenario, COST)?;
            Some((*place, &figure.spread))
        };
        scales.iter().filter_map(point).collect()
    });
    if lines.is_empty() {
        return Ok(None);
    }
    let name = |(place, scenario): &(f64, &str)| {
        let sessions = scenario.trim_start_matches("scale-").to_owned();
        (*place, sessions)
    };
    let x = Axis::named(
        "open sessions (logarithmic)",
        scales.iter().map(name).collect(),
    );
    let (_, high) = lines::range(&lines);
    let y = Axis::linear("the proxy's CPU time per message, µs", 0.0, high * 1.05);
    let heading = Heading {
        title: "What a message costs with more sessions open",
        about: "The same rate over all sessions. Median of the rounds, whiskers from the least to the greatest. Lower is \
                better.",
        legend: lines.iter().map(|line| line.subject).collect(),
    };
    page(&heading, lines::HEIGHT, |area| {
        lines::draw(area, &x, &y, &lines)
    })
    .map(Some)
}

fn versions(summary: &Summary) -> Result<Option<String>> {
    let olds = || {
        summary
            .subjects
            .names()
            .filter(|subject| base_of(subject) == V201509)
    };
    let group = |scenario: &String| {
        let metric = metric::headline(summary, scenario);
        let mark = |subject| {
            let spread = summary.version_ratio(scenario, &metric, shards_of(subject))?;
            Some(Mark {
                subject,
                spread: Some(spread),
            })
        };
        Group {
            name: format!("{scenario}: {}", metric::label(&metric)),
            marks: olds().filter_map(mark).collect(),
        }
    };
    let mut groups: Vec<Group<'_>> = summary.scenarios.iter().map(group).collect();
    groups.retain(|group| !group.marks.is_empty());
    if groups.is_empty() {
        return Ok(None);
    }
    let heading = Heading {
        title: "What version 201509 costs beside 201912",
        about: "Ratio, round by round: median, whiskers from the least to the greatest. Left of 1: 201509 takes less.",
        legend: legend(summary, &groups),
    };
    page(&heading, rows::height(&groups), |area| {
        let name = "201509 over 201912";
        rows::draw(area, name, &groups, Shape::Dot { reference: 1.0 })
    })
    .map(Some)
}

/// A group per scenario in which anyone has the metric, with a mark per subject that ran it.
fn groups<'a>(
    summary: &'a Summary,
    metric: &str,
    is_shown: impl Fn(&str) -> bool,
) -> Vec<Group<'a>> {
    let group = |scenario: &String| {
        let mark = |subject: &'a str| {
            let figures = summary.subjects.get(subject)?.get(scenario)?;
            let spread = figures.get(metric).map(|figure| &figure.spread);
            // Without any figure all of its rounds failed.
            (spread.is_some() || figures.is_empty()).then_some(Mark { subject, spread })
        };
        Group {
            name: scenario.clone(),
            marks: summary.subjects.names().filter_map(mark).collect(),
        }
    };
    let shown = summary
        .scenarios
        .iter()
        .filter(|scenario| is_shown(scenario));
    let mut groups: Vec<_> = shown.map(group).collect();
    groups.retain(|group| group.marks.iter().any(|mark| mark.spread.is_some()));
    groups
}

/// A line per subject that has points.
fn lines<'a>(
    summary: &'a Summary,
    points: impl Fn(&'a str) -> Vec<(f64, &'a Spread)>,
) -> Vec<Line<'a>> {
    let subjects = summary.subjects.names();
    let mut lines: Vec<_> = subjects
        .map(|subject| Line {
            subject,
            points: points(subject),
        })
        .collect();
    lines.retain(|line| !line.points.is_empty());
    lines
}

/// The subjects of these groups, in the order of the rows.
fn legend<'a>(
    summary: &'a Summary,
    groups: impl IntoIterator<Item = &'a Group<'a>> + Clone,
) -> Vec<&'a str> {
    let is_there = |subject: &&str| {
        let mut marks = groups.clone().into_iter().flat_map(|group| &group.marks);
        marks.any(|mark| mark.subject == *subject)
    };
    summary.subjects.names().filter(is_there).collect()
}

/// How many sessions a `scale-` scenario keeps open.
fn open_sessions(scenario: &str) -> Option<f64> {
    let number = scenario.strip_prefix("scale-")?;
    let (digits, factor) = number
        .strip_suffix('k')
        .map_or((number, 1), |digits| (digits, 1000));
    let sessions = digits.parse::<u32>().ok()?.checked_mul(factor)?;
    (sessions > 0).then_some(f64::from(sessions))
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    fn svg(file: &str) -> String {
        let report = Report::new(Some(sample::run()), sample::rows());
        let mut plots = draw(&report).unwrap().into_iter();
        plots.find(|plot| plot.file == file).unwrap().svg.unwrap()
    }

    /// The texts of a picture, in order.
    fn texts(svg: &str) -> Vec<&str> {
        svg.split("<text")
            .skip(1)
            .map(|text| text.split(['>', '<']).nth(1).unwrap().trim())
            .collect()
    }

    #[test]
    fn every_picture_has_a_background_text_and_its_subjects() {
        let check = |file: &str, expected: &[&str]| {
            let svg = svg(file);
            assert!(svg.contains("fill=\"#FFFFFF\""), "{file}");
            assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{file}");
            let texts = texts(&svg);
            for text in expected {
                assert!(texts.contains(text), "{text} is not in {file}: {texts:?}");
            }
        };
        check(
            "cost-per-message.svg",
            &[
                "lockstep-1",
                "qos2",
                "mosquitto-bridge failed",
                "nginx",
                "the proxy's CPU time per message, µs"
                    .replace('\'', "&apos;")
                    .as_str(),
            ],
        );
        check("latency.svg", &["99.9", "direct", "500", "5,000"]);
        check("memory-per-session.svg", &["idle-9k", "ringbeam-201509"]);
        check("scaling.svg", &["9k", "haproxy"]);
        check(
            "versions.svg",
            &["latency: latency µs, p99", "1", "ringbeam-201509"],
        );
    }

    #[test]
    fn scale_scenarios_are_drawn_as_lines_alone() {
        assert!(!texts(&svg("cost-per-message.svg")).contains(&"scale-1k"));
        assert_eq!(open_sessions("scale-100"), Some(100.0));
        assert_eq!(open_sessions("scale-9k"), Some(9000.0));
        assert_eq!(open_sessions("scale-0"), None);
        assert_eq!(open_sessions("rate-20k"), None);
    }
}
