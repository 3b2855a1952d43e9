//! Rivals: sessions of one SIM that are the same client to the same upstream, of which a broker keeps the one that
//! came last. Says who is whose rival, and who is newer; the front numbers them, the relay compares them (B-TOK-2).

use crate::fleet::Destination;

/// What makes a session the rival of another one of its SIM.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    /// Which CONNECT of the shard led to it: a later one has a higher number.
    pub(super) order: u64,
    /// Where its upstream is.
    pub(super) destination: Destination,
    /// Who it is there, where that is known.
    pub(super) client_id: Option<Box<str>>,
    /// Whether its upstream is renewed: only such a session ever gives way.
    pub(super) renews: bool,
}

impl Contender {
    /// Whether the other's CONNECT takes this one's place at the broker.
    pub(super) fn is_rival_of(&self, other: &Self) -> bool {
        self.client_id.is_some()
            && self.client_id == other.client_id
            && self.destination == other.destination
    }
}
