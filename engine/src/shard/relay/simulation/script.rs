//! Script: what the devices, the brokers and the operator of one seed do.

use ringbeam_proto::limits::REPLY_BYTES;
use ringbeam_proto::packet::Version;

use super::dice::Dice;
use super::packets;
use super::peer::Step;

/// Packets, with a wait now and then.
fn talk(
    version: Version,
    count: usize,
    dice: &mut Dice,
    packet: impl Fn(Version, &mut Dice) -> Vec<u8>,
) -> Vec<Step> {
    let mut steps = Vec::new();
    // Some have more to say than others.
    let is_large_once_in = [0, 0, 0, 0, 0, 0, 8, 2][dice.below(8)];
    for _ in 0..count {
        // Several at once, so that packets share what is received.
        let mut bytes = packet(version, dice);
        while dice.once_in(2) {
            bytes.extend(packet(version, dice));
        }
        if dice.once_in(is_large_once_in) {
            bytes.extend(packets::large(version, dice));
        }
        steps.push(Step::Say(bytes));
        match dice.below(40) {
            0 => steps.push(Step::Wait(dice.below_ms(12_000))),
            1..6 => steps.push(Step::Wait(dice.below_ms(600))),
            6 => steps.push(Step::Stall(dice.below_ms(3_000))),
            7 => steps.push(Step::Stall(dice.below_ms(20_000))),
            _ => {}
        }
    }
    steps
}

/// What a device sends behind its CONNECT, and how it ends.
pub(super) fn device(version: Version, dice: &mut Dice) -> Vec<Step> {
    let mut steps = Vec::new();
    if !dice.once_in(4) {
        steps.push(Step::Listen);
    }
    let count = dice.below(8);
    steps.extend(talk(version, count, dice, packets::from_device));
    if dice.once_in(25) {
        // More to acknowledge than may wait.
        let message = b"\x32\x06\x00\x01a\x00\x01.";
        let storm = message.repeat(REPLY_BYTES / 4 + dice.below(300));
        steps.push(Step::Say(storm));
        steps.push(Step::Say(packets::from_device(version, dice)));
    }
    if dice.once_in(3) {
        // Most of what is on its way has been answered by then.
        steps.push(Step::Wait(500 + dice.below_ms(3_000)));
    }
    match dice.below(12) {
        0..4 => steps.extend([Step::Say(vec![0xe0, 0]), Step::Close]),
        4 => steps.extend([Step::Say(vec![0xe0, 0]), Step::Finish]),
        5 => steps.push(Step::Close),
        6 => steps.push(Step::Finish),
        7 => steps.push(Step::Reset),
        8 => steps.extend([Step::Say(malformed(dice)), Step::Wait(300), Step::Close]),
        9 => {
            steps.push(Step::Say(partial(version, dice)));
            let last = [Step::Close, Step::Finish, Step::Reset, Step::Wait(60_000)];
            let which = dice.below(4);
            steps.extend(last.into_iter().nth(which));
        }
        10 => steps.push(Step::Stall(u64::MAX)),
        // It is silent from then on.
        _ => {}
    }
    steps
}

/// What a broker answers a CONNECT with, if it does.
pub(super) fn connack(version: Version, dice: &mut Dice) -> Option<Vec<u8>> {
    match dice.below(20) {
        0 => None,
        1 if version == Version::V5 => Some(packets::connack(version, 0x87)),
        1 => Some(packets::connack(version, 5)),
        _ => Some(packets::connack(version, 0)),
    }
}

/// What a broker sends on its own, and how it ends.
pub(super) fn broker(version: Version, dice: &mut Dice) -> Vec<Step> {
    let mut steps = vec![Step::Listen];
    let count = dice.below(6);
    steps.extend(talk(version, count, dice, packets::publish));
    match dice.below(24) {
        0 => steps.push(Step::Close),
        1 => steps.push(Step::Finish),
        2 => steps.push(Step::Reset),
        3 => steps.push(Step::Stall(u64::MAX)),
        4 => steps.push(Step::Say(malformed(dice))),
        5 => steps.extend([Step::Say(partial(version, dice)), Step::Close]),
        6 => steps.push(Step::Say(partial(version, dice))),
        7 if version == Version::V5 => {
            steps.extend([Step::Say(vec![0xe0, 1, 0x8b]), Step::Close]);
        }
        // It stays.
        _ => {}
    }
    steps
}

/// What TLS adds to that.
pub(super) fn secure(steps: &mut Vec<Step>, dice: &mut Dice) {
    while dice.once_in(2) {
        let place = dice.below(steps.len() + 1);
        steps.insert(place, Step::RenewKeys);
    }
    let ends = |step: &Step| matches!(step, Step::Close | Step::Finish);
    if let Some(place) = steps.iter().position(ends)
        && !dice.once_in(3)
    {
        steps.insert(place, Step::CloseTls);
    } else if dice.once_in(12) {
        let length = 1 + dice.below(200);
        let bytes = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap());
        steps.push(Step::Lie(bytes.collect()));
    }
}

/// Something that no side may send.
fn malformed(dice: &mut Dice) -> Vec<u8> {
    match dice.below(3) {
        0 => vec![0x00, 0],
        1 => vec![0x36, 5, 0, 1, b'a', 0, 1],
        _ => vec![0x30, 0xff, 0xff, 0xff, 0xff, 0xff],
    }
}

/// A message that breaks off.
fn partial(version: Version, dice: &mut Dice) -> Vec<u8> {
    let mut bytes = if dice.once_in(4) {
        packets::large(version, dice)
    } else {
        packets::publish(version, dice)
    };
    let length = 1 + dice.below(bytes.len() - 1);
    bytes.truncate(length);
    bytes
}
