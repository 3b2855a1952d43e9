//! Renewal: how the relay gets another upstream for a session (B-TOK-1): the device's own CONNECT written
//! anew, with a fresh token and today's credentials, to the destination that the session began with.

use std::fmt;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::ArcSwap;
use ringbeam_proto::packet::connect::{Connect, Opening, read as read_connect};
use ringbeam_proto::session::{NotRenewable, Opening as SessionOpening, Session};
use zeroize::Zeroizing;

use super::dial::NotReached;
use super::opening::{Renewable, log_in};
use super::reach::{Reached, Way, reach};
use crate::fleet::EntryPoint;
use crate::limits::{LINGER_MS, RENEWAL_LIFE_PERCENT};
use crate::shard::close::close_one;
use crate::shard::connections::Connection;
use crate::shard::mailbox::{Mailbox, Message};
use crate::shard::relay::{self, Attempt, FlowId, Redial, Renewed, Renewing, Unrenewed};
use crate::shard::{Shard, Snapshot};
use crate::sys::clock::{now_ms, unix_seconds};
use crate::sys::socket::Socket;

/// What a session keeps for it.
struct Origin {
    opening: SessionOpening,
    entry_point: Arc<EntryPoint>,
    network: Arc<str>,
    peer: SocketAddr,
    /// The device's CONNECT.
    connect: Zeroizing<Vec<u8>>,
}

/// The session, and what replaces its upstream where that is wanted.
pub(super) fn open_session(
    shard: &Rc<Shard>,
    connection: &Rc<Connection>,
    opening: SessionOpening,
    entry_point: Arc<EntryPoint>,
    renewable: Option<Renewable>,
) -> (Session, Option<Box<Renewing>>) {
    let now_ms = now_ms();
    let Some(renewable) = renewable else {
        return (Session::new(opening, now_ms), None);
    };
    let session = Session::renewing(opening, renewable.keeps_session, now_ms);
    // One that cannot be renewed, whatever happens, needs none of what follows.
    if session.can_renew() == Err(NotRenewable::Off) {
        return (session, None);
    }
    let origin = Origin {
        opening,
        entry_point,
        network: Arc::clone(&connection.network),
        peer: connection.peer,
        connect: renewable.connect,
    };
    let seed = shard.jitter.hash_one((now_ms, connection.peer));
    let renew_at_ms = renew_at_ms(renewable.token_expires_unix_seconds, seed);
    let renewals = Renewals {
        mailboxes: Arc::clone(&shard.mailboxes),
        snapshot: Arc::clone(&shard.snapshot),
        index: shard.index,
        origin: Arc::new(origin),
    };
    let renewing = Renewing::new(Box::new(renewals), renew_at_ms, seed);
    (session, Some(Box::new(renewing)))
}

/// The renewals of one session, asked for by the relay.
struct Renewals {
    mailboxes: Arc<[Mailbox]>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    index: usize,
    origin: Arc<Origin>,
}

/// Another connection that is to be opened for a session.
pub(crate) struct Errand {
    id: FlowId,
    origin: Arc<Origin>,
    attempt: Attempt,
}

impl fmt::Debug for Errand {
    /// Without the CONNECT.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Errand")
            .field("id", &self.id)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Renewals {
    fn tell(&self, message: Message) -> bool {
        let mailbox = self.mailboxes.get(self.index);
        mailbox.is_some_and(|mailbox| mailbox.send(message).is_ok())
    }
}

impl Redial for Renewals {
    fn dial(&self, id: FlowId, attempt: Attempt) -> bool {
        let origin = Arc::clone(&self.origin);
        self.tell(Message::Redial(Box::new(Errand {
            id,
            origin,
            attempt,
        })))
    }

    fn give_up(&self, id: FlowId) {
        // Otherwise it is opened, and closed because nobody waits for it.
        self.tell(Message::GiveUp(id));
    }

