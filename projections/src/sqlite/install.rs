//! [`install`]: puts a rebuilt database in place of the live one.
//!
//! Where the live file can be opened, the new pages are written into it through SQLite (backup API), in one
//! transaction: a process that has it open sees the old content or the new one, and follows. That takes room for the new
//! database twice, in the shadow and in the log. A file that cannot be opened is moved aside, and the shadow gets its
//! name; so is an unusable one where there is no room.
//!
//! What is found unusable is never destroyed, whatever the caller asked for.

use std::io;
use std::path::Path;
use std::time::Duration;

use lenslog_engine::{Aside, Checkpoint, ProjectionError};
use rusqlite::backup::{Backup, StepResult};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, MAIN_DB, Result, ffi};

use super::connect;
use super::examine::{DATABASE_BYTES_MIN, check_content, checked_checkpoint, checked_version};
use super::extras::carry_over;
use super::fault::{Explain, Fault, broken, fault};
use super::files::{DatabaseFiles, Place};
use super::load::Loader;
use super::stored_checkpoint::{self, stored_inode};

/// Size of a page where nothing says otherwise.
const PAGE_BYTES: u32 = 4096;

/// What a rebuild finds in its place.
enum Target {
    Nothing,
    /// A database that SQLite can write pages into.
    Open {
        connection: Connection,
        inode: u64,
        /// Its schema is not ours, or it was found broken before.
        is_broken: bool,
    },
    /// Something that SQLite cannot use as a database.
    Unopenable,
}

/// Puts what was loaded in place of the live database, as of `checkpoint`.
///
/// # Errors
///
/// [`ProjectionError::Retry`], [`ProjectionError::Blocked`]: the live database is as it was.
pub(super) fn install(
    files: &DatabaseFiles,
    mut loader: Loader,
    checkpoint: &Checkpoint,
    keep_old: Option<Aside>,
    known_broken: bool,
) -> Result<(), ProjectionError> {
    loader.make_indexes()?;
    let target = find_target(files, known_broken)?;
    let complete = complete(&loader, &target, files, checkpoint)?;
    let shadow = loader.files().clone();
    let aside = keep_old.unwrap_or(Aside::Old);
    match target {
        Target::Nothing => {
            drop(loader);
            take_place(files, &shadow)
        }
        Target::Unopenable => {
            drop(loader);
            replace_unopenable(files, &shadow, aside)
        }
        Target::Open { mut connection, is_broken, .. } => {
            let keep = if complete && !is_broken { keep_old } else { Some(aside) };
            match write_over(files, &loader, &mut connection, keep) {
                Err(error) if is_broken && !is_locked(&error) => {
                    // No room for a copy, or pages of another size: the file can still be moved.
                    tracing::warn!(%error, "database cannot be written over; it is moved aside");
                    drop((connection, loader));
                    replace_unopenable(files, &shadow, aside)
                }
                result => {
                    result?;
                    drop((connection, loader));
                    shadow.remove()
                }
            }
        }
    }
}

/// The page size that a copy must have to be written over the live database; also whether it can be written over
/// now, so that nothing is loaded in vain.
///
/// # Errors
///
/// [`ProjectionError::Retry`] where another process holds its lock, [`ProjectionError::Blocked`].
pub(super) fn page_bytes(files: &DatabaseFiles) -> std::result::Result<u32, ProjectionError> {
    if files.place()? == Place::Empty {
        return Ok(PAGE_BYTES);
    }
    let probe = || {
        let connection = connect::writer(files, false)?;
        connection.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
        connection.query_row("PRAGMA page_size", [], |row| row.get(0))
    };
    match probe() {
        Err(error) if fault(&error) == Fault::Broken => Ok(PAGE_BYTES),
        result => result.explain("cannot write", files),
    }
}

fn find_target(files: &DatabaseFiles, known_broken: bool) -> Result<Target, ProjectionError> {
    let Place::File { inode, bytes } = files.place()? else {
        return Ok(Target::Nothing);
    };
    if (1..DATABASE_BYTES_MIN).contains(&bytes) {
        return Ok(Target::Unopenable);
    }
    let connection = match connect::replacer(files) {
        Err(error) if fault(&error) == Fault::Broken => return Ok(Target::Unopenable),
        result => result.explain("cannot open", files)?,
    };
    let checked = checked_version(&connection, files)
        .and_then(|version| checked_checkpoint(&connection, files, version));
    match checked {
        Ok(_) => Ok(Target::Open { connection, inode, is_broken: known_broken }),
        Err(ProjectionError::Broken { .. }) => {
            // Pages can be written over as long as the schema can be read at all.
            let schema = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()));
            match schema {
                Ok(()) => Ok(Target::Open { connection, inode, is_broken: true }),
                Err(_) => Ok(Target::Unopenable),
            }
        }
        Err(error) => Err(error),
    }
}

