//! [`Follow`]: events as they become rows, across rebuilds of the database.

use std::time::{Duration, Instant};

use lenslog_journal::Seq;

use super::{EventStore, LIMIT_DEFAULT, StoreError, StoredEvent};

/// How often the database is looked at. Looking costs some twenty microseconds.
const POLL: Duration = Duration::from_millis(50);

/// Follows events in the order of the journal. Made by [`EventStore::follow`].
#[derive(Debug)]
pub struct Follow<'a> {
    store: &'a EventStore,
    after: Seq,
}

impl<'a> Follow<'a> {
    pub(super) const fn new(store: &'a EventStore, after: Seq) -> Self {
        Self { store, after }
    }

    /// Seq of the last event that was returned.
    #[must_use]
    pub const fn after(&self) -> Seq {
        self.after
    }

    /// The next events, oldest first: at once where there are any, else as soon as there are; empty when `timeout` is
    /// over.
    ///
    /// A database that is deleted, replaced or rebuilt meanwhile is waited for. What it then holds that was returned
    /// before is not returned again.
    ///
    /// # Errors
    ///
    /// [`StoreError`], after `timeout` where [it may pass](StoreError::may_pass). Calling again goes on.
    pub fn next_events(&mut self, timeout: Duration) -> Result<Vec<StoredEvent>, StoreError> {
        let begun = Instant::now();
        loop {
            let result = self.store.events_after(self.after, LIMIT_DEFAULT);
            let is_over = begun.elapsed() >= timeout;
            match result {
                Ok(events) if !events.is_empty() || is_over => {
                    self.after = events.last().map_or(self.after, |event| event.seq);
                    return Ok(events);
                }
                Err(error) if is_over || !error.may_pass() => return Err(error),
                _ => std::thread::sleep(POLL.min(timeout.saturating_sub(begun.elapsed()))),
            }
        }
    }
}
