//! Directory: from (network, address) to the SIM (B-ID-3). One writer changes it while shards look SIMs up: no
//! lock, no allocation. A range costs one record, however many members it has.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use papaya::HashMap;
use ringbeam_proto::identity::{Identity, Imei, Imsi, SimId};

use super::address;
use super::address::Block;
use super::blocks::{Blocks, NetworkIndex};
use super::group::GroupIndex;
use super::hasher::{Fixed, table};
use super::sim::{Sim, SimEntry};

/// What there is to know of an explicit SIM beside its IMSI.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) sim_id: SimId,
    pub(super) imei: Option<Imei>,
    pub(super) group: Option<GroupIndex>,
    pub(super) network: NetworkIndex,
    /// Whether it is served at all.
    pub(super) is_active: bool,
    /// Its place in the document that it came from.
    pub(super) index: u32,
}

impl Record {
    const fn sim(&self, imsi: Imsi) -> Sim {
        Sim {
            identity: Identity {
                imsi,
                sim_id: self.sim_id,
                imei: self.imei,
            },
            group: self.group,
        }
    }
}

/// Whose an address is for as long as a session lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) imsi: Imsi,
    /// The device's, where the packet core has told it.
    pub(super) imei: Option<Imei>,
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

    /// The member of this number, with its addresses.
    fn member(&self, number: u64) -> Option<(Block, Sim)> {
        let offset =
            u128::from(number).checked_mul(1_u128.checked_shl(self.member_bits.into())?)?;
        let first = self.block.first.checked_add(offset)?;
        let block = Block::new(first, self.member_bits);
        self.block
            .contains(block.last)
            .then(|| self.sim(number).map(|sim| (block, sim)))?
    }

    /// The number of its last member.
    fn last(&self) -> u64 {
        let addresses = self.block.last.saturating_sub(self.block.first);
        let last = addresses.checked_shr(self.member_bits.into());
        u64::try_from(last.unwrap_or_default()).unwrap_or(u64::MAX)
    }
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
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) networks: HashMap<Arc<str>, NetworkIndex, Fixed>,
    /// Explicit SIMs.
    pub(super) sims: HashMap<Imsi, Record, Fixed>,
    /// Their own addresses.
    pub(super) own: Blocks<Imsi>,
    /// Addresses that the packet core, or the operator, has given to SIMs for now; `None` is nobody's for a moment.
    pub(super) sessions: Blocks<Option<Holder>>,
    /// Ranges, sorted, apart from one another within a network.
    pub(super) ranges: Vec<Range>,
    /// Addresses that led to a SIM when it was read, saturating.
    pub(super) addresses: u128,
}

impl Default for Directory {
    fn default() -> Self {
        Self {
            networks: table(),
            sims: table(),
            own: Blocks::default(),
            sessions: Blocks::default(),
            ranges: Vec::new(),
            addresses: 0,
        }
    }
}

impl Directory {
    /// The SIM of an address: that of a session first, then an explicit one, then a range's.
    pub(super) fn find(&self, network: &str, address: IpAddr) -> Option<Sim> {
        let network = *self.networks.pin().get(network)?;
        let address = address::number(address);
        if let Some(holder) = self.sessions.find(network, address) {
            let holder = holder?;
            let mut sim = self.sim(&holder.imsi)?;
            sim.identity.imei = holder.imei.or(sim.identity.imei);
            return Some(sim);
        }
        if let Some(imsi) = self.own.find(network, address)
            && let Some(record) = self.sims.pin().get(&imsi)
        {
            return record.is_active.then(|| record.sim(imsi));
        }
        let sim = covering(&self.ranges, network, address)?.sim_at(address)?;
        self.unless_overridden(sim)
    }

    /// The SIM of an IMSI, if it is served.
    pub(super) fn sim(&self, imsi: &Imsi) -> Option<Sim> {
        if self.sims.pin().contains_key(imsi) {
            return self.explicit(imsi);
        }
        self.ranges.iter().find_map(|range| {
            let number = imsi.offset_from(&range.base.imsi)?;
            range.member(number).map(|(_, sim)| sim)
        })
    }