/// Adds what was added by others and the checkpoint, and checks the whole. `false`: something of others could not be
/// carried over, and is only in the old database.
fn complete(
    loader: &Loader,
    target: &Target,
    files: &DatabaseFiles,
    checkpoint: &Checkpoint,
) -> Result<bool, ProjectionError> {
    let (shadow, shadow_files) = (loader.connection(), loader.files());
    shadow.execute_batch("COMMIT").explain("cannot write", shadow_files)?;
    let (left, inode) = match target {
        Target::Open { connection, inode, .. } => (carry_over(connection, files, shadow), *inode),
        // The shadow keeps its inode when it gets the name.
        Target::Nothing | Target::Unopenable => match shadow_files.place()? {
            Place::File { inode, .. } => (Vec::new(), inode),
            Place::Empty => return Err(broken(shadow_files, "it was deleted while it was made")),
        },
    };
    if !left.is_empty() {
        let (path, left) = (files.path().display(), left.join(", "));
        tracing::warn!(%path, left, "foreign tables are not in the rebuilt database; they are in the old one");
    }
    stored_checkpoint::write(shadow, checkpoint, stored_inode(inode))
        .explain("cannot write", shadow_files)?;
    check_content(shadow, shadow_files)?;
    Ok(left.is_empty())
}

fn take_place(files: &DatabaseFiles, shadow: &DatabaseFiles) -> Result<(), ProjectionError> {
    // What is visible under the name must be whole after a power cut.
    shadow.sync_content()?;
    shadow.rename_to(files)
}

fn replace_unopenable(
    files: &DatabaseFiles,
    shadow: &DatabaseFiles,
    aside: Aside,
) -> Result<(), ProjectionError> {
    shadow.sync_content()?;
    let moved = files.move_aside(aside)?;
    log_moved_aside(files, &moved);
    shadow.rename_to(files)?;
    files.limit_asides(aside)
}

/// Writes the loaded database over the live one, in one transaction.
fn write_over(
    files: &DatabaseFiles,
    loader: &Loader,
    live: &mut Connection,
    keep: Option<Aside>,
) -> Result<(), ProjectionError> {
    let kept = keep.map(|aside| copy_aside(files, live, aside)).transpose();
    // The caller may move the file aside instead: a half copy must not stay.
    let kept = kept.inspect_err(|_| drop(files.partial().remove()))?;
    let written = copy_pages(loader.connection(), live).explain("cannot write", files);
    if let (Err(_), Some((_, copy))) = (&written, &kept) {
        // It is still in its place: the copy would be one of many if this fails again and again.
        copy.remove()?;
    }
    written?;
    copy_log(live);
    if let Some((aside, copy)) = kept {
        log_moved_aside(files, copy.path());
        files.limit_asides(aside)?;
    }
    Ok(())
}

/// Copies the live database, log included, under a name of its own.
fn copy_aside(
    files: &DatabaseFiles,
    live: &Connection,
    aside: Aside,
) -> Result<(Aside, DatabaseFiles), ProjectionError> {
    let (partial, target) = (files.partial(), files.free_aside(aside)?);
    partial.remove()?;
    let mut copy = Connection::open(partial.path()).explain("cannot make", &partial)?;
    copy_pages(live, &mut copy).explain("cannot make", &partial)?;
    drop(copy);
    partial.sync_content()?;
    partial.rename_to(&target)?;
    Ok((aside, target))
}

fn copy_pages(from: &Connection, to: &mut Connection) -> Result<()> {
    let failed = |code| Err(rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
    match Backup::new(from, to)?.step(-1)? {
        StepResult::Done => Ok(()),
        StepResult::Locked => failed(ffi::SQLITE_LOCKED),
        _ => failed(ffi::SQLITE_BUSY),
    }
}

/// Copies the log, as large as the database now, into the file, as far as readers allow.
fn copy_log(live: &Connection) {
    // What is not copied now is copied later.
    let copied = live
        .busy_timeout(Duration::ZERO)
        .and_then(|()| live.wal_checkpoint_v2(Some(MAIN_DB), CheckpointMode::TRUNCATE));
    if let Err(error) = copied {
        tracing::debug!(%error, "database log: not copied into the database yet; it is copied later");
    }
}

fn is_locked(error: &ProjectionError) -> bool {
    let kind = io::ErrorKind::ResourceBusy;
    matches!(error, ProjectionError::Retry { source, .. } if source.kind() == kind)
}

fn log_moved_aside(files: &DatabaseFiles, aside: &Path) {
    let (path, aside) = (files.path().display(), aside.display());
    tracing::warn!(%path, %aside, "old database moved aside");
}
