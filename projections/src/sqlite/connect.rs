//! How connections are opened: the writing one, the one that loads a shadow, and those that only read.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, MAIN_DB, OpenFlags, Result, ffi};

use super::files::DatabaseFiles;
use super::index_guard;
use super::room::{prepare_index, room_to_read, room_to_write};

/// How long the writer waits for another connection's lock before it fails and the runner retries.
pub(super) const WRITER_TIMEOUT: Duration = Duration::from_millis(200);
/// How long a rebuild, which is there whole, waits until it may be put in place.
const REPLACER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a reader waits; readers wait only while another process recovers or replaces the log.
pub(super) const READER_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept compiled.
const STATEMENTS_MAX: usize = 32;
/// The log is copied into the database at a calm moment, from this many pages on.
pub(super) const CALM_CHECKPOINT_PAGES: i32 = 1000;
/// Without a calm moment it is copied from this many pages on.
const FORCED_CHECKPOINT_PAGES: i32 = 4000;
/// The log file is cut to this size once its content was copied.
const WAL_BYTES_KEPT: i64 = 16 << 20;

/// Opens the database for writing: write-ahead log, `synchronous=NORMAL`. Makes the file where `create` and it is not
/// there.
pub(super) fn writer(files: &DatabaseFiles, create: bool) -> Result<Connection> {
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    flags.set(OpenFlags::SQLITE_OPEN_CREATE, create);
    room_to_write(files)?;
    if create || files.path().exists() {
        prepare_index(files);
    }
    let connection = index_guard::open(files.path(), flags)?;
    connection.busy_timeout(WRITER_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    if connection.is_readonly(MAIN_DB)? {
        return Err(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_READONLY), None));
    }
    read_header(&connection)?;
    // Foreign keys that other programs added must not keep rows from being pruned.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if mode != "wal" {
        let path = files.path().display();
        tracing::warn!(%path, mode, "database: no write-ahead log on this file system; readers can delay writes");
    }
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "wal_autocheckpoint", FORCED_CHECKPOINT_PAGES)?;
    let limit =
        connection.pragma_update_and_check(None, "journal_size_limit", WAL_BYTES_KEPT, |row| {
            row.get::<_, i64>(0)
        })?;
    debug_assert_eq!(limit, WAL_BYTES_KEPT);
    Ok(connection)
}

/// Reads the first page and the schema. What SQLite says of a format that it cannot read, or cannot write, does not
/// name the file as the cause: here it does.
fn read_header(connection: &Connection) -> Result<()> {
    let unusable = |cause: &str| {
        let error = ffi::Error::new(ffi::SQLITE_NOTADB);
        Err(rusqlite::Error::SqliteFailure(error, Some(cause.to_owned())))
    };
    match connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(())) {
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::Unknown) => {
            unusable(&format!("its header is not one of SQLite's ({error})"))
        }
        Err(error) => Err(error),
        // It could be opened for writing.
        Ok(()) if connection.is_readonly(MAIN_DB)? => {
            unusable("its header names a format that SQLite does not write")
        }
        Ok(()) => Ok(()),
    }
}

/// Opens the live database for being replaced by a rebuild.
pub(super) fn replacer(files: &DatabaseFiles) -> Result<Connection> {
    let connection = writer(files, false)?;
    connection.busy_timeout(REPLACER_TIMEOUT)?;
    Ok(connection)
}

/// Creates a database that no other process sees, and that may be lost: nothing is synced, and it can be taken back within
/// one transaction only.
pub(super) fn loader(files: &DatabaseFiles, page_bytes: u32) -> Result<Connection> {
    let connection = Connection::open(files.path())?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_FKEY, false)?;
    connection.pragma_update(None, "page_size", page_bytes)?;
    connection.pragma_update_and_check(None, "journal_mode", "memory", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "off")?;
    Ok(connection)
}

