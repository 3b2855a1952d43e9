//! Service: the kind of broker that an entry point's switches choose.

use ringbeam_proto::template::Template;

use super::credential::CredentialKind;
use super::login::{CredentialPlan, Login};

/// What kind of broker the destination is. At most one of the three switches is on (B-CFG-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    /// Any broker.
    Standard,
    Pubnub,
    GoogleIot,
    AzureIot,
}

/// What kind of destination sessions go on to, as figures tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DestinationKind {
    /// Any broker over plain TCP.
    Mqtt,
    /// Any broker over TLS.
    Mqtts,
    /// An Azure IoT hub.
    AzureIot,
    /// Google Cloud IoT Core.
    GoogleIot,
    /// PubNub.
    Pubnub,
}

impl DestinationKind {
    /// Where an entry point's sessions go on to.
    pub(super) const fn of(login: &Login, over_tls: bool) -> Self {
        match login {
            Login::Standard { .. } if over_tls => Self::Mqtts,
            Login::Standard { .. } => Self::Mqtt,
            Login::AzureIot { .. } => Self::AzureIot,
            Login::GoogleIot { .. } => Self::GoogleIot,
            Login::Pubnub { .. } => Self::Pubnub,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mqtt => "mqtt",
            Self::Mqtts => "mqtts",
            Self::AzureIot => "azure",
            Self::GoogleIot => "google",
            Self::Pubnub => "pubnub",
        }
    }
}

impl Service {
    /// All but the plain one.
    pub(super) const SPECIAL: [Self; 3] = [Self::Pubnub, Self::GoogleIot, Self::AzureIot];

    /// The switch that chooses it, the reference that it needs, and what that must be.
    pub(super) const fn keys(self) -> Option<(&'static str, &'static str, CredentialKind)> {
        match self {
            Self::Standard => None,
            Self::Pubnub => Some(("usePubnub", "pubnubCredential", CredentialKind::Pubnub)),
            Self::GoogleIot => Some((
                "useGoogleIoT",
                "googleIoTCredential",
                CredentialKind::GoogleIot,
            )),
            Self::AzureIot => Some((
                "useAzureIoT",
                "azureIoTCredential",
                CredentialKind::AzureIot,
            )),
        }
    }

    /// The way its sessions log in; `reference` is the id of the credential that it needs or may have.
    pub(super) fn login(
        self,
        credentials: CredentialPlan,
        reference: Option<Template>,
    ) -> Option<Login> {
        Some(match self {
            Self::Standard => Login::Standard {
                credentials,
                certificate: reference,
            },
            Self::Pubnub => Login::Pubnub {
                reference: reference?,
            },
            Self::GoogleIot => Login::GoogleIot {
                reference: reference?,
            },
            Self::AzureIot => Login::AzureIot {
                reference: reference?,
            },
        })
    }

    /// The switch that chooses it; none chooses the plain one.
    pub(super) fn switch(self) -> &'static str {
        self.keys().map_or("", |(switch, _, _)| switch)
    }
}
