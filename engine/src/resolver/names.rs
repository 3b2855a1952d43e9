//! Names: what is known of each, with time as an argument. Questions and results of look-ups in;
//! answers and look-ups to be made out. It never looks up anything itself.

use ahash::RandomState;
use crossbeam_channel::Sender;
use futures_channel::oneshot;
use hashbrown::HashMap;

use super::{Answer, Name, Question, Unresolved};
use crate::limits::{RESOLVER_FORGET_MS, RESOLVER_KEEP_MS, RESOLVER_NAMES, RESOLVER_REFRESH_MS};

/// The names that were asked for.
pub(super) struct Names {
    known: HashMap<Name, Known, RandomState>,
    /// Look-ups to be made.
    jobs: Sender<Name>,
}

/// What is known of a name. Times are in milliseconds.
#[derive(Default)]
struct Known {
    answer: Option<Kept>,
    asked_ms: u64,
    /// Whether anybody asked since the last look-up began.
    is_used: bool,
    /// Whether a look-up is under way.
    is_under_way: bool,
    /// Those who wait for it.
    waiting: Vec<oneshot::Sender<Answer>>,
}

struct Kept {
    answer: Answer,
    /// Until when it counts.
    until_ms: u64,
    /// When it is looked up again, if somebody uses it.
    refresh_ms: u64,
}

impl Names {
    pub(super) fn new(jobs: Sender<Name>) -> Self {
        Self {
            known: HashMap::default(),
            jobs,
        }
    }

    /// Answers what is known, and lets others wait for a look-up.
    pub(super) fn ask(&mut self, question: Question, now_ms: u64) {
        let Question { name, reply } = question;
        if self.known.len() >= RESOLVER_NAMES && !self.known.contains_key(&name) {
            self.make_room(now_ms);
        }
        let known = self.known.entry(name.clone()).or_default();
        known.asked_ms = now_ms;
        known.is_used = true;
        if let Some(answer) = known.current(now_ms) {
            // Whoever asked may be gone, here and below.
            drop(reply.send(answer));
            return;
        }
        known.waiting.push(reply);
        if !known.is_under_way && !known.begin(&self.jobs, name) {
            known.settle(Err(Unresolved::Busy), now_ms);
        }
    }

    /// Takes the result of a look-up.
    pub(super) fn settle(&mut self, name: Name, answer: Answer, now_ms: u64) {
        self.known.entry(name).or_default().settle(answer, now_ms);
    }

    /// Has the answers that are in use looked up again before they run out, so that nobody waits for
    /// that, and forgets the names that nobody asks for any more.
    pub(super) fn look(&mut self, now_ms: u64) {
        self.known.retain(|_, known| {
            known.is_under_way || now_ms < known.asked_ms.saturating_add(RESOLVER_FORGET_MS)
        });
        for (name, known) in &mut self.known {
            let is_due = |kept: &Kept| kept.answer.is_ok() && kept.refresh_ms <= now_ms;
            if known.is_used && !known.is_under_way && known.answer.as_ref().is_some_and(is_due) {
                // Without room in the queue there is another look soon.
                known.begin(&self.jobs, name.clone());
            }
        }
    }

    /// Forgets what has run out, or else everything but the look-ups under way, whose queue is shorter.
    fn make_room(&mut self, now_ms: u64) {
        self.known.retain(|_, known| {
            let counts = |kept: &Kept| kept.until_ms > now_ms;
            known.is_under_way || known.answer.as_ref().is_some_and(counts)
        });
        if self.known.len() >= RESOLVER_NAMES {
            self.known.retain(|_, known| known.is_under_way);
        }
    }
}

impl Known {
    /// The answer, where nobody has to wait for another. One that runs out while it is being refreshed
    /// in the background still counts.
    fn current(&self, now_ms: u64) -> Option<Answer> {
        let kept = self.answer.as_ref()?;
        let is_refreshed = self.is_under_way && self.waiting.is_empty() && kept.answer.is_ok();
        (kept.until_ms > now_ms || is_refreshed).then(|| kept.answer.clone())
    }

    /// Begins a look-up, unless too many wait.
    fn begin(&mut self, jobs: &Sender<Name>, name: Name) -> bool {
        self.is_under_way = jobs.try_send(name).is_ok();
        if self.is_under_way {
            self.is_used = false;
        }
        self.is_under_way
    }

