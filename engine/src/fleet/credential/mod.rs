//! Credentials: what the entry point shows to an upstream in a device's stead, read and checked when the
//! fleet is. Their values are secrets: nothing here prints one, and all are erased when they are dropped.

mod azure;
mod fields;
mod google;
mod x509;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use hashbrown::HashMap;
use ringbeam_proto::template::Template;
use serde_json::Value;
use zeroize::Zeroizing;

pub use azure::AzureIot;
pub use google::{Algorithm, GoogleIot, Token};
pub use x509::X509;

use self::fields::Fields;
use super::hasher;
use super::json::{JsonPath, Object, SecretValue, kind};
use crate::problem::{Problem, Problems, quoted};
use crate::tls::Presented;

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CredentialKind {
    /// `x509`: a client certificate, its key, and perhaps a private root.
    X509,
    /// `azureIoT-credentials`: a shared access key of an Azure IoT hub.
    AzureIot,
    /// `googleIoT-credentials`: a device's signing key in a Google Cloud IoT Core registry.
    GoogleIot,
    /// `pubnub-credentials`: the two keys of a PubNub key set.
    Pubnub,
    /// `username-password-credentials`
    UsernamePassword,
}

impl CredentialKind {
    /// Every kind.
    pub const ALL: [Self; 5] = [
        Self::X509,
        Self::AzureIot,
        Self::GoogleIot,
        Self::Pubnub,
        Self::UsernamePassword,
    ];

    /// The name that `type` gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::X509 => "x509",
            Self::AzureIot => "azureIoT-credentials",
            Self::GoogleIot => "googleIoT-credentials",
            Self::Pubnub => "pubnub-credentials",
            Self::UsernamePassword => "username-password-credentials",
        }
    }
}

/// What a credential holds, ready for use.
#[derive(Debug)]
pub enum Content {
    /// A client certificate.
    X509(Box<X509>),
    /// A shared access key.
    AzureIot(AzureIot),
    /// A signing key.
    GoogleIot(Box<GoogleIot>),
    /// The keys of a PubNub key set.
    Pubnub(Pubnub),
    /// A user name and a password.
    UsernamePassword(UsernamePassword),
}

/// The keys of a PubNub key set.
pub struct Pubnub {
    /// `pubKey`
    pub publish_key: Zeroizing<String>,
    /// `subKey`
    pub subscribe_key: Zeroizing<String>,
}

/// A user name and a password. No entry point refers to one yet.
pub struct UsernamePassword {
    /// `username`
    pub username: Zeroizing<String>,
    /// `password`
    pub password: Zeroizing<String>,
}

/// The id of a credential that cannot be used, and why.
type Unusable = (Arc<str>, Vec<Problem>);

/// One credential.
pub struct Credential {
    /// Its id.
    pub id: Arc<str>,
    /// What it holds.
    pub content: Content,
    /// The JSON object that it came from.
    json: SecretValue,
}

impl Credential {
    /// What it is for.
    #[must_use]
    pub const fn kind(&self) -> CredentialKind {
        match self.content {
            Content::X509(_) => CredentialKind::X509,
            Content::AzureIot(_) => CredentialKind::AzureIot,
            Content::GoogleIot(_) => CredentialKind::GoogleIot,
            Content::Pubnub(_) => CredentialKind::Pubnub,
            Content::UsernamePassword(_) => CredentialKind::UsernamePassword,
        }
    }

    /// The client certificate, if it is one.
    #[must_use]
    pub const fn x509(&self) -> Option<&X509> {
        match &self.content {
            Content::X509(certificate) => Some(certificate),
            Content::AzureIot(_)
            | Content::GoogleIot(_)
            | Content::Pubnub(_)
            | Content::UsernamePassword(_) => None,
        }
    }

    /// The JSON object that it came from, unknown keys included. It holds the secrets in clear.
    #[must_use]
    pub const fn to_json(&self) -> &Value {
        &self.json.0
    }

    /// `Err` is what stands in the way of using it, by its id.
    fn read(
        value: &Value,
        path: &JsonPath<'_>,
        problems: &mut Problems,
    ) -> Option<Result<Self, Unusable>> {
        let object = Object::new(value, path, problems)?;
        let id = object.required_text("credentialsId", "an id", problems);
        let kind = read_kind(object, problems);
        if object.member("credentials").is_none() {
            problems.refuse(path.key("credentials"), "nothing", "an object");
        }
        let fields_path = path.key("credentials");
        let mut unusable = Problems::default();
        let mut fields = Fields {
            object: Object {
                fields: object.object("credentials", problems)?,
                path: &fields_path,
            },
            problems,
            unusable: &mut unusable,
        };
        let content = read_content(kind?, &mut fields);
        let id: Arc<str> = Arc::from(id?);
        if let Err(unusable) = unusable.into_result(Some(())) {
            return Some(Err((id, unusable)));
        }
        Some(Ok(Self {
            id,
            content: content?,
            json: SecretValue(value.clone()),
        }))
    }
}

fn read_content(kind: CredentialKind, fields: &mut Fields<'_>) -> Option<Content> {
    Some(match kind {
        CredentialKind::X509 => Content::X509(Box::new(X509::read(fields)?)),
        CredentialKind::AzureIot => Content::AzureIot(AzureIot::read(fields)?),
        CredentialKind::GoogleIot => Content::GoogleIot(Box::new(GoogleIot::read(fields)?)),
        CredentialKind::Pubnub => {
            let publish_key = fields.packet_text("pubKey");
            let subscribe_key = fields.packet_text("subKey");
            Content::Pubnub(Pubnub {
                publish_key: Zeroizing::new(publish_key?.to_owned()),
                subscribe_key: Zeroizing::new(subscribe_key?.to_owned()),
            })
        }
        CredentialKind::UsernamePassword => {
            let username = fields.packet_text("username");
            let password = fields.text("password");
            Content::UsernamePassword(UsernamePassword {
                username: Zeroizing::new(username?.to_owned()),
                password: Zeroizing::new(password?.to_owned()),
            })
        }
    })
}

