//! Admission: how many sessions the process holds. Counted for all shards together, at accept and at
//! the end of a session, never on the way of a message.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::REFUSALS_AT_ONCE;

/// Room for sessions, shared by all shards.
#[derive(Debug)]
pub struct Admission {
    max: usize,
    sessions: AtomicUsize,
    refusals: AtomicUsize,
}

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    /// Whether it is only to be told that there is no room.
    is_refusal: bool,
}

impl Admission {
    /// Room for `max` sessions.
    #[must_use]
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            sessions: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
        })
    }

    /// A place for a new connection: a session's where it may become one, else a refusal's, else none.
    pub fn enter(self: &Arc<Self>, may_be_session: bool) -> Option<Place> {
        let place = |is_refusal| Place {
            admission: Arc::clone(self),
            is_refusal,
        };
        if may_be_session && take(&self.sessions, self.max) {
            Some(place(false))
        } else if take(&self.refusals, REFUSALS_AT_ONCE) {
            Some(place(true))
        } else {
            None
        }
    }

    /// Sessions that fit.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Places taken.
    #[must_use]
    pub fn sessions(&self) -> usize {
        self.sessions.load(Ordering::Relaxed)
    }
}

fn take(count: &AtomicUsize, max: usize) -> bool {
    let more = |taken: usize| (taken < max).then_some(taken + 1);
    count
        .fetch_update(Ordering::Relaxed, Ordering::Relaxed, more)
        .is_ok()
}

impl Place {
    /// Turns a refusal's place into a session's, where there is room by now.
    pub fn upgrade(&mut self) {
        if self.is_refusal && take(&self.admission.sessions, self.admission.max) {
            self.admission.refusals.fetch_sub(1, Ordering::Relaxed);
            self.is_refusal = false;
        }
    }

    /// Whether there is no room for a session.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        self.is_refusal
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Admission {
            sessions, refusals, ..
        } = &*self.admission;
        let count = if self.is_refusal { refusals } else { sessions };
        count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_and_come_back() {
        let admission = Admission::new(2);
        let first = admission.enter(true).unwrap();
        let second = admission.enter(true).unwrap();
        assert!(!first.is_refusal() && !second.is_refusal());
        let refusals: Vec<_> = (0..REFUSALS_AT_ONCE)
            .map(|_| admission.enter(true).unwrap())
            .collect();
        assert!(refusals.iter().all(Place::is_refusal));
        assert!(admission.enter(true).is_none());
        drop(first);
        assert!(!admission.enter(true).unwrap().is_refusal());
        drop(refusals);
        assert_eq!(admission.sessions(), 1);
        let mut unknown = admission.enter(false).unwrap();
        assert!(unknown.is_refusal());
        unknown.upgrade();
        assert!(!unknown.is_refusal());
        assert_eq!(admission.sessions(), 2);
    }
}
