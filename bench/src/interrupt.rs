//! Interrupt: whether somebody asked this program to stop (Ctrl-C, Ctrl-\, SIGTERM, SIGHUP). Every loop that waits asks
//! here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

/// Becomes true at the first signal and stays so.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Catches the signals from now on.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn catch() -> anyhow::Result<Self> {
        let flag = Self::default();
        for signal in [SIGINT, SIGQUIT, SIGTERM, SIGHUP] {
            signal_hook::flag::register(signal, Arc::clone(&flag.0)).context("signals")?;
        }
        Ok(flag)
    }

    /// Whether to stop.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Fails where it is time to stop, so that a function that waits leaves with `?`.
    ///
    /// # Errors
    /// When it is.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(!self.is_set(), "interrupted");
        Ok(())
    }
}
