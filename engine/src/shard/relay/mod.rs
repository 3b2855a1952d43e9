//! Relay: what happens from the upstream's connection on. In: two connections, the session, the bytes
//! already read from the device, the CONNECT to send. Out: why it ended. It never looks up anything.

mod leg;
mod pump;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringbeam_proto::error::Cause;
use ringbeam_proto::session::{Session, Side};

use self::leg::Leg;
use self::pump::Pump;
use super::Shard;
use super::buffers::Batch;
use super::close::close;
use super::connections::{Connection, Interrupt};
use crate::limits::LINGER_MS;
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;

/// What passes from the front to the relay.
#[derive(Debug)]
pub(super) struct Seam {
    /// The device's connection.
    pub(super) device: Socket,
    /// The upstream's, open.
    pub(super) upstream: Socket,
    /// The session, awaiting its CONNACK.
    pub(super) session: Session,
    /// What the device sent behind its CONNECT.
    pub(super) read_ahead: Option<Batch>,
    /// The CONNECT for the upstream.
    pub(super) connect: Vec<u8>,
    /// When the CONNACK must be here, in milliseconds.
    pub(super) connack_deadline_ms: u64,
    /// How long one side may take nothing, in milliseconds.
    pub(super) stall_timeout_ms: u64,
}

/// Relays until the session ends, calls `on_end`, and closes both connections.
pub(super) async fn run(
    shard: &Shard,
    connection: &Rc<Connection>,
    seam: Seam,
    on_end: impl FnOnce(),
) -> (Cause, Session) {
    let Seam {
        device,
        upstream,
        connack_deadline_ms,
        stall_timeout_ms,
        ..
    } = seam;
    let mut pump = Pump::new(
        Leg::new(&device, Vec::new()),
        Leg::new(&upstream, seam.connect),
        seam.session,
        seam.read_ahead,
        Rc::clone(&shard.pool),
    );
    // Waits under way, kept from one round to the next, so that none is cancelled for nothing.
    let mut device_waits = LegWaits {
        readable: pin!(None),
        writable: pin!(None),
    };
    let mut upstream_waits = LegWaits {
        readable: pin!(None),
        writable: pin!(None),
    };
    let mut poll_ready = |context: &mut Context<'_>, pump: &mut Pump<'_>| {
        connection.listen(context);
        if let Some(interrupt) = connection.interrupt() {
            return Poll::Ready(Some(interrupt));
        }
        let leg = pump.leg_mut(Side::Device);
        let begin = (|| device.readable(), || device.writable());
        let is_device_ready = device_waits.poll(leg, begin, context);
        let leg = pump.leg_mut(Side::Upstream);
        let begin = (|| upstream.readable(), || upstream.writable());
        let is_upstream_ready = upstream_waits.poll(leg, begin, context);
        if is_device_ready || is_upstream_ready {
            Poll::Ready(None)
        } else {
            Poll::Pending
        }
    };

    let cause = loop {
        if let Some(cause) = pump.drive(now_ms()) {
            break cause;
        }
        let deadline = pump.deadline(connack_deadline_ms, stall_timeout_ms);
        let deadline_ms = deadline.map(|(deadline_ms, _)| deadline_ms);
        shard.deadlines.arm(connection, deadline_ms);
        match poll_fn(|context| poll_ready(context, &mut pump)).await {
            Some(Interrupt::End(cause)) => break cause,
            Some(Interrupt::Due) => {
                let overdue = pump.overdue(now_ms(), connack_deadline_ms, stall_timeout_ms);
                if let Some(cause) = overdue {
                    break cause;
                }
            }
            None => {}
        }
    };
    on_end();
    if !cause.is_abrupt() {
        shard
            .deadlines
            .arm(connection, Some(now_ms().saturating_add(LINGER_MS)));
        pump.finish(cause);
        if send_rest(&mut pump, poll_ready).await {
            close(connection, &[&device, &upstream]).await;
        }
    }
    (cause, pump.into_session())
}

/// Sends what is left, and says whether that was done in time.
async fn send_rest<'a>(
    pump: &mut Pump<'a>,
    mut poll_ready: impl FnMut(&mut Context<'_>, &mut Pump<'a>) -> Poll<Option<Interrupt>>,
) -> bool {
    loop {
        if pump.has_finished(now_ms()) {
            return true;
        }
        if poll_fn(|context| poll_ready(context, pump)).await.is_some() {
            return false;
        }
    }
}

/// The waits of one leg that are under way.
struct LegWaits<'a, R, W> {
    readable: Pin<&'a mut Option<R>>,
    writable: Pin<&'a mut Option<W>>,
}

impl<R, W> LegWaits<'_, R, W>
where
    R: Future<Output = io::Result<()>>,
    W: Future<Output = io::Result<()>>,
{
    /// Begins the waits that the leg wants, tells it what has come, and says whether anything has.
    fn poll(
        &mut self,
        leg: &mut Leg<'_>,
        begin: (impl FnOnce() -> R, impl FnOnce() -> W),
        context: &mut Context<'_>,
    ) -> bool {
        let is_readable = poll_wait(&mut self.readable, leg.wants_to_read(), begin.0, context);
        if is_readable {
            leg.became_readable();
        }
        let is_writable = poll_wait(&mut self.writable, leg.wants_to_send(), begin.1, context);
        if is_writable {
            leg.became_writable();
        }
        is_readable || is_writable
    }
}

/// Begins a wait that is wanted, and asks one that is under way whether it has come to an end.
fn poll_wait<F: Future<Output = io::Result<()>>>(
    wait: &mut Pin<&mut Option<F>>,
    is_wanted: bool,
    begin: impl FnOnce() -> F,
    context: &mut Context<'_>,
) -> bool {
    if wait.is_none() {
        if !is_wanted {
            return false;
        }
        wait.set(Some(begin()));
    }
    let Some(future) = wait.as_mut().as_pin_mut() else {
        return false;
    };
    // An error shows again where the socket is read or sent to.
    if future.poll(context).is_pending() {
        return false;
    }
    wait.set(None);
    true
}
