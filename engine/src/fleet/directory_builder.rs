//! The directory while it is written: SIMs and ranges in, a [`Directory`] out, unless two SIMs
//! claim the same address, IMSI or id.

use std::cmp::Reverse;
use std::fmt::Display;

use ringbeam_proto::identity::{Imsi, SimId};

use super::address::Block;
use super::blocks::NetworkIndex;
use super::directory::{Directory, Range, Record};
use super::group::GroupIndex;
use super::json::JsonPath;
use super::sim::{RangeEntry, SimEntry};
use crate::problem::{Problem, Problems, quoted};

/// A place in a table, in four bytes. Tables of more than 2^32 records fit no memory.
pub(super) fn compact(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

/// A block of one explicit SIM.
#[derive(Clone, Copy, Debug)]
struct Claim {
    network: NetworkIndex,
    block: Block,
    owner: Imsi,
}

/// A directory while it is written.
#[derive(Default)]
pub(super) struct DirectoryBuilder {
    directory: Directory,
    /// Pairs of SIMs that have something alike: places in the document of the earlier and the later one, the key, and what it is.
    twins: Vec<Twins>,
    /// SIMs that are expected, until there is room for their addresses.
    expected: usize,
}

/// Two SIMs that have something alike.
#[derive(Debug)]
struct Twins {
    earlier: u32,
    later: u32,
    key: &'static str,
    value: String,
}

/// Pairs that are remembered.
const TWINS_MAX: usize = 1000;

impl DirectoryBuilder {
    /// Makes room for about so many SIMs: growing into it costs as much time again as reading them.
    pub(super) fn expect(&mut self, sims: usize) {
        if sims > 0 {
            self.directory.sims.pin().reserve(sims);
        }
        self.expected = sims;
    }

    /// Takes the SIM that stands at `index` of the document.
    pub(super) fn add_sim(
        &mut self,
        index: usize,
        entry: &SimEntry<'_>,
        group: Option<GroupIndex>,
    ) {
        let index = compact(index);
        let network = self.directory.network(entry.network);
        let imsi = entry.identity.imsi;
        let record = Record::new(entry, network, group, index);
        let earlier = {
            let sims = self.directory.sims.pin();
            sims.try_insert(imsi, record)
                .err()
                .map(|taken| taken.current.index)
        };
        if let Some(earlier) = earlier {
            return self.twins(earlier, index, "imsi", &imsi);
        }
        if !entry.blocks.is_empty() && self.expected > 0 {
            self.directory
                .own
                .reserve(std::mem::take(&mut self.expected));
        }
        for block in &entry.blocks {
            let owner = self.directory.own.get(network, *block);
            match owner {
                Some(owner) if owner != imsi => {
                    let earlier = self.index_of(&owner);
                    self.twins(earlier, index, "ip", block);
                }
                Some(_) => {}
                None => drop(self.directory.own.insert(network, *block, imsi)),
            }
        }
    }

    /// Takes the range that stands at `index` of the document.
    pub(super) fn add_range(
        &mut self,
        index: usize,
        entry: &RangeEntry<'_>,
        group: Option<GroupIndex>,
    ) {
        let network = self.directory.network(entry.network);
        let RangeEntry {
            block,
            member_bits,
            base,
            ..
        } = *entry;
        self.directory.ranges.push(Range {
            network,
            block,
            member_bits,
            base,
            group,
            index,
        });
    }

    fn twins(&mut self, one: u32, other: u32, key: &'static str, value: &dyn Display) {
        if self.twins.len() < TWINS_MAX {
            self.twins.push(Twins {
                earlier: one.min(other),
                later: one.max(other),
                key,
                value: value.to_string(),
            });
        }
    }

    fn index_of(&self, imsi: &Imsi) -> u32 {
        let sims = self.directory.sims.pin();
        sims.get(imsi).map_or(0, |record| record.index)
    }

    /// Refuses SIMs and ranges of groups for which `unknown` has a name.
    pub(super) fn check_groups<'a>(
        &self,
        unknown: impl Fn(GroupIndex) -> Option<&'a str>,
        problems: &mut Problems,
    ) {
        let mut refuse = |list: &str, index: usize, name: &str| {
            problems.add(|| {
                let path = JsonPath::ROOT;
                let list = path.key(list);
                Problem::new(
                    list.index(index).key("groupId"),
                    format_args!("{}, which is not in groups", quoted(name)),
                    "the id of a group, or null",
                )
            });
        };
        let mut lost: Vec<(usize, &str)> = Vec::new();
        for record in self.directory.sims.pin().values() {
            if let Some(name) = record.group.and_then(&unknown) {
                lost.push((usize::try_from(record.index).unwrap_or(usize::MAX), name));
            }
        }
        lost.sort_unstable();
        for (index, name) in lost {
            refuse("sims", index, name);
        }
        for range in &self.directory.ranges {
            if let Some(name) = range.group.and_then(&unknown) {
                refuse("simRanges", range.index, name);
            }
        }
    }

    /// The finished directory; two SIMs with one address, IMSI or id are refused.
    pub(super) fn finish(mut self, problems: &mut Problems) -> Directory {
        self.check_sim_ids();
        let claims = self.claims();
        self.check_claims(&claims);
        self.refuse_twins(problems);
        self.directory.ranges.sort_unstable_by_key(|range| {
            (
                range.network,
                range.block.first,
                Reverse(range.block.last),
                range.index,
            )
        });
        check_ranges(&self.directory.ranges, problems);
        self.directory.addresses = count_addresses(&claims, &self.directory.ranges);
        self.directory.ranges.shrink_to_fit();
        self.directory
    }

    /// Blocks of explicit SIMs in the order of their addresses, the widest first among those that begin alike.
    fn claims(&self) -> Vec<Claim> {
        let entries = self.directory.own.entries().into_iter();
        let mut claims: Vec<Claim> = entries
            .map(|(network, block, owner)| Claim {
                network,
                block,
                owner,
            })
            .collect();
        claims.sort_unstable_by_key(|claim| {
            let Claim { network, block, .. } = claim;
            (*network, block.first, Reverse(block.last))
        });
        claims
    }

    fn check_sim_ids(&mut self) {
        let mut sorted: Vec<(SimId, u32)> = {
            let sims = self.directory.sims.pin();
            let mut ids = Vec::with_capacity(sims.len());
            ids.extend(sims.values().map(|record| (record.sim_id, record.index)));
            ids
        };
        sorted.sort_unstable();
        for pair in sorted.windows(2) {
            if let [(earlier_id, earlier), (id, later)] = pair
                && earlier_id == id
            {
                self.twins(*earlier, *later, "simId", id);
            }
        }
    }

    /// Two prefixes are apart, or one lies in the other: sorted, a claim can only collide with the
    /// widest one before it that has not ended.
    fn check_claims(&mut self, claims: &[Claim]) {
        let mut widest: Option<&Claim> = None;
        for claim in claims {
            match widest {
                Some(wide)
                    if wide.network == claim.network && wide.block.last >= claim.block.first =>
                {
                    if wide.owner != claim.owner {
                        let (one, other) =
                            (self.index_of(&wide.owner), self.index_of(&claim.owner));
                        self.twins(one, other, "ip", &claim.block);
                    }
                    if claim.block.last > wide.block.last {
                        widest = Some(claim);
                    }
                }
                _ => widest = Some(claim),
            }
        }
    }

    /// Refuses what two SIMs have alike, in the order of the document.
    fn refuse_twins(&mut self, problems: &mut Problems) {
        let mut twins = std::mem::take(&mut self.twins);
        twins.sort_by_key(|twins| (twins.later, twins.earlier));
        for Twins {
            earlier,
            later,
            key,
            value,
        } in twins
        {
            let place = |index: u32| usize::try_from(index).unwrap_or(usize::MAX);
            problems.add(|| {
                let root = JsonPath::ROOT;
                let list = root.key("sims");
                let other = list.index(place(earlier));
                Problem::new(
                    list.index(place(later)).key(key),
                    format_args!("{value}, which is also that of {other}"),
                    "one that belongs to this SIM alone",
                )
            });
        }
    }
}

fn check_ranges(ranges: &[Range], problems: &mut Problems) {
    let mut widest: Option<&Range> = None;
    for range in ranges {
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
        if widest
            .is_none_or(|wide| wide.network != range.network || wide.block.last < range.block.last)
        {
            widest = Some(range);
        }
    }
}

/// How many addresses lead to a SIM. Explicit ones and ranges may lie in one another.
fn count_addresses(claims: &[Claim], ranges: &[Range]) -> u128 {
    let mut blocks: Vec<(NetworkIndex, Block)> = Vec::with_capacity(claims.len() + ranges.len());
    blocks.extend(claims.iter().map(|claim| (claim.network, claim.block)));
    blocks.extend(ranges.iter().map(|range| (range.network, range.block)));
    blocks.sort_unstable_by_key(|(network, block)| (*network, block.first, Reverse(block.last)));
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
