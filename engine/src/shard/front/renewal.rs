//! Renewal: how the relay gets another upstream for a session (B-TOK-1): the device's own CONNECT written
//! anew, with a fresh token and today's credentials, to the destination that the session began with.

use std::rc::Rc;
use std::sync::Arc;

use ringbeam_proto::packet::connect::{Connect, Opening, read as read_connect};
use ringbeam_proto::session::{NotRenewable, Opening as SessionOpening, Session};
use zeroize::Zeroizing;

use super::dial::NotReached;
use super::opening::{Renewable, log_in};
use super::reach::{Reached, Way, reach};
use crate::fleet::EntryPoint;
use crate::limits::{LINGER_MS, RENEWAL_LIFE_PERCENT};
use crate::shard::Shard;
use crate::shard::close::close_one;
use crate::shard::connections::Connection;
use crate::shard::relay::{Attempt, Dialing, Redial, Renewed, Renewing, Unrenewed};
use crate::sys::clock::{now_ms, unix_seconds};

/// What a session keeps for it.
struct Origin {
    opening: SessionOpening,
    entry_point: Arc<EntryPoint>,
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
        connect: renewable.connect,
    };
    let seed = shard.jitter.hash_one((now_ms, connection.peer));
    let renew_at_ms = renew_at_ms(renewable.token_expires_unix_seconds, seed);
    let renewals = Renewals {
        shard: Rc::clone(shard),
        connection: Rc::clone(connection),
        origin: Rc::new(origin),
    };
    let renewing = Renewing::new(Box::new(renewals), renew_at_ms, seed);
    (session, Some(Box::new(renewing)))
}

/// The renewals of one session.
struct Renewals {
    shard: Rc<Shard>,
    connection: Rc<Connection>,
    origin: Rc<Origin>,
}

impl Redial for Renewals {
    fn dial(&self, attempt: Attempt) -> Dialing {
        let (shard, origin) = (Rc::clone(&self.shard), Rc::clone(&self.origin));
        // It has a deadline of its own, while the session goes on having its.
        let errand = self.connection.errand();
        Box::pin(async move { again(&shard, &errand, &origin, attempt).await })
    }

    fn can_log_in(&self) -> bool {
        let snapshot = self.shard.snapshot.load();
        let Ok(Opening::Whole(connect, _)) = read_connect(&self.origin.connect) else {
            return false;
        };
        let (entry_point, identity) = (&self.origin.entry_point, &self.origin.opening.identity);
        log_in(&snapshot, entry_point, &connect, identity).is_ok()
    }
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
    if let Some(left) = attempt.left {
        let deadline_ms = now_ms().saturating_add(LINGER_MS);
        shard.deadlines.arm(errand, Some(deadline_ms));
        // Closed or not, it has had its time.
        close_one(errand, &left).await;
    }
    if !attempt.delay.is_zero() {
        monoio::time::sleep(attempt.delay).await;
    }
    let unrenewed = |detail: String, is_final| Unrenewed { detail, is_final };
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
