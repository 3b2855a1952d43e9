//! Dial: from a destination's name to an open connection (B-CON-4): the name's addresses, a slot in the
//! destination's pace, and a race between the addresses.

mod race;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringbeam_proto::error::{Cause, Refusal};

use self::race::{Means, Race};
use crate::fleet::Destination;
use crate::shard::connections::{Connection, Interrupt};
use crate::shard::pace::Rate;
use crate::shard::{Settings, Shard};
use crate::sys::clock::now_ms;
use crate::sys::socket::Socket;

/// What is connected to, and how.
pub(super) struct Target<'a> {
    host: &'a Arc<str>,
    port: u16,
    settings: &'a Settings,
}

/// Why there is no connection: what the device is told, and what the log says beside it.
pub(super) struct NotReached {
    pub(super) cause: Cause,
    pub(super) detail: Option<String>,
}

impl<'a> Target<'a> {
    pub(super) fn new(destination: &'a Destination, settings: &'a Settings) -> Self {
        Self {
            host: &destination.host,
            port: destination.port,
            settings,
        }
    }

    fn refused(&self, refusal: Refusal, why: impl std::fmt::Display) -> NotReached {
        NotReached {
            cause: Cause::Refused(refusal),
            detail: Some(format!("{}:{}: {why}", self.host, self.port)),
        }
    }

    fn interrupted(&self, interrupt: Interrupt, late: impl std::fmt::Display) -> NotReached {
        match interrupt {
            Interrupt::Due => self.refused(Refusal::UpstreamTimeout, late),
            Interrupt::End(cause) => NotReached {
                cause,
                detail: None,
            },
        }
    }
}

/// An open connection.
pub(super) struct Dialed {
    pub(super) socket: Socket,
    /// Where to.
    pub(super) address: SocketAddr,
    /// Whether the name has other addresses.
    pub(super) has_others: bool,
}

/// Connects to the upstream. The connection's deadline is armed already, for `deadline_ms`.
///
/// # Errors
/// With why the session ends.
pub(super) async fn dial(
    shard: &Shard,
    connection: &Rc<Connection>,
    target: &Target<'_>,
    deadline_ms: u64,
) -> Result<Dialed, NotReached> {
    let addresses = connection
        .guard(shard.resolver.resolve(target.host, target.port))
        .await
        .map_err(|interrupt| target.interrupted(interrupt, "the name was not looked up in time"))?
        .map_err(|error| target.refused(Refusal::UpstreamName, error))?;
    let now = now_ms();
    let rate = Rate {
        per_second: target.settings.connects_per_second,
        // As much time as it waits is left for the upstream to answer.
        patience_ms: deadline_ms.saturating_sub(now) / 2,
    };
    let wait = shard
        .pace
        .take(target.host, target.port, rate, now)
        .map_err(|crowded| target.refused(Refusal::UpstreamBusy, crowded))?;
    if !wait.is_zero() {
        connection
            .guard(monoio::time::sleep(wait))
            .await
            .map_err(|interrupt| target.interrupted(interrupt, "its turn came too late"))?;
    }
    let means = Means {
        addresses: &shard.addresses,
        spare: &shard.spare,
        sources: &target.settings.source_addresses,
        patience: Duration::from_millis(target.settings.stall_timeout_ms),
    };
    let mut race = Race::new(means, &addresses, deadline_ms);
    match connection.guard(race.run()).await {
        Ok(Some((socket, address))) => Ok(Dialed {
            socket,
            address,
            has_others: addresses.len() > 1,
        }),
        Ok(None) => Err(target.refused(Refusal::UpstreamUnreachable, race.report())),
        Err(interrupt) => {
            race.give_up();
            Err(target.interrupted(interrupt, race.report()))
        }
    }
}
