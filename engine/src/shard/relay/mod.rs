//! Relay: what happens from the upstream's connection on. In: two connections, the session, the bytes
//! already read from the device, the CONNECT to send. Out: why it ended. It never looks up anything.

mod leg;
mod pump;
mod renewing;
mod sealing;

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringbeam_proto::error::{Cause, Phase};
use ringbeam_proto::session::{Session, Side};
use tracing::info;
use zeroize::Zeroizing;

use self::leg::Leg;
use self::pump::Pump;
use self::renewing::Event;
pub(super) use self::renewing::{Attempt, Dialing, Redial, Renewed, Renewing, Unrenewed};
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
    pub(super) tls: Option<Box<Link>>,
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
    pub(super) connect: Zeroizing<Vec<u8>>,
    /// When the CONNACK must be here, in milliseconds.
    pub(super) connack_deadline_ms: u64,
    /// How long one side may take nothing, in milliseconds.
    pub(super) stall_timeout_ms: u64,
    /// How its upstream is replaced, where it is to be.
    pub(super) renewing: Option<Box<Renewing>>,
}

/// A session that is being relayed.
struct Relay<'a> {
    shard: &'a Shard,
    connection: &'a Rc<Connection>,
    pump: Pump,
    renewing: Option<Box<Renewing>>,
    connack_deadline_ms: u64,
    stall_timeout_ms: u64,
}

/// What ends a wait.
enum Wake {
    /// A socket is ready.
    Ready,
    /// Something came up.
    Interrupt(Interrupt),
    /// The next upstream has come to something.
    Dialed(Box<Result<Renewed, Unrenewed>>),
}

/// Relays until the session ends, calls `on_end` with why and how far it was, and closes both connections.
pub(super) async fn run(
    shard: &Shard,
    connection: &Rc<Connection>,
    seam: Seam,
    on_end: impl FnOnce(Cause, Phase),
) -> Ended {
    let mut relay = Relay::new(shard, connection, seam);
    // Waits under way, kept from one round to the next, so that none is cancelled for nothing.
    let mut device_waits = LegWaits {
        readable: pin!(None),
        writable: pin!(None),
    };
    let mut upstream_waits = LegWaits {
        readable: pin!(None),
        writable: pin!(None),
    };
    let mut poll_ready = |context: &mut Context<'_>, relay: &mut Relay<'_>| {
        connection.listen(context);
        if let Some(interrupt) = connection.interrupt() {
            return Poll::Ready(Wake::Interrupt(interrupt));
        }
        let begin = (readable, writable);
        let device = relay.pump.leg_mut(Side::Device);
        let is_device_ready = device_waits.poll(device, begin, context);
        let upstream = relay.pump.leg_mut(Side::Upstream);
        let is_upstream_ready = upstream_waits.poll(upstream, begin, context);
        let renewing = relay.renewing.as_deref_mut();
        let dialed = renewing.map(|renewing| renewing.poll(context));
        if let Some(Poll::Ready(result)) = dialed {
            Poll::Ready(Wake::Dialed(Box::new(result)))
        } else if is_device_ready || is_upstream_ready {
            Poll::Ready(Wake::Ready)
        } else {
            Poll::Pending
        }
    };

    let cause = loop {
        if let Err(cause) = relay.step() {
            break cause;
        }
        relay.arm();
        let woken = match poll_fn(|context| poll_ready(context, &mut relay)).await {
            Wake::Interrupt(Interrupt::End(cause)) => Err(cause),
            Wake::Interrupt(Interrupt::Due) => relay.due(),
            Wake::Dialed(result) => relay.dialed(*result),
            Wake::Ready => Ok(()),
        };
        if let Err(cause) = woken {
            break cause;
        }
    };
    on_end(cause, relay.pump.session().phase());
    let detail = relay.detail();
    if !cause.is_abrupt() {
        shard
            .deadlines
            .arm(connection, Some(now_ms().saturating_add(LINGER_MS)));
        relay.renewing = None;
        relay.pump.finish(cause);
        if send_rest(&mut relay, poll_ready).await {
            let legs = [Side::Device, Side::Upstream].map(|side| {
                let leg = relay.pump.leg_mut(side);
                leg.socket().map(Rc::clone)
            });
            close(connection, legs).await;
        }
    }
    Ended {
        cause,
        detail,
        session: relay.pump.into_session(),
    }
}

impl<'a> Relay<'a> {
    fn new(shard: &'a Shard, connection: &'a Rc<Connection>, seam: Seam) -> Self {
        let Seam {
            device,
            upstream,
            session,
            read_ahead,
            connect,
            connack_deadline_ms,
            stall_timeout_ms,
            renewing,
        } = seam;
        let pump = Pump::new(
            Leg::new(Rc::new(device), None, Zeroizing::default()),
            leg(shard, upstream, connect),
            session,
            read_ahead,
            Rc::clone(&shard.pool),
        );
        Self {
            shard,
            connection,
            pump,
            renewing,
            connack_deadline_ms,
            stall_timeout_ms,
        }
    }