fn read_kind(object: Object<'_>, problems: &mut Problems) -> Option<CredentialKind> {
    let accepted = CredentialKind::ALL.map(CredentialKind::as_str).join(", ");
    let name = object.required_text("type", &accepted, problems)?;
    let kind = CredentialKind::ALL
        .into_iter()
        .find(|kind| kind.as_str() == name);
    if kind.is_none() {
        problems.refuse(object.path.key("type"), quoted(name), accepted);
    }
    kind
}

impl fmt::Debug for Credential {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Credential")
            .field("id", &self.id)
            .field("kind", &self.kind())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Pubnub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Pubnub").finish_non_exhaustive()
    }
}

impl fmt::Debug for UsernamePassword {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("UsernamePassword");
        shown.finish_non_exhaustive()
    }
}

/// The credentials of a fleet, by id.
#[derive(Debug, Default)]
pub struct Credentials {
    by_id: HashMap<Arc<str>, Arc<Credential>, hasher::Fixed>,
    /// Those that cannot be used, and why. That is a refusal as soon as an entry point refers to one.
    unusable: BTreeMap<Arc<str>, Vec<Problem>>,
}

impl Credentials {
    /// The credential of this id.
    #[must_use]
    pub fn find(&self, id: &str) -> Option<&Arc<Credential>> {
        self.by_id.get(id)
    }

    /// Why the credential of this id cannot be used, where that is so.
    #[must_use]
    pub fn unusable(&self, id: &str) -> Option<&[Problem]> {
        self.unusable.get(id).map(Vec::as_slice)
    }

    /// Why those cannot be used that this reference may name.
    pub(super) fn unusable_of(&self, reference: &Template) -> impl Iterator<Item = &Problem> {
        let named = self
            .unusable
            .iter()
            .filter(|(id, _)| reference.may_render(id));
        named.flat_map(|(_, problems)| problems)
    }

    /// All that can be used, in the order of their ids.
    #[must_use]
    pub fn sorted(&self) -> Vec<&Arc<Credential>> {
        let mut sorted: Vec<_> = self.by_id.values().collect();
        sorted.sort_unstable_by(|one, other| one.id.cmp(&other.id));
        sorted
    }

    /// Every client certificate, as TLS sees it.
    pub(super) fn presented(&self) -> impl Iterator<Item = Presented<'_>> {
        self.by_id
            .values()
            .filter_map(|credential| credential.x509())
            .map(X509::presented)
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Those that leave the upstream unverified or cannot be used, one warning each.
    pub(super) fn warnings(&self) -> impl Iterator<Item = String> {
        let unverified = self.sorted().into_iter().filter(|credential| {
            credential
                .x509()
                .is_some_and(|certificate| certificate.skips_verification)
        });
        let unverified = unverified.map(|credential| {
            format!(
                "credential {}: insecureSkipVerify is on: NOBODY CHECKS WHO THE BROKER IS, anyone on the way \
                 can read and change everything; for tests alone",
                quoted(&credential.id)
            )
        });
        let unusable = self.unusable.iter().flat_map(|(id, problems)| {
            problems
                .iter()
                .map(move |problem| format!("credential {}: unusable: {problem}", quoted(id)))
        });
        unverified.chain(unusable)
    }

    /// One warning for each certificate that has expired, or will before long.
    pub(super) fn expiry_warnings(&self, now_unix_seconds: u64) -> Vec<String> {
        let of = |credential: &&Arc<Credential>| {
            let warning = credential.x509()?.expiry_warning(now_unix_seconds)?;
            Some(format!("credential {}: {warning}", quoted(&credential.id)))
        };
        self.sorted().iter().filter_map(of).collect()
    }

    /// Reads a list of credentials.
    pub(super) fn read(value: &Value, path: &JsonPath<'_>, problems: &mut Problems) -> Self {
        let mut credentials = Self::default();
        let Some(list) = value.as_array() else {
            problems.refuse(path, kind(value), "a list of credentials");
            return credentials;
        };
        for (index, element) in list.iter().enumerate() {
            let path = path.index(index);
            let Some(credential) = Credential::read(element, &path, problems) else {
                // It is refused already, and is not missing beside.
                let id = element.get("credentialsId").and_then(Value::as_str);
                if let Some(id) = id.filter(|id| !credentials.by_id.contains_key(*id)) {
                    credentials.unusable.entry(Arc::from(id)).or_default();
                }
                continue;
            };
            let id = match &credential {
                Ok(credential) => Arc::clone(&credential.id),
                Err((id, _)) => Arc::clone(id),
            };
            if credentials.by_id.contains_key(&id) || credentials.unusable.contains_key(&id) {
                problems.refuse(
                    path.key("credentialsId"),
                    format_args!("{}, which stands above already", quoted(&id)),
                    "an id of its own for each credential",
                );
                continue;
            }
            match credential {
                Ok(credential) => drop(credentials.by_id.insert(id, Arc::new(credential))),
                Err((id, unusable)) => drop(credentials.unusable.insert(id, unusable)),
            }
        }
        credentials
    }
}

#[cfg(test)]
pub(crate) mod samples;
#[cfg(test)]
mod tests;
