//! [`Shadow`]: the database that a rebuild makes beside the live one. A thread of its own writes to it, so that the
//! journal is read and decoded at the same time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use lenslog_engine::ProjectionError;

use super::change::Change;
use super::counters::SqliteCounters;
use super::files::DatabaseFiles;
use super::load::Loader;

/// Changes handed over at once.
const BATCH_CHANGES: usize = 256;
/// Batches that may wait; beyond it the journal is read no further.
const WAITING_BATCHES_MAX: usize = 8;

type Outcome = Result<Loader, ProjectionError>;

/// A database being made beside the live one. Dropping it discards it.
#[derive(Debug)]
pub(super) struct Shadow {
    live: DatabaseFiles,
    batch: Vec<Change>,
    /// Gone once the thread has ended.
    thread: Option<(SyncSender<Vec<Change>>, JoinHandle<Outcome>)>,
}

impl Shadow {
    /// Begins an empty shadow of the live database.
    pub(super) fn create(
        live: DatabaseFiles,
        page_bytes: u32,
        counters: &Arc<SqliteCounters>,
    ) -> Result<Self, ProjectionError> {
        let mut loader = Loader::create(live.shadow(), page_bytes, Arc::clone(counters))?;
        let (sender, batches): (_, Receiver<Vec<Change>>) = sync_channel(WAITING_BATCHES_MAX);
        let load = move || {
            // Ends when the sender is dropped, or at the first error.
            batches.iter().try_for_each(|batch| loader.write(&batch)).map(|()| loader)
        };
        let thread = std::thread::Builder::new()
            .name("load sqlite".to_owned())
            .spawn(load)
            .map_err(ProjectionError::retry("cannot start a thread for", live.path()))?;
        let batch = Vec::with_capacity(BATCH_CHANGES);
        Ok(Self { live, batch, thread: Some((sender, thread)) })
    }

    /// Takes the next change; a later call may return its write error.
    pub(super) fn apply(&mut self, change: Change) -> Result<(), ProjectionError> {
        if change != Change::Nothing {
            self.batch.push(change);
        }
        if self.batch.len() < BATCH_CHANGES { Ok(()) } else { self.hand_over() }
    }

    fn hand_over(&mut self) -> Result<(), ProjectionError> {
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_CHANGES));
        match &self.thread {
            Some((sender, _)) if sender.send(batch).is_ok() => Ok(()),
            // It has ended, which it does before its time for an error only.
            _ => self.join().map(drop),
        }
    }

    /// Waits until everything is written. The indexes are still to be made.
    pub(super) fn finish(mut self) -> Result<Loader, ProjectionError> {
        self.hand_over()?;
        self.join()
    }

    fn join(&mut self) -> Outcome {
        let lost = |what: &str| ProjectionError::Retry {
            what: "cannot write",
            path: self.live.shadow().path().to_owned(),
            source: std::io::Error::other(what.to_owned()),
        };
        match self.thread.take().map(|(sender, thread)| (drop(sender), thread.join()).1) {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => Err(lost("the thread that loads it panicked")),
            None => Err(lost("the thread that loads it has ended")),
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        if self.thread.is_some() {
            // Its connection is closed by the thread's end; the owner of the live one removes the file.
            drop(self.join());
        }
    }
}
