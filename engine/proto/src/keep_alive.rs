//! Keep alive: how long a session may be silent (B-KEEP-2, B-KEEP-3, B-KEEP-5, B-KEEP-6). Time is in
//! milliseconds of the caller's clock.

use crate::error::Cause;
use crate::limits::IDLE_MS_MAX;
use crate::session::Side;

/// The clock of one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// 0 where the device asked for none.
    seconds: u16,
    /// When something was last heard.
    heard_ms: u64,
    /// Since when the engine itself does not read.
    withheld_ms: Option<u64>,
}

impl KeepAlive {
    /// A clock that starts now, for a keep alive in seconds; 0 is none.
    #[must_use]
    pub const fn new(seconds: u16, now_ms: u64) -> Self {
        Self {
            seconds,
            heard_ms: now_ms,
            withheld_ms: None,
        }
    }

    /// What it was made with.
    #[must_use]
    pub const fn seconds(&self) -> u16 {
        self.seconds
    }

    /// The clock starts anew for another keep alive; while it stands still it goes on doing so.
    pub fn restart(&mut self, seconds: u16, now_ms: u64) {
        *self = Self {
            withheld_ms: self.withheld_ms.map(|_| now_ms),
            ..Self::new(seconds, now_ms)
        };
    }

    /// Bytes came from `side`.
    pub fn heard(&mut self, side: Side, now_ms: u64) {
        // B-KEEP-2: with a keep alive the device alone counts; B-KEEP-3: without one both do.
        if side == Side::Device || self.seconds == 0 {
            self.heard_ms = now_ms;
        }
    }

    /// B-KEEP-5: from now on the engine does not read from the device.
    pub fn withhold(&mut self, now_ms: u64) {
        self.withheld_ms.get_or_insert(now_ms);
    }

    /// It reads again; the time between does not count.
    pub fn resume(&mut self, now_ms: u64) {
        if let Some(since_ms) = self.withheld_ms.take() {
            let withheld_ms = now_ms.saturating_sub(since_ms.max(self.heard_ms));
            self.heard_ms = self.heard_ms.saturating_add(withheld_ms);
        }
    }

    /// When the session ends unless something is heard, and why; `None` while the clock stands still.
    #[must_use]
    pub fn deadline(&self) -> Option<(u64, Cause)> {
        if self.withheld_ms.is_some() {
            return None;
        }
        let (silence_ms, cause) = match self.seconds {
            0 => (IDLE_MS_MAX, Cause::IdleTimeout),
            seconds => (
                u64::from(seconds).saturating_mul(1500),
                Cause::KeepAliveTimeout,
            ),
        };
        Some((self.heard_ms.saturating_add(silence_ms), cause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_keep_2_only_the_device_keeps_its_session_alive() {
        let mut clock = KeepAlive::new(10, 1_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(16_000));
        clock.heard(Side::Upstream, 5_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(16_000));
        clock.heard(Side::Device, 5_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(20_000));
        assert_eq!(
            clock
                .deadline()
                .filter(|(at_ms, _)| *at_ms <= 19_999)
                .map(|(_, cause)| cause),
            None
        );
        assert_eq!(
            clock
                .deadline()
                .filter(|(at_ms, _)| *at_ms <= 20_000)
                .map(|(_, cause)| cause),
            Some(Cause::KeepAliveTimeout)
        );
    }

    #[test]
    fn b_keep_3_without_keep_alive_both_directions_count_for_30_minutes() {
        let mut clock = KeepAlive::new(0, 0);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(1_800_000));
        clock.heard(Side::Upstream, 60_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(1_860_000));
        assert_eq!(
            clock
                .deadline()
                .filter(|(at_ms, _)| *at_ms <= 1_860_000)
                .map(|(_, cause)| cause),
            Some(Cause::IdleTimeout)
        );
    }

    #[test]
    fn b_keep_5_the_clock_stands_still_while_reading_is_withheld() {
        let mut clock = KeepAlive::new(10, 0);
        clock.withhold(4_000);
        clock.withhold(9_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), None);
        assert_eq!(
            clock
                .deadline()
                .filter(|(at_ms, _)| *at_ms <= 1_000_000)
                .map(|(_, cause)| cause),
            None
        );
        clock.resume(100_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(111_000));
        clock.resume(200_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(111_000));
        // What was heard while it stood still counts from then on.
        clock.withhold(101_000);
        clock.heard(Side::Device, 103_000);
        clock.resume(104_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(119_000));
        clock.withhold(105_000);
        clock.restart(20, 106_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), None);
        clock.resume(107_000);
        assert_eq!(clock.deadline().map(|(at_ms, _)| at_ms), Some(137_000));
    }
}
