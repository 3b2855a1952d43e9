//! Tap: what passes in the sessions of one SIM, as it came from each side and as it was sent on to the other, for whoever
//! looks at it while it happens.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use crossbeam_channel::Sender;
use ringbeam_proto::identity::{Identity, Imsi};
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;

use super::ConnectionId;

/// Something that a tap shows.
#[derive(Debug)]
pub struct TapEvent {
    /// Of which session.
    pub session: ConnectionId,
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// Events of this tap right before it that found no room.
    pub gap: u64,
    /// What.
    pub what: TapEventKind,
}

/// What a tap shows.
pub enum TapEventKind {
    /// A session begins, or is seen for the first time.
    Begun {
        /// Whose it is.
        identity: Identity,
        /// The network that the device came in by.
        network: Arc<str>,
        /// The device's address.
        peer: SocketAddr,
        /// The upstream's.
        upstream: SocketAddr,
        /// Whether the upstream is over TLS. What passes is shown in clear.
        over_tls: bool,
        /// The platform version.
        platform: Platform,
        /// The MQTT version of the device.
        device_version: Version,
        /// The MQTT version of the upstream.
        upstream_version: Version,
        /// Whether it was under way before: each stream is shown from its next packet on.
        is_under_way: bool,
    },
    /// Bytes passed. Each of a session's four streams (received and sent, on both legs) is in order.
    Passed {
        /// On this leg.
        leg: Side,
        /// This way.
        direction: TapDirection,
        /// Whether they begin with a packet. Where not, they go on where the stream's last ones ended; with a gap
        /// before them they are of no use until some do.
        begins_packet: bool,
        /// They are the CONNECT for the upstream, which may hold a password or a token. Whoever shows it masks those.
        holds_secrets: bool,
        /// As they are, at most [`crate::limits::TAP_EVENT_BYTES`].
        bytes: Bytes,
    },
    /// A session is gone.
    Ended {
        /// Why, as in the log.
        reason: &'static str,
    },
}

/// Which way bytes passed, as the engine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TapDirection {
    /// From the leg's peer, before anything was made of them.
    Received,
    /// To the leg's peer: what the other leg's bytes came to, and what the engine says itself.
    Sent,
}

/// What is to be shown to whom.
#[derive(Debug)]
pub(crate) struct TapRequest {
    /// Sessions of this SIM.
    pub(crate) imsi: Imsi,
    /// Until then, in milliseconds of the monotonic clock.
    pub(crate) until_ms: u64,
    /// Where to; when nobody receives any more it is over.
    pub(crate) events: Sender<TapEvent>,
    /// Whether anybody still looks, also while nothing passes.
    pub(crate) is_wanted: Weak<()>,
}

/// Somebody looks: the tap is over when this is dropped.
#[derive(Debug, Default)]
pub struct Tapping(Arc<()>);

impl Tapping {
    /// What the other side knows of it.
    pub(crate) fn watch(&self) -> Weak<()> {
        Arc::downgrade(&self.0)
    }
}

impl fmt::Debug for TapEventKind {
    /// Without what passed.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begun {
                identity,
                is_under_way,
                ..
            } => formatter
                .debug_struct("Begun")
                .field("imsi", &identity.imsi)
                .field("is_under_way", is_under_way)
                .finish_non_exhaustive(),
            Self::Passed {
                leg,
                direction,
                begins_packet,
                bytes,
                ..
            } => formatter
                .debug_struct("Passed")
                .field("leg", leg)
                .field("direction", direction)
                .field("begins_packet", begins_packet)
                .field("bytes", &bytes.len())
                .finish_non_exhaustive(),
            Self::Ended { reason } => formatter
                .debug_struct("Ended")
                .field("reason", reason)
                .finish(),
        }
    }
}
