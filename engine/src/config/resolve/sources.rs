//! Where sessions of SIMs are told of: RADIUS listeners with their clients' secrets, which are the one thing that is
//! read from other files, and Open5GS.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use toml::Spanned;
use zeroize::Zeroizing;

use super::super::raw::{RawClient, RawConfig, RawOpen5gs, RawRadius};
use super::super::{Listener, Open5gsConfig, RadiusConfig, RegistryConfig};
use super::{Resolver, overlap};
use crate::limits::RADIUS_SECRET_BYTES;
use crate::open5gs::Url;
use crate::problem::quoted;
use crate::radius::{Client, Clients, Networks};

/// Milliseconds between two questions: more often is a load, and less often than an hour tells of the past.
const INTERVAL_MS: RangeInclusive<u64> = 100..=3_600_000;

const INTERVAL_MS_DEFAULT: u64 = 5_000;

/// Clients' names, which outlive a reload in the registry.
#[derive(Default)]
struct Named(Vec<Client>);

impl Named {
    /// The name of a client: that of another with the same secret and the same rights, for each could send as the other;
    /// or else its range, as long as that is nobody's.
    fn name(&mut self, client: &Client, range: IpNet, listener: &str) -> Arc<str> {
        let is_same = |other: &&Client| {
            other.secret == client.secret
                && other.networks == client.networks
                && other.nas == client.nas
        };
        if let Some(same) = self.0.iter().find(is_same) {
            return Arc::clone(&same.name);
        }
        let own = range.to_string();
        let is_taken = self.0.iter().any(|other| *other.name == *own);
        let name: Arc<str> = if is_taken {
            Arc::from(format!("{own} at {listener}"))
        } else {
            Arc::from(own)
        };
        self.0.push(Client {
            name: Arc::clone(&name),
            ..client.clone()
        });
        name
    }
}

