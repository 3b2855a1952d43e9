//! Addresses: in which order a shard tries the addresses of a destination, from which of its own, and
//! which of them failed lately. Time is an argument.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};

use ahash::RandomState;
use hashbrown::HashMap;

use crate::limits::{FAILED_ADDRESS_MS, FAILED_ADDRESSES};

/// What a shard remembers of the addresses it connects to and from.
#[derive(Debug)]
pub struct Addresses {
    /// Those that failed, each with the time until which that counts, in milliseconds.
    failed: RefCell<HashMap<SocketAddr, u64, RandomState>>,
    /// Turn with every connect, so that each address gets its share of them.
    destination_turn: Cell<usize>,
    source_turn: Cell<usize>,
}

impl Addresses {
    /// Remembers nothing. Shards start at different turns.
    #[must_use]
    pub fn new(turn: usize) -> Self {
        Self {
            failed: RefCell::default(),
            destination_turn: Cell::new(turn),
            source_turn: Cell::new(turn),
        }
    }

    /// The order in which addresses are tried (RFC 8305, section 4): families take turns, that of the
    /// system's first choice begins; those that failed lately come last. Within a family everybody gets a
    /// turn to be the first: the system's order does not change while an answer is kept, and all sessions
    /// would go to one address.
    pub fn order(&self, found: &[SocketAddr], now_ms: u64) -> VecDeque<SocketAddr> {
        let prefers_ipv4 = found.first().is_some_and(SocketAddr::is_ipv4);
        let (mut first, mut second): (Vec<_>, Vec<_>) = found
            .iter()
            .copied()
            .partition(|address| address.is_ipv4() == prefers_ipv4);
        let turn = next(&self.destination_turn);
        for family in [&mut first, &mut second] {
            let by = turn.checked_rem(family.len()).unwrap_or_default();
            family.rotate_left(by);
        }
        let mut second = second.into_iter();
        let mut order = Vec::with_capacity(found.len());
        for address in first {
            order.push(address);
            order.extend(second.next());
        }
        order.extend(second);
        let failed = self.failed.borrow();
        let has_failed = |address: &SocketAddr| failed.get(address).is_some_and(|at| *at > now_ms);
        // The sort is stable: the others keep their order.
        order.sort_by_key(has_failed);
        order.into()
    }

    /// An address did not answer, or refused.
    pub fn failed(&self, address: SocketAddr, now_ms: u64) {
        let mut failed = self.failed.borrow_mut();
        if failed.len() >= FAILED_ADDRESSES {
            failed.retain(|_, until_ms| *until_ms > now_ms);
        }
        if failed.len() < FAILED_ADDRESSES || failed.contains_key(&address) {
            failed.insert(address, now_ms.saturating_add(FAILED_ADDRESS_MS));
        }
    }

    /// An address has been connected to.
    pub fn succeeded(&self, address: SocketAddr) {
        self.failed.borrow_mut().remove(&address);
    }

    /// The source addresses that fit a destination's, each once, another one first every time. Without
    /// any, one that leaves the choice to the kernel.
    pub fn sources(&self, sources: &[IpAddr], to: SocketAddr) -> Vec<Option<SocketAddr>> {
        let mut fitting: Vec<_> = sources
            .iter()
            .filter(|source| source.is_ipv4() == to.is_ipv4())
            .map(|source| Some(SocketAddr::new(*source, 0)))
            .collect();
        if fitting.is_empty() {
            return vec![None];
        }
        let by = next(&self.source_turn) % fitting.len();
        fitting.rotate_left(by);
        fitting
    }
}

