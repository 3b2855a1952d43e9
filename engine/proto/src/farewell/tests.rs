//! What each cause says, and in which manner.

use super::Farewell::{Connack, Disconnect, Silence};
use super::*;
use crate::error::{BadClientId, Forbidden, Malformed, Offence};
use crate::packet::Kind;

/// Everything is said.
const SAID: Manners = Manners {
    upstream: Manner::Connack,
    engine: Manner::Connack,
    stranger: Manner::Connack,
};

/// Whatever there is a choice about only closes.
const UNSAID: Manners = Manners {
    upstream: Manner::Close,
    engine: Manner::Close,
    stranger: Manner::Close,
};

/// Whose choice a cause is, before the CONNACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Nobodys,
    Upstreams,
    Engines,
    Strangers,
}

/// Cause, whose choice it is, then what 3.1.1 and 5 are told before the CONNACK where it is said, then what 5 is told after it.
#[expect(clippy::too_many_lines, reason = "one table, cited by rule")]
fn rows() -> [(Cause, Whose, Farewell, Farewell, Farewell); 29] {
    use Whose::{Engines, Nobodys, Strangers, Upstreams};
    let refused = Cause::Refused;
    let malformed = Offence::from(Malformed::Truncated);
    let twice = Offence::from(Forbidden::Kind(Kind::Connect));
    [
        // B-ID-2
        (
            refused(Refusal::UnknownAddress),
            Strangers,
            Connack(5),
            Connack(0x87),
            Silence,
        ),
        (
            refused(Refusal::NoGroup),
            Strangers,
            Connack(5),
            Connack(0x87),
            Silence,
        ),
        (
            refused(Refusal::NoEntryPoint),
            Strangers,
            Connack(5),
            Connack(0x87),
            Silence,
        ),
        (
            refused(Refusal::EntryPointDisabled),
            Strangers,
            Connack(5),
            Connack(0x87),
            Silence,
        ),
        (
            Cause::EntryPointClosed,
            Strangers,
            Connack(5),
            Connack(0x87),
            Disconnect(0x98),
        ),
        // B-KEEP-1
        (
            refused(Refusal::KeepAlive(3)),
            Nobodys,
            Connack(5),
            Connack(0x87),
            Silence,
        ),
        // B-CON-4
        (
            refused(Refusal::UpstreamName),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            refused(Refusal::UpstreamUnreachable),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            refused(Refusal::UpstreamTimeout),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            refused(Refusal::UpstreamTls),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            refused(Refusal::UpstreamClosed),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            Cause::UpstreamClosed,
            Upstreams,
            Connack(3),
            Connack(0x88),
            Disconnect(0x80),
        ),
        (
            Cause::UpstreamReset,
            Upstreams,
            Connack(3),
            Connack(0x88),
            Disconnect(0x80),
        ),
        (Cause::UpstreamRefused, Nobodys, Silence, Silence, Silence),
        (
            refused(Refusal::SessionLimit),
            Engines,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        (
            refused(Refusal::SimSessionLimit),
            Engines,
            Connack(3),
            Connack(0x97),
            Silence,
        ),
        (
            refused(Refusal::Overload),
            Engines,
            Connack(3),
            Connack(0x89),
            Silence,
        ),
        (
            refused(Refusal::UpstreamBusy),
            Engines,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        // B-CFG-4
        (
            refused(Refusal::NoCredential),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Silence,
        ),
        // B-509-1
        (
            refused(Refusal::UnsupportedVersion),
            Nobodys,
            Connack(1),
            Connack(1),
            Silence,
        ),
        // B-TOK-2
        (
            Cause::TakenOver,
            Nobodys,
            Silence,
            Silence,
            Disconnect(0x8e),
        ),
        // B-TOP-6
        (
            Cause::WaitingExhausted,
            Engines,
            Connack(3),
            Connack(0x88),
            Disconnect(0x97),
        ),
        // B-ERR-1
        (
            Cause::DeviceOffence(malformed),
            Nobodys,
            Silence,
            Connack(0x81),
            Disconnect(0x81),
        ),
        (
            Cause::DeviceOffence(twice),
            Nobodys,
            Silence,
            Connack(0x82),
            Disconnect(0x82),
        ),
        (
            refused(Refusal::ClientId(BadClientId::Empty)),
            Nobodys,
            Connack(2),
            Connack(0x85),
            Silence,
        ),
        // B-ERR-3
        (
            Cause::UpstreamOffence(malformed),
            Upstreams,
            Connack(3),
            Connack(0x88),
            Disconnect(0x80),
        ),
        // B-KEEP-4
        (
            Cause::Draining,
            Engines,
            Connack(3),
            Connack(0x88),
            Disconnect(0x8b),
        ),
        (
            Cause::ClosedByOperator,
            Engines,
            Connack(3),
            Connack(0x88),
            Disconnect(0x98),
        ),
        (
            Cause::KeepAliveTimeout,
            Nobodys,
            Silence,
            Silence,
            Disconnect(0x8d),
        ),
    ]
}

#[test]
fn every_cause_says_the_right_thing() {
    for (cause, _, v311, v5, established) in rows() {
        let connecting = |version| farewell(cause, Some(version), Phase::Connecting, SAID);
        assert_eq!(connecting(Version::V31), v311, "{cause:?}");
        assert_eq!(connecting(Version::V311), v311, "{cause:?}");
        assert_eq!(connecting(Version::V5), v5, "{cause:?}");
        for manners in [SAID, UNSAID] {
            let after = |version| farewell(cause, Some(version), Phase::Established, manners);
            assert_eq!(after(Version::V5), established, "{cause:?}");
            assert_eq!(after(Version::V311), Silence, "{cause:?}");
        }
    }
}

// B-CON-4, B-ID-2: each choice has its own say, and no other.
#[test]
fn b_con_4_what_passes_by_itself_only_closes_where_that_was_chosen() {
    for (cause, whose, v311, v5, _) in rows() {
        let choices = [
            (
                Whose::Upstreams,
                Manners {
                    upstream: Manner::Close,
                    ..SAID
                },
            ),
            (
                Whose::Engines,
                Manners {
                    engine: Manner::Close,
                    ..SAID
                },
            ),
            (
                Whose::Strangers,
                Manners {
                    stranger: Manner::Close,
                    ..SAID
                },
            ),
        ];
        for (closing, manners) in choices {
            for (version, said) in [
                (Version::V31, v311),
                (Version::V311, v311),
                (Version::V5, v5),
            ] {
                let expected = if closing == whose { Silence } else { said };
                let found = farewell(cause, Some(version), Phase::Connecting, manners);
                assert_eq!(found, expected, "{cause:?} {closing:?}");
            }
        }
    }
}

#[test]
fn b_con_4_a_broker_that_is_down_looks_like_one_unless_something_else_is_said() {
    let manners = Manners::default();
    assert_eq!(manners.of(Refusal::UpstreamUnreachable), Manner::Close);
    assert_eq!(manners.of(Refusal::Overload), Manner::Close);
    assert_eq!(manners.of(Refusal::UnknownAddress), Manner::Connack);
    for manner in [Manner::Close, Manner::Connack] {
        assert_eq!(manner.as_str().parse(), Ok(manner));
    }
    assert_eq!("Close".parse::<Manner>(), Err(NoManner));
}

#[test]
fn b_con_5_unreadable_versions_are_answered_in_the_nearest_one() {
    for manners in [SAID, UNSAID] {
        let refused = |refusal| farewell(Cause::Refused(refusal), None, Phase::Connecting, manners);
        assert_eq!(refused(Refusal::LevelTooHigh(6)), Connack(0x84));
        assert_eq!(refused(Refusal::LevelTooLow(2)), Connack(1));
        assert_eq!(refused(Refusal::SessionLimit), Silence);
    }
}
