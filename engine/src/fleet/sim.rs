//! SIM: one card, or a range of cards that follow one another, as a fleet document writes them.

use ringbeam_proto::identity::{Identity, Imei, Imsi, SimId};
use serde_json::Value;

use super::address::{Block, InvalidBlock};
use super::group::GroupIndex;
use super::json::{JsonPath, Object, describe, kind};
use crate::problem::{Problems, quoted};

/// Who a device is, and which configuration serves it (B-ID-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sim {
    /// Its numbers.
    pub identity: Identity,
    /// Its group, if it has one.
    pub group: Option<GroupIndex>,
}

/// The network of a SIM or a listener that names none.
pub const NETWORK_DEFAULT: &str = "default";

/// The prefix length that one member of an IPv6 range owns: what a cellular device is given.
const MEMBER_PREFIX_IPV6: u8 = 64;

const SIM_KEYS: [&str; 10] = [
    "simId",
    "imsi",
    "imei",
    "groupId",
    "network",
    "ip",
    "ips",
    "status",
    "tags",
    "description",
];

/// The status of a SIM that is served, which one without a status has.
pub(crate) const ACTIVE: &str = "active";

/// What a SIM's status may be: one that is not active is not served.
pub(crate) const STATUSES: [&str; 6] = [
    ACTIVE,
    "inactive",
    "ready",
    "standby",
    "suspended",
    "terminated",
];

const RANGE_KEYS: [&str; 9] = [
    "network",
    "cidr",
    "imsiBase",
    "simIdBase",
    "imei",
    "groupId",
    "memberPrefix",
    "tags",
    "description",
];

const IMSI: &str = "6 to 15 digits in a string";
const SIM_ID: &str = "1 to 22 digits in a string";
const IMEI: &str = "14 to 16 digits in a string, or null where it is unknown";
const ADDRESS: &str = "an IPv4 or IPv6 address or prefix";

/// One SIM as it was typed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SimEntry<'a> {
    pub(super) identity: Identity,
    pub(super) group: Option<&'a str>,
    pub(super) network: &'a str,
    pub(super) blocks: Vec<Block>,
    /// Whether it is served.
    pub(super) is_active: bool,
}

impl<'a> SimEntry<'a> {
    pub(super) fn read(
        value: &'a Value,
        path: &'a JsonPath<'a>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let object = Object::new(value, path, problems)?;
        object.refuse_unknown(&SIM_KEYS, problems);
        let sim_id = object.required::<SimId>("simId", SIM_ID, problems);
        let imsi = object.required::<Imsi>("imsi", IMSI, problems);
        let imei = object.parsed::<Imei>("imei", IMEI, problems);
        let (group, network) = membership(object, problems);
        let mut blocks: Vec<Block> = Vec::new();
        if let Some(text) = object.text("ip", problems) {
            blocks.extend(read_block(text, &path.key("ip"), problems));
        }
        match object.member("ips") {
            Some(Value::Array(list)) => {
                let path = path.key("ips");
                for (index, element) in list.iter().enumerate() {
                    let path = path.index(index);
                    match element.as_str() {
                        Some(text) => blocks.extend(read_block(text, &path, problems)),
                        None => problems.refuse(path, describe(element), ADDRESS),
                    }
                }
            }
            Some(other) => problems.refuse(path.key("ips"), kind(other), "a list of addresses"),
            None => {}
        }
        let identity = Identity {
            imsi: imsi?,
            sim_id: sim_id?,
            imei,
        };
        Some(Self {
            identity,
            group,
            network: network?,
            blocks,
            is_active: is_active(object, problems),
        })
    }
}

/// A range of SIMs as it was typed: member `n` owns the `n`-th part of the block, and the numbers
/// that lie `n` after the bases.
#[derive(Debug)]
pub(super) struct RangeEntry<'a> {
    pub(super) block: Block,
    /// Bits of an address that differ within one member.
    pub(super) member_bits: u8,
    /// The numbers of member 0.
    pub(super) base: Identity,
    pub(super) group: Option<&'a str>,
    pub(super) network: &'a str,
}

impl<'a> RangeEntry<'a> {
    pub(super) fn read(
        value: &'a Value,
        path: &'a JsonPath<'a>,
        problems: &mut Problems,
    ) -> Option<Self> {
        let object = Object::new(value, path, problems)?;
        object.refuse_unknown(&RANGE_KEYS, problems);
        let sim_id = object.required::<SimId>("simIdBase", SIM_ID, problems);
        let imsi = object.required::<Imsi>("imsiBase", IMSI, problems);
        let imei = object.parsed::<Imei>("imei", IMEI, problems);
        let (group, network) = membership(object, problems);
        let block = object
            .required_text("cidr", ADDRESS, problems)
            .and_then(|text| read_block(text, &path.key("cidr"), problems))?;
        let member_bits = read_member_bits(object, block, problems)?;
        let base = Identity {
            imsi: imsi?,
            sim_id: sim_id?,
            imei,
        };
        check_last(object, block, member_bits, &base, problems)?;
        Some(Self {
            block,
            member_bits,
            base,
            group,
            network: network?,
        })
    }
}

