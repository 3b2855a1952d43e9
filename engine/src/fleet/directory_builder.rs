//! The directory while it is written: SIMs and ranges in, a [`Directory`] out, unless two SIMs
//! claim the same address, IMSI or id.

use std::cmp::Reverse;
use std::fmt::Display;
use std::sync::Arc;

use hashbrown::HashMap;
use ringbeam_proto::identity::{Imsi, SimId};

use super::address::Block;
use super::directory::{Claim, Directory, Key, NetworkIndex, Range, Record};
use super::group::GroupIndex;
use super::hasher::Fixed;
use super::json::JsonPath;
use super::sim::{RangeEntry, Sim, SimEntry};
use crate::problem::{Problem, Problems, quoted};

/// A place in a table, in four bytes. Tables of more than 2^32 records fit no memory.
pub(super) fn compact(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// A directory while it is written.
#[derive(Default)]
pub(super) struct DirectoryBuilder {
    networks: HashMap<Arc<str>, NetworkIndex, Fixed>,
    network_names: Vec<Arc<str>>,
    records: Vec<Record>,
    claims: Vec<Claim>,
    ranges: Vec<Range>,
    /// Places in the document of SIMs that were refused and have no record.
    refused: Vec<usize>,
}

impl DirectoryBuilder {
    /// Takes the SIM that stands at `index` of the document; `None` where it was refused.
    pub(super) fn add_sim(
        &mut self,
        index: usize,
        entry: Option<&SimEntry<'_>>,
        group: Option<GroupIndex>,
    ) {
        let Some(entry) = entry else {
            self.refused.push(index);
            return;
        };
        let network = self.network(entry.network);
        let record = compact(self.records.len());
        self.records.push(Record {
            sim: Sim {
                identity: entry.identity,
                group,
            },
            network,
        });
        self.claims.extend(entry.blocks.iter().map(|block| Claim {
            network,
            block: *block,
            record,
        }));
    }

    /// Takes the range that stands at `index` of the document.
    pub(super) fn add_range(
        &mut self,
        index: usize,
        entry: &RangeEntry<'_>,
        group: Option<GroupIndex>,
    ) {
        let network = self.network(entry.network);
        let RangeEntry {
            block,
            member_bits,
            base,
            ..
        } = *entry;
        self.ranges.push(Range {
            network,
            block,
            member_bits,
            base,
            group,
            index,
        });
    }

    /// Refuses SIMs and ranges of groups for which `unknown` has a name.
    pub(super) fn check_groups<'a>(
        &self,
        unknown: impl Fn(GroupIndex) -> Option<&'a str>,
        problems: &mut Problems,
    ) {
        let mut refuse = |list: &str, index: &dyn Fn() -> usize, name: &str| {
            problems.add(|| {
                let path = JsonPath::ROOT;
                let list = path.key(list);
                Problem::new(
                    list.index(index()).key("groupId"),
                    format_args!("{}, which is not in groups", quoted(name)),
                    "the id of a group, or null",
                )
            });
        };
        for (record, entry) in (0..).zip(&self.records) {
            if let Some(name) = entry.sim.group.and_then(&unknown) {
                refuse("sims", &|| self.document_index(record), name);
            }
        }
        for range in &self.ranges {
            if let Some(name) = range.group.and_then(&unknown) {
                refuse("simRanges", &|| range.index, name);
            }
        }
    }

    fn network(&mut self, name: &str) -> NetworkIndex {
        if let Some(index) = self.networks.get(name) {
            return *index;
        }
        let index = NetworkIndex(compact(self.network_names.len()));
        let name: Arc<str> = Arc::from(name);
        self.network_names.push(Arc::clone(&name));
        self.networks.insert(name, index);
        index
    }

    /// The place in the document of a record.
    fn document_index(&self, record: u32) -> usize {
        let mut index = usize::try_from(record).unwrap_or(usize::MAX);
        for refused in &self.refused {
            if *refused <= index {
                index = index.saturating_add(1);
            }
        }
        index
    }

    /// The finished directory; two SIMs with one address, IMSI or id are refused.
    pub(super) fn finish(mut self, problems: &mut Problems) -> Directory {
        let by_imsi = self.sorted_imsis(problems);
        self.check_sim_ids(problems);
        // The widest first among blocks that begin alike.
        self.claims.sort_unstable_by_key(|claim| {
            (
                claim.network,
                claim.block.first,
                Reverse(claim.block.last),
                claim.record,
            )
        });
        self.check_claims(problems);
        self.ranges.sort_unstable_by_key(|range| {
            (
                range.network,
                range.block.first,
                Reverse(range.block.last),
                range.index,
            )
        });
        self.check_ranges(problems);
        let addresses = self.count_addresses();

        let single_count = self
            .claims
            .iter()
            .filter(|claim| claim.block.is_single())
            .count();
        let mut singles = HashMap::with_capacity_and_hasher(single_count, Fixed::default());
        let mut prefixes: Vec<Claim> = Vec::with_capacity(self.claims.len() - single_count);
        for claim in &self.claims {
            if claim.block.is_single() {
                singles.insert(Key::new(claim.network, claim.block.first), claim.record);
            } else if !prefixes.last().is_some_and(|last| contains(last, claim)) {
                prefixes.push(*claim);
            }
        }
        let Self {
            networks,
            network_names,
            mut records,
            mut ranges,
            ..
        } = self;
        records.shrink_to_fit();
        ranges.shrink_to_fit();
        Directory {
            networks,
            network_names,
            records,
            singles,
            prefixes,
            ranges,
            by_imsi,
            addresses,
        }
    }

    /// The records in the order of their IMSIs.
    fn sorted_imsis(&self, problems: &mut Problems) -> Vec<u32> {
        let mut sorted: Vec<(Imsi, u32)> = (0..)
            .zip(&self.records)
            .map(|(index, record)| (record.sim.identity.imsi, index))
            .collect();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(earlier_imsi, earlier), (imsi, later)] = pair
                && earlier_imsi == imsi
            {
                self.refuse([*earlier, *later], "imsi", imsi, problems);
            }
        }
        sorted.into_iter().map(|(_, index)| index).collect()
    }

    fn check_sim_ids(&self, problems: &mut Problems) {
        let mut sorted: Vec<(SimId, u32)> = (0..)
            .zip(&self.records)
            .map(|(index, record)| (record.sim.identity.sim_id, index))
            .collect();
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(earlier_id, earlier), (id, later)] = pair
                && earlier_id == id
            {
                self.refuse([*earlier, *later], "simId", id, problems);
            }
        }
    }

    /// Two prefixes are apart, or one lies in the other: sorted, a claim can only collide with the
    /// widest one before it that has not ended.
    fn check_claims(&self, problems: &mut Problems) {
        let mut widest: Option<&Claim> = None;
        for claim in &self.claims {
            match widest {
                Some(wide)
                    if wide.network == claim.network && wide.block.last >= claim.block.first =>
                {
                    if wide.record != claim.record {
                        let mut records = [wide.record, claim.record];
                        records.sort_unstable();
                        self.refuse(records, "ip", &claim.block, problems);
                    }
                    if claim.block.last > wide.block.last {
                        widest = Some(claim);
                    }
                }
                _ => widest = Some(claim),
            }
        }
    }

    /// Refuses what two records have alike.
    fn refuse(
        &self,
        [earlier, later]: [u32; 2],
        key: &str,
        value: &dyn Display,
        problems: &mut Problems,
    ) {
        problems.add(|| {
            let root = JsonPath::ROOT;
            let list = root.key("sims");
            let other = list.index(self.document_index(earlier));
            Problem::new(
                list.index(self.document_index(later)).key(key),
                format_args!("{value}, which is also that of {other}"),
                "one that belongs to this SIM alone",
            )
        });
    }

    fn check_ranges(&self, problems: &mut Problems) {
        let mut widest: Option<&Range> = None;
        for range in &self.ranges {
            if let Some(wide) = widest
                && wide.network == range.network
                && wide.block.last >= range.block.first
            {
                let (earlier, later) = if wide.index < range.index {
                    (wide, range)
                } else {
                    (range, wide)
                };
                let root = JsonPath::ROOT;
                let list = root.key("simRanges");
                let other = list.index(earlier.index);
                problems.refuse(
                    list.index(later.index).key("cidr"),
                    format_args!(
                        "{}, which overlaps {} of {other}",
                        later.block, earlier.block
                    ),
                    "addresses that no other range of the network has",
                );
            }
            if widest.is_none_or(|wide| {
                wide.network != range.network || wide.block.last < range.block.last
            }) {
                widest = Some(range);
            }
        }
    }

    /// How many addresses lead to a SIM. Explicit ones and ranges may lie in one another.
    fn count_addresses(&self) -> u128 {
        let mut blocks: Vec<(NetworkIndex, Block)> = self
            .claims
            .iter()
            .map(|claim| (claim.network, claim.block))
            .collect();
        blocks.extend(self.ranges.iter().map(|range| (range.network, range.block)));
        blocks
            .sort_unstable_by_key(|(network, block)| (*network, block.first, Reverse(block.last)));
        let mut count: u128 = 0;
        let mut covered: Option<(NetworkIndex, Block)> = None;
        for (network, block) in blocks {
            let is_inside = covered.is_some_and(|(covered_network, covered_block)| {
                covered_network == network && covered_block.contains(block.first)
            });
            if !is_inside {
                count = count.saturating_add(block.size());
                covered = Some((network, block));
            }
        }
        count
    }
}

/// Whether a claim lies within the other.
fn contains(outer: &Claim, inner: &Claim) -> bool {
    outer.network == inner.network && outer.block.contains(inner.block.last)
}
