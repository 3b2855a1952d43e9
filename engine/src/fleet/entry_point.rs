//! Entry point: from the configuration object as it was typed to the plan that sessions follow.
//! Every refusal is noted with its path; what has no effect becomes a warning.

mod reading;

use ringbeam_proto::farewell::Manner;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::rules::Rules;
use serde_json::Value;

use self::reading::Reading;
use super::credential::Credentials;
use super::destination::{Destination, PubnubHost};
use super::json::JsonPath;
use super::limits::{LimitOverrides, Limits};
use super::login::Login;
use super::service::DestinationKind;
use super::settings::Settings;
use crate::problem::{Problem, Problems};

/// What AWS wants to hear on the port that it shares with the web (B-AWS-1).
const AWS_ALPN: &[u8] = b"x-amzn-mqtt-ca";

/// The port that AWS shares with the web.
const AWS_ALPN_PORT: u16 = 443;

/// One group's entry point.
#[derive(Clone, Debug)]
pub struct EntryPoint {
    /// Free text.
    pub name: String,
    /// Whether devices are let in.
    pub enabled: bool,
    /// Where their sessions go on to.
    pub destination: Destination,
    /// Who they are there.
    pub login: Login,
    /// Whether the upstream leg is renewed without the device noticing (B-TOK-1).
    pub renew_upstream: bool,
    /// What a device is told while the upstream cannot be had (B-CON-4).
    pub when_unavailable: Manner,
    /// What it says of its SIMs' limits.
    pub limits: LimitOverrides,
    /// What becomes of their packets.
    pub rules: Rules,
    /// What its configuration says without effect.
    pub warnings: Vec<String>,
    /// The configuration object that it came from.
    pub settings: Settings,
}

impl EntryPoint {
    /// The entry point that a configuration object describes.
    ///
    /// # Errors
    /// Every refusal, with its path in the object (B-CFG-4).
    pub fn from_json(value: &Value, credentials: &Credentials) -> Result<Self, Vec<Problem>> {
        let mut problems = Problems::default();
        let entry_point = Self::read(value, &JsonPath::ROOT, credentials, &mut problems);
        problems.into_result(entry_point)
    }

    /// The configuration object in one spelling, unknown keys as they came (B-CFG-1). It holds the
    /// password in clear.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.settings.to_json()
    }

    /// B-CFG-4: the id of the credential that a SIM would need and that is not there, or is of another
    /// type. Whether there is one for every SIM shows at CONNECT alone.
    #[must_use]
    pub fn missing_credential(
        &self,
        credentials: &Credentials,
        identity: &Identity,
    ) -> Option<String> {
        let (reference, kind) = self.login.reference()?;
        let id = reference.render(identity);
        let found = credentials.find(&id);
        let fits = found.is_some_and(|credential| credential.kind() == kind);
        (!fits).then_some(id)
    }

    /// B-CRED-1: whether SIMs have credentials of their own.
    #[must_use]
    pub fn has_credential_per_sim(&self) -> bool {
        let reference = self.login.reference();
        reference.is_some_and(|(reference, _)| reference.has_placeholders())
    }

    /// What kind of destination it has.
    #[must_use]
    pub const fn destination_kind(&self) -> DestinationKind {
        DestinationKind::of(&self.login, self.destination.tls)
    }

    /// B-AWS-1: the protocol that is offered in the TLS handshake.
    #[must_use]
    pub fn alpn(&self) -> Option<&'static [u8]> {
        let has_certificate = matches!(
            self.login,
            Login::Standard {
                certificate: Some(_),
                ..
            }
        );
        let is_used =
            has_certificate && self.destination.tls && self.destination.port == AWS_ALPN_PORT;
        is_used.then_some(AWS_ALPN)
    }

    /// What one of its SIMs may send, where `ringbeam.toml` says `defaults`.
    #[must_use]
    pub fn limits(&self, defaults: &Limits) -> Limits {
        self.limits.over(defaults)
    }

    /// B-PN-1: the same entry point where PubNub is at this host, unless it names another itself.
    pub(super) fn set_pubnub_host(&mut self, host: &PubnubHost) {
        let is_named = self.settings.text("destination").is_some();
        if matches!(self.login, Login::Pubnub { .. }) && !is_named {
            self.destination = host.destination().clone();
        }
    }

    pub(super) fn read(
        value: &Value,
        path: &JsonPath<'_>,
        credentials: &Credentials,
        problems: &mut Problems,
    ) -> Option<Self> {
        let settings = Settings::read(value, path, problems)?;
        let reading = Reading {
            settings: &settings,
            path,
            credentials,
            problems,
        };
        let plan = reading.resolve()?;
        Some(Self { settings, ..plan })
    }
}

#[cfg(test)]
mod tests;
