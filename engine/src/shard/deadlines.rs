//! Deadlines: one coarse wheel per shard. Moving a deadline back costs one store; only when its old
//! time comes is the connection looked at and put where it belongs now. None fires early.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};

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

/// What the wheel looks at in one tick, each with the time it was put there for.
type Slot<T> = Vec<(u64, Weak<T>)>;

/// The wheel.
#[derive(Debug)]
pub struct Deadlines<T> {
    slots: RefCell<Vec<Slot<T>>>,
    /// The last tick that has passed.
    tick: Cell<u64>,
}

impl<T: Timed> Deadlines<T> {
    /// A wheel whose time begins now.
    #[must_use]
    pub fn new(now_ms: u64) -> Self {
        let slots = std::iter::repeat_with(Vec::new).take(WHEEL_SLOTS).collect();
        Self {
            slots: RefCell::new(slots),
            tick: Cell::new(now_ms / TICK_MS),
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
        let target = now_ms / TICK_MS;
        // After a long pause one turn of the wheel has seen everything.
        let turns = target
            .saturating_sub(self.tick.get())
            .min(WHEEL_SLOTS as u64);
        for back in (0..turns).rev() {
            let tick = target - back;
            self.tick.set(tick);
            let slot = Self::slot(tick);
            let visited = self.slots.borrow_mut().get_mut(slot).map(std::mem::take);
            for (visit_ms, timed) in visited.unwrap_or_default() {
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
    }

    fn visit_at(&self, timed: &Rc<T>, deadline_ms: u64) {
        timed.visit_ms().set(deadline_ms);
        // The first tick that begins at the deadline or after it, and a turn ahead at most.
        let next = self.tick.get() + 1;
        let last = self.tick.get() + WHEEL_SLOTS as u64 - 1;
        let tick = deadline_ms.div_ceil(TICK_MS).clamp(next, last);
        if let Some(slot) = self.slots.borrow_mut().get_mut(Self::slot(tick)) {
            slot.push((deadline_ms, Rc::downgrade(timed)));
        }
    }

    fn slot(tick: u64) -> usize {
        usize::try_from(tick % WHEEL_SLOTS as u64).unwrap_or_default()
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
        assert!(wheel.slots.borrow().iter().all(Vec::is_empty));
    }
}
