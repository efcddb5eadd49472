//! [`Counters`]: what the recorder did since it started.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use lenslog_events::EventDetected;
use lenslog_journal::Seq;

/// What the recorder did since it started, counted by its threads.
#[derive(Debug, Default)]
pub struct Counters {
    frames: AtomicU64,
    frames_dropped: AtomicU64,
    pictures_lost: AtomicU64,
    events: AtomicU64,
    journal_errors: AtomicU64,
    image_errors: AtomicU64,
    suppressed: Mutex<BTreeMap<&'static str, u64>>,
    last_event: Mutex<Option<(Seq, EventDetected)>>,
}

/// The counters at one moment.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Counted {
    /// Frames looked at.
    pub frames: u64,
    /// Frames dropped because the pipeline was slower than the camera.
    pub frames_dropped: u64,
    /// Pictures that could not be decoded.
    pub pictures_lost: u64,
    /// Events begun.
    pub events: u64,
    /// Events that could not be journaled at once.
    pub journal_errors: u64,
    /// Pictures that could not be written.
    pub image_errors: u64,
    /// Sightings that made no event, by reason.
    pub suppressed: BTreeMap<&'static str, u64>,
    /// The newest event.
    pub last_event: Option<(Seq, EventDetected)>,
}

impl Counters {
    pub(super) fn frame(&self, dropped_before: u64) {
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.frames_dropped.fetch_add(dropped_before, Ordering::Relaxed);
    }

    pub(super) fn picture_lost(&self) {
        self.pictures_lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn journal_error(&self) {
        self.journal_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn image_error(&self) {
        self.image_errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn suppressed(&self, reason: &'static str) {
        *lock(&self.suppressed).entry(reason).or_default() += 1;
    }

    pub(super) fn event(&self, event: &EventDetected, seq: Option<Seq>) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if let Some(seq) = seq {
            *lock(&self.last_event) = Some((seq, event.clone()));
        }
    }

    /// The counters now.
    #[must_use]
    pub fn now(&self) -> Counted {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted {
            frames: load(&self.frames),
            frames_dropped: load(&self.frames_dropped),
            pictures_lost: load(&self.pictures_lost),
            events: load(&self.events),
            journal_errors: load(&self.journal_errors),
            image_errors: load(&self.image_errors),
            suppressed: lock(&self.suppressed).clone(),
            last_event: lock(&self.last_event).clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
