//! Platform: the two platform versions, chosen once per connection. The sibling files have the same
//! functions in the same order; their difference is the difference between the versions.

mod v201509;
mod v201912;

use core::fmt;

use crate::error::Refusal;
use crate::packet::{Kind, Qos, Version};

/// The platform version of an entry point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Platform {
    /// The older one: MQTT 3.1.1 and QoS 0 upstream, no wills.
    V201509,
    /// The newer one: what the device says goes through.
    #[default]
    V201912,
}

/// Who acknowledges a QoS 1 or 2 message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The other end: packets pass unchanged.
    EndToEnd,
    /// This end, at once; the message goes on at QoS 0 (B-VER-2).
    Local,
}

/// Asks the chosen version's file.
macro_rules! by_version {
    ($platform:expr, $function:ident($($argument:expr),*)) => {
        match $platform {
            Platform::V201509 => v201509::$function($($argument),*),
            Platform::V201912 => v201912::$function($($argument),*),
        }
    };
}

impl Platform {
    /// The version's name as configuration writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V201509 => "201509",
            Self::V201912 => "201912",
        }
    }

    /// B-VER-1: the MQTT version spoken upstream.
    ///
    /// # Errors
    /// When this platform version does not serve the device's MQTT version (B-509-1).
    pub fn upstream_version(self, device: Version) -> Result<Version, Refusal> {
        by_version!(self, upstream_version(device))
    }

    /// B-CON-6: whether the upstream is told that a mosquitto bridge speaks.
    #[must_use]
    pub fn keeps_bridge_bit(self) -> bool {
        by_version!(self, keeps_bridge_bit())
    }

    /// B-VER-2: who acknowledges a message of this quality of service.
    #[must_use]
    pub fn delivery(self, qos: Qos) -> Delivery {
        by_version!(self, delivery(qos))
    }

    /// B-VER-2: the quality of service that a subscription asks the upstream for.
    #[must_use]
    pub fn subscription_qos(self, requested: Qos) -> Qos {
        by_version!(self, subscription_qos(requested))
    }

    /// B-VER-3: whether a will goes upstream.
    #[must_use]
    pub fn keeps_will(self) -> bool {
        by_version!(self, keeps_will())
    }

    /// B-VER-4: whether the upstream connection is TLS, given what the destination names.
    #[must_use]
    #[expect(clippy::fn_params_excessive_bools, reason = "the two facts of B-VER-4")]
    pub fn uses_tls(self, destination_is_tls: bool, has_certificate: bool) -> bool {
        by_version!(self, uses_tls(destination_is_tls, has_certificate))
    }

    /// B-VER-5: whether a packet from the device is billed, on each leg.
    #[must_use]
    pub fn bills_up(self, kind: Kind) -> bool {
        by_version!(self, bills_up(kind))
    }

    /// B-VER-6: whether a packet from the upstream is billed, on each leg.
    #[must_use]
    pub fn bills_down(self, kind: Kind) -> bool {
        by_version!(self, bills_down(kind))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row per rule: what 201509 answers, what 201912 answers.
    #[test]
    fn the_difference_between_the_versions() {
        let both = [Platform::V201509, Platform::V201912];
        // B-VER-1, B-509-1
        for (device, old, new) in [
            (Version::V31, Ok(Version::V311), Ok(Version::V31)),
            (Version::V311, Ok(Version::V311), Ok(Version::V311)),
            (
                Version::V5,
                Err(Refusal::UnsupportedVersion),
                Ok(Version::V5),
            ),
        ] {
            assert_eq!(
                both.map(|platform| platform.upstream_version(device)),
                [old, new]
            );
        }
        // B-CON-6
        assert_eq!(both.map(Platform::keeps_bridge_bit), [false, true]);
        // B-VER-2
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let old = if qos == Qos::AtMostOnce {
                Delivery::EndToEnd
            } else {
                Delivery::Local
            };
            assert_eq!(
                both.map(|platform| platform.delivery(qos)),
                [old, Delivery::EndToEnd]
            );
            let asked = both.map(|platform| platform.subscription_qos(qos));
            assert_eq!(asked, [Qos::AtMostOnce, qos]);
        }
        // B-VER-3
        assert_eq!(both.map(Platform::keeps_will), [false, true]);
        // B-VER-4
        for (tls, certificate, old, new) in [
            (false, false, false, false),
            (false, true, true, false),
            (true, false, true, true),
            (true, true, true, true),
        ] {
            assert_eq!(
                both.map(|platform| platform.uses_tls(tls, certificate)),
                [old, new]
            );
        }
        // B-VER-5, B-VER-6
        for kind in Kind::ALL {
            let requests = matches!(kind, Kind::Publish | Kind::Subscribe | Kind::Unsubscribe);
            let old = requests || kind == Kind::Pingreq;
            assert_eq!(
                both.map(|platform| platform.bills_up(kind)),
                [old, requests],
                "{kind:?}"
            );
            let message = kind == Kind::Publish;
            assert_eq!(
                both.map(|platform| platform.bills_down(kind)),
                [message; 2],
                "{kind:?}"
            );
        }
    }
}
