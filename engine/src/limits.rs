//! Every engine maximum, in one place: unit, reason, and what happens beyond it. Protocol maxima stand
//! in `ringbeam_proto::limits`.

use ringbeam_proto::limits::{RENEWAL_COPY_BYTES, RENEWAL_FILTER_BYTES};

/// Bytes of one pooled buffer. A session holds one for each direction only while bytes of it are under
/// way; what a device sends before its CONNACK has to fit one (B-CON-4).
pub const BUFFER_BYTES: usize = 16 * 1024;

/// Bytes of one buffer that a relay receives into.
pub const RECEIVE_BYTES: usize = 8 * 1024;

/// Buffers that the kernel fills for one connection before others have their turn (Linux, `MULTISHOT_MAX_RETRY`).
pub const RECEIVES_IN_A_ROW: usize = 32;

/// Bytes of what is known of one session: its state, both legs, its record.
pub const SESSION_BYTES: usize = 768;

/// Bytes of the state of one TLS connection, about.
pub const TLS_SESSION_BYTES: usize = 4 * 1024;

/// Bytes of it in front of what the kernel receives, for the beginning of a packet that came before.
pub const FRONT_BYTES: usize = 256;

/// Bytes of a message still to come from which they are spliced from one socket to the other, where neither
/// is TLS.
pub const SPLICE_BYTES: usize = 64 * 1024;

/// Bytes that fit into a pipe for that.
pub const PIPE_BYTES: usize = 1024 * 1024;

/// Pipes of one relay; while all are in use large messages are copied as others are.
pub const PIPES: usize = 8;

/// Times that a pipe is filled and emptied before others have their turn.
pub const SPLICES_IN_A_ROW: usize = 4;

/// Buffers of a relay: all that it receives into. When none is left the kernel keeps what comes.
pub const BUFFERS: u16 = 256;

/// Buffers that the kernel is offered at first; twice as many each time that it runs out.
pub const BUFFERS_OFFERED: u16 = 64;

/// Messages for which nobody waits any longer where `coalesce_us` lets them wait for each other.
pub const COMPANY: usize = 32;

/// Entries of a relay's submission queue; a full queue is submitted early.
pub const RELAY_SUBMISSIONS: u32 = 1024;

/// Entries of a relay's completion queue; the kernel keeps more until there is room.
pub const RELAY_COMPLETIONS: u32 = 4096;

/// Bytes of a connection that has ended that are read away; then its peer is left to the deadline.
pub const LINGER_BYTES: u32 = 1024 * 1024;

/// Microseconds that a message may wait for company at most: far from what overload is told by.
pub const COALESCE_US_MAX: u32 = 100_000;

/// Bytes of a round after which its sends go out before more of what has come is dealt with.
pub const BATCH_BYTES: usize = 128 * 1024;

/// Bytes of one SIM, all of its sessions together, that a round deals with while others wait as well. Whoever has more
/// there counts as greedy.
pub const SHARE_BYTES: usize = READS_IN_A_ROW * RECEIVE_BYTES;

/// Milliseconds for which a SIM counts as greedy after more of it waited than its share.
pub const GREEDY_MS: u64 = 100;

/// Buffers that all greedy SIMs together are received into in one round; what they have sent beyond stays in the kernel.
/// All other buffers are the others'.
pub const GREEDY_BUFFERS: usize = 16;

/// Bytes of a round's lists that are kept for the next round.
pub const BATCH_KEPT_BYTES: usize = 64 * 1024;

/// Idle buffers that a front keeps for reuse; more are given back to the allocator.
pub const BUFFERS_KEPT: usize = 16;

/// Bytes that a shard may hold in packet heads larger than a buffer (B-ERR-5); a session that needs
/// more ends with its own reason.
pub const LARGE_HEAD_BYTES: usize = 64 * 1024 * 1024;

/// The least that `engine.waiting_bytes` may be, in bytes: a head of the largest size for each side of a session or two.
pub const WAITING_BYTES_MIN: usize = 1024 * 1024;

/// The part of what host or control group allows that may wait in sessions where nothing is said.
pub const WAITING_SHARE: u64 = 4;

/// Bytes that may wait in sessions where nothing is said and the host does not say what it has.
pub const WAITING_BYTES_UNKNOWN: usize = 256 * 1024 * 1024;

/// When too much waits, sessions end until one part in so many is free again, so that it is not looked for whoever holds
/// most at each byte.
pub const WAITING_ROOM_SHARE: usize = 16;

/// Reads of one side in a row before the shard's other sessions get their turn.
pub const READS_IN_A_ROW: usize = 4;

