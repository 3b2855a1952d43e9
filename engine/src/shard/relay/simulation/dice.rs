//! Dice: what decides in the simulation. The same seed decides the same.

#[derive(Clone, Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(end.max(1)).unwrap()).unwrap()
    }

    /// Milliseconds below `end`.
    pub(super) fn below_ms(&mut self, end: u64) -> u64 {
        u64::try_from(self.below(usize::try_from(end).unwrap())).unwrap()
    }

    /// Once in `times`; never for 0.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        times > 0 && self.below(times) == 0
    }
}
