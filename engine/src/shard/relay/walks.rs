//! Walks: what whoever runs the engine asks of all sessions. A relay looks at so many of them a round and at no more, so that
//! nobody's messages wait for it.

use std::sync::Arc;

use crossbeam_channel::Sender;
use ringbeam_proto::error::Cause;

use super::flow::{Flow, Stage};
use super::wire::Wire;
use super::{FlowId, Relay};
use crate::limits::{CONNECTIONS_LISTED, SESSIONS_IN_A_ROW, WALKS};
use crate::shard::report::{
    Ask, Book, ConnectionFilter, ConnectionId, ConnectionPage, Ends, LiveConnection, Usage,
    UsageShare,
};
use crate::sys::clock::unix_ms_of;

/// Sessions that one round looks at; in tests so few that questions take several.
const SLICE: u32 = if cfg!(test) { 2 } else { SESSIONS_IN_A_ROW };

/// A question on its way.
#[derive(Debug)]
pub(super) struct Walk {
    /// The place that is looked at next.
    next: u32,
    purpose: Purpose,
}

#[derive(Debug)]
enum Purpose {
    End(Ends),
    Usage(Book, Sender<UsageShare>),
    List(
        ConnectionFilter,
        Vec<LiveConnection>,
        Sender<ConnectionPage>,
    ),
    /// Sessions under way are shown to a tap, by its number.
    Tap(u64),
}

impl Flow {
    /// B-BILL-1: its billed packets that nobody was told of.
    pub(super) fn untold(&self) -> Usage {
        let (counts, told) = (self.session.counts(), self.record.told);
        let opening = self.session.opening();
        Usage {
            imsi: opening.identity.imsi,
            platform: opening.rules.platform,
            over_tls: self.record.is_tls,
            counts: counts.since(told),
        }
    }
}

impl<W: Wire> Relay<W> {
    /// Deals with a question, or begins to.
    pub(super) fn ask(&mut self, ask: Ask) {
        let (next, purpose) = match ask {
            Ask::Close(id, reply) => {
                // Whoever asked may be gone.
                let _ = reply.send(self.close(id.flow));
                return;
            }
            Ask::End(ends) => (0, Purpose::End(ends)),
            Ask::Usage(reply) => {
                let book = std::mem::take(&mut self.usage);
                (0, Purpose::Usage(book, reply))
            }
            Ask::Tap(request) => match self.tap(request) {
                Some(number) => (0, Purpose::Tap(number)),
                None => return,
            },
            Ask::List(filter, reply) => {
                let first = filter.first_place(self.shared.index);
                let next = first.unwrap_or(u32::MAX);
                (next, Purpose::List(filter, Vec::new(), reply))
            }
        };
        let walk = Walk { next, purpose };
        if self.walks.len() < WALKS {
            self.walks.push_back(walk);
            return;
        }
        match walk.purpose {
            Purpose::End(ends) => self.end_between(0..self.places, &ends),
            // It is told the next time.
            Purpose::Usage(book, _) => self.usage.add_all(book),
            Purpose::List(..) => {}
            Purpose::Tap(number) => self.tap_between(0..self.places, number),
        }
    }

    /// Takes the first question as far as one round may.
    pub(super) fn walk(&mut self) {
        let Some(Walk { next, mut purpose }) = self.walks.pop_front() else {
            return;
        };
        let until = next.saturating_add(SLICE).min(self.places);
        let is_full = match &mut purpose {
            Purpose::End(ends) => {
                self.end_between(next..until, ends);
                false
            }
            Purpose::Usage(book, _) => {
                self.count_between(next..until, book);
                false
            }
            Purpose::List(filter, found, _) => self.list_between(next..until, filter, found),
            Purpose::Tap(number) => {
                self.tap_between(next..until, *number);
                false
            }
        };
        if until < self.places && !is_full {
            let next = until;
            self.walks.push_front(Walk { next, purpose });
            return;
        }
        let shard = self.shared.index;
        match purpose {
            Purpose::End(_) | Purpose::Tap(_) => {}
            Purpose::Usage(book, reply) => {
                let usage = book.into_usage();
                if let Err(refused) = reply.try_send(UsageShare { shard, usage }) {
                    // Nobody has it: it is told the next time.
                    let usage = refused.into_inner().usage.into_iter();
                    usage.for_each(|usage| self.usage.add(usage));
                }
            }
            Purpose::List(_, connections, reply) => {
                let is_complete = !is_full;
                drop(reply.send(ConnectionPage {
                    shard,
                    connections,
                    is_complete,
                }));
            }
        }
    }

