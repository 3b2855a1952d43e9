//! Every maximum of the control plane, in one place: unit, reason, and what happens beyond it.

/// Jobs that wait for the registry, of each of its threads; beyond, requests are answered 503.
pub(super) const STORE_JOBS: usize = 1024;

/// How long the engine waits for another program that writes to the registry, while writing works and while it does not:
/// what waits behind takes addresses away.
pub(super) const WRITE_WAIT: std::time::Duration = std::time::Duration::from_secs(2);
/// While it does not.
pub(super) const WRITE_WAIT_FAILING: std::time::Duration = std::time::Duration::from_millis(50);

/// How often it is tried to store what could not be stored.
pub(super) const RETRY_INTERVAL: std::time::Duration = std::time::Duration::from_secs(1);

/// Events of sessions that are kept while they cannot be stored: one of each kind for each session, a few hundred bytes each.
/// Beyond, they take effect and are not kept: whoever was not answered sends them again.
pub(super) const EVENTS_UNSTORED: usize = 65_536;
/// Requests that are kept, each with a body of [`BODY_BYTES`] at most; beyond, they take effect until the registry can be
/// written, and whoever asked is told so.
pub(super) const REQUESTS_UNSTORED: usize = 64;
/// Acts that wait for the audit log; beyond, they stand in the engine's log alone.
pub(super) const AUDIT_UNSTORED: usize = 1024;

/// People and programs that are signed in at once; beyond, whoever would expire first has to sign in again.
pub(super) const TOKENS: usize = 10_000;

/// Milliseconds for which a token holds without a look at whether the password or key that it was given for does.
pub(super) const PROOF_MS: u64 = 5_000;

/// Failures to sign in, by one name or from one address, within this time in milliseconds; beyond, they wait.
pub(super) const TRIES: u32 = 10;
/// In milliseconds.
pub(super) const TRIES_MS: u64 = 60_000;

/// Bytes of a name, of a password, and of a key and its id that may be somebody's; longer ones are nobody's.
pub(super) const NAME_BYTES: usize = 254;
/// Of a password.
pub(super) const PASSWORD_BYTES: usize = 1024;
/// Of a key and its id.
pub(super) const KEY_BYTES: usize = 256;

/// Names and addresses that failed of late and are remembered; beyond, the oldest is forgotten.
pub(super) const THROTTLED: usize = 10_000;

/// Passwords that are verified at once: each takes 19 MiB and tens of milliseconds.
pub(super) const PASSWORDS_AT_ONCE: usize = 2;

/// Connections to the control plane at once; beyond, the first on which nobody has signed in makes room, or else they wait.
pub(super) const CONTROL_CONNECTIONS: usize = 80;

/// Of these, those on which somebody listens to figures or to a tap; beyond, whoever asks is answered 503, so that
/// probes and supervisors find a place.
pub(super) const STREAMS: usize = 32;

const _: () = assert!(2 * STREAMS < CONTROL_CONNECTIONS);

const _: () = assert!(
    (crate::limits::REFUSALS_AT_ONCE
        + crate::limits::LEAVING_AT_ONCE
        + crate::limits::ATTEMPTS_SPARE
        + CONTROL_CONNECTIONS) as u64
        + FILES
        <= crate::limits::DESCRIPTORS_RESERVED,
    "descriptors are reserved for them"
);

/// Descriptors beside them: a connection that waits for its place, two connections to the registry with its log, its runtime, listeners, SMFs.
const FILES: u64 = 48;

/// Milliseconds that a request's head may take.
pub(super) const REQUEST_HEAD_MS: u64 = 10_000;

/// How long a request's body may take, a whole fleet's, and that of somebody who is nobody yet; beyond, it is answered
/// 408.
pub(super) const BODY_PATIENCE: std::time::Duration = std::time::Duration::from_secs(10);
/// A whole fleet's.
pub(super) const FLEET_PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);
/// Of somebody who signs in.
pub(super) const SIGN_IN_PATIENCE: std::time::Duration = std::time::Duration::from_secs(5);

/// How long a peer may take nothing of what it is answered; then its connection is closed.
pub(super) const WRITE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// How long a connection that was answered goes on taking what its peer still sends, how many bytes of it, and how many at
/// a time; beyond, it is reset.
pub(super) const LINGER: std::time::Duration = std::time::Duration::from_secs(2);
/// Bytes.
pub(super) const LINGER_BYTES: usize = 64 * 1024 * 1024;
/// At a time.
pub(super) const LINGER_READ_BYTES: usize = 16 * 1024;

