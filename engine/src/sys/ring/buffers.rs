//! Buffers: fixed ones that the kernel takes as bytes come, all in one piece of memory that is there from the
//! start. Few are offered at a time and the last one used is offered next, so that they stay in the cache;
//! more are while more are needed.
//!
//! ```text
//! one buffer:  | front: room before what comes | what the kernel received | free |
//!              0                     FRONT_BYTES                       RECEIVE_BYTES
//! ```

use std::cell::Cell;
use std::io;
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

use crate::limits::{BUFFERS, BUFFERS_OFFERED, FRONT_BYTES, RECEIVE_BYTES};

/// The group of buffers that the ring knows them by.
pub(super) const GROUP: u16 = 0;

/// One buffer that the kernel has given up. Not to be copied: it is given back once.
#[derive(Debug, PartialEq, Eq)]
pub struct BufferId(pub(super) u16);

/// A piece of memory of its own.
#[derive(Debug)]
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: a new mapping is asked for, at no address in particular.
        let start = unsafe {
            mmap_anonymous(
                std::ptr::null_mut(),
                bytes,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::PRIVATE,
            )
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is this one's own, and nothing borrows from it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// The buffers of one ring. They outlive it: whoever owns both drops the ring first.
#[derive(Debug)]
pub struct Buffers {
    memory: Mapping,
    /// What the kernel is offered, in the order in which it takes.
    offers: Mapping,
    /// How many were offered so far, and how many of those it has used.
    tail: Cell<u16>,
    used: u16,
    /// Buffers that are not on offer; the last one is next.
    free: Vec<u16>,
    /// How many are kept on offer.
    offered_goal: u16,
}

impl Buffers {
    /// New ones, none of them on offer.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn new() -> io::Result<Self> {
        let count = usize::from(BUFFERS);
        Ok(Self {
            memory: Mapping::new(count * RECEIVE_BYTES)?,
            offers: Mapping::new(count * size_of::<BufRingEntry>())?,
            tail: Cell::new(0),
            used: 0,
            free: (0..BUFFERS).rev().collect(),
            offered_goal: BUFFERS_OFFERED,
        })
    }

    pub(super) fn register(&self, ring: &IoUring) -> io::Result<()> {
        let offers = u64::try_from(self.offers.start.as_ptr().addr()).unwrap_or_default();
        let submitter = ring.submitter();
        // SAFETY: the mapping has room for so many offers and outlives the ring.
        unsafe { submitter.register_buf_ring_with_flags(offers, BUFFERS, GROUP, 0) }
    }

    /// Any part of a buffer.
    #[must_use]
    pub fn bytes(&self, buffer: &BufferId, range: Range<usize>) -> &[u8] {
        self.whole(buffer).get(range).unwrap_or_default()
    }

    /// The same, to be changed.
    pub fn bytes_mut(&mut self, buffer: &BufferId, range: Range<usize>) -> &mut [u8] {
        let start = self.start(buffer.0);
        // SAFETY: a buffer that somebody has the number of is not the kernel's, lies in the mapping whole, and
        // `self` is borrowed for as long as the slice is.
        let whole = unsafe { std::slice::from_raw_parts_mut(start, RECEIVE_BYTES) };
        whole.get_mut(range).unwrap_or_default()
    }

    /// Puts bytes right before what came, where there is room for them, and says where all of it is.
    pub fn prepend(
        &mut self,
        buffer: &BufferId,
        length: usize,
        front: &[u8],
    ) -> Option<Range<usize>> {
        let start = FRONT_BYTES.checked_sub(front.len())?;
        self.bytes_mut(buffer, start..FRONT_BYTES)
            .copy_from_slice(front);
        Some(start..FRONT_BYTES.saturating_add(length))
    }

    /// The kernel has given up a buffer.
    pub fn taken(&mut self) {
        self.used = self.used.wrapping_add(1);
    }

    /// The kernel found none: more are offered from now on, as long as there are more.
    pub fn ran_out(&mut self) {
        self.offered_goal = self.offered_goal.saturating_mul(2).min(BUFFERS);
    }

    /// A buffer is needed no longer.
    pub fn give_back(&mut self, buffer: BufferId) {
        self.free.push(buffer.0);
    }

    /// Buffers that somebody has.
    #[must_use]
    pub fn in_use(&self) -> usize {
        usize::from(BUFFERS).saturating_sub(self.free.len() + usize::from(self.on_offer()))
    }

    /// Offers the kernel as many as it should have.
    pub fn offer(&mut self) {
        let before = self.tail.get();
        let mut tail = before;
        let mut on_offer = self.on_offer();
        while on_offer < self.offered_goal {
            let Some(number) = self.free.pop() else {
                break;
            };
            let address = u64::try_from(self.start(number).addr()).unwrap_or_default();
            let slot = usize::from(tail & (BUFFERS - 1));
            // SAFETY: the slot is one of the mapping's.
            let entry = unsafe { self.offers.start.cast::<BufRingEntry>().add(slot) };
            let entry = entry.as_ptr();
            // SAFETY: the kernel does not look at slots beyond the tail, and other threads never.
            let entry = unsafe { &mut *entry };
            entry.set_addr(address.saturating_add(FRONT_BYTES as u64));
            entry.set_len(ROOM);
            entry.set_bid(number);
            tail = tail.wrapping_add(1);
            on_offer += 1;
        }
        if tail != before {
            self.tail.set(tail);
            self.publish(tail);
        }
    }

    fn on_offer(&self) -> u16 {
        self.tail.get().wrapping_sub(self.used)
    }

    fn publish(&self, tail: u16) {
        let first = self.offers.start.cast::<BufRingEntry>().as_ptr();
        // SAFETY: the first entry is the mapping's own, and zeros are a valid one.
        let shared = unsafe { BufRingEntry::tail(first) };
        let shared = shared.cast_mut();
        // SAFETY: it lies in the mapping, aligned for 16 bits, and is only ever accessed as an atomic.
        let shared = unsafe { AtomicU16::from_ptr(shared) };
        shared.store(tail, Ordering::Release);
    }

    fn whole(&self, buffer: &BufferId) -> &[u8] {
        let start = self.start(buffer.0);
        // SAFETY: a buffer that somebody has the number of is not the kernel's, and lies in the mapping whole.
        unsafe { std::slice::from_raw_parts(start, RECEIVE_BYTES) }
    }

    fn start(&self, number: u16) -> *mut u8 {
        let offset = usize::from(number.min(BUFFERS - 1)) * RECEIVE_BYTES;
        // SAFETY: the offset is one of the mapping's buffers.
        unsafe { self.memory.start.add(offset) }.as_ptr()
    }
}

