//! Accounting: what a packet core's requests make of the sessions.

use std::sync::Arc;

use ipnet::IpNet;
use ringbeam_proto::identity::Imsi;

use super::again::{Use, When, is_stop_of_before};
use super::apply::{Claim, Teller, Writer};
use super::rows::{Done, Heard, Nas};
use super::{SimSession, Source};
use crate::radius::{AccountingEvent, Act};

impl Heard {
    /// What is known of a session that begins, or goes on after `before`.
    fn going_on(before: Option<Self>, imsi: Imsi, when: When) -> Self {
        let own_ms = before.and_then(|before| before.own_ms);
        Self {
            updated_ms: before.map_or(when.time_ms, |before| before.updated_ms.max(when.time_ms)),
            is_over: false,
            imsi: Some(imsi),
            own_ms: [own_ms, when.own_ms].into_iter().flatten().min(),
        }
    }

    /// What is known of one that is over.
    fn over(before: Option<Self>, imsi: Option<Imsi>, when: When) -> Self {
        let over = before.filter(|before| before.is_over);
        let named = before.and_then(|before| before.imsi);
        // What comes late is not about the last of them.
        let is_late = over.is_some_and(|over| when.time_ms < over.updated_ms);
        Self {
            updated_ms: before.map_or(when.time_ms, |before| before.updated_ms.max(when.time_ms)),
            is_over: true,
            imsi: if is_late {
                named.or(imsi)
            } else {
                imsi.or(named)
            },
            own_ms: over.and_then(|over| over.own_ms).max(when.own_ms),
        }
    }
}

impl Writer<'_> {
    pub(super) fn accounting(&mut self, event: &AccountingEvent, time_ms: i64) -> Done {
        let AccountingEvent { nas, request, .. } = event;
        if let Some(request) = request
            && self.rows.is_known(nas, request)?
        {
            self.kept.replayed.push(Arc::clone(nas));
            return Ok(());
        }
        let changes = self.changes.len();
        self.heard(event, time_ms)?;
        // An Interim-Update as a rule says what is known.
        let is_bare = matches!(
            event.act,
            Act::Bind {
                is_start: false,
                ..
            }
        );
        match request {
            Some(request) if !is_bare || self.changes.len() > changes => {
                self.rows.know(nas, request)
            }
            _ => Ok(()),
        }
    }

    fn heard(&mut self, event: &AccountingEvent, time_ms: i64) -> Done {
        let nas = Nas {
            name: &event.nas,
            client: &event.client,
            networks: &event.networks,
        };
        let when = When {
            time_ms,
            own_ms: event.own_ms,
        };
        // Before an access server began anew there was another one.
        let began = self.rows.heard(&nas, "")?;
        let is_of_before = began.is_some_and(|began| when.last_ms() < began.updated_ms);
        match &event.act {
            Act::Bind { .. } | Act::Stop { .. } if is_of_before => Ok(()),
            Act::Bind { .. } => self.bind(&nas, &event.act, when),
            Act::Stop { session_id, imsi } => {
                self.stop((&nas, &event.nas), session_id, *imsi, when)
            }
            Act::On => self.restart((&nas, &event.nas), began, when, time_ms.saturating_sub(1)),
            Act::Off => self.restart((&nas, &event.nas), began, when, time_ms),
        }
    }

    fn bind(&mut self, nas: &Nas<'_>, act: &Act, when: When) -> Done {
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
        let time_ms = when.time_ms;
        let heard = self.rows.heard(nas, session_id)?;
        let (mut mine, _) = self.rows.of_session(nas, session_id)?;
        let is_listed =
            |held: &SimSession| held.network == *network && blocks.contains(&held.block);
        let before = match Use::of_id(heard.as_ref(), *is_start, *imsi, when) {
            Use::OfBefore => {
                mine.retain(|held| *is_start && held.imsi == *imsi);
                return mine
                    .into_iter()
                    .try_for_each(|held| self.began(held, *imei, time_ms));
            }
            Use::New => {
                // What another one had by that id has ended unheard.
                for held in mine.extract_if(.., |held| held.imsi != *imsi) {
                    if !is_listed(&held) {
                        self.release(&held, time_ms)?;
                    }
                }
                None
            }
            Use::GoesOn => heard,
        };
        self.rows
            .hear(nas, session_id, &Heard::going_on(before, *imsi, when))?;
        let is_new = heard.is_some() && before.is_none();
        let begins = mine.iter().filter(|_| !is_new);
        let begins = begins.map(|held| held.started_ms);
        let started_ms = begins.fold(time_ms, i64::min);
        for block in blocks {
            self.place(&Claim {
                teller: Teller {
                    source: Source::Radius,
                    nas: *nas,
                    session_id,
                    multi_session_id,
                },
                is_start: *is_start,
                network,
                block: block.trunc(),
                imsi: *imsi,
                imei: *imei,
                apn,
                when,
                started_ms,
                is_new,
            })?;
        }
        self.replace_others(mine, blocks, is_listed, time_ms)
    }

    /// Another address of the same kind is instead of the one before; of the other kind nothing was said.
    fn replace_others(
        &mut self,
        mine: Vec<SimSession>,
        blocks: &[IpNet],
        is_listed: impl Fn(&SimSession) -> bool,
        time_ms: i64,
    ) -> Done {
        let is_v4 = |block: &IpNet| matches!(block, IpNet::V4(_));
        for held in mine {
            let mut others = blocks.iter();
            if !is_listed(&held) && others.any(|block| is_v4(block) == is_v4(&held.block)) {
                self.release(&held, time_ms)?;
            }
        }
        Ok(())
    }

    fn stop(
        &mut self,
        (nas, name): (&Nas<'_>, &Arc<str>),
        session_id: &str,
        imsi: Option<Imsi>,
        when: When,
    ) -> Done {
        let heard = self.rows.heard(nas, session_id)?;
        let (held, is_foreign) = self.rows.of_session(nas, session_id)?;
        if is_stop_of_before(heard.as_ref(), &held, imsi, when) {
            return Ok(());
        }
        if is_foreign && held.is_empty() && heard.is_none() {
            self.kept.foreign.push(Arc::clone(name));
        }
        self.rows
            .hear(nas, session_id, &Heard::over(heard, imsi, when))?;
        self.release_all(&held, when.time_ms)
    }

    /// Ends an access server's sessions of which nothing is known after `last_ms`.
    fn restart(
        &mut self,
        (nas, name): (&Nas<'_>, &Arc<str>),
        began: Option<Heard>,
        when: When,
        last_ms: i64,
    ) -> Done {
        let (held, is_foreign) = self.rows.of_nas(nas, last_ms)?;
        if is_foreign && held.is_empty() && began.is_none() {
            self.kept.foreign.push(Arc::clone(name));
        }
        let now_heard = Heard {
            updated_ms: began.map_or(when.time_ms, |began| began.updated_ms.max(when.time_ms)),
            is_over: false,
            imsi: None,
            own_ms: when.own_ms,
        };
        self.rows.hear(nas, "", &now_heard)?;
        self.release_all(&held, when.time_ms)?;
        self.rows.forget_nas(nas, last_ms)
    }
}
