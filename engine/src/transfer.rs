//! Transfer: `ringbeam fleet`, a fleet document into an embedded registry and out of one.

use std::fs::{File, Metadata};
use std::io::{self, BufWriter, IntoInnerError, Read as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::config::Config;
use crate::control::keep_object;
use crate::fleet::Counts;
use crate::problem::Problem;
use crate::registry::{EmbeddedRegistry, open_embedded};

/// The name of standard input in refusals.
const STANDARD_INPUT: &str = "standard input";

/// The registry that a configuration names; one that something is to be taken into begins empty if it is not there yet.
///
/// # Errors
/// With everything that is wrong.
pub fn registry(
    config: Option<&PathBuf>,
    may_create: bool,
) -> Result<EmbeddedRegistry, Vec<Problem>> {
    let config = Config::load(config.map(PathBuf::as_path))?;
    let open = if may_create {
        EmbeddedRegistry::open_or_create
    } else {
        EmbeddedRegistry::open
    };
    open_embedded(&config.registry, open)
}

/// Takes in a document, from standard input where no file is named. Inside is what was refused.
///
/// # Errors
/// When it cannot be read or stored.
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
    // As through the API: what comes masked stays as it is.
    let imported = registry.import_kept(&document, keep_object, |_, _| Ok(()));
    let imported = imported.context("the fleet cannot be stored; everything is as it was")?;
    let named = |problem: Problem| problem.in_file(source);
    Ok(imported
        .map(|fleet| fleet.counts())
        .map_err(|problems| problems.into_iter().map(named).collect()))
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
    write(registry, file).with_context(|| format!("{} cannot be written", file.display()))
}

fn write(registry: &EmbeddedRegistry, file: &Path) -> anyhow::Result<()> {
    let is_other = |found: Metadata| !found.is_file();
    if std::fs::symlink_metadata(file).is_ok_and(is_other) {
        bail!("something that is no file is there");
    }
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // A new file that nobody else may read.
    let mut output = BufWriter::new(NamedTempFile::new_in(folder)?);
    registry.export(&mut output)?;
    let written = output.into_inner().map_err(IntoInnerError::into_error)?;
    written.as_file().sync_all()?;
    written.persist(file)?;
    Ok(File::open(folder)?.sync_all()?)
}
