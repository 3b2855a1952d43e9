//! Every maximum of the control plane, in one place: unit, reason, and what happens beyond it.

/// Jobs that wait for the registry, of each of its threads; beyond, requests are answered 503.
pub const STORE_JOBS: usize = 1024;

/// People and programs that are signed in at once; beyond, whoever would expire first has to sign in again.
pub const TOKENS: usize = 10_000;

/// Failures to sign in, by one name or from one address, within this time in milliseconds; beyond, they wait.
pub const TRIES: u32 = 10;
/// In milliseconds.
pub const TRIES_MS: u64 = 60_000;

/// Names and addresses that failed of late and are remembered.
pub const THROTTLED: usize = 10_000;

/// Passwords that are verified at once: each takes 19 MiB and tens of milliseconds.
pub const PASSWORDS_AT_ONCE: usize = 2;

/// Connections to the control plane at once; beyond, they wait to be accepted.
pub const CONTROL_CONNECTIONS: usize = 64;

/// Milliseconds that a request's head may take.
pub const REQUEST_HEAD_MS: u64 = 10_000;

/// Bytes of a request's body, but for a whole fleet's.
pub const BODY_BYTES: usize = 1024 * 1024;

/// Bytes of a fleet document that is sent in.
pub const FLEET_BYTES: usize = 512 * 1024 * 1024;

/// Objects in one answer where nobody says how many, and at the most.
pub const PAGE: usize = 100;
/// At the most.
pub const PAGE_MAX: usize = 1000;

/// How long accepting pauses where the kernel refuses.
pub const ACCEPT_PAUSE: std::time::Duration = std::time::Duration::from_millis(100);

/// Members of ranges that one request looks at; a list that is filtered ends there.
pub const MEMBERS_LOOKED_AT: usize = 100_000;

/// How long a change waits until every shard has ended the sessions that it ends.
pub const ENDING_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Buckets in one answer.
pub const BUCKETS: usize = 10_000;

/// SIMs in an answer about those that used most.
pub const TOP_SIMS: usize = 100;

/// Bytes of one export of figures, and files that are kept until they are fetched.
pub const EXPORT_BYTES: usize = 64 * 1024 * 1024;
/// Files.
pub const EXPORTS: usize = 4;

/// How often billing figures are written: twice as often as is promised.
pub const USAGE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(5);

/// How long a shard may take to tell what it has counted.
pub const USAGE_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// How often what is old is forgotten.
pub const PRUNE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(600);

/// Seconds for which figures of five minutes are kept, and those of days: the vendor's 32 days and 18 months, and a
/// bit more.
pub const MINUTES_KEPT_SECONDS: i64 = 33 * 86_400;
/// Days.
pub const DAYS_KEPT_SECONDS: i64 = 580 * 86_400;

/// Milliseconds for which it is kept what happened to SIMs, and how many entries at the most.
pub const LOGS_KEPT_MS: i64 = 7 * 86_400_000;
/// Entries.
pub const LOGS_KEPT: usize = 1_000_000;
/// Entries of the audit log.
pub const AUDIT_KEPT: usize = 100_000;
/// Milliseconds for which sessions that are over are told of, and how many events at the most.
pub const SESSION_EVENTS_KEPT_MS: i64 = 31 * 86_400_000;
/// Events.
pub const SESSION_EVENTS_KEPT: usize = 10_000_000;
/// Milliseconds for which RADIUS sessions that are over are remembered.
pub const SESSIONS_OVER_KEPT_MS: i64 = 86_400_000;
