//! Pieces: the parts of the engine that are measured alone, as cases. Both benchmarks run the same
//! ones, so that a time and an instruction count of one name are of the same work.

mod connect;
mod framing;
mod lookup;
mod packets;
mod relayed;
mod rewriting;
mod session;

use ringbeam_proto::identity::Identity;
use ringbeam_proto::rules::TopicRules;

/// Does a case's work once.
pub(crate) type Run = Box<dyn FnMut()>;

/// One kind of work.
pub(crate) struct Case {
    /// What is done, after the piece's name.
    pub(crate) name: String,
    /// Messages of one run: packets or look-ups.
    pub(crate) messages: u64,
    /// Bytes that come in with one run; 0 where bytes say nothing.
    pub(crate) bytes: u64,
    /// Makes what a run needs, and asserts once that a run does what the rules say.
    pub(crate) prepare: Box<dyn Fn() -> Run>,
}

/// Every piece and its cases, for a fleet of `sims` SIMs.
pub(crate) fn pieces(sims: u32) -> [(&'static str, Vec<Case>); 5] {
    [
        ("framing", framing::cases()),
        ("rewriting", rewriting::cases()),
        ("connect", connect::cases()),
        ("lookup", lookup::cases(sims)),
        ("session", session::cases()),
    ]
}

const PAYLOAD_BYTES: [usize; 4] = [16, 64, 1024, 64 * 1024];

const PACKETS_PER_READ: [usize; 3] = [1, 8, 64];

const IMSI: &str = "440100000000001";

const BOTH: TopicRules = TopicRules {
    append_imsi: true,
    replace_placeholders: true,
    rewrite_will: true,
};

fn identity() -> Identity {
    Identity {
        imsi: IMSI.parse().unwrap(),
        sim_id: "8981100000000000001".parse().unwrap(),
        imei: Some("353456789012348".parse().unwrap()),
    }
}

/// A length as a case's name has it: `16B`, `64KiB`.
fn size(bytes: usize) -> String {
    if bytes < 1024 {
        format!("{bytes}B")
    } else {
        format!("{}KiB", bytes / 1024)
    }
}

fn count(items: usize) -> u64 {
    u64::try_from(items).unwrap()
}