impl Resolver<'_> {
    /// Where sessions are told of: nowhere while the fleet is a document, which is not ours to write.
    pub(super) fn session_sources(
        &mut self,
        raw: &RawConfig,
        registry: &RegistryConfig,
    ) -> (Vec<RadiusConfig>, Vec<Open5gsConfig>) {
        if matches!(registry, RegistryConfig::Embedded { .. }) {
            return (self.radius(&raw.radius), self.open5gs(&raw.open5gs));
        }
        for (section, is_there) in [
            ("[[radius]]", !raw.radius.is_empty()),
            ("[[open5gs]]", !raw.open5gs.is_empty()),
        ] {
            if is_there {
                self.warn(section);
            }
        }
        (Vec::new(), Vec::new())
    }

    fn radius(&mut self, raw: &[RawRadius]) -> Vec<RadiusConfig> {
        let mut listeners: Vec<RadiusConfig> = Vec::with_capacity(raw.len());
        let mut named = Named::default();
        for entry in raw {
            let networks = self.access_points(entry);
            let clients = self.clients(entry, &networks, &mut named);
            let (key, span) = ("radius.address", entry.address.span());
            let text = entry.address.get_ref();
            let Ok(address) = text.parse::<SocketAddr>() else {
                let accepted = "IP:port, such as \"0.0.0.0:1813\" or \"[::]:1813\"";
                self.refuse(span, key, quoted(text), accepted);
                continue;
            };
            let is_twin = |other: &RadiusConfig| overlap(other.address, address);
            if address.port() != 0 && listeners.iter().any(is_twin) {
                let found = format!("{}, which an earlier [[radius]] has", quoted(text));
                self.refuse(span, key, found, "an address for each");
                continue;
            }
            listeners.push(RadiusConfig {
                address,
                networks,
                clients,
                require_event_timestamp: entry.require_event_timestamp.unwrap_or(false),
                require_message_authenticator: entry.require_message_authenticator.unwrap_or(false),
            });
        }
        // What is listed at one listener is nobody else's at the others either.
        let all = listeners.iter().flat_map(|one| one.clients.listed());
        let all: Vec<Arc<str>> = all.cloned().collect();
        for listener in &mut listeners {
            listener.clients.list(all.iter().cloned());
        }
        listeners
    }

    fn access_points(&mut self, raw: &RawRadius) -> Networks {
        let key = "radius.networks";
        let mut networks = Networks::default();
        for (name, network) in raw.networks.get_ref() {
            let span = network.span();
            let network = self.network(key, Some(network));
            if name.is_empty() {
                let accepted = "the name of an access point, or \"*\" for every other";
                self.refuse(span, key, "\"\"", accepted);
            } else if !networks.add(name, network) {
                let found = format!("{} twice", quoted(name));
                self.refuse(span, key, found, "each access point once, in one spelling");
            }
        }
        if raw.networks.get_ref().is_empty() {
            let accepted = "one access point or more, each with its network";
            self.refuse(raw.networks.span(), key, "none", accepted);
        }
        networks
    }

    fn clients(&mut self, raw: &RawRadius, networks: &Networks, named: &mut Named) -> Clients {
        let mut clients = Clients::default();
        for client in raw.clients.get_ref() {
            let (range, secret) = (self.range(&client.cidr), self.secret(&client.secret_file));
            let (networks, nas) = (self.own_networks(client, networks), self.nas(client));
            let (Some(range), Some(secret)) = (range, secret) else {
                continue;
            };
            let mut client_of = Client {
                name: Arc::from(""),
                secret,
                networks,
                nas,
            };
            client_of.name = named.name(&client_of, range, raw.address.get_ref());
            if !clients.add(range, client_of) {
                let found = format!("{} twice", quoted(client.cidr.get_ref()));
                self.refuse(
                    client.cidr.span(),
                    "radius.clients.cidr",
                    found,
                    "each range once",
                );
            }
        }
        if raw.clients.get_ref().is_empty() {
            let accepted = "one client or more, each with its secret";
            self.refuse(raw.clients.span(), "radius.clients", "none", accepted);
        }
        clients
    }

    /// The networks that a client may speak of: those that it names, or else all that its listener leads to.
    fn own_networks(&mut self, raw: &RawClient, all: &Networks) -> Arc<[Arc<str>]> {
        let mut own: Vec<Arc<str>> = Vec::with_capacity(raw.networks.len());
        for network in &raw.networks {
            let name = network.get_ref().as_str();
            match all.all().find(|known| &***known == name) {
                Some(known) => own.push(Arc::clone(known)),
                None => self.refuse(
                    network.span(),
                    "radius.clients.networks",
                    quoted(name),
                    "a network to which radius.networks leads",
                ),
            }
        }
        if raw.networks.is_empty() {
            own.extend(all.all().cloned());
        }
        own.sort();
        own.dedup();
        Arc::from(own)
    }

    /// The access servers that a client may speak of, addresses in the form in which they are compared.
    fn nas(&mut self, raw: &RawClient) -> Vec<Arc<str>> {
        let mut all = Vec::with_capacity(raw.nas.len());
        for name in &raw.nas {
            let text = name.get_ref();
            if text.is_empty() {
                let accepted = "a NAS-IP-Address, NAS-IPv6-Address or NAS-Identifier";
                self.refuse(name.span(), "radius.clients.nas", "\"\"", accepted);
            }
            let name = match text.parse::<IpAddr>() {
                Ok(address) => Arc::from(address.to_string()),
                Err(_) => Arc::from(text.as_str()),
            };
            all.push(name);
        }
        all.sort();
        all.dedup();
        all
    }

    fn range(&mut self, raw: &Spanned<String>) -> Option<IpNet> {
        let text = raw.get_ref();
        let range = match text.parse::<IpAddr>() {
            Ok(address) => Ok(IpNet::from(address)),
            Err(_) => text.parse::<IpNet>(),
        };
        let (found, accepted) = match range {
            Ok(range) if range.addr() == range.network() => return Some(range),
            Ok(range) => {
                let accepted =
                    format!("a prefix without bits behind it, such as {}", range.trunc());
                (quoted(text), accepted)
            }
            Err(_) => (
                quoted(text),
                "an address or a prefix, such as \"10.0.0.0/8\"".to_owned(),
            ),
        };
        self.refuse(raw.span(), "radius.clients.cidr", found, accepted);
        None
    }

    /// The secret in a file. A line's end behind it is no part of it.
    fn secret(&mut self, raw: &Spanned<String>) -> Option<Zeroizing<Vec<u8>>> {
        let directory = self.file.parent().unwrap_or_else(|| Path::new(""));
        let path = directory.join(raw.get_ref());
        let found = match fs::read(&path).map(Zeroizing::new) {
            Ok(text) => {
                let line = text.strip_suffix(b"\n").unwrap_or(&text);
                let secret = line.strip_suffix(b"\r").unwrap_or(line);
                if (1..RADIUS_SECRET_BYTES).contains(&secret.len()) {
                    // Whoever hears one request can try all short ones.
                    let warning = format!(
                        "radius.clients.secret_file: the secret in {} is short; {RADIUS_SECRET_BYTES} bytes or more are advised",
                        path.display()
                    );
                    if !self.warnings.contains(&warning) {
                        self.warnings.push(warning);
                    }
                }
                if !secret.is_empty() {
                    return Some(Zeroizing::new(secret.to_vec()));
                }
                format!("{}, which is empty", path.display())
            }
            Err(error) => format!("{}, which cannot be read ({error})", path.display()),
        };
        let accepted = "a file with the secret that the client shares";
        self.refuse(raw.span(), "radius.clients.secret_file", found, accepted);
        None
    }

    fn open5gs(&mut self, raw: &[RawOpen5gs]) -> Vec<Open5gsConfig> {
        let mut all: Vec<Open5gsConfig> = Vec::with_capacity(raw.len());
        for entry in raw {
            let network = self.network("open5gs.network", entry.network.as_ref());
            let interval_ms = self.number(
                "open5gs.interval_ms",
                &entry.interval_ms,
                INTERVAL_MS_DEFAULT,
                INTERVAL_MS,
            );
            let (key, span) = ("open5gs.url", entry.url.span());
            let text = entry.url.get_ref();
            let url: Url = match text.parse() {
                Ok(url) => url,
                Err(error) => {
                    // What stands before an @ may be a password.
                    let found = if text.contains('@') {
                        format!("{error}")
                    } else {
                        format!("{} ({error})", quoted(text))
                    };
                    let accepted = "a URL such as \"http://127.0.0.4:9090/pdu-info\"";
                    self.refuse(span, key, found, accepted);
                    continue;
                }
            };
            if all.iter().any(|other| other.url == url) {
                let found = format!("{} twice", quoted(text));
                self.refuse(span, key, found, "each URL once");
                continue;
            }
            all.push(Open5gsConfig {
                url,
                interval: Duration::from_millis(interval_ms),
                network,
            });
        }
        all
    }

    /// Warns of networks in which no device can connect.
    pub(super) fn unknown_networks(&mut self, listeners: &[Listener], raw: &RawConfig) {
        let known: BTreeSet<&str> = listeners.iter().map(|l| &*l.network).collect();
        let of_radius = raw.radius.iter().flat_map(|entry| {
            let networks = entry.networks.get_ref().values();
            networks.map(|network| ("radius.networks", network))
        });
        let of_open5gs = raw.open5gs.iter().filter_map(|entry| {
            let network = entry.network.as_ref()?;
            Some(("open5gs.network", network))
        });
        for (key, network) in of_radius.chain(of_open5gs) {
            let name = network.get_ref();
            if !known.contains(name.as_str()) {
                let warning = format!("{key}: no listener has network {}", quoted(name));
                self.warnings.push(warning);
            }
        }
    }
}
