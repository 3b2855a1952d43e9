//! Phase: how far a run has come, and what its counts were when it came there.

use std::time::Duration;

use crate::sys::monotonic_ns;

/// A part of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The own sink, if any, takes connections.
    Listening,
    /// For a line on standard input.
    Waiting,
    /// Devices come on line.
    Connecting,
    /// Messages are sent and not measured.
    Warmup,
    /// Messages are sent and measured.
    Measure,
    /// Connections are open, and that is all.
    Hold,
    /// All devices were cut off and come back.
    Storm,
    /// The last messages arrive.
    Drain,
    /// Sessions are ended.
    Closing,
    /// All is over.
    Done,
}

impl Phase {
    /// Its name, as progress lines have it.
    #[must_use]
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Listening => "listening",
            Self::Waiting => "waiting",
            Self::Connecting => "connecting",
            Self::Warmup => "warmup",
            Self::Measure => "measure",
            Self::Hold => "hold",
            Self::Storm => "storm",
            Self::Drain => "drain",
            Self::Closing => "closing",
            Self::Done => "done",
        }
    }
}

/// What had been done at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    /// When, in ns of the monotonic clock.
    pub(super) at_ns: u64,
    /// Connections that are open.
    pub(super) connections: u64,
    /// Messages that were sent.
    pub(super) sent: u64,
    /// Bytes of a flood that were taken.
    pub(super) flood_bytes: u64,
    /// Messages that have arrived; 0 where nobody here sees them.
    pub(super) received: u64,
    /// Sessions that the own sink has.
    pub(super) sink_sessions: u64,
}

/// The way of a run so far.
#[derive(Clone, Debug)]
pub(super) struct Course {
    began_ns: u64,
    /// Where it is.
    pub(super) phase: Phase,
    /// The counts at its beginning.
    pub(super) since: Counts,
    /// Time spent opening connections, in ns.
    pub(super) opening_ns: u64,
}

impl Course {
    pub(super) fn new() -> Self {
        Self {
            began_ns: monotonic_ns(),
            phase: Phase::Listening,
            since: Counts::default(),
            opening_ns: 0,
        }
    }

    pub(super) fn enter(&mut self, phase: Phase, counts: Counts) {
        self.phase = phase;
        self.since = counts;
    }

    pub(super) fn opened(&mut self, took_ns: u64) {
        self.opening_ns += took_ns;
    }

    /// How long the run has lasted.
    #[must_use]
    pub(super) fn elapsed(&self) -> Duration {
        Duration::from_nanos(monotonic_ns().saturating_sub(self.began_ns))
    }
}
