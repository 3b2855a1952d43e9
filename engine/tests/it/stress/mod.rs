//! Stress: sessions of every kind, by chance and many at a time, while the fleet is reloaded: every byte is looked at, and
//! in the end everything is as it was before. `RINGBEAM_SEED` replays a script.

mod end;
mod journey;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::scope;
use std::time::{Duration, Instant};

use ringbeam::limits::PIPES;

use self::journey::{Arrived, Journey};
use super::harness::dice::{Dice, seed};
use super::harness::fleet::{fleet, fleet_with};
use super::harness::peer::{Peer, Upstream};
use super::harness::ringbeam::{Ringbeam, Setup};
use super::harness::{is_soak, wait_until};

/// The harness's.
const SHARDS: usize = 2;
/// Sessions at a time, and those that follow each other in a round.
const LANES: usize = 16;
const IN_A_ROW: usize = 6;
/// Rounds until memory is what it is.
const WARM_UP: usize = 3;
/// Bytes of resident memory that rounds may differ by.
const SLACK_BYTES: u64 = 6 << 20;

/// Prints the seed if the test fails.
struct Named(u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("RINGBEAM_SEED={}", self.0);
        }
    }
}

#[test]
fn whatever_comes_nothing_is_lost_and_everything_is_given_back() {
    let named = Named(seed());
    let mut dice = Dice::new(named.0);
    let upstream = Upstream::listen();
    let address = upstream.address();
    let mut ringbeam = Setup::new(&fleet(address))
        // A line for each session would be read again and again.
        .argument("--log=warn,ringbeam::serve=info")
        .start();
    let (senders, mut arrivals): (Vec<_>, Vec<_>) = (0..LANES).map(|_| channel()).unzip();
    let is_over = Arc::new(AtomicBool::new(false));
    let broker = std::thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || route(&upstream, &senders, &is_over)
    });
    let (before, pipes) = (descriptors(&ringbeam), ringbeam.pipes());
    let length = Duration::from_secs(if is_soak() { 600 } else { 10 });
    let began = Instant::now();
    let mut resident = Vec::new();
    while began.elapsed() < length || resident.len() <= WARM_UP {
        round(
            &ringbeam,
            address,
            &mut arrivals,
            (&mut dice, resident.len()),
        );
        wait_until("descriptors to be given back", || {
            descriptors(&ringbeam) <= before
        });
        resident.push(ringbeam.resident_bytes());
    }
    let (warm, later) = resident.split_at(WARM_UP);
    let (least, most) = (warm.iter().max().unwrap(), later.iter().max().unwrap());
    assert!(*most < least + SLACK_BYTES, "{resident:?}");
    let more_pipes = ringbeam.pipes() - pipes;
    assert!(
        (2..=2 * SHARDS * PIPES).contains(&more_pipes),
        "{more_pipes} of pipes"
    );
    ringbeam.end();
    is_over.store(true, Ordering::Relaxed);
    drop(Peer::connect(Ipv4Addr::LOCALHOST, address));
    broker.join().unwrap();
}

/// All lanes at a time, and reloads meanwhile.
fn round(
    ringbeam: &Ringbeam,
    upstream: SocketAddr,
    arrivals: &mut [Receiver<Arrived>],
    (dice, number): (&mut Dice, usize),
) {
    let is_over = AtomicBool::new(false);
    scope(|scope| {
        let lanes: Vec<_> = arrivals
            .iter_mut()
            .enumerate()
            .map(|(lane, arrivals)| {
                let mut dice = dice.split();
                let first = number * LANES * IN_A_ROW;
                scope.spawn(move || {
                    for turn in 0..IN_A_ROW {
                        let number = first + turn * LANES + lane;
                        let journey = Journey {
                            number: u32::try_from(number).unwrap(),
                            sim: u16::try_from(number - first).unwrap(),
                            dice: dice.split(),
                        };
                        journey.go(ringbeam.address(), arrivals);
                    }
                })
            })
            .collect();
        let is_over = &is_over;
        let mut dice = dice.split();
        scope.spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                let name = dice.below(1_000);
                let changed = fleet_with(upstream, |_, object| {
                    object["name"] = format!("{name}").into();
                });
                ringbeam.setup().write_fleet(&changed);
                assert!(ringbeam.reload());
                std::thread::sleep(Duration::from_millis(500));
            }
        });
        let outcomes: Vec<_> = lanes.into_iter().map(|lane| lane.join()).collect();
        is_over.store(true, Ordering::Relaxed);
        for outcome in outcomes {
            if let Err(panic) = outcome {
                std::panic::resume_unwind(panic);
            }
        }
    });
}

/// Gives each lane the connections that it waits for.
fn route(upstream: &Upstream, lanes: &[Sender<Arrived>], is_over: &AtomicBool) {
    loop {
        let mut peer = upstream.accept();
        if is_over.load(Ordering::Relaxed) {
            return;
        }
        // A device that vanishes may take its connection along before its CONNECT has come.
        let Ok(connect) = peer.try_packet() else {
            continue;
        };
        let (_, client_id) = connect.split_last_chunk::<10>().unwrap();
        let number: u32 = std::str::from_utf8(client_id).unwrap().parse().unwrap();
        let lane = usize::try_from(number).unwrap() % LANES;
        let stream = peer.stream().try_clone().unwrap();
        if lanes[lane].send((number, stream)).is_err() {
            return;
        }
    }
}

/// Open descriptors that are no pipe's.
fn descriptors(ringbeam: &Ringbeam) -> usize {
    ringbeam.descriptors() - ringbeam.pipes()
}
