//! [`EventWriter`]: puts the recorder's events into the journal, in order, and keeps those it cannot take now.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use lenslog_events::{Event, EventDetected, RecorderCodec};
use lenslog_journal::storage::Storage;
use lenslog_journal::{Appended, Error, Journal, Seq};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::metrics::MetricsCollector;

/// Events kept in memory while the journal cannot take them. Beyond it, the oldest is dropped, logged and counted.
pub const BACKLOG_EVENTS_MAX: usize = 1000;
/// Camera minutes wait for the sync of another record no longer than this.
const UNSYNCED_MAX: Duration = Duration::from_secs(300);

/// Puts events into the journal, as long as there is one.
pub struct EventWriter {
    /// Why there is none: the data directory is gone.
    journal: RwLock<Result<Journal, Error>>,
    /// Called with the journal's end after each event.
    on_append: RwLock<Option<Box<OnAppend>>>,
    metrics: Arc<MetricsCollector>,
    state: Mutex<Waiting>,
    /// Length of the backlog, for those who must not wait for the medium.
    waiting: AtomicUsize,
}

/// Called with the next seq.
type OnAppend = dyn Fn(Seq) + Send + Sync;

impl std::fmt::Debug for EventWriter {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("EventWriter")
            .field("waiting", &self.waiting)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Waiting {
    /// Events that the journal could not take.
    backlog: VecDeque<Queued>,
    /// Events that the journal holds in its own memory: whether they are durable is not known. At most
    /// [`BACKLOG_EVENTS_MAX`].
    unsynced: Vec<Event>,
    /// The cost of the outage so far; `None` while the journal works.
    outage: Option<Outage>,
    /// When the oldest record was appended that no sync has covered.
    unsynced_since: Option<Instant>,
    /// Events that are lost.
    lost: LostRecords,
}

#[derive(Debug)]
struct Queued {
    event: Event,
    /// An earlier journal may have it, by its key.
    may_be_known: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Outage {
    written: u64,
    dropped: u64,
}

/// What did not get into the journal and never will.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LostRecords {
    /// Events of cameras.
    pub events: u64,
    /// Other records: ends of events, minutes, starts and stops.
    pub records: u64,
    /// The first of the events, at most [`LOST_NAMED_MAX`].
    pub named: Vec<EventDetected>,
}

/// Lost events that are named; beyond it they are only counted.
pub const LOST_NAMED_MAX: usize = 10;

impl LostRecords {
    /// Whether anything is lost.
    #[must_use]
    pub const fn is_any(&self) -> bool {
        self.events + self.records > 0
    }

    fn note(&mut self, event: Event) {
        match event {
            Event::Detected(event) => {
                self.events += 1;
                if self.named.len() < LOST_NAMED_MAX {
                    self.named.push(event);
                }
            }
            _ => self.records += 1,
        }
    }
}

impl EventWriter {
    /// A writer that keeps everything in memory until it gets a journal.
    #[must_use]
    pub fn new(data: &Path, metrics: Arc<MetricsCollector>) -> Self {
        let source = Arc::new(io::Error::other("it is not open yet"));
        let none = Error::Suspended { path: data.to_owned(), source };
        Self {
            journal: RwLock::new(Err(none)),
            on_append: RwLock::default(),
            metrics,
            state: Mutex::default(),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Writes to this journal from now on; what waits goes first.
    pub fn attach(&self, journal: Journal) {
        *self.journal.write() = Ok(journal);
        self.write_backlog(&mut self.lock());
    }

    /// Sets the callback that gets the journal's end after each event.
    pub fn on_append(&self, on_append: impl Fn(Seq) + Send + Sync + 'static) {
        *self.on_append.write() = Some(Box::new(on_append));
    }

    /// Lets go of the journal. What it may not have made durable waits with everything that comes now.
    pub fn detach(&self, why: Error) {
        let old = {
            let mut journal = self.journal.write();
            std::mem::replace(&mut *journal, Err(why.clone()))
        };
        drop(old);
        let mut state = self.lock();
        self.begin_outage(&mut state, &why);
        for event in std::mem::take(&mut state.unsynced).into_iter().rev() {
            state.backlog.push_front(Queued { event, may_be_known: true });
        }
        state.unsynced_since = None;
        self.drop_excess(&mut state);
    }

    /// Where files beside the journal are written.
    ///
    /// # Errors
    ///
    /// Why there is no journal.
    pub fn storage(&self) -> Result<Arc<dyn Storage>, Error> {
        self.journal().map(|journal| Arc::clone(journal.view().storage()))
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
                    self.note_appended(&mut self.lock(), event);
                    let on_append = self.on_append.read();
                    if let Some(on_append) = &*on_append {
                        on_append(seq.next());
                    }
                    return Some(seq);
                }
                // The journal keeps it and writes it when it can: once more would be twice.
                Err(error @ Error::Sync { .. }) => {
                    let mut state = self.lock();
                    self.metrics.journal_error();
                    self.begin_outage(&mut state, &error);
                    if state.unsynced.len() < BACKLOG_EVENTS_MAX {
                        state.unsynced.push(event.clone());
                    }
                    return None;
                }
                Err(error) => {
                    self.metrics.journal_error();
                    self.begin_outage(&mut self.lock(), &error);
                }
            }
        }
        let mut state = self.lock();
        state.backlog.push_back(Queued { event: event.clone(), may_be_known: false });
        self.drop_excess(&mut state);
        None
    }

