//! Fleet: one thread's devices and the sender that gives each its turn.

use std::cell::{Cell, OnceCell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use atomic_waker::AtomicWaker;
use crossbeam_channel::Receiver;

use crate::device::{Device, Next, Role};
use crate::message::{Clock, Filler};
use crate::plan::{Pace, Plan};
use crate::sys::{Timer, monotonic_ns};
use crate::tally::Tally;
use crate::verify::Book;

/// Devices that have their turn before others on this thread have theirs.
const TURNS_MAX: u32 = 256;

/// Messages that are due within so short a time go out together, in ns: 20,000 wake-ups a second are enough.
const TICK_NS: u64 = 50_000;

/// Stands for a device that should have had its turn already.
const DUE_AT_ONCE: u64 = 0;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 * 1024;

/// When messages are sent, in ns of the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    /// From when on.
    pub start_ns: u64,
    /// From when on they are measured.
    pub measure_ns: u64,
    /// Until when.
    pub end_ns: u64,
}

impl Span {
    /// When something of the schedule is due.
    #[must_use]
    pub fn due(self, after_ns: u64) -> u64 {
        self.start_ns.saturating_add(after_ns)
    }
}

/// What the devices of one thread share.
#[derive(Debug)]
pub struct Fleet {
    /// The run.
    pub plan: Arc<Plan>,
    /// Its number.
    pub run: u32,
    /// The clock that messages carry.
    pub clock: Clock,
    /// What that is ahead of the monotonic clock, in ns.
    pub clock_offset_ns: u64,
    /// What payloads are filled with.
    pub filler: Filler,
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Where devices write down what they receive.
    pub book: Option<Arc<Book>>,
    /// When messages are sent.
    pub span: Cell<Span>,
    /// About now, in ns; good enough to tell who has been silent.
    pub now_ns: Cell<u64>,
    /// Whether nothing more is to be sent.
    is_stopped: Cell<bool>,
    /// Whether everything is to end.
    pub is_closing: Cell<bool>,
    /// Lent to whichever device is reading.
    pub buffer: RefCell<Vec<u8>>,
    /// Devices whose messages have come in, from sinks in this process.
    pub arrivals: Receiver<u32>,
    /// Wakes the sender.
    pub waker: Arc<AtomicWaker>,
    devices: OnceCell<Vec<Rc<Device>>>,
    /// Devices by the time they are due.
    due: RefCell<BinaryHeap<Reverse<(u64, u32)>>>,
    /// In lock step: devices whose message has not come in yet.
    outstanding: Cell<u32>,
}

/// What a thread is given of its fleet.
#[derive(Debug)]
pub struct Parts {
    /// The run.
    pub plan: Arc<Plan>,
    /// Its number.
    pub run: u32,
    /// The clock that messages carry, and what it is ahead of the monotonic clock in ns.
    pub clock: (Clock, u64),
    /// What is counted.
    pub tally: Arc<Tally>,
    /// Where devices write down what they receive.
    pub book: Option<Arc<Book>>,
    /// Devices whose messages have come in, and what wakes the sender for them.
    pub arrivals: (Receiver<u32>, Arc<AtomicWaker>),
}

impl Fleet {
    /// The devices of thread `index`: those whose number is `index`, counted around the threads.
    #[must_use]
    pub fn new(parts: Parts, index: u32) -> Rc<Self> {
        let plan = &parts.plan;
        let filler_bytes = plan.message.payload - crate::message::HEAD_BYTES;
        let fleet = Rc::new(Self {
            run: parts.run,
            clock: parts.clock.0,
            clock_offset_ns: parts.clock.1,
            filler: Filler::new(filler_bytes, plan.seed),
            tally: parts.tally,
            book: parts.book,
            span: Cell::default(),
            now_ns: Cell::new(monotonic_ns()),
            is_stopped: Cell::new(false),
            is_closing: Cell::new(false),
            buffer: RefCell::new(vec![0; READ_BYTES]),
            arrivals: parts.arrivals.0,
            waker: parts.arrivals.1,
            devices: OnceCell::new(),
            due: RefCell::default(),
            outstanding: Cell::new(0),
            plan: Arc::clone(plan),
        });
        let numbers = 1..=fleet.plan.devices() + fleet.plan.half_open;
        let devices = numbers
            .filter(|number| number % fleet.plan.threads == index)
            .map(|number| Rc::new(Device::new(&fleet.plan, number)))
            .collect();
        // Set once, here.
        fleet.devices.set(devices).ok();
        fleet
    }

    /// The devices, by number.
    #[must_use]
    pub fn devices(&self) -> &[Rc<Device>] {
        self.devices.get().map_or(&[], Vec::as_slice)
    }

    fn device(&self, number: u32) -> Option<&Rc<Device>> {
        // Numbers begin at 1 and are spread over the threads in turn.
        let first = self.devices().first()?.number;
        let index = number.checked_sub(first)? / self.plan.threads;
        self.devices()
            .get(usize::try_from(index).ok()?)
            .filter(|device| device.number == number)
    }

    /// Puts a device into the sender's queue, unless it is there, and wakes the sender.
    pub fn queue(&self, device: &Device) {
        if self.span.get().end_ns > 0 && device.set_queued(true) {
            self.push(device, DUE_AT_ONCE);
            self.waker.wake();
        }
    }

    fn push(&self, device: &Device, due_ns: u64) {
        self.due.borrow_mut().push(Reverse((due_ns, device.number)));
    }

