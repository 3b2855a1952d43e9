//! Worker: one thread of the generator: its devices, and a sink beside them where there is one.

use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use futures_channel::mpsc::UnboundedReceiver;
use futures_core::Stream as _;

use crate::device::{Role, open_all};
use crate::fleet::{Fleet, Parts, Span};
use crate::sink::{self, Books};
use crate::sys::{Timer, monotonic_ns};

/// Entries of a thread's ring.
const RING_ENTRIES: u32 = 4096;

/// What a thread is told.
#[derive(Clone, Copy, Debug)]
pub enum Order {
    /// Open all connections, from this time on.
    Open(u64),
    /// Cut all connections, without a word.
    Cut,
    /// Send messages.
    Send(Span),
    /// Send nothing more.
    Stop,
    /// End all sessions in order, and the thread with them.
    Close,
}

/// The sink of a thread.
#[derive(Debug)]
pub struct SinkParts {
    /// Where connections come in.
    pub listener: std::net::TcpListener,
    /// What they say goes here.
    pub books: Arc<Books>,
    /// Whether they speak TLS, and how.
    pub tls: Option<Arc<rustls::ServerConfig>>,
}

/// Runs a thread with a sink alone, until the process ends.
///
/// # Errors
/// When the ring or the listener breaks.
pub fn run_sink(parts: SinkParts) -> anyhow::Result<()> {
    let mut runtime = runtime()?;
    runtime.block_on(sink::serve(parts.listener, parts.books, parts.tls))?;
    Ok(())
}

/// Runs a thread with devices until it is told to close.
///
/// # Errors
/// When the ring breaks.
pub fn run(
    parts: Parts,
    index: u32,
    sink: Option<SinkParts>,
    orders: UnboundedReceiver<Order>,
) -> anyhow::Result<()> {
    let mut runtime = runtime()?;
    runtime.block_on(async move {
        if let Some(sink) = sink {
            monoio::spawn(async move {
                // Where it cannot, nothing arrives, and every message counts as lost.
                sink::serve(sink.listener, sink.books, sink.tls).await.ok();
            });
        }
        let fleet = Fleet::new(parts, index);
        monoio::spawn(ping(Rc::clone(&fleet)));
        obey(&fleet, orders).await
    })
}

fn runtime() -> anyhow::Result<monoio::Runtime<monoio::time::TimeDriver<monoio::IoUringDriver>>> {
    monoio::RuntimeBuilder::<monoio::IoUringDriver>::new()
        .with_entries(RING_ENTRIES)
        .enable_timer()
        .build()
        .context("io_uring is not available to this process")
}

async fn obey(fleet: &Rc<Fleet>, mut orders: UnboundedReceiver<Order>) -> anyhow::Result<()> {
    while let Some(order) = next(&mut orders).await {
        match order {
            Order::Open(start_ns) => {
                let fleet = Rc::clone(fleet);
                monoio::spawn(async move {
                    if let Err(error) = open_all(&fleet, start_ns).await {
                        fleet.tally.error(&error.to_string());
                    }
                });
            }
            Order::Cut => {
                for device in fleet.devices() {
                    device.close(fleet, false);
                }
            }
            Order::Send(span) => {
                let fleet = Rc::clone(fleet);
                monoio::spawn(async move {
                    if let Err(error) = Rc::clone(&fleet).send(span).await {
                        fleet.tally.error(&error.to_string());
                    }
                });
            }
            Order::Stop => fleet.stop(),
            Order::Close => break,
        }
    }
    fleet.is_closing.set(true);
    for device in fleet.devices() {
        device.look_shed(fleet);
        device.close(fleet, true);
    }
    // Once through the ring, so that what was closed is.
    Timer::new()?.until(monotonic_ns()).await?;
    Ok(())
}

async fn next(orders: &mut UnboundedReceiver<Order>) -> Option<Order> {
    std::future::poll_fn(|context| Pin::new(&mut *orders).poll_next(context)).await
}

/// Lets every device ping when it has been silent for the plan's time; spread over that time, so that the entry
/// point is not asked by all at once.
async fn ping(fleet: Rc<Fleet>) {
    const STEPS: u32 = 50;
    let every = fleet.plan.ping_every;
    if every.is_zero() {
        return;
    }
    let step = every / STEPS;
    let every_ns = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX);
    let mut turn = 0;
    while !fleet.is_closing.get() {
        monoio::time::sleep(step.max(Duration::from_millis(1))).await;
        let now_ns = monotonic_ns();
        fleet.now_ns.set(now_ns);
        // A device has its turn once in `every`; then it must have been silent for half of that.
        let since_ns = now_ns.saturating_sub(every_ns / 2);
        for device in fleet.devices() {
            if device.number % STEPS == turn && !matches!(device.role, Role::HalfOpen(_)) {
                device.ping(&fleet, since_ns);
            }
        }
        turn = (turn + 1) % STEPS;
    }
}
