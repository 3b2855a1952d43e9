//! Ring: one io_uring of the calling thread, for connections that are read and written all the time.
//! Receives stay armed and fill fixed buffers; sends are over when [`Ring::exchange`] returns; one system
//! call does both and waits. It never copies what is sent or received.
//!
//! ```text
//! exchange: sends, receives to arm, cancels --> one io_uring_enter --> failed sends, events
//! ```

mod buffers;
mod probe;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use rustix::event::{EventfdFlags, eventfd};

#[cfg(test)]
pub(crate) use self::buffers::KernelSide;
pub use self::buffers::{BufferId, Buffers};
pub use self::probe::{Features, features};
use crate::limits::{RELAY_COMPLETIONS, RELAY_SUBMISSIONS};

/// What a connection's operations are known by; the highest byte is the ring's own.
pub type Token = u64;

const TOKEN_BITS: u32 = 56;

/// What an operation is, in the highest byte of its user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    Receive = 1,
    /// A send out of an exchange; its number is the rest.
    Send,
    /// A send of bytes of its own, which waits for room.
    SendWaiting,
    Poll,
    Cancel,
    Timer,
    TimerChange,
    Wake,
}

impl Kind {
    const fn data(self, token: Token) -> u64 {
        ((self as u64) << TOKEN_BITS) | token
    }
}

/// The sends of one exchange.
pub trait Sends {
    /// Names each of them once. What it borrows outlives the exchange.
    fn each<'a, F>(&'a self, visit: F)
    where
        F: FnMut(BorrowedFd<'a>, u32, &mut dyn Iterator<Item = &'a [u8]>);
}

/// Whether an exchange waits until something has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wait {
    /// No, and it tells only what was known before.
    No,
    /// No, but it looks for what has come.
    Look,
    /// Until anything has.
    Any,
    /// So many microseconds at most until so many things have, then until anything has.
    Company {
        /// How many.
        count: usize,
        /// In microseconds.
        us: u32,
    },
}

/// How much a receive takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intake {
    /// Whatever comes, until it is cancelled or ends.
    Armed,
    /// One buffer of it.
    Once,
    /// What is there, so many buffers of it at most: an event for each, at once.
    Now(u8),
}

/// What has happened.
#[derive(Debug)]
pub enum Event {
    /// Bytes have come.
    Received {
        /// Whose.
        token: Token,
        /// Where they are.
        buffer: BufferId,
        /// How many.
        length: usize,
        /// Whether the receive goes on by itself.
        goes_on: bool,
    },
    /// A receive is over: the peer has closed, or an error.
    ReceiveEnded {
        /// Whose.
        token: Token,
        /// Why.
        end: End,
    },
    /// A waiting send is over, or a part of it is done.
    Sent {
        /// Whose.
        token: Token,
        /// What was to be sent, all of it.
        bytes: Vec<u8>,
        /// How many of them are with the kernel.
        result: Result<usize, i32>,
    },
    /// A connection is ready for what was asked for, or asking was cancelled.
    Ready {
        /// Whose.
        token: Token,
        /// Whether it was the sending side that was asked for.
        is_writable: bool,
    },
    /// The time that was set has come.
    Timer,
    /// Another thread called.
    Woken,
}

/// How a receive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer has closed.
    Closed,
    /// No buffer was left.
    NoBuffer,
    /// Nothing was there, of a receive that does not wait.
    Nothing,
    /// It was cancelled.
    Cancelled,
    /// The connection broke.
    Broken(i32),
}

/// A send of an exchange that did not go through whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed {
    /// Its number.
    pub number: u32,
    /// Bytes that the kernel took, 0 when there was no room; or the error of a broken connection.
    pub result: Result<usize, i32>,
}

/// What an exchange came to. Reused from one to the next.
#[derive(Debug, Default)]
pub struct Completions {
    /// Sends that did not go through whole.
    pub failed: Vec<Failed>,
    /// Everything else, in order.
    pub events: Vec<Event>,
}

/// Wakes the thread of a ring.
#[derive(Clone, Debug)]
pub struct RingWaker {
    call: Arc<OwnedFd>,
}

impl RingWaker {
    /// Wakes it. Calls before it looks count once.
    pub fn wake(&self) {
        // The counter cannot overflow: nobody calls 2^64 times.
        let _ = rustix::io::write(&*self.call, &1_u64.to_ne_bytes());
    }
}

