//! Finding: what one look at the host came to: how bad it is, what was found, and what mends it.

use serde::Serialize;

/// How much it holds the engine back, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The engine does not run.
    Blocks,
    /// Fewer sessions than the load asks for, or none at times.
    Limits,
    /// All sessions, at a higher price in processor time, memory or latency.
    Costs,
    /// It could not be read.
    Unknown,
    /// Worth knowing; nothing needs to be done.
    Note,
    /// As it should be.
    Ok,
}

impl Severity {
    /// All of them, worst first.
    pub const ALL: [Self; 6] = [
        Self::Blocks,
        Self::Limits,
        Self::Costs,
        Self::Unknown,
        Self::Note,
        Self::Ok,
    ];

    /// The name, as printed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blocks => "blocks",
            Self::Limits => "limits",
            Self::Costs => "costs",
            Self::Unknown => "unknown",
            Self::Note => "note",
            Self::Ok => "ok",
        }
    }
}

/// One finding of one item of the list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The item's name, as in tuning/README.md.
    pub id: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// What was found; with [`Severity::Unknown`], why nothing was.
    pub found: String,
    /// What it should be; empty where it is, or where nothing is asked for.
    pub wanted: String,
    /// Why it matters.
    pub why: &'static str,
    /// The command or the setting that mends it; empty where nothing needs mending.
    pub mend: String,
}

/// What a check returns: a finding without its item's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) severity: Severity,
    pub(super) found: String,
    pub(super) wanted: String,
    pub(super) mend: String,
}

impl Outcome {
    /// As it should be.
    pub(super) fn ok(found: impl Into<String>) -> Self {
        Self {
            severity: Severity::Ok,
            found: found.into(),
            wanted: String::new(),
            mend: String::new(),
        }
    }

    /// Something to say.
    pub(super) fn new(severity: Severity, found: impl Into<String>) -> Self {
        Self {
            severity,
            ..Self::ok(found)
        }
    }

    /// It could not be read.
    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::new(Severity::Unknown, why)
    }

    /// What it should be.
    pub(super) fn wanted(mut self, wanted: impl Into<String>) -> Self {
        self.wanted = wanted.into();
        self
    }

    /// What mends it.
    pub(super) fn mend(mut self, mend: impl Into<String>) -> Self {
        self.mend = mend.into();
        self
    }
}
