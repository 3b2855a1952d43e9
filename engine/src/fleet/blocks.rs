//! Blocks: addresses and prefixes of every width, each with what belongs to it. The narrowest that an address lies
//! in is its own. One writer, many readers, no lock.

use std::sync::atomic::{AtomicU64, Ordering};

use papaya::HashMap;

use super::address::Block;
use super::hasher::{Fixed, table};

/// A network's place in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NetworkIndex(pub(super) u32);

/// What a block is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    network: NetworkIndex,
    free_bits: u8,
    // Bytes, for a u128 would widen every entry to its alignment.
    first: [u8; 16],
}

impl Key {
    fn new(network: NetworkIndex, block: Block) -> Self {
        Self {
            network,
            free_bits: block.free_bits(),
            first: block.first.to_be_bytes(),
        }
    }

    fn block(&self) -> Block {
        Block::new(u128::from_be_bytes(self.first), self.free_bits)
    }
}

/// The widths that blocks have had, as bits: one is never taken back.
#[derive(Debug, Default)]
struct Widths([AtomicU64; 3]);

impl Widths {
    fn add(&self, free_bits: u8) {
        let (word, bit) = (usize::from(free_bits / 64), free_bits % 64);
        if let Some(word) = self.0.get(word) {
            word.fetch_or(1 << bit, Ordering::Release);
        }
    }

    /// From the narrowest on.
    fn iter(&self) -> impl Iterator<Item = u8> {
        (0_u8..).step_by(64).zip(&self.0).flat_map(|(base, word)| {
            let mut bits = word.load(Ordering::Acquire);
            std::iter::from_fn(move || {
                let bit = u8::try_from(bits.trailing_zeros())
                    .ok()
                    .filter(|_| bits != 0)?;
                bits &= bits.wrapping_sub(1);
                Some(base.saturating_add(bit))
            })
        })
    }
}

/// What belongs to blocks.
#[derive(Debug)]
pub(super) struct Blocks<T> {
    map: HashMap<Key, T, Fixed>,
    widths: Widths,
}

impl<T> Default for Blocks<T> {
    fn default() -> Self {
        Self {
            map: table(),
            widths: Widths::default(),
        }
    }
}

impl<T: Copy> Blocks<T> {
    /// What belongs to the narrowest block that an address lies in.
    pub(super) fn find(&self, network: NetworkIndex, address: u128) -> Option<T> {
        let map = self.map.pin();
        self.widths.iter().find_map(|free_bits| {
            let key = Key::new(network, Block::around(address, free_bits));
            map.get(&key).copied()
        })
    }

    /// What belongs to exactly this block.
    pub(super) fn get(&self, network: NetworkIndex, block: Block) -> Option<T> {
        self.map.pin().get(&Key::new(network, block)).copied()
    }

    /// Makes room for so many more.
    pub(super) fn reserve(&self, more: usize) {
        if more > 0 {
            self.map.pin().reserve(more);
        }
    }

    /// Puts something there, and says what it replaces.
    pub(super) fn insert(&self, network: NetworkIndex, block: Block, value: T) -> Option<T> {
        // The width first: who finds the entry by another way must find it by this one.
        self.widths.add(block.free_bits());
        self.map
            .pin()
            .insert(Key::new(network, block), value)
            .copied()
    }

    /// Removes what is there, and says what it was.
    pub(super) fn remove(&self, network: NetworkIndex, block: Block) -> Option<T> {
        self.map.pin().remove(&Key::new(network, block)).copied()
    }

    /// Removes everything.
    pub(super) fn clear(&self) {
        self.map.pin().clear();
    }

    /// Everything that belongs to a block around, equal to, or within this one.
    pub(super) fn overlapping(&self, network: NetworkIndex, block: Block) -> Vec<T> {
        let map = self.map.pin();
        let free_bits = block.free_bits();
        let around = self.widths.iter().filter(|width| *width >= free_bits);
        let around = around.filter_map(|width| {
            let key = Key::new(network, Block::around(block.first, width));
            map.get(&key).copied()
        });
        let mut found: Vec<T> = around.collect();
        if self.widths.iter().any(|width| width < free_bits) {
            let within = map.iter().filter(|(key, _)| {
                key.network == network
                    && key.free_bits < free_bits
                    && block.contains(u128::from_be_bytes(key.first))
            });
            found.extend(within.map(|(_, value)| *value));
        }
        found
    }

    /// The blocks of a network whose value is wanted. A walk over all.
    pub(super) fn of(&self, network: NetworkIndex, is_wanted: impl Fn(&T) -> bool) -> Vec<Block> {
        let map = self.map.pin();
        let wanted = map
            .iter()
            .filter(|(key, value)| key.network == network && is_wanted(value));
        wanted.map(|(key, _)| key.block()).collect()
    }

    /// All of them.
    pub(super) fn entries(&self) -> Vec<(NetworkIndex, Block, T)> {
        let map = self.map.pin();
        let mut entries = Vec::with_capacity(map.len());
        entries.extend(
            map.iter()
                .map(|(key, value)| (key.network, key.block(), *value)),
        );
        entries
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: NetworkIndex = NetworkIndex(0);
    const B: NetworkIndex = NetworkIndex(1);

    fn block(text: &str) -> Block {
        text.parse().unwrap()
    }

    #[test]
    fn b_id_3_the_narrowest_block_of_the_network_is_found() {
        let blocks = Blocks::default();
        for (network, text, value) in [
            (A, "10.0.0.0/8", 1),
            (A, "10.1.0.0/16", 2),
            (A, "10.1.0.1", 3),
            (B, "10.1.0.0/16", 4),
            (A, "2001:db8::/64", 5),
            (A, "::/0", 6),
        ] {
            assert_eq!(blocks.insert(network, block(text), value), None);
        }
        let find = |network, text| blocks.find(network, block(text).first);
        assert_eq!(find(A, "10.1.0.1"), Some(3));
        assert_eq!(find(A, "10.1.0.2"), Some(2));
        assert_eq!(find(A, "10.2.0.2"), Some(1));
        assert_eq!(find(B, "10.1.0.1"), Some(4));
        assert_eq!(find(B, "10.2.0.1"), None);
        assert_eq!(find(A, "2001:db8::7"), Some(5));
        assert_eq!(find(A, "2001:db9::7"), Some(6));
        assert_eq!(blocks.remove(A, block("10.1.0.1")), Some(3));
        assert_eq!(find(A, "10.1.0.1"), Some(2));
    }

    #[test]
    fn what_overlaps_is_around_or_within() {
        let blocks = Blocks::default();
        for (text, value) in [("10.0.0.0/8", 1), ("10.1.0.1", 2), ("11.0.0.1", 3)] {
            blocks.insert(A, block(text), value);
        }
        let overlapping = |text| {
            let mut found = blocks.overlapping(A, block(text));
            found.sort_unstable();
            found
        };
        assert_eq!(overlapping("10.1.0.0/16"), [1, 2]);
        assert_eq!(overlapping("10.1.0.1"), [1, 2]);
        assert_eq!(overlapping("10.0.0.0/7"), [1, 2, 3]);
        assert_eq!(overlapping("12.0.0.0/8"), [0; 0]);
        assert_eq!(blocks.entries().len(), 3);
    }
}
