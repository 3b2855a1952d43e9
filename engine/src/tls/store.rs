//! Store: tickets for sessions that can be resumed, shared by all shards and all SIMs of one credential.
//! It is bounded: a server's oldest tickets go first, and the server that was met longest ago.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashMap;
use rustls::NamedGroup;
use rustls::client::{ClientSessionStore, Tls12ClientSessionValue, Tls13ClientSessionValue};
use rustls::pki_types::ServerName;

use crate::limits::{TLS_TICKETS, TLS_TICKETS_FORGOTTEN, TLS_TICKETS_PER_SERVER};

/// Whose tickets: a server's, for one client identity. A ticket stands for the identity that its session
/// had, so that no other may use it.
type Owner = (u64, ServerName<'static>);

/// What is kept of one server.
#[derive(Default)]
struct Server {
    group: Option<NamedGroup>,
    tls12: Option<Tls12ClientSessionValue>,
    /// The newest at the back.
    tickets: VecDeque<Tls13ClientSessionValue>,
    used: u64,
}

impl Server {
    fn len(&self) -> usize {
        self.tickets
            .len()
            .saturating_add(usize::from(self.tls12.is_some()))
            .max(1)
    }
}

#[derive(Default)]
struct Kept {
    servers: HashMap<Owner, Server, RandomState>,
    /// Sum of the servers' lengths.
    length: usize,
    clock: u64,
}

impl Kept {
    /// Changes what is kept of one server, then makes room again.
    fn change<T>(&mut self, owner: Owner, change: impl FnOnce(&mut Server) -> T) -> T {
        self.clock = self.clock.wrapping_add(1);
        let is_new = !self.servers.contains_key(&owner);
        let server = self.servers.entry(owner).or_default();
        let before = if is_new { 0 } else { server.len() };
        let result = change(server);
        server.used = self.clock;
        let after = server.len();
        self.length = self.length.saturating_sub(before).saturating_add(after);
        if self.length > TLS_TICKETS {
            self.forget_oldest();
        }
        result
    }

    /// Makes room for many, so that not every handshake has to look for the oldest.
    fn forget_oldest(&mut self) {
        let servers = self.servers.values();
        let mut ages: Vec<(u64, usize)> = servers.map(|one| (one.used, one.len())).collect();
        ages.sort_unstable();
        let kept = TLS_TICKETS.saturating_sub(TLS_TICKETS_FORGOTTEN);
        let mut excess = self.length.saturating_sub(kept);
        let mut until = 0;
        for (used, length) in ages {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(length);
            until = used;
        }
        self.servers.retain(|_, server| server.used > until);
        self.length = self.servers.values().map(Server::len).sum();
    }
}

/// The tickets of all client identities.
#[derive(Clone, Default)]
pub(super) struct Store {
    #[expect(
        clippy::disallowed_types,
        reason = "taken two or three times per handshake, never on the way of a message"
    )]
    kept: Arc<std::sync::Mutex<Kept>>,
}

impl Store {
    /// The part that belongs to one client identity.
    pub(super) fn of(&self, identity: u64) -> Arc<dyn ClientSessionStore> {
        Arc::new(Share {
            store: self.clone(),
            identity,
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Kept) -> T) -> T {
        // Nothing in here panics half-way; tickets are a convenience in any case.
        let mut kept = self
            .kept
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        act(&mut kept)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (servers, length) = self.with(|kept| (kept.servers.len(), kept.length));
        formatter
            .debug_struct("Store")
            .field("servers", &servers)
            .field("length", &length)
            .finish()
    }
}

/// The store as one client identity sees it.
#[derive(Debug)]
struct Share {
    store: Store,
    identity: u64,
}

impl Share {
    fn owner(&self, server: &ServerName<'_>) -> Owner {
        (self.identity, server.to_owned())
    }

    fn change<T>(&self, server: &ServerName<'_>, change: impl FnOnce(&mut Server) -> T) -> T {
        let owner = self.owner(server);
        self.store.with(|kept| kept.change(owner, change))
    }

    fn look<T>(
        &self,
        server: &ServerName<'_>,
        look: impl FnOnce(&mut Server) -> Option<T>,
    ) -> Option<T> {
        let owner = self.owner(server);
        self.store.with(|kept| {
            kept.servers
                .contains_key(&owner)
                .then(|| kept.change(owner, look))
                .flatten()
        })
    }
}

impl ClientSessionStore for Share {
    fn set_kx_hint(&self, server_name: ServerName<'static>, group: NamedGroup) {
        self.change(&server_name, |server| server.group = Some(group));
    }

    fn kx_hint(&self, server_name: &ServerName<'_>) -> Option<NamedGroup> {
        self.look(server_name, |server| server.group)
    }

    fn set_tls12_session(&self, server_name: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.change(&server_name, |server| server.tls12 = Some(value));
    }

    fn tls12_session(&self, server_name: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.look(server_name, |server| server.tls12.clone())
    }

    fn remove_tls12_session(&self, server_name: &ServerName<'static>) {
        drop(self.look(server_name, |server| server.tls12.take()));
    }

    fn insert_tls13_ticket(
        &self,
        server_name: ServerName<'static>,
        value: Tls13ClientSessionValue,
    ) {
        self.change(&server_name, |server| {
            if server.tickets.len() >= TLS_TICKETS_PER_SERVER {
                drop(server.tickets.pop_front());
            }
            server.tickets.push_back(value);
        });
    }

    fn take_tls13_ticket(
        &self,
        server_name: &ServerName<'static>,
    ) -> Option<Tls13ClientSessionValue> {
        self.look(server_name, |server| server.tickets.pop_back())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(number: usize) -> ServerName<'static> {
        ServerName::try_from(format!("s{number}.example")).unwrap()
    }

    #[test]
    fn one_identity_never_sees_what_belongs_to_another() {
        let store = Store::default();
        let (first, second) = (store.of(1), store.of(2));
        first.set_kx_hint(name(1), NamedGroup::X25519);
        assert_eq!(first.kx_hint(&name(1)), Some(NamedGroup::X25519));
        assert_eq!(second.kx_hint(&name(1)), None);
        assert_eq!(first.kx_hint(&name(2)), None);
    }

    #[test]
    fn the_server_met_longest_ago_is_forgotten_first() {
        let store = Store::default();
        let share = store.of(1);
        for number in 0..TLS_TICKETS + 10 {
            share.set_kx_hint(name(number), NamedGroup::X25519);
            assert!(share.kx_hint(&name(0)).is_some());
            assert!(store.with(|kept| kept.length) <= TLS_TICKETS);
        }
        assert!(share.kx_hint(&name(TLS_TICKETS_FORGOTTEN)).is_none());
        assert!(share.kx_hint(&name(TLS_TICKETS_FORGOTTEN + 2)).is_some());
        let left = TLS_TICKETS - TLS_TICKETS_FORGOTTEN + 9;
        assert_eq!(
            store.with(|kept| (kept.length, kept.servers.len())),
            (left, left)
        );
        assert!(share.tls12_session(&name(0)).is_none());
        assert!(share.take_tls13_ticket(&name(0)).is_none());
    }
}
