//! Doubt: what is nobody's for as long as it cannot be stored whose it is (B-ID-6). It lies over the fleet, which says what
//! is stored: whoever is looked up is not found while there is a doubt about the address, the SIM or the group, and as
//! before when there is none any more. A fleet that replaces another one takes its doubts over.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ipnet::IpNet;
use papaya::HashMap;
use ringbeam_proto::identity::Imsi;
use serde_json::Value;

use super::Fleet;
use super::address::{self, Block};
use super::blocks::{Blocks, NetworkIndex};
use super::change::block;
use super::directory_builder::compact;
use super::hasher::{Fixed, table};
use super::json::JsonPath;
use super::sim::{Sim, SimEntry};
use crate::problem::Problems;

/// What of a SIM is in doubt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SimDoubt {
    /// Whether it is served at all.
    Whole,
    /// Which group it is in, which may be none that serves it.
    Group,
    /// Which of two groups that serve it: its sessions go on (B-CFG-5), and no other begins.
    Groups,
}

/// Everything that is in doubt.
#[derive(Debug)]
pub(super) struct Doubts {
    /// False nearly always: then a look-up costs this one look.
    is_any: AtomicBool,
    networks: HashMap<Arc<str>, NetworkIndex, Fixed>,
    blocks: Blocks<()>,
    sims: HashMap<Imsi, SimDoubt, Fixed>,
    groups: HashMap<Arc<str>, (), Fixed>,
}

impl Default for Doubts {
    fn default() -> Self {
        Self {
            is_any: AtomicBool::new(false),
            networks: table(),
            blocks: Blocks::default(),
            sims: table(),
            groups: table(),
        }
    }
}

impl Doubts {
    fn is_any(&self) -> bool {
        self.is_any.load(Ordering::Acquire)
    }

    /// Whether nobody has this address.
    pub(super) fn withholds(&self, network: &str, address: IpAddr) -> bool {
        self.is_any()
            && self.networks.pin().get(network).is_some_and(|network| {
                self.blocks
                    .find(*network, address::number(address))
                    .is_some()
            })
    }

    /// A SIM as far as there is no doubt, for what begins now or for a session that it has.
    pub(super) fn certain(&self, mut sim: Sim, has_session: bool) -> Option<Sim> {
        if !self.is_any() {
            return Some(sim);
        }
        match self.sims.pin().get(&sim.identity.imsi) {
            Some(SimDoubt::Whole) => return None,
            Some(SimDoubt::Groups) if has_session => {}
            Some(SimDoubt::Group | SimDoubt::Groups) => sim.group = None,
            None => {}
        }
        Some(sim)
    }

    /// Whether a group's entry point serves nobody.
    pub(super) fn withholds_group(&self, id: &str) -> bool {
        self.is_any() && self.groups.pin().contains_key(id)
    }

    fn add_block(&self, network: &str, block: Block) {
        let networks = self.networks.pin();
        let next = NetworkIndex(compact(networks.len()));
        let index = *networks.get_or_insert(Arc::from(network), next);
        self.blocks.insert(index, block, ());
        self.is_any.store(true, Ordering::Release);
    }

    fn add_sim(&self, imsi: Imsi, doubt: SimDoubt) {
        let sims = self.sims.pin();
        // The greatest doubt stays.
        let before = sims.get(&imsi).copied();
        sims.insert(imsi, before.map_or(doubt, |before| before.min(doubt)));
        self.is_any.store(true, Ordering::Release);
    }

    fn add_group(&self, id: Arc<str>) {
        self.groups.pin().insert(id, ());
        self.is_any.store(true, Ordering::Release);
    }

    /// There is none any more.
    fn clear(&self) {
        self.is_any.store(false, Ordering::Release);
        self.blocks.clear();
        self.sims.pin().clear();
        self.groups.pin().clear();
    }
}

impl Fleet {
    /// Has nobody be served by what a change takes, though it is not stored yet.
    pub(crate) fn doubt(&self, taken: &Taken) {
        for (network, block) in &taken.blocks {
            self.doubts.add_block(network, *block);
        }
        for (imsi, doubt) in &taken.sims {
            self.doubts.add_sim(*imsi, *doubt);
        }
        for id in &taken.groups {
            self.doubts.add_group(Arc::clone(id));
        }
    }

    /// Everything is stored: whoever the fleet says is served.
    pub(crate) fn trust(&self) {
        self.doubts.clear();
    }

    /// Takes over what is in doubt in the fleet that it replaces.
    pub(crate) fn inherit_doubts(&mut self, before: &Self) {
        self.doubts = Arc::clone(&before.doubts);
    }

