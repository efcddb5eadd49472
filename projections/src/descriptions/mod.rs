//! [`Descriptions`]: which events wait for a sentence. The journal is the queue; this keeps its place in it.
//!
//! It requests nothing of a language model and journals nothing. An event that expects a sentence waits until
//! `DescriptionAdded` or `DescriptionFailed` settles it, or its day is pruned. Its checkpoint lies in `checkpoints/`
//! and is written rarely: what came after it is read again.

mod queue;

use std::path::PathBuf;
use std::sync::Arc;

use lenslog_engine::{
    Aside, Checkpoint, CommitKind, Fact, Opened, Projection, ProjectionError, Recorded, Scope,
    Spec, Verifier,
};
use lenslog_events::{Event, EventDetected, EventRef, RecorderCodec, kind};
use lenslog_journal::storage::Storage;
use lenslog_journal::{ControlRecord, Kind};

use crate::data_dir::{DataDir, Found, Stored, is_due};
use queue::Queue;
pub use queue::{DescriptionQueue, WAITING_MAX, Waiting};

/// Name of the projection.
const NAME: &str = "descriptions";
/// Rises whenever the same events would leave others waiting.
const VERSION: u32 = 1;
const KINDS: &[Kind] = &[
    Kind(kind::EVENT_DETECTED),
    Kind(kind::DESCRIPTION_ADDED),
    Kind(kind::DESCRIPTION_DEFERRED),
    Kind(kind::DESCRIPTION_FAILED),
];

/// Keeps the queue of the events that wait for a sentence.
#[derive(Debug)]
pub struct Descriptions {
    data: DataDir,
    queue: DescriptionQueue,
    /// The checkpoint on disk.
    saved: Option<Checkpoint>,
    rebuild: Option<Queue>,
}

impl Descriptions {
    /// The queue of a data directory, which must exist, and its shared handle.
    #[must_use]
    pub fn new(storage: Arc<dyn Storage>, data: impl Into<PathBuf>) -> (Self, DescriptionQueue) {
        let queue = DescriptionQueue::default();
        let data = DataDir::new(storage, data.into());
        (Self { data, queue: queue.clone(), saved: None, rebuild: None }, queue)
    }
}

/// The event waits, if it is one that expects a sentence.
fn waiting(record: &Recorded<Event>, event: &EventDetected) -> Option<Waiting> {
    let event_ref = EventRef {
        event_seq: record.seq,
        event_day: event.timestamp.day(),
        event_id: event.event_id.clone(),
    };
    let waits = event.description_expected && event.llm_description.is_none();
    waits.then_some(Waiting { event: event_ref, appended: record.time, deferred: false })
}

fn apply(queue: &mut Queue, record: &Recorded<Event>) {
    match &record.fact {
        Fact::Event(Event::Detected(event)) => {
            if let Some(waiting) = waiting(record, event) {
                queue.insert(waiting);
            }
        }
        Fact::Event(Event::DescriptionAdded(added)) => {
            queue.settled(added.event.event_seq, record.time.day());
        }
        Fact::Event(Event::DescriptionFailed(failed)) => {
            queue.settled(failed.event.event_seq, record.time.day());
        }
        Fact::Event(Event::DescriptionDeferred(deferred)) => {
            queue.deferred(deferred.event.event_seq)
        }
        Fact::Journal(ControlRecord::PrunedThrough(pruned)) => queue.pruned(pruned.days()),
        _ => {}
    }
}

impl Projection<RecorderCodec> for Descriptions {
    fn spec(&self) -> Spec {
        Spec::new(NAME, VERSION).kinds(KINDS)
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        (self.saved, self.rebuild) = (None, None);
        *self.queue.lock() = Queue::default();
        Ok(match self.data.read_checkpoint::<Queue>(NAME)? {
            Found::Absent => Opened::Absent,
            Found::Broken(reason) => Opened::Broken { reason },
            Found::Intact(Stored { checkpoint, state }) => {
                self.saved = Some(checkpoint.clone());
                *self.queue.lock() = state;
                Opened::At { checkpoint, needs: Default::default() }
            }
        })
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        match &mut self.rebuild {
            Some(rebuild) => apply(rebuild, record),
            None => apply(&mut self.queue.lock(), record),
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        if is_due(kind, self.saved.as_ref(), checkpoint, false) {
            let (checkpoint, state) = (checkpoint.clone(), self.queue.lock().clone());
            let stored = Stored { checkpoint, state };
            self.data.write_checkpoint(NAME, &stored)?;
            self.saved = Some(stored.checkpoint);
        }
        Ok(())
    }

    fn caught_up(&mut self) -> Result<(), ProjectionError> {
        self.queue.lock().complete();
        Ok(())
    }

    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        // A queue has no days that could be rebuilt alone: it stays as it is.
        self.rebuild =
            Some(if *scope == Scope::All { Queue::default() } else { self.queue.lock().clone() });
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        _keep_old: Option<Aside>,
    ) -> Result<(), ProjectionError> {
        let Some(mut rebuilt) = self.rebuild.take() else { return Ok(()) };
        rebuilt.complete();
        *self.queue.lock() = rebuilt;
        self.saved = None;
        self.commit(checkpoint, CommitKind::Durable)
    }

    fn watched_files(&self) -> Vec<std::path::PathBuf> {
        vec![self.data.checkpoint(NAME)]
    }

    fn abort_rebuild(&mut self) {
        self.rebuild = None;
    }

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<RecorderCodec>>>, ProjectionError> {
        Ok(None)
    }
}
