//! A ring of this kernel's without what newer kernels have.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::*;
use crate::limits::FRONT_BYTES;

/// Nothing to send.
struct Silence;

impl Sends for Silence {
    fn each<'a, F>(&'a self, _: F)
    where
        F: FnMut(BorrowedFd<'a>, u32, &mut dyn Iterator<Item = &'a [u8]>),
    {
    }
}

#[test]
fn without_min_wait_a_lone_message_does_not_wait_for_company() {
    let mut buffers = Buffers::new().unwrap();
    let features = Features { min_wait: false };
    let mut ring = Ring::new(&buffers, features).unwrap();
    let (mut peer, socket) = UnixStream::pair().unwrap();
    ring.receive(socket.as_fd(), 7, Intake::Armed);
    peer.write_all(b"alone").unwrap();
    let company = Wait::Company {
        count: 32,
        // More than an hour: a ring that waited for it would not come back in time for any test.
        us: u32::MAX,
    };
    buffers.offer();
    let mut completions = Completions::default();
    ring.exchange(&Silence, company, &mut completions).unwrap();
    let [event] = &completions.events[..] else {
        panic!("{completions:?}");
    };
    assert!(
        matches!(
            event,
            Event::Received {
                token: 7,
                length: 5,
                ..
            }
        ),
        "{event:?}"
    );
}

#[test]
fn what_is_there_comes_at_once_in_its_order_and_nothing_waits_for_more() {
    let mut buffers = Buffers::new().unwrap();
    let mut ring = Ring::new(&buffers, Features::default()).unwrap();
    let (mut peer, socket) = UnixStream::pair().unwrap();
    let sent: Vec<u8> = (0..=u8::MAX).cycle().take(20_000).collect();
    peer.write_all(&sent).unwrap();
    buffers.offer();
    let mut completions = Completions::default();
    let mut take = |ring: &mut Ring| {
        ring.receive(socket.as_fd(), 7, Intake::Now(4));
        ring.exchange(&Silence, Wait::Look, &mut completions)
            .unwrap();
        std::mem::take(&mut completions.events)
    };
    let mut received = Vec::new();
    let mut ends = Vec::new();
    for event in take(&mut ring).into_iter().chain(take(&mut ring)) {
        if let Event::Received {
            token: 7,
            buffer,
            length,
            goes_on: false,
        } = &event
        {
            let range = FRONT_BYTES..FRONT_BYTES + length;
            received.extend_from_slice(buffers.bytes(buffer, range));
        } else if let Event::ReceiveEnded { token: 7, end } = event {
            ends.push(end);
        } else {
            panic!("{event:?}");
        }
    }
    assert!(received == sent, "{} bytes", received.len());
    // Three of them have filled one each.
    assert_eq!(ends, [End::Nothing; 5]);
    // Nothing of it is left with the kernel, to take what comes later.
    peer.write_all(b"later").unwrap();
    ring.exchange(&Silence, Wait::Look, &mut completions)
        .unwrap();
    assert!(completions.events.is_empty(), "{completions:?}");
}
