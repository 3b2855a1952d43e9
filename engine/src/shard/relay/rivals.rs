//! Rivals: renewal never fights a device that came back (B-TOK-2). While the CONNECT of a newer session of the same
//! SIM, destination and client id is under way, older ones open no other upstream; when it is accepted they end,
//! otherwise they go on. In: what the front says of CONNECTs, what becomes of sessions. It holds nothing of
//! SIMs that have no session whose upstream is renewed.

use ahash::RandomState;
use hashbrown::HashMap;
use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Imsi;

use super::Relay;
use super::wire::Wire;
use crate::shard::rivals::Contender;

/// A session that may be in another's way.
#[derive(Debug)]
struct Rival {
    contender: Contender,
    /// Its place among the relay's, once it is here.
    index: Option<u32>,
    /// Whether its own CONNACK has come.
    is_accepted: bool,
}

/// All of them, by SIM: as many as a SIM may have sessions.
#[derive(Debug, Default)]
pub(super) struct Rivals {
    by_sim: HashMap<Imsi, Vec<Rival>, RandomState>,
}

impl Rivals {
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.by_sim.is_empty()
    }

    fn of(&self, imsi: Imsi) -> &[Rival] {
        self.by_sim.get(&imsi).map_or(&[], Vec::as_slice)
    }

    fn at(&self, imsi: Imsi, index: u32) -> Option<&Rival> {
        self.of(imsi).iter().find(|one| one.index == Some(index))
    }

    /// Sessions here that are older than this one, and give way to it.
    fn older_than(&self, imsi: Imsi, contender: &Contender) -> Vec<u32> {
        let is_older = |one: &&Rival| {
            one.contender.renews
                && one.contender.order < contender.order
                && one.contender.is_rival_of(contender)
        };
        let older = self.of(imsi).iter().filter(is_older);
        older.filter_map(|one| one.index).collect()
    }

    /// Whether a newer one is there, accepted or not.
    fn has_newer(&self, imsi: Imsi, contender: &Contender, is_accepted: bool) -> bool {
        self.of(imsi).iter().any(|one| {
            one.is_accepted == is_accepted
                && one.contender.order > contender.order
                && one.contender.is_rival_of(contender)
        })
    }

    /// A CONNECT is under way, or a session is here.
    fn add(&mut self, imsi: Imsi, contender: Contender, index: Option<u32>) {
        let rivals = self
            .by_sim
            .entry(imsi)
            .or_insert_with(|| Vec::with_capacity(1));
        let known = rivals
            .iter_mut()
            .find(|one| one.contender.order == contender.order);
        match known {
            Some(one) => one.index = index,
            None => rivals.push(Rival {
                contender,
                index,
                is_accepted: false,
            }),
        }
    }

    /// A session has its CONNACK, with the client id that it has there. It gets back who it is.
    fn accept(&mut self, imsi: Imsi, index: u32, client_id: Option<&str>) -> Option<Contender> {
        let rivals = self.by_sim.get_mut(&imsi)?;
        let one = rivals.iter_mut().find(|one| one.index == Some(index))?;
        one.is_accepted = true;
        if let Some(client_id) = client_id {
            one.contender.client_id = Some(Box::from(client_id));
        }
        Some(one.contender.clone())
    }

    /// One is there no more.
    fn remove(&mut self, imsi: Imsi, is_it: impl Fn(&Rival) -> bool) -> Option<Rival> {
        let rivals = self.by_sim.get_mut(&imsi)?;
        let place = rivals.iter().position(is_it)?;
        let gone = rivals.swap_remove(place);
        if rivals.is_empty() {
            self.by_sim.remove(&imsi);
        }
        Some(gone)
    }
}

impl<W: Wire> Relay<W> {
    /// A CONNECT is under way: whoever is opening another upstream in its way lets go of it.
    pub(super) fn contend(&mut self, imsi: Imsi, contender: Contender) {
        let older = self.rivals.older_than(imsi, &contender);
        self.rivals.add(imsi, contender, None);
        for index in older {
            self.let_go(index);
        }
    }

    /// A CONNECT came to nothing before it was here: whoever waited for it goes on.
    pub(super) fn withdraw(&mut self, imsi: Imsi, order: u64) {
        let is_it = |one: &Rival| one.contender.order == order && one.index.is_none();
        if let Some(gone) = self.rivals.remove(imsi, is_it) {
            self.release(imsi, &gone.contender);
        }
    }

    /// A session is here. False where a newer one has been accepted already: its own CONNECT would take that one's
    /// place.
    pub(super) fn may_open(&mut self, imsi: Imsi, contender: Contender, index: u32) -> bool {
        let is_late = contender.renews && self.rivals.has_newer(imsi, &contender, true);
        self.rivals.add(imsi, contender, Some(index));
        !is_late
    }

