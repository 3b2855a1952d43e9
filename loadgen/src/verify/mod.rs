//! Verify: whether every message arrived once, in order, whole, and where it should. What the receivers of a
//! run see is written into its [`Book`]; a [`Verdict`] is what the book says.

mod sequence;
mod verdict;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

pub use verdict::{Handshakes, Unattributed, Verdict};

use self::sequence::Sequence;
use crate::histogram::Durations;
use crate::message::{Clock, Stamp, topic_sum};
use crate::shared::Shared;
use crate::sys::{monotonic_ns, wall_ns};
use crate::wire::decode::Publish;

/// How many wrong topics are kept as examples, and of how many bytes.
const EXAMPLES: (usize, usize) = (5, 200);

/// What the receivers of one run have seen.
#[derive(Debug)]
pub struct Book {
    run: u32,
    rules: Rules,
    /// One for each receiving thread, so that they seldom meet; devices are spread over them.
    pages: Vec<Shared<Page>>,
    received: AtomicU64,
}

#[derive(Debug, Default)]
struct Page {
    /// By receiver and publishing device.
    sequences: BTreeMap<(u32, u32), Sequence>,
    counts: Verdict,
    /// Latencies that have been taken.
    taken: Durations,
    /// Those since then.
    recent: Durations,
}

/// What is asked of the messages of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A message that takes longer than this has been stalled, in ns.
    pub stalled_after_ns: u64,
    /// Whether the messages of a device arrive in the order in which it sent them. Receivers that share a
    /// subscription are one receiver with several connections, and do not.
    pub has_order: bool,
}

/// Who has received a message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Receiver {
    /// A number that tells receivers of the same message from each other.
    pub number: u32,
    /// The only device whose messages belong here, where that is known.
    pub expects: Option<u32>,
}

impl Book {
    /// A book for one run, with as many pages as threads will write into it.
    #[must_use]
    pub fn new(run: u32, pages: usize, rules: Rules) -> Self {
        Self {
            run,
            rules,
            pages: (0..pages.max(1)).map(|_| Shared::default()).collect(),
            received: AtomicU64::new(0),
        }
    }

    /// Which run it is of.
    #[must_use]
    pub fn run(&self) -> u32 {
        self.run
    }

    /// How many messages have arrived, each counted once.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Writes down a message of this run. Returns whether it arrived for the first time.
    pub fn arrived(&self, receiver: Receiver, publish: &Publish<'_>, stamp: &Stamp) -> bool {
        let now_ns = match stamp.clock {
            Clock::Monotonic => monotonic_ns(),
            Clock::Wall => wall_ns(),
        };
        let latency_ns = now_ns.saturating_sub(stamp.intended_ns);
        let is_new = self.page(stamp.device).with(|page| {
            let number = if self.rules.has_order {
                receiver.number
            } else {
                0
            };
            let place = (number, stamp.device);
            let seen = page.sequences.entry(place).or_default();
            let counts = &mut page.counts;
            match seen.insert(stamp.sequence) {
                sequence::Place::Next => {}
                sequence::Place::Late if self.rules.has_order => counts.reordered += 1,
                sequence::Place::Late => {}
                sequence::Place::Repeated => {
                    counts.duplicated += 1;
                    return false;
                }
            }
            counts.received += 1;
            if topic_sum(publish.topic) != stamp.topic_sum {
                counts.wrong_topic(publish.topic, EXAMPLES);
            }
            if receiver
                .expects
                .is_some_and(|device| device != stamp.device)
            {
                counts.misrouted += 1;
            }
            if latency_ns > self.rules.stalled_after_ns {
                counts.stalled += 1;
            }
            if !stamp.is_warm_up {
                counts.measured += 1;
                page.recent.record(latency_ns);
            }
            true
        });
        if is_new {
            self.received.fetch_add(1, Ordering::Relaxed);
        }
        is_new
    }

    /// Writes down a message that is not what was sent.
    pub fn damaged(&self) {
        self.page(0).with(|page| page.counts.corrupted += 1);
    }

