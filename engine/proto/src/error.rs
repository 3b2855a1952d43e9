//! Errors by blame, and the one function from why a session ends to what each peer is told.

use crate::packet::{Kind, Version};

/// Bytes that are no packet of the sender's MQTT version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Malformed {
    /// A packet type that the version does not define.
    #[error("packet type {0} does not exist")]
    UnknownKind(u8),
    /// Flags of the fixed header that the packet type does not allow.
    #[error("fixed header flags not allowed")]
    HeaderFlags,
    /// A variable byte integer beyond four bytes, or longer than its value needs.
    #[error("variable byte integer too long")]
    VarintOverlong,
    /// A field ends after its packet.
    #[error("packet ends inside a field")]
    Truncated,
    /// Bytes after the last field.
    #[error("bytes after the last field")]
    TrailingBytes,
    /// A string that is not UTF-8, or holds NUL.
    #[error("string is not legal UTF-8")]
    Utf8,
    /// A quality of service of 3.
    #[error("quality of service 3")]
    Qos,
    /// A reserved bit that is set, or a reserved value.
    #[error("reserved bits set")]
    ReservedBits,
    /// CONNECT flags that contradict each other.
    #[error("contradicting CONNECT flags")]
    ConnectFlags,
    /// A protocol name that is not MQTT's.
    #[error("not MQTT's protocol name")]
    ProtocolName,
    /// A property that does not exist, behind which nothing can be read.
    #[error("property 0x{0:02x} does not exist")]
    Property(u8),
}

/// A well-formed packet that its sender must not send, or not now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Forbidden {
    /// The first packet is not the one that opens a session.
    #[error("the first packet is no {0:?}")]
    FirstPacket(Kind),
    /// A packet type that this side never sends, or not in this phase (B-CON-3).
    #[error("{0:?} is not allowed from this side now")]
    Kind(Kind),
    /// A topic that must not be published to (B-TOP-5).
    #[error("topic name not legal")]
    TopicName,
    /// A topic filter that rewriting makes too long (B-TOP-5).
    #[error("topic filter too long")]
    TopicFilter,
    /// A topic alias, which the device was not offered (B-TOK-1).
    #[error("topic alias not offered")]
    TopicAlias,
    /// A packet beyond what is accepted, or what the upstream accepts after rewriting (B-ERR-5, B-TOP-5).
    #[error("packet too large")]
    TooLarge,
}

/// What a peer did wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Offence {
    /// Bytes that are no packet.
    #[error("malformed: {0}")]
    Malformed(#[from] Malformed),
    /// A packet that is not allowed.
    #[error("forbidden: {0}")]
    Forbidden(#[from] Forbidden),
}

/// Why a well-formed CONNECT is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Protocol levels 0 to 2, or a level and name that do not belong together (B-CON-5).
    LevelTooLow,
    /// Protocol level 6 and above (B-CON-5).
    LevelTooHigh,
    /// A version that this platform version does not serve (B-509-1).
    UnsupportedVersion,
    /// A client id that the version does not allow.
    ClientId,
    /// The address belongs to no SIM (B-ID-2).
    UnknownAddress,
    /// The SIM is in no group (B-ID-2).
    NoGroup,
    /// The group has no entry point (B-ID-2).
    NoEntryPoint,
    /// The entry point is disabled (B-ID-2).
    EntryPointDisabled,
    /// The keep alive is out of range (B-KEEP-1).
    KeepAlive,
    /// The credential that the SIM needs is not there (B-CFG-4).
    NoCredential,
    /// No more sessions fit.
    SessionLimit,
    /// There is more to do than can be done in time.
    Overload,
    /// No more sessions of this SIM are allowed (B-ID-5).
    SimSessionLimit,
    /// The upstream's name does not resolve (B-CON-4).
    UpstreamName,
    /// The upstream refuses or cannot be reached (B-CON-4).
    UpstreamUnreachable,
    /// The upstream did not answer in time (B-CON-4).
    UpstreamTimeout,
    /// The upstream's TLS handshake failed (B-CON-4).
    UpstreamTls,
    /// Too many connections to the upstream wait for their turn.
    UpstreamBusy,
    /// The upstream closed before its CONNACK (B-CON-4).
    UpstreamClosed,
    /// The upstream's answer was no CONNACK (B-ERR-3).
    UpstreamOffence(Offence),
    /// The entry point is shutting down.
    Draining,
}

