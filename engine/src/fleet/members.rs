//! Members: the SIMs of a range, one by one, as a fleet document would have them.

use std::ops::RangeInclusive;

use ringbeam_proto::identity::{Imsi, SimId};
use serde_json::{Map, Value, json};

use super::address::Block;
use super::json::JsonPath;
use super::sim::RangeEntry;
use crate::problem::Problems;

/// Which of a member's numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Imsi,
    SimId,
}

/// One range's members.
#[derive(Debug)]
pub(crate) struct Members<'a> {
    entry: RangeEntry<'a>,
    last: u64,
}

impl<'a> Members<'a> {
    /// The members of a range that was accepted before.
    pub(crate) fn of(range: &'a Value) -> Option<Self> {
        let mut ignored = Problems::default();
        let entry = RangeEntry::read(range, &JsonPath::ROOT, &mut ignored)?;
        let addresses = entry.block.last.saturating_sub(entry.block.first);
        let last = addresses.checked_shr(entry.member_bits.into());
        let last = u64::try_from(last.unwrap_or_default()).unwrap_or(u64::MAX);
        Some(Self { entry, last })
    }

    /// The number of the member with this IMSI.
    pub(crate) fn number_of_imsi(&self, imsi: &str) -> Option<u64> {
        let imsi: Imsi = imsi.parse().ok()?;
        self.contained(imsi.offset_from(&self.entry.base.imsi)?)
    }

    /// The number of the member with this SIM id.
    pub(crate) fn number_of_sim_id(&self, sim_id: &str) -> Option<u64> {
        let sim_id: SimId = sim_id.parse().ok()?;
        self.contained(sim_id.offset_from(&self.entry.base.sim_id)?)
    }

    /// The numbers of the members whose IMSI or SIM id is this text or begins with it, if there may be some.
    pub(crate) fn numbers(
        &self,
        number: Number,
        text: &str,
        is_whole: bool,
    ) -> Option<RangeInclusive<u64>> {
        let base = &self.entry.base;
        let base = match number {
            Number::Imsi => base.imsi.as_str(),
            Number::SimId => base.sim_id.as_str(),
        };
        let missing = base.len().checked_sub(text.len())?;
        let is_digits = text.bytes().all(|byte| byte.is_ascii_digit());
        if !is_digits || (is_whole && missing > 0) {
            return None;
        }
        let value =
            |fill: &str| -> Option<u128> { format!("{text}{}", fill.repeat(missing)).parse().ok() };
        let base: u128 = base.parse().ok()?;
        let first = value("0")?.saturating_sub(base);
        let last = value("9")?.checked_sub(base)?.min(u128::from(self.last));
        let (first, last) = (u64::try_from(first).ok()?, u64::try_from(last).ok()?);
        (first <= last).then_some(first..=last)
    }

    /// All of their numbers.
    pub(crate) const fn all(&self) -> RangeInclusive<u64> {
        0..=self.last
    }

    /// The group of all of them.
    pub(crate) const fn group(&self) -> Option<&'a str> {
        self.entry.group
    }

    fn contained(&self, number: u64) -> Option<u64> {
        (number <= self.last).then_some(number)
    }

    /// The member of a number.
    pub(crate) fn member(&self, number: u64) -> Option<Value> {
        let number = self.contained(number)?;
        let RangeEntry {
            block,
            member_bits,
            base,
            group,
            network,
        } = &self.entry;
        let offset = u128::from(number).checked_shl(u32::from(*member_bits))?;
        let address = Block::new(block.first.checked_add(offset)?, *member_bits);
        let mut sim = Map::new();
        let mut put = |key: &str, value: Value| sim.insert(key.to_owned(), value);
        put("simId", json!(base.sim_id.plus(number)?.to_string()));
        put("imsi", json!(base.imsi.plus(number)?.to_string()));
        if let Some(imei) = &base.imei {
            put("imei", json!(imei.to_string()));
        }
        if let Some(group) = group {
            put("groupId", json!(group));
        }
        put("network", json!(network));
        put("ip", json!(address.to_string()));
        Some(Value::Object(sim))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_the_numbers_and_the_address_of_its_place() {
        let range = json!({"cidr": "127.1.0.0/16", "imsiBase": "440100000100000", "groupId": "g",
            "simIdBase": "8981100000000100000", "imei": null});
        let members = Members::of(&range).unwrap();
        assert_eq!(members.number_of_imsi("440100000100260"), Some(260));
        assert_eq!(members.number_of_imsi("440100000165536"), None);
        assert_eq!(members.number_of_sim_id("8981100000000100001"), Some(1));
        assert_eq!(
            members.member(260).unwrap(),
            json!({"simId": "8981100000000100260", "imsi": "440100000100260", "groupId": "g",
                   "network": "default", "ip": "127.1.1.4"})
        );
        assert_eq!(members.member(65_536), None);
        assert_eq!(
            members.numbers(Number::Imsi, "4401000001002", false),
            Some(200..=299)
        );
        assert_eq!(members.numbers(Number::Imsi, "44", false), Some(0..=65_535));
        assert_eq!(members.numbers(Number::Imsi, "4402", false), None);
        assert_eq!(members.numbers(Number::Imsi, "440100000099", false), None);
        assert_eq!(
            members.numbers(Number::Imsi, "440100000100007", true),
            Some(7..=7)
        );
        assert_eq!(members.numbers(Number::Imsi, "44010000010000", true), None);
        assert_eq!(
            members.numbers(Number::SimId, "898110000000010001", false),
            Some(10..=19)
        );
        let prefixes =
            json!({"cidr": "2001:db8::/48", "imsiBase": "440100000100000", "simIdBase": "1000000"});
        let members = Members::of(&prefixes).unwrap();
        assert_eq!(members.member(2).unwrap()["ip"], "2001:db8:0:2::/64");
    }
}
