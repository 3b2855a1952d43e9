//! Thread: named, and pinned to one processor where asked for.

use std::io;
use std::thread::JoinHandle;

use rustix::thread::{CpuSet, sched_setaffinity};

/// Starts a thread.
///
/// # Errors
/// When the kernel has none left.
pub fn spawn<T: Send + 'static>(
    name: &str,
    body: impl FnOnce() -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
}

/// Pins the calling thread to one processor.
///
/// # Errors
/// When it may not run there.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
