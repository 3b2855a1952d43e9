//! Login: who a SIM is at its upstream. The entry point's plan and one SIM in; the client id, user name,
//! password and certificate that the CONNECT goes with out. It knows no packet and reads no clock.

use std::sync::Arc;

use ringbeam_proto::error::{BadClientId, Refusal};
use ringbeam_proto::identity::Identity;
use ringbeam_proto::limits::STRING_BYTES_MAX;
use ringbeam_proto::template::Template;
use zeroize::Zeroizing;

use super::credential::{Content, Credential, CredentialKind, Credentials};
use super::entry_point::EntryPoint;

/// The user name of Google's devices, which nobody looks at (B-GCP-1).
const GOOGLE_USERNAME: &str = "unused";

/// The version of Azure's interface (B-AZ-1).
const AZURE_API_VERSION: &str = "2021-04-12";

/// How the entry point's sessions log in upstream. References may depend on the SIM (B-CRED-1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// To any broker.
    Standard {
        /// User name and password.
        credentials: CredentialPlan,
        /// The id of the client certificate, if there is to be one.
        certificate: Option<Template>,
    },
    /// To an Azure IoT hub (B-AZ-1).
    AzureIot {
        /// The id of the shared access key.
        reference: Template,
    },
    /// To Google Cloud IoT Core (B-GCP-1).
    GoogleIot {
        /// The id of the signing key.
        reference: Template,
    },
    /// To PubNub (B-PN-1).
    Pubnub {
        /// The id of the key set.
        reference: Template,
    },
}

/// The user name and password that go upstream (B-CON-2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlan {
    /// The device's own, unchanged.
    PassThrough,
    /// These; the device's own never.
    Configured {
        /// The user name, if any.
        username: Option<Template>,
        /// The password, if any; never without a user name.
        password: Option<Template>,
    },
}

/// When a token is signed and how long it is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// Its beginning.
    pub issued_unix_seconds: u64,
    /// Its length (B-TOK-1).
    pub lifetime_seconds: u64,
}

impl Validity {
    /// Its end.
    #[must_use]
    pub const fn expires_unix_seconds(self) -> u64 {
        self.issued_unix_seconds
            .saturating_add(self.lifetime_seconds)
    }
}

/// What one SIM logs in with.
#[derive(Debug)]
pub struct Account {
    /// What takes the place of the device's client id.
    pub client_id: Option<String>,
    /// What takes the place of its user name and password.
    pub names: Names,
    /// When the password expires, if it is a token.
    pub token_expires_unix_seconds: Option<u64>,
    /// The client certificate to present.
    pub certificate: Option<Arc<Credential>>,
}

/// User name and password.
pub enum Names {
    /// The device's own.
    PassThrough,
    /// These, and never the device's own.
    Replaced {
        /// User name.
        username: Option<String>,
        /// Password.
        password: Option<Zeroizing<String>>,
    },
}

impl std::fmt::Debug for Names {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::PassThrough => "PassThrough",
            Self::Replaced { .. } => "Replaced",
        })
    }
}

impl Login {
    /// The credential that it needs, by the template of its id.
    #[must_use]
    pub const fn reference(&self) -> Option<(&Template, CredentialKind)> {
        match self {
            Self::Standard { certificate, .. } => match certificate {
                Some(reference) => Some((reference, CredentialKind::X509)),
                None => None,
            },
            Self::AzureIot { reference } => Some((reference, CredentialKind::AzureIot)),
            Self::GoogleIot { reference } => Some((reference, CredentialKind::GoogleIot)),
            Self::Pubnub { reference } => Some((reference, CredentialKind::Pubnub)),
        }
    }

    /// The password's kind and life in words, if it is a token.
    #[must_use]
    pub const fn token_name(&self) -> Option<&'static str> {
        match self {
            Self::AzureIot { .. } => Some("a shared access signature (HMAC-SHA256)"),
            Self::GoogleIot { .. } => Some("a JSON Web Token"),
            Self::Standard { .. } | Self::Pubnub { .. } => None,
        }
    }
}

