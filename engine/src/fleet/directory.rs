//! Directory: from (network, address) to the SIM (B-ID-3). Written once while a fleet is read, then
//! only looked up: no lock, no allocation. A range costs one record, however many members it has.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use hashbrown::HashMap;
use ringbeam_proto::identity::{Identity, Imsi};

use super::address::{self, Block};
use super::group::GroupIndex;
use super::hasher::Fixed;
use super::sim::Sim;

/// A network's place in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NetworkIndex(pub(super) u32);

/// One explicit SIM.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) sim: Sim,
    pub(super) network: NetworkIndex,
}

/// Many SIMs whose numbers follow their addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub(super) network: NetworkIndex,
    pub(super) block: Block,
    /// Bits of an address that differ within one member.
    pub(super) member_bits: u8,
    /// The numbers of member 0. The last member's fit too: that was checked.
    pub(super) base: Identity,
    pub(super) group: Option<GroupIndex>,
    /// Its place in the document.
    pub(super) index: usize,
}

impl Range {
    fn sim(&self, number: u64) -> Option<Sim> {
        let imsi = self.base.imsi.plus(number)?;
        let sim_id = self.base.sim_id.plus(number)?;
        Some(Sim {
            identity: Identity {
                imsi,
                sim_id,
                imei: self.base.imei,
            },
            group: self.group,
        })
    }

    fn sim_at(&self, address: u128) -> Option<Sim> {
        let offset = address.checked_sub(self.block.first)?;
        self.sim(u64::try_from(offset.checked_shr(u32::from(self.member_bits))?).ok()?)
    }

    /// The addresses of the member with this IMSI.
    fn member(&self, imsi: &Imsi) -> Option<(Block, Sim)> {
        let number = imsi.offset_from(&self.base.imsi)?;
        let offset =
            u128::from(number).checked_mul(1_u128.checked_shl(self.member_bits.into())?)?;
        let first = self.block.first.checked_add(offset)?;
        let block = Block::new(first, self.member_bits);
        self.block
            .contains(block.last)
            .then(|| self.sim(number).map(|sim| (block, sim)))?
    }
}

/// What a device's address is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    network: NetworkIndex,
    // Bytes, for a u128 would widen every entry to its alignment.
    address: [u8; 16],
}

impl Key {
    pub(super) fn new(network: NetworkIndex, address: u128) -> Self {
        Self {
            network,
            address: address.to_be_bytes(),
        }
    }
}

/// A block of one explicit SIM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Claim {
    pub(super) network: NetworkIndex,
    pub(super) block: Block,
    pub(super) record: u32,
}

/// A SIM with where it is.
#[derive(Clone, Debug)]
pub struct Located {
    /// The network that its addresses belong to.
    pub network: Arc<str>,
    /// Its addresses, separated by commas; empty where it has none.
    pub addresses: String,
    /// The SIM.
    pub sim: Sim,
}

/// Every SIM of a fleet. Built by [`super::directory_builder`].
#[derive(Debug, Default)]
pub(super) struct Directory {
    pub(super) networks: HashMap<Arc<str>, NetworkIndex, Fixed>,
    pub(super) network_names: Vec<Arc<str>>,
    /// Explicit SIMs in the order of the document.
    pub(super) records: Vec<Record>,
    /// Single addresses of explicit SIMs.
    pub(super) singles: HashMap<Key, u32, Fixed>,
    /// Prefixes of explicit SIMs, sorted, apart from one another.
    pub(super) prefixes: Vec<Claim>,
    /// Ranges, sorted, apart from one another within a network.
    pub(super) ranges: Vec<Range>,
    /// Explicit SIMs in the order of their IMSIs.
    pub(super) by_imsi: Vec<u32>,
    /// Addresses that lead to a SIM, saturating.
    pub(super) addresses: u128,
}

impl Directory {
    /// The SIM of an address; an explicit one overrides a range.
    pub(super) fn find(&self, network: &str, address: IpAddr) -> Option<Sim> {
        let network = *self.networks.get(network)?;
        let address = address::number(address);
        if let Some(record) = self.explicit(network, address) {
            return Some(record.sim);
        }
        covering(&self.ranges, network, address, |range| {
            (range.network, range.block)
        })?
        .sim_at(address)
    }

