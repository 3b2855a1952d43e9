//! In flight: messages of QoS 1 and 2 that are not acknowledged yet.

use std::collections::VecDeque;

/// Most messages in flight of one device, unless the other side takes fewer (Receive Maximum of MQTT 5).
const IN_FLIGHT_MAX: u16 = 1000;

/// Packet ids in use, oldest first, each with the intended time of its message in ns.
#[derive(Debug)]
pub(super) struct InFlight {
    messages: VecDeque<(u16, u64)>,
    last_id: u16,
    limit: u16,
}

impl Default for InFlight {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            last_id: 0,
            limit: IN_FLIGHT_MAX,
        }
    }
}

impl InFlight {
    /// Takes the other side's limit over where it is lower.
    pub(super) fn limit(&mut self, receive_maximum: u16) {
        self.limit = self.limit.min(receive_maximum.max(1));
    }

    /// Whether another one may go out.
    pub(super) fn has_room(&self) -> bool {
        self.messages.len() < usize::from(self.limit)
    }

    /// An id for the next message. With as few in flight as there may be, the one after the last is free.
    pub(super) fn begin(&mut self, intended_ns: u64) -> u16 {
        self.last_id = self.last_id.checked_add(1).unwrap_or(1);
        self.messages.push_back((self.last_id, intended_ns));
        self.last_id
    }

    /// The intended time of a message that is acknowledged by now; `None` where there was none with this id.
    pub(super) fn end(&mut self, id: u16) -> Option<u64> {
        // In order, as a rule.
        let place = self.messages.iter().position(|(other, _)| *other == id)?;
        self.messages
            .remove(place)
            .map(|(_, intended_ns)| intended_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_never_zero_and_never_used_twice_at_once() {
        let mut in_flight = InFlight::default();
        for turn in 0..200_000_u64 {
            let id = in_flight.begin(turn);
            assert_ne!(id, 0);
            if !in_flight.has_room() {
                let oldest = in_flight.messages[0].0;
                assert!(
                    in_flight
                        .messages
                        .iter()
                        .skip(1)
                        .all(|(other, _)| *other != oldest)
                );
                assert!(in_flight.end(oldest).is_some());
                assert_eq!(in_flight.end(oldest), None);
            }
        }
    }

    #[test]
    fn the_other_sides_limit_holds() {
        let mut in_flight = InFlight::default();
        in_flight.limit(2);
        assert!(in_flight.has_room());
        in_flight.begin(1);
        let second = in_flight.begin(2);
        assert!(!in_flight.has_room());
        assert_eq!(in_flight.end(second), Some(2));
        assert!(in_flight.has_room());
    }
}