    /// Whether a session has to wait with another upstream.
    pub(super) fn is_barred(&self, imsi: Imsi, index: u32) -> bool {
        let own = self.rivals.at(imsi, index);
        own.is_some_and(|own| self.rivals.has_newer(imsi, &own.contender, false))
    }

    /// A session's CONNACK has come: older ones end.
    pub(super) fn prevail(&mut self, index: u32) {
        let Some(flow) = self.flows.get(index as usize) else {
            return;
        };
        let imsi = flow.session.opening().identity.imsi;
        let assigned = flow.session.renewal_connect().client_id;
        let Some(contender) = self.rivals.accept(imsi, index, assigned) else {
            return;
        };
        for older in self.rivals.older_than(imsi, &contender) {
            self.end(older, Cause::TakenOver);
        }
    }

    /// A session has ended: if it was never accepted, whoever waited for it goes on.
    pub(super) fn yield_to_rivals(&mut self, imsi: Imsi, index: u32) {
        let gone = self.rivals.remove(imsi, |one| one.index == Some(index));
        if let Some(gone) = gone.filter(|gone| !gone.is_accepted) {
            self.release(imsi, &gone.contender);
        }
    }

    fn release(&mut self, imsi: Imsi, contender: &Contender) {
        for index in self.rivals.older_than(imsi, contender) {
            self.take_up_again(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Destination;

    fn imsi() -> Imsi {
        "440100000000001".parse().unwrap()
    }

    fn contender(order: u64, client_id: Option<&str>) -> Contender {
        Contender {
            order,
            destination: Destination {
                host: "h".into(),
                port: 1883,
                tls: false,
            },
            client_id: client_id.map(Box::from),
            renews: true,
        }
    }

    #[test]
    fn b_tok_2_only_older_sessions_of_the_same_client_and_destination_give_way() {
        let mut rivals = Rivals::default();
        let elsewhere = Contender {
            destination: Destination {
                port: 1884,
                ..contender(0, None).destination
            },
            ..contender(4, Some("a"))
        };
        let plain = Contender {
            renews: false,
            ..contender(5, Some("a"))
        };
        let others = [
            contender(1, Some("a")),
            contender(2, Some("b")),
            contender(3, None),
            elsewhere,
            plain,
            contender(9, Some("a")),
        ];
        for (index, other) in (10..).zip(others) {
            rivals.add(imsi(), other, Some(index));
        }
        assert_eq!(rivals.older_than(imsi(), &contender(7, Some("a"))), [10]);
        assert_eq!(rivals.older_than(imsi(), &contender(1, Some("a"))), [0; 0]);
        assert_eq!(rivals.older_than(imsi(), &contender(7, None)), [0; 0]);
        let other_sim = "440100000000002".parse().unwrap();
        assert_eq!(
            rivals.older_than(other_sim, &contender(7, Some("a"))),
            [0; 0]
        );
    }

    #[test]
    fn b_tok_2_a_client_id_that_the_upstream_assigned_counts() {
        let mut rivals = Rivals::default();
        for order in [1, 2] {
            rivals.add(
                imsi(),
                contender(order, None),
                Some(u32::try_from(order).unwrap()),
            );
        }
        rivals.accept(imsi(), 1, Some("given")).unwrap();
        rivals.accept(imsi(), 2, Some("another")).unwrap();
        assert_eq!(rivals.older_than(imsi(), &contender(3, Some("given"))), [1]);
    }

    #[test]
    fn b_tok_2_a_connect_counts_until_it_is_over_and_leaves_nothing() {
        let mut rivals = Rivals::default();
        rivals.add(imsi(), contender(1, Some("a")), Some(7));
        rivals.add(imsi(), contender(2, Some("a")), None);
        let is_coming = |rivals: &Rivals| {
            let own = &rivals.at(imsi(), 7).unwrap().contender;
            [false, true].map(|is_accepted| rivals.has_newer(imsi(), own, is_accepted))
        };
        assert_eq!(is_coming(&rivals), [true, false]);
        // It has come here.
        rivals.add(imsi(), contender(2, Some("a")), Some(8));
        assert_eq!(is_coming(&rivals), [true, false]);
        rivals.accept(imsi(), 8, None).unwrap();
        assert_eq!(is_coming(&rivals), [false, true]);
        for index in [7, 8] {
            rivals
                .remove(imsi(), |one| one.index == Some(index))
                .unwrap();
        }
        assert!(rivals.by_sim.is_empty());
    }
}