    /// Tries the backlog again, has the journal write what it kept in memory, and syncs what has waited for too long.
    /// Called about once a second.
    pub fn tick(&self) {
        let mut state = self.lock();
        self.write_backlog(&mut state);
        let Ok(journal) = self.journal() else { return };
        let is_due = state.unsynced_since.is_some_and(|since| since.elapsed() >= UNSYNCED_MAX);
        // The next append may be far away: what the journal keeps in memory is written as soon as the medium works.
        let has_ended = state.outage.is_some() && state.backlog.is_empty();
        if is_due || has_ended || journal.health().suspended.is_some() {
            match journal.sync() {
                Ok(()) => self.note_durable(&mut state),
                Err(error) => self.begin_outage(&mut state, &error),
            }
        }
    }

    /// The number of events in memory. Never blocks.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Ends: what still waits is lost. Returns all that is.
    pub fn lost(&self) -> LostRecords {
        let mut state = self.lock();
        let unsynced = std::mem::take(&mut state.unsynced);
        let backlog = std::mem::take(&mut state.backlog).into_iter().map(|queued| queued.event);
        for event in unsynced.into_iter().chain(backlog) {
            self.lose(&mut state, event);
        }
        self.waiting.store(0, Ordering::Relaxed);
        state.lost.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock()
    }

    fn journal(&self) -> Result<Journal, Error> {
        self.journal.read().clone()
    }

    /// Logs the beginning of an outage, not each event.
    fn begin_outage(&self, state: &mut Waiting, error: &Error) {
        if state.outage.is_none() {
            state.outage = Some(Outage::default());
            tracing::error!(
                %error,
                "journal: events are kept in memory, at most {BACKLOG_EVENTS_MAX}, until it takes them"
            );
        }
    }

    /// Everything that the journal was given is durable; all is well again once nothing waits to be given to it.
    fn note_durable(&self, state: &mut Waiting) {
        state.unsynced.clear();
        state.unsynced_since = None;
        if !state.backlog.is_empty() {
            return;
        }
        if let Some(Outage { written, dropped }) = state.outage.take() {
            tracing::warn!(
                "journal: takes events again; {written} waiting records appended, {dropped} dropped"
            );
        }
    }

    fn drop_excess(&self, state: &mut Waiting) {
        while state.backlog.len() > BACKLOG_EVENTS_MAX {
            let Some(Queued { event, .. }) = state.backlog.pop_front() else { break };
            let name = event.kind().name;
            self.lose(state, event);
            let Some(outage) = &mut state.outage else { continue };
            outage.dropped += 1;
            if outage.dropped == 1 {
                tracing::error!(
                    event = name,
                    "journal: more than {BACKLOG_EVENTS_MAX} events wait; the oldest are dropped"
                );
            }
        }
        self.waiting.store(state.backlog.len(), Ordering::Relaxed);
    }

    fn lose(&self, state: &mut Waiting, event: Event) {
        if matches!(event, Event::Detected(_)) {
            self.metrics.event_lost();
        }
        state.lost.note(event);
    }

    fn write_backlog(&self, state: &mut Waiting) {
        while let Some(queued) = state.backlog.front() {
            let appended = match queued.may_be_known {
                true => self.append_unless_known(&queued.event),
                false => self.append(&queued.event).map(Some),
            };
            let is_unsynced = matches!(appended, Err(Error::Sync { .. }));
            if appended.is_err() && !is_unsynced {
                return;
            }
            let Some(Queued { event, .. }) = state.backlog.pop_front() else { return };
            self.waiting.store(state.backlog.len(), Ordering::Relaxed);
            if let Some(outage) = &mut state.outage {
                outage.written += 1;
            }
            match appended {
                Ok(Some(_)) => self.note_appended(state, &event),
                Ok(None) => {}
                Err(_) => state.unsynced.push(event),
            }
        }
    }

