//! Client: what one credential presents and whom it trusts, made once and shared by all shards. A reload
//! keeps what has not changed, and with it the tickets.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ahash::RandomState;
use hashbrown::HashMap;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::client::danger::ServerCertVerifier;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use super::certificate::{ClientCertificate, provider};
use super::link::{Link, TlsError};
use super::roots::Roots;
use super::store::Store;
use super::verify::verifier;

/// A credential as TLS sees it.
#[derive(Clone, Copy, Debug)]
pub struct Presented<'a> {
    /// What it shows.
    pub certificate: &'a ClientCertificate,
    /// Authorities that it trusts beside the others.
    pub roots: &'a [CertificateDer<'static>],
    /// Whether the upstream's certificate is checked; only a test turns that off.
    pub verifies: bool,
    /// Stands for all of it: equal where everything is equal.
    pub fingerprint: [u8; 32],
}

/// One client identity.
#[derive(Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<dyn ServerCertVerifier>,
}

/// Every client identity: the one that presents nothing, and one for each credential.
#[derive(Clone, Debug)]
pub struct Clients {
    roots: Roots,
    anonymous: Client,
    presenting: HashMap<[u8; 32], Client, RandomState>,
    store: Store,
    /// The next identity's number among the tickets.
    next: Arc<AtomicU64>,
}

impl Client {
    /// TLS 1.2 and 1.3, with no early data: what is sent there can be played back.
    fn new(
        verifier: Arc<dyn ServerCertVerifier>,
        certificate: Option<Arc<CertifiedKey>>,
        store: &Store,
        identity: u64,
    ) -> Result<Self, String> {
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .dangerous()
            .with_custom_certificate_verifier(Arc::clone(&verifier));
        let mut config = match certificate {
            Some(certified) => {
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::store(store.of(identity));
        config.enable_early_data = false;
        Ok(Self {
            config: Arc::new(config),
            verifier,
        })
    }

    /// A new connection to a server of this name, which asks for this protocol.
    ///
    /// # Errors
    /// When the settings of TLS contradict each other, which they never do.
    pub fn link(
        &self,
        server: ServerName<'static>,
        alpn: Option<&'static [u8]>,
    ) -> Result<Link, TlsError> {
        let protocols = alpn.into_iter().map(<[u8]>::to_vec).collect();
        Link::new(Arc::clone(&self.config), server, protocols)
    }
}

impl std::fmt::Debug for Client {
    /// Without certificate, key and authorities.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Clients {
    /// The identities of a fleet. What `before` has of them stays.
    ///
    /// # Errors
    /// When no authority is trusted at all.
    pub fn new<'a>(
        roots: Roots,
        presented: impl IntoIterator<Item = Presented<'a>>,
        before: Option<&Self>,
    ) -> Result<Self, String> {
        let before = before.filter(|before| before.roots.store.roots == roots.store.roots);
        let mut clients = match before {
            Some(before) => Self {
                presenting: HashMap::default(),
                ..before.clone()
            },
            None => {
                let (store, next) = (Store::default(), Arc::new(AtomicU64::new(1)));
                let anonymous = Client::new(verifier(&roots, true)?, None, &store, 0)?;
                Self {
                    roots,
                    anonymous,
                    presenting: HashMap::default(),
                    store,
                    next,
                }
            }
        };
        for presented in presented {
            let known = before.and_then(|before| before.presenting.get(&presented.fingerprint));
            let client = match known {
                Some(client) => client.clone(),
                None => clients.build(&presented)?,
            };
            clients.presenting.insert(presented.fingerprint, client);
        }
        Ok(clients)
    }

    /// The identity that presents no certificate.
    #[must_use]
    pub const fn anonymous(&self) -> &Client {
        &self.anonymous
    }

    /// The identity of a credential.
    #[must_use]
    pub fn presenting(&self, fingerprint: &[u8; 32]) -> Option<&Client> {
        self.presenting.get(fingerprint)
    }

    /// The authorities that all of them trust.
    #[must_use]
    pub const fn roots(&self) -> &Roots {
        &self.roots
    }

    fn build(&self, presented: &Presented<'_>) -> Result<Client, String> {
        let verifier = if !presented.verifies {
            verifier(&self.roots, false)?
        } else if presented.roots.is_empty() {
            Arc::clone(&self.anonymous.verifier)
        } else {
            let roots = self.roots.clone().with(presented.roots);
            verifier(
                &roots.ok_or("a root that is no authority's certificate")?,
                true,
            )?
        };
        let certificate = Some(Arc::clone(&presented.certificate.certified));
        let identity = self.next.fetch_add(1, Ordering::Relaxed);
        Client::new(verifier, certificate, &self.store, identity)
    }
}
