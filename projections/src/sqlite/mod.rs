//! [`SqliteProjection`]: the events as rows of an SQLite database.
//!
//! Rows and the checkpoint are committed in one transaction, in WAL mode with `synchronous=NORMAL`: the journal makes
//! again what a power cut takes back. Every change is worked out by `change`, a pure function of the record, for live
//! rows, rebuilds and verification alike.
//!
//! What others added to the database (tables, indexes, views, triggers) is left alone, and carried over by a rebuild
//! where that can be done; where not, the old database is kept aside. A rebuild of some days rebuilds the whole database.
//!
//! A database with hard links may be part of a copy (`cp -al`). It is replaced by a copy when it is opened for writing,
//! before each transaction and every few seconds. A transaction that is under way when the links are made reaches both
//! copies; each of them stays a whole database.
//!
//! This module reads no clock and never touches files other than the database, what SQLite keeps beside it, its
//! shadow, and copies moved aside.

mod change;
pub(crate) mod connect;
mod counters;
mod examine;
mod extras;
mod fault;
mod files;
mod free;
mod index_guard;
mod install;
mod live;
mod load;
mod locks;
mod log_holders;
mod migrations;
mod room;
mod row;
mod schema;
mod shadow;
mod stored_checkpoint;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod time_text;
mod unshare;
mod verify;
mod write;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Fact, Inspection, Opened, Projection, ProjectionError, Recorded,
    Scope, Spec, Verifier,
};
use lenslog_events::{Event, RecorderCodec, kind};
use lenslog_journal::{ControlRecord, Day, Kind};

use change::Change;
use examine::{Check, Found, examine};
use files::DatabaseFiles;
use live::Live;
use shadow::Shadow;
use verify::SqliteVerifier;
use write::Written;

pub use counters::SqliteCounters;
pub(crate) use fault::{Fault, fault};
pub use free::{free_database_bytes, shorten_database_log};
pub use log_holders::{HeldLog, LOG_BYTES_MAX, held_database_log};
pub use migrations::SCHEMA_VERSION;
pub(crate) use migrations::{Applied, applied};

/// Rises whenever the same events would give other rows.
const VERSION: u32 = 2;

const KINDS: &[Kind] =
    &[Kind(kind::EVENT_DETECTED), Kind(kind::DESCRIPTION_ADDED), Kind(kind::IMAGE_PURGED)];

/// The events as rows of an SQLite database.
///
/// The database appears by itself. Whatever happens to it (deleted, replaced, altered, corrupted, written by a newer
/// version) it is rebuilt from the journal; an unusable database is kept as `events.db.old-1`
/// and so on, the newest three.
///
/// ```
/// use lenslog_engine::{Opened, Projection};
/// use lenslog_projections::sqlite::SqliteProjection;
///
/// let directory = tempfile::tempdir()?;
/// let mut projection = SqliteProjection::new(directory.path().join("events.db"));
/// assert_eq!(projection.open()?, Opened::Absent);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct SqliteProjection {
    path: PathBuf,
    state: State,
    counters: Arc<SqliteCounters>,
    /// The file whose content was checked.
    checked: Option<u64>,
    /// The database was found unusable, and was not replaced yet.
    is_broken: bool,
    /// A tombstone was applied: what was set aside goes with its days, at the next durable commit.
    pruned: Option<Day>,
}

#[derive(Debug)]
enum State {
    Closed,
    /// There is no database yet; the first record makes it.
    Absent,
    Live(Box<Live>),
    Rebuilding(Shadow),
}

