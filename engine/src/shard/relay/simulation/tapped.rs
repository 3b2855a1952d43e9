//! Tapped: what is shown of sessions is what passed: all of it from the first packet on, in order, and from where a packet
//! begins.

use std::collections::{BTreeMap, BTreeSet};

use crossbeam_channel::Receiver;
use ringbeam_proto::session::Side;

use super::network::Network;
use super::packets;
use super::world::Pair;
use crate::shard::report::{TapDirection, TapEvent, TapEventKind};

/// What one session's streams were shown to be.
#[derive(Debug, Default)]
struct Shown {
    is_under_way: bool,
    has_ended: bool,
    /// By leg and direction: the bytes, and where some of them are said to begin a packet.
    streams: BTreeMap<(bool, bool), (Vec<u8>, BTreeSet<usize>)>,
    secrets: Vec<u8>,
}

/// Checks what was shown of a SIM's sessions.
pub(super) fn check(number: usize, shown: &Receiver<TapEvent>, pairs: &[Pair], network: &Network) {
    let mut sessions = BTreeMap::<u32, Shown>::new();
    for TapEvent {
        session, gap, what, ..
    } in shown.try_iter()
    {
        assert_eq!(gap, 0, "there is room for all");
        let place = session.flow.generation - 1;
        match what {
            TapEventKind::Begun {
                identity,
                is_under_way,
                ..
            } => {
                let pair = &pairs[place as usize];
                assert_eq!(identity, pair.opening.identity);
                assert_eq!(identity, super::plan::identity(number));
                let shown = Shown {
                    is_under_way,
                    ..Shown::default()
                };
                assert!(sessions.insert(place, shown).is_none(), "begun twice");
            }
            TapEventKind::Passed {
                leg,
                direction,
                begins_packet,
                holds_secrets,
                bytes,
            } => {
                let shown = sessions.get_mut(&place).unwrap();
                assert!(!shown.has_ended && !bytes.is_empty());
                let key = (leg == Side::Device, direction == TapDirection::Received);
                let (stream, begins) = shown.streams.entry(key).or_default();
                if begins_packet {
                    begins.insert(stream.len());
                }
                stream.extend_from_slice(&bytes);
                if holds_secrets {
                    shown.secrets.extend_from_slice(&bytes);
                }
            }
            TapEventKind::Ended { .. } => {
                let shown = sessions.get_mut(&place).unwrap();
                assert!(!std::mem::replace(&mut shown.has_ended, true));
            }
        }
    }
    for (place, shown) in &sessions {
        check_session(shown, &pairs[*place as usize], network);
    }
}

fn check_session(shown: &Shown, pair: &Pair, network: &Network) {
    for (key, (stream, begins)) in &shown.streams {
        let whole = boundaries(stream);
        assert!(begins.contains(&0), "{key:?} begins amid a packet");
        assert!(begins.is_subset(&whole), "{key:?}: {begins:?} {whole:?}");
    }
    if pair.minds.is_some() {
        // Its upstreams are several.
        return;
    }
    let sockets = [&pair.device, &pair.broker].map(|peer| &network.sockets[peer.socket]);
    let [device, broker] = sockets;
    let (said, heard) = match &pair.clear {
        None => (&broker.received, &broker.taken),
        Some(clear) => (&clear.said, &clear.heard),
    };
    let input = [pair.read_ahead.as_slice(), &device.received].concat();
    let stream = |leg, direction| {
        let stream = shown.streams.get(&(leg, direction));
        stream.map_or(&[][..], |(stream, _)| stream)
    };
    for (stream, came) in [(stream(true, true), &input), (stream(false, true), said)] {
        let is_there = if shown.is_under_way {
            let mut ends = (0..=came.len()).rev();
            stream.is_empty() || ends.any(|from| came[from..].starts_with(stream))
        } else {
            came.starts_with(stream)
        };
        assert!(is_there, "it did not come like that");
    }
    if !shown.is_under_way {
        for (stream, taken) in [
            (stream(true, false), &device.taken),
            (stream(false, false), heard),
        ] {
            // What was sent is not always taken, and is looked at for a while.
            let both = stream.len().min(taken.len());
            assert_eq!(stream[..both], taken[..both], "it was not sent like that");
        }
        assert_eq!(shown.secrets, pair.connect);
    } else {
        assert!(shown.secrets.is_empty());
    }
}

/// Where packets begin, and where the last one ends.
fn boundaries(stream: &[u8]) -> BTreeSet<usize> {
    let mut boundaries = BTreeSet::new();
    let mut start = 0;
    while start <= stream.len() {
        boundaries.insert(start);
        let Some(length) = packets::packet_bytes(&stream[start..]) else {
            break;
        };
        start += length;
    }
    boundaries
}