    /// What putting a SIM in the place of another takes from that one, and from whoever has its new addresses.
    pub(crate) fn taken_by_sim(&self, before: Option<&Value>, after: Option<&Value>) -> Taken {
        let (mut ignored, root) = (Problems::default(), JsonPath::ROOT);
        let mut read = |value| SimEntry::read(value, &root, &mut ignored);
        let before = before.and_then(&mut read).filter(|entry| entry.is_active);
        let after = after.and_then(&mut read).filter(|entry| entry.is_active);
        let mut taken = Taken::default();
        if let Some(before) = &before {
            let imsi = before.identity.imsi;
            let same = after.as_ref().filter(|after| after.identity.imsi == imsi);
            match same {
                None => taken.sim(imsi, SimDoubt::Whole),
                // One that is in no group is not served, and has nothing to lose.
                Some(after) if before.group.is_some() && after.group != before.group => {
                    let group = after.group.and_then(|name| self.group_of(name));
                    let entry_point = group.and_then(|group| group.entry_point.as_ref());
                    let is_served = entry_point.is_some_and(|entry_point| entry_point.enabled);
                    let doubt = if is_served {
                        SimDoubt::Groups
                    } else {
                        SimDoubt::Group
                    };
                    taken.sim(imsi, doubt);
                }
                Some(after) => {
                    let is_kept = |block: &&Block| {
                        after.network == before.network && after.blocks.contains(block)
                    };
                    for block in before.blocks.iter().filter(|block| !is_kept(block)) {
                        if self.finder(before.network, block) == Some(imsi) {
                            taken.block(before.network, block, imsi);
                        }
                    }
                }
            }
        }
        if let Some(after) = &after {
            for block in &after.blocks {
                let other = self.finder(after.network, block);
                if let Some(other) = other.filter(|other| *other != after.identity.imsi)
                    && !self.is_of_session(after.network, block)
                {
                    taken.block(after.network, block, other);
                }
            }
        }
        taken
    }

    /// Whether an address is a SIM's by what is stored, and nobody's all the same.
    pub(crate) fn is_in_doubt(&self, network: &str, address: IpAddr) -> bool {
        self.find(network, address).is_none() && self.directory.find(network, address).is_some()
    }

    /// Who has addresses by what is stored.
    pub(crate) fn stored_holder(&self, network: &str, addresses: IpNet) -> Option<Imsi> {
        self.finder(network, &block(addresses))
    }

    fn finder(&self, network: &str, block: &Block) -> Option<Imsi> {
        let sim = self
            .directory
            .find(network, address::address(block.first))?;
        Some(sim.identity.imsi)
    }

    fn is_of_session(&self, network: &str, block: &Block) -> bool {
        let index = self.directory.network(network);
        self.directory.sessions.find(index, block.first).is_some()
    }

    /// What another fleet of the same SIMs takes from groups: entry points that it does not have, or has disabled.
    pub(crate) fn taken_by_groups(&self, after: &Self) -> Taken {
        let is_served = |fleet: &Self, id: &str| {
            let group = fleet.group_of(id);
            let entry_point = group.and_then(|group| group.entry_point.as_ref());
            entry_point.is_some_and(|entry_point| entry_point.enabled)
        };
        let ids = self.groups().map(|group| &group.id);
        let lost = ids.filter(|id| is_served(self, id) && !is_served(after, id));
        Taken {
            groups: lost.map(Arc::clone).collect(),
            ..Taken::default()
        }
    }
}

/// What a change takes from whom, as far as a fleet is concerned that does not know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Addresses of networks.
    blocks: Vec<(Arc<str>, Block)>,
    sims: Vec<(Imsi, SimDoubt)>,
    /// Groups whose entry point is taken away.
    groups: Vec<Arc<str>>,
    losers: Vec<Imsi>,
}

