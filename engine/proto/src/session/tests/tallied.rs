//! What came is counted by side and type, whatever way it went.

use std::format;

use super::*;

#[test]
fn every_byte_is_tallied_once_by_its_side_and_type() {
    let came = |packets, bytes| Came { packets, bytes };
    for version in VERSIONS {
        for platform in [Platform::V201509, Platform::V201912] {
            for topics in [NONE, BOTH] {
                let Ok(upstream) = platform.upstream_version(version) else {
                    continue;
                };
                let small = publish(version, 0, "a/{{imsi}}", b"payload");
                let large = publish(version, 0b0010, "b", &[b'x'; 9_000]);
                let filters = subscribe(version, &[("c/#", 0)]);
                let down = publish(upstream, 0, "d", &[0; 9]);
                let up = [&small, &large, &small, &filters, &[0xc0, 0][..]].concat();
                // However it is cut.
                for step in [1, 700, up.len()] {
                    let mut pair = Pair::open(version, platform, topics);
                    let connack = pair.tally.of(Side::Upstream, Kind::Connack);
                    for bytes in up.chunks(step) {
                        pair.feed(Side::Device, bytes);
                    }
                    pair.feed(Side::Upstream, &[&down[..], &[0xd0, 0]].concat());
                    let of = |from, kind| pair.tally.of(from, kind);
                    let published = 2 * small.len() + large.len();
                    let name = format!("{version:?} {platform:?} {step}");
                    let device = |kind| of(Side::Device, kind);
                    let upstream = |kind| of(Side::Upstream, kind);
                    assert_eq!(pair.end, None, "{name}");
                    assert_eq!(connack.packets, 1);
                    assert_eq!(device(Kind::Publish), came(3, published as u64), "{name}");
                    assert_eq!(device(Kind::Subscribe), came(1, filters.len() as u64));
                    assert_eq!(device(Kind::Pingreq), came(1, 2), "{name}");
                    assert_eq!(upstream(Kind::Publish), came(1, down.len() as u64));
                    assert_eq!(upstream(Kind::Pingresp), came(1, 2), "{name}");
                    let all = Kind::ALL.map(|kind| device(kind).bytes);
                    assert_eq!(all.iter().sum::<u64>(), up.len() as u64, "{name}");
                }
            }
        }
    }
}
