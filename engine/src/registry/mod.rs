//! Registry: where the fleet comes from. One trait, so that nobody else knows whether it was a file.

mod embedded;
mod file;

pub use embedded::{
    AuditEntry, AuthKey, Bucket, EmbeddedRegistry, KEY_VARIABLE, LogEntry, LogQuery, Matching,
    Moment, NotServing, Refusal, Scope, Sealed, SecretError, SecretKey, Serving, SimField,
    SimFilter, SimOrder, SimQuery, StoreError, Stored, StoredSim, Unwritten, UsageCounts, UsageRow,
    UsageShare, UserError, hash_text, is_hash_of, random, random_bytes, sessions, verify_password,
};
pub use file::FileRegistry;

use std::path::Path;

use crate::config::RegistryConfig;
use crate::fleet::Fleet;
use crate::problem::Problem;

/// A source of fleets.
pub trait Registry {
    /// The fleet as it is now.
    ///
    /// # Errors
    /// Every refusal; the fleet that was loaded before stays in use.
    fn load(&self) -> Result<Fleet, Vec<Problem>>;
}

/// The registry that the configuration names.
///
/// # Errors
/// When it cannot be opened.
pub fn open(config: &RegistryConfig) -> Result<Box<dyn Registry + Send>, Vec<Problem>> {
    match config {
        RegistryConfig::File { path } => Ok(Box::new(FileRegistry::new(path.clone()))),
        RegistryConfig::Embedded { .. } => {
            Ok(Box::new(open_embedded(config, EmbeddedRegistry::open)?))
        }
    }
}

/// The same where an embedded registry that is not there yet begins empty.
///
/// # Errors
/// When it cannot be opened or made.
pub fn open_or_create(config: &RegistryConfig) -> Result<Box<dyn Registry + Send>, Vec<Problem>> {
    match config {
        RegistryConfig::File { .. } => open(config),
        RegistryConfig::Embedded { .. } => Ok(Box::new(open_embedded(
            config,
            EmbeddedRegistry::open_or_create,
        )?)),
    }
}

/// Becomes the one engine that serves by the registry that the configuration names; `None` where any number may.
///
/// # Errors
/// When another one is, or that cannot be known.
pub fn begin_serving(config: &RegistryConfig) -> Result<Option<Serving>, NotServing> {
    match config {
        RegistryConfig::File { .. } => Ok(None),
        RegistryConfig::Embedded { path, .. } => Serving::begin(path).map(Some),
    }
}

/// The embedded registry that the configuration names, opened in this way.
///
/// # Errors
/// When it names another, or that cannot be opened.
pub fn open_embedded(
    config: &RegistryConfig,
    open: fn(&Path, SecretKey) -> Result<EmbeddedRegistry, StoreError>,
) -> Result<EmbeddedRegistry, Vec<Problem>> {
    match config {
        RegistryConfig::File { path } => {
            let found = format!("\"file\": {} is the fleet document itself", path.display());
            Err(vec![Problem::new("registry.kind", found, "\"embedded\"")])
        }
        RegistryConfig::Embedded {
            path,
            secret_key_file,
        } => SecretKey::find(secret_key_file.as_deref())
            .and_then(|key| open(path, key).map_err(|error| error.problem(path)))
            .map_err(|problem| vec![problem]),
    }
}
