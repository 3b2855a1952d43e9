//! Registry: where the fleet comes from. One trait, so that nobody else knows whether it was a file.

mod file;

pub use file::FileRegistry;

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
    }
}
