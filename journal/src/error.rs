//! What can go wrong, told to an operator: what, where, what to do.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Seq;

/// An error of the journal.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The batch exceeds a limit. Nothing was appended.
    #[error("{what} is too large: {found}, at most {limit} allowed; nothing was appended")]
    TooLarge {
        /// What exceeds it.
        what: &'static str,
        /// How much it is.
        found: u64,
        /// The limit.
        limit: u64,
    },

    /// The record itself is not acceptable. Nothing was appended.
    #[error("the record cannot be appended: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: &'static str,
    },

    /// There is no room. Nothing was appended, the journal is consistent, and the call may be repeated.
    #[error("no space left for the journal in {}; free some, then repeat: nothing was appended", path.display())]
    StorageFull {
        /// The journal's directory.
        path: PathBuf,
    },

    /// A write or sync failed and the records could not be moved to a new segment either. Whether they are durable
    /// is unknown until the journal recovers: they are kept in memory and written again with the next append.
    #[error(
        "the outcome of the append is unknown: {} failed: {source}; the records are kept in memory and written \
         again when the medium works; check it (dmesg)", path.display()
    )]
    Sync {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// An earlier failure persists. This record was not appended.
    #[error("the journal cannot write since {} failed: {source}; nothing was appended; check the medium", path.display())]
    Suspended {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// The operating system refused something.
    #[error("cannot {operation} {}: {source}{}", path.display(), remedy(source))]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// Another process writes to this directory.
    #[error(
        "{} is in use by {}; stop it first, or let it do the work (lenslog's ingest, rotate and rebuild go to it by themselves)",
        path.display(), holder.as_deref().unwrap_or("another process")
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// Who holds it, as far as it can be told.
        holder: Option<String>,
    },

    /// There is no journal here.
    #[error("there is no journal in {}; expected a data directory with journal/*.seg", path.display())]
    NotFound {
        /// The directory.
        path: PathBuf,
    },

    /// Something else stands where the journal needs a directory or a file.
    #[error("{} is {found}, expected {expected}", path.display())]
    Unexpected {
        /// Where.
        path: PathBuf,
        /// What stands there.
        found: String,
        /// What was expected.
        expected: &'static str,
    },

    /// A newer version wrote this journal, with features that must not be ignored.
    #[error("{} was written by a newer version ({found}); upgrade this program to read it", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// What it says.
        found: String,
    },

    /// The records asked for were pruned.
    #[error("records before seq {floor} were pruned; begin there")]
    Pruned {
        /// First seq that is retained.
        floor: Seq,
    },

    /// The journal was closed.
    #[error("the journal is closed")]
    Closed,
}

impl Error {
    /// Whether nothing but missing space stands in the way.
    #[must_use]
    pub fn is_storage_full(&self) -> bool {
        match self {
            Self::StorageFull { .. } => true,
            Self::Sync { source, .. }
            | Self::Suspended { source, .. }
            | Self::Io { source, .. } => is_full(source),
            _ => false,
        }
    }
}

/// What to do about what the operating system said, where that is clear.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run this as the user who owns the data directory, or give it to this one (chown -R)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it for writing (dmesg tells whether an error made it read-only), or name another directory"
        }
        _ => "",
    }
}

/// Whether an error of the operating system means that there is no room: disk, quota, or the limit on file sizes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let is_file_limit = || error.raw_os_error() == Some(rustix::io::Errno::FBIG.raw_os_error());
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || is_file_limit()
}

/// Names what was attempted on what, where an operation of the storage fails.
pub(crate) trait Context<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, operation: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|error| Error::Io {
            operation,
            path: path.to_owned(),
            source: Arc::new(error),
        })
    }
}
