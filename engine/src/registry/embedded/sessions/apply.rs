//! Apply: what events make of the sessions. Requests are sent again, overtake each other and get lost, so that none of
//! this depends on the order in which events come, but on when they happened:
//!
//! - A session that is over stays over: what comes late about it binds nothing, and a Stop may come before its Start.
//! - What is older than the last that was heard of a session changes nothing.
//! - An address goes to whoever was given it last; what happened before that takes nothing away.
//! - Only the session that has an address releases it.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};
use rusqlite::Transaction;

use super::history::HistoryKind;
use super::rows::{Done, Rows};
use super::{SessionAct, SessionChange, SessionEvent, SimSession, Source};
use crate::limits::SESSION_REUSE_MS;
use crate::open5gs;
use crate::radius::Act;

/// More than there are statements here, and others of the same connection.
const STATEMENTS_KEPT: usize = 64;

/// Makes of the sessions what these events say, in one transaction, which the caller commits. Returns what changed, in
/// order; nothing where everything was known.
///
/// # Errors
/// When the database refuses; then the transaction must not be committed.
pub fn apply(
    transaction: &Transaction<'_>,
    events: &[SessionEvent],
) -> Result<Vec<SessionChange>, rusqlite::Error> {
    transaction.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let mut writer = Writer {
        rows: Rows(transaction),
        changes: Vec::new(),
    };
    for SessionEvent { time_ms, act } in events {
        writer.event(act, *time_ms)?;
    }
    Ok(writer.changes)
}

struct Writer<'a> {
    rows: Rows<'a>,
    changes: Vec<SessionChange>,
}

/// What an event claims for a SIM.
#[derive(Clone, Copy)]
struct Claim<'a> {
    teller: Teller<'a>,
    /// Whether a session begins with it.
    is_start: bool,
    network: &'a Arc<str>,
    block: IpNet,
    imsi: Imsi,
    imei: Option<Imei>,
    apn: &'a str,
    time_ms: i64,
    /// When its session began, as far as is known.
    started_ms: i64,
}

/// Who claims it.
#[derive(Clone, Copy)]
struct Teller<'a> {
    source: Source,
    nas: &'a str,
    session_id: &'a str,
    multi_session_id: &'a str,
}

impl Teller<'_> {
    /// Whether a session is its own.
    fn has(&self, held: &SimSession) -> bool {
        self.source == held.source && self.nas == held.nas && self.session_id == held.session_id
    }

    /// Whether a session is another bearer of its own (3GPP TS 29.061, section 16.4.7.2).
    fn is_bearer_beside(&self, held: &SimSession) -> bool {
        self.source == Source::Radius
            && held.source == Source::Radius
            && self.nas == held.nas
            && !self.multi_session_id.is_empty()
            && self.multi_session_id == held.multi_session_id
    }
}

impl Claim<'_> {
    /// Whether it takes an address over from whoever has it.
    fn prevails(&self, held: &SimSession) -> bool {
        if self.teller.has(held) {
            return true;
        }
        if self.imsi == held.imsi {
            // A further bearer comes and goes; the address is the first one's.
            if self.teller.is_bearer_beside(held) {
                return self.time_ms < held.started_ms;
            }
            // Of two that tell the same, the first one keeps telling: it hears of the end.
            if self.teller.source == Source::Open5gs && held.source != Source::Open5gs {
                return false;
            }
        }
        // Times have seconds, as a rule: of two events in one, the address is given after it was used.
        if self.is_start {
            self.time_ms >= held.updated_ms
        } else {
            self.time_ms > held.updated_ms
        }
    }
}

