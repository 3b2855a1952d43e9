//! Told: of whose faults the log has told, so that it tells of each once.

use hashbrown::HashSet;

use crate::limits::RADIUS_TOLD;

/// A fault that goes on for as long as nobody mends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Fault {
    WrongClock,
    Foreign,
    Replayed,
}

/// Who was told of. Names come from whoever knows a secret, so that the hasher's seeds are random.
#[derive(Debug, Default)]
pub(super) struct Told(HashSet<(Fault, Box<str>), ahash::RandomState>);

impl Told {
    /// Whether it has to be told now.
    pub(super) fn is_news(&mut self, fault: Fault, who: &str) -> bool {
        self.0.len() < RADIUS_TOLD && self.0.insert((fault, Box::from(who)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_fault_is_told_once_and_not_of_everybody() {
        let mut told = Told::default();
        assert!(told.is_news(Fault::WrongClock, "a"));
        assert!(!told.is_news(Fault::WrongClock, "a"));
        assert!(told.is_news(Fault::Foreign, "a"));
        let others = (0..2 * RADIUS_TOLD).map(|number| number.to_string());
        let news = others.filter(|name| told.is_news(Fault::WrongClock, name));
        assert_eq!(news.count(), RADIUS_TOLD - 2);
    }
}
