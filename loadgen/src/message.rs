//! Message: the 32 bytes at the beginning of every payload, by which a receiver knows what it was sent, when,
//! and whether it is whole.
//!
//! ```text
//!  0  magic "RBLG"
//!  4  run: which run of the generator        big endian, like all that follows
//!  8  device: the number of the connection that published it
//! 12  sequence: 0, 1, 2, ... for each device
//! 16  intended: when it should have been sent, in ns; bit 63: of the wall clock; bit 62: while warming up
//! 24  topic: CRC-32 of the topic that it has to arrive under
//! 28  checksum: CRC-32 of bytes 0 to 27 and of everything after byte 31
//! 32  filler
//! ```
//!
//! Nothing here knows how an entry point rewrites topics: the sender states what it expects, and the
//! receiver compares.

use crc32fast::Hasher;

/// Bytes at the beginning of a payload.
pub const HEAD_BYTES: usize = 32;

const MAGIC: [u8; 4] = *b"RBLG";
const IS_WALL_CLOCK: u64 = 1 << 63;
const IS_WARM_UP: u64 = 1 << 62;

/// Which of the clocks a time is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Sender and receiver are on one machine.
    Monotonic,
    /// They are not; differences are as good as the machines agree on the time.
    Wall,
}

/// What a message says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which run of the generator.
    pub run: u32,
    /// The connection that published it.
    pub device: u32,
    /// Its place among the messages of that device.
    pub sequence: u32,
    /// When it should have been sent, in ns.
    pub intended_ns: u64,
    /// Of which clock.
    pub clock: Clock,
    /// Whether it was sent while warming up, so that its latency does not count.
    pub is_warm_up: bool,
    /// [`topic_sum`] of the topic that it has to arrive under.
    pub topic_sum: u32,
}

/// The sum by which the expected topic is stated.
#[must_use]
pub fn topic_sum(topic: &[u8]) -> u32 {
    crc32fast::hash(topic)
}

/// Filler of a number of bytes, with its sum worked out once.
#[derive(Clone, Debug)]
pub struct Filler {
    bytes: Vec<u8>,
    sum: Hasher,
}

impl Filler {
    /// Bytes without a pattern, so that a shifted or repeated part is noticed.
    #[must_use]
    pub fn new(length: usize, seed: u64) -> Self {
        use rand::{RngCore as _, SeedableRng as _};
        let mut bytes = vec![0; length];
        rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
        let mut sum = Hasher::new();
        sum.update(&bytes);
        Self { bytes, sum }
    }

    /// What follows the head.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Stamp {
    /// The head of a payload that goes on with `filler`.
    #[must_use]
    pub fn head(&self, filler: &Filler) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let mut time = self.intended_ns & !(IS_WALL_CLOCK | IS_WARM_UP);
        if self.clock == Clock::Wall {
            time |= IS_WALL_CLOCK;
        }
        if self.is_warm_up {
            time |= IS_WARM_UP;
        }
        head[0..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&self.run.to_be_bytes());
        head[8..12].copy_from_slice(&self.device.to_be_bytes());
        head[12..16].copy_from_slice(&self.sequence.to_be_bytes());
        head[16..24].copy_from_slice(&time.to_be_bytes());
        head[24..28].copy_from_slice(&self.topic_sum.to_be_bytes());
        let mut sum = Hasher::new();
        sum.update(&head[0..28]);
        sum.combine(&filler.sum);
        head[28..32].copy_from_slice(&sum.finalize().to_be_bytes());
        head
    }
}

/// A payload that is being checked while it comes in.
#[derive(Debug)]
pub struct Check {
    stamp: Stamp,
    expected: u32,
    sum: Hasher,
}

/// The payload is not what was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl Check {
    /// Begins with the head.
    ///
    /// # Errors
    /// When it is none.
    pub fn begin(head: &[u8; HEAD_BYTES]) -> Result<Self, Damaged> {
        let word = |at: usize| {
            let mut bytes = [0; 4];
            bytes.copy_from_slice(&head[at..at + 4]);
            u32::from_be_bytes(bytes)
        };
        if head[0..4] != MAGIC {
            return Err(Damaged);
        }
        let time = u64::from(word(16)) << 32 | u64::from(word(20));
        let mut sum = Hasher::new();
        sum.update(&head[0..28]);
        let stamp = Stamp {
            run: word(4),
            device: word(8),
            sequence: word(12),
            intended_ns: time & !(IS_WALL_CLOCK | IS_WARM_UP),
            clock: if time & IS_WALL_CLOCK == 0 {
                Clock::Monotonic
            } else {
                Clock::Wall
            },
            is_warm_up: time & IS_WARM_UP != 0,
            topic_sum: word(24),
        };
        Ok(Self {
            stamp,
            expected: word(28),
            sum,
        })
    }

    /// Run and device that the head names, whether it is damaged or not.
    #[must_use]
    pub fn claims(&self) -> (u32, u32) {
        (self.stamp.run, self.stamp.device)
    }

    /// Takes the next bytes behind the head.
    pub fn update(&mut self, bytes: &[u8]) {
        self.sum.update(bytes);
    }

    /// What the message says of itself, once all of it is in.
    ///
    /// # Errors
    /// When it is not what was sent.
    pub fn finish(self) -> Result<Stamp, Damaged> {
        if self.sum.finalize() == self.expected {
            Ok(self.stamp)
        } else {
            Err(Damaged)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp {
        run: 7,
        device: 4_000_000_000,
        sequence: 12,
        intended_ns: 1_700_000_000_000_000_000,
        clock: Clock::Wall,
        is_warm_up: true,
        topic_sum: 0xdead_beef,
    };

    fn check(payload: &[u8]) -> Result<Stamp, Damaged> {
        let (head, rest) = payload.split_first_chunk().ok_or(Damaged)?;
        let mut check = Check::begin(head)?;
        for part in rest.chunks(7) {
            check.update(part);
        }
        check.finish()
    }

    #[test]
    fn a_message_says_what_was_put_in() {
        for length in [0, 1, 32, 1000] {
            let filler = Filler::new(length, 3);
            let mut payload = STAMP.head(&filler).to_vec();
            payload.extend_from_slice(filler.bytes());
            assert_eq!(check(&payload), Ok(STAMP), "{length}");
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let filler = Filler::new(40, 3);
        let mut payload = STAMP.head(&filler).to_vec();
        payload.extend_from_slice(filler.bytes());
        for bit in 0..payload.len() * 8 {
            let mut damaged = payload.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(check(&damaged), Err(Damaged), "bit {bit}");
        }
        for length in 0..payload.len() {
            assert_eq!(check(&payload[..length]), Err(Damaged), "{length} bytes");
        }
        payload.push(0);
        assert_eq!(check(&payload), Err(Damaged), "a byte too many");
    }
}
