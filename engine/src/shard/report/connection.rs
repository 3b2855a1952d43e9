//! Connection: a session as whoever runs the engine sees it, its name, and which ones are asked for.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;

use ringbeam_proto::billing::Counts;
use ringbeam_proto::identity::{Identity, Imsi};
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;

use crate::fleet::DestinationKind;
use crate::shard::relay::FlowId;

/// Names a session for the life of the process: three numbers, `0-17-42` as text. In their order sessions are
/// listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId {
    shard: u32,
    pub(in crate::shard) flow: FlowId,
}

/// A text that names no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the id of a connection; one is three numbers as in 0-17-42")]
pub struct InvalidConnectionId;

/// Which sessions are listed.
#[derive(Clone, Debug)]
pub struct ConnectionFilter {
    /// Of this SIM.
    pub imsi: Option<Imsi>,
    /// That came in by this network.
    pub network: Option<Arc<str>>,
    /// Behind this one: the last one of the page before.
    pub after: Option<ConnectionId>,
    /// So many of each shard at most, and never more than [`crate::limits::CONNECTIONS_LISTED`].
    pub limit: usize,
}

/// Sessions of one shard.
#[derive(Clone, Debug)]
pub struct ConnectionPage {
    /// Which one.
    pub shard: usize,
    /// In the order of their ids.
    pub connections: Vec<LiveConnection>,
    /// Whether there are no more behind these.
    pub is_complete: bool,
}

/// A session that is relayed, from its upstream's connection on.
#[derive(Clone, Debug)]
pub struct LiveConnection {
    /// Its name.
    pub id: ConnectionId,
    /// Whose it is.
    pub identity: Identity,
    /// The network that the device came in by.
    pub network: Arc<str>,
    /// The device's address.
    pub peer: SocketAddr,
    /// The upstream's.
    pub upstream: SocketAddr,
    /// What kind of destination it goes on to.
    pub destination: DestinationKind,
    /// The platform version.
    pub platform: Platform,
    /// The MQTT version of the device.
    pub device_version: Version,
    /// The MQTT version of the upstream.
    pub upstream_version: Version,
    /// Whether the upstream is over TLS.
    pub over_tls: bool,
    /// Whether its CONNACK has come.
    pub is_established: bool,
    /// When its CONNECT was served, in milliseconds since the Unix epoch.
    pub opened_unix_ms: i64,
    /// Packets billed so far.
    pub counts: Counts,
}

impl ConnectionId {
    pub(in crate::shard) fn new(shard: usize, flow: FlowId) -> Self {
        Self {
            shard: u32::try_from(shard).unwrap_or(u32::MAX),
            flow,
        }
    }

    /// The shard that has it.
    #[must_use]
    pub const fn shard(self) -> usize {
        self.shard as usize
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FlowId { index, generation } = self.flow;
        write!(formatter, "{}-{index}-{generation}", self.shard)
    }
}

impl FromStr for ConnectionId {
    type Err = InvalidConnectionId;

    fn from_str(text: &str) -> Result<Self, InvalidConnectionId> {
        let mut parts = text.split('-').map(|part| {
            let is_plain = part.bytes().all(|byte| byte.is_ascii_digit());
            part.parse().ok().filter(|_| is_plain)
        });
        let mut next = || parts.next().flatten().ok_or(InvalidConnectionId);
        let (shard, index, generation) = (next()?, next()?, next()?);
        match parts.next() {
            Some(_) => Err(InvalidConnectionId),
            None => Ok(Self {
                shard,
                flow: FlowId { index, generation },
            }),
        }
    }
}

impl ConnectionFilter {
    /// The first place of a shard that is asked about; `None` where none is.
    pub(in crate::shard) fn first_place(&self, shard: usize) -> Option<u32> {
        match self.after {
            Some(after) if after.shard() > shard => None,
            Some(after) if after.shard() == shard => after.flow.index.checked_add(1),
            Some(_) | None => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_text_and_come_back() {
        let id: ConnectionId = "3-17-42".parse().unwrap();
        assert_eq!((id.shard(), id.to_string().as_str()), (3, "3-17-42"));
        for bad in [
            "",
            "3",
            "3-17",
            "3-17-42-1",
            "3-17-x",
            "-3-17",
            "3-+17-42",
            "3--42",
        ] {
            assert_eq!(
                bad.parse::<ConnectionId>(),
                Err(InvalidConnectionId),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_page_goes_on_behind_the_last_one() {
        let filter = ConnectionFilter {
            imsi: None,
            network: None,
            after: Some("1-17-42".parse().unwrap()),
            limit: 10,
        };
        let places = [0, 1, 2].map(|shard| filter.first_place(shard));
        assert_eq!(places, [None, Some(18), Some(0)]);
    }
}
