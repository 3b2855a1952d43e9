//! Authorities: a private root, what it vouches for, and every way in which a certificate can be wrong.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tempfile::TempDir;

/// Whoever vouches for others.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Certificates that have to be shown beside what it issues: none for a root.
    chain: Vec<String>,
    folder: Arc<TempDir>,
}

/// What a certificate is to say.
pub struct Wish {
    /// Names and addresses.
    pub names: Vec<String>,
    /// The key's kind.
    pub algorithm: &'static SignatureAlgorithm,
    /// Its first and its last year.
    pub years: [i32; 2],
    /// What it may be used for.
    pub usage: ExtendedKeyUsagePurpose,
}

/// A certificate with its chain and its key, PEM.
#[derive(Clone)]
pub struct Identity {
    /// The certificate itself first.
    pub chain: Vec<String>,
    /// The key.
    pub key: String,
}

impl Wish {
    /// A server's on 127.0.0.1, as it should be.
    pub fn server() -> Self {
        Self {
            names: vec!["127.0.0.1".to_owned(), "localhost".to_owned()],
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            years: [2020, 4096],
            usage: ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    /// A client's of this name.
    pub fn client(name: &str) -> Self {
        Self {
            names: vec![name.to_owned()],
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            ..Self::server()
        }
    }
}

impl Authority {
    /// A root of this name.
    pub fn new(name: &str) -> Self {
        let issuer = CertifiedIssuer::self_signed(parameters(name), KeyPair::generate().unwrap());
        Self {
            issuer: issuer.unwrap(),
            chain: Vec::new(),
            folder: Arc::new(TempDir::new().unwrap()),
        }
    }

    /// An authority that this one vouches for.
    pub fn intermediate(&self, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::signed_by(parameters(name), key, &self.issuer).unwrap();
        let mut chain = vec![issuer.pem()];
        chain.extend(self.chain.iter().cloned());
        Self {
            issuer,
            chain,
            folder: Arc::clone(&self.folder),
        }
    }

    /// A certificate as wished for.
    pub fn issue(&self, wish: Wish) -> Identity {
        let name = wish.names.first().cloned().unwrap_or_default();
        let mut parameters = CertificateParams::new(wish.names).unwrap();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let [first, last] = wish.years;
        parameters.not_before = date_time_ymd(first, 1, 1);
        parameters.not_after = date_time_ymd(last, 1, 1);
        parameters.extended_key_usages = vec![wish.usage];
        parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate_for(wish.algorithm).unwrap();
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let mut chain = vec![certificate.pem()];
        chain.extend(self.chain.iter().cloned());
        Identity {
            chain,
            key: key.serialize_pem(),
        }
    }

    /// A server's certificate.
    pub fn server(&self) -> Identity {
        self.issue(Wish::server())
    }

    /// Its own certificate and key, as though it were a server.
    pub fn itself(&self) -> Identity {
        Identity {
            chain: vec![self.issuer.pem()],
            key: self.issuer.key().serialize_pem(),
        }
    }

    /// Its certificate, PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A file with its certificate.
    pub fn file(&self) -> PathBuf {
        self.write("ca.pem", &self.pem())
    }

    /// The section of `ringbeam.toml` that trusts it.
    pub fn section(&self) -> String {
        format!("[upstream]\nca_file = \"{}\"", self.file().display())
    }

    /// Files with a certificate and its key.
    pub fn files(&self, name: &str, identity: &Identity) -> [PathBuf; 2] {
        [
            self.write(&format!("{name}.pem"), &identity.chain.concat()),
            self.write(&format!("{name}.key"), &identity.key),
        ]
    }

    /// A file beside its certificate.
    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

impl Identity {
    /// The same with its certificates the other way round.
    pub fn reversed(mut self) -> Self {
        self.chain.reverse();
        self
    }

    /// The same without what vouches for it.
    pub fn alone(mut self) -> Self {
        self.chain.truncate(1);
        self
    }

    /// As rustls takes it, fitting or not.
    pub fn certified(&self) -> CertifiedKey {
        let chain = self
            .chain
            .iter()
            .map(|pem| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap())
            .collect();
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        CertifiedKey::new(chain, any_supported_type(&key).unwrap())
    }
}

fn parameters(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}
