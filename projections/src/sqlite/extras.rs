//! Tables, indexes, views and triggers that other programs added: copied into the database that replaces the old one,
//! where SQLite allows it.

use rusqlite::{Connection, Result, params};

use super::connect::uri;
use super::files::DatabaseFiles;
use super::schema::{Object, Objects, found};

/// Order in which objects are made: each kind needs only those before it.
const KINDS: [&str; 4] = ["table", "index", "view", "trigger"];

/// Copies what is in the live database, and not in `shadow`, into `shadow`. Returns the names of what could not be
/// carried over: virtual tables and their parts, indexes that the events contradict, what cannot be read.
pub(super) fn carry_over(
    live: &Connection,
    live_files: &DatabaseFiles,
    shadow: &Connection,
) -> Vec<String> {
    let (added, parts) = match (found(live), found(shadow)) {
        (Ok(live), Ok(ours)) => added(live, &ours),
        (Err(error), _) | (_, Err(error)) => return vec![format!("everything added ({error})")],
    };
    if added.is_empty() {
        return parts;
    }
    if let Err(error) = shadow.execute("ATTACH ?1 AS live", [uri(live_files.path()) + "?mode=ro"]) {
        return vec![format!("everything added ({error})")];
    }
    let mut left = parts;
    for (name, object) in added {
        if let Err(error) = carry(shadow, &name, &object) {
            left.push(format!("{} {name} ({error})", object.kind));
        }
    }
    left
}

/// What was added, in the order it can be made, and the names of what cannot be.
fn added(live: Objects, ours: &Objects) -> (Vec<(String, Object)>, Vec<String>) {
    let is_ours = |name: &String| ours.contains_key(name);
    let virtuals: Vec<_> = live
        .iter()
        .filter(|(_, object)| object.kind == "table" && object.is_virtual)
        .map(|(name, _)| name.clone())
        .collect();
    // A virtual table keeps its content in tables named after it.
    let is_part = |name: &String| {
        virtuals.iter().any(|table| name == table || name.starts_with(&format!("{table}_")))
    };
    let left = virtuals.iter().map(|name| format!("virtual table {name}")).collect();
    let mut added: Vec<_> =
        live.into_iter().filter(|(name, _)| !is_ours(name) && !is_part(name)).collect();
    added.sort_by_key(|(_, object)| KINDS.iter().position(|kind| *kind == object.kind));
    (added, left)
}

fn carry(shadow: &Connection, name: &str, object: &Object) -> Result<()> {
    shadow.execute_batch("SAVEPOINT carry")?;
    let result = make(shadow, name, object);
    if result.is_err() {
        shadow.execute_batch("ROLLBACK TO carry")?;
    }
    shadow.execute_batch("RELEASE carry")?;
    result
}

fn make(shadow: &Connection, name: &str, object: &Object) -> Result<()> {
    shadow.execute_batch(&object.sql)?;
    if object.kind != "table" {
        return Ok(());
    }
    // Columns that are computed cannot be inserted.
    let columns: Option<String> = shadow.query_row(
        "SELECT group_concat('\"' || replace(name, '\"', '\"\"') || '\"', ', ')
         FROM pragma_table_xinfo(?1, 'main') WHERE hidden = 0",
        params![name],
        |row| row.get(0),
    )?;
    let (columns, table) = (columns.unwrap_or_default(), quoted(name));
    shadow.execute_batch(&format!(
        "INSERT INTO main.{table} ({columns}) SELECT {columns} FROM live.{table}"
    ))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