/// Why a session or a connection ends: the log and the counters name it, [`farewell`] acts on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The device sent DISCONNECT.
    DeviceDisconnect,
    /// The device closed without one.
    DeviceClosed,
    /// The device's connection broke.
    DeviceReset,
    /// The device sent what it must not (B-ERR-1).
    DeviceOffence(Offence),
    /// The device's CONNECT did not arrive in time (B-CON-3).
    ConnectTimeout,
    /// The device was silent beyond its keep alive (B-KEEP-2).
    KeepAliveTimeout,
    /// Nothing moved for 30 minutes (B-KEEP-3).
    IdleTimeout,
    /// The device took nothing for too long (B-KEEP-5).
    DeviceStalled,
    /// The upstream sent DISCONNECT.
    UpstreamDisconnect,
    /// The upstream refused the CONNECT; its own CONNACK was handed on.
    UpstreamRefused,
    /// The upstream closed.
    UpstreamClosed,
    /// The upstream's connection broke.
    UpstreamReset,
    /// The upstream broke TLS.
    UpstreamTls,
    /// The upstream leg could not be renewed without keeping something from the device.
    RenewalFailed,
    /// A newer session of the SIM, the same client to the same upstream, was accepted there (B-TOK-2).
    TakenOver,
    /// The upstream sent what it must not (B-ERR-3).
    UpstreamOffence(Offence),
    /// The upstream took nothing for too long (B-KEEP-5).
    UpstreamStalled,
    /// The CONNECT was refused.
    Refused(Refusal),
    /// The operator stops or restarts the entry point (B-KEEP-4).
    Draining,
    /// The operator disabled or removed the entry point (B-CFG-5).
    EntryPointClosed,
    /// The operator closed this one session (B-KEEP-4).
    ClosedByOperator,
    /// The SIM's session ended, or its address is another's (B-ID-4).
    SimSessionEnded,
    /// The operator ends at once.
    Stopped,
    /// Memory for large packet heads ran out (B-ERR-5).
    HeadMemory,
    /// Places were short, and its CONNECT was not here, or its address was nobody's.
    MadeRoom,
    /// Memory for what waits while a side takes nothing ran out, and this session had most of it (B-TOP-6).
    WaitingExhausted,
}

/// How far the device's handshake is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The device awaits its CONNACK.
    Connecting,
    /// It has it.
    Established,
}

/// What one peer is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Farewell {
    /// A CONNACK with this reason code of v5, or below 0x80 return code of 3.1 and 3.1.1.
    Connack(u8),
    /// A v5 DISCONNECT with this reason code.
    Disconnect(u8),
    /// Nothing.
    Silence,
}

impl Forbidden {
    /// The v5 reason code.
    #[must_use]
    pub fn reason_code(self) -> u8 {
        match self {
            Self::TopicName => reason::TOPIC_NAME_INVALID,
            Self::TopicFilter => reason::TOPIC_FILTER_INVALID,
            Self::TopicAlias => reason::TOPIC_ALIAS_INVALID,
            Self::TooLarge => reason::PACKET_TOO_LARGE,
            Self::FirstPacket(_) | Self::Kind(_) => reason::PROTOCOL_ERROR,
        }
    }
}

impl Offence {
    /// The v5 reason code.
    #[must_use]
    pub fn reason_code(self) -> u8 {
        match self {
            Self::Malformed(_) => reason::MALFORMED_PACKET,
            Self::Forbidden(forbidden) => forbidden.reason_code(),
        }
    }
}

