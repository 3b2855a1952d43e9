//! Fleet: who the SIMs are, and what serves them. A document in, an immutable snapshot out that
//! shards read without locks; it never reaches for a file or a socket.

mod address;
mod blocks;
mod change;
mod credential;
mod destination;
mod directory;
mod directory_builder;
mod doubt;
mod entry_point;
mod group;
mod hasher;
mod json;
mod limits;
mod login;
mod members;
mod notes;
mod read;
mod service;
mod settings;
mod sim;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use ringbeam_proto::error::Refusal;
use ringbeam_proto::identity::Imsi;

pub use change::parse_addresses;
pub use credential::{
    Algorithm, AzureIot, Content, Credential, CredentialKind, Credentials, GoogleIot, Pubnub,
    Token, UsernamePassword, X509,
};
pub use destination::{Destination, InvalidHost, MQTT_PORT, MQTTS_PORT, PUBNUB_HOST, PubnubHost};
pub use directory::Located;
pub(crate) use doubt::Taken;
pub use entry_point::EntryPoint;
pub use group::{ENTRY_POINT_KEY, Group, GroupIndex, NAMESPACE};
pub(crate) use json::{SecretValue, erase};
pub use limits::{LimitOverrides, Limits};
pub use login::{Account, CredentialPlan, Login, Names, Validity};
pub(crate) use members::{Members, Number};
use read::GroupNames;
pub(crate) use read::{FleetReader, Sections, visit};
pub use service::DestinationKind;
pub(crate) use settings::canonical;
pub use settings::{KEYS, Key, Settings};
pub(crate) use sim::{ACTIVE, STATUSES};
pub use sim::{NETWORK_DEFAULT, Sim};

use crate::problem::Problem;
use crate::tls::Presented;
use directory::Directory;
use doubt::Doubts;

/// Every SIM, group and credential at one moment.
#[derive(Debug, Default)]
pub struct Fleet {
    /// Each at its place; that of a group that is gone stays free.
    groups: Vec<Option<Group>>,
    group_names: GroupNames,
    credentials: Credentials,
    /// Shared with the fleets before and after, as far as SIMs alone have changed.
    directory: Arc<Directory>,
    doubts: Arc<Doubts>,
    warnings: Vec<String>,
}

/// How much a fleet holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counts {
    /// Groups.
    pub groups: usize,
    /// SIMs that stand in the document one by one.
    pub sims: usize,
    /// Ranges of SIMs.
    pub ranges: usize,
    /// Addresses that lead to a SIM, saturating.
    pub addresses: u128,
}

impl Fleet {
    /// The fleet that a JSON document describes; `source` is the name that refusals give it.
    ///
    /// # Errors
    /// Every refusal with its path in the document, up to a bound.
    pub fn from_json(
        source: impl AsRef<Path>,
        document: impl AsRef<[u8]>,
    ) -> Result<Self, Vec<Problem>> {
        read::read(document.as_ref()).map_err(|problems| {
            problems
                .into_iter()
                .map(|problem| problem.in_file(source.as_ref()))
                .collect()
        })
    }

    /// The same fleet where PubNub is at this host (B-PN-1).
    #[must_use]
    pub fn with_pubnub_host(mut self, host: &PubnubHost) -> Self {
        for entry_point in self
            .groups
            .iter_mut()
            .flatten()
            .filter_map(|group| group.entry_point.as_mut())
        {
            Arc::make_mut(entry_point).set_pubnub_host(host);
        }
        self
    }

    /// The same SIMs with other groups and credentials.
    ///
    /// # Errors
    /// Every refusal, with its path in a document.
    pub(crate) fn with_sections(
        &self,
        groups: SecretValue,
        credentials: SecretValue,
    ) -> Result<Self, Vec<Problem>> {
        let mut reader = FleetReader::default();
        reader.groups(groups);
        reader.credentials(credentials);
        reader.finish_with(self)
    }

