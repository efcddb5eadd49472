//! [`DataStore`]: everything that is open in the data directory.
//!
//! It is closed when the directory goes away, so that no file is held or created elsewhere, and opened again when the
//! directory returns.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use lenslog_control::{Obstructed, obstructed};
use lenslog_engine::delivery::{Deliveries, DeliveryStatus};
use lenslog_engine::{Behind, Runner};
use lenslog_events::{DeliveryFailed, Event};
use lenslog_journal::storage::{AnchoredStorage, RealStorage};
use lenslog_journal::{Clock, Error, Journal, JournalView, LeftOut, OnSync, Options, SeqRange};
use lenslog_projections::DescriptionQueue;
use parking_lot::{Mutex, MutexGuard};

use super::health::{self, HealthItem};
use super::writer::EventWriter;
use crate::config::Config;
use crate::description::{self, Describer, DescriberContext};
use crate::metrics::MetricsCollector;
use crate::notify;
use crate::storage::{StorageGuard, missing_mount};
use crate::store::{Store, journal_options};
use crate::util::{CancellationToken, Notify};

/// Pause between attempts to reattach.
const RETURN_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for the projections before recording begins.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Journal, projections, and what watches the storage.
pub(super) struct DataStore {
    pub(super) journal: Journal,
    pub(super) view: JournalView,
    pub(super) runner: Arc<Runner>,
    pub(super) storage: StorageGuard,
    /// The files in `journal/` that are no part of the journal, once they were looked for.
    pub(super) left_out: Arc<OnceLock<Vec<LeftOut>>>,
    /// The events that wait for a sentence.
    queue: DescriptionQueue,
    describer: Mutex<Option<Describer>>,
    notifications: Mutex<Option<Notifications>>,
}

/// The deliveries that run. Throwing the token ends what they are sending.
struct Notifications {
    cancel: CancellationToken,
    deliveries: Deliveries,
}

impl Drop for Notifications {
    fn drop(&mut self) {
        // First: what is interrupted is no failure of the receiver.
        self.deliveries.request_stop();
        self.cancel.cancel();
        self.deliveries.stop();
    }
}

/// The parts that a store is opened with, at the start and after each [`Detached`].
pub(super) struct StoreOpener {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<MetricsCollector>,
    pub(super) writer: Arc<EventWriter>,
    pub(super) wake: Arc<Notify>,
}

impl StoreOpener {
    /// Opens the journal, starts the projections and begins to watch the storage; events that wait are journaled.
    ///
    /// # Errors
    ///
    /// Those of opening the journal.
    pub(super) fn open(
        &self,
        config: &Config,
        report: &mut dyn FnMut(HealthItem),
    ) -> Result<DataStore, Error> {
        let measured = Arc::clone(&self.metrics);
        let on_sync: OnSync = Arc::new(move |length| measured.journal_sync(length));
        let options = Options {
            // A directory that was moved away is neither written nor created again.
            storage: Arc::new(AnchoredStorage::default()),
            on_sync: Some(on_sync),
            ..journal_options(config, &self.clock)
        };
        let data = &config.storage.data_dir;
        let before = obstructed(data, &RealStorage);
        let store = Store::open(config, &options)?;
        let journal = store.journal.clone();
        report(health::data_directory(config));
        report(health::journal(&journal));
        let after = obstructed(data, &RealStorage);
        // What is still in the way is named with the other files.
        for Obstructed { path, reason } in before.iter().filter(|found| !after.contains(found)) {
            let detail = format!("{}: {reason}; the journal replaced it", path.display());
            report(HealthItem::warning("journal", detail));
        }
        let Store { view, runner, queue, opened, .. } = store;
        // For the report only: what is to be recorded waits for no projection.
        let behind = Behind::names_in(runner.wait_at_most(view.head()?, START_WAIT_MAX));
        for item in health::projections(&runner, &behind) {
            report(item);
        }
        self.writer.attach(journal.clone());
        let (storing, ringing) = (Arc::clone(&self.writer), Arc::clone(&self.wake));
        let storage = StorageGuard::start(
            config,
            &journal,
            (&runner, opened),
            &self.clock,
            Arc::new(move |event| {
                storing.write(event);
            }),
            move || ringing.notify(),
        );
        self.writer.on_append(storage.on_append());
        report(health::storage(&storage));
        let store = DataStore {
            journal,
            view,
            runner,
            storage,
            left_out: Arc::default(),
            queue,
            describer: Mutex::default(),
            notifications: Mutex::default(),
        };
        store.describe(config, self);
        store.notify(config, self);
        Ok(store)
    }
}

