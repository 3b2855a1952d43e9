//! Fair: a session that sends as much as it can goes before another's message by little. Counted, not timed: by how many
//! bytes, and for how many rounds.

use std::io::{Read as _, Write as _};

use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;

use super::{IMSI, ROUNDS, Table, publish};
use crate::limits::BATCH_BYTES;

/// The session that floods, and the one that has something to say now and then.
const FLOOD: usize = 0;
const QUIET: usize = 1;
/// Messages of the quiet one, and rounds of the flood between them.
const MESSAGES: usize = 100;
const APART: usize = 7;

/// A flood, as much of it as the kernel takes.
struct Flood {
    messages: Vec<u8>,
    sent: usize,
    arrived: usize,
}

impl Flood {
    /// The relay has one round; what it has sent is taken, and what it has received is there again.
    fn round(&mut self, table: &mut Table) {
        table.round();
        let mut received = std::mem::take(&mut table.received);
        while let Ok(count) = table.peer((FLOOD, Side::Upstream)).read(&mut received) {
            self.arrived += count;
        }
        table.received = received;
        loop {
            let from = self.sent % self.messages.len();
            match table
                .peer((FLOOD, Side::Device))
                .write(&self.messages[from..])
            {
                Ok(count) => self.sent += count,
                Err(_) => break,
            }
        }
    }
}

#[test]
fn a_flood_goes_before_anothers_message_by_a_round_at_most() {
    let mut table = Table::new(Platform::V201912, 2);
    let mut flood = Flood {
        messages: publish(0, "f", 100).repeat(1_000),
        sent: 0,
        arrived: 0,
    };
    let expected = publish(0, &format!("q/{IMSI}"), 8);
    for _ in 0..MESSAGES {
        for _ in 0..APART {
            flood.round(&mut table);
        }
        let before = flood.arrived;
        table
            .peer((QUIET, Side::Device))
            .write_all(&publish(0, "q", 8))
            .unwrap();
        let mut received = [0; 64];
        let rounds = (1..ROUNDS).find(|_| {
            flood.round(&mut table);
            let quiet = table.peer((QUIET, Side::Upstream));
            quiet
                .read(&mut received)
                .is_ok_and(|count| received[..count] == expected)
        });
        // One that was under way, one without a buffer for it, and its own.
        assert!(rounds.unwrap() <= 3, "{rounds:?} rounds");
        let bytes = flood.arrived - before;
        assert!(bytes < 2 * BATCH_BYTES, "{bytes} bytes went before");
    }
    assert!(flood.arrived > MESSAGES * BATCH_BYTES, "it was no flood");
    table.end();
}
