//! Clients: who may send accounting requests, the secret that each shares with us, and what each may speak of. An address
//! in, a client out; no secret is ever shown.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;
use zeroize::Zeroizing;

/// Whoever sends from a range of addresses.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Whose the sessions are that it tells of. Clients that share a secret are one: each could send as the other.
    pub name: Arc<str>,
    /// What it shares with us.
    pub secret: Zeroizing<Vec<u8>>,
    /// The networks whose addresses it may give and take.
    pub networks: Arc<[Arc<str>]>,
    /// The access servers that it may speak of; none stands for all that are listed nowhere.
    pub nas: Vec<Arc<str>>,
}

/// Ranges of addresses, each with its client.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Clients {
    /// The longest prefixes first.
    entries: Vec<(IpNet, Client)>,
    /// Access servers that some client lists, here or at another listener: they are nobody else's.
    listed: Vec<Arc<str>>,
}

/// An access server that a client may speak of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spoken {
    pub(super) nas: Arc<str>,
    /// Whose its sessions are; empty where it is listed: then they are those clients' together.
    pub(super) client: Arc<str>,
}

impl Clients {
    /// The client of these addresses; `false` where they have one already, or there is nothing secret about it.
    #[must_use]
    pub fn add(&mut self, range: IpNet, client: Client) -> bool {
        let range = range.trunc();
        let is_known = self.entries.iter().any(|(other, _)| *other == range);
        if is_known || client.secret.is_empty() {
            return false;
        }
        self.list(client.nas.iter().cloned());
        let length = range.prefix_len();
        let place = self
            .entries
            .partition_point(|(other, _)| other.prefix_len() >= length);
        self.entries.insert(place, (range, client));
        true
    }

    /// These access servers are nobody's but whose client lists them.
    pub fn list(&mut self, nas: impl IntoIterator<Item = Arc<str>>) {
        self.listed.extend(nas);
    }

    /// Access servers that are listed.
    #[must_use]
    pub fn listed(&self) -> &[Arc<str>] {
        &self.listed
    }

    /// Every client.
    pub fn all(&self) -> impl Iterator<Item = &Client> {
        self.entries.iter().map(|(_, client)| client)
    }

    /// How many ranges there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody may send anything.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The client of the most specific range that an address is in.
    #[must_use]
    pub fn find(&self, address: IpAddr) -> Option<&Client> {
        let address = address.to_canonical();
        let mut entries = self.entries.iter();
        let (_, client) = entries.find(|(range, _)| range.contains(&address))?;
        Some(client)
    }

    /// Which access server a client speaks of that gives these names, the first of which it is known by; `None` where it
    /// is not the client's to speak of.
    pub(super) fn spoken(&self, client: &Client, names: &[Arc<str>]) -> Option<Spoken> {
        if client.nas.is_empty() {
            let is_listed = names.iter().any(|name| self.listed.contains(name));
            let nas = names.first().filter(|_| !is_listed)?;
            return Some(Spoken {
                nas: Arc::clone(nas),
                client: Arc::clone(&client.name),
            });
        }
        // What is not listed is only said: it must not lead to another one's sessions.
        let nas = names.iter().find(|name| client.nas.contains(*name))?;
        Some(Spoken {
            nas: Arc::clone(nas),
            client: Arc::from(""),
        })
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Client")
            .field("name", &self.name)
            .field("networks", &self.networks)
            .field("nas", &self.nas)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries.iter().map(|(range, client)| (range, client));
        formatter.debug_map().entries(entries).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(secret: &str, nas: &[&str]) -> Client {
        Client {
            name: Arc::from(secret),
            secret: Zeroizing::new(secret.as_bytes().to_vec()),
            networks: Arc::from([Arc::from("default")]),
            nas: nas.iter().copied().map(Arc::from).collect(),
        }
    }

    #[test]
    fn the_most_specific_range_has_the_say_and_no_secret_is_shown() {
        let mut clients = Clients::default();
        let mut add = |range: &str, secret: &str| {
            let client = Client {
                name: Arc::from("x"),
                ..client(secret, &[])
            };
            clients.add(range.parse().unwrap(), client)
        };
        assert!(add("10.0.0.0/8", "hush-eight"));
        assert!(add("10.1.1.1/32", "hush-one"));
        assert!(add("10.1.0.0/16", "hush-sixteen"));
        assert!(add("fd00::/8", "hush-six"));
        assert!(!add("10.1.0.1/16", "twice"));
        assert!(!add("10.2.0.0/16", ""));
        let check = |address: &str, expected: Option<&str>| {
            let client = clients.find(address.parse().unwrap());
            let secret = client.map(|client| client.secret.as_slice());
            assert_eq!(secret, expected.map(str::as_bytes), "{address}");
        };
        check("10.1.1.1", Some("hush-one"));
        check("::ffff:10.1.1.1", Some("hush-one"));
        check("10.1.1.2", Some("hush-sixteen"));
        check("10.2.0.0", Some("hush-eight"));
        check("11.0.0.0", None);
        check("fd00::1", Some("hush-six"));
        check("fe80::1", None);
        let shown = format!("{clients:?}");
        assert!(shown.contains("10.1.0.0/16"), "{shown}");
        assert!(!shown.contains("hush") && !shown.contains("104"), "{shown}");
    }

    #[test]
    fn b_id_6_a_client_speaks_of_its_own_access_servers_alone() {
        let mut clients = Clients::default();
        let (owner, twin, other) = (
            client("owner", &["pgw", "10.0.0.9"]),
            client("twin", &["pgw"]),
            client("other", &[]),
        );
        for (range, client) in [
            ("10.1.0.0/16", &owner),
            ("10.2.0.0/16", &twin),
            ("::/0", &other),
        ] {
            assert!(clients.add(range.parse().unwrap(), client.clone()));
        }
        clients.list([Arc::from("elsewhere")]);
        let check = |client: &Client, names: &[&str], expected: Option<(&str, &str)>| {
            let names: Vec<Arc<str>> = names.iter().copied().map(Arc::from).collect();
            let spoken = clients.spoken(client, &names);
            let spoken = spoken
                .as_ref()
                .map(|spoken| (&*spoken.nas, &*spoken.client));
            assert_eq!(spoken, expected, "{names:?}");
        };
        check(&owner, &["10.0.0.9", "pgw"], Some(("10.0.0.9", "")));
        check(&owner, &["10.0.0.8", "pgw"], Some(("pgw", "")));
        check(&twin, &["10.0.0.9", "pgw"], Some(("pgw", "")));
        check(&owner, &["10.0.0.8", "ggsn"], None);
        check(&other, &["10.0.0.8", "ggsn"], Some(("10.0.0.8", "other")));
        check(&other, &["10.0.0.8", "pgw"], None);
        check(&other, &["10.0.0.9"], None);
        check(&other, &["elsewhere"], None);
    }
}