    /// Every SIM: the explicit ones, then the members of every range.
    pub(super) fn sims(&self) -> impl Iterator<Item = Sim> {
        let members = |range: &Range| {
            let range = *range;
            let addresses = range.block.last.saturating_sub(range.block.first);
            let last = addresses
                .checked_shr(range.member_bits.into())
                .unwrap_or_default();
            (0..=u64::try_from(last).unwrap_or(u64::MAX)).map_while(move |number| range.sim(number))
        };
        let explicit = self.records.iter().map(|record| record.sim);
        explicit.chain(self.ranges.iter().flat_map(members))
    }

    fn explicit(&self, network: NetworkIndex, address: u128) -> Option<&Record> {
        let index = match self.singles.get(&Key::new(network, address)) {
            Some(index) => *index,
            None => {
                let block_of = |claim: &Claim| (claim.network, claim.block);
                covering(&self.prefixes, network, address, block_of)?.record
            }
        };
        self.record(index)
    }

    fn record(&self, index: u32) -> Option<&Record> {
        self.records.get(usize::try_from(index).ok()?)
    }

    /// The SIMs of an IMSI. It walks over all addresses: for people, not for CONNECTs.
    pub(super) fn find_imsi(&self, imsi: &Imsi, network: Option<&str>) -> Vec<Located> {
        let wanted = |index: NetworkIndex| {
            let name = self.network_name(index)?;
            network
                .is_none_or(|network| network == &**name)
                .then(|| Arc::clone(name))
        };
        let mut found = Vec::new();
        let imsi_of = |index: &u32| self.record(*index).map(|record| record.sim.identity.imsi);
        let start = self
            .by_imsi
            .partition_point(|index| imsi_of(index) < Some(*imsi));
        let after = self.by_imsi.get(start..).unwrap_or_default();
        for index in after
            .iter()
            .take_while(|index| imsi_of(index) == Some(*imsi))
        {
            let Some(record) = self.record(*index) else {
                continue;
            };
            if let Some(network) = wanted(record.network) {
                found.push(Located {
                    network,
                    addresses: self.addresses(*index),
                    sim: record.sim,
                });
            }
        }
        for range in &self.ranges {
            let Some((block, sim)) = range.member(imsi) else {
                continue;
            };
            let is_overridden = self.explicit(range.network, block.first).is_some()
                && self.explicit(range.network, block.last).is_some();
            if let Some(network) = wanted(range.network).filter(|_| !is_overridden) {
                found.push(Located {
                    network,
                    addresses: block.to_string(),
                    sim,
                });
            }
        }
        found
    }

    fn network_name(&self, index: NetworkIndex) -> Option<&Arc<str>> {
        self.network_names.get(usize::try_from(index.0).ok()?)
    }

    /// The addresses of an explicit SIM, as text.
    fn addresses(&self, record: u32) -> String {
        let singles = self.singles.iter().filter(|(_, owner)| **owner == record);
        let mut blocks: Vec<Block> = singles
            .map(|(key, _)| Block::new(u128::from_be_bytes(key.address), 0))
            .collect();
        let prefixes = self.prefixes.iter().filter(|claim| claim.record == record);
        blocks.extend(prefixes.map(|claim| claim.block));
        blocks.sort_unstable();
        let mut text = String::new();
        for block in blocks {
            let comma = if text.is_empty() { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}{block}");
        }
        text
    }
}

/// The one of these sorted, separate blocks that an address lies in.
fn covering<T>(
    sorted: &[T],
    network: NetworkIndex,
    address: u128,
    block_of: impl Fn(&T) -> (NetworkIndex, Block),
) -> Option<&T> {
    let after = sorted.partition_point(|element| {
        let (element_network, block) = block_of(element);
        (element_network, block.first) <= (network, address)
    });
    let candidate = sorted.get(after.checked_sub(1)?)?;
    let (candidate_network, block) = block_of(candidate);
    (candidate_network == network && block.contains(address)).then_some(candidate)
}
