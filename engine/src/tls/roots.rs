//! Roots: the authorities that an upstream's certificate may come from: the system's, and those of
//! `upstream.ca_file`.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;

use super::certificate::certificates_from_pem;

/// Trusted authorities.
#[derive(Clone, Debug)]
pub struct Roots {
    pub(super) store: Arc<RootCertStore>,
    origin: Origin,
    private: usize,
}

/// Where the public ones come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Origin {
    /// The system's store.
    System,
    /// Mozilla's, as of this build: the system has none.
    Builtin,
}

impl Roots {
    /// The system's roots, or the built-in ones where the system has none.
    #[must_use]
    pub fn system() -> Self {
        let mut store = RootCertStore::empty();
        let native = rustls_native_certs::load_native_certs();
        let (added, _) = store.add_parsable_certificates(native.certs);
        let origin = if added > 0 {
            Origin::System
        } else {
            store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
            Origin::Builtin
        };
        Self {
            store: Arc::new(store),
            origin,
            private: 0,
        }
    }

    /// These and the certificates of a PEM file.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn with_file(self, path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| format!("no readable file {} ({error})", path.display()))?;
        let certificates = certificates_from_pem(&text)
            .map_err(|error| format!("{} ({error})", path.display()))?;
        self.with(&certificates)
            .ok_or_else(|| format!("{} (a certificate that is no authority's)", path.display()))
    }

    /// These and more; `None` when one of them cannot be an authority's.
    #[must_use]
    pub fn with(mut self, certificates: &[CertificateDer<'static>]) -> Option<Self> {
        let store = Arc::make_mut(&mut self.store);
        for certificate in certificates {
            store.add(certificate.clone()).ok()?;
        }
        self.private = self.private.saturating_add(certificates.len());
        Some(self)
    }

    /// All of them.
    #[must_use]
    pub fn store(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.store)
    }
}

impl std::fmt::Display for Roots {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let public = self.store.len().saturating_sub(self.private);
        let origin = match self.origin {
            Origin::System => "of the system",
            Origin::Builtin => "built in, as the system has none",
        };
        write!(formatter, "{public} {origin}")?;
        if self.private > 0 {
            write!(formatter, ", {} of upstream.ca_file", self.private)?;
        }
        Ok(())
    }
}
