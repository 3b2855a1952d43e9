//! Login: the CONNECT that goes upstream, with the client id, user name and password that the kind of
//! destination asks for. It is written at the device's CONNECT, and again whenever the upstream leg is
//! renewed, so it knows nothing of the connection.

use std::sync::Arc;

use ringbeam_proto::error::Cause;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::opening::{Credentials as PacketCredentials, upstream_connect};
use ringbeam_proto::packet::connect::{Connect, Opening, read as read_connect};

use zeroize::Zeroizing;

use crate::fleet::{Credential, Credentials, DestinationKind, EntryPoint, Names, Validity};

/// A CONNECT, and what belongs to it.
pub(in crate::shard) struct Login {
    /// The packet's bytes.
    pub(in crate::shard) packet: Zeroizing<Vec<u8>>,
    /// When the token in it expires, if one is (B-TOK-1).
    pub(in crate::shard) token_expires_unix_seconds: Option<u64>,
    /// The client certificate to present.
    pub(in crate::shard) credential: Option<Arc<Credential>>,
}

impl Login {
    /// B-TOK-2: which client that is to its upstream. Whoever names no client id is told apart there; Google's ids are
    /// made of the credential alone.
    pub(in crate::shard) fn client_id(
        &self,
        connect: &Connect<'_>,
        entry_point: &EntryPoint,
    ) -> Option<Box<str>> {
        let is_formed = entry_point.destination_kind() == DestinationKind::GoogleIot;
        if connect.client_id.is_empty() && !is_formed {
            return None;
        }
        match read_connect(&self.packet) {
            Ok(Opening::Whole(upstream, _)) => Some(Box::from(upstream.client_id)),
            Ok(Opening::Partial(_)) | Err(_) => None,
        }
    }
}

/// The packet holds the password.
impl std::fmt::Debug for Login {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Login")
            .field("packet_bytes", &self.packet.len())
            .finish_non_exhaustive()
    }
}

/// Writes it. Tokens are signed for `validity`.
///
/// # Errors
/// When the CONNECT is not served, the SIM's credential is not there (B-CFG-4), or a field would be longer
/// than MQTT can say.
pub(in crate::shard) fn write(
    connect: &Connect<'_>,
    entry_point: &EntryPoint,
    credentials: &Credentials,
    identity: &Identity,
    validity: Validity,
) -> Result<Login, Cause> {
    let account = entry_point
        .account(connect.client_id, credentials, identity, validity)
        .map_err(Cause::Refused)?;
    let names = match &account.names {
        Names::PassThrough => PacketCredentials::PassThrough,
        Names::Replaced { username, password } => PacketCredentials::Configured {
            username: username.as_deref(),
            password: password.as_ref().map(|password| password.as_str()),
        },
    };
    let client_id = account.client_id.as_deref();
    let packet = upstream_connect(connect, &entry_point.rules, identity, names, client_id)?;
    Ok(Login {
        packet: Zeroizing::new(packet),
        token_expires_unix_seconds: account.token_expires_unix_seconds,
        credential: account.certificate,
    })
}

#[cfg(test)]
mod tests;
