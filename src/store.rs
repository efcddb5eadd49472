//! [`Store`]: the journal of a data directory and its projections, opened as the configuration says.
//!
//! The recorder opens it with [`Store::open`] and watches the directory while it records. Commands that run without a
//! recorder (`ingest`, `rotate`, `describe`) open it with [`Store::open_offline`].

use std::sync::Arc;
use std::time::Duration;

use lenslog_engine::{Behind, OnLost, Projection, Runner};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::storage::RealStorage;
use lenslog_journal::{Clock, Error, Journal, JournalView, Options, Seq, SystemClock};
use lenslog_projections::{DataLayout, DescriptionQueue, Descriptions};

use crate::config::Config;
use crate::storage::Ballast;

/// How long projections may make no progress before a command ends without them.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(10);

/// A journal, its projections, and the queue of events without a sentence.
pub struct Store {
    /// The journal.
    pub journal: Journal,
    /// The journal, to read.
    pub view: JournalView,
    /// The threads that bring the projections up to date.
    pub runner: Arc<Runner>,
    /// The events that wait for a sentence.
    pub queue: DescriptionQueue,
    /// The journal's end when it was opened.
    pub opened: Seq,
    /// The clock in the configured time zone.
    pub clock: Arc<dyn Clock>,
}

impl Store {
    /// Opens the journal and starts the projections. The ballast file is given up if the disk is full.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::open`].
    pub fn open(config: &Config, options: &Options) -> Result<Self, Error> {
        let data = &config.storage.data_dir;
        let journal = Ballast::of(&config.storage).open(|| Journal::open(data, options))?;
        let (opened, view) = (journal.next_seq(), journal.view());
        let (projections, queue) = projections(config, &journal);
        let runner = Arc::new(Runner::start(&view, projections, report_losses(&journal)));
        Ok(Self { journal, view, runner, queue, opened, clock: Arc::clone(&options.clock) })
    }

    /// As [`Store::open`], without a recorder.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::open`].
    pub fn open_offline(config: &Config) -> Result<Self, Error> {
        Self::open(config, &journal_options(config, &(clock(config) as Arc<dyn Clock>)))
    }

    /// As [`Store::open_offline`], of a journal that exists: none is begun.
    ///
    /// # Errors
    ///
    /// Those of [`Journal::open`], and [`Error::NotFound`].
    pub fn open_existing(config: &Config) -> Result<Self, Error> {
        JournalView::open(&config.storage.data_dir, Arc::new(RealStorage))?;
        Self::open_offline(config)
    }

    /// Waits for the projections; returns the names of those that are behind and make no progress.
    ///
    /// # Errors
    ///
    /// Those of reading the journal's end.
    pub fn catch_up(&self) -> Result<Vec<&'static str>, Error> {
        Ok(Behind::names_in(self.runner.wait_for(self.view.head()?, CATCH_UP_TIMEOUT)))
    }

    /// Returns a function that appends an event and logs why it could not.
    pub fn append_or_log(&self) -> impl Fn(&Event) + Send + Sync + 'static {
        let journal = self.journal.clone();
        move |event| {
            let record = RecorderCodec::encode(event);
            if let Err(error) = journal.append_trusted(&[record.as_record()]) {
                let event = event.kind().name;
                tracing::error!(%error, event, "event not journaled");
            }
        }
    }
}

/// How the journal of a data directory is opened.
#[must_use]
pub fn journal_options(config: &Config, clock: &Arc<dyn Clock>) -> Options {
    Options {
        storage: Arc::new(RealStorage),
        clock: Arc::clone(clock),
        storage_limit_bytes: Some((config.storage.max_storage_gb * 1e9) as u64),
        ..Options::default()
    }
}

/// The clock in the configured time zone.
#[must_use]
pub fn clock(config: &Config) -> Arc<SystemClock> {
    Arc::new(SystemClock { fixed_offset_minutes: config.time.offset_minutes() })
}

/// Where the projections are.
#[must_use]
pub fn layout(config: &Config) -> DataLayout {
    DataLayout {
        data: config.storage.data_dir.clone(),
        database: config.storage.db_path.clone(),
        plaintext_metadata: config.log.plaintext_metadata,
    }
}

/// The projections of a recorder, and the queue of events without a sentence, which one of them keeps.
#[must_use]
pub fn projections(
    config: &Config,
    journal: &Journal,
) -> (Vec<Box<dyn Projection<RecorderCodec>>>, DescriptionQueue) {
    let view = journal.view();
    let mut projections = layout(config).projections_on(view.storage());
    let storage = Arc::clone(view.storage());
    let (descriptions, queue) = Descriptions::new(storage, &config.storage.data_dir);
    projections.push(Box::new(descriptions));
    (projections, queue)
}

/// Returns a callback that journals every loss a projection meets.
#[must_use]
pub fn report_losses(journal: &Journal) -> OnLost {
    let journal = journal.clone();
    Arc::new(move |lost| {
        if let Err(error) = journal.report_lost(lost) {
            tracing::error!(%error, %lost, "loss not journaled");
        }
    })
}

/// Describes the fault of a journal in one line; `None`: it is healthy.
#[must_use]
pub fn degraded(journal: &Journal) -> Option<String> {
    let health = journal.health();
    if let Some(reason) = health.suspended {
        return Some(format!("the journal cannot write: {reason}"));
    }
    if health.gaps.is_empty() {
        return None;
    }
    let gaps: Vec<_> = health.gaps.iter().map(ToString::to_string).collect();
    Some(format!("the journal has lost seq {}; `lenslog verify` names the place", gaps.join(", ")))
}
