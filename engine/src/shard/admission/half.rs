//! Half CONNECTs: connections whose CONNECT is not whole yet, and those whose address is nobody's and whose CONNECT
//! waits (B-ID-8). Whose they are and where goes in; who makes room where places are short comes out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use ringbeam_proto::identity::Imsi;
use slab::Slab;

/// Bits of what one device has of IPv6.
const DEVICE_PREFIX_IPV6: u8 = 64;

/// Whose a connection is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Who {
    /// A SIM's.
    Sim(Imsi),
    /// Nobody's yet: a network, and what one device has of its addresses.
    Stranger(Arc<str>, IpNet),
}

impl Who {
    /// Whoever has an address that is nobody's.
    #[must_use]
    pub fn stranger(network: &Arc<str>, address: IpAddr) -> Self {
        Self::Stranger(Arc::clone(network), device(address))
    }

    /// Whether it is nobody's.
    #[must_use]
    pub const fn is_stranger(&self) -> bool {
        matches!(self, Self::Stranger(..))
    }
}

/// What one device has that has this address.
fn device(address: IpAddr) -> IpNet {
    match address.to_canonical() {
        IpAddr::V4(address) => IpNet::V4(Ipv4Net::from(address)),
        IpAddr::V6(address) => {
            let prefix = Ipv6Net::new(address, DEVICE_PREFIX_IPV6);
            IpNet::V6(prefix.unwrap_or_default().trunc())
        }
    }
}

/// Where a connection is: its shard, its place in that one's list, and its number there, which is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seat {
    /// The shard.
    pub shard: usize,
    /// Its place in the list.
    pub key: usize,
    /// Its number.
    pub number: u64,
}

/// One connection.
#[derive(Debug)]
struct Entry {
    who: Who,
    seat: Seat,
    /// Since when, in the order in which all came.
    order: u64,
    /// Whether it was told to make room, and is not gone yet.
    leaves: bool,
}

/// Who goes first where room is short: whoever has most, and among those the one whose oldest is the oldest of all.
type Rank = (usize, Reverse<u64>);

/// All of one SIM or stranger, the oldest first.
#[derive(Debug, Default)]
struct Line {
    entries: VecDeque<(u64, usize)>,
    /// By what it is found in the ranks.
    rank: Option<Rank>,
}

/// What is known of an entry that is gone.
#[derive(Debug)]
pub(super) struct Gone {
    pub(super) who: Who,
    pub(super) seat: Seat,
    pub(super) left: bool,
}

/// Every half CONNECT of the process.
#[derive(Debug, Default)]
pub(super) struct Half {
    entries: Slab<Entry>,
    lines: HashMap<Who, Line, RandomState>,
    sims: BTreeMap<Rank, Who>,
    strangers: BTreeMap<Rank, Who>,
    /// Strangers that were not told to make room.
    stranger_count: usize,
    leaving: usize,
    next: u64,
}

impl Half {
    /// One more.
    pub(super) fn add(&mut self, who: Who, seat: Seat) -> usize {
        let order = self.next;
        self.next = self.next.wrapping_add(1);
        if who.is_stranger() {
            self.stranger_count = self.stranger_count.saturating_add(1);
        }
        let entry = Entry {
            who: who.clone(),
            seat,
            order,
            leaves: false,
        };
        let key = self.entries.insert(entry);
        self.in_line(who, |line| line.push_back((order, key)));
        key
    }

    /// One less: its CONNECT is here and served, or its connection is gone.
    pub(super) fn remove(&mut self, key: usize) -> Option<Gone> {
        let entry = self.entries.try_remove(key)?;
        if entry.leaves {
            self.leaving = self.leaving.saturating_sub(1);
        } else {
            self.unlink(&entry.who, entry.order);
        }
        Some(Gone {
            who: entry.who,
            seat: entry.seat,
            left: entry.leaves,
        })
    }

    /// It was told to make room.
    pub(super) fn leave(&mut self, key: usize) {
        let Some(entry) = self.entries.get_mut(key).filter(|entry| !entry.leaves) else {
            return;
        };
        entry.leaves = true;
        let (who, order) = (entry.who.clone(), entry.order);
        self.leaving = self.leaving.saturating_add(1);
        self.unlink(&who, order);
    }

    /// Whether it was.
    pub(super) fn leaves(&self, key: usize) -> bool {
        self.entries.get(key).is_some_and(|entry| entry.leaves)
    }

    /// The stranger who makes room first.
    pub(super) fn first_stranger(&self) -> Option<(usize, Seat)> {
        self.first(&self.strangers)
    }

    /// The SIM's half CONNECT that makes room first.
    pub(super) fn first_sim(&self) -> Option<(usize, Seat)> {
        self.first(&self.sims)
    }

    fn first(&self, ranks: &BTreeMap<Rank, Who>) -> Option<(usize, Seat)> {
        let (_, who) = ranks.last_key_value()?;
        let (_, key) = *self.lines.get(who)?.entries.front()?;
        Some((key, self.entries.get(key)?.seat))
    }

    /// How many somebody has.
    pub(super) fn count(&self, who: &Who) -> usize {
        self.lines.get(who).map_or(0, |line| line.entries.len())
    }

    /// How many strangers there are.
    pub(super) const fn strangers(&self) -> usize {
        self.stranger_count
    }

    /// How many were told to make room, and are not gone yet.
    pub(super) const fn leaving(&self) -> usize {
        self.leaving
    }

