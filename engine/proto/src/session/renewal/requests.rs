//! Requests: what the device asked of its upstream and the upstream has not answered, in order, with
//! copies as sent. Says what an answer means for the device, and what a new upstream is sent again.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;

use crate::limits::{RENEWAL_COPY_BYTES, RENEWAL_IN_FLIGHT_MAX};
use crate::session::{PUBREL, write_acknowledgement};

/// How far a request is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// SUBSCRIBE, until SUBACK.
    Subscribe,
    /// UNSUBSCRIBE, until UNSUBACK.
    Unsubscribe,
    /// PUBLISH of QoS 1, until PUBACK.
    AtLeastOnce,
    /// PUBLISH of QoS 2, until PUBREC.
    Sent,
    /// The device has its PUBREC; its PUBREL has not come.
    Received,
    /// Its PUBREL has come, until PUBCOMP.
    Released,
    /// A PUBREL whose PUBLISH was sent over an earlier connection of the device, until PUBCOMP.
    ReleasedEarlier,
    /// The device has its PUBREC, and a new upstream has finished it by a PUBACK: the device's PUBREL is
    /// answered here.
    Finished,
}

impl Progress {
    const fn is_exactly_once(self) -> bool {
        matches!(
            self,
            Self::Sent | Self::Received | Self::Released | Self::Finished
        )
    }

    /// Whether both are of one kind of request, so that one identifier cannot mean both.
    fn is_like(self, other: Self) -> bool {
        self == other || (self.is_exactly_once() && other.is_exactly_once())
    }

    /// Whether the upstream alone has to do the rest.
    const fn is_upstreams_turn(self) -> bool {
        match self {
            Self::Subscribe
            | Self::Unsubscribe
            | Self::AtLeastOnce
            | Self::Released
            | Self::ReleasedEarlier => true,
            Self::Sent | Self::Received | Self::Finished => false,
        }
    }
}

/// One request.
#[derive(Clone)]
pub(super) struct Request {
    packet_id: u16,
    progress: Progress,
    /// A new upstream has been sent the PUBLISH again; its PUBREC is no news to the device.
    is_restarted: bool,
    /// An upstream was lost when this was the first that it had not answered (B-TOK-2).
    suspect: Option<Queue>,
    /// As sent upstream; `None` where it was too large to keep, or is needed no more.
    pub(super) copy: Option<Box<[u8]>>,
}

impl fmt::Debug for Request {
    /// Without the copy: it is the device's data.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Request")
            .field("packet_id", &self.packet_id)
            .field("progress", &self.progress)
            .field("is_restarted", &self.is_restarted)
            .finish_non_exhaustive()
    }
}

impl Request {
    const fn is_lost_with_upstream(&self) -> bool {
        let needs_none = matches!(
            self.progress,
            Progress::ReleasedEarlier | Progress::Finished
        );
        self.copy.is_none() && !needs_none
    }

    /// What the upstream has to answer next, if anything.
    const fn queue(&self) -> Option<Queue> {
        match self.progress {
            Progress::Subscribe | Progress::Unsubscribe => Some(Queue::Filters),
            Progress::AtLeastOnce | Progress::Sent => Some(Queue::Messages),
            Progress::Received | Progress::Released if self.is_restarted => Some(Queue::Messages),
            Progress::Released | Progress::ReleasedEarlier => Some(Queue::Releases),
            Progress::Received | Progress::Finished => None,
        }
    }
}

/// Requests that an upstream answers in the order in which it gets them, where another upstream gets them in
/// that order again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queue {
    Filters,
    Messages,
    Releases,
}

/// Whether another request can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    /// It can.
    Fits,
    /// It can when the upstream has answered.
    Later,
    /// It cannot, whatever the upstream does by itself.
    Never,
}

/// What becomes of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It goes on.
    Pass,
    /// It goes no further.
    Swallow,
    /// It goes no further, and its sender is answered with a PUBREL.
    Release,
    /// It goes no further, and its sender is answered with a PUBCOMP.
    Complete,
    /// A PUBCOMP goes on in its place.
    Finish,
    /// It takes back what the device was told.
    Breaks,
    /// It answers nothing that is known.
    Unknown,
}

/// All of one session's.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    list: Vec<Request>,
    copied_bytes: usize,
    /// One was not kept track of.
    is_overrun: bool,
    /// A new upstream was sent them again.
    is_renewed: bool,
}

impl Requests {
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    pub(super) const fn is_overrun(&self) -> bool {
        self.is_overrun
    }

