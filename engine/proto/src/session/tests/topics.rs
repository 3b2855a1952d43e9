//! Topics of the device: rewriting, and what is no topic.

use super::*;
use crate::error::Malformed;
use crate::limits::BORROW_BYTES_MIN;
use std::vec;

#[test]
fn b_top_1_the_imsi_is_appended_to_published_topics_alone() {
    for version in VERSIONS {
        let suffixed = |topic: &str| [topic, "/", IMSI].concat();
        // DUP, QoS, RETAIN and the packet identifier stay.
        for flags in [0b0000, 0b0001, 0b0010, 0b1010, 0b0100, 0b1101] {
            check(
                version,
                APPEND,
                &publish(version, flags, "a/b", b"payload"),
                &publish(version, flags, &suffixed("a/b"), b"payload"),
            );
        }
        // The remaining length gets a byte more, the topic is borrowed, the payload is empty.
        for topic in ["t".repeat(110), "t".repeat(600), "t".repeat(16_370)] {
            check(
                version,
                APPEND,
                &publish(version, 0, &topic, b""),
                &publish(version, 0, &suffixed(&topic), b""),
            );
        }
        let filters = subscribe(version, &[("a/b", 1), ("{{imsi}}", 0)]);
        check(version, APPEND, &filters, &filters);
        let filters = unsubscribe(version, &["a/b", "{{imsi}}"]);
        check(version, APPEND, &filters, &filters);
        let mut pair = Pair::open(version, Platform::V201912, BOTH);
        let down = publish(version, 0b0010, "a/{{imsi}}", b"payload");
        pair.feed(Side::Upstream, &down);
        assert_eq!(pair.sent(Side::Device), down);
    }
}

#[test]
fn b_top_2_placeholders_are_replaced_then_the_imsi_appended() {
    // B-TOP-3: the IMEI of this SIM is not known.
    let rows = [
        ("{{imsi}}", "440100000000001"),
        ("a/{{simId}}/b", "a/8981100000000000001/b"),
        ("{{imei}}/{{imei}}", "unknown-imei/unknown-imei"),
        ("{{IMSI}}/{{imsi}/{imsi}}", "{{IMSI}}/{{imsi}/{imsi}}"),
        ("{{{{imsi}}}}", "{{440100000000001}}"),
        ("plain", "plain"),
    ];
    for version in VERSIONS {
        for (topic, replaced) in rows {
            check(
                version,
                REPLACE,
                &publish(version, 0b0010, topic, b"{{imsi}}"),
                &publish(version, 0b0010, replaced, b"{{imsi}}"),
            );
            check(
                version,
                BOTH,
                &publish(version, 0, topic, b""),
                &publish(version, 0, &[replaced, "/", IMSI].concat(), b""),
            );
            check(
                version,
                BOTH,
                &subscribe(version, &[("x/#", 2), (topic, 1), ("+/{{imsi}}", 0)]),
                &subscribe(
                    version,
                    &[("x/#", 2), (replaced, 1), ("+/440100000000001", 0)],
                ),
            );
            check(
                version,
                BOTH,
                &unsubscribe(version, &[topic, "x"]),
                &unsubscribe(version, &[replaced, "x"]),
            );
        }
        // Only the filter of a shared subscription.
        check(
            version,
            REPLACE,
            &subscribe(version, &[("$share/{{imsi}}/{{imsi}}/#", 0)]),
            &subscribe(version, &[("$share/{{imsi}}/440100000000001/#", 0)]),
        );
    }
}