/// A ring, used by the thread that made it.
pub struct Ring {
    ring: IoUring,
    /// What is to be submitted beside sends.
    control: Vec<squeue::Entry>,
    /// Sends on their way into the queue.
    sends: Vec<(i32, u32, usize, usize)>,
    slices: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
    /// The bytes of waiting sends: the kernel's until they are over.
    waiting: HashMap<Token, Vec<u8>, RandomState>,
    call: Arc<OwnedFd>,
    /// When the timer that is set goes off, in milliseconds.
    timer_ms: Option<u64>,
    /// Read when the timer is submitted.
    time: Box<Timespec>,
    features: Features,
}

impl Ring {
    /// A ring for the calling thread that fills these buffers.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn new(buffers: &Buffers, features: Features) -> io::Result<Self> {
        let ring = builder().build(RELAY_SUBMISSIONS)?;
        buffers.register(&ring)?;
        let call = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let mut ring = Self {
            ring,
            control: Vec::new(),
            sends: Vec::new(),
            slices: Vec::new(),
            headers: Vec::new(),
            waiting: HashMap::default(),
            call,
            timer_ms: None,
            time: Box::default(),
            features,
        };
        ring.listen();
        Ok(ring)
    }

    /// What other threads wake this one by.
    #[must_use]
    pub fn waker(&self) -> RingWaker {
        RingWaker {
            call: Arc::clone(&self.call),
        }
    }

    /// Has bytes of a connection received from the next exchange on.
    pub fn receive(&mut self, socket: BorrowedFd<'_>, token: Token, intake: Intake) {
        let descriptor = Fd(socket.as_raw_fd());
        let one = |flags| {
            opcode::Recv::new(descriptor, std::ptr::null_mut(), 0)
                .flags(flags)
                .buf_group(buffers::GROUP)
                .build()
                .flags(squeue::Flags::BUFFER_SELECT)
        };
        // Not IORING_RECVSEND_POLL_FIRST: an end that came before would not be noticed (Linux 6.18).
        let (entry, count) = match intake {
            Intake::Armed => (
                opcode::RecvMulti::new(descriptor, buffers::GROUP).build(),
                1,
            ),
            Intake::Once => (one(0), 1),
            // None of them waits, so that they take what is there in their order.
            Intake::Now(count) => (one(libc::MSG_DONTWAIT), count),
        };
        let entry = entry.user_data(Kind::Receive.data(token));
        for _ in 0..count {
            self.control.push(entry.clone());
        }
    }

    /// Ends a receive; an event tells when it has.
    pub fn cancel_receive(&mut self, token: Token) {
        self.cancel(Kind::Receive.data(token));
    }

    /// Sends these bytes as soon as there is room, as many as fit; an event tells how many, and gives them back. A
    /// connection has one such send at a time.
    pub fn send_waiting(
        &mut self,
        socket: BorrowedFd<'_>,
        token: Token,
        bytes: Vec<u8>,
        from: usize,
    ) {
        let rest = bytes.get(from..).unwrap_or_default();
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(Fd(socket.as_raw_fd()), rest.as_ptr(), length)
            .flags(libc::MSG_NOSIGNAL)
            .build();
        self.control
            .push(entry.user_data(Kind::SendWaiting.data(token)));
        // Moving the vector does not move its bytes; they stay until the kernel is done with them.
        let before = self.waiting.insert(token, bytes);
        debug_assert!(before.is_none(), "one at a time");
    }

    /// Ends a waiting send; an event tells when it has.
    pub fn cancel_send(&mut self, token: Token) {
        self.cancel(Kind::SendWaiting.data(token));
    }

    /// Tells once when a connection can be read from, or sent to.
    pub fn poll(&mut self, socket: BorrowedFd<'_>, token: Token, is_writable: bool) {
        let (events, token) = if is_writable {
            (libc::POLLOUT, token | POLL_WRITABLE)
        } else {
            (libc::POLLIN | libc::POLLRDHUP, token)
        };
        let mask = u32::from(events.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(socket.as_raw_fd()), mask).build();
        self.control.push(entry.user_data(Kind::Poll.data(token)));
    }

    /// Ends a poll; an event tells when it has.
    pub fn cancel_poll(&mut self, token: Token, is_writable: bool) {
        let token = if is_writable {
            token | POLL_WRITABLE
        } else {
            token
        };
        self.cancel(Kind::Poll.data(token));
    }

    /// Sets the one timer, in milliseconds of the monotonic clock. One that is set for an earlier time stays
    /// as it is.
    pub fn set_timer(&mut self, at_ms: u64) {
        if self.timer_ms.is_some_and(|set_ms| set_ms <= at_ms) {
            return;
        }
        let nanos = u32::try_from(at_ms % 1000).unwrap_or_default() * 1_000_000;
        *self.time = Timespec::new().sec(at_ms / 1000).nsec(nanos);
        let time: *const Timespec = &raw const *self.time;
        let entry = if self.timer_ms.is_some() {
            opcode::TimeoutUpdate::new(Kind::Timer.data(0), time)
                .flags(io_uring::types::TimeoutFlags::ABS)
                .build()
                .user_data(Kind::TimerChange.data(0))
        } else {
            opcode::Timeout::new(time)
                .flags(io_uring::types::TimeoutFlags::ABS)
                .build()
                .user_data(Kind::Timer.data(0))
        };
        // A later change of the same exchange takes the place of an earlier one.
        self.timer_ms = Some(at_ms);
        self.control.push(entry);
    }

    /// Submits everything and, if asked to, waits; then collects what has happened. Every send is over by then.
    ///
    /// # Errors
    /// When the kernel does not let the ring go on.
    pub fn exchange<S: Sends>(
        &mut self,
        sends: &S,
        wait: Wait,
        completions: &mut Completions,
    ) -> io::Result<()> {
        self.collect(sends);
        self.push_sends()?;
        let mut control = std::mem::take(&mut self.control);
        for entry in control.drain(..) {
            self.push(entry)?;
        }
        self.control = control;
        self.enter(wait)?;
        self.reap(completions);
        Ok(())
    }

    fn listen(&mut self) {
        let mask = u32::from(libc::POLLIN.cast_unsigned());
        let entry = opcode::PollAdd::new(Fd(self.call.as_raw_fd()), mask)
            .multi(true)
            .build();
        self.control.push(entry.user_data(Kind::Wake.data(0)));
    }

    fn cancel(&mut self, data: u64) {
        let entry = opcode::AsyncCancel::new(data)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(Kind::Cancel.data(0));
        self.control.push(entry);
    }

    fn collect<S: Sends>(&mut self, sends: &S) {
        let Self {
            sends: collected,
            slices,
            headers,
            ..
        } = self;
        collected.clear();
        slices.clear();
        headers.clear();
        sends.each(|socket, number, parts| {
            let start = slices.len();
            for part in parts {
                slices.push(libc::iovec {
                    iov_base: part.as_ptr().cast_mut().cast(),
                    iov_len: part.len(),
                });
            }
            collected.push((socket.as_raw_fd(), number, start, slices.len()));
        });
        // From here on neither list grows, so that pointers into them hold until the kernel has seen them.
        for (_, _, start, end) in &*collected {
            if let Some([first, _, ..]) = slices.get_mut(*start..*end) {
                // SAFETY: a header of zeros is a valid one, with nothing in it.
                let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
                header.msg_iov = first;
                header.msg_iovlen = end - start;
                headers.push(header);
            }
        }
    }

    fn push_sends(&mut self) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let mut header = 0;
        for index in 0..self.sends.len() {
            let Some(&(descriptor, number, start, end)) = self.sends.get(index) else {
                break;
            };
            let entry = match self.slices.get(start..end) {
                None | Some([]) => continue,
                Some([one]) => {
                    let length = u32::try_from(one.iov_len).unwrap_or(u32::MAX);
                    opcode::Send::new(Fd(descriptor), one.iov_base.cast(), length)
                        .flags(flags)
                        .build()
                }
                Some(_) => {
                    let Some(message) = self.headers.get(header) else {
                        break;
                    };
                    header += 1;
                    opcode::SendMsg::new(Fd(descriptor), message)
                        .flags(flags.cast_unsigned())
                        .build()
                }
            };
            let entry = entry
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(Kind::Send.data(u64::from(number)));
            self.push(entry)?;
        }
        Ok(())
    }

    /// Puts an operation into the queue, which is emptied when it is full.
    fn push(&mut self, entry: squeue::Entry) -> io::Result<()> {
        loop {
            // SAFETY: what a send points to is borrowed, through `exchange`, until it is over; waiting sends
            // own theirs in `waiting`; the timer's time is the ring's own; nothing else points anywhere.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return Ok(());
            }
            self.enter(Wait::No)?;
        }
    }

    /// Lets the kernel take everything that is in the queue.
    fn enter(&mut self, wait: Wait) -> io::Result<()> {
        loop {
            let left = u32::try_from(self.ring.submission().len()).unwrap_or(u32::MAX);
            let submitter = self.ring.submitter();
            let entered = match wait {
                Wait::Look => {
                    let flags = EnterFlags::GETEVENTS.bits();
                    // SAFETY: without an argument nothing is read or written but the ring itself.
                    unsafe { submitter.enter::<libc::sigset_t>(left, 0, flags, None) }
                }
                Wait::No => submitter.submit_and_wait(0),
                Wait::Company { count, us } if self.features.min_wait => {
                    submitter.submit_with_args(count, &SubmitArgs::new().min_wait_usec(us))
                }
                Wait::Any | Wait::Company { .. } => submitter.submit_and_wait(1),
            };
            let is_empty = self.ring.submission().is_empty();
            match entered {
                Ok(_) if is_empty => return Ok(()),
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    // The wait alone was cut short.
                    Some(libc::EINTR | libc::ETIME) if is_empty => return Ok(()),
                    // Memory for a request, or room for completions, is short: what is there has to be
                    // fetched before more is taken.
                    Some(libc::EINTR | libc::EAGAIN | libc::EBUSY) => {}
                    _ => return Err(error),
                },
            }
        }
    }

    fn reap(&mut self, completions: &mut Completions) {
        let Self {
            ring,
            waiting,
            timer_ms,
            ..
        } = self;
        let mut deaf = false;
        for completion in ring.completion() {
            let data = completion.user_data();
            let token = data & ((1 << TOKEN_BITS) - 1);
            let result = completion.result();
            let goes_on = cqueue::more(completion.flags());
            let kind = data >> TOKEN_BITS;
            if kind == Kind::Receive as u64 {
                completions.events.push(received(&completion, token));
            } else if kind == Kind::Send as u64 {
                completions.failed.push(Failed {
                    number: u32::try_from(token).unwrap_or(u32::MAX),
                    result: sent(result),
                });
            } else if kind == Kind::SendWaiting as u64 {
                completions.events.push(Event::Sent {
                    token,
                    bytes: waiting.remove(&token).unwrap_or_default(),
                    result: sent(result),
                });
            } else if kind == Kind::Poll as u64 {
                completions.events.push(Event::Ready {
                    token: token & !POLL_WRITABLE,
                    is_writable: token & POLL_WRITABLE != 0,
                });
            } else if kind == Kind::Timer as u64 {
                *timer_ms = None;
                completions.events.push(Event::Timer);
            } else if kind == Kind::Wake as u64 {
                deaf |= !goes_on;
                completions.events.push(Event::Woken);
            }
        }
        if deaf {
            self.listen();
        }
    }
}

