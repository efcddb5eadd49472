//! [`Opened`]: one reading connection, the file it is of, and what its errors mean.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::StoreError;
use crate::sqlite::{Applied, Fault, SCHEMA_VERSION, applied, connect, fault};

/// Times the file may be replaced while it is opened.
const ATTEMPTS_MAX: usize = 5;

/// Device and inode: which file it is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity(u64, u64);

/// An open database of a schema that this program reads.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) identity: Identity,
}

impl Identity {
    /// The file that has this name now.
    pub(super) fn of(path: &Path) -> Result<Self, StoreError> {
        let unreadable = |source: io::Error| StoreError::Unreadable {
            path: path.to_owned(),
            source: source.into(),
        };
        match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Self(found.dev(), found.ino())),
            Ok(_) => Err(unreadable(io::Error::other("it is no regular file"))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(StoreError::Missing { path: path.to_owned() })
            }
            Err(error) => Err(unreadable(error)),
        }
    }
}

impl Opened {
    /// Opens what has this name now.
    pub(super) fn open(path: &Path, timeout: Duration) -> Result<Self, StoreError> {
        let mut identity = Identity::of(path)?;
        for _ in 0..ATTEMPTS_MAX {
            let opened = Self::attempt(path, timeout, identity);
            let found = Identity::of(path)?;
            if found == identity {
                return opened;
            }
            identity = found;
        }
        Err(StoreError::NotReady { path: path.to_owned() })
    }

    fn attempt(path: &Path, timeout: Duration, identity: Identity) -> Result<Self, StoreError> {
        let explain = |error| explain(path, &error);
        let connection = connect::reader(path, timeout).map_err(explain)?;
        let path = || path.to_owned();
        match applied(&connection).map_err(explain)? {
            Applied::Through(SCHEMA_VERSION) => Ok(Self { connection, identity }),
            Applied::Nothing => Err(StoreError::NotReady { path: path() }),
            Applied::Through(found) if found > SCHEMA_VERSION => {
                Err(StoreError::NewerSchema { path: path(), found, known: SCHEMA_VERSION })
            }
            Applied::Through(found) => {
                Err(StoreError::OlderSchema { path: path(), found, known: SCHEMA_VERSION })
            }
            Applied::Unknown | Applied::Confused => {
                let cause = "its table schema_version is not the recorder's".to_owned();
                Err(StoreError::Damaged { path: path(), cause })
            }
        }
    }
}

/// The meaning of an SQLite error for a query.
pub(super) fn explain(path: &Path, error: &rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    let cause = error.to_string();
    match fault(error) {
        Fault::Passing(io::ErrorKind::ResourceBusy) => StoreError::Locked { path },
        // A statement of ours that does not compile: a table, a column or an index is missing.
        _ if error.sqlite_error_code() == Some(rusqlite::ErrorCode::Unknown) => {
            StoreError::Damaged { path, cause }
        }
        Fault::Passing(kind) => {
            StoreError::Unreadable { path, source: io::Error::new(kind, cause).into() }
        }
        Fault::Broken | Fault::Rejected => StoreError::Damaged { path, cause },
    }
}
