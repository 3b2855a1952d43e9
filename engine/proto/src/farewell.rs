//! Farewell: the one function from why a session ends to what the device is told, and how that is written. Where a refusal passes by
//! itself, or is nothing that the device could mend, whoever runs the entry point has a choice ([`Manners`]).

use alloc::vec::Vec;
use core::str::FromStr;

use crate::error::{Cause, Phase, Refusal};
use crate::packet::Version;
use crate::packet::codes::reason;

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

/// What a refusal looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Manner {
    /// The connection ends without a CONNACK, as with a broker that is down.
    Close,
    /// A CONNACK says why.
    Connack,
}

/// What refusals look like, by whose they are (B-CON-4, B-ID-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Manners {
    /// The upstream cannot be had.
    pub upstream: Manner,
    /// The engine has no room or no time, or is about to stop.
    pub engine: Manner,
    /// Nobody is served there.
    pub stranger: Manner,
}

impl Manner {
    /// As it stands in configurations.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "close",
            Self::Connack => "connack",
        }
    }
}

/// No manner that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("neither close nor connack")]
pub struct NoManner;

impl FromStr for Manner {
    type Err = NoManner;

    fn from_str(text: &str) -> Result<Self, NoManner> {
        [Self::Close, Self::Connack]
            .into_iter()
            .find(|manner| manner.as_str() == text)
            .ok_or(NoManner)
    }
}

/// What holds where nothing is said: a library that gives up for ever after a CONNACK with an error comes back after a close.
impl Default for Manners {
    fn default() -> Self {
        Self {
            upstream: Manner::Close,
            engine: Manner::Close,
            stranger: Manner::Connack,
        }
    }
}

impl Manners {
    /// The same, with an entry point's say on its upstream.
    #[must_use]
    pub const fn with_upstream(self, upstream: Manner) -> Self {
        Self { upstream, ..self }
    }

    /// What a refusal looks like.
    #[must_use]
    pub const fn of(self, refusal: Refusal) -> Manner {
        match refusal {
            // It is the device's own doing, and it has to be told.
            Refusal::LevelTooLow(_)
            | Refusal::LevelTooHigh(_)
            | Refusal::UnsupportedVersion
            | Refusal::ClientId(_)
            | Refusal::KeepAlive(_) => Manner::Connack,
            // B-ID-2
            Refusal::UnknownAddress
            | Refusal::NoGroup
            | Refusal::NoEntryPoint
            | Refusal::EntryPointDisabled => self.stranger,
            // B-CON-4, B-CFG-4
            Refusal::NoCredential
            | Refusal::UpstreamName
            | Refusal::UpstreamUnreachable
            | Refusal::UpstreamTimeout
            | Refusal::UpstreamTls
            | Refusal::UpstreamClosed
            | Refusal::UpstreamOffence(_) => self.upstream,
            Refusal::SessionLimit
            | Refusal::Overload
            | Refusal::SimSessionLimit
            | Refusal::UpstreamBusy
            | Refusal::Draining => self.engine,
        }
    }
}

/// What the device is told when its session ends for `cause`. `version` is the one its CONNECT
/// spoke, if that was readable.
#[must_use]
pub fn farewell(
    cause: Cause,
    version: Option<Version>,
    phase: Phase,
    manners: Manners,
) -> Farewell {
    match phase {
        Phase::Connecting => farewell_connecting(cause, version, manners),
        Phase::Established if version == Some(Version::V5) => farewell_established(cause),
        Phase::Established => Farewell::Silence,
    }
}

fn farewell_connecting(cause: Cause, version: Option<Version>, manners: Manners) -> Farewell {
    let refusal = match cause {
        Cause::Refused(refusal) => refusal,
        Cause::UpstreamOffence(offence) => Refusal::UpstreamOffence(offence),
        Cause::UpstreamClosed
        | Cause::UpstreamReset
        | Cause::UpstreamTls
        | Cause::RenewalFailed
        | Cause::UpstreamStalled => Refusal::UpstreamClosed,
        // One connection that the operator closed may come back at once.
        Cause::Draining | Cause::ClosedByOperator => Refusal::Draining,
        Cause::EntryPointClosed => Refusal::EntryPointDisabled,
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
    if manners.of(refusal) == Manner::Close {
        return Farewell::Silence;
    }
    let (v3, v5) = refusal.connack_codes();
    match (version, refusal) {
        (Some(Version::V5), _) => Farewell::Connack(v5),
        (Some(Version::V31 | Version::V311), _) => Farewell::Connack(v3),
        // B-CON-5: whoever speaks a later version reads a v5 CONNACK, an earlier one that of 3.1.1.
        (None, Refusal::LevelTooHigh(_)) => Farewell::Connack(v5),
        (None, Refusal::LevelTooLow(_)) => Farewell::Connack(v3),
        (None, _) => Farewell::Silence,
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

/// Writes what a device is told at the end, in the version that has the code.
pub fn write_farewell(farewell: Farewell, bytes: &mut Vec<u8>) {
    match farewell {
        // B-CON-5: 0x80 and above are reason codes of v5.
        Farewell::Connack(code) if code >= 0x80 => {
            bytes.extend_from_slice(&[0x20, 3, 0, code, 0]);
        }
        // B-509-1: a v5 device is told so too, where only a broker of 3.1.1 would be met.
        Farewell::Connack(code) => bytes.extend_from_slice(&[0x20, 2, 0, code]),
        Farewell::Disconnect(code) => bytes.extend_from_slice(&[0xe0, 1, code]),
        Farewell::Silence => {}
    }
}

#[cfg(test)]
mod tests;
