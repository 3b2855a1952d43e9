//! Transfer: `ringbeam fleet`, a fleet document into an embedded registry and out of one.

use std::fs::File;
use std::io::{self, BufWriter, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::fleet::Counts;
use crate::problem::Problem;
use crate::registry::{EmbeddedRegistry, open_embedded};

/// The name of standard input in refusals.
const STANDARD_INPUT: &str = "standard input";

/// The registry that a configuration names.
///
/// # Errors
/// With everything that is wrong.
pub fn registry(config: Option<&PathBuf>) -> Result<EmbeddedRegistry, Vec<Problem>> {
    let config = Config::load(config.map(PathBuf::as_path))?;
    open_embedded(&config.registry)
}

/// Takes in a document, from standard input where no file is named. Inside is what was refused.
///
/// # Errors
/// When it cannot be read.
pub fn import(
    registry: &EmbeddedRegistry,
    file: Option<&Path>,
) -> anyhow::Result<Result<Counts, Vec<Problem>>> {
    let mut document = Zeroizing::new(Vec::new());
    let source = file.unwrap_or_else(|| Path::new(STANDARD_INPUT));
    let read = match file {
        Some(file) => File::open(file).and_then(|mut file| file.read_to_end(&mut document)),
        None => io::stdin().lock().read_to_end(&mut document),
    };
    read.with_context(|| format!("{} cannot be read", source.display()))?;
    let imported = registry.import(source, &document);
    Ok(imported.map(|fleet| fleet.counts()))
}

/// Writes the fleet out, to standard output where no file is named. A file is there whole, for its owner alone, or as
/// it was before.
///
/// # Errors
/// When it cannot be read or written.
pub fn export(registry: &EmbeddedRegistry, file: Option<&Path>) -> anyhow::Result<()> {
    let Some(file) = file else {
        return Ok(registry.export(&mut BufWriter::new(io::stdout().lock()))?);
    };
    let mut name = file.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let written = write(registry, &partial).and_then(|()| Ok(std::fs::rename(&partial, file)?));
    if written.is_err() {
        // What is half written is nobody's; that it is not there is no error.
        drop(std::fs::remove_file(&partial));
    }
    written.with_context(|| format!("{} cannot be written", file.display()))
}

fn write(registry: &EmbeddedRegistry, path: &Path) -> anyhow::Result<()> {
    let mut options = File::options();
    let file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut output = BufWriter::new(file);
    registry.export(&mut output)?;
    output.flush()?;
    output.get_ref().sync_all()?;
    Ok(())
}
