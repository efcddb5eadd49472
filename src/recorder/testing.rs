//! What tests of the recorder's parts need: a journal, a writer, and what was journaled, in words.

use std::path::Path;
use std::sync::Arc;

use lenslog_engine::{Fact, Recorded};
use lenslog_events::{Event, RecorderCodec};
use lenslog_journal::storage::FaultyStorage;
use lenslog_journal::{Clock, Entry, Journal, Options, ReaderOptions};

use super::images::ImageWriter;
use super::pipeline::{CameraSettings, Pipeline};
use super::writer::EventWriter;
use crate::config::Images;
use crate::metrics::MetricsCollector;

/// A journal on a disk of its own, and who writes to it.
pub(super) struct TestEnv {
    pub(super) disk: FaultyStorage,
    pub(super) journal: Journal,
    pub(super) writer: Arc<EventWriter>,
    pub(super) metrics: Arc<MetricsCollector>,
    options: Options,
}

const DATA: &str = "/data";

impl TestEnv {
    /// The writer has no journal yet.
    pub(super) fn without_journal() -> Self {
        let disk = FaultyStorage::new();
        let options = Options { storage: Arc::new(disk.clone()), ..Options::default() };
        let metrics = Arc::new(MetricsCollector::new(Arc::clone(&options.clock)));
        let writer = Arc::new(EventWriter::new(Path::new(DATA), Arc::clone(&metrics)));
        let journal = Journal::open(DATA, &options).unwrap();
        Self { disk, journal, writer, metrics, options }
    }

    /// The writer writes to the journal.
    pub(super) fn new() -> Self {
        let env = Self::without_journal();
        env.attach();
        env
    }

    pub(super) fn attach(&self) {
        self.writer.attach(self.journal.clone());
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.options.clock)
    }

    pub(super) fn images(&self, images: Images) -> ImageWriter {
        ImageWriter::new(Arc::clone(&self.writer), Path::new(DATA), images)
    }

    pub(super) fn pipeline(&self, settings: CameraSettings, images: Images) -> Pipeline {
        let (writer, metrics) = (Arc::clone(&self.writer), Arc::clone(&self.metrics));
        Pipeline::new(settings, writer, self.images(images), metrics)
    }

    /// What the journal holds, in order.
    pub(super) fn events(&self) -> Vec<Event> {
        self.journal.sync().unwrap();
        let view = self.journal.view();
        let mut reader = view.reader(view.floor().unwrap(), ReaderOptions::default()).unwrap();
        let mut events = Vec::new();
        while let Some(entry) = reader.next().unwrap() {
            let Entry::Record(record) = entry else { continue };
            if let Fact::Event(event) = Recorded::decode::<RecorderCodec>(&record).fact {
                events.push(event);
            }
        }
        events
    }

    /// The same in words, without minutes.
    pub(super) fn reported(&self) -> Vec<String> {
        let words = |event: Event| match event {
            Event::CameraMinute(_) => None,
            Event::CameraLost(lost) => Some(format!("lost: {}", lost.reason)),
            Event::CameraFound(_) => Some("found".to_owned()),
            Event::DetectorFailed(failed) => {
                Some(format!("the detector failed: {}", failed.reason))
            }
            other => Some(other.kind().name.to_owned()),
        };
        self.events().into_iter().filter_map(words).collect()
    }
}