    /// B-ID-4, B-CFG-5: ends sessions of some SIMs, as they do when the whole fleet was replaced.
    fn end_between(&mut self, places: std::ops::Range<u32>, ends: &Ends) {
        let snapshot = self.shared.snapshot.load_full();
        for index in places {
            let Some(flow) = self.flows.get(index as usize) else {
                continue;
            };
            let imsi = flow.session.opening().identity.imsi;
            if !ends.imsis.contains(&imsi) {
                continue;
            }
            let record = &flow.record;
            let cause = if ends.are_all {
                Some(Cause::SimSessionEnded)
            } else {
                snapshot.ends(&record.network, record.peer.ip(), imsi, true)
            };
            let Some(cause) = cause else {
                continue;
            };
            self.end(index, cause);
            let flow = self.flows.get_mut(index as usize);
            let flow = flow.filter(|flow| flow.stage != Stage::Closing);
            if let Some(verdict) = flow.and_then(|flow| flow.verdict.as_deref_mut()) {
                verdict.awaited.push(Arc::clone(&ends.done));
            }
        }
    }

    /// B-BILL-1: what sessions were billed since somebody was told.
    fn count_between(&mut self, places: std::ops::Range<u32>, book: &mut Book) {
        if !self.shared.audience.collects_usage {
            return;
        }
        for index in places {
            if let Some(flow) = self.flows.get_mut(index as usize) {
                book.add(flow.untold());
                flow.record.told = flow.session.counts();
            }
        }
    }

    /// Lists sessions, and says whether there may be more than fit.
    fn list_between(
        &self,
        places: std::ops::Range<u32>,
        filter: &ConnectionFilter,
        found: &mut Vec<LiveConnection>,
    ) -> bool {
        for index in places {
            let Some(flow) = self.flows.get(index as usize) else {
                continue;
            };
            let imsi = flow.session.opening().identity.imsi;
            let is_wanted = filter.imsi.is_none_or(|wanted| wanted == imsi)
                && filter
                    .network
                    .as_ref()
                    .is_none_or(|network| *network == flow.record.network);
            if !is_wanted || flow.has_ended() {
                continue;
            }
            if found.len() >= filter.limit.min(CONNECTIONS_LISTED) {
                return true;
            }
            found.push(self.connection(index, flow));
        }
        false
    }

    fn connection(&self, index: u32, flow: &Flow) -> LiveConnection {
        let (opening, record) = (flow.session.opening(), &flow.record);
        LiveConnection {
            id: self.id_of(index, flow),
            identity: opening.identity,
            network: Arc::clone(&record.network),
            peer: record.peer,
            upstream: record.upstream,
            destination: record.destination,
            platform: opening.rules.platform,
            device_version: opening.device_version,
            upstream_version: opening.upstream_version,
            over_tls: record.is_tls,
            is_established: flow.is_established(),
            opened_unix_ms: unix_ms_of(record.opened_ms),
            counts: flow.session.counts(),
        }
    }

    /// B-KEEP-4: ends one session for the operator, and says whether there was one.
    fn close(&mut self, id: FlowId) -> bool {
        let flow = self.flows.get(id.index as usize);
        let is_there =
            flow.is_some_and(|flow| flow.generation == id.generation && !flow.has_ended());
        if is_there {
            self.end(id.index, Cause::ClosedByOperator);
        }
        is_there
    }
}

impl<W> Relay<W> {
    /// A session's name.
    pub(super) fn id_of(&self, index: u32, flow: &Flow) -> ConnectionId {
        let flow = FlowId {
            index,
            generation: flow.generation,
        };
        ConnectionId::new(self.shared.index, flow)
    }
}
