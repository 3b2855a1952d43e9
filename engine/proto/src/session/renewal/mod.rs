//! Renewal: replaces a session's upstream while its device stays connected (B-TOK-1). Packets of both
//! sides go in as they pass; what must be known when the upstream is gone is kept, within bounds.
//!
//! ```text
//! Joined --begin_renewal--> Leaving --upstream_left--> Left --CONNACK--> Joined
//!    |   <-abandon_renewal--                            ^
//!    +----------------- upstream_left ------------------+
//! ```

mod connack;
mod deliveries;
mod matching;
mod packets;
mod publish;
mod requests;
mod subscriptions;

use alloc::boxed::Box;
use alloc::vec::Vec;

use self::deliveries::Deliveries;
use self::requests::Requests;
use self::subscriptions::Subscriptions;
use super::{Opening, Passing, Session, Side};
use crate::error::Phase;
use crate::packet::granted::Granted;
use crate::packet::{Kind, Version};

/// What an upstream is told that is left in good order, so that it publishes no will.
pub const LEAVE: [u8; 2] = [0xe0, 0];

const PINGRESP: [u8; 2] = [0xd0, 0];

/// Unanswered PINGREQs that are counted; one that sends more gets no more answers.
const PINGS_MAX: u16 = 1024;

/// Why the upstream cannot be replaced now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotRenewable {
    /// The session was opened without renewal.
    Off,
    /// The device has no CONNACK yet.
    BeforeConnack,
    /// A message has passed in part, in either direction.
    AmidMessage,
    /// A message is not acknowledged that is too large for a copy.
    TooLarge,
    /// There are more subscriptions than are kept.
    Subscriptions,
    /// There were more unacknowledged messages at a time than are kept track of.
    InFlight,
    /// Only MQTT 3.1: the device wants its session kept, and no CONNACK says whether it was.
    UnknownSession,
    /// The upstream has said that it will not have this session.
    Dismissed,
    /// An upstream was lost before upon what this one deals with now: that is why, and another would be
    /// lost as well (B-TOK-2).
    SameRequest,
}

/// What the CONNECT of a renewal says otherwise than the device's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenewalConnect<'a> {
    /// v5: clean start is 0, since the session goes on.
    pub continues: bool,
    /// v5: the client id that the first upstream assigned.
    pub client_id: Option<&'a str>,
}

/// How a session stands to its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Packets pass.
    Joined,
    /// What is under way is finished, nothing is begun.
    Leaving,
    /// There is none.
    Left,
}

/// What one session keeps for a renewal.
#[derive(Clone, Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that do not exclude each other"
)]
pub(super) struct Renewal {
    stage: Stage,
    /// Leaving, and a packet of the device is put off: its acknowledgements may stand behind it.
    has_put_off: bool,
    requests: Requests,
    deliveries: Deliveries,
    subscriptions: Subscriptions,
    /// PINGREQs that the upstream has not answered.
    pings: u16,
    /// What the device was told at its own CONNACK.
    granted: Granted,
    /// Whether it was told there that its session goes on, with what was never seen here.
    has_past: bool,
    /// Whether the upstream is another than at the device's CONNACK.
    is_renewed: bool,
    past: Past,
    /// The upstream has said why it closes, and that is nothing that the device sent.
    is_excused: bool,
}

/// What another upstream may know of the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// What its CONNACK says.
    Told,
    /// 3.1: its CONNACK does not say, and the device wants the session kept.
    Untold,
    /// An upstream has ended it.
    Over,
}

impl Renewal {
    /// Whether what it does not know of is finished.
    const fn knows_all(&self) -> bool {
        self.is_renewed
            && !self.has_past
            && !self.requests.is_overrun()
            && !self.deliveries.is_overrun()
    }

    /// B-TOK-2: whether losing the upstream now would be the second loss upon the same.
    fn has_culprit(&self) -> bool {
        let is_there = self.stage != Stage::Left && !self.is_excused;
        is_there && (self.requests.has_culprit() || self.subscriptions.has_culprit())
    }
}

impl Session {
    /// A session whose upstream may be replaced, where that can work: an authentication exchange of v5
    /// cannot be repeated without the device. `keeps_session`: the device's clean session is 0.
    #[must_use]
    pub fn renewing(opening: Opening, keeps_session: bool, now_ms: u64) -> Self {
        let mut session = Self::new(opening, now_ms);
        if opening.has_authentication_method {
            return session;
        }
        let is_untold = opening.upstream_version == Version::V31 && keeps_session;
        session.renewal = Some(Box::new(Renewal {
            stage: Stage::Joined,
            has_put_off: false,
            requests: Requests::default(),
            deliveries: Deliveries::default(),
            subscriptions: Subscriptions::new(opening.upstream_version),
            pings: 0,
            granted: Granted::default(),
            has_past: false,
            is_renewed: false,
            past: if is_untold { Past::Untold } else { Past::Told },
            is_excused: false,
        }));
        session
    }

    /// Begins a planned renewal: from now on only what completes is taken from the device.
    pub fn begin_renewal(&mut self) {
        if let Some(renewal) = &mut self.renewal
            && renewal.stage == Stage::Joined
        {
            renewal.stage = Stage::Leaving;
            renewal.has_put_off = false;
        }
    }