/// B-TOP-1, B-TOP-2: a message that is here as a whole and one that lacks its last byte go two ways.
#[test]
fn whole_messages_come_to_the_same_as_others() {
    let short = Identity {
        imsi: "440100".parse().unwrap(),
        sim_id: "8".parse().unwrap(),
        imei: Some("353456789012348".parse().unwrap()),
    };
    let [t511, t512] = [511, 512].map(|length| "t".repeat(length));
    let topics = [
        "t",
        "a/b",
        "sensors/{{imsi}}/temp",
        "{{simId}}{{imei}}{{simId}}{{simId}}{{imsi}}",
        "{{imsi}/{{{imei}}/17 and {{more}}/{{simId}",
        "日本/{{imsi}}",
        "a/#",
        "",
        "a\0",
        &t511,
        &t512,
    ];
    let check = |opening: Opening, message: &[u8]| {
        let fed = |cut: usize| {
            let mut pair = Pair::with(opening);
            pair.feed(Side::Upstream, connack(opening.upstream_version));
            pair.feed(Side::Device, &message[..cut]);
            pair.feed(Side::Device, &message[cut..]);
            pair.feed(Side::Device, message);
            let sent = [pair.sent(Side::Upstream), pair.sent(Side::Device)];
            (sent, pair.end, pair.session.counts())
        };
        assert_eq!(fed(0), fed(message.len() - 1), "{message:02x?}");
    };
    for (version, platform) in [
        (Version::V31, Platform::V201912),
        (Version::V311, Platform::V201912),
        (Version::V311, Platform::V201509),
    ] {
        for identity in [identity(), short] {
            for topics_on in [NONE, APPEND, REPLACE, BOTH] {
                let opening = Opening {
                    identity,
                    ..*Pair::connecting(version, platform, topics_on)
                        .session
                        .opening()
                };
                for topic in topics {
                    for flags in [0b0000, 0b0011, 0b1010, 0b0100, 0b0110, 0b1000] {
                        // Around the lengths at which the remaining length takes another byte.
                        for payload_bytes in [0, 1, 60, 75, 80, 90, 100, 110, 124, 511, 512] {
                            let payload = vec![b'p'; payload_bytes];
                            check(opening, &publish(version, flags, topic, &payload));
                        }
                    }
                    check(opening, &publish(version, 0, topic, &vec![b'p'; 16_370]));
                    // No packet identifier, and one of zero.
                    let text = text(topic);
                    check(opening, &packet(0x32, &text));
                    check(opening, &packet(0x32, &[&text[..], &[0, 0, b'p']].concat()));
                }
                for remaining in 100..140 {
                    let topic = topics[2];
                    let payload = vec![b'p'; remaining - topic.len()];
                    check(opening, &publish(version, 0, topic, &payload));
                }
                // A remaining length that is longer than it has to be.
                check(opening, &[0x30, 0x85, 0x80, 0, 0, 1, b't', b'p', b'p']);
            }
        }
    }
}

#[test]
fn b_top_5_a_topic_grows_to_65535_bytes_and_no_further() {
    let fits = "t".repeat(65_535 - 16);
    let suffixed = [fits.as_str(), "/", IMSI].concat();
    check(
        Version::V5,
        APPEND,
        &publish(Version::V5, 0, &fits, b"x"),
        &publish(Version::V5, 0, &suffixed, b"x"),
    );
    let published = |version| publish(version, 0, &"t".repeat(65_535 - 15), b"x");
    check_refused(APPEND, published, Forbidden::TopicName.into(), 0x90);
    let grown = ["{{imsi}}", &"t".repeat(65_535 - 14)].concat();
    let subscribed = |version| subscribe(version, &[("a", 0), (&grown, 0)]);
    check_refused(REPLACE, subscribed, Forbidden::TopicFilter.into(), 0x8f);
    let unsubscribed = |version| unsubscribe(version, &[&grown]);
    check_refused(REPLACE, unsubscribed, Forbidden::TopicFilter.into(), 0x8f);
}

#[test]
fn b_top_5_illegal_topics_end_the_session() {
    for topics in [NONE, BOTH] {
        for (topic, offence, code) in [
            ("a\0b", Offence::from(Malformed::Utf8), 0x81),
            ("a/#", Forbidden::TopicName.into(), 0x90),
            ("+/a", Forbidden::TopicName.into(), 0x90),
        ] {
            let published = |version| publish(version, 0, topic, b"x");
            check_refused(topics, published, offence, code);
        }
        let not_utf8 = |_| packet(0x30, &[0, 2, b'a', 0xff, 0]);
        check_refused(topics, not_utf8, Malformed::Utf8.into(), 0x81);
        // Whether a filter is legal says the upstream; that it is no text says whoever replaces something in it.
        let no_text = Offence::from(Malformed::Utf8);
        let subscribed = |version| subscribe(version, &[("a", 0), ("a\0b", 0)]);
        check_refused(topics, subscribed, no_text, 0x81);
        let unsubscribed = |version| unsubscribe(version, &["a", "a\0b"]);
        check_refused(topics, unsubscribed, no_text, 0x81);
    }
}

#[test]
fn b_top_6_the_largest_message_passes_in_constant_room() {
    let mut pair = Pair::open(Version::V5, Platform::V201912, APPEND);
    let head = [&[0x30, 0xef, 0xff, 0xff, 0x7f, 0, 1, b't', 0][..]].concat();
    let remaining = crate::limits::REMAINING_LENGTH_MAX - 16;
    pair.feed(Side::Device, &head);
    let sent = [
        &[0x30, 0xff, 0xff, 0xff, 0x7f, 0, 17][..],
        b"t/",
        IMSI.as_bytes(),
        &[0],
    ]
    .concat();
    assert_eq!(pair.sent(Side::Upstream), sent);
    let chunk = vec![0; 1024 * 1024];
    let mut payload_bytes = remaining - 4;
    let mut outputs = Outputs::default();
    while payload_bytes > 0 {
        assert!(pair.session.is_amid_message(Side::Device));
        let input = &chunk[..chunk.len().min(payload_bytes)];
        outputs.forward.clear(0);
        let received = pair.session.receive(Side::Device, input, 0, &mut outputs);
        assert_eq!(
            (received.consumed, received.next),
            (input.len(), Next::Read(1))
        );
        let slices: Vec<_> = outputs.forward.slices(input).collect();
        assert_eq!(slices.len(), 1);
        assert_eq!(slices[0].as_ptr_range(), input.as_ptr_range());
        payload_bytes -= input.len();
    }
    assert_eq!(outputs.forward.take(chunk.len()), 1);
    pair.feed(Side::Device, &[0xc0, 0]);
    assert_eq!(pair.sent(Side::Upstream), [0xc0, 0]);
    // Where the rewritten packet has no room in MQTT, the session ends.
    let mut pair = Pair::open(Version::V5, Platform::V201912, APPEND);
    pair.feed(Side::Device, &[0x30, 0xf0, 0xff, 0xff, 0x7f, 0, 1, b't', 0]);
    let too_large = Cause::DeviceOffence(Forbidden::TooLarge.into());
    assert_eq!(pair.end, Some(too_large));
}