    /// Whether something is under way that could not be sent again.
    pub(super) fn has_uncopied(&self) -> bool {
        self.list.iter().any(Request::is_lost_with_upstream)
    }

    /// Whether `packet_id` is in use.
    pub(super) fn uses(&self, packet_id: u16) -> bool {
        self.list.iter().any(|one| one.packet_id == packet_id)
    }

    /// Whether a PUBLISH with this identifier is under way, of QoS 2 or 1.
    pub(super) fn has_publish(&self, packet_id: u16, is_exactly_once: bool) -> bool {
        self.list.iter().any(|one| {
            let is_same = if is_exactly_once {
                one.progress.is_exactly_once()
            } else {
                one.progress == Progress::AtLeastOnce
            };
            is_same && one.packet_id == packet_id
        })
    }

    /// Whether a copy of so many bytes can be kept. What waits for the device must not make the device
    /// wait: its PUBREL may stand behind what would be held.
    pub(super) fn room(&self, bytes: usize) -> Room {
        let fits = |count: usize, copied: usize| {
            count < RENEWAL_IN_FLIGHT_MAX && copied.saturating_add(bytes) <= RENEWAL_COPY_BYTES
        };
        let (mut count, mut copied) = (self.list.len(), self.copied_bytes);
        if fits(count, copied) {
            return Room::Fits;
        }
        for one in self
            .list
            .iter()
            .filter(|one| one.progress.is_upstreams_turn())
        {
            count = count.saturating_sub(1);
            copied = copied.saturating_sub(one.copy.as_ref().map_or(0, |copy| copy.len()));
        }
        // A larger one than can be kept goes alone.
        let goes_alone = bytes > RENEWAL_COPY_BYTES && count == 0 && !self.list.is_empty();
        if goes_alone || fits(count, copied) {
            Room::Later
        } else {
            Room::Never
        }
    }

    /// A request goes upstream. One with its identifier that was forgotten by the device is forgotten
    /// here.
    pub(super) fn add(&mut self, packet_id: u16, progress: Progress, copy: Option<Box<[u8]>>) {
        self.remove(packet_id, |one| one.is_like(progress));
        if self.list.len() >= RENEWAL_IN_FLIGHT_MAX {
            self.is_overrun = true;
            return;
        }
        let bytes = copy.as_ref().map_or(0, |copy| copy.len());
        self.copied_bytes = self.copied_bytes.saturating_add(bytes);
        self.list.push(Request {
            packet_id,
            progress,
            is_restarted: false,
            suspect: None,
            copy,
        });
    }

    /// Takes the first request with this identifier whose progress is right.
    pub(super) fn remove(
        &mut self,
        packet_id: u16,
        is_right: impl Fn(Progress) -> bool,
    ) -> Option<Request> {
        let index = self
            .list
            .iter()
            .position(|one| one.packet_id == packet_id && is_right(one.progress))?;
        let request = self.list.remove(index);
        let bytes = request.copy.as_ref().map_or(0, |copy| copy.len());
        self.copied_bytes = self.copied_bytes.saturating_sub(bytes);
        Some(request)
    }

    fn exactly_once(&mut self, packet_id: u16) -> Option<&mut Request> {
        self.list
            .iter_mut()
            .find(|one| one.packet_id == packet_id && one.progress.is_exactly_once())
    }

    /// A PUBACK came from the upstream. RabbitMQ 3.10 answers messages of QoS 2 so, too, and has finished
    /// with them; a device that was told of a PUBREC before is not.
    pub(super) fn acknowledged(&mut self, packet_id: u16, is_refused: bool) -> Answer {
        let is_whole = |one| matches!(one, Progress::AtLeastOnce | Progress::Sent);
        let plain = self.remove(packet_id, |one| one == Progress::AtLeastOnce);
        if plain.or_else(|| self.remove(packet_id, is_whole)).is_some() {
            return Answer::Pass;
        }
        let restarted = self
            .exactly_once(packet_id)
            .filter(|one| one.is_restarted && one.progress != Progress::Finished);
        let Some(progress) = restarted.map(|one| one.progress) else {
            return Answer::Unknown;
        };
        if is_refused {
            return Answer::Breaks;
        }
        self.remove(packet_id, Progress::is_exactly_once);
        if progress == Progress::Released {
            return Answer::Finish;
        }
        self.add(packet_id, Progress::Finished, None);
        Answer::Swallow
    }

