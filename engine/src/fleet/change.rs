//! Change: what becomes of SIMs while the fleet is in use. One writer at a time calls these; shards that look up
//! meanwhile find the SIM as it was or as it is.

use std::net::IpAddr;

use ipnet::IpNet;
use ringbeam_proto::identity::{Imei, Imsi};
use serde_json::Value;

use super::Fleet;
use super::address::{self, Block};
use super::directory::{Clash, Holder};
use super::json::JsonPath;
use super::sim::SimEntry;
use crate::problem::{Problem, Problems, quoted};

/// The shortest prefixes that a session may have: a device has an address, or a few, or an IPv6 prefix.
const SESSION_PREFIX_IPV4: u8 = 24;
const SESSION_PREFIX_IPV6: u8 = 48;

/// A change of a SIM that was checked and can be made.
#[derive(Debug)]
pub(crate) struct SimChange<'a> {
    before: Option<&'a Value>,
    after: Option<&'a Value>,
}

impl Fleet {
    /// Whether an explicit SIM may be put in the place of another (or of none); `None` for `after` removes it.
    ///
    /// # Errors
    /// Why it may not.
    pub(crate) fn check_sim<'a>(
        &self,
        before: Option<&'a Value>,
        after: Option<&'a Value>,
    ) -> Result<SimChange<'a>, Vec<Problem>> {
        let mut problems = Problems::default();
        let root = JsonPath::ROOT;
        let mut ignored = Problems::default();
        let old = before.and_then(|value| SimEntry::read(value, &root, &mut ignored));
        let Some(value) = after else {
            return problems.into_result(Some(SimChange { before, after }));
        };
        let Some(entry) = SimEntry::read(value, &root, &mut problems) else {
            return problems.into_result(None);
        };
        if let Some(name) = entry.group.filter(|name| self.group_of(name).is_none()) {
            let found = format!("{}, which is not in groups", quoted(name));
            problems.refuse(root.key("groupId"), found, "the id of a group, or null");
        }
        let before_imsi = old.as_ref().map(|entry| entry.identity.imsi);
        match self.directory.clash(&entry, before_imsi) {
            Some(Clash::Imsi) => problems.refuse(
                root.key("imsi"),
                format_args!("{}, which another SIM has", entry.identity.imsi),
                "one that belongs to this SIM alone",
            ),
            Some(Clash::Address(block, owner)) => problems.refuse(
                root.key("ip"),
                format_args!("{block}, which overlaps an address of {owner}"),
                "one that belongs to this SIM alone",
            ),
            None => {}
        }
        problems.into_result(Some(SimChange { before, after }))
    }

    /// Makes a change that was checked, and says whose connections it may concern.
    pub(crate) fn change_sim(&self, change: &SimChange<'_>) -> Vec<Imsi> {
        let mut ignored = Problems::default();
        let root = JsonPath::ROOT;
        let read = |value, problems: &mut Problems| SimEntry::read(value, &root, problems);
        let before = change.before.and_then(|value| read(value, &mut ignored));
        let after = change.after.and_then(|value| read(value, &mut ignored));
        let group = after.as_ref().and_then(|entry| entry.group);
        let group = group.and_then(|name| self.group_names.find(name));
        let entries = [before.as_ref(), after.as_ref()];
        let mut concerned: Vec<Imsi> = Vec::new();
        for entry in entries.into_iter().flatten() {
            concerned.push(entry.identity.imsi);
        }
        if let Some(entry) = &after {
            let network = self.directory.network(entry.network);
            for block in &entry.blocks {
                concerned.extend(self.directory.holders(network, *block));
            }
        }
        let is_same = before == after;
        let after = after.as_ref().map(|entry| (entry, group));
        if is_same {
            return Vec::new();
        }
        self.directory.replace(before.as_ref(), after);
        concerned
    }

    /// Everybody who has one of these addresses now.
    pub(crate) fn holders(&self, network: &str, addresses: IpNet) -> Vec<Imsi> {
        let index = self.directory.network(network);
        self.directory.holders(index, block(addresses))
    }

    /// Gives addresses to a SIM for as long as its session lasts. Connections of whoever had them have ended before
    /// (B-ID-4).
    pub(crate) fn bind(&self, network: &str, addresses: IpNet, imsi: Imsi, imei: Option<Imei>) {
        let index = self.directory.network(network);
        let holder = Some(Holder { imsi, imei });
        self.directory
            .sessions
            .insert(index, block(addresses), holder);
    }

    /// Has addresses lead to nobody for a moment.
    pub(crate) fn withhold(&self, network: &str, addresses: IpNet) {
        let index = self.directory.network(network);
        self.directory
            .sessions
            .insert(index, block(addresses), None);
    }

    /// Takes addresses from the SIM that they were given to; true when it had them.
    pub(crate) fn release(&self, network: &str, addresses: IpNet, imsi: &Imsi) -> bool {
        let index = self.directory.network(network);
        let block = block(addresses);
        let holder = self.directory.sessions.get(index, block).flatten();
        let is_its = holder.is_some_and(|holder| holder.imsi == *imsi);
        if is_its {
            self.directory.sessions.remove(index, block);
        }
        is_its
    }

    /// The SIM of an IMSI, if there is one and it is served.
    #[must_use]
    pub fn sim(&self, imsi: &Imsi) -> Option<super::Sim> {
        self.directory.sim(imsi)
    }
}

