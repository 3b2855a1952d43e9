//! Sessions: which addresses SIMs have for now. First the registry; then the fleet that is in use; and whoever loses
//! an address loses its connections before another SIM has it (B-ID-4).

use std::sync::Arc;

use ahash::RandomState;
use crossbeam_channel::{Receiver, RecvTimeoutError};
use hashbrown::HashMap;
use ipnet::IpNet;
use ringbeam_proto::identity::Imsi;
use tracing::warn;

use super::limits::ENDING_PATIENCE;
use crate::fleet::{Fleet, Taken};
use crate::radius::Act;
use crate::registry::sessions::{SessionAct, SessionChange, SessionEvent};
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
    // B-ID-8: whoever was quicker than its session has waited for this.
    server.addresses_given(changes.iter().filter_map(|change| match change {
        SessionChange::Bound { network, block, .. } => Some((network, *block)),
        SessionChange::Released { .. } => None,
    }));
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

/// What these changes take from whom, as far as the fleet does not follow them. The last word on each address counts.
pub(super) fn taken(fleet: &Fleet, changes: &[SessionChange]) -> Taken {
    let mut last: HashMap<(&str, IpNet), Option<Imsi>, RandomState> = HashMap::default();
    for change in changes {
        match change {
            SessionChange::Released { network, block, .. } => last.insert((network, *block), None),
            SessionChange::Bound {
                network,
                block,
                imsi,
                ..
            } => last.insert((network, *block), Some(*imsi)),
        };
    }
    let mut taken = Taken::default();
    for ((network, block), owner) in last {
        take(fleet, &mut taken, (network, block), owner);
    }
    taken
}

/// What events take by themselves, whatever is known of other sessions: addresses that they give to others.
pub(super) fn claimed(fleet: &Fleet, events: &[SessionEvent]) -> Taken {
    let mut taken = Taken::default();
    for event in events {
        if let SessionAct::Accounting(told) = &event.act
            && let Act::Bind {
                network,
                imsi,
                blocks,
                ..
            } = &told.act
        {
            for block in blocks {
                take(fleet, &mut taken, (network, *block), Some(*imsi));
            }
        }
    }
    taken
}

/// Takes addresses from everybody but their new owner.
fn take(fleet: &Fleet, taken: &mut Taken, (network, block): (&str, IpNet), owner: Option<Imsi>) {
    if owner.is_some() && fleet.stored_holder(network, block) == owner {
        return;
    }
    for holder in fleet.holders(network, block) {
        if Some(holder) != owner {
            taken.addresses(network, block, holder);
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::radius::AccountingEvent;

    #[test]
    fn b_id_6_what_is_taken_is_taken_from_others_and_by_the_last_word() {
        let (one, two): (Imsi, Imsi) = (
            "440100000000001".parse().unwrap(),
            "440100000000002".parse().unwrap(),
        );
        let fleet = || {
            let document = json!({"sims": [
                {"simId": "1", "imsi": "440100000000001"},
                {"simId": "2", "imsi": "440100000000002", "ip": "10.0.0.1"},
            ]});
            let fleet = Fleet::from_json("test", document.to_string()).unwrap();
            fleet.bind("default", "10.0.0.1/32".parse().unwrap(), one, None);
            fleet
        };
        let network: Arc<str> = "default".into();
        let block: IpNet = "10.0.0.1/32".parse().unwrap();
        let bound = |imsi| SessionChange::Bound {
            network: Arc::clone(&network),
            block,
            imsi,
            imei: None,
            before: None,
        };
        let released = || SessionChange::Released {
            network: Arc::clone(&network),
            block,
            imsi: one,
        };
        let is_served = |fleet: &Fleet| fleet.find("default", block.addr()).is_some();
        for (changes, stays) in [
            (vec![bound(one)], true),
            (vec![released(), bound(one)], true),
            (vec![released()], false),
            (vec![bound(two)], false),
            (vec![bound(one), released()], false),
        ] {
            let fleet = fleet();
            let taken = taken(&fleet, &changes);
            fleet.doubt(&taken);
            assert_eq!(
                (is_served(&fleet), taken.is_empty()),
                (stays, stays),
                "{changes:?}"
            );
        }
        // The same of what an event names, where nothing else can be known.
        for (imsi, stays) in [(one, true), (two, false)] {
            let fleet = fleet();
            let event = AccountingEvent {
                nas: "n".into(),
                client: "".into(),
                networks: [].into(),
                request: None,
                own_ms: None,
                time_ms: 1,
                act: Act::Bind {
                    is_start: true,
                    session_id: "s".into(),
                    multi_session_id: "".into(),
                    network: Arc::clone(&network),
                    apn: "a".into(),
                    imsi,
                    imei: None,
                    blocks: vec![block],
                },
            };
            fleet.doubt(&claimed(&fleet, &[SessionEvent::from(event)]));
            assert_eq!(is_served(&fleet), stays);
        }
    }
}
