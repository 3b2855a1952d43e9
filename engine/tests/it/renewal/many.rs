//! Many sessions on one broker that restarts: all are renewed, at the pace that the broker can take.

use std::time::Instant;

use crate::harness::fleet::new_sim;
use crate::harness::peer::{Peer, connack, connect_packet};
use crate::harness::raise_descriptor_limit;
use crate::harness::ringbeam::Setup;
use crate::harness::wait_until;

use super::broker::Broker;
use super::{acknowledged_publish, acknowledgement, renewing_fleet};

const COUNT: u16 = 300;
const CONNECTS_PER_SECOND: u32 = 100;

#[test]
fn b_tok_1_a_restarted_broker_gets_all_sessions_back_no_faster_than_it_may() {
    raise_descriptor_limit();
    let mut broker = Broker::start(|_| String::new());
    let pace = format!("[upstream]\nconnects_per_second = {CONNECTS_PER_SECOND}");
    let mut ringbeam = Setup::new(&renewing_fleet(broker.address()))
        .section(&pace)
        .start();
    let before = ringbeam.descriptors();
    let mut devices: Vec<_> = (0..COUNT)
        .map(|number| {
            let mut device = Peer::connect(new_sim(number), ringbeam.address());
            device.send(&connect_packet(4, &format!("device-{number}")));
            device
        })
        .collect();
    for device in &mut devices {
        device.expect(connack(4));
    }
    broker.kill();
    let count = usize::from(COUNT);
    ringbeam.wait_for_logs(count, "message", "upstream lost");
    // Said while there is nobody.
    for device in &mut devices {
        device.send(&acknowledged_publish(4, 0x32, "t", 7, b"waits"));
    }
    let connected_before = connected(&broker);
    let start = Instant::now();
    broker.start_again();
    wait_until("all of them to be back", || {
        connected(&broker) == connected_before + count
    });
    // A tenth of a second's worth may go at once; a busy machine is only ever slower.
    let elapsed = start.elapsed().as_secs_f64();
    let most = f64::from(CONNECTS_PER_SECOND) * (elapsed + 0.1);
    assert!(f64::from(COUNT) <= most, "{COUNT} in {elapsed} seconds");
    for device in &mut devices {
        device.expect(&acknowledgement(4, 7));
    }
    ringbeam.wait_for_logs(count, "message", "upstream renewed");
    // One connection each, and nobody twice.
    assert_eq!(connected(&broker), connected_before + count);
    assert!(!broker.log().contains("already connected"));
    drop(devices);
    wait_until("descriptors to be given back", || {
        ringbeam.descriptors() <= before
    });
    let stopped = ringbeam.end();
    assert_eq!(stopped["established"], COUNT);
}

/// How many clients the broker has taken so far.
fn connected(broker: &Broker) -> usize {
    broker.log().matches("New client connected").count()
}
