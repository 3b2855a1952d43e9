//! Rewriting: PUBLISH packets of a device under each rule for topics, through the session; and the
//! topic alone.

use std::hint::black_box;

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rewrite::{published, topic_text};
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::session::Side;

use super::packets::publish;
use super::relayed::Passage;
use super::{BOTH, Case, PACKETS_PER_READ, PAYLOAD_BYTES, Run, count, identity, size};

/// Name, rules, and what becomes of the topic.
const RULES: [(&str, TopicRules, &str); 4] = [
    (
        "neither",
        TopicRules {
            append_imsi: false,
            ..PLACEHOLDERS_OFF
        },
        TOPIC,
    ),
    (
        "suffix",
        PLACEHOLDERS_OFF,
        "sensors/{{imsi}}/temp/440100000000001",
    ),
    (
        "placeholders",
        TopicRules {
            append_imsi: false,
            ..BOTH
        },
        "sensors/440100000000001/temp",
    ),
    ("both", BOTH, "sensors/440100000000001/temp/440100000000001"),
];

const PLACEHOLDERS_OFF: TopicRules = TopicRules {
    replace_placeholders: false,
    ..BOTH
};

const TOPIC: &str = "sensors/{{imsi}}/temp";

/// Rules by payload and packets per read, then the topic alone.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rule, topics, rewritten) in RULES {
        for payload_bytes in PAYLOAD_BYTES {
            for packets in PACKETS_PER_READ {
                cases.push(messages(rule, topics, rewritten, (payload_bytes, packets)));
            }
        }
        cases.push(Case {
            name: format!("{rule}/topic-alone"),
            messages: 1,
            bytes: count(TOPIC.len()),
            prepare: Box::new(move || topic_alone(topics, rewritten)),
        });
    }
    cases
}

fn messages(
    rule: &str,
    topics: TopicRules,
    rewritten: &'static str,
    (payload_bytes, packets): (usize, usize),
) -> Case {
    let payload = vec![b'x'; payload_bytes];
    let packet = publish(TOPIC, 0, &payload);
    Case {
        name: format!("{rule}/{}/{packets}", size(payload_bytes)),
        messages: count(packets),
        bytes: count(packets * packet.len()),
        prepare: Box::new(move || {
            let passage = Passage {
                version: Version::V311,
                rules: Rules {
                    platform: Platform::V201912,
                    topics,
                },
                from: Side::Device,
                input: packet.repeat(packets),
                forwarded: publish(rewritten, 0, &payload).repeat(packets),
                replied: Vec::new(),
            };
            passage.prepare()
        }),
    }
}

fn topic_alone(topics: TopicRules, rewritten: &str) -> Run {
    let identity = identity();
    assert_eq!(topic_text(&topics, &identity, TOPIC, true), rewritten);
    Box::new(move || {
        for segment in published(&topics, &identity, black_box(TOPIC)) {
            black_box(segment.text(TOPIC));
        }
    })
}