impl Taken {
    /// Whether it is nothing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.losers.is_empty()
            && self.blocks.is_empty()
            && self.sims.is_empty()
            && self.groups.is_empty()
    }

    /// Takes a SIM's connections alone.
    pub(crate) fn connections(&mut self, imsi: Imsi) {
        self.losers.push(imsi);
    }

    /// Whose connections may have to end.
    pub(crate) fn losers(&self) -> &[Imsi] {
        &self.losers
    }

    /// Whether groups are among it, and with them any SIM.
    pub(crate) const fn has_groups(&self) -> bool {
        !self.groups.is_empty()
    }

    fn sim(&mut self, imsi: Imsi, doubt: SimDoubt) {
        self.sims.push((imsi, doubt));
        self.losers.push(imsi);
    }

    fn block(&mut self, network: &str, block: &Block, loser: Imsi) {
        self.blocks.push((Arc::from(network), *block));
        self.losers.push(loser);
    }

    /// Takes addresses from a SIM.
    pub(crate) fn addresses(&mut self, network: &str, addresses: IpNet, loser: Imsi) {
        self.block(network, &block(addresses), loser);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::SecretValue;
    use super::*;

    fn fleet() -> Fleet {
        let entry_point = json!({"enabled": true, "destination": "mqtt://127.0.0.1:1884"});
        let group = |id: &str| {
            let configuration =
                json!({"SoracomBeam": {"mqtt://beam.soracom.io:1883": entry_point.clone()}});
            json!({"groupId": id, "configuration": configuration})
        };
        let document = json!({
            "groups": [group("g"), group("h"), {"groupId": "bare"}],
            "sims": [
                {"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"},
                {"simId": "2", "imsi": "440100000000002", "groupId": "g"},
            ],
            "simRanges": [
                {"cidr": "10.1.0.0/24", "imsiBase": "440100000001000", "simIdBase": "1000", "groupId": "g"},
            ],
        });
        Fleet::from_json("test", document.to_string()).unwrap()
    }

    /// Who is served at an address.
    fn served(fleet: &Fleet, address: &str) -> Option<String> {
        let sim = fleet.find("default", address.parse().unwrap())?;
        fleet.entry_point(&sim).ok()?;
        Some(sim.identity.imsi.to_string())
    }

    #[test]
    fn b_id_6_what_takes_from_a_sim_withholds_it_and_what_gives_does_not() {
        let sim = |more: Value| {
            let mut sim =
                json!({"simId": "1", "imsi": "440100000000001", "groupId": "g", "ip": "10.0.0.1"});
            sim.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            sim
        };
        let one = "440100000000001";
        let before = sim(json!({}));
        // What it is to become, and whether its sessions have to end.
        for (after, has_to_end) in [
            (None, true),
            (Some(sim(json!({"status": "inactive"}))), true),
            (Some(sim(json!({"imsi": "440100000000009"}))), true),
            (Some(sim(json!({"groupId": null}))), true),
            (Some(sim(json!({"groupId": "bare"}))), true),
            (Some(sim(json!({"groupId": "h"}))), false),
            (Some(sim(json!({"ip": "10.0.0.9"}))), true),
        ] {
            let fleet = fleet();
            let taken = fleet.taken_by_sim(Some(&before), after.as_ref());
            assert!(!taken.is_empty(), "{after:?}");
            assert_eq!(served(&fleet, "10.0.0.1").as_deref(), Some(one));
            fleet.doubt(&taken);
            let goes_on = fleet
                .find_open("default", "10.0.0.1".parse().unwrap())
                .is_some_and(|sim| fleet.entry_point(&sim).is_ok());
            assert_eq!(goes_on, !has_to_end, "{after:?}");
            assert_eq!(served(&fleet, "10.0.0.1"), None, "{after:?}");
            let address = "10.0.0.1".parse().unwrap();
            let is_nobodys = fleet.find("default", address).is_none();
            assert_eq!(fleet.is_in_doubt("default", address), is_nobodys);
            assert!(served(&fleet, "10.1.0.7").is_some(), "it is another's");
            fleet.trust();
            assert_eq!(served(&fleet, "10.0.0.1").as_deref(), Some(one));
        }
        let fleet = fleet();
        for after in [
            sim(json!({"tags": {"name": "x"}, "imei": "353456789012348"})),
            sim(json!({"ip": null, "ips": ["10.0.0.1", "10.0.0.2"]})),
        ] {
            assert_eq!(
                fleet.taken_by_sim(Some(&before), Some(&after)),
                Taken::default()
            );
        }
        for before in [
            sim(json!({"status": "inactive"})),
            sim(json!({"groupId": null})),
        ] {
            let taken = fleet.taken_by_sim(Some(&before), Some(&sim(json!({}))));
            assert_eq!(taken, Taken::default(), "it had nothing");
        }
        // A range's member loses its address to a SIM that stands by itself.
        let after = sim(json!({"ip": null, "ips": ["10.0.0.1", "10.1.0.7"]}));
        fleet.doubt(&fleet.taken_by_sim(Some(&before), Some(&after)));
        assert_eq!(served(&fleet, "10.1.0.7"), None);
        assert!(served(&fleet, "10.1.0.8").is_some() && served(&fleet, "10.0.0.1").is_some());
    }

    #[test]
    fn b_id_6_a_doubt_outlives_the_fleet_and_ends_with_the_last_one() {
        let fleet = fleet();
        let mut taken = Taken::default();
        let one = "440100000000001".parse().unwrap();
        taken.addresses("default", "10.0.0.1/32".parse().unwrap(), one);
        fleet.doubt(&taken);
        let mut next = self::fleet();
        assert!(served(&next, "10.0.0.1").is_some());
        next.inherit_doubts(&fleet);
        assert_eq!(served(&next, "10.0.0.1"), None);
        // What another network has under that number is certain.
        let other = "440100000000002".parse().unwrap();
        next.bind("other", "10.0.0.1/32".parse().unwrap(), other, None);
        assert!(next.find("other", "10.0.0.1".parse().unwrap()).is_some());
        next.trust();
        assert!(served(&next, "10.0.0.1").is_some());

        let disabled = next.with_sections(SecretValue(json!([])), SecretValue(json!([])));
        // SIMs name groups that are gone.
        let taken = disabled.map(|after| next.taken_by_groups(&after)).unwrap();
        next.doubt(&taken);
        assert_eq!(served(&next, "10.1.0.7"), None);
        next.trust();
        assert!(served(&next, "10.1.0.7").is_some());
    }
}