    /// One line for each certificate that has expired, or will within 30 days.
    #[must_use]
    pub fn expiry_warnings(&self, now_unix_seconds: u64) -> Vec<String> {
        self.credentials.expiry_warnings(now_unix_seconds)
    }

    /// The SIM behind an address of a network (B-ID-1, B-ID-3). It allocates nothing, and takes an
    /// IPv4 address in IPv6's clothes for what it is.
    #[must_use]
    pub fn find(&self, network: &str, address: IpAddr) -> Option<Sim> {
        if self.doubts.withholds(network, address) {
            return None;
        }
        self.doubts
            .certain(self.directory.find(network, address)?, false)
    }

    /// The same for a session that is open: it may go on where no other may begin (B-CFG-5, B-ID-6).
    #[must_use]
    pub fn find_open(&self, network: &str, address: IpAddr) -> Option<Sim> {
        if self.doubts.withholds(network, address) {
            return None;
        }
        self.doubts
            .certain(self.directory.find(network, address)?, true)
    }

    /// The SIMs of an IMSI, in one network or in all. It walks over the whole fleet.
    #[must_use]
    pub fn find_imsi(&self, imsi: &Imsi, network: Option<&str>) -> Vec<Located> {
        self.directory.find_imsi(imsi, network)
    }

    /// A group.
    #[must_use]
    pub fn group(&self, index: GroupIndex) -> Option<&Group> {
        self.groups.get(usize::try_from(index.0).ok()?)?.as_ref()
    }

    /// A group by its id.
    #[must_use]
    pub fn group_of(&self, id: &str) -> Option<&Group> {
        self.group(self.group_names.find(id)?)
    }

    /// The entry point that serves a SIM.
    ///
    /// # Errors
    /// Why it has none (B-ID-2).
    pub fn entry_point(&self, sim: &Sim) -> Result<&Arc<EntryPoint>, Refusal> {
        let group = sim
            .group
            .and_then(|index| self.group(index))
            .ok_or(Refusal::NoGroup)?;
        let entry_point = group.entry_point.as_ref().ok_or(Refusal::NoEntryPoint)?;
        if entry_point.enabled && !self.doubts.withholds_group(&group.id) {
            Ok(entry_point)
        } else {
            Err(Refusal::EntryPointDisabled)
        }
    }

    /// Every SIM, explicit ones first. A walk over the whole fleet, members of ranges included.
    pub fn sims(&self) -> impl Iterator<Item = Sim> {
        self.directory.sims()
    }

    /// Every group.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter().flatten()
    }

    /// The credentials.
    #[must_use]
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// Every client certificate, as TLS sees it.
    pub fn presented(&self) -> impl Iterator<Item = Presented<'_>> {
        self.credentials.presented()
    }

    /// The networks that SIMs or ranges name.
    #[must_use]
    pub fn networks(&self) -> Vec<Arc<str>> {
        let networks = self.directory.networks.pin();
        networks.keys().map(Arc::clone).collect()
    }

    /// What the document says without effect, with the group it concerns.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether any entry point goes on over TLS.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.entry_points()
            .any(|entry_point| entry_point.destination.tls)
    }

    /// Whether any entry point has its upstreams renewed.
    #[must_use]
    pub fn renews(&self) -> bool {
        self.entry_points()
            .any(|entry_point| entry_point.renew_upstream)
    }

    fn entry_points(&self) -> impl Iterator<Item = &EntryPoint> {
        self.groups()
            .filter_map(|group| group.entry_point.as_deref())
    }

    /// How much there is.
    #[must_use]
    pub fn counts(&self) -> Counts {
        Counts {
            groups: self.groups().count(),
            sims: self.directory.sims.len(),
            ranges: self.directory.ranges.len(),
            addresses: self.directory.addresses,
        }
    }
}

#[cfg(test)]
pub(crate) use credential::samples;

#[cfg(test)]
mod lookup_tests;
#[cfg(test)]
mod tests;
