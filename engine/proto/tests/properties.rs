//! Properties of the protocol crate: what holds for every stream of packets, however it is cut.
//!
//! `PROPTEST_CASES` sets how many cases each property is tried with.

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
mod properties {
    use std::ops::Range;

    use proptest::collection::vec;
    use proptest::prelude::*;
    use ringbeam_proto::billing::Counts;
    use ringbeam_proto::error::{Cause, Forbidden};
    use ringbeam_proto::farewell::Manners;
    use ringbeam_proto::limits::BORROW_BYTES_MIN;
    use ringbeam_proto::opening::{Credentials, upstream_connect};
    use ringbeam_proto::output::Piece;
    use ringbeam_proto::packet::Version;
    use ringbeam_proto::packet::connect::{self, Opening};
    use ringbeam_proto::platform::Platform;
    use ringbeam_proto::rewrite::topic_text;
    use ringbeam_proto::rules::Rules;
    use ringbeam_proto::session::{Next, Outputs, Session, Side};

    use super::caller::{Caller, Direction, identity};
    use super::packets::{Source, Stream, packet};
    use super::search_and_replace::search_and_replace;

    const SIDES: [Side; 2] = [Side::Device, Side::Upstream];

    fn config() -> ProptestConfig {
        ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        }
    }

    /// Bytes that packets, cuts and damage are made from.
    fn entropy() -> impl Strategy<Value = Vec<u8>> {
        vec(any::<u8>(), 0..600)
    }

    fn stream(from: Side, source: &mut Source<'_>, version: Version, rules: Rules) -> Stream {
        match from {
            Side::Device => source.device_stream(version),
            Side::Upstream => {
                let upstream = rules.platform.upstream_version(version).unwrap();
                source.upstream_stream(upstream)
            }
        }
    }

    /// Whether a range of the whole stream was forwarded without a copy.
    fn has_borrowed(direction: &Direction, range: &Range<usize>) -> bool {
        let mut end = range.start;
        for borrowed in &direction.borrowed {
            if borrowed.contains(&end) {
                end = borrowed.end;
            }
        }
        end >= range.end
    }

    /// What a direction came to.
    fn result(mut caller: Caller, from: Side) -> (Vec<u8>, Vec<u8>, Counts, Option<Cause>) {
        let (counts, end) = (caller.session.counts(), caller.end);
        let Direction {
            forwarded, replied, ..
        } = std::mem::take(caller.direction(from));
        (forwarded, replied, counts, end)
    }

    fn feed_whole(caller: &mut Caller, from: Side, bytes: &[u8]) {
        caller.feed(from, bytes, &mut |pending| pending);
    }

    /// Feeds `bytes` in pieces, and takes output in pieces, as `cuts` says.
    fn feed_cut(caller: &mut Caller, from: Side, mut bytes: &[u8], cuts: &mut Source<'_>) {
        while let Some(length) = bytes.len().checked_sub(1) {
            let (now, later) = bytes.split_at(cut(cuts, length));
            caller.feed(from, now, &mut |pending| cut(cuts, pending));
            bytes = later;
        }
    }

    /// Small pieces as a rule, large ones at times: 1 to `most` + 1 bytes.
    fn cut(cuts: &mut Source<'_>, most: usize) -> usize {
        let scale = [3, 20, 1000, 100_000][cuts.below(4)];
        1 + cuts.below(scale).min(most)
    }

    /// An open session whose upstream may be renewed, or one like it whose may not.
    fn renewable(version: Version, rules: Rules, is_on: bool) -> Caller {
        let mut caller = Caller::connecting(version, rules);
        let opening = ringbeam_proto::session::Opening {
            has_authentication_method: false,
            manners: Manners::default(),
            ..*caller.session.opening()
        };
        caller.session = if is_on {
            Session::renewing(opening, false, 0)
        } else {
            Session::new(opening, 0)
        };
        caller.accepted()
    }

    proptest! {
        #![proptest_config(config())]

        /// B-TOK-1: while no upstream is replaced, renewal changes nothing but when: a message is taken
        /// whole, or waits for answers. Only a device that uses topic aliases, which it was not
        /// offered, is told so.
        #[test]
        fn renewal_that_never_happens_changes_nothing(packets in entropy(), cuts in entropy()) {
            for from in SIDES {
                let mut source = Source(&packets);
                let version = source.version();
                let rules = source.rules(version);
                let bytes = stream(from, &mut source, version, rules).bytes;
                let mut off = renewable(version, rules, false);
                feed_whole(&mut off, from, &bytes);
                let mut on = renewable(version, rules, true);
                feed_cut(&mut on, from, &bytes, &mut Source(&cuts));
                let is_whole = on.session.can_renew() == Ok(())
                    && on.end.is_none()
                    && on.direction(from).is_dealt_with();
                let (off_forwarded, off_replied, off_counts, off_end) = result(off, from);
                let (forwarded, replied, counts, end) = result(on, from);
                prop_assert!(off_forwarded.starts_with(&forwarded));
                prop_assert!(off_replied.starts_with(&replied));
                if is_whole {
                    prop_assert_eq!(&off_forwarded, &forwarded);
                    prop_assert_eq!(&off_replied, &replied);
                    prop_assert_eq!(off_counts, counts);
                    prop_assert_eq!(off_end, end);
                } else {
                    let is_alias = end == Some(Cause::DeviceOffence(Forbidden::TopicAlias.into()));
                    prop_assert!(is_alias || end == off_end);
                }
            }
        }

        /// Any split of the input gives the same output, the same counts and the same end: B-TOP-6,
        /// B-BILL-1. The last bytes may be damaged.
        #[test]
        fn any_cut_gives_the_same(packets in entropy(), cuts in entropy(), damage in vec(any::<u8>(), 0..3)) {
            for from in SIDES {
                let mut source = Source(&packets);
                let version = source.version();
                let rules = source.rules(version);
                let mut bytes = stream(from, &mut source, version, rules).bytes;
                for (number, byte) in damage.iter().enumerate() {
                    if let Some(index) = bytes.len().checked_sub(1 + number * usize::from(*byte)) {
                        bytes[index] ^= byte;
                    }
                }
                let mut whole = Caller::open(version, rules);
                feed_whole(&mut whole, from, &bytes);
                let mut cut = Caller::open(version, rules);
                feed_cut(&mut cut, from, &bytes, &mut Source(&cuts));
                prop_assert_eq!(result(whole, from), result(cut, from));
            }
        }

        /// Bytes of both sides in any order give each side the same.
        #[test]
        fn both_sides_in_any_order_give_the_same(packets in entropy(), cuts in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let rules = source.rules(version);
            let up = stream(Side::Device, &mut source, version, rules).bytes;
            let down = stream(Side::Upstream, &mut source, version, rules).bytes;
            let mut apart = Caller::open(version, rules);
            feed_whole(&mut apart, Side::Device, &up);
            feed_whole(&mut apart, Side::Upstream, &down);
            let mut mixed = Caller::open(version, rules);
            let mut cuts = Source(&cuts);
            let mut rest = [up.as_slice(), down.as_slice()];
            while !rest.concat().is_empty() {
                let side = usize::from(rest[0].is_empty() || (cuts.coin() && !rest[1].is_empty()));
                let (now, later) = rest[side].split_at(cut(&mut cuts, rest[side].len() - 1));
                feed_whole(&mut mixed, SIDES[side], now);
                rest[side] = later;
            }
            prop_assert_eq!(apart.end, None);
            prop_assert_eq!(apart.session.counts(), mixed.session.counts());
            for from in SIDES {
                prop_assert_eq!(&apart.direction(from).forwarded, &mixed.direction(from).forwarded);
                prop_assert_eq!(&apart.direction(from).replied, &mixed.direction(from).replied);
            }
        }

        /// What needs no rewriting comes out byte for byte, none of it copied.
        #[test]
        fn nothing_to_rewrite_returns_the_input(packets in entropy(), cuts in entropy()) {
            for from in SIDES {
                let mut source = Source(&packets);
                let version = source.version();
                // Downwards 201912 rewrites nothing whatever the rules.
                let rules = match from {
                    Side::Device => Rules::default(),
                    Side::Upstream => Rules { platform: Platform::V201912, ..source.rules(version) },
                };
                let bytes = stream(from, &mut source, version, rules).bytes;
                let mut caller = Caller::open(version, rules);
                feed_cut(&mut caller, from, &bytes, &mut Source(&cuts));
                prop_assert_eq!(caller.end, None);
                let direction = caller.direction(from);
                prop_assert!(has_borrowed(direction, &(0..bytes.len())));
                prop_assert!(direction.replied.is_empty());
                prop_assert_eq!(&direction.forwarded, &bytes);
            }
        }

        /// Payloads are forwarded from where they arrived, but for short parts of them, and what is
        /// inserted stays small: B-TOP-6.
        #[test]
        fn payloads_are_never_copied(packets in entropy(), cuts in entropy()) {
            for from in SIDES {
                let mut source = Source(&packets);
                let version = source.version();
                let rules = source.rules(version);
                let stream = stream(from, &mut source, version, rules);
                let mut caller = Caller::open(version, rules);
                feed_cut(&mut caller, from, &stream.bytes, &mut Source(&cuts));
                prop_assert_eq!(caller.end, None);
                let direction = caller.direction(from);
                let mut short = 0;
                for payload in &stream.payloads {
                    for call in &direction.calls {
                        let part = payload.start.max(call.start)..payload.end.min(call.end);
                        if part.len() < BORROW_BYTES_MIN {
                            short += part.len();
                        } else {
                            prop_assert!(has_borrowed(direction, &part), "{:?} of {:?}", part, direction.borrowed);
                        }
                    }
                }
                let borrowed: usize = direction.borrowed.iter().map(ExactSizeIterator::len).sum();
                let payloads: usize = stream.payloads.iter().map(ExactSizeIterator::len).sum();
                let inserted = direction.forwarded.len() - borrowed;
                // Nine bytes become 22 at most, and a topic gets 16 more behind it.
                let most = 3 * (stream.bytes.len() - payloads) + 32 * stream.payloads.len() + short;
                prop_assert!(inserted <= most, "{} inserted, at most {}", inserted, most);
            }
        }

        /// Calls of two sessions that share one output come to the same as alone, with what they inserted
        /// side by side: B-TOP-6, B-BILL-1.
        #[test]
        fn calls_that_share_an_output_give_the_same(packets in entropy(), cuts in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let rules = source.rules(version);
            let streams = [(); 2].map(|()| stream(Side::Device, &mut source, version, rules).bytes);
            let mut sessions = [(); 2].map(|()| Caller::open(version, rules).session);
            let mut outputs = Outputs::default();
            let mut cuts = Source(&cuts);
            let mut starts = [0; 2];
            // What the input of each call began with, its pieces, and whose they are.
            let mut calls = Vec::new();
            let mut billed = [0; 2];
            while let Some(index) = (0..2).find(|index| starts[*index] < streams[*index].len()) {
                let index = if cuts.coin() && starts[1] < streams[1].len() { 1 } else { index };
                let rest = &streams[index][starts[index]..];
                let mut length = cut(&mut cuts, rest.len() - 1);
                loop {
                    outputs.forward.begin();
                    let received = sessions[index].receive(Side::Device, &rest[..length], 0, &mut outputs);
                    let pieces = outputs.forward.pieces().to_vec();
                    let bytes: usize = pieces.iter().map(|piece| match piece {
                        Piece::Input(range) | Piece::Insert(range) => range.len(),
                    }).sum();
                    prop_assert_eq!(bytes, outputs.forward.produced_bytes());
                    let ends = outputs.forward.billed_ends();
                    prop_assert!(ends.is_sorted() && ends.iter().all(|end| *end <= bytes));
                    billed[index] += u64::try_from(ends.len()).unwrap();
                    calls.push((index, starts[index], pieces));
                    starts[index] += received.consumed;
                    match received.next {
                        Next::Read(need) if received.consumed == 0 && need > length => {
                            length = need;
                            prop_assert!(length <= rest.len());
                        }
                        Next::Read(_) | Next::Send | Next::Hold | Next::End(_) => break,
                    }
                }
            }
            let inserts = outputs.forward.inserts();
            for (index, bytes) in streams.iter().enumerate() {
                let mut forwarded = Vec::new();
                for (_, start, pieces) in calls.iter().filter(|call| call.0 == index) {
                    for piece in pieces {
                        forwarded.extend_from_slice(match piece {
                            Piece::Input(range) => &bytes[*start..][range.clone()],
                            Piece::Insert(range) => &inserts[range.clone()],
                        });
                    }
                }
                let mut alone = Caller::open(version, rules);
                feed_whole(&mut alone, Side::Device, bytes);
                prop_assert_eq!(&alone.from_device.forwarded, &forwarded);
                sessions[index].count_sent(Side::Upstream, billed[index]);
                prop_assert_eq!(alone.session.counts(), sessions[index].counts());
            }
        }

        /// B-ERR-6: an answer passes whatever its flags and what stands behind its identifier, and so does a
        /// message whatever its properties.
        #[test]
        fn what_need_not_be_judged_passes(first in 0x40..0xc0_u8, body in vec(any::<u8>(), 2..300)) {
            let is_granted = matches!(first >> 4, 9 | 11);
            let is_answer = is_granted || first >> 4 < 8;
            let properties = packet(0, &body);
            let head = [&[0, 1, b't', 0, 7], &properties[1..]].concat();
            for version in [Version::V31, Version::V311, Version::V5] {
                for from in SIDES {
                    let mut bytes = Vec::new();
                    if is_answer && (from == Side::Upstream || !is_granted) {
                        bytes.extend(packet(first, &body));
                    }
                    if version == Version::V5 {
                        bytes.extend(packet(0x32 | (first & 0b1001), &head));
                    }
                    let mut caller = Caller::open(version, Rules::default());
                    feed_whole(&mut caller, from, &bytes);
                    prop_assert_eq!(caller.end, None);
                    let direction = caller.direction(from);
                    prop_assert!(direction.replied.is_empty());
                    prop_assert_eq!(&direction.forwarded, &bytes);
                }
            }
        }

        /// B-TOP-1, B-TOP-2, B-TOP-3: topics come out as a plain search and replace makes them.
        #[test]
        fn topics_equal_search_and_replace(packets in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let rules = source.rules(version);
            let stream = source.device_stream(version);
            for topic in stream.topics.iter().filter(|topic| !topic.is_empty()) {
                for is_published in [true, false] {
                    let found = topic_text(&rules.topics, &identity(), topic, is_published);
                    prop_assert_eq!(found, search_and_replace(&rules.topics, topic, is_published));
                }
            }
        }

        /// What the session forwards holds the topics that a plain search and replace makes.
        #[test]
        fn forwarded_topics_equal_search_and_replace(packets in entropy(), topic_source in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let rules = source.rules(version);
            let topic = Source(&topic_source).topic();
            let properties: &[u8] = if version == Version::V5 { &[0] } else { &[] };
            let message = |topic: &str| {
                let body = [&super::packets::text(topic), properties, b"payload"].concat();
                packet(0x31, &body)
            };
            let mut caller = Caller::open(version, rules);
            feed_whole(&mut caller, Side::Device, &message(&topic));
            let expected = message(&search_and_replace(&rules.topics, &topic, true));
            prop_assert_eq!(&caller.from_device.forwarded, &expected);
        }

        /// A CONNECT that is read and written comes out byte for byte; cut anywhere it is not whole.
        #[test]
        fn connects_are_written_as_they_were_read(packets in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let bytes = source.connect(version);
            let Ok(Opening::Whole(connect, length)) = connect::read(&bytes) else {
                return Err(TestCaseError::fail(format!("{:?}", connect::read(&bytes))));
            };
            prop_assert_eq!(length, bytes.len());
            prop_assert_eq!(&connect.write().unwrap(), &bytes);
            // B-CON-1, B-CON-2, B-VER-3: under 201912 with pass-through it goes upstream as it is.
            let upstream = upstream_connect(&connect, &Rules::default(), &identity(), Credentials::PassThrough, None);
            prop_assert_eq!(&upstream.unwrap(), &bytes);
            for end in 0..bytes.len() {
                let cut = connect::read(&bytes[..end]);
                let is_partial = matches!(
                    cut,
                    Ok(Opening::Partial(known)) if known.is_none_or(|known| known == bytes.len())
                );
                prop_assert!(is_partial, "{} of {}: {:?}", end, bytes.len(), cut);
            }
            let followed = [&bytes, &b"\xc0\x00"[..]].concat();
            let is_same = matches!(connect::read(&followed), Ok(Opening::Whole(again, _)) if again == connect);
            prop_assert!(is_same);
        }

        /// B-VER-1, B-VER-3, B-CON-2: what 201509 sends upstream is a 3.1.1 CONNECT without a will.
        #[test]
        fn connects_of_201509_read_back(packets in entropy()) {
            let mut source = Source(&packets);
            let version = source.version();
            let bytes = source.connect(version);
            let Ok(Opening::Whole(connect, _)) = connect::read(&bytes) else {
                return Err(TestCaseError::fail("not whole"));
            };
            let rules = Rules { platform: Platform::V201509, ..Rules::default() };
            let written = upstream_connect(&connect, &rules, &identity(), Credentials::PassThrough, None);
            if version == Version::V5 {
                prop_assert!(written.is_err());
                return Ok(());
            }
            let written = written.unwrap();
            let Ok(Opening::Whole(upstream, length)) = connect::read(&written) else {
                return Err(TestCaseError::fail(format!("{:?}", connect::read(&written))));
            };
            prop_assert_eq!(length, written.len());
            let expected = connect::Connect { version: Version::V311, is_bridge: false, will: None, ..connect };
            prop_assert!(upstream == expected, "{:?}", upstream);
        }
    }
}