fn is_active(object: Object<'_>, problems: &mut Problems) -> bool {
    let Some(status) = object.text("status", problems) else {
        return true;
    };
    if !STATUSES.contains(&status) {
        problems.refuse(
            object.path.key("status"),
            quoted(status),
            STATUSES.join(", "),
        );
    }
    status == ACTIVE
}

/// Group and network; the network is `None` where it was refused.
fn membership<'a>(
    object: Object<'a>,
    problems: &mut Problems,
) -> (Option<&'a str>, Option<&'a str>) {
    let filled = |key: &str, accepted: &str, problems: &mut Problems| {
        object
            .member(key)
            .and_then(|_| object.required_text(key, accepted, problems))
    };
    let group = filled("groupId", "the id of a group, or null", problems);
    let network = match object.member("network") {
        Some(_) => filled("network", "the name of a listener's network", problems),
        None => Some(NETWORK_DEFAULT),
    };
    (group, network)
}

fn read_block(text: &str, path: &JsonPath<'_>, problems: &mut Problems) -> Option<Block> {
    match text.parse() {
        Ok(block) => Some(block),
        Err(error @ InvalidBlock::Form) => {
            problems.refuse(path, format_args!("{} ({error})", quoted(text)), ADDRESS);
            None
        }
        Err(InvalidBlock::HostBits(prefix)) => {
            problems.refuse(
                path,
                format_args!("{} (bits are set behind the prefix)", quoted(text)),
                format_args!("\"{prefix}\""),
            );
            None
        }
    }
}

/// The bits that differ within one member of a range.
fn read_member_bits(object: Object<'_>, block: Block, problems: &mut Problems) -> Option<u8> {
    let written = object.member("memberPrefix");
    let cidr = 128_u8.saturating_sub(block.free_bits());
    if block.is_ipv4() {
        if let Some(value) = written.filter(|value| value.as_u64() != Some(32)) {
            problems.refuse(
                object.path.key("memberPrefix"),
                describe(value),
                "32 for IPv4",
            );
            return None;
        }
        return Some(0);
    }
    let prefix = match written {
        Some(value) => value.as_u64().and_then(|prefix| u8::try_from(prefix).ok()),
        None => Some(MEMBER_PREFIX_IPV6),
    };
    if let Some(prefix) = prefix.filter(|prefix| (cidr..=128).contains(prefix)) {
        return Some(128_u8.saturating_sub(prefix));
    }
    let found = match written {
        Some(value) => describe(value),
        None => format!("nothing, which means {MEMBER_PREFIX_IPV6}"),
    };
    problems.refuse(
        object.path.key("memberPrefix"),
        found,
        format_args!("a prefix length from that of the cidr on: {cidr} to 128"),
    );
    None
}