/// Milliseconds that a closing connection may take to deliver its last bytes and to be closed by its
/// peer; then it is cut.
pub const LINGER_MS: u64 = 2_000;

/// Milliseconds of these in which an upstream may answer what came before a device's DISCONNECT, and close by itself.
/// Then its connection is closed for writing. A broker that closes while our own close lies unread before it resets
/// the connection, and its last answers are lost: mosquitto over TLS.
pub const ANSWERS_MS: u64 = 1_000;

const _: () = assert!(ANSWERS_MS < LINGER_MS);

/// Milliseconds between two looks at the deadlines. None fires early, none later than this after its
/// time but for load.
pub const TICK_MS: u64 = 250;

/// Slots of the deadline wheel, one tick each; a later deadline waits its turns.
pub const WHEEL_SLOTS: usize = 512;

/// Descriptors kept free of sessions: those that are refused or make room, further attempts to connect, the control plane
/// and its registry, files, resolver, signals.
pub const DESCRIPTORS_RESERVED: u64 = 680;

/// Descriptors of one shard: its rings, their wake-ups, the relay's pipes, and a few for connections that move or
/// close.
pub const DESCRIPTORS_PER_SHARD: u64 = 12 + 2 * PIPES as u64;

/// Descriptors of one session: its device and its upstream.
pub const DESCRIPTORS_PER_SESSION: u64 = 2;

/// Connections at the same time that will only be refused: from addresses without a SIM, or beyond the
/// session limit. More are closed at once.
pub const REFUSALS_AT_ONCE: usize = 288;

/// Connections from addresses that are nobody's, at the same time, on networks whose sessions are told of (B-ID-8). Each
/// takes a descriptor that no session needs just now. Beyond either bound the oldest of whoever has most makes room.
pub const STRANGERS_AT_ONCE: usize = 16 * 1024;

/// Bytes of a CONNECT that waits, with what the device sends behind it. A larger one does not wait; what comes beyond stays with
/// the kernel.
pub const STRANGER_BYTES: usize = 8 * 1024;

/// Descriptors that they leave free, so that SIMs that come at once need not wait until somebody has made room; an eighth of all
/// where that is less.
pub const STRANGERS_LEAVE: usize = 256;

/// Bytes of what a device sends behind a CONNECT that waits which are read at a time; room for as many is kept for each.
pub const READ_AHEAD_BYTES: usize = 256;

/// Half CONNECTs that were told to make room and whose descriptors are not closed yet. Beyond that whoever comes finds no
/// room; strangers may use half of it, so that their crowd keeps no SIM out.
pub const LEAVING_AT_ONCE: usize = 192;

/// Messages that may wait for one shard, hand-overs above all; a connection that finds the queue full
/// is refused.
pub const INBOX_MESSAGES: usize = 8 * 1024;

/// Microseconds that what comes may wait for a relay; beyond that new sessions are refused, so that those which
/// are open get what there is.
pub const OVERLOAD_LAG_US: u64 = 300_000;

/// Microseconds for which a relay's last lag counts, while no message tells anew.
pub const OVERLOAD_MEMORY_US: u64 = 1_000_000;

/// Connections that may wait to be accepted on one listener; net.core.somaxconn bounds it further.
pub const LISTEN_BACKLOG: i32 = 4096;

/// Milliseconds that accepting pauses when descriptors or memory ran out.
pub const ACCEPT_PAUSE_MS: u64 = 50;

/// Entries of a shard's submission queue; a full queue is submitted early.
pub const RING_ENTRIES: u32 = 4096;

/// B-KEEP-7: seconds of silence before TCP asks whether an upstream is there, between two such questions, and
/// questions without an answer before the connection breaks. Devices are never asked.
pub const UPSTREAM_KEEPALIVE_SECONDS: (u64, u64, u32) = (60, 15, 4);

/// B-KEEP-7: milliseconds that a device may leave what it was sent unacknowledged before the kernel gives it up: more than
/// any keep alive that a device may ask for allows (1.5 times 1,200 s) and more than the 30 minutes without one. The kernel's
/// own patience ends after a quarter of an hour.
pub const DEVICE_UNACKNOWLEDGED_MS: u64 = 1_860_000;

/// Name look-ups that may wait; more fail at once.
pub const RESOLVER_QUEUE: usize = 1024;

/// Milliseconds that an answer to a name look-up is used before it is asked for again, and a failure.
pub const RESOLVER_KEEP_MS: (u64, u64) = (30_000, 5_000);

/// Milliseconds after which a good answer that is in use is looked up again in the background; what is
/// left until it runs out is the time that this may take without anybody waiting for it.
pub const RESOLVER_REFRESH_MS: u64 = 22_500;

