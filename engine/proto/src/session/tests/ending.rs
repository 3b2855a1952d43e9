//! How sessions end: keep alive, last words, half messages.

use super::*;
use crate::error::Malformed;
use crate::limits::IDLE_MS_MAX;

/// The last words of an established session: to the device, to the upstream.
fn last_words(pair: &Pair, cause: Cause) -> (Vec<u8>, Vec<u8>) {
    let (mut device, mut upstream) = (Vec::new(), Vec::new());
    pair.session.farewell(cause, &mut device, &mut upstream);
    (device, upstream)
}

#[test]
fn b_keep_4_last_words_by_cause_and_version() {
    const DISCONNECT: &[u8] = &[0xe0, 0];
    const NOTHING: &[u8] = &[];
    // Cause, then what a v5 device is told, then what the upstream is told.
    let rows: [(Cause, &[u8], &[u8]); 16] = [
        (Cause::Draining, &[0xe0, 1, 0x8b], DISCONNECT),
        (Cause::EntryPointClosed, &[0xe0, 1, 0x98], DISCONNECT),
        (Cause::ClosedByOperator, &[0xe0, 1, 0x98], DISCONNECT),
        (Cause::KeepAliveTimeout, &[0xe0, 1, 0x8d], NOTHING),
        (Cause::IdleTimeout, &[0xe0, 1, 0x8d], NOTHING),
        (Cause::UpstreamClosed, &[0xe0, 1, 0x80], NOTHING),
        (Cause::UpstreamReset, &[0xe0, 1, 0x80], NOTHING),
        (Cause::HeadMemory, &[0xe0, 1, 0x97], NOTHING),
        (Cause::WaitingExhausted, &[0xe0, 1, 0x97], NOTHING),
        (
            Cause::DeviceOffence(Offence::Malformed(Malformed::Utf8)),
            &[0xe0, 1, 0x81],
            NOTHING,
        ),
        (Cause::DeviceDisconnect, NOTHING, NOTHING),
        (Cause::DeviceClosed, NOTHING, NOTHING),
        (Cause::DeviceReset, NOTHING, NOTHING),
        (Cause::SimSessionEnded, NOTHING, NOTHING),
        (Cause::Stopped, NOTHING, NOTHING),
        (Cause::UpstreamDisconnect, NOTHING, NOTHING),
    ];
    for (cause, v5, upstream) in rows {
        for version in VERSIONS {
            let pair = Pair::open(version, Platform::V201912, NONE);
            let device = if version == Version::V5 { v5 } else { NOTHING };
            let expected = (device.to_vec(), upstream.to_vec());
            assert_eq!(last_words(&pair, cause), expected, "{cause:?} {version:?}");
        }
    }
}

#[test]
fn b_keep_4_nothing_is_said_in_the_middle_of_a_message() {
    let message = publish(Version::V5, 0, "t", b"payload");
    // Where each message is cut: before it, within its head, within its payload, behind it.
    for (cut, is_amid) in [(0, false), (4, false), (8, true), (message.len(), false)] {
        let expected = |bytes: &[u8]| if is_amid { Vec::new() } else { bytes.to_vec() };
        let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
        pair.feed(Side::Upstream, &message[..cut]);
        let (device, upstream) = last_words(&pair, Cause::Draining);
        assert_eq!((device, upstream.len()), (expected(&[0xe0, 1, 0x8b]), 2));
        let mut pair = Pair::open(Version::V5, Platform::V201912, NONE);
        pair.feed(Side::Device, &message[..cut]);
        assert_eq!(pair.session.is_amid_message(Side::Device), is_amid);
        let (device, upstream) = last_words(&pair, Cause::Draining);
        assert_eq!((device.len(), upstream), (3, expected(&[0xe0, 0])));
    }
}

#[test]
fn b_keep_4_only_the_devices_own_disconnect_reaches_the_upstream() {
    let rows: [(Version, &[u8]); 4] = [
        (Version::V31, &[0xe0, 0]),
        (Version::V311, &[0xe0, 0]),
        (Version::V5, &[0xe0, 0]),
        (Version::V5, &[0xe0, 7, 4, 5, 0x11, 0, 0, 0, 9]),
    ];
    for (version, bytes) in rows {
        let mut pair = Pair::open(version, Platform::V201912, NONE);
        // What stands behind it is not looked at.
        pair.feed(Side::Device, &[bytes, &[0xc0, 0]].concat());
        assert_eq!(pair.end, Some(Cause::DeviceDisconnect));
        assert_eq!(pair.sent(Side::Upstream), bytes);
        assert_eq!(pair.sent(Side::Device), b"");
    }
    // Before the CONNACK it waits like everything else.
    let mut pair = Pair::connecting(Version::V311, Platform::V201912, NONE);
    pair.feed(Side::Device, &[0xe0, 0]);
    assert_eq!((pair.end, pair.sent(Side::Upstream).len()), (None, 0));
    pair.feed(Side::Upstream, connack(Version::V311));
    assert_eq!(pair.end, Some(Cause::DeviceDisconnect));
    assert_eq!(pair.sent(Side::Upstream), [0xe0, 0]);
}

