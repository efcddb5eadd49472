//! The checkpoint in its table: one row, committed together with the rows it speaks of.

use lenslog_engine::Checkpoint;
use rusqlite::{Connection, OptionalExtension, Result, params};

/// What the table of the checkpoint holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stored {
    /// Nothing was committed yet.
    Nothing,
    /// Text that is no checkpoint, or one of an older version.
    Unreadable,
    /// A checkpoint, and the inode of the file it was written to.
    At { checkpoint: Checkpoint, inode: i64 },
}

/// Reads the checkpoint.
pub(super) fn read(connection: &Connection) -> Result<Stored> {
    let found: Option<(String, i64)> = connection
        .query_row("SELECT content, inode FROM checkpoint WHERE id = 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(match found {
        None => Stored::Nothing,
        Some((content, inode)) => serde_json::from_str(&content)
            .map_or(Stored::Unreadable, |checkpoint| Stored::At { checkpoint, inode }),
    })
}

/// Writes the checkpoint within the open transaction.
pub(super) fn write(connection: &Connection, checkpoint: &Checkpoint, inode: i64) -> Result<()> {
    let sql = "INSERT INTO checkpoint (id, content, inode) VALUES (1, ?1, ?2)
               ON CONFLICT (id) DO UPDATE SET content = excluded.content, inode = excluded.inode";
    let content = serde_json::to_string(checkpoint)
        .map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
    connection.prepare_cached(sql)?.execute(params![content, inode])?;
    Ok(())
}

/// An inode as SQLite can hold it.
pub(super) const fn stored_inode(inode: u64) -> i64 {
    inode.cast_signed()
}
