//! Shared: what several threads write, behind a lock that is held for a moment. With one thread, which is the
//! default, nobody ever waits for it.
#![expect(
    clippy::disallowed_types,
    reason = "the generator's threads meet in what they have verified; the engine's do not"
)]

use std::sync::{Mutex, PoisonError};

/// A value behind a lock.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<T>);

impl<T> Shared<T> {
    /// Puts it behind a lock.
    pub fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Lets one thread at it.
    pub fn with<R>(&self, act: impl FnOnce(&mut T) -> R) -> R {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