/// Opens a database to be read while others write it, and waits for locks as long as `timeout`. Changes nothing in
/// it, and works on a read-only medium.
pub(crate) fn reader(path: &Path, timeout: Duration) -> Result<Connection> {
    let readable = |connection| readable(connection, timeout);
    let files = DatabaseFiles::at(path);
    // The file may be missing for the moment in which a rebuild puts it in place.
    let beside = match room_to_read(&files).and_then(|()| read_write(&files)).and_then(readable) {
        Err(error) if is_refused(&error) => read_only(&files).and_then(readable),
        result => result,
    };
    match beside {
        Err(error) if is_refused(&error) || is_full(&error) => {
            let opened = if has_log(&files) { alone(&files) } else { immutable(&files) };
            opened.and_then(readable).map_err(|other| match is_refused(&other) || is_busy(&other) {
                true => error,
                false => other,
            })
        }
        result => result,
    }
}

/// Can write the log's index, as the other processes do, so that it sees what they write; refuses to write more.
fn read_write(files: &DatabaseFiles) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = index_guard::open(files.path(), flags)?;
    // The last one to close a database copies the log into it. A reader leaves a log that it found as it is, and
    // removes one that it had to make itself.
    if has_log(files) {
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    }
    Ok(connection)
}

fn read_only(files: &DatabaseFiles) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    index_guard::open(files.path(), flags)
}

/// Where no index of a log can be made: no process writes there, and without a log none is needed.
fn immutable(files: &DatabaseFiles) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_URI;
    Connection::open_with_flags(uri(files.path()) + "?immutable=1", flags)
}

/// Where no index of the log can be made: it is in memory then, so that no other process may have the database open.
fn alone(files: &DatabaseFiles) -> Result<Connection> {
    let connection = read_write(files)?;
    connection.pragma_update_and_check(None, "locking_mode", "exclusive", |_| Ok(()))?;
    Ok(connection)
}

fn readable(connection: Connection, timeout: Duration) -> Result<Connection> {
    connection.busy_timeout(timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
    connection.pragma_update(None, "query_only", true)?;
    // The file is opened for good by the first look at it.
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn is_busy(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy)
}

fn is_full(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::DiskFull)
}

fn is_refused(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::CannotOpen
                | ErrorCode::ReadOnly
                | ErrorCode::PermissionDenied
                | ErrorCode::SystemIoFailure
        )
    )
}

/// Whether there is a log with anything in it.
fn has_log(files: &DatabaseFiles) -> bool {
    std::fs::metadata(files.wal()).is_ok_and(|log| log.len() > 0)
}

/// A path as a URI that SQLite opens, whatever characters are in it.
pub(super) fn uri(path: &Path) -> String {
    let mut uri = "file:".to_owned();
    for byte in path.as_os_str().as_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            _ if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            // Writing to a string cannot fail.
            _ => drop(write!(uri, "%{byte:02X}")),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_any_characters_opens_through_its_uri() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a b?c#d%41&e=ü.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE x (y)").unwrap();
        let connection = immutable(&DatabaseFiles::at(&path)).unwrap();
        assert!(connection.prepare("SELECT y FROM x").is_ok());
    }

    #[test]
    fn a_reader_leaves_no_trace_and_writes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let connection = writer(&DatabaseFiles::at(&path), true).unwrap();
        connection.execute_batch("CREATE TABLE x (y)").unwrap();
        drop(connection);
        let connection = reader(&path, READER_TIMEOUT).unwrap();
        assert!(connection.execute_batch("INSERT INTO x VALUES (1)").is_err());
        drop(connection);
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_reader_leaves_the_log_of_a_crashed_writer_as_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        let connection = writer(&DatabaseFiles::at(&path), true).unwrap();
        connection.execute_batch("CREATE TABLE x (y); INSERT INTO x VALUES (7)").unwrap();
        let copy = directory.path().join("copy");
        std::fs::create_dir(&copy).unwrap();
        for name in ["events.db", "events.db-wal"] {
            std::fs::copy(directory.path().join(name), copy.join(name)).unwrap();
        }
        let before = std::fs::read(copy.join("events.db")).unwrap();
        let opened = reader(&copy.join("events.db"), READER_TIMEOUT).unwrap();
        let value: i64 = opened.query_row("SELECT y FROM x", [], |row| row.get(0)).unwrap();
        drop(opened);
        assert_eq!(value, 7);
        assert_eq!(std::fs::read(copy.join("events.db")).unwrap(), before);
        assert!(copy.join("events.db-wal").metadata().unwrap().len() > 0);
    }
}
