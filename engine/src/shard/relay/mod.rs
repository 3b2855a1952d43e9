//! Relay: what happens from the upstream's connection on. In: two connections, the session, the bytes
//! already read from the device, the CONNECT to send. Out: why it ended. It never looks up anything.

mod leg;
mod pump;
mod sealing;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringbeam_proto::error::Cause;
use ringbeam_proto::session::{Session, Side};

use self::leg::Leg;
use self::pump::Pump;
use self::sealing::Sealing;
use super::Shard;
use super::buffers::Batch;
use super::close::close;
use super::connections::{Connection, Interrupt};
use crate::limits::LINGER_MS;
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;
use crate::tls::Link;

/// An open connection to an upstream.
#[derive(Debug)]
pub(super) struct Upstream {
    /// The connection.
    pub(super) socket: Socket,
    /// Its TLS, where it has any, with the handshake behind it.
    pub(super) tls: Option<Link>,
}

/// How a session ended.
#[derive(Debug)]
pub(super) struct Ended {
    /// Why.
    pub(super) cause: Cause,
    /// What there is to say about it beside.
    pub(super) detail: Option<String>,
    /// The session as it was then.
    pub(super) session: Session,
}

/// What passes from the front to the relay.
#[derive(Debug)]
pub(super) struct Seam {
    /// The device's connection.
    pub(super) device: Socket,
    /// The upstream's, open.
    pub(super) upstream: Upstream,
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
) -> Ended {
    let Seam {
        connack_deadline_ms,
        stall_timeout_ms,
        ..
    } = seam;
    let tls = seam.upstream.tls;
    let tls = tls.map(|link| Sealing::new(link, &shard.tls_workspace));
    let mut pump = Pump::new(
        Leg::new(Rc::new(seam.device), None, Vec::new()),
        Leg::new(Rc::new(seam.upstream.socket), tls, seam.connect),
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
    let mut poll_ready = |context: &mut Context<'_>, pump: &mut Pump| {
        connection.listen(context);
        if let Some(interrupt) = connection.interrupt() {
            return Poll::Ready(Some(interrupt));
        }
        let begin = (readable, writable);
        let is_device_ready = device_waits.poll(pump.leg_mut(Side::Device), begin, context);
        let is_upstream_ready = upstream_waits.poll(pump.leg_mut(Side::Upstream), begin, context);
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
    let detail = pump.leg_mut(Side::Upstream).take_failure();
    if !cause.is_abrupt() {
        shard
            .deadlines
            .arm(connection, Some(now_ms().saturating_add(LINGER_MS)));
        pump.finish(cause);
        if send_rest(&mut pump, poll_ready).await {
            let [device, upstream] = [Side::Device, Side::Upstream].map(|side| {
                let leg = pump.leg_mut(side);
                Rc::clone(leg.socket())
            });
            close(connection, &[&device, &upstream]).await;
        }
    }
    Ended {
        cause,
        detail,
        session: pump.into_session(),
    }
}

async fn readable(socket: Rc<Socket>) -> io::Result<()> {
    socket.readable().await
}

async fn writable(socket: Rc<Socket>) -> io::Result<()> {
    socket.writable().await
}

/// Sends what is left, and says whether that was done in time.
async fn send_rest(
    pump: &mut Pump,
    mut poll_ready: impl FnMut(&mut Context<'_>, &mut Pump) -> Poll<Option<Interrupt>>,
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
        leg: &mut Leg,
        begin: (impl Fn(Rc<Socket>) -> R, impl Fn(Rc<Socket>) -> W),
        context: &mut Context<'_>,
    ) -> bool {
        let socket = Rc::clone(leg.socket());
        let begin_reading = || begin.0(Rc::clone(&socket));
        let wants_to_read = leg.wants_to_read();
        let is_readable = poll_wait(&mut self.readable, wants_to_read, begin_reading, context);
        if is_readable {
            leg.became_readable();
        }
        let begin_sending = || begin.1(Rc::clone(&socket));
        let wants_to_send = leg.wants_to_send();
        let is_writable = poll_wait(&mut self.writable, wants_to_send, begin_sending, context);
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