/// Milliseconds between two looks at which answers are to be refreshed or forgotten.
pub const RESOLVER_LOOK_MS: u64 = 1_000;

/// Milliseconds after which a name that nobody asks for is forgotten, and with it the addresses that
/// would outlive a failure of its servers.
pub const RESOLVER_FORGET_MS: u64 = 3_600_000;

/// Addresses of one name that are used, the first ones.
pub const RESOLVER_ADDRESSES: usize = 32;

/// Name look-ups at the same time: a name whose servers are dead holds up one of them.
pub const RESOLVER_THREADS: usize = 4;

/// Names whose addresses are kept. Beyond that those that have run out are dropped, or else all that is
/// not being looked up.
pub const RESOLVER_NAMES: usize = 4096;

/// Destinations whose pace is kept while a rate is configured. Those whose time has passed make room;
/// beyond that a destination is not held back.
pub const PACE_DESTINATIONS: usize = 16 * 1024;

/// Milliseconds until the next address of a destination is tried beside those that have not answered
/// (RFC 8305, section 5).
pub const ATTEMPT_STAGGER_MS: u64 = 250;

/// Addresses of a destination that are tried at a time for one session; the first of them has to have had
/// its share of the time before another takes its turn.
pub const ATTEMPTS_AT_ONCE: usize = 4;

/// Attempts of all sessions together beyond their first: each takes a descriptor that no session counts.
/// Beyond that addresses are tried one after the other.
pub const ATTEMPTS_SPARE: usize = 64;

/// Milliseconds that an address which failed is tried after the others of its destination.
pub const FAILED_ADDRESS_MS: u64 = 10_000;

/// Failed addresses that a shard remembers; more are not.
pub const FAILED_ADDRESSES: usize = 256;

/// Addresses that a refusal names with their reasons; of more it tells the number.
pub const REASONS_NAMED: usize = 8;

/// Sessions a second that a drain closes at least, if its time allows to be that slow.
pub const DRAIN_SESSIONS_PER_SECOND: u64 = 2_000;

/// Milliseconds between two steps of a drain.
pub const DRAIN_STEP_MS: u64 = 20;

/// Tickets for resuming TLS sessions, of all servers and credentials together; the servers that were met
/// longest ago are forgotten first. A few KiB each: a ticket keeps the server's certificates.
pub const TLS_TICKETS: usize = 8 * 1024;

/// Tickets that are forgotten at once when there are too many.
pub const TLS_TICKETS_FORGOTTEN: usize = TLS_TICKETS / 16;

/// Tickets of one server and credential; a server's oldest go first.
pub const TLS_TICKETS_PER_SERVER: usize = 256;

/// Bytes that one read of a TLS connection takes: a whole record and a bit.
pub const TLS_READ_BYTES: usize = 18 * 1024;

/// Bytes of TLS records that may wait for the rest of a message; handshake messages have 64 KiB at most.
pub const TLS_INCOMING_BYTES_MAX: usize = 96 * 1024;

/// Bytes in clear that one send over TLS carries: a whole record.
pub const TLS_SEAL_BYTES: usize = 16 * 1024;

/// Emptied buffers for TLS records that a shard keeps for reuse.
pub const TLS_SPARE_BUFFERS: usize = 64;

/// Bytes of the largest of them.
pub const TLS_SPARE_BYTES: usize = 32 * 1024;

/// Milliseconds that a planned renewal of an upstream waits for what is unanswered; then it is said again
/// to the next one.
pub const RENEWAL_QUIET_MS: u64 = 10_000;

/// Milliseconds until a planned renewal is tried again that would have cut a message in half.
pub const RENEWAL_RETRY_MS: u64 = 10_000;

/// Milliseconds before the first attempt to reach an upstream that was lost, at most, and the longest
/// between two attempts; each wait is twice the one before.
pub const RENEWAL_DELAY_MS: (u64, u64) = (500, 8_000);

/// Milliseconds that a session lives without an upstream; then its device is disconnected.
pub const RENEWAL_MS_MAX: u64 = 60_000;

/// Milliseconds after which a new upstream has proved itself; one that is lost sooner is part of the same
/// trouble, with longer and longer waits between attempts.
pub const RENEWAL_PROVED_MS: u64 = 10_000;

/// Bytes of a device's CONNECT that is kept for renewals; with a larger one a session has none.
pub const RENEWAL_CONNECT_BYTES: usize = 8 * 1024;

