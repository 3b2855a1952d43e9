//! The directory against the plainest way to do its work: looking at every block in turn.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::Fleet;

/// A block within 10.0.0.0/24: its first last byte and how many addresses it has.
type Part = (u8, u16);

fn part() -> impl Strategy<Value = Part> {
    (any::<u8>(), 0..6_u32).prop_map(|(byte, bits)| (byte >> bits << bits, 1 << bits))
}

fn text((first, size): Part) -> String {
    format!("10.0.0.{first}/{}", 32 - size.trailing_zeros())
}

fn contains((first, size): Part, byte: u8) -> bool {
    byte >= first && u16::from(byte - first) < size
}

fn collide(a: Part, b: Part) -> bool {
    contains(a, b.0) || contains(b, a.0)
}

fn load(sims: &[Vec<Part>], ranges: &[Part]) -> Option<Fleet> {
    let sims: Vec<_> = sims
        .iter()
        .enumerate()
        .map(|(index, parts)| {
            let ips: Vec<String> = parts.iter().copied().map(text).collect();
            json!({"simId": format!("{index}"), "imsi": format!("{index:015}"), "ips": ips})
        })
        .collect();
    let ranges: Vec<_> = ranges
        .iter()
        .enumerate()
        .map(|(index, part)| {
            let base = format!("9{index:04}0000000000");
            json!({"cidr": text(*part), "simIdBase": base, "imsiBase": base})
        })
        .collect();
    Fleet::from_json(
        "test",
        json!({"sims": sims, "simRanges": ranges}).to_string(),
    )
    .ok()
}

/// The IMSI of an address, looked for block by block.
fn naive(sims: &[Vec<Part>], ranges: &[Part], byte: u8) -> Option<String> {
    let sim = sims
        .iter()
        .position(|parts| parts.iter().any(|part| contains(*part, byte)));
    let range = || {
        let index = ranges.iter().position(|part| contains(*part, byte))?;
        Some(format!("9{index:04}{:010}", byte - ranges[index].0))
    };
    sim.map(|index| format!("{index:015}")).or_else(range)
}

proptest! {
    #[test]
    fn b_id_3_every_address_finds_what_a_plain_search_finds(
        sims in vec(vec(part(), 0..4), 0..6),
        ranges in vec(part(), 0..5),
    ) {
        let owners = || sims.iter().enumerate().flat_map(|(owner, parts)| {
            parts.iter().map(move |part| (owner, *part))
        });
        let sims_collide = owners().any(|(owner, part)| {
            owners().any(|(other, other_part)| owner != other && collide(part, other_part))
        });
        let ranges_collide = ranges.iter().enumerate().any(|(index, part)| {
            ranges.iter().take(index).any(|other| collide(*part, *other))
        });
        let fleet = load(&sims, &ranges);
        prop_assert_eq!(fleet.is_none(), sims_collide || ranges_collide);
        let Some(fleet) = fleet else { return Ok(()) };
        let mut addresses = 0;
        for byte in 0..=u8::MAX {
            let sim = fleet.find("default", [10, 0, 0, byte].into());
            let expected = naive(&sims, &ranges, byte);
            addresses += u128::from(expected.is_some());
            prop_assert_eq!(sim.map(|sim| sim.identity.imsi.to_string()), expected);
        }
        prop_assert_eq!(fleet.counts().addresses, addresses);
    }
}