impl Refusal {
    /// The CONNACK codes: for devices of MQTT 3.1 and 3.1.1, and of 5. Below 0x80 it is a return code of 3.1.1.
    #[must_use]
    pub fn connack_codes(self) -> (u8, u8) {
        match self {
            Self::LevelTooLow | Self::LevelTooHigh => {
                (connack::UNACCEPTABLE_VERSION, reason::UNSUPPORTED_VERSION)
            }
            // B-509-1: as brokers that speak 3.1.1 alone answer a v5 device, which then falls back.
            Self::UnsupportedVersion => {
                (connack::UNACCEPTABLE_VERSION, connack::UNACCEPTABLE_VERSION)
            }
            Self::ClientId => (connack::IDENTIFIER_REJECTED, reason::CLIENT_ID_NOT_VALID),
            Self::UnknownAddress
            | Self::NoGroup
            | Self::NoEntryPoint
            | Self::EntryPointDisabled
            | Self::KeepAlive => (connack::NOT_AUTHORIZED, reason::NOT_AUTHORIZED),
            Self::SimSessionLimit => (connack::SERVER_UNAVAILABLE, reason::QUOTA_EXCEEDED),
            Self::Overload => (connack::SERVER_UNAVAILABLE, reason::SERVER_BUSY),
            Self::NoCredential
            | Self::SessionLimit
            | Self::UpstreamName
            | Self::UpstreamUnreachable
            | Self::UpstreamTimeout
            | Self::UpstreamTls
            | Self::UpstreamBusy
            | Self::UpstreamClosed
            | Self::UpstreamOffence(_)
            | Self::Draining => (connack::SERVER_UNAVAILABLE, reason::SERVER_UNAVAILABLE),
        }
    }

    /// The name in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::LevelTooLow => "refused_level_too_low",
            Self::LevelTooHigh => "refused_level_too_high",
            Self::UnsupportedVersion => "refused_version",
            Self::ClientId => "refused_client_id",
            Self::UnknownAddress => "refused_unknown_address",
            Self::NoGroup => "refused_no_group",
            Self::NoEntryPoint => "refused_no_entry_point",
            Self::EntryPointDisabled => "refused_entry_point_disabled",
            Self::KeepAlive => "refused_keep_alive",
            Self::NoCredential => "refused_no_credential",
            Self::SessionLimit => "refused_session_limit",
            Self::Overload => "refused_overload",
            Self::SimSessionLimit => "refused_sim_session_limit",
            Self::UpstreamName => "refused_upstream_name",
            Self::UpstreamUnreachable => "refused_upstream_unreachable",
            Self::UpstreamTimeout => "refused_upstream_timeout",
            Self::UpstreamTls => "refused_upstream_tls",
            Self::UpstreamBusy => "refused_upstream_busy",
            Self::UpstreamClosed => "refused_upstream_closed",
            Self::UpstreamOffence(_) => "refused_upstream_offence",
            Self::Draining => "refused_draining",
        }
    }
}

