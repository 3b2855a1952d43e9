//! Platform version 201912: what the device says goes through.

use super::Delivery;
use crate::error::Refusal;
use crate::packet::{Kind, Qos, Version};

/// B-VER-1: the device's own version.
#[expect(clippy::unnecessary_wraps, reason = "the sibling file refuses one")]
pub(super) fn upstream_version(device: Version) -> Result<Version, Refusal> {
    Ok(device)
}

/// B-CON-6: the upstream answers for itself.
pub(super) fn keeps_bridge_bit() -> bool {
    true
}

/// B-VER-2: as the upstream supports; packets pass unchanged.
pub(super) fn delivery(_qos: Qos) -> Delivery {
    Delivery::EndToEnd
}

/// B-VER-2: what was asked for.
pub(super) fn subscription_qos(requested: Qos) -> Qos {
    requested
}

/// B-VER-3: a will passes.
pub(super) fn keeps_will() -> bool {
    true
}

/// B-VER-4: what the destination names.
#[expect(clippy::fn_params_excessive_bools, reason = "the two facts of B-VER-4")]
pub(super) fn uses_tls(destination_is_tls: bool, _has_certificate: bool) -> bool {
    destination_is_tls
}

/// B-VER-5: PINGREQ is forwarded, not billed.
pub(super) fn bills_up(kind: Kind) -> bool {
    matches!(kind, Kind::Publish | Kind::Subscribe | Kind::Unsubscribe)
}

/// B-VER-6
pub(super) fn bills_down(kind: Kind) -> bool {
    kind == Kind::Publish
}
