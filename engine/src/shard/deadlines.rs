//! Deadlines: one coarse wheel per shard. Moving a deadline back costs one store; only when its old
//! time comes is the connection looked at and put where it belongs now. None fires early.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};

use crate::limits::{TICK_MS, WHEEL_SLOTS};

/// What a deadline wakes.
pub trait Timed {
    /// When it is due, in milliseconds; `u64::MAX` is never.
    fn deadline_ms(&self) -> &Cell<u64>;
    /// When the wheel looks at it next, in milliseconds; `u64::MAX` is not at all.
    fn visit_ms(&self) -> &Cell<u64>;
    /// Its time has come.
    fn expire(&self);
}

/// What comes up at times, in ticks.
#[derive(Debug)]
pub struct Wheel<K> {
    slots: Vec<Vec<(u64, K)>>,
    /// The last tick that has passed.
    tick: u64,
    /// The first tick in which something comes up, if anything does.
    next: Option<u64>,
}

impl<K> Wheel<K> {
    /// A wheel whose time begins now.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            slots: std::iter::repeat_with(Vec::new).take(WHEEL_SLOTS).collect(),
            tick: now_ms / TICK_MS,
            next: None,
        }
    }

    /// Has a key come up at a time, or earlier where that is too far ahead; never before that for good.
    pub fn visit(&mut self, at_ms: u64, key: K) {
        // The first tick that begins at the time or after it, and a turn ahead at most.
        let first = self.tick + 1;
        let last = self.tick + WHEEL_SLOTS as u64 - 1;
        let tick = at_ms.div_ceil(TICK_MS).clamp(first, last);
        if let Some(slot) = self.slots.get_mut(slot(tick)) {
            slot.push((at_ms, key));
        }
        self.next = Some(self.next.map_or(tick, |next| next.min(tick)));
    }

    /// When to let time pass next, in milliseconds; `u64::MAX` while there is nothing.
    #[must_use]
    pub fn next_ms(&self) -> u64 {
        self.next
            .map_or(u64::MAX, |next| next.saturating_mul(TICK_MS))
    }

    /// Lets time pass: hands out what has come up by now, each with the time that was asked for.
    pub fn advance(&mut self, now_ms: u64, mut come: impl FnMut(u64, K)) {
        let target = now_ms / TICK_MS;
        // After a long pause one turn of the wheel has seen everything.
        let turns = target.saturating_sub(self.tick).min(WHEEL_SLOTS as u64);
        self.tick = self.tick.max(target);
        if turns == 0 {
            return;
        }
        for back in (0..turns).rev() {
            let Some(slot) = self.slots.get_mut(slot(target - back)) else {
                continue;
            };
            for (at_ms, key) in slot.drain(..) {
                come(at_ms, key);
            }
            // What a crowd needed is not kept.
            slot.shrink_to(64);
        }
        let ahead = (1..WHEEL_SLOTS as u64).map(|ahead| target + ahead);
        let mut occupied = ahead.filter(|tick| {
            self.slots
                .get(slot(*tick))
                .is_some_and(|slot| !slot.is_empty())
        });
        self.next = occupied.next();
    }
}

fn slot(tick: u64) -> usize {
    usize::try_from(tick % WHEEL_SLOTS as u64).unwrap_or_default()
}

/// The deadlines of things that are shared within a thread.
#[derive(Debug)]
pub struct Deadlines<T> {
    wheel: RefCell<Wheel<Weak<T>>>,
    /// Woken when there is something to wait for.
    idle: RefCell<Option<Waker>>,
}

