//! A fleet's tables and their hasher. Its seeds are fixed, so that two readings of one fleet are alike;
//! keys come from the operator, and a device can only look one up.

use std::hash::BuildHasher;

use papaya::HashMap;
use seize::Collector;

/// Builds hashers that are all alike.
#[derive(Clone, Debug)]
pub(super) struct Fixed(ahash::RandomState);

impl Default for Fixed {
    fn default() -> Self {
        Self(ahash::RandomState::with_seeds(
            0x7269_6e67_6265_616d,
            0x666c_6565_7400_0001,
            0x666c_6565_7400_0002,
            0x666c_6565_7400_0003,
        ))
    }
}

impl BuildHasher for Fixed {
    type Hasher = ahash::AHasher;

    fn build_hasher(&self) -> ahash::AHasher {
        self.0.build_hasher()
    }
}

/// An empty table. What it replaces is freed as soon as nobody looks at it any more: kept in batches, as by default, the
/// halves that it has grown out of would stay for good.
pub(super) fn table<K, V>() -> HashMap<K, V, Fixed> {
    HashMap::builder()
        .hasher(Fixed::default())
        .collector(Collector::new().batch_size(1))
        .build()
}