/// Takes buffers on offer as the kernel does, where there is none.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct KernelSide {
    offers: NonNull<BufRingEntry>,
    /// How many offers it has taken.
    head: u16,
}

#[cfg(test)]
impl Buffers {
    /// The other side of the offers. The buffers outlive it.
    pub(crate) fn kernel_side(&self) -> KernelSide {
        KernelSide {
            offers: self.offers.start.cast(),
            head: 0,
        }
    }
}

#[cfg(test)]
impl KernelSide {
    /// Has the next buffer on offer filled, which says with how many bytes; `None` where there is none.
    pub(crate) fn fill(
        &mut self,
        fill: impl FnOnce(&mut [u8]) -> usize,
    ) -> Option<(BufferId, usize)> {
        // SAFETY: the first entry is the mapping's own, and zeros are a valid one.
        let shared = unsafe { BufRingEntry::tail(self.offers.as_ptr()) };
        let shared = shared.cast_mut();
        // SAFETY: it lies in the mapping, aligned for 16 bits, and is only ever accessed as an atomic.
        let tail = unsafe { AtomicU16::from_ptr(shared) }.load(Ordering::Acquire);
        if self.head == tail {
            return None;
        }
        let slot = usize::from(self.head & (BUFFERS - 1));
        // SAFETY: the slot is one of the mapping's.
        let entry = unsafe { self.offers.add(slot) };
        // SAFETY: it was offered, so that nobody else looks at it until it is given back.
        let entry = unsafe { entry.as_ref() };
        self.head = self.head.wrapping_add(1);
        let room = usize::try_from(entry.len()).unwrap();
        let start = std::ptr::with_exposed_provenance_mut(usize::try_from(entry.addr()).unwrap());
        // SAFETY: an offer names memory of the mapping that is the kernel's until it says otherwise.
        let room = unsafe { std::slice::from_raw_parts_mut(start, room) };
        Some((BufferId(entry.bid()), fill(room)))
    }
}

/// What a buffer has room for, in bytes.
#[expect(clippy::cast_possible_truncation, reason = "asserted below")]
const ROOM: u32 = (RECEIVE_BYTES - FRONT_BYTES) as u32;

const _: () = assert!(BUFFERS.is_power_of_two() && BUFFERS <= 1 << 14);
const _: () = assert!(BUFFERS_OFFERED <= BUFFERS);
const _: () = assert!(FRONT_BYTES < RECEIVE_BYTES && RECEIVE_BYTES < u32::MAX as usize);
