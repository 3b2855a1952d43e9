//! Readme: the page of a report, by the template `readme.md.j2`.

use anyhow::{Context as _, Result};
use minijinja::{Environment, UndefinedBehavior, context};

use super::Report;
use super::about;
use super::metric;
use super::number::number;
use super::plots::Plot;
use super::tables;
use crate::model::Run;

const TEMPLATE: &str = include_str!("readme.md.j2");

/// The page, with links to those plots that have data.
///
/// # Errors
/// When the template does not fit what it is given.
pub(super) fn render(report: &Report, plots: &[Plot]) -> Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_keep_trailing_newline(true);
    environment.add_filter("text", |text: String| tables::escape(&text));
    environment
        .add_template("readme.md", TEMPLATE)
        .context("readme.md.j2")?;
    let run = report.run.as_ref();
    let links: Vec<_> = plots
        .iter()
        .filter(|plot| plot.svg.is_some())
        .map(|plot| context! { file => plot.file, about => plot.about })
        .collect();
    let metrics: Vec<_> = metric::of_run(&report.summary)
        .map(|metric| context! { name => metric.name, meaning => metric.meaning })
        .collect();
    let values = context! {
        title => title(run),
        run,
        memory => run.map(|run| gibibytes(run.host.memory_bytes)),
        duration => run.map(duration),
        shards => run.map(shards),
        baseline => report.summary.baseline,
        headlines => tables::headlines(report),
        about => about::tables(report),
        details => tables::details(report),
        plots => links,
        failures => report.summary.failures,
        metrics,
    };
    let template = environment
        .get_template("readme.md")
        .context("readme.md.j2")?;
    template.render(values).context("readme.md.j2")
}

fn title(run: Option<&Run>) -> String {
    let Some(run) = run else {
        return "Comparison".to_owned();
    };
    let mut letters = run.title.chars();
    let capital = letters.next().into_iter().flat_map(char::to_uppercase);
    let title: String = capital.chain(letters).collect();
    let (date, _) = run.started.split_once('T').unwrap_or((&run.started, ""));
    format!("{title}, {date}")
}

fn gibibytes(bytes: u64) -> String {
    let mebibytes = u32::try_from(bytes >> 20).unwrap_or(u32::MAX);
    format!("{} GiB", number(f64::from(mebibytes) / 1024.0))
}

fn duration(run: &Run) -> String {
    let minutes = (run.seconds / 60.0).floor();
    let seconds = minutes.mul_add(-60.0, run.seconds);
    format!("{minutes:.0} min {seconds:.0} s")
}

fn shards(run: &Run) -> String {
    let numbers: Vec<_> = run.settings.shards.iter().map(u32::to_string).collect();
    numbers.join(", ")
}

#[cfg(test)]
mod tests {
    use super::super::{plots, sample};
    use super::*;

    fn page(change: impl FnOnce(&mut Run)) -> String {
        let mut run = sample::run();
        change(&mut run);
        let report = Report::new(Some(run), sample::rows());
        render(&report, &plots::draw(&report).unwrap()).unwrap()
    }

    #[test]
    fn it_says_what_was_measured_and_on_what() {
        let page = page(|_| {});
        for part in [
            "# Quick comparison, 2026-11-23\n",
            "Load and proxy share one machine; ratios travel, absolute figures do not.",
            "2 processors (AMD EPYC 7R13), under KVM, over loopback",
            "| kernel | 6.18.44 |",
            "| memory | 23.19 GiB |",
            "| HAProxy 2.6.12 |",
            "ringbeam-bench compare --quick --rounds 3\n",
            "| took | 9 min 47 s |",
            "| haproxy-tls/tls-1 | certificates \\| could not be made |",
            "| spectre_v2 | Mitigation: Retpolines; \\<IBPB\\> conditional |",
            "`slab_bytes_per_session`",
            "| lockstep-1 | 1 connection, one message under way, load and proxy on one core",
            "| nginx | TCP proxy (stream module): copies bytes and knows nothing of MQTT |",
            "| shards or threads | 1 |",
            "![",
        ] {
            assert!(page.contains(part), "{part:?} is not in\n{page}");
        }
        for mark in ["**", "NaN", "\n\n\n", " \n", "not recorded", "unrecorded"] {
            assert!(!page.contains(mark), "{mark:?} is in\n{page}");
        }
        assert!(page.ends_with('\n') && !page.ends_with("\n\n"));
    }

    #[test]
    fn every_line_of_a_table_has_as_many_cells_as_its_head() {
        let page = page(|run| {
            run.missing.insert("a|b".to_owned(), "c|d\ne".to_owned());
        });
        let cells = |line: &str| line.replace("\\|", "").matches('|').count();
        let mut head = None;
        for line in page.lines() {
            if line.starts_with('|') {
                let expected = *head.get_or_insert_with(|| cells(line));
                assert_eq!(cells(line), expected, "{line}");
            } else {
                head = None;
            }
        }
    }

    #[test]
    fn a_remote_proxy_and_an_interruption_are_said() {
        let page = page(|run| {
            run.settings.remote_target = Some("192.0.2.1:1883".to_owned());
            run.is_interrupted = true;
            run.host.hypervisor.clear();
            run.commit.clear();
        });
        assert!(page.contains("192.0.2.1:1883"), "{page}");
        for absent in [
            "share one machine",
            "processors of the proxy",
            "shards or threads",
        ] {
            assert!(!page.contains(absent), "{page}");
        }
        assert!(page.contains("Ctrl-C"), "{page}");
        assert!(page.contains("| hypervisor | none |"), "{page}");
        assert!(!page.contains("git checkout"), "{page}");
    }

    #[test]
    fn an_unknown_hypervisor_is_neither_there_nor_not() {
        let page = page(|run| run.host.hypervisor = "unknown".to_owned());
        assert!(page.contains("hypervisor unknown, over loopback"), "{page}");
    }
}