impl SqliteProjection {
    /// The projection whose database is, or will be, at `path`. Nothing is opened yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            state: State::Closed,
            counters: Arc::default(),
            checked: None,
            is_broken: false,
            pruned: None,
        }
    }

    /// The path of the database.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it has done since it was made.
    #[must_use]
    pub fn counters(&self) -> Arc<SqliteCounters> {
        Arc::clone(&self.counters)
    }

    fn files(&self) -> DatabaseFiles {
        DatabaseFiles::at(&self.path)
    }

    /// The open database; one that is absent is made.
    fn live(&mut self) -> Result<&mut Live, ProjectionError> {
        if matches!(self.state, State::Absent) {
            self.state = State::Live(Box::new(Live::create(self.files())?));
        }
        match &mut self.state {
            State::Live(live) => Ok(live),
            _ => {
                let source = io::Error::other("it is not open");
                let path = self.path.clone();
                Err(ProjectionError::Retry { what: "cannot use", path, source })
            }
        }
    }

    fn open_database(&mut self) -> Result<Opened, ProjectionError> {
        let files = self.files();
        // An interrupted rebuild left its copy.
        files.remove_leftovers()?;
        files.unshare()?;
        match examine(&files, self.checked.map_or(Check::AsNeeded, Check::Done)) {
            Ok(Found::Nothing) => {
                self.state = State::Absent;
                Ok(Opened::Absent)
            }
            Ok(Found::Usable(usable)) => {
                self.checked = Some(usable.inode);
                let checkpoint = usable.checkpoint.clone();
                self.state = State::Live(Box::new(Live::resume(files, *usable)?));
                Ok(Opened::At { checkpoint, needs: Default::default() })
            }
            Err(ProjectionError::Broken { reason }) => {
                self.is_broken = true;
                Ok(Opened::Broken { reason })
            }
            Err(error) => Err(error),
        }
    }

    fn apply_live(&mut self, change: &Change) -> Result<(), ProjectionError> {
        let written = self.live()?.apply(change)?;
        match (change, written) {
            (Change::Insert(row), Written::Duplicate) => self.counters.count_duplicate(row),
            (Change::Insert(_), Written::Done) => self.counters.count_event(),
            _ => {}
        }
        Ok(())
    }

    /// Counts an error, and remembers that the database is broken.
    fn note<T>(&mut self, result: Result<T, ProjectionError>) -> Result<T, ProjectionError> {
        self.is_broken |= matches!(result, Err(ProjectionError::Broken { .. }));
        self.counters.count_failure(result)
    }

    fn finish(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        let State::Rebuilding(shadow) = std::mem::replace(&mut self.state, State::Closed) else {
            let source = io::Error::other("no rebuild was begun");
            let path = self.path.clone();
            return Err(ProjectionError::Retry { what: "cannot finish", path, source });
        };
        let files = self.files();
        files.unshare()?;
        install::install(&files, shadow.finish()?, checkpoint, keep_old, self.is_broken)
    }
}

impl Projection<RecorderCodec> for SqliteProjection {
    fn spec(&self) -> Spec {
        Spec::new("sqlite", VERSION).kinds(KINDS)
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        // What is open is closed first: two connections of one process would not see each other's file replaced.
        self.state = State::Closed;
        self.is_broken = false;
        self.open_database()
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        let change = Change::of(record).map_err(|reason| ProjectionError::Rejected { reason })?;
        let result = match &mut self.state {
            State::Rebuilding(shadow) => shadow.apply(change),
            _ => {
                if let Fact::Journal(ControlRecord::PrunedThrough(pruned)) = &record.fact {
                    self.pruned = Some(pruned.day);
                }
                self.apply_live(&change)
            }
        };
        self.note(result)
    }

    fn would_apply(&mut self, record: &Recorded<Event>) -> Result<bool, ProjectionError> {
        match (Change::of(record), &mut self.state) {
            (Ok(change), State::Live(live)) => live.would_apply(&change),
            _ => Ok(false),
        }
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        let committed = self.live().and_then(|live| {
            live.commit(checkpoint)?;
            // Asked for every few seconds, and at the end: a calm moment.
            if kind == CommitKind::Visible { Ok(()) } else { live.tidy() }
        });
        if committed.is_ok()
            && kind != CommitKind::Visible
            && let Some(day) = self.pruned.take()
            && let Err(error) = self.files().remove_lost(Some(day))
        {
            tracing::error!(%error, "lost copy of pruned days cannot be removed; it stays");
        }
        self.note(committed)
    }

    fn inspect(&mut self) -> Result<Inspection, ProjectionError> {
        match &mut self.state {
            State::Live(live) => live.inspect(),
            _ => Ok(Inspection::Intact),
        }
    }

    /// Builds the whole database, whatever the scope: a million events take seconds.
    fn begin_rebuild(&mut self, _scope: &Scope) -> Result<(), ProjectionError> {
        self.state = State::Closed;
        let files = self.files();
        files.create_directory()?;
        files.unshare()?;
        let page_bytes = install::page_bytes(&files)?;
        let shadow = Shadow::create(files, page_bytes, &self.counters)?;
        self.state = State::Rebuilding(shadow);
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        let result = self.finish(checkpoint, keep_old);
        if result.is_err() {
            self.abort_rebuild();
        } else {
            (self.checked, self.is_broken) = (None, false);
        }
        self.counters.count_failure(result)
    }

    fn watched_files(&self) -> Vec<PathBuf> {
        vec![self.files().path().to_owned()]
    }

    fn remove_lost(&mut self) -> Result<u64, ProjectionError> {
        self.files().remove_lost(None)
    }

    fn abort_rebuild(&mut self) {
        self.state = State::Closed;
        if let Err(error) = self.files().remove_leftovers() {
            tracing::warn!(%error, "rebuild: its files stay; the next start removes them");
        }
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<RecorderCodec>>>, ProjectionError> {
        let verifier = SqliteVerifier::open(&self.files())?;
        Ok(verifier.map(|verifier| Box::new(verifier) as Box<dyn Verifier<RecorderCodec>>))
    }
}