impl<T: Timed> Deadlines<T> {
    /// A wheel whose time begins now.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        Self {
            wheel: RefCell::new(Wheel::new(now_ms)),
            idle: RefCell::default(),
        }
    }

    /// Sets when `timed` is due. `None` is never.
    pub fn arm(&self, timed: &Rc<T>, deadline_ms: Option<u64>) {
        let deadline_ms = deadline_ms.unwrap_or(u64::MAX);
        timed.deadline_ms().set(deadline_ms);
        if deadline_ms < timed.visit_ms().get() {
            self.visit_at(timed, deadline_ms);
        }
    }

    /// Lets time pass: everything due by now expires.
    pub fn advance(&self, now_ms: u64) {
        let mut visited = Vec::new();
        let mut wheel = self.wheel.borrow_mut();
        wheel.advance(now_ms, |visit_ms, timed| visited.push((visit_ms, timed)));
        drop(wheel);
        for (visit_ms, timed) in visited {
            let Some(timed) = timed.upgrade() else {
                continue;
            };
            // An earlier visit was arranged since, and this one is void.
            if timed.visit_ms().get() != visit_ms {
                continue;
            }
            timed.visit_ms().set(u64::MAX);
            let deadline_ms = timed.deadline_ms().get();
            if deadline_ms <= now_ms {
                timed.deadline_ms().set(u64::MAX);
                timed.expire();
            } else if deadline_ms != u64::MAX {
                self.visit_at(&timed, deadline_ms);
            }
        }
    }

    /// Waits until there is something to wait for.
    pub async fn wanted(&self) {
        poll_fn(|context| {
            if self.wheel.borrow().next.is_some() {
                return Poll::Ready(());
            }
            *self.idle.borrow_mut() = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn visit_at(&self, timed: &Rc<T>, deadline_ms: u64) {
        timed.visit_ms().set(deadline_ms);
        let mut wheel = self.wheel.borrow_mut();
        wheel.visit(deadline_ms, Rc::downgrade(timed));
        if let Some(waker) = self.idle.take() {
            waker.wake();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Probe {
        deadline_ms: Cell<u64>,
        visit_ms: Cell<u64>,
        expired: Cell<u32>,
    }

    impl Timed for Probe {
        fn deadline_ms(&self) -> &Cell<u64> {
            &self.deadline_ms
        }
        fn visit_ms(&self) -> &Cell<u64> {
            &self.visit_ms
        }
        fn expire(&self) {
            self.expired.set(self.expired.get() + 1);
        }
    }

    fn probe() -> Rc<Probe> {
        let never = || Cell::new(u64::MAX);
        Rc::new(Probe {
            deadline_ms: never(),
            visit_ms: never(),
            expired: Cell::new(0),
        })
    }

    /// Lets the wheel run in ticks and returns when the probe expired.
    fn run(wheel: &Deadlines<Probe>, probe: &Probe, from_ms: u64, to_ms: u64) -> Option<u64> {
        let mut now_ms = from_ms;
        while now_ms <= to_ms {
            wheel.advance(now_ms);
            if probe.expired.get() > 0 {
                return Some(now_ms);
            }
            now_ms += TICK_MS / 5;
        }
        None
    }

    #[test]
    fn b_keep_2_no_deadline_fires_early_or_a_second_late() {
        for deadline_ms in [1, 249, 250, 251, 7_500, 99_999, 128_000, 1_800_000] {
            let start_ms = 1_000_003;
            let wheel = Deadlines::new(start_ms);
            let probe = probe();
            wheel.arm(&probe, Some(start_ms + deadline_ms));
            let fired = run(&wheel, &probe, start_ms, start_ms + deadline_ms + 1_000).unwrap();
            assert!(fired >= start_ms + deadline_ms, "{deadline_ms}: early");
            assert!(
                fired <= start_ms + deadline_ms + 2 * TICK_MS,
                "{deadline_ms}: late"
            );
        }
    }

    #[test]
    fn a_moved_deadline_fires_once_at_its_new_time() {
        let wheel = Deadlines::new(0);
        let probe = probe();
        wheel.arm(&probe, Some(1_000));
        wheel.arm(&probe, Some(5_000));
        assert_eq!(run(&wheel, &probe, 0, 4_999), None);
        wheel.arm(&probe, Some(5_100));
        wheel.arm(&probe, Some(5_050));
        assert!(run(&wheel, &probe, 5_000, 6_000).is_some());
        wheel.advance(100_000);
        assert_eq!(probe.expired.get(), 1);
        wheel.arm(&probe, Some(200_000));
        wheel.arm(&probe, None);
        wheel.advance(900_000);
        assert_eq!(probe.expired.get(), 1);
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let wheel = Deadlines::new(0);
        let gone = probe();
        wheel.arm(&gone, Some(1_000));
        drop(gone);
        wheel.advance(2_000);
        assert!(wheel.wheel.borrow().slots.iter().all(Vec::is_empty));
        assert_eq!(wheel.wheel.borrow().next_ms(), u64::MAX);
    }
}
