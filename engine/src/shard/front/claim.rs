//! Claim: the relay is told that a CONNECT is under way, so that no older session of the SIM that is the same client
//! to the same upstream gets in its way with a renewal (B-TOK-2).

use std::rc::Rc;

use ringbeam_proto::identity::Imsi;
use ringbeam_proto::packet::connect::Connect;

use super::login::Login;
use crate::fleet::EntryPoint;
use crate::shard::Shard;
use crate::shard::counters::SimSession;
use crate::shard::relay;
use crate::shard::rivals::Contender;

/// A CONNECT under way. Dropped before its session is with the relay, it came to nothing.
pub(super) struct Claim {
    shard: Rc<Shard>,
    imsi: Imsi,
    order: u64,
}

impl Claim {
    fn make(shard: &Rc<Shard>, imsi: Imsi, contender: &Contender) -> Self {
        let told = Box::new(contender.clone());
        shard.tell_relay(relay::Message::Contend(imsi, told));
        Self {
            shard: Rc::clone(shard),
            imsi,
            order: contender.order,
        }
    }
}

impl Drop for Claim {
    /// Where the session is with the relay by now this changes nothing.
    fn drop(&mut self) {
        let message = relay::Message::Withdraw(self.imsi, self.order);
        self.shard.tell_relay(message);
    }
}

/// A session that may be another's rival.
pub(super) struct Candidate {
    pub(super) contender: Contender,
    /// Where an older session could get in its way.
    pub(super) claim: Option<Claim>,
}

impl Candidate {
    /// One whose CONNECT is served, where it matters to a renewal: its own (`renews`), or an older one's.
    pub(super) fn enter(
        shard: &Rc<Shard>,
        entry_point: &EntryPoint,
        (connect, login): (&Connect<'_>, &Login),
        (imsi, session): (Imsi, &mut SimSession),
        renews: bool,
    ) -> Option<Self> {
        let has_renewing = session.has_renewing();
        if renews {
            session.renews();
        } else if !has_renewing {
            return None;
        }
        let order = shard.orders.get();
        shard.orders.set(order.wrapping_add(1));
        let contender = Contender {
            order,
            destination: entry_point.destination.clone(),
            client_id: login.client_id(connect, entry_point),
            renews,
        };
        let claim = has_renewing.then(|| Claim::make(shard, imsi, &contender));
        Some(Self { contender, claim })
    }

    /// What goes to the relay, and what stays until it is there.
    pub(super) fn part(self) -> (Contender, Option<Claim>) {
        (self.contender, self.claim)
    }
}
