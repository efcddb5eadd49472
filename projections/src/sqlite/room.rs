//! [`room`]: whether there is room to touch the index of the write-ahead log.
//!
//! SQLite maps that index (`-shm`) into memory. Where a page of it has no block on the medium yet, writing to it on a
//! full disk is no error that could be handled but a SIGBUS, which kills the recorder: SQLite reserves one byte of
//! each page, which is enough only where a block is as large as a page, and on no file system that writes elsewhere
//! than over what it has.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;

use rusqlite::{Connection, Error, Result, ffi};
use rustix::fs::{IFlags, StatVfsMountFlags, ioctl_getflags, ioctl_setflags, statfs, statvfs};

use super::files::DatabaseFiles;
use super::index_guard::index_has_room;
use super::locks::locks_on;

/// Nothing is written with less free: what others write meanwhile must not use it up before the index is touched.
const WRITER_BYTES: u64 = 128 << 10;
/// A reader may have to make the index.
const READER_BYTES: u64 = 64 << 10;
/// The file system type of btrfs.
const BTRFS: rustix::fs::FsWord = 0x9123_683E;
/// Bytes of a block, as `stat` counts them.
const STAT_BLOCK_BYTES: u64 = 512;

/// Whether there is room to write a transaction.
///
/// # Errors
///
/// `SQLITE_FULL`.
pub(super) fn room_to_write(files: &DatabaseFiles) -> Result<()> {
    match free(files) {
        Some(free) if free < WRITER_BYTES => Err(full(files)),
        _ => Ok(()),
    }
}

/// Whether there is room to commit a transaction through this connection, that of a quota included.
///
/// # Errors
///
/// `SQLITE_FULL`.
pub(super) fn room_to_commit(files: &DatabaseFiles, connection: &Connection) -> Result<()> {
    room_to_write(files)?;
    if index_has_room(connection)? { Ok(()) } else { Err(full(files)) }
}

/// Makes the index, where there is none, as a file that is written over in place: elsewhere than over what it has, a
/// file system needs room for every write, and btrfs has it until it has not. Where that cannot be had, SQLite makes it.
pub(super) fn prepare_index(files: &DatabaseFiles) {
    let index = files.index();
    let is_btrfs = statfs(files.directory()).is_ok_and(|found| found.f_type == BTRFS);
    if !is_btrfs || index.symlink_metadata().is_ok() {
        return;
    }
    // Under another name, and closed: closing one that is open elsewhere drops the locks of this process.
    let mut name = index.clone().into_os_string();
    name.push(".new");
    let made = File::create(&name).and_then(|file| {
        let flags = ioctl_getflags(&file)?;
        Ok(ioctl_setflags(&file, flags | IFlags::NOCOW)?)
    });
    // A link never replaces one that has come meanwhile.
    if made.and_then(|()| fs::hard_link(&name, &index)).is_err() {
        tracing::debug!(path = %index.display(), "database index: in-place file not available");
    }
    let _ = fs::remove_file(&name);
}

/// Whether there is room for the index with which a log is read beside others.
///
/// # Errors
///
/// `SQLITE_FULL`.
pub(super) fn room_to_read(files: &DatabaseFiles) -> Result<()> {
    match free(files) {
        Some(free) if free < READER_BYTES && !has_whole_index(files) => Err(full(files)),
        _ => Ok(()),
    }
}

/// Bytes that are free for anybody. `None` where that means nothing.
fn free(files: &DatabaseFiles) -> Option<u64> {
    let stat = statvfs(files.directory()).ok()?;
    // A read-only medium is never written to, and some network file systems know of no blocks.
    let counts = !stat.f_flag.contains(StatVfsMountFlags::RDONLY) && stat.f_blocks > 0;
    // What is reserved for root is not counted as free: root may lack the capability for it.
    counts.then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Whether every page of the index is on the medium, and stays there: SQLite recreates an index that no other process
/// has open.
fn has_whole_index(files: &DatabaseFiles) -> bool {
    fs::metadata(files.index()).is_ok_and(|index| {
        let is_whole = index.blocks().saturating_mul(STAT_BLOCK_BYTES) >= index.len();
        index.len() > 0 && is_whole && !locks_on(&files.index()).is_empty()
    })
}

fn full(files: &DatabaseFiles) -> Error {
    let text = format!("no room is left in {}; free some", files.directory().display());
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_FULL), Some(text))
}
