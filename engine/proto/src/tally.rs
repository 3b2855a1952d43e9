//! Tally: how many packets of each type came from each side, and their bytes. Plain numbers that one caller owns
//! and hands in with every call ([`crate::session::Outputs`]).

use crate::packet::Kind;
use crate::platform::Platform;
use crate::session::Side;

/// What came, of one type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Came {
    /// Packets, each counted when its head was dealt with.
    pub packets: u64,
    /// Bytes of them so far, headers included.
    pub bytes: u64,
}

impl Came {
    /// Adds `other`.
    pub const fn add(&mut self, other: Self) {
        self.packets = self.packets.saturating_add(other.packets);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
}

/// What came from both sides, by type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// By the number that MQTT gives the type.
    from_device: [Came; 16],
    from_upstream: [Came; 16],
}

impl Tally {
    /// What came from one side, of one type.
    #[must_use]
    pub fn of(&self, from: Side, kind: Kind) -> Came {
        let number = usize::from(kind.number());
        let came = self.side(from).get(number);
        came.copied().unwrap_or_default()
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        let Self {
            from_device,
            from_upstream,
        } = self;
        let device = from_device.iter_mut().zip(&other.from_device);
        let upstream = from_upstream.iter_mut().zip(&other.from_upstream);
        for (mine, theirs) in device.chain(upstream) {
            mine.add(*theirs);
        }
    }

    /// Notes packets that begin with this byte.
    #[inline]
    pub(crate) fn note(&mut self, from: Side, first: u8, came: Came) {
        let kinds = match from {
            Side::Device => &mut self.from_device,
            Side::Upstream => &mut self.from_upstream,
        };
        if let Some(kind) = kinds.get_mut(usize::from(first >> 4)) {
            kind.add(came);
        }
    }

    const fn side(&self, from: Side) -> &[Came; 16] {
        match from {
            Side::Device => &self.from_device,
            Side::Upstream => &self.from_upstream,
        }
    }
}

/// Tallies of sessions under each platform version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallies {
    v201509: Tally,
    v201912: Tally,
}

impl Tallies {
    /// What came under one platform version.
    #[must_use]
    pub const fn under(&self, platform: Platform) -> &Tally {
        match platform {
            Platform::V201509 => &self.v201509,
            Platform::V201912 => &self.v201912,
        }
    }

    /// What came from one side, of one type, under both.
    #[must_use]
    pub fn of(&self, from: Side, kind: Kind) -> Came {
        let mut came = self.v201509.of(from, kind);
        came.add(self.v201912.of(from, kind));
        came
    }

    /// Adds `other`.
    pub fn add(&mut self, other: &Self) {
        self.v201509.add(&other.v201509);
        self.v201912.add(&other.v201912);
    }

    /// Where that of one platform version is noted.
    #[inline]
    pub(crate) const fn under_mut(&mut self, platform: Platform) -> &mut Tally {
        match platform {
            Platform::V201509 => &mut self.v201509,
            Platform::V201912 => &mut self.v201912,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_add_up_by_side_and_type() {
        let came = |packets, bytes| Came { packets, bytes };
        let mut one = Tally::default();
        one.note(Side::Device, 0x30, came(2, 20));
        one.note(Side::Upstream, 0xd0, came(1, 2));
        let mut other = one;
        other.note(Side::Device, 0x3d, came(1, 7));
        one.add(&other);
        assert_eq!(one.of(Side::Device, Kind::Publish), came(5, 47));
        assert_eq!(one.of(Side::Upstream, Kind::Pingresp), came(2, 4));
        assert_eq!(one.of(Side::Upstream, Kind::Publish), came(0, 0));
    }

    #[test]
    fn each_platform_version_has_its_own() {
        let mut tallies = Tallies::default();
        for (platform, packets) in [(Platform::V201912, 2), (Platform::V201509, 3)] {
            let came = Came { packets, bytes: 1 };
            tallies.under_mut(platform).note(Side::Device, 0x30, came);
        }
        let both = tallies;
        tallies.add(&both);
        let under = |platform| {
            tallies
                .under(platform)
                .of(Side::Device, Kind::Publish)
                .packets
        };
        assert_eq!((under(Platform::V201912), under(Platform::V201509)), (4, 6));
        let sum = tallies.of(Side::Device, Kind::Publish);
        assert_eq!((sum.packets, sum.bytes), (10, 4));
    }
}
