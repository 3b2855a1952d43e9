//! Apply: what events make of the sessions. Requests are sent again, overtake each other and get lost, so that none of
//! this depends on the order in which events come, but on when they happened:
//!
//! - A session that is over stays over: what comes late about it binds nothing, and a Stop may come before its Start.
//! - An id that another SIM has, or that begins later than it ended, is another session's (B-ID-7).
//! - What is older than the last that was heard of a session changes nothing.
//! - An address goes to whoever was given it last; what happened before that takes nothing away.
//! - Only the session that has an address releases it, and only the client that told of it.
//! - A request that gave or ended something does so once, however often it is sent.
//! - What is later than now was written while this host's clock was ahead: everything that happens now is later.

use std::sync::Arc;

use hashbrown::HashMap;
use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};
use rusqlite::Transaction;

use super::again::When;
use super::history::HistoryKind;
use super::rows::{Done, Heard, Nas, Rows};
use super::{SessionAct, SessionChange, SessionEvent, SimSession, Source};
use crate::open5gs;
use crate::radius::Kept;

/// More than there are statements here, and others of the same connection.
const STATEMENTS_KEPT: usize = 64;

/// What events made of the sessions.
#[derive(Debug, Default)]
pub struct Applied {
    /// What changed, in order; nothing where everything was known.
    pub changes: Vec<SessionChange>,
    /// What became of the events.
    pub kept: Kept,
}

/// Makes of the sessions what these events say, in one transaction, which the caller commits, at `now_ms` since the Unix
/// epoch.
///
/// # Errors
/// When the database refuses; then the transaction must not be committed.
pub fn apply(
    transaction: &Transaction<'_>,
    events: &[SessionEvent],
    now_ms: i64,
) -> Result<Applied, rusqlite::Error> {
    transaction.set_prepared_statement_cache_capacity(STATEMENTS_KEPT);
    let mut writer = Writer {
        rows: Rows {
            transaction,
            now_ms,
        },
        changes: Vec::new(),
        kept: Kept::default(),
    };
    for SessionEvent { time_ms, act } in events {
        writer.event(act, (*time_ms).min(now_ms))?;
    }
    Ok(Applied {
        changes: writer.changes,
        kept: writer.kept,
    })
}

pub(super) struct Writer<'a> {
    pub(super) rows: Rows<'a>,
    pub(super) changes: Vec<SessionChange>,
    pub(super) kept: Kept,
}

/// What an event claims for a SIM.
#[derive(Clone, Copy)]
pub(super) struct Claim<'a> {
    pub(super) teller: Teller<'a>,
    /// Whether a session begins with it.
    pub(super) is_start: bool,
    pub(super) network: &'a Arc<str>,
    pub(super) block: IpNet,
    pub(super) imsi: Imsi,
    pub(super) imei: Option<Imei>,
    pub(super) apn: &'a str,
    pub(super) when: When,
    /// When its session began, as far as is known.
    pub(super) started_ms: i64,
    /// Whether that is for certain.
    pub(super) is_new: bool,
}

/// Who claims it.
#[derive(Clone, Copy)]
pub(super) struct Teller<'a> {
    pub(super) source: Source,
    pub(super) nas: Nas<'a>,
    pub(super) session_id: &'a str,
    pub(super) multi_session_id: &'a str,
}

impl Teller<'_> {
    /// Whether a session is its own.
    fn has(&self, held: &SimSession) -> bool {
        let is_own = match self.source {
            Source::Radius => self.nas.has(held),
            Source::Api | Source::Open5gs => {
                self.source == held.source && self.nas.name == held.nas
            }
        };
        is_own && self.session_id == held.session_id
    }

    /// Whether a session is another bearer of its own (3GPP TS 29.061, section 16.4.7.2).
    fn is_bearer_beside(&self, held: &SimSession) -> bool {
        self.source == Source::Radius
            && self.nas.has(held)
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
                return self.when.time_ms < held.started_ms;
            }
            // Of two that tell the same, the first one keeps telling: it hears of the end.
            if self.teller.source == Source::Open5gs && held.source != Source::Open5gs {
                return false;
            }
        }
        // What an operator gave goes on a new session's word: whoever had it before goes on telling of it.
        if held.source == Source::Api && !self.is_start && self.imsi != held.imsi {
            return false;
        }
        // Times have seconds, as a rule: of two events in one, the address is given after it was used.
        if self.is_start {
            self.when.last_ms() >= held.updated_ms
        } else {
            self.when.time_ms > held.updated_ms
        }
    }
}

