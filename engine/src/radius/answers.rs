//! Answers: which requests are being stored, and which were answered of late, so that one that comes again is neither
//! stored twice nor left without an answer. The answer itself is not kept: the same request has the same one.

use std::collections::VecDeque;
use std::net::SocketAddr;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

use super::packet::Packet;
use crate::limits::{RADIUS_ANSWER_MS, RADIUS_ANSWERS};

/// What makes two datagrams the same request: its authenticator is a digest of all that is in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct RequestKey {
    client: SocketAddr,
    identifier: u8,
    authenticator: [u8; 16],
}

impl RequestKey {
    pub(super) fn new(client: SocketAddr, packet: &Packet<'_>) -> Self {
        Self {
            client,
            identifier: packet.identifier(),
            authenticator: *packet.authenticator(),
        }
    }
}

/// What is known of a request when it comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Nothing; it is being stored from now on.
    New,
    /// It is being stored.
    Storing,
    /// It was answered.
    Answered,
}

/// Requests of the last seconds. Their keys come from whoever knows a secret, so that the hasher's seeds are random.
#[derive(Debug, Default)]
pub(super) struct Answers {
    answered: HashMap<RequestKey, bool, ahash::RandomState>,
    /// Those that were answered, the oldest first, with the time at which they are forgotten.
    order: VecDeque<(i64, RequestKey)>,
}

impl Answers {
    /// What is known of a request that has come.
    pub(super) fn begin(&mut self, key: RequestKey, now_ms: i64) -> Known {
        self.forget(now_ms);
        match self.answered.entry(key) {
            Entry::Occupied(entry) if *entry.get() => Known::Answered,
            Entry::Occupied(_) => Known::Storing,
            Entry::Vacant(entry) => {
                entry.insert(false);
                Known::New
            }
        }
    }

    /// A request that was being stored is answered.
    pub(super) fn answered(&mut self, key: RequestKey, now_ms: i64) {
        self.answered.insert(key, true);
        let until_ms = now_ms.saturating_add(RADIUS_ANSWER_MS);
        self.order.push_back((until_ms, key));
    }

    /// A request could not be stored: when it comes again it is a new one.
    pub(super) fn failed(&mut self, key: &RequestKey) {
        self.answered.remove(key);
    }

    fn forget(&mut self, now_ms: i64) {
        while let Some((until_ms, key)) = self.order.front() {
            // A clock that was set back must not keep them for longer.
            let left_ms = until_ms.saturating_sub(now_ms);
            let is_kept = (1..=RADIUS_ANSWER_MS).contains(&left_ms);
            if is_kept && self.order.len() < RADIUS_ANSWERS {
                return;
            }
            self.answered.remove(key);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> RequestKey {
        let mut authenticator = [0; 16];
        authenticator[..4].copy_from_slice(&number.to_be_bytes());
        RequestKey {
            client: "10.0.0.1:1000".parse().unwrap(),
            identifier: 7,
            authenticator,
        }
    }

    #[test]
    fn a_request_is_new_then_being_stored_then_answered_then_forgotten() {
        let mut answers = Answers::default();
        assert_eq!(answers.begin(key(1), 0), Known::New);
        assert_eq!(answers.begin(key(1), 0), Known::Storing);
        assert_eq!(answers.begin(key(2), 0), Known::New);
        answers.answered(key(1), 1000);
        answers.failed(&key(2));
        assert_eq!(answers.begin(key(2), 1000), Known::New);
        assert_eq!(answers.begin(key(1), 30_999), Known::Answered);
        assert_eq!(answers.begin(key(1), 31_000), Known::New);
        // A clock that was set back.
        answers.answered(key(1), 31_000);
        assert_eq!(answers.begin(key(1), 5), Known::New);
    }

    #[test]
    fn answers_are_bounded() {
        let mut answers = Answers::default();
        for number in 0..u32::try_from(RADIUS_ANSWERS).unwrap() + 1000 {
            assert_eq!(answers.begin(key(number), 0), Known::New);
            answers.answered(key(number), 0);
        }
        assert!(answers.answered.len() <= RADIUS_ANSWERS);
        assert!(answers.order.len() <= RADIUS_ANSWERS);
        assert_eq!(answers.begin(key(5), 0), Known::New);
    }
}
