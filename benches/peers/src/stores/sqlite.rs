//! SQLite: a transaction with WAL and `synchronous=FULL`, one at a time.

use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use anyhow::{Context, Result};
use rusqlite::{Connection, ToSql, TransactionBehavior, params_from_iter};

use super::{EventStore, Store};
use crate::event::{Event, Filter};

pub struct Sqlite(Mutex<Connection>);

impl Sqlite {
    pub fn open(directory: &Path) -> Result<Self> {
        let connection = Connection::open(directory.join("events.db"))?;
        connection.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE IF NOT EXISTS events (seq INTEGER PRIMARY KEY, kind INTEGER, data BLOB);
             CREATE INDEX IF NOT EXISTS kinds ON events (kind);
             CREATE TABLE IF NOT EXISTS tags (tag TEXT, seq INTEGER, PRIMARY KEY (tag, seq)) WITHOUT ROWID;",
        )?;
        Ok(Self(Mutex::new(connection)))
    }

    fn lock(&self) -> Result<MutexGuard<'_, Connection>> {
        self.0.lock().ok().context("another thread panicked")
    }

    fn append_with(&self, events: &[Event], unless: Option<(&Filter, u64)>) -> Result<bool> {
        let mut connection = self.lock()?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if let Some((filter, after)) = unless {
            let (text, values) = select("1", filter, after, " LIMIT 1");
            if transaction.prepare_cached(&text)?.exists(params_from_iter(values))? {
                return Ok(false);
            }
        }
        for event in events {
            transaction
                .prepare_cached("INSERT INTO events (kind, data) VALUES (?, ?)")?
                .execute((event.kind, &event.payload[..]))?;
            let seq = transaction.last_insert_rowid();
            for tag in &event.tags {
                transaction
                    .prepare_cached("INSERT INTO tags VALUES (?, ?)")?
                    .execute((tag, seq))?;
            }
        }
        transaction.commit()?;
        Ok(true)
    }
}

fn select(what: &str, filter: &Filter, after: u64, end: &str) -> (String, Vec<Box<dyn ToSql>>) {
    let mut values: Vec<Box<dyn ToSql>> = vec![Box::new(after as i64)];
    let mut text = format!("SELECT {what} FROM events WHERE seq > ?");
    if let Some(kind) = filter.kind {
        text.push_str(" AND kind = ?");
        values.push(Box::new(kind));
    }
    for tag in &filter.tags {
        text.push_str(" AND seq IN (SELECT seq FROM tags WHERE tag = ?)");
        values.push(Box::new(tag.clone()));
    }
    text.push_str(end);
    (text, values)
}

impl Store for Sqlite {
    fn append(&self, events: &[Event]) -> Result<()> {
        self.append_with(events, None).map(drop)
    }

    fn read_all(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        self.read(&Filter::default(), 0, each).map(drop)
    }

    fn events(&self) -> Option<&dyn EventStore> {
        Some(self)
    }
}

impl EventStore for Sqlite {
    fn append_unless(&self, events: &[Event], filter: &Filter, after: u64) -> Result<bool> {
        self.append_with(events, Some((filter, after)))
    }

    fn read(&self, filter: &Filter, after: u64, each: &mut dyn FnMut(&[u8])) -> Result<u64> {
        let (text, values) = select("seq, data", filter, after, " ORDER BY seq");
        let connection = self.lock()?;
        let mut query = connection.prepare_cached(&text)?;
        let mut rows = query.query(params_from_iter(values))?;
        let mut last = after;
        while let Some(row) = rows.next()? {
            last = row.get::<_, i64>(0)? as u64;
            each(row.get_ref(1)?.as_blob()?);
        }
        Ok(last)
    }

    fn head(&self) -> Result<u64> {
        let connection = self.lock()?;
        let mut query = connection.prepare_cached("SELECT coalesce(max(seq), 0) FROM events")?;
        Ok(query.query_row([], |row| row.get::<_, i64>(0))? as u64)
    }
}