/// Percent of a token's life after which its session's upstream is renewed, the earliest and the latest:
/// not all at the same time.
pub const RENEWAL_LIFE_PERCENT: (u64, u64) = (80, 90);

/// Bytes of a RADIUS packet at most (RFC 2866, section 3); a longer one is dropped.
pub const RADIUS_PACKET_BYTES: usize = 4096;

/// Address blocks that one accounting request may give a session; a device has one of IPv4 and one or two of IPv6.
/// Further ones are left out.
pub const RADIUS_BLOCKS: usize = 8;

/// Bits of the shortest IPv6 prefix that is taken for one device's; a shorter one is left out.
pub const DEVICE_PREFIX_BITS_MIN: u8 = 48;

/// Milliseconds by which an access server's clock may differ from this host's, either way; beyond, the time at which it
/// is told counts (B-ID-7).
pub const RADIUS_CLOCK_MS: u64 = 300_000;

/// Seconds for which an access server may have tried to tell (Acct-Delay-Time): for as long it is remembered what is
/// over. A longer time is not believed.
pub const RADIUS_DELAY_SECONDS_MAX: u32 = 86_400;

/// Bytes that a secret should have at least (RFC 2865, section 3); a shorter one is warned of.
pub const RADIUS_SECRET_BYTES: usize = 16;

/// Access servers and clients of whose faults the log tells, once each; those of further ones are counted alone.
pub const RADIUS_TOLD: usize = 1_000;

/// Requests that gave or ended something of which it is remembered that they came, so that one which is sent again does
/// nothing (B-ID-7). Beyond that the oldest are forgotten.
pub const RADIUS_REQUESTS: usize = 1_000_000;

/// Datagrams that are read before what they say is stored, in one batch.
pub const RADIUS_BATCH: usize = 256;

/// Batches that may be stored at a time; then datagrams wait in the kernel.
pub const RADIUS_BATCHES: usize = 4;

/// Milliseconds for which an answer is given again to a request that comes again.
pub const RADIUS_ANSWER_MS: i64 = 30_000;

/// Answers that are remembered: 5,000 a second for that long. Beyond that the oldest are forgotten; a request that
/// comes again is stored again then, which changes nothing.
pub const RADIUS_ANSWERS: usize = 160 * 1024;

/// Bytes of datagrams that the kernel is asked to keep for a RADIUS listener while batches are stored; net.core.rmem_max
/// bounds it further, and what does not fit is lost and sent again.
pub const RADIUS_SOCKET_BYTES: usize = 4 * 1024 * 1024;

/// Milliseconds that Open5GS may take for a connection or one page of its sessions.
pub const OPEN5GS_TIMEOUT_MS: u64 = 10_000;

/// Milliseconds that all pages together may take.
pub const OPEN5GS_POLL_MS: u64 = 60_000;

/// Bytes of all pages of Open5GS' sessions together; a longer list is refused as a whole.
pub const OPEN5GS_BYTES: usize = 64 * 1024 * 1024;

/// Pages of Open5GS' sessions, of a hundred devices each; a longer list is refused as a whole.
pub const OPEN5GS_PAGES: usize = 16 * 1024;

/// Milliseconds after which an event of a RADIUS session that was over is one of another session that has its id now.
pub const SESSION_REUSE_MS: i64 = 300_000;

/// Rows that one pruning of session history or of ended sessions deletes at most; the rest is left to the next.
pub const SESSION_PRUNE_ROWS: usize = 10_000;

/// Sessions that are over of which it is remembered, so that what comes late about them binds nothing. Beyond that
/// the oldest are forgotten.
pub const SESSIONS_OVER: usize = 1_000_000;

/// Sessions that a relay looks at in one round when it is asked about all of them; the others' turn comes in the
/// next ones.
pub const SESSIONS_IN_A_ROW: u32 = 4_096;

/// Questions about all sessions that wait for their turn at one relay. More get no answer; those that end sessions are
/// dealt with at once.
pub const WALKS: usize = 64;

/// Sessions that one shard lists in one answer.
pub const CONNECTIONS_LISTED: usize = 1_000;

/// Events of SIMs' connections that may wait until somebody takes them; more are lost, and counted.
pub const SIM_EVENTS: usize = 8 * 1024;

/// SIMs that are tapped at the same time on one shard; the tap of one more is over at once.
pub const TAPS: usize = 16;

/// Bytes that one event of a tap shows at most; more are shown by several.
pub const TAP_EVENT_BYTES: usize = 64 * 1024;

/// Answers about usage of each shard that wait until somebody takes them; beyond that a shard keeps what it has to tell.
pub const USAGE_SHARES: usize = 2;