    fn append(&self, event: &Event) -> Result<Seq, Error> {
        let journal = self.journal()?;
        journal.view().check_place()?;
        let encoded = RecorderCodec::encode(event);
        let record = [encoded.as_record()];
        let appended = if rides_along(event) {
            journal.append_unsynced(&record).map(Appended::seq)
        } else {
            journal.append_trusted(&record)
        };
        if let Event::Detected(event) = event {
            match &appended {
                Ok(seq) => self.metrics.event(event, *seq),
                // The journal keeps it, with a seq before its next one.
                Err(Error::Sync { .. }) => self.metrics.event(event, journal.next_seq()),
                Err(_) => {}
            }
        }
        appended
    }

    /// Appends an event that may have been appended before it was known to be. What has no key would be there twice.
    fn append_unless_known(&self, event: &Event) -> Result<Option<Seq>, Error> {
        if !matches!(event, Event::Detected(_)) {
            return Ok(None);
        }
        let journal = self.journal()?;
        let appended = journal.append(&[RecorderCodec::encode(event).as_record()])?;
        Ok(Some(appended.seq()))
    }

    /// The sync that covered this event covered everything before it.
    fn note_appended(&self, state: &mut Waiting, event: &Event) {
        if rides_along(event) {
            state.unsynced_since.get_or_insert_with(Instant::now);
        } else {
            self.note_durable(state);
        }
    }
}

/// Whether an event waits for the sync of another record.
const fn rides_along(event: &Event) -> bool {
    matches!(event, Event::CameraMinute(_))
}

#[cfg(test)]
mod tests {
    use lenslog_events::{CameraMinute, parse_line};
    use lenslog_journal::{Options, Timestamp};

    use super::*;

    fn event(number: usize) -> Event {
        let line = format!(
            r#"{{"event_id":"e{number}","timestamp":"2026-11-23T10:00:00Z","camera_id":"c"}}"#
        );
        let now = Timestamp { utc_micros: i64::MAX / 2, offset_minutes: 0 };
        Event::Detected(parse_line(line.as_bytes(), now).unwrap().into_event(String::new))
    }

    fn env() -> (tempfile::TempDir, Options, EventWriter) {
        let directory = tempfile::tempdir().unwrap();
        let options = Options::default();
        let metrics = Arc::new(MetricsCollector::new(Arc::clone(&options.clock)));
        let writer = EventWriter::new(directory.path(), metrics);
        (directory, options, writer)
    }

    #[test]
    fn waiting_events_are_appended_and_dropped_ones_counted() {
        let (directory, options, writer) = env();
        for number in 0..BACKLOG_EVENTS_MAX + 3 {
            assert_eq!(writer.write(&event(number)), None);
        }
        assert_eq!(writer.backlog(), BACKLOG_EVENTS_MAX);
        let journal = Journal::open(directory.path(), &options).unwrap();
        writer.attach(journal.clone());
        assert_eq!(writer.backlog(), 0);
        let first = journal.view().floor().unwrap();
        assert_eq!(journal.next_seq().0 - first.0, BACKLOG_EVENTS_MAX as u64);
        assert!(writer.write(&event(9999)).is_some());
        let lost = writer.lost();
        assert_eq!((lost.events, lost.records, lost.named.len()), (3, 0, 3));
        assert_eq!(lost.named[0].event_id, "e0", "the oldest are dropped");
    }

    #[test]
    fn an_outage_ends_when_all_waiting_events_are_durable() {
        let (directory, options, writer) = env();
        let minute = CameraMinute {
            camera_id: "c".to_owned(),
            minute: Timestamp::default(),
            frames: 0,
            dropped: 0,
            max_motion: 0.0,
            best_label: None,
            best_confidence: None,
            suppressed: Vec::new(),
        };
        writer.write(&event(1));
        writer.write(&Event::CameraMinute(minute));
        writer.detach(Error::Closed);
        writer.note_durable(&mut writer.lock());
        assert!(writer.lock().outage.is_some(), "something waits");
        writer.lock().unsynced.push(event(2));
        writer.attach(Journal::open(directory.path(), &options).unwrap());
        assert_eq!(writer.backlog(), 0);
        assert!(writer.lock().outage.is_some(), "what came last waits for a sync");
        writer.tick();
        assert!(writer.lock().outage.is_none());
        assert!(!writer.lost().is_any());
    }

    #[test]
    fn what_an_earlier_journal_may_have_is_not_written_twice() {
        let (directory, options, writer) = env();
        let journal = Journal::open(directory.path(), &options).unwrap();
        writer.attach(journal.clone());
        writer.write(&event(1));
        // As if the syncs of both had failed, and one of them was durable all the same.
        writer.lock().unsynced.extend([event(1), event(2)]);
        writer.detach(Error::Closed);
        assert_eq!(writer.backlog(), 2);
        let before = journal.next_seq();
        writer.attach(journal.clone());
        assert_eq!(journal.next_seq().0 - before.0, 1, "only the second is new");
        assert!(!writer.lost().is_any());
    }
}
