//! Scenario: what is done to every subject, and who takes part. [`crate::generator`] turns it into arguments.

use std::time::Duration;

use crate::subject::Subject;

mod table;

pub use table::ALL;

/// One kind of load.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a column of the table"
)]
pub struct Scenario {
    /// As the command line and the rows name it.
    pub name: &'static str,
    /// One line on what it does and measures.
    pub about: &'static str,
    /// Connections in all; subscribers, where they are that.
    pub connections: u32,
    /// Connections opened per second; 0: as fast as the generator can.
    pub ramp: u32,
    /// What happens once they are open.
    pub work: Work,
    /// Payload of a message, in bytes.
    pub payload: u32,
    /// Quality of service of a message.
    pub qos: u8,
    /// Connections of one further SIM that publish as fast as they are taken, and bytes of properties in each of their
    /// messages.
    pub flood: Option<(u32, u32)>,
    /// How long it is measured, in milliseconds: in the full run, and in the quick one.
    pub measured_ms: [u64; 2],
    /// Where the generator runs.
    pub place: Place,
    /// Whether the upstream speaks TLS.
    pub has_tls: bool,
    /// Whether that TLS can be resumed, where there is any.
    pub has_tickets: bool,
    /// Whether the quick run has it.
    pub is_quick: bool,
    /// What the table on the terminal shows.
    pub shows: &'static [&'static str],
}

/// Where the generator runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// On its own processors.
    OwnCpus,
    /// On the proxy's first processor, and the proxy on that one alone: one core does everything in turn.
    ProxyCpu,
}

/// What happens on open connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// So many messages a second over all connections, whatever becomes of them.
    Rate {
        /// Messages a second.
        per_second: u32,
        /// Whether at random intervals instead of even ones.
        is_poisson: bool,
    },
    /// So many messages under way per connection, the next when one has arrived.
    Window(u32),
    /// One message per connection, the next round when all have arrived.
    Lockstep,
    /// Nothing: they are held open for so many milliseconds.
    Hold(u64),
    /// All are cut at once and come back, so many times.
    Storm(u32),
    /// One publisher, so many messages a second, through a real broker to every connection.
    Fanout(u32),
}

/// Whether a subject takes part in a scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// It does.
    Takes,
    /// It would be expected to, and cannot: worth saying in every report.
    Cannot(&'static str),
    /// It is there for other scenarios: worth saying only to who asked for it by name.
    Elsewhere(&'static str),
}

impl Scenario {
    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().find(|scenario| scenario.name == name)
    }

    /// Whether messages are sent, which are all checked.
    #[must_use]
    pub fn has_messages(&self) -> bool {
        !matches!(self.work, Work::Hold(_))
    }

    /// How long it is measured, or its connections are held.
    #[must_use]
    pub fn measured(&self, is_quick: bool) -> Duration {
        let [full, quick] = self.measured_ms;
        Duration::from_millis(if is_quick { quick } else { full })
    }

    /// Whether a subject takes part.
    #[must_use]
    pub fn part(&self, subject: Subject) -> Part {
        match subject {
            Subject::Direct => self.part_of_direct(),
            Subject::Ringbeam201912 | Subject::Ringbeam201509 if self.has_tls => Part::Takes,
            Subject::HaproxyTls if !self.has_tls => Part::Elsewhere("runs the tls scenarios only"),
            Subject::HaproxyTls => Part::Takes,
            Subject::RingbeamCoalesce if !self.name.starts_with("rate-") => {
                Part::Elsewhere("waiting for company is for load: runs the rates only")
            }
            Subject::HaproxySplice if self.name != "bulk-1m" => {
                Part::Elsewhere("splicing is for large messages: runs bulk-1m only")
            }
            _ if self.has_tls => Part::Elsewhere("TLS is compared with haproxy-tls"),
            Subject::Ringbeam201509 | Subject::MosquittoBridge if self.is_neighbour() => {
                Part::Cannot("a flood is of MQTT 5, session by session")
            }
            Subject::MosquittoBridge => self.part_of_bridge(),
            Subject::Remote if matches!(self.work, Work::Fanout(_)) => {
                Part::Elsewhere("the load's own sink is no broker")
            }
            Subject::Ringbeam201912
            | Subject::Ringbeam201509
            | Subject::RingbeamCoalesce
            | Subject::Haproxy
            | Subject::HaproxySplice
            | Subject::Nginx
            | Subject::Remote => Part::Takes,
        }
    }

    /// Whether it is about a flood, or what one is compared with.
    fn is_neighbour(&self) -> bool {
        self.name.starts_with("neighbour-")
    }

    fn part_of_direct(&self) -> Part {
        let is_reference =
            self.name.starts_with("rate-") || ["latency", "connect"].contains(&self.name);
        if is_reference {
            Part::Takes
        } else {
            Part::Elsewhere("there is no proxy: runs latency, connect and the rates, as a floor")
        }
    }

    fn part_of_bridge(&self) -> Part {
        match self.work {
            Work::Hold(_) | Work::Storm(_) => {
                Part::Cannot("a bridge opens no session upstream for a device's session")
            }
            Work::Fanout(_) => Part::Cannot("a bridge is a broker: it fans out itself"),
            Work::Rate { .. } | Work::Window(_) | Work::Lockstep => Part::Takes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_are_agreed_on() {
        let names: Vec<_> = ALL.iter().map(|scenario| scenario.name).collect();
        let expected = "lockstep-1 lockstep-8 lockstep-128 rate-20k rate-50k rate-80k window-32 connect idle-1k \
            idle-5k idle-9k scale-100 scale-1k scale-5k scale-9k qos1 qos2 fanout latency neighbour-none \
            neighbour-3k neighbour-12k neighbour-120k neighbour-250 bulk-1m storm tls-1 \
            tls-32 tls-connect tls-connect-full tls-idle";
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>());
        assert!(ALL.iter().all(|scenario| !scenario.about.is_empty()));
    }

    #[test]
    fn every_scenario_has_somebody() {
        for scenario in ALL {
            let takes = |subject: &&Subject| scenario.part(**subject) == Part::Takes;
            assert!(
                Subject::ALL.iter().any(|subject| takes(&subject)),
                "{}",
                scenario.name
            );
        }
    }
}