fn next(turn: &Cell<usize>) -> usize {
    turn.replace(turn.get().wrapping_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(addresses: &str) -> Vec<SocketAddr> {
        let port = |address: &str| SocketAddr::new(address.parse().unwrap(), 1883);
        addresses.split_whitespace().map(port).collect()
    }

    fn order(addresses: &Addresses, found: &str, now_ms: u64) -> String {
        let order = addresses.order(&parse(found), now_ms);
        let texts: Vec<_> = order.iter().map(|to| to.ip().to_string()).collect();
        texts.join(" ")
    }

    #[test]
    fn b_con_4_families_take_turns_and_the_systems_first_choice_begins() {
        for (found, expected) in [
            ("", ""),
            ("1.1.1.1", "1.1.1.1"),
            ("::1 1.1.1.1", "::1 1.1.1.1"),
            ("1.1.1.1 ::1", "1.1.1.1 ::1"),
            ("::1 ::2 1.1.1.1 1.1.1.2", "::1 1.1.1.1 ::2 1.1.1.2"),
            ("1.1.1.1 ::1 ::2 ::3", "1.1.1.1 ::1 ::2 ::3"),
            ("1.1.1.1 1.1.1.2 ::1", "1.1.1.1 ::1 1.1.1.2"),
        ] {
            assert_eq!(order(&Addresses::new(0), found, 0), expected, "{found}");
        }
    }

    #[test]
    fn b_con_4_every_address_of_a_family_is_the_first_in_its_turn() {
        let addresses = Addresses::new(0);
        let found = "::1 ::2 1.1.1.1 1.1.1.2 1.1.1.3";
        assert_eq!(
            order(&addresses, found, 0),
            "::1 1.1.1.1 ::2 1.1.1.2 1.1.1.3"
        );
        assert_eq!(
            order(&addresses, found, 0),
            "::2 1.1.1.2 ::1 1.1.1.3 1.1.1.1"
        );
        assert_eq!(
            order(&addresses, found, 0),
            "::1 1.1.1.3 ::2 1.1.1.1 1.1.1.2"
        );
    }

    #[test]
    fn b_con_4_an_address_that_failed_comes_last_for_a_while() {
        let addresses = Addresses::new(0);
        let (found, until_ms) = ("::1 1.1.1.1", FAILED_ADDRESS_MS);
        addresses.failed(parse("::1")[0], 0);
        assert_eq!(order(&addresses, found, until_ms - 1), "1.1.1.1 ::1");
        assert_eq!(order(&addresses, found, until_ms), "::1 1.1.1.1");
        // When all have failed, they are tried all the same.
        addresses.failed(parse("1.1.1.1")[0], 0);
        assert_eq!(order(&addresses, found, 0), "::1 1.1.1.1");
        addresses.succeeded(parse("1.1.1.1")[0]);
        assert_eq!(order(&addresses, found, 0), "1.1.1.1 ::1");
    }

    #[test]
    fn failed_addresses_are_bounded_and_make_room_when_their_time_has_passed() {
        let addresses = Addresses::new(0);
        let address = |number: usize| {
            let port = u16::try_from(number).unwrap();
            SocketAddr::from(([127, 0, 0, 1], port))
        };
        for number in 0..2 * FAILED_ADDRESSES {
            addresses.failed(address(number), 0);
        }
        assert_eq!(addresses.failed.borrow().len(), FAILED_ADDRESSES);
        addresses.failed(address(9_999), FAILED_ADDRESS_MS);
        assert_eq!(addresses.failed.borrow().len(), 1);
    }

    #[test]
    fn every_fitting_source_address_gets_its_turn() {
        let addresses = Addresses::new(0);
        let sources: Vec<IpAddr> = parse("1.1.1.1 ::1 1.1.1.2")
            .iter()
            .map(SocketAddr::ip)
            .collect();
        let firsts = |to: &str| {
            let sources = addresses.sources(&sources, parse(to)[0]);
            (
                sources.len(),
                sources[0].map(|source| source.ip().to_string()),
            )
        };
        assert_eq!(firsts("9.9.9.9"), (2, Some("1.1.1.1".to_owned())));
        assert_eq!(firsts("9.9.9.9"), (2, Some("1.1.1.2".to_owned())));
        assert_eq!(firsts("::9"), (1, Some("::1".to_owned())));
        let none = addresses.sources(&[], parse("9.9.9.9")[0]);
        assert_eq!(none, [None]);
    }
}
