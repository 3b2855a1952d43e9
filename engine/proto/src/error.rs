//! Errors by blame, and why sessions end. What each peer is told then is [`crate::farewell`]'s.

use alloc::borrow::ToOwned as _;
use alloc::format;
use alloc::string::{String, ToString as _};

use crate::limits::{KEEP_ALIVE_SECONDS_MAX, KEEP_ALIVE_SECONDS_MIN};
use crate::packet::Kind;
use crate::packet::codes::{connack, reason};

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

/// What is wrong with a client id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum BadClientId {
    /// It is empty, which the version does not allow.
    #[error("it is empty")]
    Empty,
    /// What is made of it for the upstream is longer than a field can be.
    #[error("it is too long for what is made of it")]
    TooLong,
}

/// Why a well-formed CONNECT is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// Protocol levels 0 to 2, or a level and name that do not belong together (B-CON-5): the level.
    LevelTooLow(u8),
    /// Protocol level 6 and above (B-CON-5): the level.
    LevelTooHigh(u8),
    /// A version that this platform version does not serve (B-509-1).
    UnsupportedVersion,
    /// A client id that cannot be served.
    ClientId(BadClientId),
    /// The address belongs to no SIM (B-ID-2).
    UnknownAddress,
    /// The SIM is in no group (B-ID-2).
    NoGroup,
    /// The group has no entry point (B-ID-2).
    NoEntryPoint,
    /// The entry point is disabled (B-ID-2).
    EntryPointDisabled,
    /// The keep alive is out of range (B-KEEP-1): what was asked for, in seconds.
    KeepAlive(u16),
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

/// Why a session or a connection ends: the log and the counters name it, [`crate::farewell::farewell`] acts on it.
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
    /// The upstream refused the CONNECT; its own CONNACK was handed on. The session knows what it said.
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
            Self::LevelTooLow(_) | Self::LevelTooHigh(_) => {
                (connack::UNACCEPTABLE_VERSION, reason::UNSUPPORTED_VERSION)
            }
            // B-509-1: as brokers that speak 3.1.1 alone answer a v5 device, which then falls back.
            Self::UnsupportedVersion => {
                (connack::UNACCEPTABLE_VERSION, connack::UNACCEPTABLE_VERSION)
            }
            Self::ClientId(_) => (connack::IDENTIFIER_REJECTED, reason::CLIENT_ID_NOT_VALID),
            Self::UnknownAddress
            | Self::NoGroup
            | Self::NoEntryPoint
            | Self::EntryPointDisabled
            | Self::KeepAlive(_) => (connack::NOT_AUTHORIZED, reason::NOT_AUTHORIZED),
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
            Self::LevelTooLow(_) => "refused_level_too_low",
            Self::LevelTooHigh(_) => "refused_level_too_high",
            Self::UnsupportedVersion => "refused_version",
            Self::ClientId(_) => "refused_client_id",
            Self::UnknownAddress => "refused_unknown_address",
            Self::NoGroup => "refused_no_group",
            Self::NoEntryPoint => "refused_no_entry_point",
            Self::EntryPointDisabled => "refused_entry_point_disabled",
            Self::KeepAlive(_) => "refused_keep_alive",
            Self::NoCredential => "refused_no_credential",
            Self::SessionLimit => "refused_session_limit",
            Self::Overload => "refused_overload",
            Self::SimSessionLimit => "refused_sim_session_limit",
            Self::UpstreamName => "refused_upstream_name",
            Self::UpstreamUnreachable => "refused_upstream_unreachable",
            Self::UpstreamTimeout => "refused_upstream_timeout",
            Self::UpstreamTls => "refused_upstream_tls",
            Self::UpstreamBusy => "refused_upstream_busy",
            Self::UpstreamClosed => "upstream_closed_before_connack",
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

    /// The offence behind it.
    fn offence(self) -> Option<Offence> {
        if let Self::DeviceOffence(offence)
        | Self::UpstreamOffence(offence)
        | Self::Refused(Refusal::UpstreamOffence(offence)) = self
        {
            Some(offence)
        } else {
            None
        }
    }

    /// What there is to know beside the name, for the log.
    #[must_use]
    pub fn detail(self) -> Option<String> {
        if let Self::Refused(Refusal::LevelTooLow(level) | Refusal::LevelTooHigh(level)) = self {
            return Some(format!("protocol level {level} (0x{level:02x})"));
        }
        if let Self::Refused(Refusal::ClientId(what)) = self {
            return Some(what.to_string());
        }
        if self == Self::Refused(Refusal::UnsupportedVersion) {
            return Some("201509 serves MQTT 3.1 and 3.1.1".to_owned());
        }
        if let Self::Refused(Refusal::KeepAlive(seconds)) = self {
            let (min, max) = (KEEP_ALIVE_SECONDS_MIN, KEEP_ALIVE_SECONDS_MAX);
            return Some(format!(
                "keep alive {seconds} s; 0 or {min} to {max} are served"
            ));
        }
        self.offence().map(|offence| offence.to_string())
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

#[cfg(test)]
mod tests {
    use super::*;

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