impl Cause {
    /// The name in logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeviceDisconnect => "device_disconnect",
            Self::DeviceClosed => "device_closed",
            Self::DeviceReset => "device_reset",
            Self::DeviceOffence(Offence::Malformed(_)) => "device_malformed",
            Self::DeviceOffence(Offence::Forbidden(_)) => "device_forbidden",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAliveTimeout => "keep_alive_timeout",
            Self::IdleTimeout => "idle_timeout",
            Self::DeviceStalled => "device_stalled",
            Self::UpstreamDisconnect => "upstream_disconnect",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamReset => "upstream_reset",
            Self::UpstreamTls => "upstream_tls",
            Self::RenewalFailed => "renewal_failed",
            Self::TakenOver => "taken_over",
            Self::UpstreamOffence(_) => "upstream_offence",
            Self::UpstreamStalled => "upstream_stalled",
            Self::Refused(refusal) => refusal.name(),
            Self::Draining => "draining",
            Self::EntryPointClosed => "entry_point_closed",
            Self::ClosedByOperator => "closed_by_operator",
            Self::SimSessionEnded => "sim_session_ended",
            Self::Stopped => "stopped",
            Self::HeadMemory => "head_memory",
            Self::MadeRoom => "made_room",
            Self::WaitingExhausted => "waiting_exhausted",
        }
    }

    /// The offence behind it, for the log.
    #[must_use]
    pub fn offence(self) -> Option<Offence> {
        if let Self::DeviceOffence(offence)
        | Self::UpstreamOffence(offence)
        | Self::Refused(Refusal::UpstreamOffence(offence)) = self
        {
            Some(offence)
        } else {
            None
        }
    }

    /// Whether both connections are cut at once, without what may still be under way.
    #[must_use]
    pub fn is_abrupt(self) -> bool {
        matches!(
            self,
            Self::SimSessionEnded | Self::Stopped | Self::DeviceStalled | Self::MadeRoom
        )
    }

    /// B-KEEP-4: whether the upstream gets a DISCONNECT of ours, so that no will fires.
    #[must_use]
    pub fn disconnects_upstream(self) -> bool {
        matches!(
            self,
            Self::Draining | Self::EntryPointClosed | Self::ClosedByOperator
        )
    }
}

/// What the device is told when its session ends for `cause`. `version` is the one its CONNECT
/// spoke, if that was readable.
#[must_use]
pub fn farewell(cause: Cause, version: Option<Version>, phase: Phase) -> Farewell {
    match phase {
        Phase::Connecting => farewell_connecting(cause, version),
        Phase::Established if version == Some(Version::V5) => farewell_established(cause),
        Phase::Established => Farewell::Silence,
    }
}

fn farewell_connecting(cause: Cause, version: Option<Version>) -> Farewell {
    let refusal = match cause {
        Cause::Refused(refusal) => refusal,
        Cause::UpstreamOffence(offence) => Refusal::UpstreamOffence(offence),
        Cause::UpstreamClosed
        | Cause::UpstreamReset
        | Cause::UpstreamTls
        | Cause::RenewalFailed
        | Cause::UpstreamStalled => Refusal::UpstreamClosed,
        Cause::Draining => Refusal::Draining,
        Cause::EntryPointClosed | Cause::ClosedByOperator => Refusal::EntryPointDisabled,
        Cause::DeviceOffence(offence) => {
            return match version {
                Some(Version::V5) => Farewell::Connack(offence.reason_code()),
                _ => Farewell::Silence,
            };
        }
        Cause::HeadMemory | Cause::WaitingExhausted => Refusal::SessionLimit,
        Cause::DeviceDisconnect
        | Cause::DeviceClosed
        | Cause::DeviceReset
        | Cause::ConnectTimeout
        | Cause::KeepAliveTimeout
        | Cause::IdleTimeout
        | Cause::DeviceStalled
        | Cause::UpstreamDisconnect
        | Cause::UpstreamRefused
        | Cause::TakenOver
        | Cause::SimSessionEnded
        | Cause::Stopped
        | Cause::MadeRoom => return Farewell::Silence,
    };
    let (v3, v5) = refusal.connack_codes();
    match version {
        Some(Version::V5) => Farewell::Connack(v5),
        Some(Version::V31 | Version::V311) => Farewell::Connack(v3),
        // B-CON-5: whoever speaks a later version reads a v5 CONNACK, an earlier one that of 3.1.1.
        None if refusal == Refusal::LevelTooHigh => Farewell::Connack(v5),
        None if refusal == Refusal::LevelTooLow => Farewell::Connack(v3),
        None => Farewell::Silence,
    }
}

