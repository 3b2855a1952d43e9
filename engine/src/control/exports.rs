//! Exports: files that somebody has asked for and may still fetch. In memory, a few, for a while.

use std::collections::VecDeque;

use axum::body::Bytes;

use super::limits::{EXPORTS, EXPORTS_KEPT_MS};

/// A file; whoever fetches it shares its bytes.
#[derive(Debug)]
struct File {
    id: String,
    content: Bytes,
    made_ms: u64,
}

/// The last ones.
#[derive(Debug, Default)]
pub(super) struct Exports {
    files: VecDeque<File>,
}

impl Exports {
    /// Keeps a file; the oldest makes room.
    pub(super) fn put(&mut self, id: String, content: String, now_ms: u64) {
        self.forget(now_ms);
        if self.files.len() >= EXPORTS {
            self.files.pop_front();
        }
        self.files.push_back(File {
            id,
            content: content.into(),
            made_ms: now_ms,
        });
    }

    /// A file's content.
    pub(super) fn find(&mut self, id: &str, now_ms: u64) -> Option<Bytes> {
        self.forget(now_ms);
        let found = self.files.iter().find(|file| file.id == id);
        found.map(|file| file.content.clone())
    }

    /// Forgets what has been there for long enough.
    pub(super) fn forget(&mut self, now_ms: u64) {
        self.files
            .retain(|file| now_ms.saturating_sub(file.made_ms) < EXPORTS_KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_file_makes_room() {
        let mut exports = Exports::default();
        for number in 0..=EXPORTS {
            exports.put(number.to_string(), String::new(), 0);
        }
        assert!(exports.find("0", 0).is_none());
        assert!(exports.find("1", 0).is_some());
    }

    #[test]
    fn a_file_is_there_for_its_time_and_never_copied() {
        let mut exports = Exports::default();
        exports.put("a".to_owned(), "text".to_owned(), 5);
        let find = |exports: &mut Exports, now_ms| exports.find("a", now_ms);
        let first = find(&mut exports, 5).unwrap();
        let last = find(&mut exports, EXPORTS_KEPT_MS + 4).unwrap();
        assert_eq!(first.as_ptr(), last.as_ptr());
        assert!(find(&mut exports, EXPORTS_KEPT_MS + 5).is_none());
        assert!(exports.files.is_empty());
    }
}
