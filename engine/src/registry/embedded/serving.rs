//! Serving: who of all programs that have a registry open is the one that serves by it. Two engines on one database would
//! each know a part of what is told, and serve one address as two SIMs. A lock on a file beside the database says it: the
//! kernel lets go of it when the process ends, however it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use tracing::warn;

/// Bytes of a process id and more.
const ID_BYTES: u64 = 32;

/// This process is the one that serves, for as long as this lives. The lock is the open file's, not the process's: whoever
/// is given its descriptor goes on having it.
#[derive(Debug)]
pub struct Serving {
    _file: File,
}

/// Why a process does not become the one that serves.
#[derive(Debug, thiserror::Error)]
pub enum NotServing {
    /// Another one is.
    #[error("the registry {path} is served already, by {}; one engine serves a registry at a time", by(.holder))]
    Taken {
        /// The database.
        path: String,
        /// The other one's process id, where it could write it down.
        holder: Option<u32>,
    },
    /// The file cannot be made or locked.
    #[error("the lock {path} cannot be had ({error})")]
    File {
        /// The file.
        path: String,
        /// What the kernel said.
        error: io::Error,
    },
}

fn by(holder: &Option<u32>) -> String {
    holder.map_or_else(
        || "another process".to_owned(),
        |id| format!("process {id}"),
    )
}

impl Serving {
    /// Becomes the one that serves by the database at `path`, which may not be there yet. By whatever links it is
    /// called, it has one lock.
    ///
    /// # Errors
    /// When another one is, or the lock cannot be had.
    pub fn begin(path: &Path) -> Result<Self, NotServing> {
        let place = lock_of(path);
        let refused = |error| NotServing::File {
            path: place.display().to_string(),
            error,
        };
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        let mut file = options.mode(0o600).open(&place).map_err(refused)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(NotServing::Taken {
                    path: path.display().to_string(),
                    holder: read_id(&file),
                });
            }
            Err(TryLockError::Error(error)) => return Err(refused(error)),
        }
        if let Err(error) = write_id(&mut file) {
            // On a full disk it serves all the same; whoever comes second is told less.
            warn!(path = %place.display(), %error, "the lock cannot say whose it is");
        }
        Ok(Self { _file: file })
    }
}

/// Beside the database itself, where its path is a link.
fn lock_of(path: &Path) -> PathBuf {
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let whole = || {
        let folder = folder
            .unwrap_or_else(|| Path::new("."))
            .canonicalize()
            .ok()?;
        Some(folder.join(path.file_name()?))
    };
    let real = path.canonicalize().ok().or_else(whole);
    let mut name = real.unwrap_or_else(|| path.to_owned()).into_os_string();
    name.push(".lock");
    PathBuf::from(name)
}

fn write_id(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())
}

fn read_id(file: &File) -> Option<u32> {
    let mut text = String::new();
    file.take(ID_BYTES).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b_id_6_one_serves_at_a_time_by_whatever_name() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("db");
        let first = Serving::begin(&path).unwrap();
        std::fs::write(&path, "").unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        for name in [&path, &link] {
            let refusal = Serving::begin(name).unwrap_err().to_string();
            let own = format!("served already, by process {};", std::process::id());
            assert!(refusal.contains(&own), "{refusal}");
        }
        drop(first);
        drop(Serving::begin(&link).unwrap());
        let nowhere = Serving::begin(&folder.path().join("no/db")).unwrap_err();
        assert!(matches!(nowhere, NotServing::File { .. }), "{nowhere}");
    }
}
