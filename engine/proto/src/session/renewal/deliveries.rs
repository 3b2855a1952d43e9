//! Deliveries: messages of QoS 1 and 2 from the upstream to the device that are not finished. Says which
//! acknowledgements of the device concern the present upstream, and finishes those of one that is gone.

use alloc::vec::Vec;

use super::requests::Answer;
use crate::limits::RENEWAL_IN_FLIGHT_MAX;
use crate::packet::Qos;
use crate::session::{PUBREL, write_acknowledgement};

/// What a delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// The device's PUBACK.
    Puback,
    /// The device's PUBREC.
    Pubrec,
    /// The upstream's PUBREL.
    Pubrel,
    /// The device's PUBCOMP.
    Pubcomp,
    /// The upstream's PUBREL for a message that the device never saw.
    PubrelUnseen,
}

/// Which upstream a delivery came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The present one.
    Present,
    /// One that is gone; the next may go on with it.
    Last,
    /// One whose session is gone, too: it is finished here.
    Lost,
}

#[derive(Clone, Copy, Debug)]
struct Delivery {
    packet_id: u16,
    turn: Turn,
    origin: Origin,
}

impl Delivery {
    /// Whether the device's next word on it is for an upstream that is gone.
    const fn is_owed(&self) -> bool {
        !matches!(self.origin, Origin::Present)
            && matches!(self.turn, Turn::Puback | Turn::Pubrec | Turn::Pubcomp)
    }

    /// Whether the present upstream's next packet with this identifier is about it.
    const fn is_present(&self) -> bool {
        matches!(self.origin, Origin::Present)
            || matches!(self.turn, Turn::Pubrel | Turn::PubrelUnseen)
    }
}

/// All of one session's.
#[derive(Clone, Debug, Default)]
pub(super) struct Deliveries {
    list: Vec<Delivery>,
    /// One was not kept track of.
    is_overrun: bool,
}

impl Deliveries {
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) const fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Whether the device still has to acknowledge something to an upstream that is gone.
    pub(super) fn is_owed(&self) -> bool {
        self.list.iter().any(Delivery::is_owed)
    }

    fn position(&self, packet_id: u16, is_right: impl Fn(&Delivery) -> bool) -> Option<usize> {
        self.list
            .iter()
            .position(|one| one.packet_id == packet_id && is_right(one))
    }

    /// The present upstream is at `turn`.
    fn set(&mut self, packet_id: u16, turn: Turn) {
        let index = self.position(packet_id, Delivery::is_present);
        if let Some(one) = index.and_then(|index| self.list.get_mut(index)) {
            one.turn = turn;
            one.origin = Origin::Present;
        } else if self.list.len() >= RENEWAL_IN_FLIGHT_MAX {
            self.is_overrun = true;
        } else {
            self.list.push(Delivery {
                packet_id,
                turn,
                origin: Origin::Present,
            });
        }
    }

    /// A PUBLISH goes to the device.
    pub(super) fn published(&mut self, packet_id: u16, qos: Qos) {
        match qos {
            Qos::AtMostOnce => {}
            Qos::AtLeastOnce => self.set(packet_id, Turn::Puback),
            Qos::ExactlyOnce => self.set(packet_id, Turn::Pubrec),
        }
    }

    /// A PUBLISH of QoS 2 stays here.
    pub(super) fn kept_back(&mut self, packet_id: u16) {
        self.set(packet_id, Turn::PubrelUnseen);
    }

    /// A PUBREL came from the upstream. `knows_all`: what is not in the list is finished.
    pub(super) fn released(&mut self, packet_id: u16, knows_all: bool) -> Answer {
        if let Some(index) = self.position(packet_id, |one| one.turn == Turn::PubrelUnseen) {
            self.list.remove(index);
            return Answer::Complete;
        }
        let is_present = self.position(packet_id, Delivery::is_present).is_some();
        // The device has this PUBREL already; its PUBCOMP is on the way and serves this upstream.
        let is_told = |one: &Delivery| one.turn == Turn::Pubcomp && one.origin == Origin::Last;
        let told = self.position(packet_id, is_told);
        if let Some(one) = told.and_then(|index| self.list.get_mut(index))
            && !is_present
        {
            one.origin = Origin::Present;
            return Answer::Swallow;
        }
        if knows_all && !is_present {
            return Answer::Complete;
        }
        self.set(packet_id, Turn::Pubcomp);
        Answer::Pass
    }

    /// A PUBACK came from the device; one that answers a message of QoS 2 so has finished with it.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Answer {
        let answer = self.finish(packet_id, Turn::Puback);
        if answer != Answer::Unknown {
            return answer;
        }
        self.finish(packet_id, Turn::Pubrec)
    }

    /// A PUBCOMP came from the device.
    pub(super) fn completed(&mut self, packet_id: u16) -> Answer {
        self.finish(packet_id, Turn::Pubcomp)
    }

    /// What is owed to an upstream that is gone comes first: the device answers in order.
    fn finish(&mut self, packet_id: u16, turn: Turn) -> Answer {
        let owed = self.position(packet_id, |one| one.turn == turn && one.is_owed());
        if let Some(index) = owed {
            self.list.remove(index);
            return Answer::Swallow;
        }
        let Some(index) = self.position(packet_id, |one| one.turn == turn) else {
            return Answer::Unknown;
        };
        self.list.remove(index);
        Answer::Pass
    }

    /// A PUBREC came from the device.
    pub(super) fn received(&mut self, packet_id: u16, is_refused: bool) -> Answer {
        let owed = self.position(packet_id, |one| one.turn == Turn::Pubrec && one.is_owed());
        let Some(index) = owed.or_else(|| self.position(packet_id, Delivery::is_present)) else {
            return Answer::Unknown;
        };
        let origin = self
            .list
            .get(index)
            .map_or(Origin::Present, |one| one.origin);
        if is_refused {
            self.list.remove(index);
        } else if let Some(one) = self.list.get_mut(index) {
            one.turn = match origin {
                Origin::Present | Origin::Last => Turn::Pubrel,
                Origin::Lost => Turn::Pubcomp,
            };
        }
        match origin {
            Origin::Present => Answer::Pass,
            Origin::Lost if !is_refused => Answer::Release,
            Origin::Last | Origin::Lost => Answer::Swallow,
        }
    }

    /// The upstream is gone.
    pub(super) fn upstream_left(&mut self) {
        for one in &mut self.list {
            if one.origin == Origin::Present {
                one.origin = Origin::Last;
            }
        }
    }

    /// A new upstream has said whether it kept the session: then it goes on with it by itself. Otherwise
    /// the PUBRELs that the device waits for are written here.
    pub(super) fn renewed(&mut self, session_present: bool, device: &mut Vec<u8>) {
        if session_present {
            return;
        }
        self.list.retain(|one| one.turn != Turn::PubrelUnseen);
        for one in &mut self.list {
            one.origin = Origin::Lost;
            if one.turn == Turn::Pubrel {
                one.turn = Turn::Pubcomp;
                write_acknowledgement(PUBREL, one.packet_id, device);
            }
        }
    }
}
