//! Event: what happens to a SIM's connections, one by one, as it is logged.

use std::net::SocketAddr;
use std::sync::Arc;

use crossbeam_channel::Sender;
use ringbeam_proto::billing::Counts;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;

use super::ConnectionId;
use crate::fleet::DestinationKind;

/// Something that happened. It holds no secret.
#[derive(Clone, Debug)]
pub struct SimEvent {
    /// When, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// To whom; `None` where the address is nobody's.
    pub identity: Option<Identity>,
    /// The network that the device came in by.
    pub network: Arc<str>,
    /// The device's address.
    pub peer: SocketAddr,
    /// What.
    pub what: SimEventKind,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum SimEventKind {
    /// A connection ended before it became a session.
    Refused {
        /// The MQTT version of its CONNECT, where that was read.
        device_version: Option<Version>,
        /// Why, as in the log and in figures.
        reason: &'static str,
        /// More about it.
        detail: Option<String>,
    },
    /// A session's CONNACK has come.
    Established {
        /// Its name.
        id: ConnectionId,
        /// The platform version.
        platform: Platform,
        /// The MQTT version of the device.
        device_version: Version,
        /// What kind of destination it has.
        destination: DestinationKind,
        /// The upstream's address.
        upstream: SocketAddr,
        /// Milliseconds from its CONNECT on.
        took_ms: u64,
    },
    /// A session ended, established or not.
    Ended {
        /// Its name.
        id: ConnectionId,
        /// Whether its CONNACK had come.
        was_established: bool,
        /// Why, as in the log and in figures.
        reason: &'static str,
        /// More about it.
        detail: Option<String>,
        /// Milliseconds from its CONNECT on.
        duration_ms: u64,
        /// Packets billed in all.
        counts: Counts,
    },
}

/// Tells events to whoever wants to hear them.
#[derive(Debug)]
pub(in crate::shard) struct Teller(Option<Sender<SimEvent>>);

impl Teller {
    pub(in crate::shard) const fn new(events: Option<Sender<SimEvent>>) -> Self {
        Self(events)
    }

    /// Tells an event, which is made only if somebody wants it. False where too many wait.
    pub(in crate::shard) fn tell(&mut self, event: impl FnOnce() -> SimEvent) -> bool {
        let Some(events) = &self.0 else {
            return true;
        };
        match events.try_send(event()) {
            Ok(()) => true,
            Err(refused) if refused.is_full() => false,
            Err(_) => {
                // Nobody will ever want one again.
                self.0 = None;
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_channel::bounded;

    fn event() -> SimEvent {
        SimEvent {
            at_unix_ms: 1,
            identity: None,
            network: "default".into(),
            peer: SocketAddr::from(([10, 0, 0, 1], 1)),
            what: SimEventKind::Refused {
                device_version: None,
                reason: "connect_timeout",
                detail: None,
            },
        }
    }

    #[test]
    fn an_event_that_finds_no_room_is_lost_and_that_is_known() {
        assert!(Teller::new(None).tell(|| panic!("nobody wants it")));
        let (sender, receiver) = bounded(1);
        let mut teller = Teller::new(Some(sender));
        assert_eq!([teller.tell(event), teller.tell(event)], [true, false]);
        receiver.try_recv().unwrap();
        assert!(teller.tell(event));
        drop(receiver);
        assert!(teller.tell(event));
        assert!(teller.tell(|| panic!("nobody wants it")));
    }
}
