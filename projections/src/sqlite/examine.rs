//! [`examine`]: whether the database at its path can be used, what is wrong with it where it cannot, and how it is
//! brought to the newest schema.
//!
//! # What is checked when
//!
//! At every start: the file is a database, its versions and our part of its schema are what the migrations make, its
//! checkpoint can be read. `PRAGMA quick_check`, which reads all of it, runs where that is cheap (up to
//! [`CHECKED_BYTES_MAX`]) or warranted: the file is not the one that the checkpoint was written to, as after a copy
//! or a restored backup. A larger database that a power cut left is not read whole at start: SQLite keeps it
//! consistent, what a bad medium did to it shows as an error when the page is read, and `replay verify` reads
//! everything.

use lenslog_engine::{Checkpoint, ProjectionError};
use rusqlite::Connection;

use super::connect;
use super::fault::{Explain, Fault, broken, fault};
use super::files::{DatabaseFiles, Place};
use super::migrations::{Applied, MIGRATIONS, SCHEMA_VERSION, applied, migrate};
use super::schema;
use super::stored_checkpoint::{self, Stored, stored_inode};

/// Databases up to this size are checked whole at every start; that takes less than a second on slow media.
pub(super) const CHECKED_BYTES_MAX: u64 = 32 << 20;

/// No database is smaller than its smallest page; SQLite takes such a file for an empty one.
pub(super) const DATABASE_BYTES_MIN: u64 = 512;

/// What was found at the path.
#[derive(Debug)]
pub(super) enum Found {
    /// No database, or one that nothing was ever committed to.
    Nothing,
    /// A database of ours, at the newest schema, and where it stands.
    Usable(Box<Usable>),
}

/// A database that can be used.
#[derive(Debug)]
pub(super) struct Usable {
    pub(super) connection: Connection,
    pub(super) checkpoint: Checkpoint,
    pub(super) inode: u64,
}

/// Which content check is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// Where it is cheap or warranted.
    AsNeeded,
    /// As [`Check::AsNeeded`], but the file of this inode was checked before.
    Done(u64),
}

/// Looks at what is there; migrates it where it is of an older schema.
///
/// # Errors
///
/// [`ProjectionError::Broken`] where it cannot be used, [`ProjectionError::Blocked`], [`ProjectionError::Retry`].
pub(super) fn examine(files: &DatabaseFiles, check: Check) -> Result<Found, ProjectionError> {
    let Place::File { bytes, inode } = files.place()? else {
        return Ok(Found::Nothing);
    };
    if bytes == 0 {
        tracing::warn!(path = %files.path().display(), "the database is an empty file");
        return Ok(Found::Nothing);
    }
    if bytes < DATABASE_BYTES_MIN {
        return Err(broken(files, format!("it was cut, to {bytes} bytes")));
    }
    let connection = connect::writer(files, false).explain("cannot open", files)?;
    let Some(version) = checked_version(&connection, files)? else {
        return Ok(Found::Nothing);
    };
    if bytes <= CHECKED_BYTES_MAX && check != Check::Done(inode) {
        check_content(&connection, files)?;
    }
    bring_up_to_date(&connection, files, version)?;
    let found = checked_checkpoint(&connection, files, Some(SCHEMA_VERSION))?;
    let Some((checkpoint, written_to)) = found else {
        return Ok(Found::Nothing);
    };
    if written_to != stored_inode(inode) {
        tracing::info!(path = %files.path().display(), "the database is a copy; its content is checked");
        if bytes > CHECKED_BYTES_MAX {
            check_content(&connection, files)?;
        }
        stored_checkpoint::write(&connection, &checkpoint, stored_inode(inode))
            .explain("cannot write", files)?;
    }
    Ok(Found::Usable(Box::new(Usable { connection, checkpoint, inode })))
}

/// The version of a schema that is what the migrations made it; `None` where there is nothing at all.
///
/// # Errors
///
/// [`ProjectionError::Broken`] names the first difference.
pub(super) fn checked_version(
    connection: &Connection,
    files: &DatabaseFiles,
) -> Result<Option<u32>, ProjectionError> {
    let version = match applied(connection).explain("cannot read", files)? {
        Applied::Nothing => return Ok(None),
        Applied::Through(version) if version <= SCHEMA_VERSION => version,
        Applied::Through(version) => {
            let cause = format!(
                "its schema is version {version}, this program knows up to {SCHEMA_VERSION}"
            );
            return Err(broken(files, cause));
        }
        Applied::Unknown => return Err(broken(files, "table schema_version is missing")),
        Applied::Confused => {
            return Err(broken(files, "table schema_version was altered: versions are missing"));
        }
    };
    let found = schema::found(connection).explain("cannot read", files)?;
    let expected = schema::expected(version).map_err(|error| broken(files, error))?;
    match schema::difference(&found, &expected) {
        None => Ok(Some(version)),
        Some(cause) => Err(broken(files, cause)),
    }
}

/// Reads every page.
pub(super) fn check_content(
    connection: &Connection,
    files: &DatabaseFiles,
) -> Result<(), ProjectionError> {
    let report: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .explain("cannot check", files)?;
    if report == "ok" { Ok(()) } else { Err(broken(files, one_line(&report))) }
}

fn bring_up_to_date(
    connection: &Connection,
    files: &DatabaseFiles,
    version: u32,
) -> Result<(), ProjectionError> {
    match migrate(connection, MIGRATIONS, version) {
        Ok(()) => Ok(()),
        // Full, locked: the same migration may succeed later.
        Err(error) if is_passing(&error.source) => {
            Err(error.source).explain("cannot migrate", files)
        }
        Err(error) => Err(broken(files, error)),
    }
}

fn is_passing(error: &rusqlite::Error) -> bool {
    let is_known = error.sqlite_error_code() != Some(rusqlite::ErrorCode::Unknown);
    is_known && matches!(fault(error), Fault::Passing(_))
}

/// The checkpoint of a database whose schema is of `version`, and the inode of the file it was written to; `None`
/// where nothing was ever committed.
///
/// # Errors
///
/// [`ProjectionError::Broken`] where there are events that no journal accounts for.
pub(super) fn checked_checkpoint(
    connection: &Connection,
    files: &DatabaseFiles,
    version: Option<u32>,
) -> Result<Option<(Checkpoint, i64)>, ProjectionError> {
    let stored = match version {
        None => return Ok(None),
        Some(SCHEMA_VERSION) => {
            stored_checkpoint::read(connection).explain("cannot read", files)?
        }
        Some(_) => Stored::Nothing,
    };
    match stored {
        Stored::At { checkpoint, inode } => return Ok(Some((checkpoint, inode))),
        Stored::Unreadable => return Err(broken(files, "its checkpoint cannot be read")),
        Stored::Nothing => {}
    }
    let has_events: bool = connection
        .query_row("SELECT EXISTS (SELECT 1 FROM events)", [], |row| row.get(0))
        .explain("cannot read", files)?;
    if has_events {
        return Err(broken(files, "it has events but no checkpoint: no journal made it"));
    }
    Ok(None)
}

pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