/// The addresses of a prefix as the directory has them.
pub(super) fn block(addresses: IpNet) -> Block {
    let free_bits = addresses
        .max_prefix_len()
        .saturating_sub(addresses.prefix_len());
    Block::new(address::number(addresses.network()), free_bits)
}

/// Addresses as somebody wrote them: one, or a prefix.
///
/// # Errors
/// When it is neither, or bits are set behind the prefix.
pub fn parse_addresses(text: &str) -> Result<IpNet, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address.to_canonical()));
    }
    let prefix: IpNet = text
        .parse()
        .map_err(|_| "no IP address or prefix".to_owned())?;
    if prefix.addr() != prefix.network() {
        return Err(format!(
            "bits are set behind the prefix; the prefix is {}",
            prefix.trunc()
        ));
    }
    // IPv4 in IPv6's clothes is IPv4.
    let mapped = match (
        prefix.addr().to_canonical(),
        prefix.prefix_len().checked_sub(96),
    ) {
        (address @ IpAddr::V4(_), Some(length)) if prefix.addr().is_ipv6() => {
            IpNet::new(address, length).ok()
        }
        _ => None,
    };
    let prefix = mapped.unwrap_or(prefix);
    let shortest = match prefix {
        IpNet::V4(_) => SESSION_PREFIX_IPV4,
        IpNet::V6(_) => SESSION_PREFIX_IPV6,
    };
    if prefix.prefix_len() < shortest {
        return Err(format!(
            "the shortest prefix that one SIM may have is /{shortest}"
        ));
    }
    Ok(prefix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fleet() -> Fleet {
        let document = json!({
            "groups": [{"groupId": "g"}],
            "sims": [
                {"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"},
                {"simId": "2", "imsi": "440100000000002", "ips": ["10.0.1.0/24", "2001:db8::/64"]},
            ],
            "simRanges": [{"cidr": "10.1.0.0/24", "imsiBase": "440100000001000", "simIdBase": "1000"}],
        });
        Fleet::from_json("test", document.to_string()).unwrap()
    }

    fn imsi(number: u64) -> Imsi {
        format!("{number:015}").parse().unwrap()
    }

    fn at(fleet: &Fleet, address: &str) -> Option<String> {
        let sim = fleet.find("default", address.parse().unwrap())?;
        Some(sim.identity.imsi.to_string())
    }

    #[test]
    fn b_id_4_a_session_has_its_address_until_it_ends() {
        let fleet = fleet();
        let (one, two) = (imsi(440_100_000_000_001), imsi(440_100_000_000_002));
        let address = parse_addresses("10.9.0.1").unwrap();
        fleet.bind("default", address, one, None);
        assert_eq!(at(&fleet, "10.9.0.1"), Some(one.to_string()));
        let imei = "353456789012348".parse().unwrap();
        fleet.withhold("default", address);
        assert_eq!(at(&fleet, "10.9.0.1"), None);
        fleet.bind("default", address, two, Some(imei));
        let found = fleet.find("default", "10.9.0.1".parse().unwrap()).unwrap();
        assert_eq!(
            (found.identity.imsi, found.identity.imei),
            (two, Some(imei))
        );
        assert!(!fleet.release("default", address, &one), "it is another's");
        assert_eq!(at(&fleet, "10.9.0.1"), Some(two.to_string()));
        assert!(fleet.release("default", address, &two));
        assert_eq!(at(&fleet, "10.9.0.1"), None);
    }

    #[test]
    fn a_session_goes_before_an_address_of_the_fleet_and_leaves_it_valid() {
        let fleet = fleet();
        let two = imsi(440_100_000_000_002);
        let member = imsi(440_100_000_001_005);
        for (address, owner) in [
            ("10.0.0.1", imsi(440_100_000_000_001)),
            ("10.1.0.5", member),
        ] {
            let addresses = parse_addresses(address).unwrap();
            fleet.bind("default", addresses, two, None);
            assert_eq!(at(&fleet, address), Some(two.to_string()));
            assert!(fleet.release("default", addresses, &two));
            assert_eq!(at(&fleet, address), Some(owner.to_string()));
        }
        // A prefix of a cellular device, and a network that nobody has named before.
        let prefix = parse_addresses("2001:db8:1::/64").unwrap();
        fleet.bind("other", prefix, member, None);
        let found = fleet.find("other", "2001:db8:1::9".parse().unwrap());
        assert_eq!(found.unwrap().identity.imsi, member);
        assert_eq!(
            fleet.find("default", "2001:db8:1::9".parse().unwrap()),
            None
        );
        // Whoever is unknown is not served, and keeps others out.
        let unknown = imsi(1);
        let address = parse_addresses("10.0.0.1").unwrap();
        fleet.bind("default", address, unknown, None);
        assert_eq!(at(&fleet, "10.0.0.1"), None);
    }

    #[test]
    fn b_cfg_5_a_sim_is_replaced_while_the_fleet_is_in_use() {
        let fleet = fleet();
        let before =
            json!({"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"});
        let after = json!({"simId": "1", "imsi": "440100000000009", "ip": "10.0.0.9"});
        let change = fleet.check_sim(Some(&before), Some(&after)).unwrap();
        fleet.change_sim(&change);
        assert_eq!(at(&fleet, "10.0.0.1"), None);
        assert_eq!(at(&fleet, "10.0.0.9"), Some("440100000000009".to_owned()));
        let inactive = json!({"simId": "1", "imsi": "440100000000009", "ip": "10.0.0.9", "status": "inactive"});
        fleet.change_sim(&fleet.check_sim(Some(&after), Some(&inactive)).unwrap());
        assert_eq!(at(&fleet, "10.0.0.9"), None);
        fleet.change_sim(&fleet.check_sim(Some(&inactive), None).unwrap());
        assert_eq!(fleet.counts().sims, 1);
    }

    #[test]
    fn b_cfg_4_a_sim_that_clashes_is_refused() {
        let fleet = fleet();
        let refused = |before: Option<&Value>, after: Value| {
            let problems = fleet.check_sim(before, Some(&after)).unwrap_err();
            problems.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let sim = |imsi: &str, ip: &str| json!({"simId": "3", "imsi": imsi, "ip": ip});
        for (after, expected) in [
            (
                sim("440100000000001", "10.0.0.3"),
                "imsi: found 440100000000001, which another SIM has",
            ),
            (
                sim("440100000000003", "10.0.0.1"),
                "ip: found 10.0.0.1, which overlaps",
            ),
            (
                sim("440100000000003", "10.0.1.7"),
                "ip: found 10.0.1.7, which overlaps",
            ),
            (
                sim("440100000000003", "10.0.0.0/16"),
                "ip: found 10.0.0.0/16, which overlaps",
            ),
            (sim("x", "10.0.0.3"), "imsi: found \"x\""),
        ] {
            let problems = refused(None, after);
            assert!(problems[0].starts_with(expected), "{problems:?}");
        }
        let lost = json!({"simId": "3", "imsi": "440100000000003", "groupId": "h"});
        assert!(refused(None, lost)[0].starts_with("groupId: found \"h\""));
        // Its own are no clash.
        let own = sim("440100000000001", "10.0.0.0/24");
        fleet
            .check_sim(Some(&sim("440100000000001", "10.0.0.1")), Some(&own))
            .unwrap();
    }
}