    /// Moves what can be moved.
    fn step(&mut self) -> Result<(), Cause> {
        loop {
            let now_ms = now_ms();
            if let Some(cause) = self.pump.drive(now_ms) {
                // Whatever the device has sent by then may have to wait for the next upstream.
                self.ended(cause, now_ms)?;
                continue;
            }
            self.moved(now_ms);
            return Ok(());
        }
    }

    /// The pump has come to an end, which may be the upstream's alone.
    fn ended(&mut self, cause: Cause, now_ms: u64) -> Result<(), Cause> {
        let Some(renewing) = self.renewing.as_deref_mut() else {
            return Err(cause);
        };
        if let Some(event) = renewing.ended(&mut self.pump, cause, now_ms)? {
            self.report(&event);
        }
        Ok(())
    }

    fn arm(&self) {
        let limits = (self.connack_deadline_ms, self.stall_timeout_ms);
        let deadline = self.pump.deadline(limits.0, limits.1);
        let renewing = self.renewing.as_deref();
        let deadlines = [
            deadline.map(|(deadline_ms, _)| deadline_ms),
            renewing.and_then(Renewing::deadline_ms),
        ];
        let first_ms = deadlines.into_iter().flatten().min();
        self.shard.deadlines.arm(self.connection, first_ms);
    }

    /// A deadline has come.
    fn due(&mut self) -> Result<(), Cause> {
        let now_ms = now_ms();
        let (connack_ms, stall_timeout_ms) = (self.connack_deadline_ms, self.stall_timeout_ms);
        if let Some(cause) = self.pump.overdue(now_ms, connack_ms, stall_timeout_ms) {
            self.ended(cause, now_ms)?;
        }
        self.moved(now_ms);
        match self.renewing.as_deref_mut() {
            Some(renewing) => renewing.due(&mut self.pump, now_ms),
            None => Ok(()),
        }
    }

    /// What has moved may be what a renewal awaited.
    fn moved(&mut self, now_ms: u64) {
        let renewing = self.renewing.as_deref_mut();
        let event = renewing.and_then(|renewing| renewing.moved(&mut self.pump, now_ms));
        if let Some(event) = event {
            self.report(&event);
        }
    }

    fn dialed(&mut self, result: Result<Renewed, Unrenewed>) -> Result<(), Cause> {
        let shard = self.shard;
        let attach = |upstream, connect| leg(shard, upstream, connect);
        match self.renewing.as_deref_mut() {
            Some(renewing) => renewing.dialed(&mut self.pump, result, attach),
            None => Ok(()),
        }
    }

    /// What there is to say about the end.
    fn detail(&mut self) -> Option<String> {
        let failure = self.pump.leg_mut(Side::Upstream).take_failure();
        let renewing = self.renewing.as_deref_mut();
        failure.or_else(|| renewing.and_then(Renewing::take_detail))
    }

    fn report(&self, event: &Event) {
        let imsi = self.connection.identity.get().map(|identity| identity.imsi);
        let imsi = imsi.map(tracing::field::display);
        let peer = self.connection.peer;
        match event {
            Event::Lost(cause, detail) => {
                info!(imsi, %peer, reason = cause.name(), detail, "upstream lost");
            }
            Event::Renewed {
                is_planned,
                attempts,
                took_ms,
            } => {
                self.shard.counters.update(|totals| totals.renewed += 1);
                info!(imsi, %peer, planned = is_planned, attempts, took_ms, "upstream renewed");
            }
        }
    }
}

/// The upstream's leg, with its CONNECT to be sent first.
fn leg(shard: &Shard, upstream: Upstream, connect: Zeroizing<Vec<u8>>) -> Leg {
    let Upstream { socket, tls } = upstream;
    let sealing = tls.map(|link| Sealing::new(link, &shard.tls_workspace));
    Leg::new(Rc::new(socket), sealing, connect)
}

async fn readable(socket: Rc<Socket>) -> io::Result<()> {
    socket.readable().await
}

async fn writable(socket: Rc<Socket>) -> io::Result<()> {
    socket.writable().await
}

/// Sends what is left, and says whether that was done in time.
async fn send_rest<'a>(
    relay: &mut Relay<'a>,
    mut poll_ready: impl FnMut(&mut Context<'_>, &mut Relay<'a>) -> Poll<Wake>,
) -> bool {
    loop {
        if relay.pump.has_finished(now_ms()) {
            return true;
        }
        let wake = poll_fn(|context| poll_ready(context, relay)).await;
        if matches!(wake, Wake::Interrupt(_)) {
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
        let Some(socket) = leg.socket().map(Rc::clone) else {
            // The waits of a connection that was given up keep its descriptor open.
            self.readable.set(None);
            self.writable.set(None);
            return false;
        };
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
