//! How much of the database is free: rows that were pruned leave pages that the next rows take.

use std::path::Path;
use std::time::Duration;

use rusqlite::OpenFlags;

use super::connect::reader;
use super::files::DatabaseFiles;
use super::index_guard;

/// How long the log's last readers are waited for.
const TIMEOUT: Duration = Duration::from_millis(50);

/// Bytes of the database's free pages; `None` where there is no database that can be read now.
///
/// Deleting rows shrinks the file by nothing, so a count of the used bytes subtracts these. Goes through SQLite:
/// a process that opens and closes the file by itself would give up the locks of its own writer.
#[must_use]
pub fn free_database_bytes(path: &Path) -> Option<u64> {
    if !path.is_file() {
        return None;
    }
    let connection = reader(path, Duration::ZERO).ok()?;
    let pragma = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0)).ok()?;
        u64::try_from(value).ok()
    };
    Some(pragma("freelist_count")?.saturating_mul(pragma("page_size")?))
}

/// Copies the database's log into the database and cuts it to nothing; says whether that was possible now.
///
/// Deleting rows first makes the log longer: a deletion to make room calls this afterwards. Stops at once
/// where others read or write at this moment.
pub fn shorten_database_log(path: &Path) -> bool {
    let shorten = || -> rusqlite::Result<bool> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = index_guard::open(path, flags)?;
        connection.busy_timeout(TIMEOUT)?;
        let run = |mode| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).map(|busy| busy == 0)
        };
        // The long part first, beside which others write; the short one then blocks no writer.
        run("PASSIVE")?;
        run("TRUNCATE")
    };
    // Of a database with hard links, the copies would be changed: the writer replaces it first.
    path.is_file() && !DatabaseFiles::at(path).is_shared() && shorten().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn deleted_rows_leave_free_pages_and_nothing_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("events.db");
        assert_eq!(free_database_bytes(&path), None);
        assert!(!path.exists());
        let connection = Connection::open(&path).unwrap();
        connection
            .execute_batch(
                "PRAGMA journal_mode = wal; CREATE TABLE x (y);
                 INSERT INTO x VALUES (zeroblob(100000)); INSERT INTO x VALUES (1);",
            )
            .unwrap();
        assert_eq!(free_database_bytes(&path), Some(0));
        connection.execute_batch("DELETE FROM x WHERE y <> 1").unwrap();
        assert!(free_database_bytes(&path).unwrap() >= 90_000);
        let log = directory.path().join("events.db-wal");
        assert!(log.metadata().unwrap().len() > 0);
        assert!(shorten_database_log(&path));
        assert_eq!(log.metadata().unwrap().len(), 0);
        assert!(free_database_bytes(&path).unwrap() >= 90_000);
    }
}