/// Bytes of a request's body, but for a whole fleet's.
pub(super) const BODY_BYTES: usize = 1024 * 1024;

/// Bytes of a request to sign in.
pub(super) const SIGN_IN_BYTES: usize = 16 * 1024;

/// Bytes of a fleet document that is sent in.
pub(super) const FLEET_BYTES: usize = 512 * 1024 * 1024;

/// Objects in one answer where nobody says how many, and at the most.
pub(super) const PAGE: usize = 100;
/// At the most.
pub(super) const PAGE_MAX: usize = 1000;

/// How long accepting pauses where the kernel refuses.
pub(super) const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Members of ranges that one request looks at; a list that is filtered ends there.
pub(super) const MEMBERS_LOOKED_AT: usize = 100_000;

/// How long a change waits until every shard has ended the sessions that it ends.
pub(super) const ENDING_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Buckets in one answer.
pub(super) const BUCKETS: usize = 10_000;

/// SIMs in an answer about those that used most.
pub(super) const TOP_SIMS: usize = 100;

/// Bytes of one export of figures, and files that are kept until they are fetched.
pub(super) const EXPORT_BYTES: usize = 64 * 1024 * 1024;
/// Files.
pub(super) const EXPORTS: usize = 4;
/// Milliseconds for which they are kept.
pub(super) const EXPORTS_KEPT_MS: u64 = 3_600_000;

/// How often billing figures are written: twice as often as is promised.
pub(super) const USAGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// How long a shard may take to tell what it has counted.
pub(super) const USAGE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How often what is old is forgotten.
pub(super) const PRUNE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(600);

/// Milliseconds by which this host's clock may be ahead of what is believed before the log tells of it, once in as long.
pub(super) const CLOCK_LAG_MS: i64 = 86_400_000;

/// Seconds for which figures of five minutes are kept, and those of days: the vendor's 32 days and 18 months, and a
/// bit more.
pub(super) const MINUTES_KEPT_SECONDS: i64 = 33 * 86_400;
/// Days.
pub(super) const DAYS_KEPT_SECONDS: i64 = 580 * 86_400;

/// Milliseconds for which it is kept what happened to SIMs, and how many entries at the most.
pub(super) const LOGS_KEPT_MS: i64 = 7 * 86_400_000;
/// Entries.
pub(super) const LOGS_KEPT: usize = 1_000_000;
/// Entries of the audit log.
pub(super) const AUDIT_KEPT: usize = 100_000;
/// Milliseconds for which sessions that are over are told of, and how many events at the most.
pub(super) const SESSION_EVENTS_KEPT_MS: i64 = 31 * 86_400_000;
/// Events.
pub(super) const SESSION_EVENTS_KEPT: usize = 10_000_000;
/// Milliseconds for which RADIUS sessions that are over are remembered.
pub(super) const SESSIONS_OVER_KEPT_MS: i64 = 86_400_000;

/// Groups that metrics count one by one; the others are counted together.
pub(super) const GROUPS_COUNTED: usize = 200;

/// How often events of SIMs are stored, and how many in one transaction.
pub(super) const EVENTS_INTERVAL: std::time::Duration = std::time::Duration::from_millis(250);
/// Events.
pub(super) const EVENTS_AT_ONCE: usize = 2048;

/// How long shards may take to tell their figures.
pub(super) const REPORT_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Events that wait for one listener; then whoever makes them waits.
pub(super) const STREAM_EVENTS: usize = 256;

/// Seconds that a tap lasts where nobody says, and at the most.
pub(super) const TAP_SECONDS: u64 = 60;
/// At the most.
pub(super) const TAP_SECONDS_MAX: u64 = 3600;

/// Packets that a tap shows where nobody says, and at the most.
pub(super) const TAP_PACKETS: usize = 10_000;
/// At the most.
pub(super) const TAP_PACKETS_MAX: usize = 1_000_000;

/// Events of a tap that wait; beyond, they are lost and it is said how many.
pub(super) const TAP_EVENTS: usize = 1024;

/// Bytes of a packet that a tap looks at.
pub(super) const TAP_PACKET_BYTES: usize = 16 * 1024;

/// How often a tap looks for what has come.
pub(super) const TAP_LOOK: std::time::Duration = std::time::Duration::from_millis(10);
