//! [`Error`]: every error of the journal, with the object, the problem and the remedy.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{Lost, Seq, SeqRange};

/// An error of the journal.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The batch exceeds a limit. Nothing was appended.
    #[error(
        "{what}: {found} exceeds the limit of {limit}; nothing was appended; append less at once"
    )]
    TooLarge {
        /// The object that exceeds it.
        what: &'static str,
        /// Its size.
        found: u64,
        /// The limit.
        limit: u64,
    },

    /// The record itself is not acceptable. Nothing was appended.
    #[error("record: {reason}; nothing was appended")]
    Refused {
        /// The problem.
        reason: &'static str,
    },

    /// No space is left. Nothing was appended, the journal is consistent, and the call may be repeated.
    #[error("{}: no space left; nothing was appended; free some space, then repeat", path.display())]
    StorageFull {
        /// The journal's directory.
        path: PathBuf,
    },

    /// A write or sync failed and the records could not be moved to a new segment either. Whether they are durable
    /// is unknown until the journal recovers: they are kept in memory and written again with the next append.
    #[error(
        "{}: a sync failed and the outcome of the append is unknown: {source}; the records are kept in memory and written \
         again with the next append; check the medium (dmesg)", path.display()
    )]
    Sync {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// An earlier failure persists. This record was not appended.
    #[error("{}: an earlier write failed: {source}; nothing was appended; check the medium (dmesg)", path.display())]
    Suspended {
        /// The file that failed.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// The operating system refused an operation.
    #[error("{}: cannot {operation} it: {source}{}", path.display(), remedy(source))]
    Io {
        /// The operation.
        operation: &'static str,
        /// Its file or directory.
        path: PathBuf,
        /// What the operating system said.
        source: Arc<io::Error>,
    },

    /// Another process writes to this directory.
    #[error(
        "{}: in use by {}; stop it first, or let it do the work (lenslog ingest, rotate and rebuild connect to it)",
        path.display(), holder.as_deref().unwrap_or("another process")
    )]
    Locked {
        /// The directory.
        path: PathBuf,
        /// The process that holds it, if known.
        holder: Option<String>,
    },

    /// There is no journal here.
    #[error("{}: no journal found; name a data directory with journal/*.seg", path.display())]
    NotFound {
        /// The directory.
        path: PathBuf,
    },

    /// Another kind of file is where the journal needs a directory or a file.
    #[error("{}: found {found}; expected {expected}", path.display())]
    Unexpected {
        /// The path.
        path: PathBuf,
        /// What was found there.
        found: String,
        /// What was expected.
        expected: &'static str,
    },

    /// A newer version wrote this journal, with features that must not be ignored.
    #[error("{}: written by a newer version ({found}); upgrade this program to read it", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// The version or features in it.
        found: String,
    },

    /// A record matches a condition of the append. Nothing was appended.
    #[error(
        "append: the record with seq {seq} matches condition {condition}; nothing was appended; read it, decide again"
    )]
    Conflict {
        /// Index of the condition.
        condition: usize,
        /// Seq of the record.
        seq: Seq,
    },

    /// A condition names a seq that the journal has not reached, or that is no record of the stream. Nothing was appended.
    #[error(
        "append: condition {condition} is after seq {after}, which is no such record of this journal; read it again"
    )]
    Ahead {
        /// Index of the condition.
        condition: usize,
        /// The seq.
        after: Seq,
    },

    /// Lost records may have matched a condition of the append. Nothing was appended.
    #[error(
        "append: the lost records {range} may match condition {condition}; nothing was appended; accept the loss in the condition, or restore them"
    )]
    Undecidable {
        /// Index of the condition.
        condition: usize,
        /// The lost records.
        range: SeqRange,
    },

    /// The record asked for is lost.
    #[error("{0}")]
    Lost(Lost),

    /// The records asked for were pruned.
    #[error("reader: the records before seq {floor} were pruned; begin there")]
    Pruned {
        /// First seq that is retained.
        floor: Seq,
    },

    /// The journal was closed.
    #[error("journal: closed; open it again")]
    Closed,
}

impl Error {
    /// Whether missing space is the only obstacle.
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

/// The remedy for an error of the operating system, if it is clear.
fn remedy(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run this as the user who owns the data directory, or give it to this one (chown -R)"
        }
        io::ErrorKind::ReadOnlyFilesystem => {
            "; mount it for writing (dmesg shows if an error made it read-only), or name another directory"
        }
        _ => "",
    }
}

/// Whether an error of the operating system means that no space is left: disk, quota, or the limit on file sizes.
pub(crate) fn is_full(error: &io::Error) -> bool {
    let is_file_limit = || error.raw_os_error() == Some(rustix::io::Errno::FBIG.raw_os_error());
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
        || is_file_limit()
}

/// Adds the operation and the path to an error of the storage.
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