impl Writer<'_> {
    fn event(&mut self, act: &SessionAct, time_ms: i64) -> Done {
        match act {
            SessionAct::Accounting(event) => self.accounting(event, time_ms),
            SessionAct::Bind {
                network,
                block,
                imsi,
                imei,
            } => self.place(&Claim {
                teller: Teller {
                    source: Source::Api,
                    nas: Nas::named(""),
                    session_id: "",
                    multi_session_id: "",
                },
                is_start: true,
                network,
                block: block.trunc(),
                imsi: *imsi,
                imei: *imei,
                apn: "",
                when: When::of(time_ms),
                started_ms: time_ms,
                is_new: false,
            }),
            SessionAct::Unbind { network, block } => {
                let held = self.rows.holder(network, &block.trunc())?;
                held.map_or(Ok(()), |held| self.release(&held, time_ms))
            }
            SessionAct::UnbindSim { imsi } => {
                let held = self.rows.of_imsi(imsi)?;
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
                    nas: Nas::named(url),
                    session_id: "",
                    multi_session_id: "",
                },
                is_start: true,
                network,
                block,
                imsi: found.imsi,
                imei: found.imei,
                apn: &found.dnn,
                when: When::of(time_ms),
                started_ms: time_ms,
                is_new: false,
            })?;
        }
        Ok(())
    }

    /// Gives an address to whoever claims it, unless somebody else has it with more right.
    pub(super) fn place(&mut self, claim: &Claim<'_>) -> Done {
        let Some(held) = self.rows.holder(claim.network, &claim.block)? else {
            let row = claim.row(claim.imei, claim.started_ms, claim.when.time_ms);
            self.rows.write(&row)?;
            self.rows
                .remember(HistoryKind::Created, &row, claim.when.time_ms)?;
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
            let started_ms = if claim.is_new {
                claim.started_ms
            } else {
                held.started_ms.min(claim.started_ms)
            };
            (started_ms, held.updated_ms.max(claim.when.time_ms))
        } else {
            (claim.started_ms, claim.when.time_ms)
        };
        let row = claim.row(imei, started_ms, updated_ms);
        if row == held {
            return Ok(());
        }
        self.rows.write(&row)?;
        if !is_same_sim {
            self.rows
                .remember(HistoryKind::Deleted, &held, claim.when.time_ms)?;
            self.rows
                .remember(HistoryKind::Created, &row, claim.when.time_ms)?;
        } else if imei != held.imei || !is_same_session {
            self.rows
                .remember(HistoryKind::Modified, &row, claim.when.time_ms)?;
        }
        if !is_same_sim || imei != held.imei {
            self.bound(&row, Some(held.imsi));
        }
        if !is_same_sim {
            return self.lost(claim, &held);
        }
        Ok(())
    }

    /// A session that has nothing left because a packet core gave its address to another SIM is over: its end was lost.
    /// What still comes of it takes nothing back.
    fn lost(&mut self, claim: &Claim<'_>, held: &SimSession) -> Done {
        let teller = &claim.teller;
        let is_given = claim.is_start && teller.source == Source::Radius;
        if !is_given || held.source != Source::Radius || teller.has(held) {
            return Ok(());
        }
        let nas = Nas {
            name: &held.nas,
            client: &held.client,
            networks: std::slice::from_ref(&held.network),
        };
        let (left, _) = self.rows.of_session(&nas, &held.session_id)?;
        let Some(heard) = self.rows.heard(&nas, &held.session_id)? else {
            return Ok(());
        };
        if heard.is_over || !left.is_empty() {
            return Ok(());
        }
        let over = Heard {
            updated_ms: heard.updated_ms.max(claim.when.time_ms),
            is_over: true,
            // Of another access server nobody knows what its clock showed.
            own_ms: claim.when.own_ms.filter(|_| teller.nas.has(held)),
            ..heard
        };
        self.rows.hear(&nas, &held.session_id, &over)
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
    pub(super) fn began(&mut self, held: SimSession, imei: Option<Imei>, time_ms: i64) -> Done {
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

    pub(super) fn release_all(&mut self, held: &[SimSession], time_ms: i64) -> Done {
        held.iter().try_for_each(|held| self.release(held, time_ms))
    }

    pub(super) fn release(&mut self, held: &SimSession, time_ms: i64) -> Done {
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
            nas: self.teller.nas.name.to_owned(),
            session_id: self.teller.session_id.to_owned(),
            multi_session_id: self.teller.multi_session_id.to_owned(),
            apn: self.apn.to_owned(),
            started_ms,
            updated_ms,
            client: self.teller.nas.client.to_owned(),
        }
    }
}