#[test]
fn b_con_4_last_words_before_the_connack_are_a_connack() {
    let told = |version, manners, cause| {
        let pair = Pair::connecting(version, Platform::V201912, NONE);
        let opening = Opening {
            manners,
            ..*pair.session.opening()
        };
        last_words(&Pair::with(opening), cause).0
    };
    let said = Manners {
        upstream: Manner::Connack,
        engine: Manner::Connack,
        stranger: Manner::Connack,
    };
    for (cause, v3, v5, is_said_anyway) in [
        (Cause::UpstreamClosed, 3, 0x88, false),
        (Cause::UpstreamReset, 3, 0x88, false),
        (Cause::Draining, 3, 0x88, false),
        (Cause::EntryPointClosed, 5, 0x87, true),
        (Cause::ClosedByOperator, 3, 0x88, false),
    ] {
        assert_eq!(told(Version::V311, said, cause), [0x20, 2, 0, v3]);
        assert_eq!(told(Version::V5, said, cause), [0x20, 3, 0, v5, 0]);
        let by_default = told(Version::V5, Manners::default(), cause);
        assert_eq!(by_default.is_empty(), !is_said_anyway, "{cause:?}");
    }
}

#[test]
fn b_keep_2_and_3_the_clock_starts_with_the_connack() {
    // Keep alive of the device and of the upstream's CONNACK, and the silence that ends the session.
    let rows = [
        (60, None, 90_000, Cause::KeepAliveTimeout),
        (5, None, 7_500, Cause::KeepAliveTimeout),
        (0, None, IDLE_MS_MAX, Cause::IdleTimeout),
        // B-KEEP-6
        (60, Some(20), 30_000, Cause::KeepAliveTimeout),
        (0, Some(20), 30_000, Cause::KeepAliveTimeout),
        (60, Some(0), IDLE_MS_MAX, Cause::IdleTimeout),
        (60, Some(3000), 4_500_000, Cause::KeepAliveTimeout),
    ];
    for (asked, governs, silence_ms, cause) in rows {
        let opening = Opening {
            keep_alive_seconds: asked,
            ..*Pair::connecting(Version::V5, Platform::V201912, NONE)
                .session
                .opening()
        };
        let mut pair = Pair::with(opening);
        assert_eq!(pair.session.deadline().map(|(at_ms, _)| at_ms), None);
        pair.now_ms = 1_000;
        let connack = match governs {
            None => connack(Version::V5).to_vec(),
            Some(seconds) => {
                let [high, low] = u16::to_be_bytes(seconds);
                packet(0x20, &[0, 0, 3, 0x13, high, low])
            }
        };
        pair.feed(Side::Upstream, &connack);
        assert_eq!(
            pair.session.deadline().map(|(at_ms, _)| at_ms),
            Some(1_000 + silence_ms)
        );
        assert_eq!(
            pair.session
                .deadline()
                .filter(|(at_ms, _)| *at_ms < 1_000 + silence_ms)
                .map(|(_, cause)| cause),
            None
        );
        assert_eq!(
            pair.session
                .deadline()
                .filter(|(at_ms, _)| *at_ms <= 1_000 + silence_ms)
                .map(|(_, cause)| cause),
            Some(cause)
        );
        // One byte of a larger message is communication.
        pair.now_ms = 3_000;
        pair.feed(Side::Device, &[0x30]);
        assert_eq!(
            pair.session.deadline().map(|(at_ms, _)| at_ms),
            Some(3_000 + silence_ms)
        );
        // The upstream's bytes are, where there is no keep alive.
        pair.now_ms = 4_000;
        pair.feed(Side::Upstream, &[0xd0]);
        let heard_ms = if cause == Cause::IdleTimeout {
            4_000
        } else {
            3_000
        };
        assert_eq!(
            pair.session.deadline().map(|(at_ms, _)| at_ms),
            Some(heard_ms + silence_ms)
        );
    }
}

#[test]
fn b_keep_5_a_clock_that_stands_still_goes_on_doing_so_after_the_connack() {
    let mut pair = Pair::connecting(Version::V311, Platform::V201912, NONE);
    pair.session.withhold(true, 0);
    pair.now_ms = 5_000;
    pair.feed(Side::Upstream, connack(Version::V311));
    assert_eq!(pair.session.deadline().map(|(at_ms, _)| at_ms), None);
    pair.session.withhold(false, 9_000);
    assert_eq!(
        pair.session.deadline().map(|(at_ms, _)| at_ms),
        Some(99_000)
    );
}
