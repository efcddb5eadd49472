//! [`EventWriter`]: puts the recorder's events into the journal, in order, and keeps those it cannot take now.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lenslog_engine::Vocabulary;
use lenslog_events::{Event, RecorderVocabulary};
use lenslog_journal::{Error, Journal, Seq};

use super::counters::Counters;

/// Events kept in memory while the journal cannot take them. With more, the oldest is given up, told and counted.
pub const BACKLOG_EVENTS_MAX: usize = 1000;
/// Camera minutes wait for somebody else's sync no longer than this.
const UNSYNCED_MAX: Duration = Duration::from_secs(300);

/// Puts events into the journal.
#[derive(Debug)]
pub struct EventWriter {
    journal: Journal,
    counters: Arc<Counters>,
    state: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// Events that the journal could not take.
    backlog: VecDeque<Event>,
    /// When the oldest record was appended that no sync has covered.
    unsynced_since: Option<Instant>,
}

impl EventWriter {
    /// A writer to `journal`.
    #[must_use]
    pub fn new(journal: Journal, counters: Arc<Counters>) -> Self {
        Self { journal, counters, state: Mutex::default() }
    }

    /// Journals an event. Returns its seq once it survives a power cut; camera minutes ride on the next sync.
    ///
    /// Where the journal cannot take it now, it waits in memory and goes in with the next one, in order. `None`: its
    /// seq is not known.
    pub fn write(&self, event: &Event) -> Option<Seq> {
        let in_order = {
            let mut state = self.lock();
            self.write_backlog(&mut state);
            state.backlog.is_empty()
        };
        // The lock is not held while the medium works: cameras share syncs.
        if in_order {
            match self.append(event) {
                Ok(seq) => {
                    self.note_unsynced(event);
                    return Some(seq);
                }
                // The journal keeps it and writes it when it can: once more would be twice.
                Err(error @ Error::Sync { .. }) => {
                    self.note(&error, event);
                    return None;
                }
                Err(error) => self.note(&error, event),
            }
        }
        let mut state = self.lock();
        if state.backlog.len() >= BACKLOG_EVENTS_MAX
            && let Some(lost) = state.backlog.pop_front()
        {
            let event = lost.kind().name;
            tracing::error!(event, "an event is lost: the journal has been full for too long");
        }
        state.backlog.push_back(event.clone());
        None
    }

    /// Tries the backlog again and syncs what has waited for too long. Called about once a second.
    pub fn tick(&self) {
        let mut state = self.lock();
        self.write_backlog(&mut state);
        if state.unsynced_since.is_some_and(|since| since.elapsed() >= UNSYNCED_MAX) {
            match self.journal.sync() {
                Ok(()) => state.unsynced_since = None,
                Err(error) => tracing::error!(%error, "the journal cannot be synced"),
            }
        }
    }

    /// Events that wait in memory.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.lock().backlog.len()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_backlog(&self, state: &mut Waiting) {
        while let Some(event) = state.backlog.front().cloned() {
            match self.append(&event) {
                Ok(_) | Err(Error::Sync { .. }) => {
                    state.backlog.pop_front();
                    if state.backlog.is_empty() {
                        tracing::warn!(
                            "the journal takes events again; those that waited are in it"
                        );
                    }
                }
                Err(_) => return,
            }
        }
    }

    fn append(&self, event: &Event) -> Result<Seq, Error> {
        let encoded = RecorderVocabulary::encode(event);
        let record = [encoded.as_record()];
        if rides_along(event) {
            self.journal.append_unsynced(&record).map(|appended| appended.seq())
        } else {
            self.journal.append_trusted(&record)
        }
    }

    fn note_unsynced(&self, event: &Event) {
        let mut state = self.lock();
        if rides_along(event) {
            state.unsynced_since.get_or_insert_with(Instant::now);
        } else {
            state.unsynced_since = None;
        }
    }

    fn note(&self, error: &Error, event: &Event) {
        self.counters.journal_error();
        tracing::error!(%error, event = event.kind().name, "an event waits for the journal");
    }
}

/// Whether an event waits for somebody else's sync.
const fn rides_along(event: &Event) -> bool {
    matches!(event, Event::CameraMinute(_))
}
