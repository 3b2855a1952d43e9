//! Buffers: what a front reads CONNECTs into: fixed ones, pooled, and counted room for the few that need more.
//! A connection holds one only while bytes of it are there.
//!
//! ```text
//! | dealt with | input: not dealt with | free |
//! 0          start                   end    bytes.len()
//! ```

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::limits::{BUFFER_BYTES, BUFFERS_KEPT, LARGE_HEAD_BYTES};

/// A shard's buffers.
#[derive(Debug, Default)]
pub struct Pool {
    idle: RefCell<Vec<Vec<u8>>>,
    in_use: Cell<usize>,
    large_bytes: Cell<usize>,
}

/// Bytes of one connection. Goes back to its pool when dropped.
#[derive(Debug)]
pub struct Batch {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    pool: Rc<Pool>,
}

/// There is no room for another large packet head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom;

impl Pool {
    /// A buffer that begins with `stash`, which is less than a buffer, and has room for more.
    pub fn take(self: &Rc<Self>, stash: &[u8]) -> Batch {
        self.in_use.set(self.in_use.get().saturating_add(1));
        let idle = self.idle.borrow_mut().pop();
        let bytes = idle.unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        let pool = Rc::clone(self);
        let mut batch = Batch {
            bytes,
            start: 0,
            end: 0,
            pool,
        };
        batch.append(stash);
        batch
    }

    /// A buffer that holds `bytes`, however many.
    ///
    /// # Errors
    /// When they are more than a buffer, and the room for large heads is used up.
    pub fn take_holding(self: &Rc<Self>, bytes: &[u8]) -> Result<Batch, NoRoom> {
        let more = bytes.len().saturating_sub(BUFFER_BYTES);
        if self.large_bytes().saturating_add(more) > LARGE_HEAD_BYTES {
            return Err(NoRoom);
        }
        let mut batch = self.take(&[]);
        batch.resize(bytes.len());
        batch.append(bytes);
        Ok(batch)
    }

    /// Buffers in use.
    #[must_use]
    pub fn in_use(&self) -> usize {
        self.in_use.get()
    }

    /// Bytes in use beyond the fixed size.
    #[must_use]
    pub fn large_bytes(&self) -> usize {
        self.large_bytes.get()
    }
}

impl Batch {
    /// The bytes not dealt with.
    #[must_use]
    pub fn input(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Room for more.
    pub fn free(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// `count` bytes were read into the free room.
    pub fn filled(&mut self, count: usize) {
        self.end = self.end.saturating_add(count).min(self.bytes.len());
    }

    /// The first `count` bytes are dealt with elsewhere.
    pub fn skip(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Copies in what has room.
    fn append(&mut self, bytes: &[u8]) {
        if let Some(room) = self.free().get_mut(..bytes.len()) {
            room.copy_from_slice(bytes);
            self.filled(bytes.len());
        }
    }

    /// Makes room for a packet head of `need` bytes, of which some are here: as much again as there is,
    /// so that a peer costs no more than it sends.
    ///
    /// # Errors
    /// When the shard's room for large heads is used up.
    pub fn make_room(&mut self, need: usize) -> Result<(), NoRoom> {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
        if self.end < self.bytes.len() {
            return Ok(());
        }
        let grown = self
            .bytes
            .len()
            .saturating_mul(2)
            .min(need.max(BUFFER_BYTES));
        let more = grown.saturating_sub(self.bytes.len());
        if more == 0 || self.pool.large_bytes().saturating_add(more) > LARGE_HEAD_BYTES {
            return Err(NoRoom);
        }
        self.resize(grown);
        Ok(())
    }

    fn resize(&mut self, bytes: usize) {
        let before = self.bytes.len().saturating_sub(BUFFER_BYTES);
        self.bytes.resize(bytes.max(BUFFER_BYTES), 0);
        let after = self.bytes.len().saturating_sub(BUFFER_BYTES);
        let large = self
            .pool
            .large_bytes
            .get()
            .saturating_sub(before)
            .saturating_add(after);
        self.pool.large_bytes.set(large);
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        if self.bytes.len() > BUFFER_BYTES {
            self.resize(0);
            self.bytes.shrink_to_fit();
        }
        self.pool
            .in_use
            .set(self.pool.in_use.get().saturating_sub(1));
        let mut idle = self.pool.idle.borrow_mut();
        if idle.len() < BUFFERS_KEPT {
            idle.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_home_in_their_fixed_size() {
        let pool = Rc::new(Pool::default());
        let mut batch = pool.take(b"abc");
        assert_eq!((batch.input(), pool.in_use()), (&b"abc"[..], 1));
        let room = batch.free().len();
        batch.filled(room);
        assert!(batch.free().is_empty());
        batch.make_room(3 * BUFFER_BYTES).unwrap();
        assert_eq!(batch.free().len(), BUFFER_BYTES);
        assert_eq!(pool.large_bytes(), BUFFER_BYTES);
        batch.filled(BUFFER_BYTES);
        batch.make_room(3 * BUFFER_BYTES).unwrap();
        assert_eq!(batch.free().len(), BUFFER_BYTES);
        assert_eq!(&batch.input()[..3], b"abc");
        drop(batch);
        assert_eq!((pool.in_use(), pool.large_bytes()), (0, 0));
        assert_eq!(pool.take(&[]).free().len(), BUFFER_BYTES);
    }

    #[test]
    fn b_err_5_large_heads_come_from_a_bounded_pool() {
        let pool = Rc::new(Pool::default());
        let need = 256 * 1024;
        let mut batches = Vec::new();
        let refused = loop {
            let mut batch = pool.take(&[]);
            let grown = loop {
                let room = batch.free().len();
                batch.filled(room);
                if batch.input().len() >= need {
                    break Ok(());
                }
                if let Err(no_room) = batch.make_room(need) {
                    break Err(no_room);
                }
            };
            batches.push(batch);
            if grown.is_err() {
                break batches.len();
            }
        };
        assert!(pool.large_bytes() <= LARGE_HEAD_BYTES);
        assert!(refused > LARGE_HEAD_BYTES / need, "{refused}");
        batches.clear();
        assert_eq!(pool.large_bytes(), 0);
    }
}