    fn can_log_in(&self) -> bool {
        let snapshot = self.snapshot.load();
        let Ok(Opening::Whole(connect, _)) = read_connect(&self.origin.connect) else {
            return false;
        };
        let (entry_point, identity) = (&self.origin.entry_point, &self.origin.opening.identity);
        log_in(&snapshot, entry_point, &connect, identity).is_ok()
    }
}

/// Has another connection opened; the relay is told what came of it.
pub(in crate::shard) fn redial(shard: &Rc<Shard>, errand: Errand) {
    let Errand {
        id,
        origin,
        attempt,
    } = errand;
    // It has a deadline of its own, while the session goes on having its.
    let connection = Rc::new(Connection::new(
        Arc::clone(&origin.network),
        origin.peer,
        Some(origin.opening.identity),
    ));
    let shard = Rc::clone(shard);
    // At once, so that it can be given up before it has begun.
    let errands = &shard.errands;
    errands.borrow_mut().insert(id, Rc::clone(&connection));
    monoio::spawn(async move {
        let result = again(&shard, &connection, &origin, attempt).await;
        shard.errands.borrow_mut().remove(&id);
        shard.tell_relay(relay::Message::Dialed(id, Box::new(result)));
    });
}

/// When a session is renewed whose token ends then, in milliseconds of the monotonic clock: in the last
/// part of its life, not all sessions at the same moment.
fn renew_at_ms(token_expires_unix_seconds: Option<u64>, seed: u64) -> Option<u64> {
    let left_ms = token_expires_unix_seconds?
        .saturating_sub(unix_seconds())
        .saturating_mul(1000);
    let (earliest, latest) = RENEWAL_LIFE_PERCENT;
    let spread_ms = left_ms.saturating_mul(latest.saturating_sub(earliest)) / 100;
    let after_ms = left_ms.saturating_mul(earliest) / 100;
    let jitter_ms = (seed >> 16) % spread_ms.saturating_add(1);
    Some(now_ms().saturating_add(after_ms).saturating_add(jitter_ms))
}

async fn again(
    shard: &Rc<Shard>,
    errand: &Rc<Connection>,
    origin: &Origin,
    attempt: Attempt,
) -> Result<Renewed, Unrenewed> {
    let unrenewed = |detail: String, is_final| Unrenewed { detail, is_final };
    let given_up = |_| unrenewed("given up".to_owned(), true);
    if let Some(left) = attempt.left.and_then(|left| Socket::adopt(left).ok()) {
        let deadline_ms = now_ms().saturating_add(LINGER_MS);
        shard.deadlines.arm(errand, Some(deadline_ms));
        // Closed or not, it has had its time.
        close_one(errand, &left).await;
    }
    if !attempt.delay.is_zero() {
        let delay = monoio::time::sleep(attempt.delay);
        errand.guard(delay).await.map_err(given_up)?;
    }
    let Ok(Opening::Whole(connect, _)) = read_connect(&origin.connect) else {
        return Err(unrenewed("its CONNECT is gone".to_owned(), true));
    };
    let connect = Connect {
        clean: connect.clean && !attempt.continues,
        client_id: attempt.client_id.as_deref().unwrap_or(connect.client_id),
        ..connect
    };
    let snapshot = shard.snapshot.load_full();
    let (entry_point, identity) = (&origin.entry_point, &origin.opening.identity);
    let login = log_in(&snapshot, entry_point, &connect, identity)
        .map_err(|cause| unrenewed(cause.name().to_owned(), false))?;
    let timeout_ms = snapshot.settings.upstream_timeout_ms;
    let seed = shard.jitter.hash_one((now_ms(), errand.peer));
    let deadline_ms = now_ms().saturating_add(timeout_ms).min(attempt.deadline_ms);
    shard.deadlines.arm(errand, Some(deadline_ms));
    let way = Way {
        snapshot: &snapshot,
        entry_point,
        certificate: login.credential.as_deref(),
    };
    let Reached { upstream, .. } =
        reach(shard, errand, way, deadline_ms)
            .await
            .map_err(|NotReached { cause, detail }| {
                let reason = cause.name();
                let detail = detail
                    .map_or_else(|| reason.to_owned(), |detail| format!("{reason}: {detail}"));
                unrenewed(detail, false)
            })?;
    Ok(Renewed {
        upstream,
        connect: login.packet,
        renew_at_ms: renew_at_ms(login.token_expires_unix_seconds, seed),
        connack_deadline_ms: deadline_ms,
    })
}
