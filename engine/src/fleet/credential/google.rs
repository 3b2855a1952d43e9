//! Google Cloud IoT Core, and what took its place with the same interface: a device's name, its signing key,
//! and the token that is signed with it (B-GCP-1).

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ringbeam_proto::identity::Identity;
use ringbeam_proto::template::Template;
use rustls::pki_types::PrivateKeyDer;
use serde_json::json;
use zeroize::{Zeroize as _, Zeroizing};

use super::fields::Fields;
use crate::fleet::login::Validity;
use crate::tls::key_from_pem;

/// A token is used again for this part of its life: a storm of one key's devices costs one signature, and
/// nobody gets a token that is old.
const REUSED_PART: u64 = 60;

/// How tokens are signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
}

impl Algorithm {
    /// The name that `algorithm` gives it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }
}

enum Key {
    Rs256(RsaKeyPair),
    Es256(EcdsaKeyPair),
}

/// A device's name and signing key.
pub struct GoogleIot {
    project: Zeroizing<String>,
    region: Zeroizing<String>,
    registry: Zeroizing<String>,
    device: Template,
    key: Key,
    latest: ArcSwapOption<Token>,
}

/// A signed token.
pub struct Token {
    /// What goes upstream as password.
    pub text: Zeroizing<String>,
    /// When it was signed, and for how long.
    pub validity: Validity,
}

impl GoogleIot {
    pub(super) fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let project = fields.packet_text("projectId");
        let region = fields.packet_text("region");
        let registry = fields.packet_text("registryId");
        let device = fields.packet_text("deviceId");
        let pem = fields.text("privateKey");
        let algorithm = read_algorithm(fields);
        let key = read_key(pem?, algorithm?, fields);
        let owned = |text: &str| Zeroizing::new(text.to_owned());
        Some(Self {
            project: owned(project?),
            region: owned(region?),
            registry: owned(registry?),
            device: Template::compile(device?),
            key: key?,
            latest: ArcSwapOption::empty(),
        })
    }

    /// How its tokens are signed.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Key::Rs256(_) => Algorithm::Rs256,
            Key::Es256(_) => Algorithm::Es256,
        }
    }

    /// B-GCP-1, B-CRED-1: the client id of a SIM.
    #[must_use]
    pub fn client_id(&self, identity: &Identity) -> String {
        format!(
            "projects/{}/locations/{}/registries/{}/devices/{}",
            *self.project,
            *self.region,
            *self.registry,
            self.device.render(identity)
        )
    }

    /// B-GCP-1: a token for this time, or one that was signed just before; `None` where signing fails.
    #[must_use]
    pub fn token(&self, validity: Validity) -> Option<Arc<Token>> {
        let is_fresh = |token: &Arc<Token>| {
            let until = validity.lifetime_seconds / REUSED_PART;
            let age = validity
                .issued_unix_seconds
                .checked_sub(token.validity.issued_unix_seconds);
            token.validity.lifetime_seconds == validity.lifetime_seconds
                && age.is_some_and(|age| age <= until)
        };
        if let Some(token) = self.latest.load_full().filter(is_fresh) {
            return Some(token);
        }
        let text = self.sign(validity)?;
        let token = Arc::new(Token { text, validity });
        self.latest.store(Some(Arc::clone(&token)));
        Some(token)
    }

    fn sign(&self, validity: Validity) -> Option<Zeroizing<String>> {
        let encode = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = encode(&json!({"alg": self.algorithm().as_str(), "typ": "JWT"}));
        let claims = encode(&json!({
            "aud": *self.project,
            "iat": validity.issued_unix_seconds,
            "exp": validity.expires_unix_seconds(),
        }));
        let signed = format!("{header}.{claims}");
        let random = SystemRandom::new();
        let signature = match &self.key {
            Key::Rs256(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(
                    &RSA_PKCS1_SHA256,
                    &random,
                    signed.as_bytes(),
                    &mut signature,
                )
                .ok()?;
                signature
            }
            Key::Es256(key) => key.sign(&random, signed.as_bytes()).ok()?.as_ref().to_vec(),
        };
        let signature = URL_SAFE_NO_PAD.encode(signature);
        Some(Zeroizing::new(format!("{signed}.{signature}")))
    }
}

fn read_algorithm(fields: &mut Fields<'_>) -> Option<Algorithm> {
    let name = fields.text("algorithm")?;
    let known = [Algorithm::Rs256, Algorithm::Es256];
    let algorithm = known.into_iter().find(|known| known.as_str() == name);
    if algorithm.is_none() {
        let accepted = "\"RS256\" or \"ES256\"";
        fields.refuse("algorithm", "another algorithm", accepted);
    }
    algorithm
}

fn read_key(pem: &str, algorithm: Algorithm, fields: &mut Fields<'_>) -> Option<Key> {
    let accepted = match algorithm {
        Algorithm::Rs256 => {
            "for RS256 an RSA private key in PEM without a passphrase, of 2048 to 8192 bits"
        }
        Algorithm::Es256 => "for ES256 an EC private key on P-256 in PEM without a passphrase",
    };
    let mut der = match key_from_pem(pem) {
        Ok(der) => der,
        Err(error) => {
            fields.refuse_content("privateKey", &error.to_string(), accepted);
            return None;
        }
    };
    let key = match (algorithm, &der) {
        (Algorithm::Rs256, PrivateKeyDer::Pkcs1(der)) => {
            RsaKeyPair::from_der(der.secret_pkcs1_der()).map(Key::Rs256)
        }
        (Algorithm::Rs256, der) => RsaKeyPair::from_pkcs8(der.secret_der()).map(Key::Rs256),
        (Algorithm::Es256, der) => {
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            EcdsaKeyPair::from_private_key_der(algorithm, der.secret_der()).map(Key::Es256)
        }
    };
    der.zeroize();
    if key.is_err() {
        fields.refuse_content("privateKey", "a key of another kind", accepted);
    }
    key.ok()
}

impl fmt::Debug for GoogleIot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GoogleIot")
            .field("algorithm", &self.algorithm())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Token")
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}
