//! Fair: sessions that send as much as they can go before another's message by little. Counted, not timed: by how many
//! bytes, and for how many rounds.

use std::io::{Read as _, Write as _};

use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;

use super::{IMSI, ROUNDS, Table, publish};
use crate::limits::BATCH_BYTES;

/// Messages of the quiet session, and rounds of the floods between them.
const MESSAGES: usize = 100;
const APART: usize = 7;

/// A flood, as much of it as the kernel takes.
struct Flood {
    session: usize,
    messages: Vec<u8>,
    sent: usize,
    arrived: usize,
}

impl Flood {
    /// What the relay has sent is taken, and what it has received is there again.
    fn go_on(&mut self, table: &mut Table) {
        let mut received = std::mem::take(&mut table.received);
        let upstream = table.peer((self.session, Side::Upstream));
        while let Ok(count) = upstream.read(&mut received) {
            self.arrived += count;
        }
        table.received = received;
        let device = table.peer((self.session, Side::Device));
        loop {
            let from = self.sent % self.messages.len();
            match device.write(&self.messages[from..]) {
                Ok(count) => self.sent += count,
                Err(_) => break,
            }
        }
    }
}

/// So many floods, and a quiet session beside them: rounds until its message is there, and bytes that went before it,
/// at most.
fn beside(floods: usize) -> (usize, usize) {
    let mut table = Table::new(Platform::V201912, floods + 1);
    let quiet = floods;
    let mut floods: Vec<_> = (0..floods)
        .map(|session| Flood {
            session,
            messages: publish(0, "f", 100).repeat(1_000),
            sent: 0,
            arrived: 0,
        })
        .collect();
    let mut round = |table: &mut Table| -> usize {
        table.round();
        floods.iter_mut().for_each(|flood| flood.go_on(table));
        floods.iter().map(|flood| flood.arrived).sum()
    };
    let expected = publish(0, &format!("q/{IMSI}"), 8);
    let mut arrived = 0;
    let mut most = (0, 0);
    for _ in 0..MESSAGES {
        for _ in 0..APART {
            arrived = round(&mut table);
        }
        let before = arrived;
        let device = table.peer((quiet, Side::Device));
        device.write_all(&publish(0, "q", 8)).unwrap();
        let mut received = [0; 64];
        let rounds = (1..ROUNDS).find(|_| {
            arrived = round(&mut table);
            let upstream = table.peer((quiet, Side::Upstream));
            let read = upstream.read(&mut received);
            read.is_ok_and(|count| received[..count] == expected)
        });
        most = (most.0.max(rounds.unwrap()), most.1.max(arrived - before));
    }
    assert!(arrived > MESSAGES * BATCH_BYTES, "it was no flood");
    table.end();
    most
}

#[test]
fn a_flood_goes_before_anothers_message_by_a_round_at_most() {
    let (rounds, bytes) = beside(1);
    // One that was under way, one without a buffer for it, and its own.
    assert!(rounds <= 3, "{rounds} rounds");
    assert!(bytes < 2 * BATCH_BYTES, "{bytes} bytes went before");
}

#[test]
fn floods_that_fill_every_round_leave_others_their_turn() {
    let (rounds, bytes) = beside(6);
    // They have every buffer there is, so that it waits for one as well; behind all that they sent it would take a
    // hundred rounds.
    assert!(rounds <= 24, "{rounds} rounds");
    assert!(bytes < 16 * BATCH_BYTES, "{bytes} bytes went before");
}