    /// The strangers at these addresses of a network.
    pub(super) fn strangers_at(&self, network: &Arc<str>, addresses: IpNet) -> Vec<Seat> {
        let own = device(addresses.network());
        let keys: Vec<usize> = if addresses.prefix_len() >= own.prefix_len() {
            let line = self.lines.get(&Who::Stranger(Arc::clone(network), own));
            let entries = line.into_iter().flat_map(|line| &line.entries);
            entries.map(|(_, key)| *key).collect()
        } else {
            // More than a device's: a few SIMs have so many, and their sessions seldom begin.
            let is_there = |who: &Who| matches!(who, Who::Stranger(of, own) if of == network && addresses.contains(own));
            let entries = self.entries.iter();
            let there = entries.filter(|(_, entry)| !entry.leaves && is_there(&entry.who));
            there.map(|(key, _)| key).collect()
        };
        let seats = keys.into_iter().filter_map(|key| self.entries.get(key));
        seats.map(|entry| entry.seat).collect()
    }

    fn unlink(&mut self, who: &Who, order: u64) {
        if who.is_stranger() {
            self.stranger_count = self.stranger_count.saturating_sub(1);
        }
        self.in_line(who.clone(), |line| {
            if let Ok(place) = line.binary_search_by_key(&order, |(order, _)| *order) {
                line.remove(place);
            }
        });
    }

    /// Changes what somebody has, and the rank with it.
    fn in_line(&mut self, who: Who, change: impl FnOnce(&mut VecDeque<(u64, usize)>)) {
        let ranks = if who.is_stranger() {
            &mut self.strangers
        } else {
            &mut self.sims
        };
        let line = self.lines.entry(who.clone()).or_default();
        if let Some(rank) = line.rank.take() {
            ranks.remove(&rank);
        }
        change(&mut line.entries);
        match line.entries.front() {
            Some((oldest, _)) => {
                let rank = (line.entries.len(), Reverse(*oldest));
                line.rank = Some(rank);
                ranks.insert(rank, who);
            }
            None => drop(self.lines.remove(&who)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sim(number: u32) -> Who {
        Who::Sim(format!("44010{number:010}").parse().unwrap())
    }

    fn stranger(address: &str) -> Who {
        Who::stranger(&Arc::from("default"), address.parse().unwrap())
    }

    fn seat(number: u64) -> Seat {
        Seat {
            shard: 0,
            key: 0,
            number,
        }
    }

    /// Who goes, one after the other, by numbers.
    fn leave_all(half: &mut Half, next: fn(&Half) -> Option<(usize, Seat)>) -> Vec<u64> {
        let mut left = Vec::new();
        while let Some((key, seat)) = next(half) {
            half.leave(key);
            left.push(seat.number);
        }
        left
    }

    #[test]
    fn the_oldest_of_whoever_has_most_goes_first() {
        let mut half = Half::default();
        for (number, who) in [1, 2, 2, 3, 2, 3, 1].into_iter().map(sim).enumerate() {
            half.add(who, seat(number as u64));
        }
        // SIM 2 has three; then all have two, and the oldest of all goes; then one each.
        assert_eq!(leave_all(&mut half, Half::first_sim), [1, 0, 2, 3, 4, 5, 6]);
        assert_eq!((half.leaving(), half.lines.len()), (7, 0));
    }

    #[test]
    fn strangers_are_told_apart_by_what_a_device_has() {
        let mut half = Half::default();
        let addresses = [
            "10.0.0.1",
            "::ffff:10.0.0.1",
            "10.0.0.2",
            "2001:db8::1",
            "2001:db8::2",
        ];
        for (number, address) in addresses.into_iter().enumerate() {
            half.add(stranger(address), seat(number as u64));
        }
        half.add(sim(1), seat(9));
        assert_eq!(half.count(&stranger("10.0.0.1")), 2);
        assert_eq!(half.count(&stranger("2001:db8::ffff")), 2);
        assert_eq!(half.strangers(), 5);
        let at = |half: &Half, network: &str, text: &str| {
            let found = half.strangers_at(&Arc::from(network), text.parse().unwrap());
            found.iter().map(|seat| seat.number).collect::<Vec<_>>()
        };
        assert_eq!(at(&half, "default", "10.0.0.1/32"), [0, 1]);
        assert_eq!(at(&half, "default", "2001:db8::9/128"), [3, 4]);
        assert_eq!(at(&half, "default", "10.0.0.0/24"), [0, 1, 2]);
        assert_eq!(at(&half, "default", "2001:db8::/48"), [3, 4]);
        assert_eq!(at(&half, "other", "10.0.0.0/24"), [0; 0]);
        assert_eq!(leave_all(&mut half, Half::first_stranger), [0, 3, 1, 2, 4]);
        assert_eq!(half.strangers(), 0);
        assert_eq!(at(&half, "default", "10.0.0.0/24"), [0; 0]);
    }

    #[test]
    fn whoever_is_gone_is_forgotten() {
        let mut half = Half::default();
        let keys: Vec<usize> = (0..4)
            .map(|number| half.add(sim(1), seat(number)))
            .collect();
        half.leave(keys[1]);
        assert!(half.leaves(keys[1]) && !half.leaves(keys[0]));
        for key in keys {
            let gone = half.remove(key).unwrap();
            assert_eq!(gone.left, gone.seat.number == 1);
            assert_eq!(gone.who, sim(1));
        }
        assert!(half.remove(0).is_none());
        assert_eq!(
            (half.leaving(), half.lines.len(), half.sims.len()),
            (0, 0, 0)
        );
    }
}
