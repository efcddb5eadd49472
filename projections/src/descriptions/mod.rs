//! [`Descriptions`]: which events wait for a sentence. The journal is the queue; this keeps its place in it.
//!
//! It asks no language model and journals nothing: it only knows. An event that expects a sentence waits until
//! `DescriptionAdded` or `DescriptionFailed` tells of it, or its day is pruned. Its checkpoint lies in `checkpoints/`
//! and is written rarely: what came after it is read again.

mod queue;

use std::path::PathBuf;
use std::sync::Arc;

use lenslog_engine::{
    Checkpoint, CommitKind, Fact, KeepOld, Opened, Projection, ProjectionError, Recorded, Scope,
    Spec, Verifier,
};
use lenslog_events::{Event, EventDetected, EventRef, RecorderVocabulary, kind};
use lenslog_journal::storage::Storage;
use lenslog_journal::{Kind, SystemRecord};

use crate::data_dir::{DataDir, Sealed};
use queue::Queue;
pub use queue::{DescriptionQueue, WAITING_MAX, Waiting};

/// Name of the projection.
const NAME: &str = "descriptions";
/// Rises whenever the same events would leave others waiting.
const LOGIC: u32 = 1;
const KINDS: &[Kind] = &[
    Kind(kind::EVENT_DETECTED),
    Kind(kind::DESCRIPTION_ADDED),
    Kind(kind::DESCRIPTION_DEFERRED),
    Kind(kind::DESCRIPTION_FAILED),
];

/// Records that may have to be read again after a crash.
const UNSAVED_RECORDS_MAX: u64 = 10_000;

/// Keeps the queue of the events that wait for a sentence.
#[derive(Debug)]
pub struct Descriptions {
    data: DataDir,
    queue: DescriptionQueue,
    /// Seq up to which the checkpoint on disk stands.
    saved: Option<u64>,
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
        Fact::Journal(SystemRecord::PrunedThrough(pruned)) => queue.pruned_through(pruned.day),
        _ => {}
    }
}

impl Projection<RecorderVocabulary> for Descriptions {
    fn spec(&self) -> Spec {
        Spec { name: NAME, logic: LOGIC, kinds: Some(KINDS), options: String::new() }
    }

    fn open(&mut self) -> Result<Opened, ProjectionError> {
        (self.saved, self.rebuild) = (None, None);
        *self.queue.lock() = Queue::default();
        let path = self.data.checkpoint(NAME);
        let text = match self.data.read_sealed(&path)? {
            Sealed::Absent => return Ok(Opened::Absent),
            Sealed::Broken(reason) => return Ok(Opened::Broken { reason }),
            Sealed::Intact(text) => text,
        };
        match (Checkpoint::from_text(&text), Queue::from_text(&text)) {
            (Some(checkpoint), Some(queue)) => {
                self.saved = Some(checkpoint.position.next.0);
                *self.queue.lock() = queue;
                Ok(Opened::At { checkpoint, needs: Default::default() })
            }
            _ => Ok(Opened::Broken { reason: format!("{} makes no sense", path.display()) }),
        }
    }

    fn apply(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        match &mut self.rebuild {
            Some(rebuild) => apply(rebuild, record),
            None => apply(&mut self.queue.lock(), record),
        }
        Ok(())
    }

    fn commit(&mut self, checkpoint: &Checkpoint, kind: CommitKind) -> Result<(), ProjectionError> {
        let next = checkpoint.position.next.0;
        let is_stale = match (kind, self.saved) {
            (CommitKind::Visible, _) => false,
            (_, None) => true,
            (CommitKind::Final, Some(saved)) => next != saved,
            (CommitKind::Durable, Some(saved)) => {
                next.saturating_sub(saved) >= UNSAVED_RECORDS_MAX || next < saved
            }
        };
        if is_stale {
            let text = format!("{}{}", checkpoint.to_text(), self.queue.lock().to_text());
            self.data.write_sealed(&self.data.checkpoint(NAME), &text)?;
            self.saved = Some(next);
        }
        Ok(())
    }

    fn caught_up(&mut self) -> Result<(), ProjectionError> {
        self.queue.lock().complete();
        Ok(())
    }

    fn begin_rebuild(&mut self, scope: &Scope) -> Result<(), ProjectionError> {
        // A queue has no days of its own that could be made again alone: it stays as it is.
        self.rebuild =
            Some(if *scope == Scope::All { Queue::default() } else { self.queue.lock().clone() });
        Ok(())
    }

    fn finish_rebuild(
        &mut self,
        checkpoint: &Checkpoint,
        _keep_old: KeepOld,
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

    fn verifier(&self) -> Result<Option<Box<dyn Verifier<RecorderVocabulary>>>, ProjectionError> {
        Ok(None)
    }
}