impl Writer<'_> {
    fn event(&mut self, act: &SessionAct, time_ms: i64) -> Done {
        match act {
            SessionAct::Accounting { nas, act } => self.accounting(nas, act, time_ms),
            SessionAct::Bind {
                network,
                block,
                imsi,
                imei,
            } => self.place(&Claim {
                teller: Teller {
                    source: Source::Api,
                    nas: "",
                    session_id: "",
                    multi_session_id: "",
                },
                is_start: true,
                network,
                block: block.trunc(),
                imsi: *imsi,
                imei: *imei,
                apn: "",
                time_ms,
                started_ms: time_ms,
            }),
            SessionAct::Unbind { network, block } => {
                let held = self.rows.holder(network, &block.trunc())?;
                held.map_or(Ok(()), |held| self.release(&held, time_ms))
            }
            SessionAct::UnbindSim { imsi } => {
                let held = super::of_imsi(self.rows.0, imsi)?;
                self.release_all(&held, time_ms)
            }
            SessionAct::Replace {
                network,
                url,
                sessions,
                unread,
            } => self.replace((network, url), sessions, unread, time_ms),
        }
    }

    fn accounting(&mut self, nas: &str, act: &Act, time_ms: i64) -> Done {
        // Before an access server began anew there was another one.
        let began = self.rows.heard(nas, "")?;
        let is_of_before = began.is_some_and(|began| time_ms < began.updated_ms);
        match act {
            Act::Bind { .. } | Act::Stop { .. } if is_of_before => Ok(()),
            Act::Bind { .. } => self.bind(nas, act, time_ms),
            Act::Stop { session_id } => self.stop(nas, session_id, time_ms),
            Act::On => self.restart(nas, time_ms, time_ms.saturating_sub(1)),
            Act::Off => self.restart(nas, time_ms, time_ms),
        }
    }

    fn bind(&mut self, nas: &str, act: &Act, time_ms: i64) -> Done {
        let Act::Bind {
            is_start,
            session_id,
            multi_session_id,
            network,
            apn,
            imsi,
            imei,
            blocks,
        } = act
        else {
            return Ok(());
        };
        match self.rows.heard(nas, session_id)? {
            // Ids are used again, by access servers that count from 1 at every start.
            Some(heard) if heard.is_over && !is_reuse(heard.updated_ms, time_ms) => return Ok(()),
            Some(heard) if !heard.is_over && time_ms < heard.updated_ms => {
                let held = if *is_start {
                    self.rows.of_session(nas, session_id)?
                } else {
                    Vec::new()
                };
                let of_sim = held.into_iter().filter(|held| held.imsi == *imsi);
                return of_sim
                    .into_iter()
                    .try_for_each(|held| self.began(held, *imei, time_ms));
            }
            _ => {}
        }
        self.rows.hear(nas, session_id, time_ms, false)?;
        let mine = self.rows.of_session(nas, session_id)?;
        let begins = mine.iter().map(|held| held.started_ms);
        let started_ms = begins.fold(time_ms, i64::min);
        for block in blocks {
            self.place(&Claim {
                teller: Teller {
                    source: Source::Radius,
                    nas,
                    session_id,
                    multi_session_id,
                },
                is_start: *is_start,
                network,
                block: block.trunc(),
                imsi: *imsi,
                imei: *imei,
                apn,
                time_ms,
                started_ms,
            })?;
        }
        // Another address of the same kind is instead of the one before; of the other kind nothing was said.
        for held in mine {
            let is_v4 = |block: &IpNet| matches!(block, IpNet::V4(_));
            let is_listed = held.network == *network && blocks.contains(&held.block);
            let mut others = blocks.iter();
            if !is_listed && others.any(|block| is_v4(block) == is_v4(&held.block)) {
                self.release(&held, time_ms)?;
            }
        }
        Ok(())
    }

    fn stop(&mut self, nas: &str, session_id: &str, time_ms: i64) -> Done {
        let held = self.rows.of_session(nas, session_id)?;
        let is_of_before = |held: &SimSession| is_reuse(time_ms, held.started_ms);
        if held.iter().any(is_of_before) {
            return Ok(());
        }
        self.rows.hear(nas, session_id, time_ms, true)?;
        self.release_all(&held, time_ms)
    }

    /// Ends an access server's sessions of which nothing is known after `last_ms`.
    fn restart(&mut self, nas: &str, time_ms: i64, last_ms: i64) -> Done {
        self.rows.hear(nas, "", time_ms, false)?;
        let held = self.rows.of_nas(nas, last_ms)?;
        self.release_all(&held, time_ms)?;
        self.rows.forget_nas(nas, last_ms)
    }

    fn replace(
        &mut self,
        (network, url): (&Arc<str>, &str),
        sessions: &[open5gs::Session],
        unread: &[open5gs::Unread],
        time_ms: i64,
    ) -> Done {
        // Of two that have one address the later one has it: it came later.
        let mut listed: HashMap<IpNet, &open5gs::Session, ahash::RandomState> = HashMap::default();
        let mut order = Vec::with_capacity(sessions.len());
        for session in sessions {
            if listed.insert(session.block.trunc(), session).is_none() {
                order.push(session.block.trunc());
            }
        }
        let mut unread_of: HashMap<Imsi, Vec<&open5gs::Unread>, ahash::RandomState> =
            HashMap::default();
        for unread in unread {
            unread_of.entry(unread.imsi).or_default().push(unread);
        }
        for held in self.rows.of_url(network, url)? {
            let is_unread = || {
                let mut unread = unread_of.get(&held.imsi).into_iter().flatten();
                unread.any(|unread| unread.may_be(&held.imsi, &held.block, &held.apn))
            };
            match listed.get(&held.block) {
                Some(found) if found.imsi == held.imsi && found.imei == held.imei => {
                    // Most of them, most of the time: nothing is written.
                    listed.remove(&held.block);
                }
                Some(_) => {}
                // The SIM has a session: which address it has cannot be read, not that it has none.
                None if is_unread() => {}
                None => self.release(&held, time_ms)?,
            }
        }
        for block in order {
            let Some(found) = listed.get(&block) else {
                continue;
            };
            self.place(&Claim {
                teller: Teller {
                    source: Source::Open5gs,
                    nas: url,
                    session_id: "",
                    multi_session_id: "",
                },
                is_start: true,
                network,
                block,
                imsi: found.imsi,
                imei: found.imei,
                apn: &found.dnn,
                time_ms,
                started_ms: time_ms,
            })?;
        }
        Ok(())
    }

    /// Gives an address to whoever claims it, unless somebody else has it with more right.
    fn place(&mut self, claim: &Claim<'_>) -> Done {
        let Some(held) = self.rows.holder(claim.network, &claim.block)? else {
            let row = claim.row(claim.imei, claim.started_ms, claim.time_ms);
            self.rows.write(&row)?;
            self.rows
                .remember(HistoryKind::Created, &row, claim.time_ms)?;
            self.bound(&row, None);
            return Ok(());
        };
        if !claim.prevails(&held) {
            return Ok(());
        }
        let is_same_sim = claim.imsi == held.imsi;
        let is_same_session = is_same_sim && claim.teller.has(&held);
        // Not every request about a session names the modem.
        let imei = match claim.imei {
            None if is_same_session => held.imei,
            imei => imei,
        };
        let (started_ms, updated_ms) = if is_same_session {
            let started_ms = held.started_ms.min(claim.started_ms);
            (started_ms, held.updated_ms.max(claim.time_ms))
        } else {
            (claim.started_ms, claim.time_ms)
        };
        let row = claim.row(imei, started_ms, updated_ms);
        if row == held {
            return Ok(());
        }
        self.rows.write(&row)?;
        if !is_same_sim {
            self.rows
                .remember(HistoryKind::Deleted, &held, claim.time_ms)?;
            self.rows
                .remember(HistoryKind::Created, &row, claim.time_ms)?;
        } else if imei != held.imei || !is_same_session {
            self.rows
                .remember(HistoryKind::Modified, &row, claim.time_ms)?;
        }
        if !is_same_sim || imei != held.imei {
            self.bound(&row, Some(held.imsi));
        }
        Ok(())
    }

    fn bound(&mut self, row: &SimSession, before: Option<Imsi>) {
        self.changes.push(SessionChange::Bound {
            network: Arc::clone(&row.network),
            block: row.block,
            imsi: row.imsi,
            imei: row.imei,
            before,
        });
    }

    /// A Start comes late: it tells when its session began, and perhaps with which modem.
    fn began(&mut self, held: SimSession, imei: Option<Imei>, time_ms: i64) -> Done {
        let row = SimSession {
            imei: held.imei.or(imei),
            started_ms: held.started_ms.min(time_ms),
            ..held.clone()
        };
        if row != held {
            self.rows.write(&row)?;
        }
        if row.imei != held.imei {
            self.rows.remember(HistoryKind::Modified, &row, time_ms)?;
            self.bound(&row, Some(held.imsi));
        }
        Ok(())
    }

    fn release_all(&mut self, held: &[SimSession], time_ms: i64) -> Done {
        held.iter().try_for_each(|held| self.release(held, time_ms))
    }

    fn release(&mut self, held: &SimSession, time_ms: i64) -> Done {
        self.rows.delete(held)?;
        self.rows.remember(HistoryKind::Deleted, held, time_ms)?;
        self.changes.push(SessionChange::Released {
            network: Arc::clone(&held.network),
            block: held.block,
            imsi: held.imsi,
        });
        Ok(())
    }
}

impl Claim<'_> {
    fn row(&self, imei: Option<Imei>, started_ms: i64, updated_ms: i64) -> SimSession {
        SimSession {
            network: Arc::clone(self.network),
            block: self.block,
            imsi: self.imsi,
            imei,
            source: self.teller.source,
            nas: self.teller.nas.to_owned(),
            session_id: self.teller.session_id.to_owned(),
            multi_session_id: self.teller.multi_session_id.to_owned(),
            apn: self.apn.to_owned(),
            started_ms,
            updated_ms,
        }
    }
}

/// Whether an event is so much later than another of the same session that it is of another session with its id.
fn is_reuse(earlier_ms: i64, later_ms: i64) -> bool {
    later_ms.saturating_sub(earlier_ms) > SESSION_REUSE_MS
}