/// SIMs whose records a shard keeps though they have no session, before it looks for those; then as many as have one.
pub const SIM_RECORDS_IDLE: usize = 1_024;

/// What sessions may need beyond two buffers each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extras {
    /// Some go on over TLS.
    pub tls: bool,
    /// Some have their upstream renewed.
    pub renewal: bool,
}

/// The most memory that the engine can come to beside its fleet, in bytes, by part. It is said at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryMax {
    /// What is known of sessions.
    pub records: usize,
    /// What the relays receive into.
    pub buffers: usize,
    /// What was received, or was to be sent, when one side or both stopped taking anything; packets that are not whole.
    pub waiting: usize,
    /// CONNECTs larger than a buffer, and those that wait for their address to be somebody's; what follows a CONNECT waits.
    pub heads: usize,
    /// TLS: its state, and records under way.
    pub tls: usize,
    /// Copies for renewals.
    pub renewal: usize,
}

impl MemoryMax {
    /// For so many sessions on so many shards, of which so many bytes may wait.
    #[must_use]
    pub const fn new(sessions: usize, shards: usize, extras: Extras, waiting: usize) -> Self {
        // A record's beginning, what the next read brings in clear, and one record to be sent.
        let tls = if extras.tls {
            TLS_SESSION_BYTES + 3 * TLS_READ_BYTES + TLS_SEAL_BYTES
        } else {
            0
        };
        // Copies, the same once more while they are sent again, filters, the CONNECT and the client id in it.
        let renewal = if extras.renewal {
            2 * RENEWAL_COPY_BYTES + 2 * RENEWAL_FILTER_BYTES + 2 * RENEWAL_CONNECT_BYTES
        } else {
            0
        };
        Self {
            records: sessions.saturating_mul(SESSION_BYTES),
            buffers: shards.saturating_mul(RECEIVE_BYTES * BUFFERS as usize),
            waiting,
            heads: shards
                .saturating_mul(LARGE_HEAD_BYTES)
                .saturating_add(STRANGERS_AT_ONCE * STRANGER_BYTES),
            tls: sessions.saturating_mul(tls),
            renewal: sessions.saturating_mul(renewal),
        }
    }

    /// Whether all of it is more than so many bytes.
    #[must_use]
    pub fn exceeds(self, bytes: u64) -> bool {
        u64::try_from(self.total()).is_ok_and(|total| total > bytes)
    }

    /// All of it.
    #[must_use]
    pub const fn total(self) -> usize {
        let Self {
            records,
            buffers,
            waiting,
            heads,
            tls,
            renewal,
        } = self;
        records
            .saturating_add(buffers)
            .saturating_add(waiting)
            .saturating_add(heads)
            .saturating_add(tls)
            .saturating_add(renewal)
    }
}

/// Bytes that may wait in sessions on all shards together: what was asked for, or else a part of what is allowed.
#[must_use]
pub fn waiting_bytes(asked: usize, allowed_bytes: Option<u64>) -> usize {
    let share = allowed_bytes.map(|bytes| bytes / WAITING_SHARE);
    let share = share.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
    match asked {
        0 => share
            .unwrap_or(WAITING_BYTES_UNKNOWN)
            .max(WAITING_BYTES_MIN),
        asked => asked,
    }
}

/// Descriptors that are not for sessions. A listener takes two in each shard: itself, and its duplicate that
/// ends it.
#[must_use]
pub const fn descriptors_reserved(shards: u64, listeners: u64) -> u64 {
    let per_shard = DESCRIPTORS_PER_SHARD.saturating_add(listeners.saturating_mul(2));
    DESCRIPTORS_RESERVED.saturating_add(shards.saturating_mul(per_shard))
}

const _: () = assert!(2 * COALESCE_US_MAX as u64 <= OVERLOAD_LAG_US);
const _: () = assert!(RESOLVER_REFRESH_MS + 2 * RESOLVER_LOOK_MS < RESOLVER_KEEP_MS.0);
const _: () = assert!(RESOLVER_QUEUE + RESOLVER_THREADS < RESOLVER_NAMES);
const _: () =
    assert!(((REFUSALS_AT_ONCE + LEAVING_AT_ONCE + ATTEMPTS_SPARE) as u64) < DESCRIPTORS_RESERVED);
const _: () = assert!(BUFFER_BYTES >= 2 * ringbeam_proto::limits::REPLY_BYTES);
const _: () = assert!(LARGE_HEAD_BYTES >= 16 * ringbeam_proto::limits::CONNECT_BYTES_MAX);
const _: () = assert!(RADIUS_BATCHES * RADIUS_BATCH < RADIUS_ANSWERS);