/// Refuses a range whose last member has no number of the bases' width.
fn check_last(
    object: Object<'_>,
    block: Block,
    member_bits: u8,
    base: &Identity,
    problems: &mut Problems,
) -> Option<()> {
    let last = block
        .last
        .saturating_sub(block.first)
        .checked_shr(u32::from(member_bits));
    let last = u64::try_from(last.unwrap_or_default()).ok();
    let fits = [
        (
            "imsiBase",
            last.and_then(|last| base.imsi.plus(last)).is_some(),
            base.imsi.as_str(),
        ),
        (
            "simIdBase",
            last.and_then(|last| base.sim_id.plus(last)).is_some(),
            base.sim_id.as_str(),
        ),
    ];
    for (key, _, digits) in fits.iter().filter(|(_, fits, _)| !fits) {
        problems.refuse(
            object.path.key(key),
            format_args!("\"{digits}\", too high for the last member of {block}"),
            format_args!(
                "a base after which all members have {} digits",
                digits.len()
            ),
        );
    }
    fits.iter().all(|(_, fits, _)| *fits).then_some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn problems_of(value: &Value, is_range: bool) -> Vec<String> {
        let mut problems = Problems::default();
        let root = JsonPath::ROOT;
        let list = root.key(if is_range { "simRanges" } else { "sims" });
        let path = list.index(0);
        if is_range {
            assert!(RangeEntry::read(value, &path, &mut problems).is_some() == problems.is_empty());
        } else {
            drop(SimEntry::read(value, &path, &mut problems));
        }
        let listed = problems.into_result(None::<()>).unwrap_err();
        listed.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn b_id_1_a_sim_is_read_with_its_addresses() {
        let value = json!({
            "simId": "8981100000000000001", "imsi": "440100000000001", "imei": null,
            "groupId": null, "ip": "10.0.0.1", "ips": ["2001:db8::/64", "10.0.0.2"], "tags": {},
        });
        let mut problems = Problems::default();
        let sim = SimEntry::read(&value, &JsonPath::ROOT, &mut problems).unwrap();
        assert!(problems.is_empty());
        assert_eq!(
            (sim.group, sim.network, sim.identity.imei),
            (None, "default", None)
        );
        let blocks: Vec<_> = sim.blocks.iter().map(ToString::to_string).collect();
        assert_eq!(blocks, ["10.0.0.1", "2001:db8::/64", "10.0.0.2"]);
        let bare = json!({"simId": "1", "imsi": "440100000000001"});
        let sim = SimEntry::read(&bare, &JsonPath::ROOT, &mut problems).unwrap();
        assert!(sim.blocks.is_empty());
    }

    #[test]
    fn b_cfg_4_sims_are_refused_with_path_found_and_accepted() {
        let check = |value: Value, expected: &[&str]| {
            assert_eq!(problems_of(&value, false), expected, "{value}");
        };
        check(
            json!({"simId": "x", "imsi": 5, "imie": "1"}),
            &[
                "sims[0].imie: found an unknown key; accepted: simId, imsi, imei, groupId, \
                 network, ip, ips, status, tags, description",
                "sims[0].simId: found \"x\" (only the digits 0 to 9 are accepted); \
                 accepted: 1 to 22 digits in a string",
                "sims[0].imsi: found the number 5; accepted: a string",
            ],
        );
        check(
            json!({"simId": "1", "imsi": "12345", "ip": "host", "ips": ["10.0.0.1/24", 5]}),
            &[
                "sims[0].imsi: found \"12345\" (5 digits, accepted are 6 to 15); \
                 accepted: 6 to 15 digits in a string",
                "sims[0].ip: found \"host\" (no IP address or prefix); \
                 accepted: an IPv4 or IPv6 address or prefix",
                "sims[0].ips[0]: found \"10.0.0.1/24\" (bits are set behind the prefix); \
                 accepted: \"10.0.0.0/24\"",
                "sims[0].ips[1]: found the number 5; accepted: an IPv4 or IPv6 address or prefix",
            ],
        );
        check(
            json!({"simId": "1", "network": "", "groupId": "", "ips": "10.0.0.1"}),
            &[
                "sims[0].imsi: found nothing; accepted: 6 to 15 digits in a string",
                "sims[0].groupId: found an empty string; accepted: the id of a group, or null",
                "sims[0].network: found an empty string; \
                 accepted: the name of a listener's network",
                "sims[0].ips: found a string; accepted: a list of addresses",
            ],
        );
        check(
            json!("x"),
            &["sims[0]: found a string; accepted: an object"],
        );
    }

    #[test]
    fn b_cfg_4_ranges_that_do_not_hold_are_refused() {
        let check = |cidr: &str, member_prefix: Value, imsi: &str, expected: &[&str]| {
            let value = json!({
                "cidr": cidr, "memberPrefix": member_prefix, "imsiBase": imsi,
                "simIdBase": "8981100000000100000",
            });
            assert_eq!(problems_of(&value, true), expected, "{value}");
        };
        let imsi = "440100000100000";
        check("127.1.0.0/16", json!(null), imsi, &[]);
        check("127.1.0.0/16", json!(32), imsi, &[]);
        check("2001:db8::/48", json!(null), imsi, &[]);
        check("2001:db8::/120", json!(128), imsi, &[]);
        check(
            "127.1.0.1/16",
            json!(null),
            imsi,
            &[
                "simRanges[0].cidr: found \"127.1.0.1/16\" (bits are set behind the prefix); \
               accepted: \"127.1.0.0/16\"",
            ],
        );
        check(
            "127.1.0.0/16",
            json!(24),
            imsi,
            &["simRanges[0].memberPrefix: found the number 24; accepted: 32 for IPv4"],
        );
        check(
            "2001:db8::/120",
            json!(null),
            imsi,
            &["simRanges[0].memberPrefix: found nothing, which means 64; \
               accepted: a prefix length from that of the cidr on: 120 to 128"],
        );
        check(
            "127.1.0.0/16",
            json!(null),
            "999999999999000",
            &[
                "simRanges[0].imsiBase: found \"999999999999000\", too high for the last member of \
               127.1.0.0/16; accepted: a base after which all members have 15 digits",
            ],
        );
        assert_eq!(
            problems_of(
                &json!({"cidr": "::/0", "imsiBase": "000000", "simIdBase": "0"}),
                true
            )
            .len(),
            2
        );
    }
}