    fn explicit(&self, imsi: &Imsi) -> Option<Sim> {
        let sims = self.sims.pin();
        let record = sims.get(imsi).filter(|record| record.is_active)?;
        Some(record.sim(*imsi))
    }

    /// A member of a range, unless an explicit SIM has its IMSI.
    fn unless_overridden(&self, sim: Sim) -> Option<Sim> {
        let is_overridden = self.sims.pin().contains_key(&sim.identity.imsi);
        (!is_overridden).then_some(sim)
    }

    /// Every SIM: the explicit ones, then the members of every range.
    pub(super) fn sims(&self) -> impl Iterator<Item = Sim> {
        let explicit: Vec<Sim> = {
            let sims = self.sims.pin();
            sims.iter()
                .map(|(imsi, record)| record.sim(*imsi))
                .collect()
        };
        let members = |range: &Range| {
            let range = *range;
            (0..=range.last()).map_while(move |number| range.sim(number))
        };
        explicit
            .into_iter()
            .chain(self.ranges.iter().flat_map(members))
    }

    /// The SIMs of an IMSI. It walks over all addresses: for people, not for CONNECTs.
    pub(super) fn find_imsi(&self, imsi: &Imsi, network: Option<&str>) -> Vec<Located> {
        let mut found = Vec::new();
        let mut add = |index: NetworkIndex, blocks: Vec<Block>, sim: Sim| {
            let name = self.network_name(index);
            if let Some(name) = name.filter(|name| network.is_none_or(|network| *network == **name))
            {
                found.push(Located {
                    network: name,
                    addresses: listed(blocks),
                    sim,
                });
            }
        };
        let session_blocks = |index| {
            let is_its =
                |holder: &Option<Holder>| holder.is_some_and(|holder| holder.imsi == *imsi);
            self.sessions.of(index, is_its)
        };
        if let Some(record) = self.sims.pin().get(imsi) {
            let mut blocks = self.own.of(record.network, |owner| owner == imsi);
            blocks.extend(session_blocks(record.network));
            add(record.network, blocks, record.sim(*imsi));
            for index in self.network_indexes() {
                let blocks = session_blocks(index);
                if index != record.network && !blocks.is_empty() {
                    add(index, blocks, record.sim(*imsi));
                }
            }
            return found;
        }
        for range in &self.ranges {
            let number = imsi.offset_from(&range.base.imsi);
            let Some((block, sim)) = number.and_then(|number| range.member(number)) else {
                continue;
            };
            let is_taken = self.own.find(range.network, block.first).is_some()
                && self.own.find(range.network, block.last).is_some();
            let mut blocks = if is_taken { Vec::new() } else { vec![block] };
            blocks.extend(session_blocks(range.network));
            if !blocks.is_empty() {
                add(range.network, blocks, sim);
            }
        }
        found
    }

    fn network_indexes(&self) -> Vec<NetworkIndex> {
        self.networks.pin().values().copied().collect()
    }

    fn network_name(&self, index: NetworkIndex) -> Option<Arc<str>> {
        let networks = self.networks.pin();
        let mut entries = networks.iter();
        let found = entries.find(|(_, known)| **known == index);
        found.map(|(name, _)| Arc::clone(name))
    }

    /// A network's place, which it is given where it has none.
    pub(super) fn network(&self, name: &str) -> NetworkIndex {
        let networks = self.networks.pin();
        if let Some(index) = networks.get(name) {
            return *index;
        }
        let index = NetworkIndex(super::directory_builder::compact(networks.len()));
        networks.insert(Arc::from(name), index);
        index
    }

    /// Whose another explicit SIM's the IMSI or an address of `entry` is, if there is one; `before` is the SIM itself.
    pub(super) fn clash(&self, entry: &SimEntry<'_>, before: Option<Imsi>) -> Option<Clash> {
        let imsi = entry.identity.imsi;
        let is_other = |owner: &Imsi| Some(*owner) != before;
        if is_other(&imsi) && self.sims.pin().contains_key(&imsi) {
            return Some(Clash::Imsi);
        }
        let network = self.network(entry.network);
        let mut blocks = entry.blocks.iter();
        blocks.find_map(|block| {
            let owner = self.own.overlapping(network, *block).into_iter();
            let owner = owner.filter(is_other).find(|owner| *owner != imsi)?;
            Some(Clash::Address(*block, owner))
        })
    }

