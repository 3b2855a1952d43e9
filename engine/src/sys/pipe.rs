//! Pipe: what bytes pass through on their way from one socket to another without coming into user space.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::limits::PIPE_BYTES;

/// A pipe and how much is in it.
#[derive(Debug)]
pub struct Pipe {
    out: OwnedFd,
    into: OwnedFd,
    bytes: usize,
}

impl Pipe {
    /// An empty one.
    ///
    /// # Errors
    /// When no descriptors or no memory are left for it.
    pub fn new() -> io::Result<Self> {
        let (out, into) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        // Beyond the allowance of an unprivileged user it stays as small as it is.
        let _ = fcntl_setpipe_size(&into, PIPE_BYTES);
        Ok(Self {
            out,
            into,
            bytes: 0,
        })
    }

    /// Bytes in it.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Moves what a socket has into it, `count` bytes at most; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when the socket has nothing or the pipe has no room; others when the connection broke.
    pub fn fill(&mut self, from: BorrowedFd<'_>, count: usize) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(from, None, &self.into, None, count, flags)?;
        self.bytes = self.bytes.saturating_add(moved);
        Ok(moved)
    }

    /// Moves what is in it to a socket.
    ///
    /// # Errors
    /// `WouldBlock` when the socket takes nothing; others when the connection broke.
    pub fn drain(&mut self, to: BorrowedFd<'_>) -> io::Result<usize> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        let moved = splice(&self.out, None, to, None, self.bytes, flags)?;
        self.bytes = self.bytes.saturating_sub(moved);
        Ok(moved)
    }
}
