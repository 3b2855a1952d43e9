//! Probe: which of the newer operations of io_uring this kernel has. What is not there has a fall-back.

use std::io;

use super::buffers::Buffers;
use super::builder;

/// What is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features {
    /// Waiting for company (Linux 6.12); without it nothing is coalesced.
    pub min_wait: bool,
}

/// Finds out, with a ring that is thrown away.
///
/// # Errors
/// When the kernel has not even what is needed.
pub fn features() -> io::Result<Features> {
    let ring = builder().build(8)?;
    let buffers = Buffers::new()?;
    buffers.register(&ring)?;
    let features = Features {
        min_wait: ring.params().is_feature_min_timeout(),
    };
    // The ring goes before what it refers to.
    drop(ring);
    drop(buffers);
    Ok(features)
}