    /// Puts an explicit SIM in the place of another, or of none; `None` removes. Whoever looks one up meanwhile finds it
    /// as it was or as it is: what stays is never taken away, and what is new is there before the old goes.
    pub(super) fn replace(
        &self,
        before: Option<&SimEntry<'_>>,
        after: Option<(&SimEntry<'_>, Option<GroupIndex>)>,
    ) {
        let sims = self.sims.pin();
        let kept = after.map(|(entry, group)| {
            let network = self.network(entry.network);
            let record = Record::new(entry, network, group, 0);
            let imsi = entry.identity.imsi;
            let own = || {
                for block in &entry.blocks {
                    self.own.insert(network, *block, imsi);
                }
            };
            if self.is_member(&imsi) && !sims.contains_key(&imsi) {
                // An address without a record still leads to the member that it leads to now.
                own();
                sims.insert(imsi, record);
            } else {
                sims.insert(imsi, record);
                own();
            }
            (network, entry)
        });
        let Some(entry) = before else {
            return;
        };
        let has_imsi = kept.is_some_and(|(_, kept)| kept.identity.imsi == entry.identity.imsi);
        if !has_imsi {
            sims.remove(&entry.identity.imsi);
        }
        let network = self.network(entry.network);
        for block in &entry.blocks {
            let stays = kept.is_some_and(|(of, kept)| of == network && kept.blocks.contains(block));
            if !stays {
                self.own.remove(network, *block);
            }
        }
    }

    /// Whether an IMSI is a range's.
    fn is_member(&self, imsi: &Imsi) -> bool {
        let mut ranges = self.ranges.iter();
        ranges.any(|range| {
            let number = imsi.offset_from(&range.base.imsi);
            number.is_some_and(|number| range.member(number).is_some())
        })
    }

    /// Everybody who has one of these addresses now: for their sessions, by themselves, or as members of ranges.
    pub(super) fn holders(&self, network: NetworkIndex, block: Block) -> Vec<Imsi> {
        let sessions = self.sessions.overlapping(network, block).into_iter();
        let mut holders: Vec<Imsi> = sessions.flatten().map(|holder| holder.imsi).collect();
        holders.extend(self.own.overlapping(network, block));
        for range in self.ranges.iter().filter(|range| range.network == network) {
            let (first, last) = (
                block.first.max(range.block.first),
                block.last.min(range.block.last),
            );
            let number = |address: u128| {
                let offset = address.checked_sub(range.block.first)?;
                u64::try_from(offset.checked_shr(range.member_bits.into())?).ok()
            };
            if first <= last
                && let (Some(first), Some(last)) = (number(first), number(last))
            {
                let members = (first..=last).take(HOLDERS_MAX);
                holders.extend(members.filter_map(|number| range.base.imsi.plus(number)));
            }
        }
        holders
    }
}

/// Members of ranges that one block of addresses may be taken from: those of an IPv6 /48.
const HOLDERS_MAX: usize = 65_536;

impl Record {
    pub(super) const fn new(
        entry: &SimEntry<'_>,
        network: NetworkIndex,
        group: Option<GroupIndex>,
        index: u32,
    ) -> Self {
        Self {
            sim_id: entry.identity.sim_id,
            imei: entry.identity.imei,
            group,
            network,
            is_active: entry.is_active,
            index,
        }
    }
}

/// What two SIMs cannot both have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clash {
    Imsi,
    Address(Block, Imsi),
}

/// Blocks as text.
fn listed(mut blocks: Vec<Block>) -> String {
    blocks.sort_unstable();
    let mut text = String::new();
    for block in blocks {
        let comma = if text.is_empty() { "" } else { ", " };
        // Writing to a String does not fail.
        let _ = write!(text, "{comma}{block}");
    }
    text
}

/// The one of these sorted, separate ranges that an address lies in.
fn covering(sorted: &[Range], network: NetworkIndex, address: u128) -> Option<&Range> {
    let after =
        sorted.partition_point(|range| (range.network, range.block.first) <= (network, address));
    let candidate = sorted.get(after.checked_sub(1)?)?;
    (candidate.network == network && candidate.block.contains(address)).then_some(candidate)
}
