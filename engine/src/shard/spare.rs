//! Spare: room for attempts to connect that no session's descriptors stand for. Counted for all shards
//! together, taken only where a destination has several addresses.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::limits::ATTEMPTS_SPARE;

/// What is left of that room.
#[derive(Debug)]
pub struct Spare {
    left: AtomicUsize,
}

/// Room for one attempt; given back when dropped.
#[derive(Debug)]
pub struct Permit<'a> {
    spare: &'a Spare,
}

impl Default for Spare {
    fn default() -> Self {
        Self {
            left: AtomicUsize::new(ATTEMPTS_SPARE),
        }
    }
}

impl Spare {
    /// Room for one more attempt, if there is any.
    #[must_use]
    pub fn take(&self) -> Option<Permit<'_>> {
        let less = |left: usize| left.checked_sub(1);
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less)
            .ok()
            .map(|_| Permit { spare: self })
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        self.spare.left.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_bounded_and_room_comes_back() {
        let spare = Spare::default();
        let mut taken: Vec<_> = std::iter::from_fn(|| spare.take()).collect();
        assert_eq!(taken.len(), ATTEMPTS_SPARE);
        taken.pop();
        taken.push(spare.take().unwrap());
        assert!(spare.take().is_none());
    }
}
