//! [`Fault`]: what an error of SQLite means for the projection, by its code, never by its text.

use std::io;

use lenslog_engine::ProjectionError;
use rusqlite::{Error, ErrorCode};

use super::files::DatabaseFiles;
use crate::probe::room_refused;

/// Where SQLite names no cause, so much is tried to be written.
const PROBE_BYTES: usize = 64 << 10;

/// What an error means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It may pass: a lock, a full disk, a permission, a medium. The schema is looked at again when it is retried.
    Passing(io::ErrorKind),
    /// The content of the file cannot be used.
    Broken,
    /// These very values are refused, now and later.
    Rejected,
}

/// What an error means.
pub(crate) fn fault(error: &Error) -> Fault {
    let Some(error) = error.sqlite_error() else {
        // A value of another type than our schema holds, or text that is not UTF-8.
        return Fault::Broken;
    };
    match error.code {
        ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::FileLockingProtocolFailed => Fault::Passing(io::ErrorKind::ResourceBusy),
        ErrorCode::DiskFull => Fault::Passing(io::ErrorKind::StorageFull),
        ErrorCode::ReadOnly | ErrorCode::PermissionDenied => {
            Fault::Passing(io::ErrorKind::PermissionDenied)
        }
        ErrorCode::OutOfMemory => Fault::Passing(io::ErrorKind::OutOfMemory),
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => Fault::Broken,
        ErrorCode::ConstraintViolation
        | ErrorCode::TypeMismatch
        | ErrorCode::TooBig
        | ErrorCode::ParameterOutOfRange => Fault::Rejected,
        // SQLITE_ERROR is among these: our statements fail to compile only where the schema is another one, and
        // opening again finds that out and names it.
        _ => Fault::Passing(io::ErrorKind::Other),
    }
}

/// Turns errors of SQLite into those of a projection.
pub(super) trait Explain<T> {
    /// Says what was attempted on which database; nothing is rejected here.
    fn explain(self, what: &'static str, files: &DatabaseFiles) -> Result<T, ProjectionError>;

    /// As [`Explain::explain`], where a refused value rejects the record.
    fn explain_record(
        self,
        what: &'static str,
        files: &DatabaseFiles,
    ) -> Result<T, ProjectionError>;
}

impl<T> Explain<T> for Result<T, Error> {
    fn explain(self, what: &'static str, files: &DatabaseFiles) -> Result<T, ProjectionError> {
        self.map_err(|error| match fault(&error) {
            Fault::Passing(kind) => passing(what, files, kind, error),
            Fault::Rejected => passing(what, files, io::ErrorKind::InvalidData, error),
            Fault::Broken => broken(files, error),
        })
    }

    fn explain_record(
        self,
        what: &'static str,
        files: &DatabaseFiles,
    ) -> Result<T, ProjectionError> {
        match self {
            Err(error) if fault(&error) == Fault::Rejected => {
                Err(ProjectionError::Rejected { reason: error.to_string() })
            }
            other => other.explain(what, files),
        }
    }
}

/// The database cannot be used; `cause` says why.
pub(super) fn broken(files: &DatabaseFiles, cause: impl std::fmt::Display) -> ProjectionError {
    ProjectionError::Broken { reason: format!("{}: {cause}", files.path().display()) }
}

fn passing(
    what: &'static str,
    files: &DatabaseFiles,
    kind: io::ErrorKind,
    error: Error,
) -> ProjectionError {
    let may_be_refused = matches!(kind, io::ErrorKind::PermissionDenied | io::ErrorKind::Other);
    if may_be_refused && let Some(obstacle) = files.obstacle() {
        return obstacle;
    }
    // SQLite knows of a full disk, and of no quota.
    let refused =
        (kind == io::ErrorKind::Other).then(|| room_refused(files.directory(), PROBE_BYTES));
    let source = refused.flatten().unwrap_or_else(|| io::Error::new(kind, error));
    ProjectionError::Retry { what, path: files.path().to_owned(), source }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    fn of_code(code: i32) -> Fault {
        // The text misleads on purpose.
        let message = Some("database disk image is malformed".to_owned());
        fault(&Error::SqliteFailure(ffi::Error::new(code), message))
    }

    #[test]
    fn an_error_is_told_by_its_code() {
        use io::ErrorKind::{Other, PermissionDenied, ResourceBusy, StorageFull};
        for (code, expected) in [
            (ffi::SQLITE_BUSY, Fault::Passing(ResourceBusy)),
            (ffi::SQLITE_BUSY_SNAPSHOT, Fault::Passing(ResourceBusy)),
            (ffi::SQLITE_LOCKED, Fault::Passing(ResourceBusy)),
            (ffi::SQLITE_FULL, Fault::Passing(StorageFull)),
            (ffi::SQLITE_READONLY, Fault::Passing(PermissionDenied)),
            (ffi::SQLITE_IOERR_WRITE, Fault::Passing(Other)),
            (ffi::SQLITE_CANTOPEN, Fault::Passing(Other)),
            (ffi::SQLITE_ERROR, Fault::Passing(Other)),
            (ffi::SQLITE_CORRUPT, Fault::Broken),
            (ffi::SQLITE_NOTADB, Fault::Broken),
            (ffi::SQLITE_CONSTRAINT_UNIQUE, Fault::Rejected),
            (ffi::SQLITE_TOOBIG, Fault::Rejected),
        ] {
            assert_eq!(of_code(code), expected, "{code}");
        }
    }
}
