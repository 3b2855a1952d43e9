//! Sequence: which messages of one device have arrived, as the ranges of numbers that they fill.

/// Where a number stands among those that came before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Beyond all of them.
    Next,
    /// Among them, for the first time: later ones have overtaken it.
    Late,
    /// It has come before.
    Repeated,
}

/// Ranges of numbers, first and last, in order and apart from each other. Without loss there is one.
#[derive(Clone, Debug, Default)]
pub(super) struct Sequence {
    ranges: Vec<(u32, u32)>,
}

impl Sequence {
    /// Takes a number in.
    pub(super) fn insert(&mut self, number: u32) -> Place {
        match self.ranges.last_mut() {
            Some((_, last)) if number.checked_sub(1) == Some(*last) => {
                *last = number;
                return Place::Next;
            }
            Some((_, last)) if number > *last => {}
            None => {}
            Some(_) => return self.insert_late(number),
        }
        self.ranges.push((number, number));
        Place::Next
    }

    fn insert_late(&mut self, number: u32) -> Place {
        // The first range that ends at the number or beyond it; there is one.
        let index = self.ranges.partition_point(|(_, last)| *last < number);
        let Some((first, _)) = self.ranges.get(index).copied() else {
            return Place::Next;
        };
        if first <= number {
            return Place::Repeated;
        }
        let joins_next = first == number + 1;
        let joins_previous = index > 0 && self.ranges[index - 1].1 + 1 == number;
        match (joins_previous, joins_next) {
            (true, true) => {
                let (_, last) = self.ranges.remove(index);
                self.ranges[index - 1].1 = last;
            }
            (true, false) => self.ranges[index - 1].1 = number,
            (false, true) => self.ranges[index].0 = number,
            (false, false) => self.ranges.insert(index, (number, number)),
        }
        Place::Late
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng as _, SeedableRng as _};

    #[test]
    fn it_says_what_a_plain_set_says() {
        let mut random = SmallRng::seed_from_u64(1);
        for _ in 0..200 {
            let mut sequence = Sequence::default();
            let mut plain = std::collections::BTreeSet::new();
            for _ in 0..200 {
                let number = random.random_range(0..150);
                let expected = if plain.contains(&number) {
                    Place::Repeated
                } else if plain.last().is_some_and(|last| *last > number) {
                    Place::Late
                } else {
                    Place::Next
                };
                plain.insert(number);
                assert_eq!(sequence.insert(number), expected, "{number} {sequence:?}");
                assert!(
                    sequence
                        .ranges
                        .windows(2)
                        .all(|pair| pair[0].1 + 1 < pair[1].0)
                );
            }
        }
        let mut whole = Sequence::default();
        assert_eq!(whole.insert(u32::MAX), Place::Next);
        assert_eq!(whole.insert(u32::MAX), Place::Repeated);
        assert_eq!(whole.insert(0), Place::Late);
    }
}