fn farewell_established(cause: Cause) -> Farewell {
    match cause {
        Cause::DeviceOffence(offence) => Farewell::Disconnect(offence.reason_code()),
        Cause::KeepAliveTimeout | Cause::IdleTimeout => {
            Farewell::Disconnect(reason::KEEP_ALIVE_TIMEOUT)
        }
        Cause::UpstreamOffence(_)
        | Cause::UpstreamClosed
        | Cause::UpstreamReset
        | Cause::UpstreamTls
        | Cause::RenewalFailed
        | Cause::UpstreamStalled => Farewell::Disconnect(reason::UNSPECIFIED_ERROR),
        Cause::Draining => Farewell::Disconnect(reason::SERVER_SHUTTING_DOWN),
        Cause::EntryPointClosed | Cause::ClosedByOperator => {
            Farewell::Disconnect(reason::ADMINISTRATIVE_ACTION)
        }
        Cause::HeadMemory | Cause::WaitingExhausted => Farewell::Disconnect(reason::QUOTA_EXCEEDED),
        Cause::TakenOver => Farewell::Disconnect(reason::SESSION_TAKEN_OVER),
        Cause::DeviceDisconnect
        | Cause::DeviceClosed
        | Cause::DeviceReset
        | Cause::ConnectTimeout
        | Cause::DeviceStalled
        | Cause::UpstreamDisconnect
        | Cause::UpstreamRefused
        | Cause::Refused(_)
        | Cause::SimSessionEnded
        | Cause::Stopped
        | Cause::MadeRoom => Farewell::Silence,
    }
}

/// CONNACK return codes of MQTT 3.1 and 3.1.1 (section 3.2.2.3).
mod connack {
    pub(super) const UNACCEPTABLE_VERSION: u8 = 1;
    pub(super) const IDENTIFIER_REJECTED: u8 = 2;
    pub(super) const SERVER_UNAVAILABLE: u8 = 3;
    pub(super) const NOT_AUTHORIZED: u8 = 5;
}

