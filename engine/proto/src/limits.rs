//! Every protocol maximum, in one place: unit, reason, and what happens beyond it.

/// Largest remaining length that MQTT can express, in bytes; a rewrite beyond it ends the session.
pub const REMAINING_LENGTH_MAX: usize = 268_435_455;

/// Longest remaining-length field, in bytes; a longer one is malformed.
pub const REMAINING_LENGTH_BYTES_MAX: usize = 4;

/// Longest fixed header in bytes: the type byte and the remaining length.
pub const FIXED_HEADER_BYTES_MAX: usize = 1 + REMAINING_LENGTH_BYTES_MAX;

/// Largest CONNECT in bytes, fixed header included (B-ERR-5): will, credentials and properties at
/// their largest fit. Beyond it the device is refused before the rest is read.
pub const CONNECT_BYTES_MAX: usize = 512 * 1024;

/// Largest packet that is no PUBLISH, and largest PUBLISH head with its properties, in bytes
/// (B-ERR-5). Beyond it the session ends.
pub const PACKET_BYTES_MAX: usize = 256 * 1024;

/// Longest MQTT string or binary field in bytes: its length has two bytes.
pub const STRING_BYTES_MAX: usize = 65_535;

/// Shortest keep alive that a device may ask for, in seconds (B-KEEP-1); 0 turns it off.
pub const KEEP_ALIVE_SECONDS_MIN: u16 = 5;

/// Longest keep alive that a device may ask for, in seconds (B-KEEP-1).
pub const KEEP_ALIVE_SECONDS_MAX: u16 = 1200;

/// Silence that ends a session without keep alive, in milliseconds (B-KEEP-3).
pub const IDLE_MS_MAX: u64 = 30 * 60 * 1000;

/// Most digits of an IMSI (ITU-T E.212).
pub const IMSI_DIGITS_MAX: usize = 15;

/// Most digits of a SIM id: an ICCID has 18 to 20 (ITU-T E.118), some vendors print 22.
pub const SIM_ID_DIGITS_MAX: usize = 22;

/// Most digits of an IMEI: 15, or 16 with the software version.
pub const IMEI_DIGITS_MAX: usize = 16;

/// Inserted bytes of one call after which they are sent before more input is taken. Short payloads are
/// inserted beside their heads, so that a read of 16 KiB comes out in one call unless its messages double:
/// rewriting adds some 30 bytes to each. One packet may exceed it alone, bounded by [`PACKET_BYTES_MAX`]
/// and by what placeholders grow to.
pub const BATCH_INSERT_BYTES: usize = 32 * 1024;

/// Pieces of one call after which they are sent before more input is taken: a vectored send takes 1,024.
pub const BATCH_PIECES: usize = 512;

/// Acknowledgements that may wait for a device that does not read them, in bytes; beyond it nothing
/// more is read from that device until it takes them.
pub const REPLY_BYTES: usize = 4 * 1024;

/// Bytes of the input from which a piece is borrowed instead of copied beside what is inserted before it:
/// to gather one more slice costs the kernel more than so many bytes cost to copy. A longer payload is
/// never copied (B-TOP-6).
pub const BORROW_BYTES_MIN: usize = 512;

/// Largest PUBLISH of a device that is taken as a whole only, in bytes, and the most that the copies of
/// one session's unanswered packets take together, where its upstream may be renewed. A larger message
/// streams without a copy; beyond the sum a device waits for answers.
pub const RENEWAL_COPY_BYTES: usize = 64 * 1024;

/// Unanswered packets of one session and direction that are kept track of for a renewal. Beyond it the
/// session cannot be renewed any more.
pub const RENEWAL_IN_FLIGHT_MAX: usize = 1024;

/// Filters of one session that a renewal subscribes to again, and their bytes together. Beyond it the
/// session cannot be renewed any more.
pub const RENEWAL_FILTERS_MAX: usize = 256;

/// See [`RENEWAL_FILTERS_MAX`].
pub const RENEWAL_FILTER_BYTES: usize = 16 * 1024;

/// Bytes of one SUBSCRIBE of a renewal, beyond which another is begun.
pub const RENEWAL_SUBSCRIBE_BYTES: usize = 4 * 1024;

/// Characters that are kept of what a peer says beside the code of its CONNACK or DISCONNECT; the rest is cut off.
pub const PARTING_CHARACTERS: usize = 120;

/// Characters of one word of it; a longer word, which may be a token, is masked.
pub const PARTING_WORD_CHARACTERS: usize = 40;

const _: () = assert!(CONNECT_BYTES_MAX < REMAINING_LENGTH_MAX);
const _: () = assert!(
    RENEWAL_COPY_BYTES <= PACKET_BYTES_MAX,
    "a caller keeps that much of one packet"
);
const _: () = assert!(RENEWAL_FILTER_BYTES <= RENEWAL_COPY_BYTES);
const _: () = assert!(RENEWAL_SUBSCRIBE_BYTES <= RENEWAL_FILTER_BYTES);
const _: () = assert!(
    PACKET_BYTES_MAX > 2 * STRING_BYTES_MAX,
    "a topic and a property fit"
);
const _: () = assert!(
    CONNECT_BYTES_MAX > 6 * STRING_BYTES_MAX,
    "every field of a CONNECT fits"
);
const _: () = assert!(KEEP_ALIVE_SECONDS_MAX as u64 * 1500 <= IDLE_MS_MAX);
const _: () = assert!(BORROW_BYTES_MIN < BATCH_INSERT_BYTES);