    /// Keeps an answer and hands it to those who wait. A failure does not replace addresses that were
    /// good once: the name's servers may be the ones that are gone.
    fn settle(&mut self, answer: Answer, now_ms: u64) {
        let (good_ms, bad_ms) = RESOLVER_KEEP_MS;
        let (answer, keep_ms, refresh_in_ms) = match (answer, self.answer.take()) {
            (Ok(addresses), _) => (Ok(addresses), good_ms, RESOLVER_REFRESH_MS),
            (
                Err(_),
                Some(Kept {
                    answer: Ok(old), ..
                }),
            ) => (Ok(old), good_ms, bad_ms),
            (Err(error), _) => (Err(error), bad_ms, bad_ms),
        };
        self.is_under_way = false;
        for reply in self.waiting.drain(..) {
            drop(reply.send(answer.clone()));
        }
        self.answer = Some(Kept {
            answer,
            until_ms: now_ms.saturating_add(keep_ms),
            refresh_ms: now_ms.saturating_add(refresh_in_ms),
        });
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Arc;

    use crossbeam_channel::{Receiver, bounded};

    use super::*;

    const GOOD_MS: u64 = RESOLVER_KEEP_MS.0;
    const BAD_MS: u64 = RESOLVER_KEEP_MS.1;

    fn name(host: &str) -> Name {
        (Arc::from(host), 1883)
    }

    fn addresses(port: u16) -> Answer {
        Ok(Arc::from([SocketAddr::from(([127, 0, 0, 1], port))]))
    }

    fn failure() -> Answer {
        Err(Unresolved::Failed(Arc::from("gone")))
    }

    fn names() -> (Names, Receiver<Name>) {
        let (jobs, queue) = bounded(8);
        (Names::new(jobs), queue)
    }

    fn ask(names: &mut Names, host: &str, now_ms: u64) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        let name = name(host);
        names.ask(Question { name, reply }, now_ms);
        answer
    }

    /// The port of the answer that is there, 0 for a failure, `None` where one has to wait.
    fn port(mut answer: oneshot::Receiver<Answer>) -> Option<u16> {
        let answer = answer.try_recv().unwrap()?;
        Some(answer.map_or(0, |addresses| addresses[0].port()))
    }

    #[test]
    fn a_name_is_looked_up_once_however_many_ask() {
        let (mut names, queue) = names();
        let first = ask(&mut names, "a", 0);
        let second = ask(&mut names, "a", 0);
        let other = ask(&mut names, "b", 0);
        assert_eq!(queue.len(), 2);
        names.settle(name("a"), addresses(1), 0);
        assert_eq!(
            [port(first), port(second), port(other)],
            [Some(1), Some(1), None]
        );
    }

    #[test]
    fn a_steady_stream_of_connects_never_waits_for_a_look_up_again() {
        let (mut names, queue) = names();
        drop(ask(&mut names, "a", 0));
        let mut look_ups = 0;
        for now_ms in (0..10 * GOOD_MS).step_by(100) {
            names.look(now_ms);
            for name in queue.try_iter() {
                // Each takes no time, or forever.
                look_ups += 1;
                if look_ups < 5 {
                    names.settle(name, addresses(look_ups), now_ms);
                }
            }
            assert!(port(ask(&mut names, "a", now_ms)).is_some(), "{now_ms}");
        }
        assert_eq!(look_ups, 5);
    }

    #[test]
    fn a_name_that_nobody_uses_is_not_looked_up_again_and_forgotten_in_the_end() {
        let (mut names, queue) = names();
        drop(ask(&mut names, "a", 0));
        assert_eq!(queue.try_iter().count(), 1);
        names.settle(name("a"), addresses(1), 0);
        names.look(GOOD_MS);
        assert!(queue.is_empty());
        assert_eq!(names.known.len(), 1);
        names.look(RESOLVER_FORGET_MS);
        assert!(names.known.is_empty());
    }

    #[test]
    fn addresses_that_were_good_outlive_failures_which_are_tried_again_soon() {
        let (mut names, queue) = names();
        drop(ask(&mut names, "a", 0));
        names.settle(name("a"), addresses(1), 0);
        let mut now_ms = 10 * GOOD_MS;
        let late = ask(&mut names, "a", now_ms);
        names.settle(name("a"), failure(), now_ms);
        assert_eq!(port(late), Some(1));
        assert_eq!(queue.try_iter().count(), 2);
        for _ in 0..3 {
            assert_eq!(port(ask(&mut names, "a", now_ms)), Some(1));
            names.look(now_ms + BAD_MS - 1);
            assert!(queue.is_empty());
            now_ms += BAD_MS;
            names.look(now_ms);
            assert_eq!(queue.try_iter().count(), 1);
            names.settle(name("a"), failure(), now_ms);
        }
        drop(ask(&mut names, "a", now_ms));
        names.look(now_ms + BAD_MS);
        names.settle(name("a"), addresses(2), now_ms);
        assert_eq!(port(ask(&mut names, "a", now_ms)), Some(2));
    }

    #[test]
    fn failures_are_remembered_briefly() {
        let (mut names, queue) = names();
        drop(ask(&mut names, "a", 0));
        names.settle(name("a"), failure(), 0);
        assert_eq!(port(ask(&mut names, "a", BAD_MS - 1)), Some(0));
        assert_eq!(queue.try_iter().count(), 1);
        assert_eq!(port(ask(&mut names, "a", BAD_MS)), None);
        assert_eq!(queue.try_iter().count(), 1);
    }

    #[test]
    fn names_and_look_ups_are_bounded() {
        let (mut names, queue) = names();
        for number in 0..2 * RESOLVER_NAMES {
            let host = number.to_string();
            let answer = ask(&mut names, &host, 0);
            assert_eq!(port(answer), (number >= 8).then_some(0), "a full queue");
            assert!(names.known.len() <= RESOLVER_NAMES);
        }
        assert_eq!(queue.len(), 8);
    }
}
