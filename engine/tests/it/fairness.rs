//! Fairness: a SIM that sends as much as it can, beside one that sends a little. A question of time, so that only
//! `RINGBEAM_SOAK=1` asks it: between rounds that take turns.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::thread::scope;
use std::time::{Duration, Instant};

use ringbeam::sys::host::processors;
use ringbeam::sys::thread::pin;
use rustix::thread::gettid;

use super::harness::fleet::{fleet, new_imsi, new_sim};
use super::harness::is_soak;
use super::harness::peer::{Peer, Upstream, publish};
use super::harness::ringbeam::{Ringbeam, Setup};

/// Rounds of each kind that count, and those that are made at most.
const ROUNDS: usize = 9;
const ATTEMPTS: usize = 100;
/// Time in a round for which something else may have a processor that is needed.
const TAKEN_MAX: Duration = Duration::from_millis(20);
/// Messages of a round, and how far apart they are.
const MESSAGES: usize = 1_000;
const APART: Duration = Duration::from_micros(500);
/// Bytes of a flooding message's payload.
const PAYLOAD_BYTES: usize = 100;

#[test]
fn a_flooding_sim_does_not_double_anothers_p99() {
    if !is_soak() {
        return;
    }
    let upstream = Upstream::listen();
    // Its shard has the first processor, and the test the others.
    let ringbeam = Setup::new(&fleet(upstream.address()))
        .engine("shards = 1")
        .start();
    let [own, writes_on, reads_on] = places();
    pin(own).unwrap();
    let (device, peer) = upstream.session(ringbeam.address(), new_sim(1), 4);
    let mut table = Table {
        others_had: Delays::new(&ringbeam),
        device,
        peer,
    };
    table.round();
    let (mut alone, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ATTEMPTS {
        if alone.len() >= ROUNDS && beside.len() >= ROUNDS {
            break;
        }
        alone.extend(table.round());
        let (mut flood, mut drain) = upstream.session(ringbeam.address(), new_sim(2), 4);
        scope(|scope| {
            let (writes, reads) = (clone(&mut flood), clone(&mut drain));
            scope.spawn(move || {
                give_way(writes_on);
                send_without_end(writes);
            });
            scope.spawn(move || {
                give_way(reads_on);
                read_without_end(reads);
            });
            beside.extend(table.round());
            for stream in [flood.stream(), drain.stream()] {
                // It may be closed from the other side by now.
                drop(stream.shutdown(Shutdown::Both));
            }
        });
    }
    let rounds = [alone.len(), beside.len()];
    if rounds.iter().min() < Some(&ROUNDS) {
        eprintln!("not measured: others have the processors, {rounds:?} rounds without them");
        return;
    }
    let [alone, beside] = [alone, beside].map(median);
    eprintln!("p99 {alone:?} alone, {beside:?} beside a flood, of {rounds:?} rounds");
    assert!(
        beside <= 2 * alone,
        "p99 {alone:?} alone, {beside:?} beside a flood"
    );
}

/// Processors for the test's threads: none is the shard's, if that can be had.
fn places<const COUNT: usize>() -> [usize; COUNT] {
    let all = processors().unwrap();
    let others = all.get(1..).filter(|others| !others.is_empty());
    let others = others.unwrap_or(&all);
    std::array::from_fn(|turn| others[turn % others.len()])
}

/// Makes the calling thread one that others come before.
fn give_way(processor: usize) {
    pin(processor).unwrap();
    let thread = gettid().as_raw_nonzero().to_string();
    let status = Command::new("chrt")
        .args(["--idle", "--pid", "0", &thread])
        .status();
    assert!(status.unwrap().success());
}

/// A quiet SIM's session, and who else had its processors.
struct Table {
    device: Peer,
    peer: Peer,
    others_had: Delays,
}

/// For how long threads that wanted to run did not.
struct Delays {
    files: Vec<PathBuf>,
}

impl Delays {
    /// Of the engine's relay and of the calling thread.
    fn new(ringbeam: &Ringbeam) -> Self {
        let threads = fs::read_dir(format!("/proc/{}/task", ringbeam.id())).unwrap();
        let is_relay = |thread: &PathBuf| {
            fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.starts_with("relay"))
        };
        let relay = threads.flatten().map(|thread| thread.path()).find(is_relay);
        let own = PathBuf::from("/proc/thread-self");
        let files = [relay.unwrap(), own].map(|thread| thread.join("schedstat"));
        Self {
            files: files.into(),
        }
    }

    fn sum(&self) -> Duration {
        let delay = |file: &PathBuf| -> u64 {
            let text = fs::read_to_string(file).unwrap();
            text.split(' ').nth(1).unwrap().parse().unwrap()
        };
        Duration::from_nanos(self.files.iter().map(delay).sum())
    }
}

impl Table {
    /// How long messages take, 99 of 100 of them at most, unless others had the processors.
    fn round(&mut self) -> Option<Duration> {
        let Self {
            device,
            peer,
            others_had,
        } = self;
        let before = others_had.sum();
        let topic = format!("t/{}", new_imsi(1));
        let mut times: Vec<_> = (0..MESSAGES)
            .map(|number| {
                std::thread::sleep(APART);
                let payload = number.to_be_bytes();
                let sent = publish("t", &payload);
                let expected = publish(&topic, &payload);
                let began = Instant::now();
                device.send(&sent);
                peer.expect(&expected);
                began.elapsed()
            })
            .collect();
        let taken = others_had.sum() - before;
        times.sort();
        (taken <= TAKEN_MAX).then(|| times[MESSAGES * 99 / 100])
    }
}

fn clone(peer: &mut Peer) -> TcpStream {
    peer.stream().try_clone().unwrap()
}

fn send_without_end(mut stream: TcpStream) {
    let messages = publish("f", &[0; PAYLOAD_BYTES]).repeat(20);
    while stream.write_all(&messages).is_ok() {}
}

fn read_without_end(mut stream: TcpStream) {
    let mut buffer = vec![0; 4096];
    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}
