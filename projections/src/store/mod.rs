//! [`EventStore`]: typed queries of the database that the [SQLite projection](crate::sqlite) writes.
//!
//! Only reads. Works beside a recorder in this process or another one, on a read-only medium, and on a copy. A rebuild
//! may replace the database at any moment, by new pages in the same file or by another file of its name: every answer
//! is from one state of the database, the old one or the new one, and the next one follows.
//!
//! Every statement has parameters only, and is answered by an index: what it costs depends on the events it returns,
//! not on those there are.

mod connection;
mod error;
mod follow;
mod query;
mod sql;
mod stored_event;

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, TimeZone};
use lenslog_journal::Seq;
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension, Params, Statement};

use connection::{Identity, Opened, explain};
use query::{Before, Edge};
use sql::{Shape, parameter};
use stored_event::BadCell;

use crate::sqlite::time_text::parse_time_text;

pub use error::StoreError;
pub use follow::Follow;
pub use query::{Cursor, EventQuery, LIMIT_DEFAULT, LIMIT_MAX, Page};
pub use stored_event::StoredEvent;

/// How long a query waits for a lock. Readers meet one only while the log is recovered or replaced, or where a file
/// system gives no write-ahead log.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);

/// Answers questions about events from `events.db`.
///
/// May be shared between threads; they take turns. For queries at the same time open one each.
///
/// ```
/// use lenslog_projections::{EventQuery, EventStore};
/// # use std::sync::Arc;
/// # use std::time::Duration;
/// # use lenslog_engine::{Projection, Runner};
/// # use lenslog_events::{Event, RecorderCodec, testing::sample};
/// # use lenslog_journal::{Journal, Options};
/// # use lenslog_projections::sqlite::SqliteProjection;
/// # let directory = tempfile::tempdir()?;
/// # let path = directory.path().join("events.db");
/// # let journal = Journal::open(directory.path(), &Options::default())?;
/// # for event in sample(60) {
/// #     journal.append_unsynced(&[RecorderCodec::encode(&event).as_record()])?;
/// # }
/// # journal.sync()?;
/// # let projections: Vec<Box<dyn Projection<RecorderCodec>>> =
/// #     vec![Box::new(SqliteProjection::new(&path))];
/// # let runner = Runner::start(&journal.view(), projections, Arc::new(|_| {}));
/// # runner.wait_for(journal.next_seq(), Duration::from_secs(60))?;
/// let store = EventStore::open(path)?;
/// let query = EventQuery::new().camera("camera_1").limit(5);
/// let first = store.query(&query)?;
/// assert_eq!(first.len(), 5);
/// assert!(first[0].timestamp >= first[1].timestamp);
/// if let Some(cursor) = first.next {
///     let second = store.query(&query.before(cursor))?;
///     assert!(second[0].cursor() != first[4].cursor());
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EventStore {
    path: PathBuf,
    timeout: Duration,
    opened: Mutex<Option<Opened>>,
}

/// Why one attempt at a query failed.
enum Failed {
    /// SQLite said so: the database may have been replaced under the query.
    Sqlite(rusqlite::Error),
    Final(StoreError),
    Bad(BadCell),
}

impl From<rusqlite::Error> for Failed {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl EventStore {
    /// Opens the database at `path` for reading.
    ///
    /// # Errors
    ///
    /// Any of [`StoreError`] but [`StoreError::BadRow`] and [`StoreError::UnknownSeq`].
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let store = Self::of(path);
        let opened = Opened::open(&store.path, store.timeout)?;
        *store.opened.lock() = Some(opened);
        Ok(store)
    }

