//! Stand by: the run's own thread, which leads the others and has nothing to do itself, waits.

use std::io::BufRead as _;
use std::time::Duration;

/// Sleeps.
#[expect(
    clippy::disallowed_methods,
    reason = "no shard is blocked here: the run's own thread only watches"
)]
pub(super) fn pause(duration: Duration) {
    std::thread::sleep(duration);
}

/// Waits for a line on standard input, or its end, or until `goes_on` says no.
pub(super) fn line_on_standard_input(mut goes_on: impl FnMut() -> bool) {
    let (sender, line) = crossbeam_channel::bounded(1);
    // A read from standard input cannot be given up; the thread ends with the process.
    let reader = std::thread::Builder::new()
        .name("standard input".to_owned())
        .spawn(move || {
            let mut line = String::new();
            std::io::stdin().lock().read_line(&mut line).ok();
            sender.send(()).ok();
        });
    if reader.is_ok() {
        while line.is_empty() && goes_on() {}
    }
}
