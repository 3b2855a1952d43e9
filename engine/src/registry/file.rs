//! File registry: the fleet is one JSON document that others write. It is read as a whole at every
//! load, and never written.

use std::path::PathBuf;

use super::Registry;
use crate::fleet::Fleet;
use crate::problem::Problem;

/// A fleet document.
#[derive(Clone, Debug)]
pub struct FileRegistry {
    path: PathBuf,
}

impl FileRegistry {
    /// The registry in the file at `path`.
    #[must_use]
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }
}

impl Registry for FileRegistry {
    fn load(&self) -> Result<Fleet, Vec<Problem>> {
        let document = std::fs::read(&self.path).map_err(|error| {
            let found = format!("no readable file ({error})");
            vec![Problem::new("", found, "a fleet in JSON").in_file(&self.path)]
        })?;
        Fleet::from_json(&self.path, document)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::RegistryConfig;
    use crate::registry::open;

    #[test]
    fn a_fleet_is_read_anew_at_every_load() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fleet.json");
        let registry = open(&RegistryConfig::File { path: path.clone() }).unwrap();
        let problem = registry.load().unwrap_err()[0].to_string();
        assert!(problem.starts_with(&format!("{}: found no readable file", path.display())));

        std::fs::write(&path, "{\"groups\": [{\"groupId\": \"a\"}]}").unwrap();
        assert_eq!(registry.load().unwrap().counts().groups, 1);

        std::fs::write(&path, "{\"groups\": [5]}").unwrap();
        let problem = registry.load().unwrap_err()[0].to_string();
        let expected = format!(
            "{}: groups[0]: found a number; accepted: an object",
            path.display()
        );
        assert_eq!(problem, expected);
    }
}