    /// Takes the latencies since the last time.
    #[must_use]
    pub fn recent(&self) -> Durations {
        let mut all = Durations::default();
        for page in &self.pages {
            all.add(&page.with(|page| {
                let recent = page.recent.take();
                page.taken.add(&recent);
                recent
            }));
        }
        all
    }

    /// What the book says so far, and all latencies.
    #[must_use]
    pub fn verdict(&self) -> (Verdict, Durations) {
        let mut verdict = Verdict {
            run: self.run,
            ..Verdict::default()
        };
        let mut latency = Durations::default();
        for page in &self.pages {
            page.with(|page| {
                verdict.add(&page.counts);
                latency.add(&page.taken);
                latency.add(&page.recent);
            });
        }
        (verdict, latency)
    }

    fn page(&self, device: u32) -> &Shared<Page> {
        let index = usize::try_from(device).unwrap_or_default() % self.pages.len();
        &self.pages[index]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Damaged;
    use crate::wire::Qos;

    const RULES: Rules = Rules {
        stalled_after_ns: 1_000_000_000,
        has_order: true,
    };

    fn stamp(device: u32, sequence: u32) -> Stamp {
        Stamp {
            run: 1,
            device,
            sequence,
            intended_ns: monotonic_ns(),
            clock: Clock::Monotonic,
            is_warm_up: false,
            topic_sum: topic_sum(b"right"),
        }
    }

    fn arrive(book: &Book, receiver: Receiver, topic: &[u8], stamp: Stamp) -> bool {
        let publish = Publish {
            qos: Qos::AtMostOnce,
            id: 0,
            topic,
            stamp: Err(Damaged),
            claims: None,
        };
        book.arrived(receiver, &publish, &stamp)
    }

    #[test]
    fn each_kind_of_damage_has_its_own_count() {
        let book = Book::new(1, 2, RULES);
        let sink = Receiver::default();
        let own = Receiver {
            number: 0,
            expects: Some(7),
        };
        for sequence in [0, 1, 3, 2, 2] {
            arrive(&book, own, b"right", stamp(7, sequence));
        }
        arrive(&book, sink, b"wrong", stamp(8, 0));
        arrive(&book, own, b"right", stamp(9, 0));
        let mut slow = stamp(10, 0);
        slow.intended_ns -= 2_000_000_000;
        arrive(&book, sink, b"right", slow);
        let mut warm = stamp(10, 1);
        warm.is_warm_up = true;
        arrive(&book, sink, b"right", warm);
        book.damaged();
        let (found, latency) = book.verdict();
        let expected = Verdict {
            run: 1,
            received: 8,
            measured: 7,
            duplicated: 1,
            reordered: 1,
            corrupted: 1,
            wrong_topic: 1,
            misrouted: 1,
            stalled: 1,
            examples: vec!["wrong".to_owned()],
            ..Verdict::default()
        };
        assert_eq!(found, expected);
        assert_eq!(latency.count(), 7);
        assert_eq!(book.recent().count(), 7);
        assert_eq!(book.recent().count(), 0);
    }

    #[test]
    fn one_message_may_have_several_receivers() {
        let book = Book::new(1, 1, RULES);
        for number in 0..3 {
            let receiver = Receiver {
                number,
                expects: None,
            };
            assert!(arrive(&book, receiver, b"right", stamp(7, 0)));
        }
        let (found, _) = book.verdict();
        assert_eq!((found.received, found.duplicated), (3, 0));
    }

    #[test]
    fn receivers_that_share_a_subscription_share_what_has_arrived() {
        let rules = Rules {
            has_order: false,
            ..RULES
        };
        let book = Book::new(1, 1, rules);
        for (number, sequence) in [(5, 1), (6, 0), (7, 1)] {
            let receiver = Receiver {
                number,
                expects: None,
            };
            arrive(&book, receiver, b"right", stamp(7, sequence));
        }
        let (found, _) = book.verdict();
        assert_eq!(
            (found.received, found.duplicated, found.reordered),
            (2, 1, 0)
        );
    }
}
