//! Platform version 201509: MQTT 3.1.1 and QoS 0 towards the upstream, no wills.

use super::Delivery;
use crate::error::Refusal;
use crate::packet::{Kind, Qos, Version};

/// B-VER-1: always 3.1.1; B-509-1: a v5 device is not served.
pub(super) fn upstream_version(device: Version) -> Result<Version, Refusal> {
    match device {
        Version::V31 | Version::V311 => Ok(Version::V311),
        Version::V5 => Err(Refusal::UnsupportedVersion),
    }
}

/// B-CON-6: an upstream is spoken to in 3.1.1 as any client does.
pub(super) fn keeps_bridge_bit() -> bool {
    false
}

/// B-VER-2: QoS 1 and 2 are accepted and acknowledged here.
pub(super) fn delivery(qos: Qos) -> Delivery {
    match qos {
        Qos::AtMostOnce => Delivery::EndToEnd,
        Qos::AtLeastOnce | Qos::ExactlyOnce => Delivery::Local,
    }
}

/// B-VER-2: QoS 0 whatever was asked for.
pub(super) fn subscription_qos(_requested: Qos) -> Qos {
    Qos::AtMostOnce
}

/// B-VER-3: a will is removed.
pub(super) fn keeps_will() -> bool {
    false
}

/// B-VER-4: always MQTTS with a client certificate.
#[expect(clippy::fn_params_excessive_bools, reason = "the two facts of B-VER-4")]
pub(super) fn uses_tls(destination_is_tls: bool, has_certificate: bool) -> bool {
    destination_is_tls || has_certificate
}

/// B-VER-5
pub(super) fn bills_up(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Publish | Kind::Subscribe | Kind::Unsubscribe | Kind::Pingreq
    )
}

/// B-VER-6
pub(super) fn bills_down(kind: Kind) -> bool {
    kind == Kind::Publish
}
