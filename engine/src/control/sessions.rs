//! Sessions: which addresses SIMs have for now. First the registry; then the fleet that is in use; and whoever loses
//! an address loses its connections before another SIM has it (B-ID-4).

use std::sync::Arc;

use crossbeam_channel::{Receiver, RecvTimeoutError};
use ringbeam_proto::identity::Imsi;
use tracing::warn;

use super::limits::ENDING_PATIENCE;
use crate::fleet::Fleet;
use crate::registry::sessions::SessionChange;
use crate::server::Server;
use crate::shard::report::Imsis;

/// Has the fleet that is in use follow what the registry has.
pub(super) fn follow(server: &Server, changes: &[SessionChange]) {
    let snapshot = server.snapshot();
    let fleet = &snapshot.fleet;
    let mut losers = Imsis::default();
    for change in changes {
        match change {
            SessionChange::Released {
                network,
                block,
                imsi,
            } => {
                fleet.release(network, *block, imsi);
                losers.insert(*imsi);
            }
            SessionChange::Bound {
                network,
                block,
                imsi,
                ..
            } => {
                let holders = fleet.holders(network, *block).into_iter();
                let others: Vec<Imsi> = holders.filter(|holder| holder != imsi).collect();
                if !others.is_empty() {
                    // Until their connections are gone the address is nobody's.
                    fleet.withhold(network, *block);
                    losers.extend(others);
                }
            }
        }
    }
    if !losers.is_empty() {
        end_unallowed(server, losers);
    }
    bind(fleet, changes);
}

/// The last word on each address is what holds.
fn bind(fleet: &Fleet, changes: &[SessionChange]) {
    for change in changes {
        match change {
            SessionChange::Bound {
                network,
                block,
                imsi,
                imei,
                ..
            } => fleet.bind(network, *block, *imsi, *imei),
            SessionChange::Released {
                network,
                block,
                imsi,
            } => {
                fleet.release(network, *block, imsi);
            }
        }
    }
}

/// Ends the sessions of these SIMs that the fleet does not allow any more, and waits for it.
pub(super) fn end_unallowed(server: &Server, imsis: Imsis) {
    wait_for(&server.sims_changed(Arc::new(imsis)));
}

/// Ends all sessions of a SIM, and waits for it.
pub(super) fn end_all(server: &Server, imsi: Imsi) {
    wait_for(&server.end_sims(Arc::new(Imsis::from_iter([imsi]))));
}

fn wait_for(is_done: &Receiver<()>) {
    if is_done.recv_timeout(ENDING_PATIENCE) == Err(RecvTimeoutError::Timeout) {
        warn!("a shard has not answered yet; it ends the sessions as soon as it can");
    }
}
