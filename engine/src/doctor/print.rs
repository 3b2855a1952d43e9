//! Print: findings as text for people and as JSON for programs.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::finding::{Finding, Severity};
use super::load::Load;

/// The findings as text, ending with a summary.
#[must_use]
pub fn text(load: &Load, findings: &[Finding]) -> String {
    let mut text = format!(
        "judged for {} sessions ({}); configuration: {}\n",
        load.sessions,
        load.sessions_from.name(),
        load.configuration
            .as_ref()
            .map_or_else(|| "none".to_owned(), |path| path.display().to_string())
    );
    for finding in findings {
        write_finding(&mut text, finding);
    }
    text.push_str(&summary(findings));
    text
}

/// The findings as one JSON object.
#[must_use]
pub fn json(load: &Load, findings: &[Finding]) -> Value {
    let counts: Map<String, Value> = Severity::ALL
        .into_iter()
        .map(|severity| (severity.name().to_owned(), count(findings, severity).into()))
        .collect();
    json!({
        "configuration": load.configuration,
        "sessions": load.sessions,
        "sessionsFrom": load.sessions_from.name(),
        "findings": findings,
        "summary": counts,
    })
}

fn write_finding(text: &mut String, finding: &Finding) {
    let name = finding.severity.name();
    // Writing to a string does not fail.
    let _ = writeln!(text, "{name:<8}{:<20}{}", finding.id, finding.found);
    if matches!(finding.severity, Severity::Ok | Severity::Unknown) {
        return;
    }
    for (label, value) in [
        ("wanted", finding.wanted.as_str()),
        ("why", finding.why),
        ("mend", finding.mend.as_str()),
    ] {
        if !value.is_empty() {
            let _ = writeln!(text, "{:28}{label:<8}{value}", "");
        }
    }
}

fn summary(findings: &[Finding]) -> String {
    let counted = Severity::ALL
        .into_iter()
        .map(|severity| format!("{} {}", severity.name(), count(findings, severity)));
    let counted: Vec<String> = counted.collect();
    let verdict = if count(findings, Severity::Blocks) > 0 {
        "the engine does not run here"
    } else if count(findings, Severity::Limits) > 0 {
        "the engine runs here, with fewer sessions than asked for"
    } else {
        "the engine runs here"
    };
    format!("{verdict}: {}", counted.join(", "))
}

fn count(findings: &[Finding], severity: Severity) -> usize {
    let matching = findings
        .iter()
        .filter(|finding| finding.severity == severity);
    matching.count()
}
