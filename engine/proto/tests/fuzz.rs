//! Fuzz targets: no bytes at any cut make the protocol crate panic, take what it was not given, stand
//! still or produce without bounds.
//!
//! `cargo test` tries each target with the same inputs every time; `RINGBEAM_FUZZ_ITERATIONS` sets how
//! many. `cargo bolero test -p ringbeam-proto <target>` explores on its own, for as long as it is let.

#[cfg(test)]
#[path = "common/caller.rs"]
mod caller;
#[cfg(test)]
#[path = "common/packets.rs"]
mod packets;
#[cfg(test)]
#[path = "common/search_and_replace.rs"]
mod search_and_replace;

#[cfg(test)]
mod fuzz {
    use std::collections::BTreeSet;

    use ringbeam_proto::error::{Cause, Malformed, Phase};
    use ringbeam_proto::farewell::Manners;
    use ringbeam_proto::frame::{self, Varint};
    use ringbeam_proto::limits::CONNECT_BYTES_MAX;
    use ringbeam_proto::opening::{Credentials, upstream_connect};
    use ringbeam_proto::packet::connect::{self, Opening};
    use ringbeam_proto::packet::subscribe::Filters;
    use ringbeam_proto::packet::{Kind, Version};
    use ringbeam_proto::platform::Platform;
    use ringbeam_proto::rewrite::topic_text;
    use ringbeam_proto::session::{Next, Outputs, Session, Side};
    use ringbeam_proto::template::Template;
    use ringbeam_proto::topic;

    use super::caller::{Caller, identity};
    use super::packets::{Source, Stream};
    use super::search_and_replace::search_and_replace;

    const ITERATIONS: u64 = 4_000;
    const INPUT_BYTES_MAX: u64 = 700;

    /// Runs a target: under a fuzzer with what that finds, otherwise with inputs that never change.
    macro_rules! explore {
        ($target:expr) => {
            if cfg!(fuzzing) {
                bolero::check!().for_each($target);
            } else {
                for seed in 0..iterations() {
                    $target(&input(seed));
                }
            }
        };
    }

    fn iterations() -> u64 {
        let asked = std::env::var("RINGBEAM_FUZZ_ITERATIONS").ok();
        asked.map_or(ITERATIONS, |count| {
            count.parse().expect("a number of iterations")
        })
    }