    /// The store of a database that need not be there yet: each query opens it where that is due.
    #[must_use]
    pub fn of(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), timeout: TIMEOUT_DEFAULT, opened: Mutex::new(None) }
    }

    /// Waits for locks this long instead of [`TIMEOUT_DEFAULT`].
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, opened: Mutex::new(None), ..self }
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The event of this event_id.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn event_by_id(&self, event_id: &str) -> Result<Option<StoredEvent>, StoreError> {
        self.ask(|connection| {
            let statement = &mut connection.prepare_cached(&sql::by_event_id())?;
            Ok(events(statement, [event_id])?.pop())
        })
    }

    /// The event whose record is `seq`.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn event_by_seq(&self, seq: Seq) -> Result<Option<StoredEvent>, StoreError> {
        let Ok(id) = i64::try_from(seq.0) else { return Ok(None) };
        self.ask(|connection| {
            let statement = &mut connection.prepare_cached(&sql::by_seq())?;
            Ok(events(statement, [id])?.pop())
        })
    }

    /// The newest events at or after `start` and before `end`, at most [`LIMIT_MAX`]; [`Page::next`] leads to the
    /// rest. The two may be of different time zones.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn events_in<S: TimeZone, E: TimeZone>(
        &self,
        start: DateTime<S>,
        end: DateTime<E>,
    ) -> Result<Page, StoreError> {
        self.query(&EventQuery::new().since(start).until(end).limit(LIMIT_MAX))
    }

    /// The newest events, at most `limit` (usually [`LIMIT_DEFAULT`]) and [`LIMIT_MAX`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn recent_events(&self, limit: usize) -> Result<Page, StoreError> {
        self.query(&EventQuery::new().limit(limit))
    }

    /// The newest events of a camera, at most `limit` and [`LIMIT_MAX`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn events_by_camera(&self, camera_id: &str, limit: usize) -> Result<Page, StoreError> {
        self.query(&EventQuery::new().camera(camera_id).limit(limit))
    }

    /// The newest events with an object of this label, at most `limit` and [`LIMIT_MAX`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn events_by_label(&self, label: &str, limit: usize) -> Result<Page, StoreError> {
        self.query(&EventQuery::new().label(label).limit(limit))
    }

    /// The newest events that meet all conditions of the query.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn query(&self, query: &EventQuery) -> Result<Page, StoreError> {
        let limit = query.limit_events();
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&shape(query).select())?;
            self.bind(connection, &mut statement, query, query.before.as_ref())?;
            // One more than asked for: whether there are any behind.
            bind(&mut statement, parameter::LIMIT, limit as i64 + 1)?;
            let offset = i64::try_from(query.offset).unwrap_or(i64::MAX);
            bind(&mut statement, parameter::OFFSET, offset)?;
            let mut events = bound_events(&mut statement)?;
            let has_more = events.len() > limit;
            events.truncate(limit);
            // A limit of 0 has no event to go on behind.
            let next = events.last().filter(|_| has_more).map(StoredEvent::cursor);
            Ok(Page { events, next })
        })
    }

    /// How many events meet the conditions of the query on time, camera and label, whatever its limit, its offset and
    /// where it begins. Takes time for each of them, some 50 ms a million.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn count_events(&self, query: &EventQuery) -> Result<u64, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&shape(query).count())?;
            self.bind(connection, &mut statement, query, None)?;
            let count = statement.raw_query().next()?.map_or(Ok(0), |row| row.get::<_, i64>(0))?;
            Ok(count.unsigned_abs())
        })
    }

    /// The smallest seq of the events that meet the conditions of the query on time, camera and label: from there on
    /// [`EventStore::events_after`] comes upon all of them. Takes time as [`EventStore::count_events`].
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn first_seq(&self, query: &EventQuery) -> Result<Option<Seq>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(&shape(query).first_seq())?;
            self.bind(connection, &mut statement, query, None)?;
            let first: Option<i64> =
                statement.raw_query().next()?.map_or(Ok(None), |row| row.get(0))?;
            Ok(first.map(seq_of))
        })
    }

    /// The largest seq of an event, `None` where there are no events.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn last_seq(&self) -> Result<Option<Seq>, StoreError> {
        self.ask(|connection| {
            let mut statement = connection.prepare_cached(sql::LAST_SEQ)?;
            Ok(statement.query_row([], |row| row.get::<_, Option<i64>>(0))?.map(seq_of))
        })
    }

    /// The events behind `seq` in the order of the journal, oldest first, at most `limit` and [`LIMIT_MAX`].
    ///
    /// Rows appear in that order: a caller that continues after the last seq of each answer sees every event once.
    ///
    /// # Errors
    ///
    /// [`StoreError`].
    pub fn events_after(&self, seq: Seq, limit: usize) -> Result<Vec<StoredEvent>, StoreError> {
        let after = i64::try_from(seq.0).unwrap_or(i64::MAX);
        let limit = limit.min(LIMIT_MAX) as i64;
        self.ask(|connection| {
            let statement = &mut connection.prepare_cached(&sql::after_seq())?;
            events(statement, (after, limit))
        })
    }

    /// Follows the events behind `seq` as they become rows.
    #[must_use]
    pub fn follow(&self, after: Seq) -> Follow<'_> {
        Follow::new(self, after)
    }

    fn bind(
        &self,
        connection: &Connection,
        statement: &mut Statement<'_>,
        query: &EventQuery,
        before: Option<&Before>,
    ) -> Result<(), Failed> {
        let (since, mut edge) = query.bounds();
        match before {
            Some(Before::Cursor(cursor)) => edge = edge.min(Edge::of(cursor)),
            Some(Before::Seq(seq)) => edge = edge.min(self.edge_of(connection, *seq)?),
            None => {}
        }
        bind(statement, parameter::SINCE, since)?;
        bind(statement, parameter::UNTIL, edge.timestamp)?;
        bind(statement, parameter::UNTIL_ID, edge.id)?;
        if let Some(camera) = &query.camera {
            bind(statement, parameter::CAMERA, camera)?;
        }
        if let Some(label) = &query.label {
            bind(statement, parameter::LABEL, label)?;
        }
        Ok(())
    }

    fn edge_of(&self, connection: &Connection, seq: Seq) -> Result<Edge, Failed> {
        let unknown = || Failed::Final(StoreError::UnknownSeq { path: self.path.clone(), seq });
        let id = i64::try_from(seq.0).map_err(|_| unknown())?;
        let mut statement = connection.prepare_cached(sql::TIMESTAMP_OF_SEQ)?;
        let found: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
        let timestamp = found.ok_or_else(unknown)?;
        let problem = "it is no time".to_owned();
        parse_time_text(&timestamp).map(|_| Edge { timestamp, id }).ok_or(Failed::Bad(BadCell {
            id,
            column: "timestamp",
            problem,
        }))
    }

    /// Asks the database that has the name now; once more where it may have been replaced under the question.
    fn ask<T>(&self, ask: impl Fn(&Connection) -> Result<T, Failed>) -> Result<T, StoreError> {
        let mut slot = self.opened.lock();
        match self.attempt(&mut slot, &ask)? {
            Ok(answer) => Ok(answer),
            Err(_) => {
                *slot = None;
                self.attempt(&mut slot, &ask)?.map_err(|error| explain(&self.path, &error))
            }
        }
    }

    /// One attempt. The inner error is one that another attempt may not meet.
    fn attempt<T>(
        &self,
        slot: &mut Option<Opened>,
        ask: &impl Fn(&Connection) -> Result<T, Failed>,
    ) -> Result<Result<T, rusqlite::Error>, StoreError> {
        let found = Identity::of(&self.path);
        let is_current =
            |opened: &Opened| found.as_ref().is_ok_and(|found| opened.identity == *found);
        let current = match slot.take() {
            Some(opened) if is_current(&opened) => opened,
            // Another file has the name, or none: what was open is closed before the new one is opened.
            other => {
                drop(other);
                Opened::open(&self.path, self.timeout)?
            }
        };
        let answer = ask(&slot.insert(current).connection);
        match answer {
            Ok(answer) => Ok(Ok(answer)),
            Err(Failed::Final(error)) => Err(error),
            Err(Failed::Bad(BadCell { id, column, problem })) => {
                Err(StoreError::BadRow { path: self.path.clone(), id, column, problem })
            }
            Err(Failed::Sqlite(error)) => match explain(&self.path, &error) {
                locked @ StoreError::Locked { .. } => Err(locked),
                _ => Ok(Err(error)),
            },
        }
    }
}

fn seq_of(id: i64) -> Seq {
    Seq(id.max(0).unsigned_abs())
}

fn shape(query: &EventQuery) -> Shape {
    Shape { camera: query.camera.is_some(), label: query.label.is_some() }
}

fn bind(
    statement: &mut Statement<'_>,
    name: &str,
    value: impl rusqlite::ToSql,
) -> rusqlite::Result<()> {
    match statement.parameter_index(name)? {
        Some(index) => statement.raw_bind_parameter(index, value),
        None => Ok(()),
    }
}

fn events(statement: &mut Statement<'_>, params: impl Params) -> Result<Vec<StoredEvent>, Failed> {
    collect(statement.query(params)?)
}

fn bound_events(statement: &mut Statement<'_>) -> Result<Vec<StoredEvent>, Failed> {
    collect(statement.raw_query())
}

fn collect(mut rows: rusqlite::Rows<'_>) -> Result<Vec<StoredEvent>, Failed> {
    let mut events = Vec::new();
    while let Some(row) = rows.next()? {
        events.push(StoredEvent::of_row(row)?.map_err(Failed::Bad)?);
    }
    Ok(events)
}