impl DataStore {
    /// Has events described as the configuration says, from now on.
    pub(super) fn describe(&self, config: &Config, opener: &StoreOpener) {
        let (writer, metrics) = (Arc::clone(&opener.writer), Arc::clone(&opener.metrics));
        let mut describer = self.describer();
        // One at a time.
        *describer = None;
        *describer = Describer::start(
            &config.description,
            DescriberContext {
                view: self.view.clone(),
                data: config.storage.data_dir.clone(),
                queue: self.queue.clone(),
                clock: Arc::clone(&opener.clock),
                write: Arc::new(move |event| {
                    writer.write(&event);
                }),
                measure: Arc::new(move |length| metrics.description(length)),
            },
        );
    }

    /// Has receivers notified as the configuration says, from now on.
    pub(super) fn notify(&self, config: &Config, opener: &StoreOpener) {
        let mut notifications = self.notifications.lock();
        // One at a time.
        *notifications = None;
        if !config.notify.is_empty() {
            let cancel = CancellationToken::new();
            let (writer, clock) = (Arc::clone(&opener.writer), Arc::clone(&opener.clock));
            let write = move |reason: Option<String>, delivery: &str| {
                let (delivery, at) = (delivery.to_owned(), clock.read().wall);
                writer.write(&Event::DeliveryFailed(DeliveryFailed { delivery, at, reason }));
            };
            let deliveries = notify::start(config, &self.view, &cancel, write);
            *notifications = Some(Notifications { cancel, deliveries });
        }
    }

    /// The status of the notifications.
    pub(super) fn deliveries(&self) -> Vec<DeliveryStatus> {
        let notifications = self.notifications.lock();
        notifications.as_ref().map_or_else(Vec::new, |running| running.deliveries.status())
    }

    /// Sends parked messages again, or forgets them. Returns how many.
    pub(super) fn parked(
        &self,
        delivery: &str,
        range: SeqRange,
        discard: bool,
    ) -> Result<usize, String> {
        let notifications = self.notifications.lock();
        let running = notifications.as_ref().ok_or("no notifications are configured")?;
        let done = match discard {
            true => running.deliveries.discard(delivery, range),
            false => running.deliveries.replay(delivery, range),
        };
        done.map_err(|error| error.to_string())
    }

    /// What describes events, where something does.
    pub(super) fn describer(&self) -> MutexGuard<'_, Option<Describer>> {
        self.describer.lock()
    }

    /// Lets the files go on without the sentences that were waited for longer than `hold`.
    pub(super) fn defer_descriptions(&self, opener: &StoreOpener, hold: Duration) {
        for event in description::deferrals(&self.queue, opener.clock.read().wall, hold) {
            opener.writer.write(&event);
        }
    }

    /// Stops everything, so that no file is held once the last reference is dropped.
    pub(super) fn leave(&self) {
        *self.notifications.lock() = None;
        *self.describer() = None;
        self.storage.stop();
        self.runner.stop();
    }
}

/// The data directory is away.
#[derive(Debug)]
pub(super) struct Detached {
    /// The id of the awaited journal.
    journal: [u8; 16],
    /// The obstacle that was last logged.
    reported: Option<String>,
    tried: Option<Instant>,
}

impl Detached {
    pub(super) const fn of(journal: [u8; 16]) -> Self {
        Self { journal, reported: None, tried: None }
    }

    /// Whether the awaited journal is back. Checked once a second; nothing is written.
    pub(super) fn is_over(&mut self, config: &Config) -> bool {
        if self.tried.is_some_and(|tried| tried.elapsed() < RETURN_PAUSE) {
            return false;
        }
        self.tried = Some(Instant::now());
        // A copy of it may lie below the mount point.
        if missing_mount(&config.storage.require_mount).is_some() {
            return false;
        }
        match JournalView::open(&config.storage.data_dir, Arc::new(RealStorage)) {
            Ok(view) if view.journal_id() == self.journal => true,
            Ok(_) => {
                self.report("another journal is in its place; nothing is written to it".to_owned());
                false
            }
            Err(_) => false,
        }
    }

    /// Logs an obstacle once.
    pub(super) fn report(&mut self, problem: String) {
        if self.reported.as_ref() != Some(&problem) {
            tracing::error!(problem, "data directory: not usable yet");
        }
        self.reported = Some(problem);
    }
}
