//! Connect: the device's CONNECT read and written anew for the upstream, credentials rendered.

use std::hint::black_box;

use ringbeam_proto::error::Cause;
use ringbeam_proto::opening::{Credentials, upstream_connect};
use ringbeam_proto::packet::Version;
use ringbeam_proto::packet::connect::{Opening, read};
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::Rules;
use ringbeam_proto::template::Template;

use super::packets::Connect;
use super::{BOTH, Case, Run, count, identity};

const WILL_TOPIC: &str = "status/{{imsi}}";
const WILL_TOPIC_REWRITTEN: &str = "status/440100000000001/440100000000001";

/// MQTT versions by platform version: bare, then with a will and credentials. Version 5 under 201509 is
/// refused (B-509-1) and left out.
pub(super) fn cases() -> Vec<Case> {
    let versions = [
        ("3.1", Version::V31),
        ("3.1.1", Version::V311),
        ("5", Version::V5),
    ];
    let mut cases = Vec::new();
    for platform in [Platform::V201509, Platform::V201912] {
        for (name, version) in versions {
            if platform.upstream_version(version).is_err() {
                continue;
            }
            for (what, is_full) in [("bare", false), ("will-credentials", true)] {
                let device = Connect {
                    version,
                    will: is_full.then_some((WILL_TOPIC, "lost")),
                    credentials: is_full.then_some(("device", "its own")),
                };
                cases.push(Case {
                    name: format!("{platform}/{name}/{what}"),
                    messages: 1,
                    bytes: count(device.bytes().len()),
                    prepare: Box::new(move || prepare(device, platform)),
                });
            }
        }
    }
    cases
}

fn prepare(device: Connect<'static>, platform: Platform) -> Run {
    let rules = Rules {
        platform,
        topics: BOTH,
    };
    // The entry point has credentials where the device has some: they replace the device's own.
    let templates = device.credentials.map(|_| {
        (
            Template::compile("meter-#{imsi}"),
            Template::compile("secret"),
        )
    });
    let packet = device.bytes();
    let expected = Connect {
        version: platform.upstream_version(device.version).unwrap(),
        will: device
            .will
            .filter(|_| platform.keeps_will())
            .map(|(_, payload)| (WILL_TOPIC_REWRITTEN, payload)),
        credentials: device
            .credentials
            .map(|_| ("meter-440100000000001", "secret")),
    };
    assert_eq!(
        transform(&packet, &rules, templates.as_ref()),
        Ok(expected.bytes())
    );
    Box::new(move || {
        let _packet = black_box(transform(black_box(&packet), &rules, templates.as_ref()));
    })
}

fn transform(
    packet: &[u8],
    rules: &Rules,
    templates: Option<&(Template, Template)>,
) -> Result<Vec<u8>, Cause> {
    let connect = match read(packet) {
        Ok(Opening::Whole(connect, _)) => connect,
        Ok(Opening::Partial(_)) => return Err(Cause::DeviceClosed),
        Err(unserved) => return Err(unserved.cause),
    };
    let identity = identity();
    let rendered = templates
        .map(|(username, password)| (username.render(&identity), password.render(&identity)));
    let credentials = Credentials::Configured {
        username: rendered.as_ref().map(|(username, _)| username.as_str()),
        password: rendered.as_ref().map(|(_, password)| password.as_str()),
    };
    upstream_connect(&connect, rules, &identity, credentials, None)
}