    /// Gives a planned renewal up before the upstream was left: everything is taken again.
    pub fn abandon_renewal(&mut self) {
        if let Some(renewal) = &mut self.renewal
            && renewal.stage == Stage::Leaving
        {
            renewal.stage = Stage::Joined;
        }
    }

    /// Whether everything is answered in both directions, so that nothing would be sent twice if the
    /// upstream were left now; what the device has to acknowledge is not waited for where that may stand
    /// behind a packet that is put off. A caller that has waited long enough may leave it otherwise, as long as
    /// [`Self::can_renew`].
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let is_settled = self.renewal.as_ref().is_none_or(|renewal| {
            renewal.requests.is_empty()
                && (renewal.deliveries.is_empty() || renewal.has_put_off)
                && renewal.subscriptions.is_settled()
                && renewal.pings == 0
        });
        is_settled && !self.is_amid_message(Side::Device) && !self.is_amid_message(Side::Upstream)
    }

    /// Whether the upstream may be replaced now.
    ///
    /// # Errors
    /// The reason why not; a session that has lost its upstream then ends as without renewal.
    pub fn can_renew(&self) -> Result<(), NotRenewable> {
        let Some(renewal) = &self.renewal else {
            return Err(NotRenewable::Off);
        };
        let is_amid_delivery =
            self.is_amid_message(Side::Upstream) && !self.from_upstream.is_dropped;
        if self.phase == Phase::Connecting {
            Err(NotRenewable::BeforeConnack)
        } else if renewal.past == Past::Untold {
            Err(NotRenewable::UnknownSession)
        } else if renewal.past == Past::Over {
            Err(NotRenewable::Dismissed)
        } else if is_amid_delivery || self.is_amid_message(Side::Device) {
            Err(NotRenewable::AmidMessage)
        } else if renewal.requests.has_uncopied() {
            Err(NotRenewable::TooLarge)
        } else if renewal.subscriptions.is_overrun() {
            Err(NotRenewable::Subscriptions)
        } else if renewal.requests.is_overrun() || renewal.deliveries.is_overrun() {
            Err(NotRenewable::InFlight)
        } else if renewal.has_culprit() {
            Err(NotRenewable::SameRequest)
        } else {
            Ok(())
        }
    }

    /// B-TOK-2: the upstream is lost, and was not left. Notes what it dealt with last. Before
    /// [`Self::upstream_left`].
    pub fn upstream_lost(&mut self) {
        if let Some(renewal) = &mut self.renewal
            && renewal.stage != Stage::Left
            && !renewal.is_excused
        {
            renewal.requests.suspect();
            renewal.subscriptions.suspect();
        }
    }

    /// The upstream is gone: left after [`LEAVE`], or lost, whether or not it had been renewed before.
    /// The caller drops what it has not sent there and what it has received from there but not given
    /// to the session; what the device is owed at once is written into `device`. Then it connects anew,
    /// sends the device's CONNECT with what [`Self::renewal_connect`] says, and gives the answer to
    /// [`Self::receive`]. Only for a session that [`Self::can_renew`].
    pub fn upstream_left(&mut self, device: &mut Vec<u8>) {
        let Some(renewal) = &mut self.renewal else {
            return;
        };
        for _ in 0..renewal.pings {
            device.extend_from_slice(&PINGRESP);
        }
        renewal.pings = 0;
        renewal.stage = Stage::Left;
        renewal.is_excused = false;
        renewal.deliveries.upstream_left();
        renewal.subscriptions.upstream_left();
        self.from_upstream = Passing::default();
    }

    /// Whether there is no upstream, or one that has not accepted the session yet.
    #[must_use]
    pub fn is_without_upstream(&self) -> bool {
        self.stage() == Some(Stage::Left)
    }

    /// What the CONNECT of a renewal says otherwise than the device's own.
    #[must_use]
    pub fn renewal_connect(&self) -> RenewalConnect<'_> {
        let is_v5 = self.opening.upstream_version == Version::V5;
        RenewalConnect {
            continues: is_v5 && self.renewal.is_some(),
            client_id: self
                .renewal
                .as_ref()
                .and_then(|renewal| renewal.granted.assigned_client_id()),
        }
    }

    fn stage(&self) -> Option<Stage> {
        self.renewal.as_ref().map(|renewal| renewal.stage)
    }

    /// Whether a packet of the device has to wait for a new upstream.
    pub(super) fn is_put_off(&mut self, from: Side, kind: Kind) -> bool {
        let is_finishing = matches!(
            kind,
            Kind::Puback
                | Kind::Pubrec
                | Kind::Pubrel
                | Kind::Pubcomp
                | Kind::Pingreq
                | Kind::Disconnect
        );
        let Some(renewal) = &mut self.renewal else {
            return false;
        };
        let is_held = matches!(renewal.stage, Stage::Leaving | Stage::Left);
        let is_put_off = is_held && from == Side::Device && !is_finishing;
        renewal.has_put_off |= is_put_off;
        is_put_off
    }
}
