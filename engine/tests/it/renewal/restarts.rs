//! A real broker that is killed or restarted under traffic: the devices stay, and nothing is lost.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::harness::fleet::new_sim;
use crate::harness::ringbeam::Ringbeam;
use crate::harness::wait_until;

use super::broker::Broker;
use super::client::{Client, Login};
use super::renewing_fleet;

/// How many messages are sent at each stage.
const BURST: usize = 40;

/// Two devices on one broker, one of which hears what the other says.
struct Pair {
    broker: Broker,
    ringbeam: Ringbeam,
    speaker: Client,
    listener: Client,
    said: usize,
}

impl Pair {
    fn begin(version: u8, is_clean: bool, config: impl FnOnce(&Path) -> String) -> Self {
        let broker = Broker::start(config);
        let ringbeam = Ringbeam::start(&renewing_fleet(broker.address()));
        let connect = |from, client_id| {
            let login = Login {
                version,
                client_id,
                is_clean,
                will: None,
            };
            Client::connect(from, ringbeam.address(), login)
        };
        let speaker = connect(new_sim(1), "speaker");
        let mut listener = connect(new_sim(2), "listener");
        listener.subscribe("t/#", 2);
        Self {
            broker,
            ringbeam,
            speaker,
            listener,
            said: 0,
        }
    }

    /// Says some more, at QoS 1 and 2 in turns; the topic tells which message it is.
    fn say(&mut self, count: usize) {
        for number in self.said..self.said + count {
            let qos = if number % 2 == 0 { 2 } else { 1 };
            self.speaker
                .publish(&format!("t/{number}"), qos, &number.to_string());
        }
        self.said += count;
    }

    /// Messages before, amid and after the broker's absence.
    fn outlive(&mut self, end: impl FnOnce(&mut Broker)) {
        self.say(BURST);
        self.speaker.settle();
        let before = self.said - 1;
        self.listener.turn_until_payload(&before.to_string());
        // Under way when it ends.
        self.say(BURST);
        end(&mut self.broker);
        self.ringbeam.wait_for_logs(2, "message", "upstream lost");
        self.say(BURST);
        self.broker.start_again();
        self.ringbeam
            .wait_for_logs(2, "message", "upstream renewed");
        self.speaker.settle();
        // The listener's subscription stands again when one of these comes.
        wait_until("the listener to hear", || {
            self.say(1);
            self.speaker.settle();
            while self.listener.turn(Duration::from_millis(100)) {}
            let last = (self.said - 1).to_string();
            let heard = self.listener.received().last();
            heard.is_some_and(|(.., payload)| *payload == last)
        });
        self.listener.settle();
    }

    /// Every message has come to the broker.
    fn expect_all_at_the_broker(&self) {
        wait_until("everything in the broker's log", || {
            let log = self.broker.log();
            (0..self.said).all(|number| {
                log.lines().any(|line| {
                    line.contains("Received PUBLISH from speaker")
                        && line.contains(&format!("'t/{number}/"))
                })
            })
        });
    }

    /// How often the listener has heard each.
    fn heard(&self) -> BTreeMap<&str, usize> {
        let mut heard = BTreeMap::new();
        for (_, _, payload) in self.listener.received() {
            *heard.entry(&**payload).or_default() += 1;
        }
        heard
    }
}

#[test]
fn b_tok_1_a_killed_broker_gets_every_message_when_it_is_back() {
    for version in [4, 5] {
        for is_clean in [true, false] {
            let mut pair = Pair::begin(version, is_clean, |_| String::new());
            pair.outlive(Broker::kill);
            pair.expect_all_at_the_broker();
            let log = pair.broker.log();
            assert!(!log.contains("already connected"), "{log}");
        }
    }
}

#[test]
fn b_tok_1_a_restarted_broker_that_kept_its_sessions_loses_and_repeats_nothing() {
    for version in [4, 5] {
        let mut pair = Pair::begin(version, false, |_| {
            "persistence true\nautosave_on_changes true\nautosave_interval 1".to_owned()
        });
        pair.outlive(Broker::terminate);
        pair.expect_all_at_the_broker();
        let heard = pair.heard();
        for number in 0..pair.said {
            let count = heard.get(&*number.to_string()).copied().unwrap_or(0);
            let is_exactly_once = number % 2 == 0;
            assert!(count > 0, "{number} was lost");
            assert!(
                !is_exactly_once || count == 1,
                "{number} came {count} times"
            );
        }
    }
}

#[test]
fn b_tok_1_a_restarted_broker_that_forgot_gets_every_message() {
    for version in [4, 5] {
        let mut pair = Pair::begin(version, true, |_| String::new());
        pair.outlive(Broker::terminate);
        pair.expect_all_at_the_broker();
    }
}
