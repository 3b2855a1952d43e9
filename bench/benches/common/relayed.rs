//! Relayed: bytes of one side through an open session, as a relay does it, without sockets: reads of at
//! most a buffer, output of several reads side by side, slices gathered for the send, billed packets counted.

use std::hint::black_box;
use std::io::IoSlice;

use ringbeam::limits::BUFFER_BYTES;
use ringbeam_proto::error::Phase;
use ringbeam_proto::farewell::Manners;
use ringbeam_proto::limits::BATCH_INSERT_BYTES;
use ringbeam_proto::output::Piece;
use ringbeam_proto::packet::Version;
use ringbeam_proto::rules::Rules;
use ringbeam_proto::session::{Next, Opening, Outputs, Session, Side};

use super::Run;

/// Pieces of one send.
const SEND_PIECES: usize = 64;

/// What goes through the session, and what has to come of it.
pub(super) struct Passage {
    pub(super) version: Version,
    pub(super) rules: Rules,
    pub(super) from: Side,
    pub(super) input: Vec<u8>,
    /// What goes to the other side.
    pub(super) forwarded: Vec<u8>,
    /// What is answered.
    pub(super) replied: Vec<u8>,
}

impl Passage {
    /// A run that passes the input once.
    pub(super) fn prepare(&self) -> Run {
        let mut relayed = Relayed {
            session: open(self.version, self.rules),
            from: self.from,
            input: self.input.clone(),
            outputs: Outputs::default(),
        };
        let (mut forwarded, mut replied) = (Vec::new(), Vec::new());
        relayed.pass(
            |slices| {
                for slice in slices {
                    forwarded.extend_from_slice(slice);
                }
            },
            |reply| replied.extend_from_slice(reply),
        );
        assert!(
            forwarded == self.forwarded,
            "what is forwarded is not what the rules say"
        );
        assert!(
            replied == self.replied,
            "what is answered is not what the rules say"
        );
        Box::new(move || {
            relayed.pass(|slices| _ = black_box(slices), |reply| _ = black_box(reply));
        })
    }
}

struct Relayed {
    session: Session,
    from: Side,
    input: Vec<u8>,
    outputs: Outputs,
}

impl Relayed {
    /// Passes the whole input; `send` and `answer` stand for the kernel, which takes everything.
    fn pass(&mut self, mut send: impl FnMut(&[IoSlice<'_>]), mut answer: impl FnMut(&[u8])) {
        let Self {
            session,
            from,
            input,
            outputs,
        } = self;
        outputs.forward.clear(2 * BATCH_INSERT_BYTES);
        let mut start = 0;
        while start < input.len() {
            let end = input.len().min(start + BUFFER_BYTES);
            let read = black_box(&input[start..end]);
            outputs.forward.begin();
            let received = session.receive(*from, read, 0, outputs);
            let inserts = outputs.forward.inserts();
            for pieces in outputs.forward.pieces().chunks(SEND_PIECES) {
                let mut slices = [IoSlice::new(&[]); SEND_PIECES];
                for (slot, piece) in slices.iter_mut().zip(pieces) {
                    *slot = IoSlice::new(match piece {
                        Piece::Input(range) => &read[range.clone()],
                        Piece::Insert(range) => &inserts[range.clone()],
                    });
                }
                send(&slices[..pieces.len()]);
            }
            let billed = super::count(outputs.forward.billed_ends().len());
            session.count_sent(from.other(), billed);
            answer(&outputs.reply);
            outputs.reply.clear();
            assert!(
                matches!(received.next, Next::Read(_) | Next::Send),
                "{received:?}"
            );
            start += received.consumed;
        }
    }
}

/// A session whose CONNACK has come.
fn open(version: Version, rules: Rules) -> Session {
    let upstream_version = rules.platform.upstream_version(version).unwrap();
    let opening = Opening {
        identity: super::identity(),
        rules,
        device_version: version,
        upstream_version,
        keep_alive_seconds: 60,
        has_authentication_method: false,
        manners: Manners::default(),
    };
    let mut session = Session::new(opening, 0);
    let connack: &[u8] = match upstream_version {
        Version::V31 | Version::V311 => &[0x20, 2, 0, 0],
        Version::V5 => &[0x20, 3, 0, 0, 0],
    };
    session.receive(Side::Upstream, connack, 0, &mut Outputs::default());
    assert_eq!(session.phase(), Phase::Established);
    session
}
