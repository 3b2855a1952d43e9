//! Admission: how many sessions the process holds, and how many connections beside them. Counted for all shards
//! together, at accept, when a CONNECT is here and at the end of a session, never on the way of a message.

mod half;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};

use ipnet::IpNet;

use self::half::Half;
pub use self::half::{Seat, Who};
use crate::limits::{
    DESCRIPTORS_PER_SESSION, LEAVING_AT_ONCE, REFUSALS_AT_ONCE, STRANGERS_AT_ONCE, STRANGERS_LEAVE,
};

/// Room for sessions, shared by all shards.
#[derive(Debug)]
pub struct Admission {
    /// Sessions that fit.
    max: usize,
    /// Descriptors that sessions and strangers have together.
    descriptors: usize,
    /// Sessions, and half CONNECTs that will be some.
    sessions: AtomicUsize,
    refusals: AtomicUsize,
    #[expect(
        clippy::disallowed_types,
        reason = "taken at accept and when a CONNECT is here, for as long as a look into a map; never by a relay"
    )]
    half: std::sync::Mutex<Half>,
}

/// Tells a connection to make room; false where that was not possible.
pub type Tell<'a> = &'a dyn Fn(Seat) -> bool;

/// A connection's place; given back when dropped.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    kind: Kind,
}

/// What a place is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A session.
    Session,
    /// A CONNECT that is not here, or waits; its key among those. A SIM's has a session's place already.
    Half(usize),
    /// To be told that there is no room, or that the address is nobody's.
    Refusal,
}

impl Admission {
    /// Room for `max` sessions, and for strangers in what these leave of so many descriptors.
    #[must_use]
    pub fn new(max: usize, descriptors: usize) -> Arc<Self> {
        Arc::new(Self {
            max,
            descriptors,
            sessions: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            half: Default::default(),
        })
    }

    /// A place for a new connection. Whoever it may be served as or wait for has `most` half CONNECTs at most; beyond
    /// that, and for nobody, it is a refusal's, or none.
    pub fn enter(
        self: &Arc<Self>,
        who: Option<Who>,
        seat: Seat,
        most: u32,
        tell: Tell<'_>,
    ) -> Option<Place> {
        let place = |kind| Place {
            admission: Arc::clone(self),
            kind,
        };
        if let Some(who) = who {
            let mut half = self.half();
            let most = usize::try_from(most).unwrap_or(usize::MAX);
            let is_session = !who.is_stranger();
            if half.count(&who) < most && self.make_room(&mut half, is_session, tell) {
                if is_session {
                    self.sessions.fetch_add(1, Ordering::Relaxed);
                }
                return Some(place(Kind::Half(half.add(who, seat))));
            }
        }
        let more = |taken: usize| (taken < REFUSALS_AT_ONCE).then_some(taken + 1);
        let refusals = &self.refusals;
        let taken = refusals.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| place(Kind::Refusal))
    }

    /// Sessions that fit.
    #[must_use]
    pub const fn max(&self) -> usize {
        self.max
    }

    /// Where connections are that wait for one of these addresses to be somebody's (B-ID-8).
    pub fn strangers_at<'a>(
        &self,
        given: impl IntoIterator<Item = (&'a Arc<str>, IpNet)>,
    ) -> Vec<Seat> {
        let half = self.half();
        if half.strangers() == 0 {
            return Vec::new();
        }
        let given = given.into_iter();
        given
            .flat_map(|(network, addresses)| half.strangers_at(network, addresses))
            .collect()
    }

    /// Whether there is room for a session, or for a stranger; where there is none, half CONNECTs make it: the oldest of
    /// whoever has most. A stranger goes before a SIM's, and takes room from its like alone.
    fn make_room(&self, half: &mut Half, is_session: bool, tell: Tell<'_>) -> bool {
        loop {
            let sessions = self.sessions.load(Ordering::Relaxed);
            let (needed, leaving_max) = if is_session {
                (PER_SESSION, LEAVING_AT_ONCE)
            } else {
                let left = STRANGERS_LEAVE.min(self.descriptors / 8);
                (left.saturating_add(1), LEAVING_AT_ONCE / 2)
            };
            let taken = sessions
                .saturating_mul(PER_SESSION)
                .saturating_add(half.strangers())
                .saturating_add(needed);
            let are_places_short = if is_session {
                sessions >= self.max
            } else {
                half.strangers() >= STRANGERS_AT_ONCE
            };
            if taken <= self.descriptors && !are_places_short {
                return true;
            }
            let stranger = half.first_stranger().map(|first| (first, false));
            let sim = half.first_sim().map(|first| (first, true));
            let first = match (is_session, are_places_short) {
                (false, _) => stranger,
                (true, true) => sim,
                (true, false) => stranger.or(sim),
            };
            let Some(((key, seat), was_session)) = first else {
                return false;
            };
            if half.leaving() >= leaving_max || !tell(seat) {
                return false;
            }
            half.leave(key);
            if was_session {
                self.sessions.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }

    fn half(&self) -> std::sync::MutexGuard<'_, Half> {
        self.half.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Descriptors of a session.
const PER_SESSION: usize = 2;

const _: () = assert!(PER_SESSION as u64 == DESCRIPTORS_PER_SESSION);

impl Place {
    /// The CONNECT of a SIM is here: from now on the place is a session's, where there is room.
    pub fn become_session(&mut self, tell: Tell<'_>) {
        let admission = Arc::clone(&self.admission);
        let mut half = admission.half();
        match self.kind {
            Kind::Session => {}
            Kind::Refusal => {
                if admission.make_room(&mut half, true, tell) {
                    admission.sessions.fetch_add(1, Ordering::Relaxed);
                    admission.refusals.fetch_sub(1, Ordering::Relaxed);
                    self.kind = Kind::Session;
                }
            }
            Kind::Half(key) if half.leaves(key) => {}
            Kind::Half(key) => {
                // It makes no room for itself.
                let Some(gone) = half.remove(key) else {
                    return;
                };
                if !gone.who.is_stranger() {
                    self.kind = Kind::Session;
                } else if admission.make_room(&mut half, true, tell) {
                    admission.sessions.fetch_add(1, Ordering::Relaxed);
                    self.kind = Kind::Session;
                } else {
                    self.kind = Kind::Half(half.add(gone.who, gone.seat));
                }
            }
        }
    }

    /// Whether it is a session's.
    #[must_use]
    pub const fn is_session(&self) -> bool {
        matches!(self.kind, Kind::Session)
    }

    /// Whether it is good for a refusal alone.
    #[must_use]
    pub const fn is_refusal(&self) -> bool {
        matches!(self.kind, Kind::Refusal)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Admission {
            sessions, refusals, ..
        } = &*self.admission;
        match self.kind {
            Kind::Session => drop(sessions.fetch_sub(1, Ordering::Relaxed)),
            Kind::Refusal => drop(refusals.fetch_sub(1, Ordering::Relaxed)),
            Kind::Half(key) => {
                let gone = self.admission.half().remove(key);
                if gone.is_some_and(|gone| !gone.left && !gone.who.is_stranger()) {
                    sessions.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
    }
}

#[cfg(test)]
impl Place {
    /// A session's, of an admission of its own.
    pub fn of_a_session() -> Self {
        let admission = Admission::new(1, PER_SESSION);
        admission.sessions.fetch_add(1, Ordering::Relaxed);
        Self {
            admission,
            kind: Kind::Session,
        }
    }
}

#[cfg(test)]
mod tests;