    /// Bytes that depend on the seed alone (SplitMix64).
    fn input(seed: u64) -> Vec<u8> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            mixed ^ (mixed >> 31)
        };
        let length = next() % INPUT_BYTES_MAX;
        (0..length).map(|_| next().to_le_bytes()[0]).collect()
    }

    /// Damages some bytes: flips, removes, doubles, cuts off, puts in.
    fn damage(bytes: &mut Vec<u8>, source: &mut Source<'_>) {
        for _ in 0..source.below(4) {
            let at = source.below(bytes.len());
            let byte = source.byte();
            match source.below(5) {
                0 => bytes
                    .iter_mut()
                    .skip(at)
                    .take(1)
                    .for_each(|flipped| *flipped ^= byte),
                1 => drop(bytes.drain(at..bytes.len().min(at + usize::from(byte & 3)))),
                2 => bytes.extend_from_within(at..),
                3 => bytes.truncate(at + usize::from(byte)),
                _ => bytes.insert(at, byte),
            }
        }
    }

    fn damaged_stream(from: Side, version: Version, source: &mut Source<'_>) -> Vec<u8> {
        if source.below(8) == 1 {
            return source.0.to_vec();
        }
        let mut bytes = match from {
            Side::Device => source.device_stream(version).bytes,
            Side::Upstream => source.upstream_stream(version).bytes,
        };
        damage(&mut bytes, source);
        bytes
    }

    /// A session is fed anything at any cuts: the caller checks every call, and the cuts change nothing.
    fn session(from: Side, input: &[u8]) -> Option<Cause> {
        let mut source = Source(input);
        let version = source.version();
        let rules = source.rules(version);
        let is_open = source.below(8) != 1;
        let upstream = rules.platform.upstream_version(version).unwrap();
        let speaks = if from == Side::Device {
            version
        } else {
            upstream
        };
        let mut bytes = damaged_stream(from, speaks, &mut source);
        if !is_open && from == Side::Upstream {
            bytes.splice(
                0..0,
                if speaks == Version::V5 {
                    vec![0x20, 3, 0, 0, 0]
                } else {
                    vec![0x20, 2, 0, 0]
                },
            );
        }
        let start = || {
            if is_open {
                Caller::open(version, rules)
            } else {
                Caller::connecting(version, rules)
            }
        };
        let mut whole = start();
        whole.feed(from, &bytes, &mut |pending| pending);
        let mut cut = start();
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let scale = [2, 30, 1_000, 65_536][source.below(4)];
            let (now, later) = rest.split_at((1 + source.below(scale)).min(rest.len()));
            cut.feed(from, now, &mut |_| 1 + source.below(scale));
            rest = later;
        }
        assert_eq!(whole.end, cut.end);
        assert_eq!(whole.session.counts(), cut.session.counts());
        assert_eq!(
            whole.direction(from).forwarded,
            cut.direction(from).forwarded
        );
        assert_eq!(whole.direction(from).replied, cut.direction(from).replied);
        let (mut device, mut upstream) = (Vec::new(), Vec::new());
        for cause in whole
            .end
            .into_iter()
            .chain([Cause::Draining, Cause::UpstreamClosed])
        {
            whole.session.farewell(cause, &mut device, &mut upstream);
        }
        whole.end
    }

    #[test]
    fn session_device() {
        explore!(|input: &[u8]| {
            session(Side::Device, input);
        });
    }

    #[test]
    fn session_upstream() {
        explore!(|input: &[u8]| {
            session(Side::Upstream, input);
        });
    }

    /// B-TOK-1: both sides send anything, and upstreams come and go. Says how many came.
    fn renewal(input: &[u8]) -> usize {
        let mut source = Source(input);
        let version = source.version();
        let rules = source.rules(version);
        let opening = ringbeam_proto::session::Opening {
            has_authentication_method: false,
            manners: Manners::default(),
            ..*Caller::connecting(version, rules).session.opening()
        };
        let upstream = opening.upstream_version;
        let mut session = Session::renewing(opening, false, 0);
        let mut count = 0;
        while session.phase() == Phase::Connecting || session.is_without_upstream() {
            let mut bytes = match upstream {
                Version::V5 => vec![0x20, 3, source.byte() & 1, 0, 0],
                Version::V31 | Version::V311 => vec![0x20, 2, source.byte() & 1, 0],
            };
            bytes.append(&mut damaged_stream(Side::Upstream, upstream, &mut source));
            let device = damaged_stream(Side::Device, version, &mut source);
            for (from, bytes) in [(Side::Upstream, bytes), (Side::Device, device)] {
                let mut rest = bytes.as_slice();
                loop {
                    let mut outputs = Outputs::default();
                    let received = session.receive(from, rest, 0, &mut outputs);
                    rest = &rest[received.consumed..];
                    assert!(outputs.reply.len() < 256 * 1024);
                    if received.next != Next::Send {
                        break;
                    }
                    let has_output = !outputs.forward.is_empty() || !outputs.reply.is_empty();
                    assert!(has_output, "nothing to send, nothing taken");
                }
            }
            if session.can_renew().is_err() || source.0.is_empty() {
                break;
            }
            if source.coin() {
                session.begin_renewal();
            }
            let mut device = Vec::new();
            session.upstream_left(&mut device);
            count += 1;
        }
        count
    }

    #[test]
    fn session_renewal() {
        let mut counts = BTreeSet::new();
        explore!(|input: &[u8]| {
            counts.insert(renewal(input));
        });
        // The inputs are worth something: some renew often.
        assert!(cfg!(fuzzing) || counts.len() > 3, "{counts:?}");
    }

    /// The inputs are worth something: they end sessions in many ways, and leave many running.
    #[test]
    fn the_inputs_reach_many_ends() {
        for from in [Side::Device, Side::Upstream] {
            let ends: Vec<_> = (0..2_000).map(|seed| session(from, &input(seed))).collect();
            assert!(ends.iter().filter(|end| end.is_none()).count() > 200);
            let ends: BTreeSet<_> = ends.iter().map(|end| format!("{end:?}")).collect();
            assert!(ends.len() > 9, "{ends:#?}");
        }
    }

    #[test]
    fn connect() {
        explore!(|input: &[u8]| {
            let mut source = Source(input);
            let version = source.version();
            let mut bytes = source.connect(version);
            damage(&mut bytes, &mut source);
            let bytes = if source.below(8) == 1 { input } else { &bytes };
            // Once something is refused, more bytes do not change that.
            let mut refused = None;
            for end in 0..=bytes.len() {
                match connect::read(&bytes[..end]) {
                    Ok(Opening::Partial(known)) => {
                        assert_eq!(refused, None);
                        assert!(
                            known.is_none_or(|known| known > end && known <= CONNECT_BYTES_MAX)
                        );
                    }
                    Ok(Opening::Whole(connect, length)) => {
                        assert_eq!(refused, None);
                        assert!(length <= end);
                        check_upstream(&connect, &mut source);
                    }
                    Err(unserved) => assert_eq!(*refused.get_or_insert(unserved), unserved),
                }
            }
        });
    }

    /// What goes upstream is a legal CONNECT of the version that is spoken there.
    fn check_upstream(connect: &connect::Connect<'_>, source: &mut Source<'_>) {
        let rules = source.rules(connect.version);
        let credentials = if source.coin() {
            Credentials::PassThrough
        } else {
            Credentials::Configured {
                username: Some("u"),
                password: None,
            }
        };
        if let Ok(written) = upstream_connect(connect, &rules, &identity(), credentials, None) {
            let Ok(Opening::Whole(upstream, length)) = connect::read(&written) else {
                panic!("{:?} of {connect:?}", connect::read(&written))
            };
            assert_eq!(length, written.len());
            assert_eq!(
                Ok(upstream.version),
                rules.platform.upstream_version(connect.version)
            );
            assert!(upstream.will.is_none() || rules.platform == Platform::V201912);
        }
    }

    #[test]
    fn frame() {
        explore!(|input: &[u8]| {
            for start in 0..input.len().min(64) {
                let stream = &input[start..];
                let found = frame::fixed_header(stream);
                // As the standard's own algorithm reads it.
                let expected = match stream.get(1..).unwrap_or_default() {
                    [a @ ..128, ..] => Some((2, usize::from(*a))),
                    [a, b @ ..128, ..] => Some((3, usize::from(*a) - 128 + (usize::from(*b) << 7))),
                    [a, b, c @ ..128, ..] => Some((
                        4,
                        [*a, *b, *c]
                            .iter()
                            .rev()
                            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 127)),
                    )),
                    [a, b, c, d @ ..128, ..] => Some((
                        5,
                        [*a, *b, *c, *d]
                            .iter()
                            .rev()
                            .fold(0, |sum, byte| sum << 7 | usize::from(byte & 127)),
                    )),
                    [_, _, _, _, ..] => {
                        assert_eq!(found, Err(Malformed::VarintOverlong));
                        continue;
                    }
                    _ => None,
                };
                let header = found.unwrap();
                assert_eq!(
                    header.map(|header| (header.header_bytes, header.remaining)),
                    expected
                );
                if let Some(header) = header {
                    let shortest = Varint::encode(header.remaining).unwrap();
                    let is_shortest = &stream[1..header.header_bytes] == shortest.as_bytes();
                    assert_eq!(header.is_minimal(), is_shortest);
                    let length = frame::varint(&stream[1..]).unwrap();
                    assert_eq!(length, Some((header.remaining, header.header_bytes - 1)));
                }
            }
        });
    }

    #[test]
    fn topics() {
        explore!(|input: &[u8]| {
            let mut source = Source(input);
            let rules = source.rules(Version::V311);
            let text = if source.coin() {
                source.topic()
            } else {
                String::from_utf8_lossy(source.0).into_owned()
            };
            for is_published in [true, false] {
                let found = topic_text(&rules.topics, &identity(), &text, is_published);
                assert_eq!(
                    found,
                    search_and_replace(&rules.topics, &text, is_published)
                );
            }
            let (share, filter) = topic::split_share(&text);
            assert!(text.ends_with(filter));
            assert!(share.is_none_or(|share| !share.contains('/')));
            let template = Template::compile(&text);
            assert_eq!(template.source(), text);
            let imsi = identity().imsi;
            let rendered = text
                .replace("#{imsi}", imsi.as_str())
                .replace("#{imei}", "unknown-imei");
            assert_eq!(template.render(&identity()), rendered);
        });
    }

    #[test]
    fn filters() {
        explore!(|input: &[u8]| {
            let mut source = Source(input);
            let version = source.version();
            let kind = if source.coin() {
                Kind::Subscribe
            } else {
                Kind::Unsubscribe
            };
            let mut stream = Stream::default();
            let first = if kind == Kind::Subscribe { 0x82 } else { 0xa2 };
            source.filters(version, first, &mut stream);
            let mut body = stream.bytes;
            let header_bytes = frame::fixed_header(&body).unwrap().unwrap().header_bytes;
            body.drain(..header_bytes);
            damage(&mut body, &mut source);
            let Ok(filters) = Filters::read(kind, &body, version) else {
                return;
            };
            let mut end = filters.before.len();
            for entry in filters.entries() {
                assert_eq!(body[entry.range.clone()], *entry.filter.as_bytes());
                assert_eq!(entry.range.start, end + 2);
                assert_eq!(entry.options.is_some(), kind == Kind::Subscribe);
                end = entry.range.end + usize::from(entry.options.is_some());
            }
            assert_eq!(end, body.len());
        });
    }
}
