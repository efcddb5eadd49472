//! [`EventWriter`]: puts the recorder's events into the journal, in order, and keeps those it cannot take now.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lenslog_engine::Vocabulary;
use lenslog_events::{Event, RecorderVocabulary};
use lenslog_journal::{Error, Journal, Seq};

use crate::metrics::MetricsCollector;

/// Events kept in memory while the journal cannot take them. With more, the oldest is given up, told and counted.
pub const BACKLOG_EVENTS_MAX: usize = 1000;
/// Camera minutes wait for somebody else's sync no longer than this.
const UNSYNCED_MAX: Duration = Duration::from_secs(300);

/// Puts events into the journal.
#[derive(Debug)]
pub struct EventWriter {
    journal: Journal,
    metrics: Arc<MetricsCollector>,
    state: Mutex<Waiting>,
    /// Length of the backlog, for those who must not wait for the medium.
    waiting: AtomicUsize,
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
    pub fn new(journal: Journal, metrics: Arc<MetricsCollector>) -> Self {
        Self { journal, metrics, state: Mutex::default(), waiting: AtomicUsize::new(0) }
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
            if matches!(lost, Event::Detected(_)) {
                self.metrics.event_lost();
            }
            tracing::error!(event, "an event is lost: the journal has been full for too long");
        }
        state.backlog.push_back(event.clone());
        self.waiting.store(state.backlog.len(), Ordering::Relaxed);
        None
    }

    /// Tries the backlog again, has the journal write what it kept in memory, and syncs what has waited for too long. Called about once a second.
    pub fn tick(&self) {
        let mut state = self.lock();
        self.write_backlog(&mut state);
        // Nobody may append for long: what the journal keeps in memory is written as soon as the medium works.
        if self.journal.health().suspended.is_some() {
            // It has told why it cannot, and will tell when it can.
            let _ = self.journal.sync();
        }
        if state.unsynced_since.is_some_and(|since| since.elapsed() >= UNSYNCED_MAX) {
            match self.journal.sync() {
                Ok(()) => state.unsynced_since = None,
                Err(error) => tracing::error!(%error, "the journal cannot be synced"),
            }
        }
    }

    /// Events that wait in memory. Waits for nobody.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_backlog(&self, state: &mut Waiting) {
        while let Some(event) = state.backlog.front().cloned() {
            match self.append(&event) {
                Ok(_) | Err(Error::Sync { .. }) => {
                    state.backlog.pop_front();
                    self.waiting.store(state.backlog.len(), Ordering::Relaxed);
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
        let appended = if rides_along(event) {
            self.journal.append_unsynced(&record).map(|appended| appended.seq())
        } else {
            self.journal.append_trusted(&record)
        };
        if let Event::Detected(event) = event {
            match &appended {
                Ok(seq) => self.metrics.event(event, *seq),
                // The journal keeps it, with a seq before its next one.
                Err(Error::Sync { .. }) => self.metrics.event(event, self.journal.next_seq()),
                Err(_) => {}
            }
        }
        appended
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
        self.metrics.journal_error();
        tracing::error!(%error, event = event.kind().name, "an event waits for the journal");
    }
}

/// Whether an event waits for somebody else's sync.
const fn rides_along(event: &Event) -> bool {
    matches!(event, Event::CameraMinute(_))
}
