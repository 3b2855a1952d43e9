//! Billing: what is counted on each leg (B-BILL-1). A packet received counts when its last byte is
//! there, a packet sent when the kernel has taken its last byte.

/// Billed packets of one session or one SIM.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// On the device's leg, both directions: `inMqtt`.
    pub device_leg: u64,
    /// On the upstream's leg, both directions: `outMqtt` or `outMqtts`.
    pub upstream_leg: u64,
}

impl Counts {
    /// Adds `other`.
    pub const fn add(&mut self, other: Self) {
        self.device_leg = self.device_leg.saturating_add(other.device_leg);
        self.upstream_leg = self.upstream_leg.saturating_add(other.upstream_leg);
    }

    /// What came since there were `earlier` ones.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self {
            device_leg: self.device_leg.saturating_sub(earlier.device_leg),
            upstream_leg: self.upstream_leg.saturating_sub(earlier.upstream_leg),
        }
    }
}
