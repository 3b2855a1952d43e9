//! A ring of this kernel's without what newer kernels have.

use std::io::Write as _;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

use super::*;

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
    ring.receive(socket.as_fd(), 7, false);
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