    /// A device has come on line.
    pub fn opened(self: &Rc<Self>, device: &Rc<Device>) {
        if self.plan.pace == Pace::Once && device.role == Role::Publisher {
            device.send_one(self);
        }
    }

    /// A message of a device has been acknowledged. Where a window is kept by that, there is room again.
    pub fn acknowledged(&self, device: &Rc<Device>) {
        if !matches!(self.plan.receivers, crate::plan::Receivers::OwnSink(..)) {
            self.credit(device);
        }
    }

    fn credit(&self, device: &Rc<Device>) {
        match self.plan.pace {
            Pace::Window(_) => {
                device.add_credits(1);
                self.queue(device);
            }
            Pace::Lockstep => self.came_in(device),
            Pace::Rate(..) | Pace::Once | Pace::Silent => {}
        }
    }

    /// In lock step: a device's message has come in, or never will. The last one begins the next round.
    pub fn came_in(&self, device: &Device) {
        if device.has_come_in() {
            self.outstanding.set(self.outstanding.get() - 1);
            if self.outstanding.get() == 0 {
                self.next_round();
            }
        }
    }

    /// In lock step: one message from every device.
    fn next_round(&self) {
        let mut open = 0;
        for device in self.devices() {
            if device.role == Role::Publisher && device.is_open() {
                open += 1;
                device.set_out();
                device.add_credits(1);
                self.queue(device);
            }
        }
        self.outstanding.set(open);
    }

    /// Gives each device its turn when it is due, until the run ends.
    ///
    /// # Errors
    /// When there is no timer.
    pub async fn send(self: Rc<Self>, span: Span) -> io::Result<()> {
        let timer = Timer::new()?;
        timer.until(span.start_ns).await?;
        if self.is_stopped.get() {
            return Ok(());
        }
        self.span.set(span);
        self.begin();
        while !self.is_closing.get() {
            self.take_arrivals();
            let now_ns = monotonic_ns();
            self.now_ns.set(now_ns);
            self.turns();
            match self.next_due() {
                // There is more to do already. Through the ring first: connections get their turn.
                Some(due_ns) if due_ns <= now_ns => timer.until(now_ns).await?,
                _ if !self.arrivals.is_empty() => timer.until(now_ns).await?,
                Some(due_ns) => self.sleep(&timer, due_ns.max(now_ns + TICK_NS)).await?,
                None => self.woken().await,
            }
        }
        Ok(())
    }

    /// Everybody's first turn.
    fn begin(&self) {
        match self.plan.pace {
            Pace::Rate(..) => {
                for device in self.devices() {
                    if device.role == Role::Publisher && device.set_queued(true) {
                        self.push(device, self.span.get().start_ns);
                    }
                }
            }
            Pace::Window(window) => {
                for device in self.devices() {
                    if device.role == Role::Publisher {
                        device.add_credits(window);
                        self.queue(device);
                    }
                }
            }
            Pace::Lockstep => self.next_round(),
            Pace::Once | Pace::Silent => {}
        }
    }

    /// Ends the schedule here: nobody sends anything more. What was due by now counts as missed.
    pub fn stop(&self) {
        let span = self.span.get();
        let has_rate = matches!(self.plan.pace, Pace::Rate(..)) && span.end_ns > 0;
        let now_ns = monotonic_ns();
        for device in self.devices() {
            if has_rate && device.role == Role::Publisher {
                self.tally.missed.add(device.missed(span, now_ns));
            }
            device.finish(self);
        }
        self.is_stopped.set(true);
        self.span.set(Span { end_ns: 1, ..span });
        self.tally.stopped.increment();
    }

    fn take_arrivals(&self) {
        for number in self.arrivals.try_iter() {
            if let Some(device) = self.device(number) {
                self.credit(device);
            }
        }
    }

    fn turns(self: &Rc<Self>) {
        for _ in 0..TURNS_MAX {
            // Anew for each: a turn takes time, and who is late for it shall know.
            let now_ns = monotonic_ns();
            if self.next_due().is_none_or(|due_ns| due_ns > now_ns) {
                return;
            }
            let Some(Reverse((_, number))) = self.due.borrow_mut().pop() else {
                return;
            };
            let Some(device) = self.device(number) else {
                continue;
            };
            device.set_queued(false);
            let next = match self.plan.pace {
                Pace::Rate(..) => device.send_due(self, now_ns),
                Pace::Window(_) | Pace::Lockstep | Pace::Once | Pace::Silent => {
                    device.send_credits(self, now_ns)
                }
            };
            match next {
                Next::At(due_ns) => {
                    device.set_queued(true);
                    self.push(device, due_ns);
                }
                Next::Waits => {}
                Next::Finished => device.finish(self),
            }
        }
    }

    /// Sleeps until a time, or until somebody wakes the sender.
    async fn sleep(&self, timer: &Timer, until_ns: u64) -> io::Result<()> {
        let mut timer = pin!(timer.until(until_ns));
        let mut woken = pin!(self.woken());
        std::future::poll_fn(|context| {
            if woken.as_mut().poll(context).is_ready() {
                return Poll::Ready(Ok(()));
            }
            timer.as_mut().poll(context)
        })
        .await
    }

    fn next_due(&self) -> Option<u64> {
        let queue = self.due.borrow();
        queue.peek().map(|Reverse((due_ns, _))| *due_ns)
    }

    /// Waits until there is something to do that no timer tells of.
    async fn woken(&self) {
        std::future::poll_fn(|context| {
            self.waker.register(context.waker());
            let is_due = self.next_due() == Some(DUE_AT_ONCE);
            if is_due || !self.arrivals.is_empty() || self.is_closing.get() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}
