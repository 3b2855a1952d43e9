//! Lookup: an address to its SIM, through the fleet, as the front asks it at accept. Addresses come in
//! random order, all over the fleet, so that caches help no more than they would with devices.

use std::fmt::Write as _;
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, OnceLock};

use ringbeam::fleet::Fleet;

use super::{Case, Run, count};

/// Look-ups of one run.
const LOOKUPS: usize = 256;

const NETWORK: &str = "default";

/// A way to give SIMs their addresses.
struct Layout {
    name: &'static str,
    /// The fleet of so many SIMs.
    document: fn(u32) -> String,
    /// An address of SIM number `sim`; `within` picks among those that it has.
    hit: fn(sim: u32, within: u32) -> IpAddr,
    /// An address of nobody, near SIM number `sim` where that is possible.
    miss: fn(sim: u32, within: u32) -> IpAddr,
}

const LAYOUTS: [Layout; 4] = [
    Layout {
        name: "explicit",
        document: |sims| explicit(sims, |sim| ipv4(10, sim).to_string()),
        hit: |sim, _| ipv4(10, sim),
        miss: |sim, _| ipv4(11, sim),
    },
    Layout {
        name: "range",
        document: range,
        hit: |sim, _| ipv4(10, sim),
        miss: |sim, _| ipv4(11, sim),
    },
    // Of every eight addresses a SIM has the first four.
    Layout {
        name: "prefix-ipv4",
        document: |sims| explicit(sims, |sim| format!("{}/30", ipv4(10, sim * 8))),
        hit: |sim, within| ipv4(10, sim * 8 + within % 4),
        miss: |sim, within| ipv4(10, sim * 8 + 4 + within % 4),
    },
    // Of every two /64 a SIM has the first.
    Layout {
        name: "prefix-ipv6",
        document: |sims| explicit(sims, |sim| format!("{}/64", ipv6(sim * 2, 0))),
        hit: |sim, within| ipv6(sim * 2, within),
        miss: |sim, within| ipv6(sim * 2 + 1, within),
    },
];

/// Layouts, each with addresses that are a SIM's and addresses that are nobody's.
pub(super) fn cases(sims: u32) -> Vec<Case> {
    let mut cases = Vec::new();
    for layout in LAYOUTS {
        let shared: Arc<OnceLock<Arc<Fleet>>> = Arc::default();
        for (what, address, is_hit) in [("hit", layout.hit, true), ("miss", layout.miss, false)] {
            let shared = Arc::clone(&shared);
            cases.push(Case {
                name: format!("{}/{what}", layout.name),
                messages: count(LOOKUPS),
                bytes: 0,
                prepare: Box::new(move || {
                    let fleet = shared.get_or_init(|| load(layout.document, sims));
                    prepare(Arc::clone(fleet), sims, address, is_hit)
                }),
            });
        }
    }
    cases
}

fn load(document: fn(u32) -> String, sims: u32) -> Arc<Fleet> {
    Arc::new(Fleet::from_json("bench", document(sims)).unwrap())
}

fn prepare(fleet: Arc<Fleet>, sims: u32, address: fn(u32, u32) -> IpAddr, is_hit: bool) -> Run {
    let mut random = Random(1);
    // As many addresses as there are SIMs, in whole runs: a run does not find what the last one warmed.
    let runs = usize::try_from(sims).unwrap().div_ceil(LOOKUPS);
    let mut addresses = Vec::with_capacity(runs * LOOKUPS);
    for _ in 0..runs * LOOKUPS {
        let sim = random.next() % sims;
        let address = address(sim, random.next());
        let found = fleet.find(NETWORK, address);
        let found = found.map(|sim| sim.identity.imsi.as_str().to_owned());
        assert_eq!(found, is_hit.then(|| imsi(sim)), "{address}");
        addresses.push(address);
    }
    let mut position = 0;
    Box::new(move || {
        for address in &addresses[position..position + LOOKUPS] {
            black_box(fleet.find(NETWORK, *address));
        }
        position = (position + LOOKUPS) % addresses.len();
    })
}

fn imsi(sim: u32) -> String {
    format!("44010{sim:010}")
}

fn explicit(sims: u32, address: impl Fn(u32) -> String) -> String {
    let mut text = String::from(r#"{"sims":["#);
    for sim in 0..sims {
        let comma = if sim == 0 { "" } else { "," };
        let (imsi, address) = (imsi(sim), address(sim));
        write!(
            text,
            r#"{comma}{{"simId":"{sim:019}","imsi":"{imsi}","ip":"{address}"}}"#
        )
        .unwrap();
    }
    text + "]}"
}

/// One range that holds at least so many SIMs.
fn range(sims: u32) -> String {
    let prefix = sims.next_power_of_two().leading_zeros() + 1;
    let (imsi, sim_id) = (imsi(0), "0".repeat(19));
    format!(
        r#"{{"simRanges":[{{"cidr":"10.0.0.0/{prefix}","imsiBase":"{imsi}","simIdBase":"{sim_id}"}}]}}"#
    )
}

/// An address of the network with this first byte.
fn ipv4(first: u8, host: u32) -> IpAddr {
    Ipv4Addr::from_bits(u32::from(first) << 24 | host).into()
}

/// An address in a /64 of 2001:db8::/32.
fn ipv6(subnet: u32, interface: u32) -> IpAddr {
    Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(subnet) << 64 | u128::from(interface)).into()
}

/// SplitMix: the same numbers in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        u32::try_from(mixed >> 32).unwrap_or_default()
    }
}