impl EntryPoint {
    /// What a SIM's device with this client id logs in with.
    ///
    /// # Errors
    /// When its credential is not there or of another type (B-CFG-4), or the client id too long for what is
    /// made of it.
    pub fn account(
        &self,
        client_id: &str,
        credentials: &Credentials,
        identity: &Identity,
        validity: Validity,
    ) -> Result<Account, Refusal> {
        let credential = match self.login.reference() {
            Some((reference, kind)) => {
                let found = credentials.find(&reference.render(identity));
                let fitting = found.filter(|credential| credential.kind() == kind);
                Some(fitting.ok_or(Refusal::NoCredential)?)
            }
            None => None,
        };
        let account = match credential.map(|credential| (&credential.content, credential)) {
            Some((Content::AzureIot(key), _)) => {
                let host = self.destination.server_name_text();
                let expires = validity.expires_unix_seconds();
                let username = format!("{host}/{client_id}/?api-version={AZURE_API_VERSION}");
                let password = key.shared_access_signature(host, client_id, expires);
                Account::with_token(None, username, password, expires)
            }
            Some((Content::GoogleIot(key), _)) => {
                // Signing with a key that was accepted fails for want of memory or randomness alone.
                let token = key.token(validity).ok_or(Refusal::NoCredential)?;
                Account::with_token(
                    Some(key.client_id(identity)),
                    GOOGLE_USERNAME.to_owned(),
                    token.text.clone(),
                    token.validity.expires_unix_seconds(),
                )
            }
            Some((Content::Pubnub(keys), _)) => {
                let (publish, subscribe) = (&*keys.publish_key, &*keys.subscribe_key);
                let client_id = format!("{publish}/{subscribe}/{client_id}");
                Account::named(Some(client_id), None, None)
            }
            Some((Content::X509(_) | Content::UsernamePassword(_), credential)) => Account {
                certificate: Some(credential).filter(|_| self.destination.tls).cloned(),
                ..self.standard(identity)
            },
            None => self.standard(identity),
        };
        account
            .fits()
            .then_some(account)
            .ok_or(Refusal::ClientId(BadClientId::TooLong))
    }

    /// B-CON-2
    fn standard(&self, identity: &Identity) -> Account {
        let render =
            |template: &Option<Template>| template.as_ref().map(|text| text.render(identity));
        match &self.login {
            Login::Standard {
                credentials: CredentialPlan::Configured { username, password },
                ..
            } => Account::named(None, render(username), render(password).map(Zeroizing::new)),
            Login::Standard {
                credentials: CredentialPlan::PassThrough,
                ..
            } => Account {
                names: Names::PassThrough,
                ..Account::named(None, None, None)
            },
            Login::AzureIot { .. } | Login::GoogleIot { .. } | Login::Pubnub { .. } => {
                Account::named(None, None, None)
            }
        }
    }
}

impl Account {
    fn named(
        client_id: Option<String>,
        username: Option<String>,
        password: Option<Zeroizing<String>>,
    ) -> Self {
        Self {
            client_id,
            names: Names::Replaced { username, password },
            token_expires_unix_seconds: None,
            certificate: None,
        }
    }

    fn with_token(
        client_id: Option<String>,
        username: String,
        password: Zeroizing<String>,
        expires_unix_seconds: u64,
    ) -> Self {
        Self {
            token_expires_unix_seconds: Some(expires_unix_seconds),
            ..Self::named(client_id, Some(username), Some(password))
        }
    }

    /// Whether everything can be said in a CONNECT.
    fn fits(&self) -> bool {
        let (username, password) = match &self.names {
            Names::PassThrough => (None, None),
            Names::Replaced { username, password } => (username.as_ref(), password.as_deref()),
        };
        [self.client_id.as_ref(), username, password]
            .into_iter()
            .flatten()
            .all(|text| text.len() <= STRING_BYTES_MAX)
    }
}

#[cfg(test)]
mod tests;
