//! Again: whether an event is of the session that its id stood for last. Ids are used again, by access servers that count
//! from 1 at every start, and requests come late; what tells them apart is the SIM, the time, and the access server's own
//! clock, whatever that shows (B-ID-7).

use ringbeam_proto::identity::Imsi;

use super::SimSession;
use super::rows::Heard;
use crate::limits::{RADIUS_CLOCK_MS, SESSION_REUSE_MS};

/// When something happened.
#[derive(Clone, Copy)]
pub(super) struct When {
    pub(super) time_ms: i64,
    /// By the access server's own clock.
    pub(super) own_ms: Option<i64>,
}

impl When {
    /// At a time of this host's clock.
    pub(super) const fn of(time_ms: i64) -> Self {
        Self {
            time_ms,
            own_ms: None,
        }
    }

    /// The last moment at which it may have been: an access server's clock shows whole seconds.
    pub(super) fn last_ms(self) -> i64 {
        if self.own_ms == Some(self.time_ms) {
            return self.time_ms.saturating_add(999);
        }
        self.time_ms
    }

    /// How much later it is than another time by the access server's own clock; 0 where nobody knows.
    fn own_lead_ms(self, own_ms: Option<i64>) -> i64 {
        match (self.own_ms, own_ms) {
            (Some(own_ms), Some(earlier_ms)) => own_ms.saturating_sub(earlier_ms),
            _ => 0,
        }
    }
}

/// What an event's session id is to what was last heard of it.
pub(super) enum Use {
    /// A session's that begins, as far as is known.
    New,
    /// The same session's as before.
    GoesOn,
    /// That of a session that is over, or of a moment before the last.
    OfBefore,
}

impl Use {
    /// Ids are used again, by access servers that count from 1 at every start.
    pub(super) fn of_id(heard: Option<&Heard>, is_start: bool, imsi: Imsi, when: When) -> Self {
        let Some(heard) = heard else {
            return Self::New;
        };
        let is_new = if heard.imsi.is_some_and(|other| other != imsi) {
            when.last_ms() >= heard.updated_ms
        } else if heard.is_over {
            let lead_ms = when.own_lead_ms(heard.own_ms);
            if is_start {
                lead_ms > 0 || is_reuse(heard.updated_ms, when.time_ms)
            } else {
                // What comes late about it may have been sent together with its end.
                lead_ms > SESSION_REUSE_MS
            }
        } else if when.time_ms >= heard.updated_ms {
            // It began again: its end was lost, or is still to come.
            if !is_start || when.own_lead_ms(heard.own_ms) <= 0 {
                return Self::GoesOn;
            }
            true
        } else {
            false
        };
        if is_new { Self::New } else { Self::OfBefore }
    }
}

/// Whether a Stop is that of an earlier session with the id of one that goes on.
pub(super) fn is_stop_of_before(
    heard: Option<&Heard>,
    held: &[SimSession],
    imsi: Option<Imsi>,
    when: When,
) -> bool {
    let Some(started_ms) = held.iter().map(|held| held.started_ms).min() else {
        return false;
    };
    let (named, began_own_ms) = heard.map_or((None, None), |heard| (heard.imsi, heard.own_ms));
    if let (Some(began_own_ms), Some(own_ms)) = (began_own_ms, when.own_ms) {
        // While the clock went on, its word is the best there is, though it be wrong.
        let ahead_ms = own_ms.saturating_sub(when.time_ms);
        let began_ahead_ms = began_own_ms.saturating_sub(started_ms);
        if ahead_ms.abs_diff(began_ahead_ms) <= RADIUS_CLOCK_MS {
            return own_ms < began_own_ms;
        }
    }
    let is_of_another = imsi.is_some_and(|imsi| named.is_some_and(|named| named != imsi));
    is_of_another || is_reuse(when.time_ms, started_ms)
}

/// Whether an event is so much later than another of the same session that it is of another session with its id.
fn is_reuse(earlier_ms: i64, later_ms: i64) -> bool {
    later_ms.saturating_sub(earlier_ms) > SESSION_REUSE_MS
}
