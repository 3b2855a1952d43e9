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
