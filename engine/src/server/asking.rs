//! Asking: what whoever runs the engine wants done or known. Everything here returns at once; the shards' answers come
//! through a channel, and whoever waits for them says for how long.

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use ringbeam_proto::identity::Imsi;

use super::Server;
use crate::shard::counters::Totals;
use crate::shard::mailbox::Message;
use crate::shard::owner;
use crate::shard::report::{
    Ask, ConnectionFilter, ConnectionId, ConnectionPage, Done, Ends, Imsis, TapEvent, TapRequest,
    Tapping, UsageShare,
};
use crate::sys::clock::now_ms;

impl Server {
    /// The fleet changed for these SIMs alone: their connections that it no longer allows end (B-ID-4, B-CFG-5). Comes
    /// behind [`Self::replace_quietly`], so that nothing begins meanwhile that it does not allow.
    ///
    /// Something is received when it is done: from then on no byte of such a connection is relayed.
    pub fn sims_changed(&self, imsis: Arc<Imsis>) -> Receiver<()> {
        self.end(imsis, false)
    }

    /// All connections of these SIMs end at once, whatever the fleet says (B-ID-4), those on their way from one shard to
    /// another excepted: the fleet decides about them. Something is received when it is done, as above.
    pub fn end_sims(&self, imsis: Arc<Imsis>) -> Receiver<()> {
        self.end(imsis, true)
    }

    fn end(&self, imsis: Arc<Imsis>, are_all: bool) -> Receiver<()> {
        let (done, is_done) = Done::new();
        let ends = Ends {
            imsis,
            are_all,
            done,
        };
        self.tell_all(|| Message::Ask(Ask::End(ends.clone())));
        is_done
    }

    /// Asks for what was billed since it was asked for last, of sessions that live and that have ended (B-BILL-1). Each
    /// shard answers once through the same channel, whoever asks, so that nothing is lost by who gives up waiting: it
    /// is received by whoever asks next. Shards that have ended do not answer; what was left is in
    /// [`super::ShardEnded`].
    ///
    /// All answers are empty unless the server was started before an [`crate::shard::report::Audience`] that collects.
    pub fn collect_usage(&self) -> &Receiver<UsageShare> {
        let (reply, answers) = &self.usage;
        self.tell_all(|| Message::Ask(Ask::Usage(reply.clone())));
        answers
    }

    /// Asks for sessions. Each shard answers once; the ids of the first `limit` of all answers are the next ones in
    /// order.
    pub fn connections(&self, filter: &ConnectionFilter) -> Receiver<ConnectionPage> {
        let (reply, answers) = bounded(self.shards());
        self.tell_all(|| Message::Ask(Ask::List(filter.clone(), reply.clone())));
        answers
    }

    /// Ends one session for the operator (B-KEEP-4). Received is whether there was one; nothing where its shard has ended.
    pub fn close_connection(&self, id: ConnectionId) -> Receiver<bool> {
        let (reply, answer) = bounded(1);
        self.tell(id.shard(), Message::Ask(Ask::Close(id, reply)));
        answer
    }

    /// Shows what passes in the sessions of a SIM for so long, or until what this returns is dropped. Where `events` is full,
    /// events are lost, and the next one says how many. It costs the other SIMs nothing; large messages of this one are
    /// not spliced meanwhile.
    ///
    /// When it is over, or where there are too many ([`crate::limits::TAPS`]), the channel has no sender any more.
    pub fn tap(&self, imsi: Imsi, duration: Duration, events: Sender<TapEvent>) -> Tapping {
        let tapping = Tapping::default();
        let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let request = TapRequest {
            imsi,
            until_ms: now_ms().saturating_add(duration_ms),
            events,
            is_wanted: tapping.watch(),
        };
        let shard = owner(&imsi, self.shards());
        self.tell(shard, Message::Ask(Ask::Tap(request)));
        tapping
    }

    /// Asks for the totals. Each shard answers twice, for its front and for its relay.
    pub fn reports(&self) -> Receiver<(usize, Totals)> {
        let (reply, answers) = bounded(2 * self.shards());
        self.tell_all(|| Message::Report(reply.clone()));
        answers
    }

    /// The totals of all shards. Waits for their answers.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for (_, answer) in self.reports() {
            totals.add(&answer);
        }
        totals
    }
}