    /// A PUBREC came from the upstream; after a renewal the device is not told twice.
    pub(super) fn received(&mut self, packet_id: u16, is_refused: bool) -> Answer {
        let is_renewed = self.is_renewed;
        // A message of QoS 1 that is answered so goes on as the upstream has it.
        let is_first = |one| matches!(one, Progress::AtLeastOnce | Progress::Sent);
        let is_known = self.exactly_once(packet_id).is_some();
        let Some(request) = self
            .list
            .iter_mut()
            .filter(|one| one.packet_id == packet_id)
            .find(|one| one.progress.is_exactly_once() || (!is_known && is_first(one.progress)))
        else {
            return Answer::Unknown;
        };
        if is_first(request.progress) {
            if is_refused {
                self.remove(packet_id, is_first);
            } else {
                request.progress = Progress::Received;
            }
            return Answer::Pass;
        }
        if !is_renewed {
            return Answer::Pass;
        }
        if is_refused {
            return Answer::Breaks;
        }
        request.is_restarted = false;
        if request.progress == Progress::Released {
            Answer::Release
        } else {
            Answer::Swallow
        }
    }

    /// A PUBREL came from the device; it waits for the PUBREC of a new upstream.
    pub(super) fn released(&mut self, packet_id: u16) -> Answer {
        if let Some(request) = self.exactly_once(packet_id) {
            if request.progress == Progress::Finished {
                self.remove(packet_id, |one| one == Progress::Finished);
                return Answer::Complete;
            }
            request.progress = Progress::Released;
            return if request.is_restarted {
                Answer::Swallow
            } else {
                Answer::Pass
            };
        }
        self.add(packet_id, Progress::ReleasedEarlier, None);
        Answer::Pass
    }

    /// A PUBCOMP came from the upstream.
    pub(super) fn completed(&mut self, packet_id: u16) -> Answer {
        self.remove(packet_id, |one| {
            let is_open = one.is_exactly_once() && one != Progress::Finished;
            is_open || one == Progress::ReleasedEarlier
        })
        .map_or(Answer::Unknown, |_| Answer::Pass)
    }

    /// The first that the upstream has not answered: what it dealt with last, whatever the device has sent
    /// behind it.
    fn first_of(&self, queue: Queue) -> Option<usize> {
        self.list.iter().position(|one| one.queue() == Some(queue))
    }

    /// B-TOK-2: the upstream is lost; perhaps what it dealt with last is why.
    pub(super) fn suspect(&mut self) {
        for queue in [Queue::Filters, Queue::Messages, Queue::Releases] {
            let first = self.first_of(queue);
            if let Some(one) = first.and_then(|index| self.list.get_mut(index)) {
                one.suspect = Some(queue);
            }
        }
    }

    /// B-TOK-2: whether a loss now would be the second one upon the same request.
    pub(super) fn has_culprit(&self) -> bool {
        [Queue::Filters, Queue::Messages, Queue::Releases]
            .into_iter()
            .any(|queue| {
                let first = self.first_of(queue);
                let first = first.and_then(|index| self.list.get(index));
                first.is_some_and(|one| one.suspect == Some(queue))
            })
    }

    /// The copies of SUBSCRIBEs under way.
    pub(super) fn subscribes(&self) -> impl Iterator<Item = &[u8]> {
        self.list
            .iter()
            .filter(|one| one.progress == Progress::Subscribe)
            .filter_map(|one| one.copy.as_deref())
    }

    /// What a new upstream is sent: subscriptions first, then messages in their order.
    pub(super) fn send_again(&mut self, session_present: bool, upstream: &mut Vec<u8>) {
        self.is_renewed = true;
        for one in &self.list {
            if matches!(one.progress, Progress::Subscribe | Progress::Unsubscribe)
                && let Some(copy) = &one.copy
            {
                upstream.extend_from_slice(copy);
            }
        }
        for one in &mut self.list {
            let is_told = matches!(one.progress, Progress::Received | Progress::Released);
            one.is_restarted |= is_told && !session_present;
            match one.progress {
                Progress::Subscribe | Progress::Unsubscribe | Progress::Finished => {}
                Progress::Received if !one.is_restarted => {}
                Progress::ReleasedEarlier => {
                    write_acknowledgement(PUBREL, one.packet_id, upstream);
                }
                Progress::Released if !one.is_restarted => {
                    write_acknowledgement(PUBREL, one.packet_id, upstream);
                }
                Progress::AtLeastOnce
                | Progress::Sent
                | Progress::Received
                | Progress::Released => {
                    if let Some([first, rest @ ..]) = one.copy.as_deref() {
                        upstream.push(first | DUP);
                        upstream.extend_from_slice(rest);
                    }
                }
            }
        }
    }
}

/// The flag of a PUBLISH that may have been sent before.
const DUP: u8 = 0b1000;
