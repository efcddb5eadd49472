//! [`merge`]: replaces the rows of some days only, by those that were loaded, in one transaction.

use lenslog_engine::{Checkpoint, ProjectionError, Scope};
use lenslog_journal::Day;
use rusqlite::{Connection, Result, params};

use super::connect::{self, uri};
use super::fault::{Explain, broken};
use super::files::{DatabaseFiles, Place};
use super::load::Loader;
use super::stored_checkpoint::{self, stored_inode};
use crate::data_dir::json_log_path;

/// Replaces the rows of the days in `scope`. Everything else in the live database stays, what others added included.
///
/// # Errors
///
/// [`ProjectionError::Retry`]: the live database is as it was.
pub(super) fn merge(
    files: &DatabaseFiles,
    loader: Loader,
    scope: &Scope,
    checkpoint: &Checkpoint,
) -> std::result::Result<(), ProjectionError> {
    let shadow = loader.files().clone();
    loader.connection().execute_batch("COMMIT").explain("cannot write", &shadow)?;
    drop(loader);
    let Place::File { inode, .. } = files.place()? else {
        return Err(broken(files, "it was deleted while days of it were rebuilt"));
    };
    let live = connect::replacer(files).explain("cannot open", files)?;
    let replace = || {
        live.execute("ATTACH ?1 AS shadow", [uri(shadow.path())])?;
        live.execute_batch("BEGIN IMMEDIATE")?;
        delete_days(&live, scope)?;
        live.execute_batch(TAKE_OVER)?;
        stored_checkpoint::write(&live, checkpoint, stored_inode(inode))?;
        live.execute_batch("COMMIT; DETACH shadow")
    };
    replace().explain("cannot write", files)?;
    drop(live);
    shadow.remove()
}

/// Rows whose day was altered are found by their ids. An event_id that another day holds stays there: the first one
/// stays, as everywhere.
const TAKE_OVER: &str = "
    DELETE FROM main.event_labels WHERE id IN (SELECT id FROM shadow.events);
    DELETE FROM main.events WHERE id IN (SELECT id FROM shadow.events);
    INSERT INTO main.events SELECT * FROM shadow.events WHERE true ORDER BY id
        ON CONFLICT (event_id) DO NOTHING;
    INSERT INTO main.event_labels
        SELECT * FROM shadow.event_labels WHERE id IN (SELECT id FROM main.events);
";

fn delete_days(live: &Connection, scope: &Scope) -> Result<()> {
    match scope {
        Scope::Range(from, to) => delete_between(live, *from, *to),
        Scope::Days(days) => days.iter().try_for_each(|day| delete_between(live, *day, *day)),
        // A rebuild of all days replaces the file's content instead.
        _ => Ok(()),
    }
}

fn delete_between(live: &Connection, from: Day, to: Day) -> Result<()> {
    let days = params![json_log_path(from), json_log_path(to)];
    let ids = "SELECT id FROM main.events WHERE json_log_path BETWEEN ?1 AND ?2";
    live.execute(&format!("DELETE FROM main.event_labels WHERE id IN ({ids})"), days)?;
    live.execute("DELETE FROM main.events WHERE json_log_path BETWEEN ?1 AND ?2", days)?;
    Ok(())
}
