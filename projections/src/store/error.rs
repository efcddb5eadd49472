//! [`StoreError`]: why a query has no answer. Every text names the path and what to do.

use std::io;
use std::path::PathBuf;

use lenslog_journal::Seq;

/// What SQLite said.
type Cause = Box<dyn std::error::Error + Send + Sync>;

/// Why a query has no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no file. A recorder that runs makes it again within seconds.
    #[error(
        "there is no database {}; the recorder makes it from the journal, and so does `replay rebuild`",
        path.display()
    )]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// There is a file, but no tables in it yet.
    #[error(
        "{} has no tables yet; it is being made: try again, and if it stays so, run `replay rebuild`",
        path.display()
    )]
    NotReady {
        /// Which.
        path: PathBuf,
    },
    /// The file cannot be opened or read.
    #[error(
        "cannot read {}: {source}; give this user read permission for it and for its directory, or name another data \
         directory",
        path.display()
    )]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system, or SQLite, said.
        source: Cause,
    },
    /// Another process kept it locked for longer than the store waits.
    #[error(
        "{} is locked by another program; try again, or close that program (`fuser {}` names it)",
        path.display(),
        path.display()
    )]
    Locked {
        /// Which.
        path: PathBuf,
    },
    /// The file is no database, or a damaged one.
    #[error(
        "{} cannot be used as a database: {cause}; the recorder sets it aside and makes it again at its next start, \
         and so does `replay rebuild`",
        path.display()
    )]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// A newer program wrote it.
    #[error(
        "{} is of schema version {found}, this program knows up to {known}; use the program that wrote it, or have it \
         rebuilt by `replay rebuild`",
        path.display()
    )]
    NewerSchema {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version this program knows.
        known: u32,
    },
    /// An older program wrote it, and a reader changes nothing.
    #[error(
        "{} is of schema version {found}, this program reads {known}; the recorder brings it up to date at its start, \
         and so does `replay rebuild`",
        path.display()
    )]
    OlderSchema {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The version this program reads.
        known: u32,
    },
    /// A row holds what no event has. The journal has the event as it was.
    #[error(
        "{}: {column} of the row with id {id} is not what the recorder writes ({problem}); `replay verify` names \
         every such row, `replay rebuild` mends them",
        path.display()
    )]
    BadRow {
        /// Which database.
        path: PathBuf,
        /// Which row.
        id: i64,
        /// Which column.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Paging was to go on before an event that is not in the database: it was pruned, or it never was an event.
    #[error(
        "seq {seq} is no event in {}, or not any more; begin again at the newest, or go on from a time",
        path.display()
    )]
    UnknownSeq {
        /// Which database.
        path: PathBuf,
        /// The seq that was given.
        seq: Seq,
    },
}

impl StoreError {
    /// Whether the same query may have an answer later, without anybody doing anything: the database is missing, being
    /// made, locked, or about to be rebuilt by a running recorder.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreadable { source, .. } => {
                let error = source.downcast_ref::<io::Error>();
                error.is_none_or(|error| error.kind() != io::ErrorKind::PermissionDenied)
            }
            Self::BadRow { .. } | Self::UnknownSeq { .. } => false,
            _ => true,
        }
    }
}
