//! Session: one packet through an open session, under both platform versions, with both topic
//! rewritings.

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::Rules;
use ringbeam_proto::session::Side;

use super::packets::{packet, publish, publish_v5, subscribe};
use super::relayed::Passage;
use super::{BOTH, Case, count};

const TOPIC: &str = "sensors/{{imsi}}/temp";
const TOPIC_REWRITTEN: &str = "sensors/440100000000001/temp/440100000000001";
const FILTER: &str = "commands/{{imsi}}/#";
const FILTER_REWRITTEN: &str = "commands/440100000000001/#";
const PAYLOAD: [u8; 64] = [b'x'; 64];

/// One packet: its name, what comes in, what is forwarded, what is answered.
struct Step {
    name: &'static str,
    from: Side,
    version: Version,
    input: Vec<u8>,
    forwarded: Vec<u8>,
    replied: Vec<u8>,
}

/// Every step of both platform versions.
pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for (platform, steps) in [
        (Platform::V201509, steps_201509()),
        (Platform::V201912, steps_201912()),
    ] {
        cases.extend(steps.into_iter().map(|step| case(platform, step)));
    }
    cases
}

fn case(platform: Platform, step: Step) -> Case {
    let name = format!("{platform}/{}", step.name);
    let passage = Passage {
        version: step.version,
        rules: Rules {
            platform,
            topics: BOTH,
        },
        from: step.from,
        input: step.input,
        forwarded: step.forwarded,
        replied: step.replied,
    };
    Case {
        name,
        messages: 1,
        bytes: count(passage.input.len()),
        prepare: Box::new(move || passage.prepare()),
    }
}

/// Acknowledged here, sent on at QoS 0.
fn steps_201509() -> Vec<Step> {
    let rewritten = publish(TOPIC_REWRITTEN, 0, &PAYLOAD);
    vec![
        up(
            "publish-qos0-up",
            publish(TOPIC, 0, &PAYLOAD),
            rewritten.clone(),
        ),
        Step {
            replied: packet(0x40, &[0, 7]),
            ..up(
                "publish-qos1-up",
                publish(TOPIC, 1, &PAYLOAD),
                rewritten.clone(),
            )
        },
        Step {
            replied: packet(0x50, &[0, 7]),
            ..up("publish-qos2-up", publish(TOPIC, 2, &PAYLOAD), rewritten)
        },
        down("publish-qos0-down", publish(TOPIC, 0, &PAYLOAD)),
        up("puback-up", packet(0x40, &[0, 7]), Vec::new()),
        up("pingreq-up", packet(0xc0, &[]), packet(0xc0, &[])),
        up(
            "subscribe-up",
            subscribe(FILTER, 1),
            subscribe(FILTER_REWRITTEN, 0),
        ),
    ]
}

/// End to end.
fn steps_201912() -> Vec<Step> {
    let rewritten = |qos| publish(TOPIC_REWRITTEN, qos, &PAYLOAD);
    vec![
        up("publish-qos0-up", publish(TOPIC, 0, &PAYLOAD), rewritten(0)),
        up("publish-qos1-up", publish(TOPIC, 1, &PAYLOAD), rewritten(1)),
        up("publish-qos2-up", publish(TOPIC, 2, &PAYLOAD), rewritten(2)),
        Step {
            version: Version::V5,
            ..up(
                "publish-qos1-up-mqtt5",
                publish_v5(TOPIC, &PAYLOAD),
                publish_v5(TOPIC_REWRITTEN, &PAYLOAD),
            )
        },
        down("publish-qos0-down", publish(TOPIC, 0, &PAYLOAD)),
        down("publish-qos1-down", publish(TOPIC, 1, &PAYLOAD)),
        up("puback-up", packet(0x40, &[0, 7]), packet(0x40, &[0, 7])),
        up("pingreq-up", packet(0xc0, &[]), packet(0xc0, &[])),
        up(
            "subscribe-up",
            subscribe(FILTER, 1),
            subscribe(FILTER_REWRITTEN, 1),
        ),
    ]
}

/// From the device.
fn up(name: &'static str, input: Vec<u8>, forwarded: Vec<u8>) -> Step {
    Step {
        name,
        from: Side::Device,
        version: Version::V311,
        input,
        forwarded,
        replied: Vec::new(),
    }
}

/// From the upstream: it passes as it is.
fn down(name: &'static str, input: Vec<u8>) -> Step {
    Step {
        from: Side::Upstream,
        forwarded: input.clone(),
        ..up(name, input, Vec::new())
    }
}
