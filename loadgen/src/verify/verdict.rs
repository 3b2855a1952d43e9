//! Verdict: what a book says, as numbers that travel.

use serde::{Deserialize, Serialize};

/// What became of the messages of one run, as far as their receivers can tell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Which run.
    pub run: u32,
    /// Messages that arrived whole, each counted once.
    pub received: u64,
    /// Those of them that were not sent while warming up.
    pub measured: u64,
    /// Arrivals of a message that had arrived already.
    pub duplicated: u64,
    /// Messages that a later one of the same device overtook.
    pub reordered: u64,
    /// Messages that are not what was sent.
    pub corrupted: u64,
    /// Messages under a topic that was not expected.
    pub wrong_topic: u64,
    /// Messages that arrived in a session which is not their device's.
    pub misrouted: u64,
    /// Messages that took longer than the limit for that.
    pub stalled: u64,
    /// What belongs to no run, and may have been of this one.
    #[serde(skip)]
    pub unattributed: Unattributed,
    /// TLS handshakes at the sink.
    #[serde(skip)]
    pub handshakes: Handshakes,
    /// Some of the topics that were not expected.
    pub examples: Vec<String>,
}

/// What a sink has seen and cannot tell to be of any run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattributed {
    /// Damaged messages that name no run.
    pub unrecognised: u64,
    /// Sessions that broke off because of bytes that are no MQTT.
    pub malformed: u64,
}

/// TLS handshakes that a sink has been through, of whichever run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handshakes {
    /// With certificates and all.
    pub full: u64,
    /// Those that took up an earlier session.
    pub resumed: u64,
}

impl Handshakes {
    /// What has come since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            full: self.full.saturating_sub(before.full),
            resumed: self.resumed.saturating_sub(before.resumed),
        }
    }
}

impl Unattributed {
    /// What has come since then.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            unrecognised: self.unrecognised.saturating_sub(before.unrecognised),
            malformed: self.malformed.saturating_sub(before.malformed),
        }
    }
}

impl Verdict {
    /// Adds what another part of the receivers saw.
    pub fn add(&mut self, other: &Self) {
        self.received += other.received;
        self.measured += other.measured;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.wrong_topic += other.wrong_topic;
        self.misrouted += other.misrouted;
        self.stalled += other.stalled;
        self.examples.extend(other.examples.iter().cloned());
    }

    /// Counts a topic that was not expected, and keeps some as examples.
    pub(super) fn wrong_topic(&mut self, topic: &[u8], (examples, length): (usize, usize)) {
        self.wrong_topic += 1;
        if self.examples.len() < examples {
            let start = topic.get(..length).unwrap_or(topic);
            self.examples
                .push(String::from_utf8_lossy(start).into_owned());
        }
    }
}
