//! Unwritten: why nothing can be stored now, as far as whoever waits for it is concerned.

use std::fmt;
use std::io;

use rusqlite::ErrorCode;

use super::StoreError;

/// Why nothing can be stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unwritten {
    /// There is no room.
    Full,
    /// Another program writes.
    Busy,
    /// The disk or the file fails, or may not be written.
    Failed,
}

impl fmt::Display for Unwritten {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Full => "the disk is full",
            Self::Busy => "another program is writing to it",
            Self::Failed => "its disk or file fails",
        })
    }
}

/// What a change may be refused with: by whoever makes it, or because nothing can be stored.
pub trait Refusal: From<StoreError> {
    /// Why nothing can be stored, where it is that.
    fn unwritten(&self) -> Option<Unwritten>;
}

impl Refusal for StoreError {
    fn unwritten(&self) -> Option<Unwritten> {
        match self {
            Self::File(error) if error.kind() == io::ErrorKind::StorageFull => {
                Some(Unwritten::Full)
            }
            Self::File(_) => Some(Unwritten::Failed),
            Self::Sqlite(error) => of_code(error.sqlite_error_code()?),
            Self::Missing
            | Self::Schema(_)
            | Self::WrongKey
            | Self::Secret(_)
            | Self::TooManyTexts
            | Self::User(_)
            | Self::Object(_) => None,
        }
    }
}

fn of_code(code: ErrorCode) -> Option<Unwritten> {
    if code == ErrorCode::DiskFull {
        return Some(Unwritten::Full);
    }
    if matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) {
        return Some(Unwritten::Busy);
    }
    // What else is not for a sentence of ours to answer for.
    let has_failed = matches!(
        code,
        ErrorCode::SystemIoFailure
            | ErrorCode::ReadOnly
            | ErrorCode::CannotOpen
            | ErrorCode::PermissionDenied
            | ErrorCode::FileLockingProtocolFailed
            | ErrorCode::NoLargeFileSupport
            | ErrorCode::OutOfMemory
            | ErrorCode::DatabaseCorrupt
            | ErrorCode::NotADatabase
    );
    has_failed.then_some(Unwritten::Failed)
}