/// Reason codes of MQTT 5 (section 2.4).
mod reason {
    pub(super) const UNSPECIFIED_ERROR: u8 = 0x80;
    pub(super) const MALFORMED_PACKET: u8 = 0x81;
    pub(super) const PROTOCOL_ERROR: u8 = 0x82;
    pub(super) const UNSUPPORTED_VERSION: u8 = 0x84;
    pub(super) const CLIENT_ID_NOT_VALID: u8 = 0x85;
    pub(super) const NOT_AUTHORIZED: u8 = 0x87;
    pub(super) const SERVER_UNAVAILABLE: u8 = 0x88;
    pub(super) const SERVER_BUSY: u8 = 0x89;
    pub(super) const SERVER_SHUTTING_DOWN: u8 = 0x8b;
    pub(super) const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
    pub(super) const SESSION_TAKEN_OVER: u8 = 0x8e;
    pub(super) const TOPIC_FILTER_INVALID: u8 = 0x8f;
    pub(super) const TOPIC_NAME_INVALID: u8 = 0x90;
    pub(super) const TOPIC_ALIAS_INVALID: u8 = 0x94;
    pub(super) const PACKET_TOO_LARGE: u8 = 0x95;
    pub(super) const QUOTA_EXCEEDED: u8 = 0x97;
    pub(super) const ADMINISTRATIVE_ACTION: u8 = 0x98;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::too_many_lines, reason = "one table, cited by rule")]
    fn every_cause_says_the_right_thing() {
        use Farewell::{Connack, Disconnect, Silence};
        let malformed = Offence::from(Malformed::Truncated);
        let twice = Offence::from(Forbidden::Kind(Kind::Connect));
        // Cause, then what 3.1.1 and 5 are told before the CONNACK, then what 5 is told after it.
        let rows = [
            // B-ID-2
            (
                Cause::Refused(Refusal::UnknownAddress),
                Connack(5),
                Connack(0x87),
                Silence,
            ),
            (
                Cause::Refused(Refusal::NoGroup),
                Connack(5),
                Connack(0x87),
                Silence,
            ),
            (
                Cause::Refused(Refusal::NoEntryPoint),
                Connack(5),
                Connack(0x87),
                Silence,
            ),
            (
                Cause::Refused(Refusal::EntryPointDisabled),
                Connack(5),
                Connack(0x87),
                Silence,
            ),
            // B-KEEP-1
            (
                Cause::Refused(Refusal::KeepAlive),
                Connack(5),
                Connack(0x87),
                Silence,
            ),
            // B-CON-4
            (
                Cause::Refused(Refusal::UpstreamUnreachable),
                Connack(3),
                Connack(0x88),
                Silence,
            ),
            (
                Cause::Refused(Refusal::UpstreamTimeout),
                Connack(3),
                Connack(0x88),
                Silence,
            ),
            (
                Cause::UpstreamClosed,
                Connack(3),
                Connack(0x88),
                Disconnect(0x80),
            ),
            // B-TOK-2
            (Cause::TakenOver, Silence, Silence, Disconnect(0x8e)),
            // B-509-1
            (
                Cause::Refused(Refusal::UnsupportedVersion),
                Connack(1),
                Connack(1),
                Silence,
            ),
            // B-ERR-1
            (
                Cause::DeviceOffence(malformed),
                Silence,
                Connack(0x81),
                Disconnect(0x81),
            ),
            (
                Cause::DeviceOffence(twice),
                Silence,
                Connack(0x82),
                Disconnect(0x82),
            ),
            (
                Cause::Refused(Refusal::ClientId),
                Connack(2),
                Connack(0x85),
                Silence,
            ),
            // B-ERR-3
            (
                Cause::UpstreamOffence(malformed),
                Connack(3),
                Connack(0x88),
                Disconnect(0x80),
            ),
            // B-KEEP-4
            (Cause::Draining, Connack(3), Connack(0x88), Disconnect(0x8b)),
            (
                Cause::EntryPointClosed,
                Connack(5),
                Connack(0x87),
                Disconnect(0x98),
            ),
            (Cause::KeepAliveTimeout, Silence, Silence, Disconnect(0x8d)),
        ];
        for (cause, v311, v5, established) in rows {
            let connecting = |version| farewell(cause, Some(version), Phase::Connecting);
            assert_eq!(connecting(Version::V31), v311, "{cause:?}");
            assert_eq!(connecting(Version::V311), v311, "{cause:?}");
            assert_eq!(connecting(Version::V5), v5, "{cause:?}");
            let after = |version| farewell(cause, Some(version), Phase::Established);
            assert_eq!(after(Version::V5), established, "{cause:?}");
            assert_eq!(after(Version::V311), Silence, "{cause:?}");
        }
    }

    #[test]
    fn b_con_5_unreadable_versions_are_answered_in_the_nearest_one() {
        let refused = |refusal| farewell(Cause::Refused(refusal), None, Phase::Connecting);
        assert_eq!(refused(Refusal::LevelTooHigh), Farewell::Connack(0x84));
        assert_eq!(refused(Refusal::LevelTooLow), Farewell::Connack(1));
    }

    #[test]
    fn b_keep_4_only_the_operators_acts_disconnect_upstream() {
        assert!(Cause::Draining.disconnects_upstream());
        assert!(Cause::EntryPointClosed.disconnects_upstream());
        assert!(Cause::ClosedByOperator.disconnects_upstream());
        for cause in [
            Cause::DeviceClosed,
            Cause::DeviceReset,
            Cause::KeepAliveTimeout,
            Cause::IdleTimeout,
            Cause::SimSessionEnded,
            Cause::DeviceOffence(Malformed::Utf8.into()),
        ] {
            assert!(!cause.disconnects_upstream(), "{cause:?}");
        }
    }
}
