//! Fair: sessions that send as much as they can go before another's message by little. Counted, not timed: by how many
//! bytes, and for how many rounds.

use std::io::{Read as _, Write as _};
use std::ops::Range;

use ringbeam_proto::packet::Version;
use ringbeam_proto::platform::Platform;
use ringbeam_proto::session::Side;
use rustix::net::sockopt::set_socket_send_buffer_size;

use super::{IMSI, ROUNDS, Sim, Table, publish, publish_with_properties};
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

/// Floods, and a quiet session behind them.
struct Crowd {
    table: Table,
    floods: Vec<Flood>,
    quiet: usize,
}

impl Crowd {
    /// So many floods, each of a SIM of its own.
    fn of_many(floods: usize) -> Self {
        let message = publish(0, "f", 100).repeat(1_000);
        Self::new(Table::new(Platform::V201912, floods + 1), &message)
    }

    /// So many connections of each of these SIMs, with properties of so many bytes in each message; then the quiet one,
    /// of another SIM.
    fn of_sims(connections: &[usize], bytes: usize) -> Self {
        let sim = |number| Sim::new(number, Version::V5, Platform::V201912);
        let sims: Vec<_> = (2..).map(sim).take(connections.len()).collect();
        let quiet = sim(1);
        let greedy = sims.iter().zip(connections);
        let greedy = greedy.flat_map(|(sim, count)| std::iter::repeat_n(sim, *count));
        let all: Vec<_> = greedy.chain([&quiet]).collect();
        let table = Table::of(&all);
        Self::new(table, &publish_with_properties("f", bytes))
    }

    fn new(table: Table, message: &[u8]) -> Self {
        let quiet = table.sessions.len() - 1;
        for peers in &table.sessions {
            // A hundred of them shall not fill the kernel's memory.
            set_socket_send_buffer_size(&peers.device, 128 * 1024).unwrap();
        }
        let floods = (0..quiet).map(|session| Flood {
            session,
            messages: message.to_vec(),
            sent: 0,
            arrived: 0,
        });
        Self {
            floods: floods.collect(),
            table,
            quiet,
        }
    }

    /// A round of the relay and of the floods. Bytes of theirs that have arrived so far.
    fn round(&mut self) -> usize {
        let Self { table, floods, .. } = self;
        table.round();
        floods.iter_mut().for_each(|flood| flood.go_on(table));
        self.arrived(0..self.quiet)
    }

    fn arrived(&self, floods: Range<usize>) -> usize {
        self.floods[floods].iter().map(|flood| flood.arrived).sum()
    }

    /// Quiet messages, with rounds of the floods between them: rounds until one has arrived, and bytes of the floods that
    /// went before it, at most.
    fn pass(&mut self, (message, expected): (&[u8], &[u8])) -> (usize, usize) {
        let mut arrived = 0;
        let mut most = (0, 0);
        for _ in 0..MESSAGES {
            for _ in 0..APART {
                arrived = self.round();
            }
            let before = arrived;
            let device = self.table.peer((self.quiet, Side::Device));
            device.write_all(message).unwrap();
            let mut received = [0; 64];
            let rounds = (1..ROUNDS).find(|_| {
                arrived = self.round();
                let upstream = self.table.peer((self.quiet, Side::Upstream));
                let read = upstream.read(&mut received);
                read.is_ok_and(|count| received[..count] == *expected)
            });
            most = (most.0.max(rounds.unwrap()), most.1.max(arrived - before));
        }
        assert!(arrived > MESSAGES * BATCH_BYTES, "it was no flood");
        most
    }
}

/// So many floods of SIMs of their own beside a quiet session: rounds and bytes that went before its messages, at most.
fn beside(floods: usize) -> (usize, usize) {
    let mut crowd = Crowd::of_many(floods);
    let expected = publish(0, &format!("q/{IMSI}"), 8);
    let most = crowd.pass((&publish(0, "q", 8), &expected));
    crowd.table.end();
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

#[test]
fn a_hundred_connections_of_one_sim_go_before_anothers_message_by_two_rounds_at_most() {
    // Heads that fit a buffer, that take two, and that are collected.
    for bytes in [3_000, 12_000, 120_000] {
        let mut crowd = Crowd::of_sims(&[100], bytes);
        let expected = publish_with_properties(&format!("q/{IMSI}"), 1);
        let quiet = publish_with_properties("q", 1);
        let (rounds, before) = crowd.pass((&quiet, &expected));
        // One that was under way and its own; and one without a buffer for it where all of them begin at once.
        assert!(rounds <= 3, "{bytes}: {rounds} rounds");
        assert!(before < 4 * BATCH_BYTES, "{bytes}: {before} bytes before");
        // Asking in vain for buffers is work as well.
        let exhausted = crowd.table.relay.totals().buffers_exhausted;
        assert!(exhausted < 1_000, "{bytes}: {exhausted} times no buffer");
        crowd.table.end();
    }
}

#[test]
fn a_sim_has_its_share_by_one_connection_as_by_a_hundred() {
    let mut crowd = Crowd::of_sims(&[100, 1], 12_000);
    while crowd.arrived(0..101) < 200 * BATCH_BYTES {
        crowd.round();
    }
    let [many, one] = [0..100, 100..101].map(|floods| crowd.arrived(floods));
    assert!(one > many / 4, "{one} bytes of one, {many} of a hundred");
    crowd.table.end();
}
