//! Plan: one session of the simulation before it begins: how it is opened, and what its peers will do.

use std::net::{Ipv4Addr, SocketAddr};

use ringbeam_proto::farewell::{self, Manners};
use ringbeam_proto::identity::Identity;
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::rules::{Rules, TopicRules};
use ringbeam_proto::session::Opening;

use super::dice::Dice;
use super::packets;
use super::peer::{Manner, Step};
use super::renewal::Minds;
use super::script;

/// A session to come.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) opening: Opening,
    /// What was read of the device behind its CONNECT before the relay has it.
    pub(super) read_ahead: Vec<u8>,
    /// What the broker answers the CONNECT with.
    pub(super) connack: Option<Vec<u8>>,
    pub(super) device: Part,
    pub(super) broker: Part,
    /// Whether the upstream is over TLS, and then over 1.3.
    pub(super) tls: Option<bool>,
    /// Where its upstream may be replaced.
    pub(super) minds: Option<Minds>,
}

/// What one peer does, and how.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) steps: Vec<Step>,
    pub(super) manner: Manner,
    /// Bytes that the kernel keeps of what it sends, and of what is sent to it.
    pub(super) rooms: [usize; 2],
}

impl Plan {
    /// Whatever the dice say.
    pub(super) fn any(number: usize, dice: &mut Dice) -> Self {
        let opening = opening(number, dice);
        let (device_version, upstream_version) = (opening.device_version, opening.upstream_version);
        let mut read_ahead = Vec::new();
        while dice.once_in(3) && read_ahead.len() < 10_000 {
            read_ahead.extend(packets::from_device(device_version, dice));
        }
        let connack = script::connack(upstream_version, dice);
        let device = Part::any(script::device(device_version, dice), dice);
        let mut steps = if connack.is_none() && dice.once_in(2) {
            Vec::new()
        } else {
            script::broker(upstream_version, dice)
        };
        let tls = dice.once_in(4).then(|| !dice.once_in(4));
        if tls.is_some() {
            script::secure(&mut steps, dice);
        }
        Self {
            opening,
            read_ahead,
            connack,
            device,
            broker: Part::any(steps, dice),
            tls,
            minds: None,
        }
    }

    /// An ordinary session of 3.1.1 whose peers do this, at once, and have room for much.
    pub(super) fn of(platform: Platform, device: Vec<Step>, broker: Vec<Step>) -> Self {
        let topics = TopicRules {
            append_imsi: false,
            replace_placeholders: false,
            rewrite_will: false,
        };
        let part = |steps| Part {
            steps,
            manner: Manner::QUICK,
            rooms: [200_000, 200_000],
        };
        Self {
            opening: Opening {
                identity: identity(0),
                rules: Rules { platform, topics },
                device_version: Version::V311,
                upstream_version: Version::V311,
                keep_alive_seconds: 0,
                has_authentication_method: false,
                manners: Manners::default(),
            },
            read_ahead: Vec::new(),
            connack: Some(packets::connack(Version::V311, 0)),
            device: part(device),
            broker: part(broker),
            tls: None,
            minds: None,
        }
    }
}

impl Part {
    pub(super) fn brisk(steps: Vec<Step>, dice: &mut Dice) -> Self {
        let manner = Manner::brisk(dice);
        Self {
            manner,
            ..Self::any(steps, dice)
        }
    }

    pub(super) fn any(steps: Vec<Step>, dice: &mut Dice) -> Self {
        let mut room = || [64, 600, 5_000, 40_000, 200_000][dice.below(5)];
        let rooms = [room(), room()];
        Self {
            steps,
            manner: Manner::any(dice),
            rooms,
        }
    }
}

pub(super) fn identity(number: usize) -> Identity {
    Identity {
        imsi: format!("44010000000000{number}").parse().unwrap(),
        sim_id: format!("898110000000000000{number}").parse().unwrap(),
        imei: number
            .is_multiple_of(2)
            .then(|| "353456789012348".parse().unwrap()),
    }
}

pub(super) fn address(number: usize) -> SocketAddr {
    let last = u8::try_from(number + 1).unwrap();
    (Ipv4Addr::new(10, 0, 0, last), 40_000).into()
}

fn manner(dice: &mut Dice) -> farewell::Manner {
    if dice.once_in(2) {
        farewell::Manner::Close
    } else {
        farewell::Manner::Connack
    }
}

/// How a session begins.
fn opening(number: usize, dice: &mut Dice) -> Opening {
    let (device_version, platform) = [
        (Version::V31, Platform::V201912),
        (Version::V311, Platform::V201912),
        (Version::V5, Platform::V201912),
        (Version::V31, Platform::V201509),
        (Version::V311, Platform::V201509),
    ][dice.below(5)];
    let upstream_version = platform.upstream_version(device_version).unwrap();
    let topics = TopicRules {
        append_imsi: !dice.once_in(3),
        replace_placeholders: !dice.once_in(3),
        rewrite_will: false,
    };
    Opening {
        identity: identity(number),
        rules: Rules { platform, topics },
        device_version,
        upstream_version,
        keep_alive_seconds: [0, 5, 7, 20][dice.below(4)],
        has_authentication_method: false,
        manners: Manners {
            upstream: manner(dice),
            engine: manner(dice),
            stranger: manner(dice),
        },
    }
}