#[test]
fn b_top_5_what_rewriting_makes_too_large_for_the_upstream_ends_the_session() {
    // Maximum Packet Size 40 of the upstream.
    let connack = [0x20, 8, 0, 0, 5, 0x27, 0, 0, 0, 40];
    let fed = |topics, input: &[u8]| {
        let mut pair = Pair::connecting(Version::V5, Platform::V201912, topics);
        pair.feed(Side::Upstream, &connack);
        assert_eq!(pair.sent(Side::Device), connack);
        pair.feed(Side::Device, input);
        (
            pair.end,
            pair.sent(Side::Device),
            pair.sent(Side::Upstream).len(),
        )
    };
    let published = |payload_bytes| publish(Version::V5, 0, "t", &vec![0; payload_bytes]);
    let too_large = Some(Cause::DeviceOffence(Forbidden::TooLarge.into()));
    assert_eq!(fed(APPEND, &published(18)), (None, vec![], 40));
    assert_eq!(
        fed(APPEND, &published(19)),
        (too_large, vec![0xe0, 1, 0x95], 0)
    );
    let subscribed = |length| subscribe(Version::V5, &[("{{imsi}}", 0), (&"t".repeat(length), 0)]);
    assert_eq!(fed(REPLACE, &subscribed(14)), (None, vec![], 40));
    assert_eq!(
        fed(REPLACE, &subscribed(15)),
        (too_large, vec![0xe0, 1, 0x95], 0)
    );
    // What is not rewritten is the upstream's to judge.
    assert_eq!(fed(NONE, &published(100)), (None, vec![], 106));
}

#[test]
fn b_top_6_a_batch_stops_where_its_limits_are() {
    let mut outputs = Outputs::default();
    // What the same message comes to again and again, as far as one call goes: bytes inserted, pieces.
    let mut batch = |version, platform, topics, message: &[u8]| {
        let mut pair = Pair::open(version, platform, topics);
        let input = message.repeat(20_000);
        outputs.forward.begin();
        let received = pair.session.receive(Side::Device, &input, 0, &mut outputs);
        assert_eq!(received.next, Next::Send);
        assert_eq!(received.consumed % message.len(), 0);
        (
            outputs.forward.inserted_bytes(),
            outputs.forward.piece_count(),
        )
    };
    let messages = |bytes: usize| BATCH_INSERT_BYTES.div_ceil(bytes);
    let (v311, new) = (Version::V311, Platform::V201912);
    let mut check = |version, platform, topics, message: &[u8], bytes, pieces| {
        let (inserted, count) = batch(version, platform, topics, message);
        assert_eq!((inserted, count), (bytes, pieces), "{message:02x?}");
    };
    // A short payload is inserted behind its head, which makes one piece of all: 1 + 1 + 2 + 17 bytes each.
    let short = publish(v311, 0, "t", b"");
    check(v311, new, APPEND, &short, messages(21) * 21, 1);
    let with_payload = publish(v311, 0, "t", b"x");
    check(v311, new, APPEND, &with_payload, messages(22) * 22, 1);
    // With a long one, each message is two pieces; its remaining length has two bytes.
    let long = publish(v311, 0, "t", &[b'x'; BORROW_BYTES_MIN]);
    check(
        v311,
        new,
        APPEND,
        &long,
        BATCH_PIECES / 2 * 22,
        BATCH_PIECES,
    );
    // A 3.1 device is translated.
    let (old, ping) = (Platform::V201509, [0xc0, 0]);
    check(Version::V31, old, NONE, &ping, BATCH_INSERT_BYTES, 1);
    // Long literals are borrowed, and the largest message at the end of a batch keeps its pieces few: the
    // short payload and the next head stand behind the last placeholder.
    let topic = ["t".repeat(512).as_str(), "{{imei}}"].concat().repeat(125);
    let large = publish(v311, 0, &topic, b"x");
    let inserted = 3 * (1 + 3 + 2 + 125 * 12 + 1);
    check(v311, new, REPLACE, &large, inserted, 1 + 3 * 2 * 125);
}
