//! List: which subjects there are, which of them are here, and which scenarios.

use std::fmt::Write as _;
use std::path::Path;

use crate::scenario;
use crate::subject::Subject;

/// The list, as text.
///
/// # Errors
/// Never; writing to text cannot fail.
pub fn list(bin_dir: &Path) -> anyhow::Result<String> {
    let mut text = "subjects\n".to_owned();
    for subject in Subject::ALL {
        let state = match subject.version(bin_dir) {
            Ok(version) if version.is_empty() => "here".to_owned(),
            Ok(version) => version,
            Err(error) => format!("{error:#}"),
        };
        writeln!(
            text,
            "  {:17} {} [{state}]",
            subject.name(),
            subject.about()
        )?;
    }
    text += "\nscenarios (* also in the quick run)\n";
    for scenario in scenario::ALL {
        let mark = if scenario.is_quick { '*' } else { ' ' };
        writeln!(text, "{mark} {:17} {}", scenario.name, scenario.about)?;
    }
    Ok(text)
}
