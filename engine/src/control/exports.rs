//! Exports: files that somebody has asked for and may still fetch. In memory, a few, for a while.

use std::collections::VecDeque;
use std::sync::Arc;

use super::limits::EXPORTS;

/// The last ones.
#[derive(Debug, Default)]
pub(super) struct Exports {
    files: VecDeque<(String, Arc<str>)>,
}

impl Exports {
    /// Keeps a file; the oldest makes room.
    pub(super) fn put(&mut self, id: String, content: String) {
        if self.files.len() >= EXPORTS {
            self.files.pop_front();
        }
        self.files.push_back((id, content.into()));
    }

    /// A file's content.
    pub(super) fn find(&self, id: &str) -> Option<Arc<str>> {
        let mut files = self.files.iter();
        let found = files.find(|(known, _)| known == id);
        found.map(|(_, content)| Arc::clone(content))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_makes_room() {
        let mut exports = Exports::default();
        for number in 0..=EXPORTS {
            exports.put(number.to_string(), String::new());
        }
        assert!(exports.find("0").is_none());
        assert!(exports.find("1").is_some());
    }
}
