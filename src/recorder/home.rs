//! [`Home`]: everything that stands on the data directory. It is given up when the directory goes away, so that nothing
//! of it is held or made in another place, and opened again when it is back.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use lenslog_engine::Runner;
use lenslog_journal::storage::{AnchoredStorage, RealStorage};
use lenslog_journal::{Clock, Error, Journal, JournalView, LeftOut, OnSync, Options};
use lenslog_projections::DescriptionQueue;
use lenslog_tools::control::{Obstructed, obstructed};

use super::health::{self, HealthItem};
use super::wake::Wake;
use super::writer::EventWriter;
use super::{journal_options, report_losses};
use crate::config::Config;
use crate::description::{self, Describer, Places};
use crate::layout;
use crate::metrics::MetricsCollector;
use crate::storage::{Reserve, StorageGuard, missing_mount};

/// A directory that is back and cannot be used yet is tried again this often.
const RETURN_PAUSE: Duration = Duration::from_secs(1);

/// The longest wait for the projections before recording begins.
const START_WAIT_MAX: Duration = Duration::from_secs(1);

/// Journal, projections, and what watches the storage.
pub(super) struct Home {
    pub(super) journal: Journal,
    pub(super) view: JournalView,
    pub(super) runner: Arc<Runner>,
    pub(super) storage: StorageGuard,
    /// The files in `journal/` that are no part of the journal, once they were looked for.
    pub(super) left_out: Arc<OnceLock<Vec<LeftOut>>>,
    /// The events that wait for a sentence.
    queue: DescriptionQueue,
    describer: Mutex<Option<Describer>>,
}

/// What a home is opened with, the first time and after each absence.
pub(super) struct Opener {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Arc<MetricsCollector>,
    pub(super) writer: Arc<EventWriter>,
    pub(super) wake: Arc<Wake>,
}

impl Opener {
    /// Opens the journal, starts the projections and begins to watch the storage; events that wait are journaled.
    ///
    /// # Errors
    ///
    /// Those of opening the journal.
    pub(super) fn open(
        &self,
        config: &Config,
        tell: &mut dyn FnMut(HealthItem),
    ) -> Result<Home, Error> {
        let measured = Arc::clone(&self.metrics);
        let on_sync: OnSync = Arc::new(move |length| measured.journal_sync(length));
        let options = Options {
            // Moved away, it is not to be written to, nor made anew.
            storage: Arc::new(AnchoredStorage::default()),
            on_sync: Some(on_sync),
            ..journal_options(config, &self.clock)
        };
        let data = &config.storage.data_dir;
        let before = obstructed(data, &RealStorage);
        let journal = Reserve::of(&config.storage).open(|| Journal::open(data, &options))?;
        let opened = journal.next_seq();
        tell(health::data_directory(config));
        tell(health::journal(&journal));
        let after = obstructed(data, &RealStorage);
        // What is still in the way is named with the other files.
        for Obstructed { path, reason } in before.iter().filter(|found| !after.contains(found)) {
            let detail = format!("{}: {reason}; the journal replaced it", path.display());
            tell(HealthItem::warning("journal", detail));
        }
        let view = journal.view();
        let (projections, queue) = layout::projections(config, &journal);
        let runner = Arc::new(Runner::start(&view, projections, report_losses(&journal)));
        // For the report only: what is to be recorded waits for no projection.
        let behind = runner.wait_at_most(view.head()?, START_WAIT_MAX);
        for item in health::projections(&runner, &behind) {
            tell(item);
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
            move || ringing.ring(),
        );
        self.writer.tell(storage.noter());
        tell(health::storage(&storage));
        let home = Home {
            journal,
            view,
            runner,
            storage,
            left_out: Arc::default(),
            queue,
            describer: Mutex::default(),
        };
        home.describe(config, self);
        Ok(home)
    }
}

impl Home {
    /// Has events described as the configuration says, from now on.
    pub(super) fn describe(&self, config: &Config, opener: &Opener) {
        let (writer, metrics) = (Arc::clone(&opener.writer), Arc::clone(&opener.metrics));
        let mut describer = self.describer();
        // One at a time.
        *describer = None;
        *describer = Describer::start(
            &config.description,
            Places {
                view: self.view.clone(),
                data: &config.storage.data_dir,
                queue: self.queue.clone(),
                clock: Arc::clone(&opener.clock),
                write: Arc::new(move |event| {
                    writer.write(&event);
                }),
                measure: Arc::new(move |length| metrics.description(length)),
            },
        );
    }

    /// What describes events, where something does.
    pub(super) fn describer(&self) -> MutexGuard<'_, Option<Describer>> {
        self.describer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the files go on without the sentences that were waited for longer than `hold`.
    pub(super) fn defer_descriptions(&self, opener: &Opener, hold: Duration) {
        for event in description::deferrals(&self.queue, opener.clock.read().wall, hold) {
            opener.writer.write(&event);
        }
    }

    /// Stops everything, so that no file of it is held any more once the last reference is gone.
    pub(super) fn leave(&self) {
        *self.describer() = None;
        self.storage.stop();
        self.runner.stop();
    }
}

/// The time without a data directory.
#[derive(Debug)]
pub(super) struct Absence {
    /// The journal that is waited for.
    journal: [u8; 16],
    /// What is in the way, told already.
    told: Option<String>,
    tried: Option<Instant>,
}

impl Absence {
    pub(super) const fn of(journal: [u8; 16]) -> Self {
        Self { journal, told: None, tried: None }
    }

    /// Whether the directory with the journal that is waited for is back. Looks now and then; nothing is written.
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
                self.tell("another journal is in its place; nothing is written to it".to_owned());
                false
            }
            Err(_) => false,
        }
    }

    /// Says once what is in the way.
    pub(super) fn tell(&mut self, problem: String) {
        if self.told.as_ref() != Some(&problem) {
            tracing::error!(problem, "the data directory cannot be used again yet");
        }
        self.told = Some(problem);
    }
}