/// Stands in a token for a poll of the sending side.
const POLL_WRITABLE: u64 = 1 << (TOKEN_BITS - 1);

impl std::fmt::Debug for Ring {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Ring")
            .field("waiting", &self.waiting.len())
            .field("features", &self.features)
            .finish_non_exhaustive()
    }
}

/// How rings of this kind are made: completions are delivered inside `enter` alone, to one thread.
fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(RELAY_COMPLETIONS);
    builder
}

fn received(completion: &cqueue::Entry, token: Token) -> Event {
    let goes_on = cqueue::more(completion.flags());
    let end = match completion.result() {
        0 => End::Closed,
        length if length > 0 => {
            if let Some(buffer) = cqueue::buffer_select(completion.flags()) {
                return Event::Received {
                    token,
                    buffer: BufferId(buffer),
                    length: usize::try_from(length).unwrap_or_default(),
                    goes_on,
                };
            }
            End::Closed
        }
        error if error == -libc::ENOBUFS => End::NoBuffer,
        error if error == -libc::EAGAIN => End::Nothing,
        error if error == -libc::ECANCELED => End::Cancelled,
        error => End::Broken(-error),
    };
    Event::ReceiveEnded { token, end }
}

/// What the kernel took: nothing is no error.
const fn sent(result: i32) -> Result<usize, i32> {
    match result {
        0.. => Ok(result.cast_unsigned() as usize),
        _ if result == -libc::EAGAIN || result == -libc::ECANCELED || result == -libc::EINTR => {
            Ok(0)
        }
        _ => Err(-result),
    }
}
