//! [`Follower`]: one projection and the reader it follows the journal with.

use lenslog_journal::{Entry, Error, JournalView, Lost, Reader, ReaderOptions, Resume, Seq};

use crate::{
    Checkpoint, CommitKind, EventCodec, Fact, Opened, Projection, ProjectionError, Recorded, Spec,
};

/// Records applied between two commits that others can see.
const BATCH_RECORDS_MAX: usize = 1000;

/// Why following stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    #[error(transparent)]
    Journal(#[from] Error),
}

/// How a start went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Start {
    /// It follows from its checkpoint on.
    Following,
    /// There is nothing yet.
    Absent,
    /// What there is cannot be used.
    Broken(String),
    /// What there is can be used, but is not of this journal or not of this version.
    Outdated(String),
}

/// How far one step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    /// Records passed.
    pub(crate) records: usize,
    /// The durable end of the journal was reached.
    pub(crate) at_head: bool,
    /// When the oldest record applied was appended, in UTC microseconds.
    pub(crate) oldest_micros: Option<i64>,
}

pub(crate) struct Follower<V: EventCodec> {
    pub(crate) projection: Box<dyn Projection<V>>,
    pub(crate) spec: Spec,
    view: JournalView,
    reader: Option<Reader>,
    pub(crate) checkpoint: Checkpoint,
    /// Something was passed since the last visible commit.
    uncommitted: bool,
    /// Something was passed since the last durable commit.
    pub(crate) dirty: bool,
    caught_up: bool,
    /// Nothing from this seq on is applied: tests follow a prefix of the journal.
    pub(crate) until: Seq,
}

impl<V: EventCodec> Follower<V> {
    pub(crate) fn new(projection: Box<dyn Projection<V>>, view: JournalView) -> Self {
        let spec = projection.spec();
        let checkpoint = start_of::<V>(&view, &spec);
        Self {
            projection,
            spec,
            view,
            reader: None,
            checkpoint,
            uncommitted: false,
            dirty: false,
            caught_up: false,
            until: Seq(u64::MAX),
        }
    }

    /// Opens the projection and finds its place in the journal.
    pub(crate) fn start(&mut self) -> Result<Start, FollowError> {
        self.reader = None;
        (self.uncommitted, self.dirty, self.caught_up) = (false, false, false);
        let (checkpoint, needs) = match self.projection.open()? {
            Opened::Absent => return Ok(Start::Absent),
            Opened::Broken { reason } => return Ok(Start::Broken(reason)),
            Opened::At { checkpoint, needs } => (checkpoint, needs),
        };
        if let Some(reason) = checkpoint.mismatch(self.view.journal_id(), &self.spec) {
            return Ok(Start::Outdated(reason));
        }
        let reader = match self.view.resume(&checkpoint.position, ReaderOptions::default())? {
            Resume::At(reader) | Resume::Pruned(reader) => reader,
            Resume::Mismatch { reason } => return Ok(Start::Outdated(reason)),
            _ => return Ok(Start::Outdated("its place in the journal is not known".to_owned())),
        };
        if let Some(&first) = needs.first() {
            self.restore(first, checkpoint.position.next, |seq| needs.contains(&seq))?;
        }
        self.checkpoint = checkpoint;
        self.reader = Some(reader);
        Ok(Start::Following)
    }

    /// Whether a parked event could be applied by now. It needs a rebuild: applying it late is no fold.
    pub(crate) fn can_apply_parked(&mut self) -> Result<bool, FollowError> {
        let Checkpoint { parked_count, codec, .. } = self.checkpoint;
        if parked_count == 0 {
            return Ok(false);
        }
        if codec < V::VERSION {
            return Ok(true);
        }
        let floor = self.view.floor()?;
        for parked in self.checkpoint.parked.iter().filter(|parked| parked.seq >= floor) {
            let mut reader = self.view.reader(parked.seq, ReaderOptions::default())?;
            let Some(Entry::Record(record)) = reader.next()? else { continue };
            if record.seq != parked.seq {
                continue;
            }
            let recorded = Recorded::decode::<V>(&record);
            let can_be_applied = match &recorded.fact {
                Fact::Undecodable(_) => false,
                _ => parked.is_undecodable || self.projection.would_apply(&recorded)?,
            };
            if can_be_applied {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Follows from the beginning a projection of which there is nothing yet.
    #[cfg(feature = "simulation")]
    pub(crate) fn begin(&mut self) -> Result<(), FollowError> {
        let floor = self.view.floor()?;
        self.checkpoint = start_of::<V>(&self.view, &self.spec);
        self.reader = Some(self.view.reader(floor, ReaderOptions::default())?);
        Ok(())
    }

    fn restore(
        &mut self,
        first: Seq,
        end: Seq,
        is_needed: impl Fn(Seq) -> bool,
    ) -> Result<(), FollowError> {
        let first = first.max(self.view.floor()?);
        let mut reader = self.view.reader(first, ReaderOptions::default())?;
        while let Some(entry) = reader.next()? {
            let Entry::Record(record) = entry else { continue };
            if record.seq >= end {
                break;
            }
            if is_needed(record.seq) {
                self.projection.restore(&Recorded::decode::<V>(&record))?;
            }
        }
        Ok(())
    }

    /// Applies what there is, up to one batch, and commits it visibly. Losses go to `on_lost`.
    pub(crate) fn step(&mut self, on_lost: &mut dyn FnMut(&Lost)) -> Result<Step, FollowError> {
        let mut step = Step { records: 0, at_head: false, oldest_micros: None };
        while step.records < BATCH_RECORDS_MAX {
            let Some(reader) = &mut self.reader else { break };
            if reader.next_seq() >= self.until {
                step.at_head = true;
                break;
            }
            let recorded = match reader.next() {
                Ok(Some(Entry::Record(record))) => {
                    if !self.spec.wants(record.kind) {
                        self.uncommitted = true;
                        step.records += 1;
                        continue;
                    }
                    Recorded::decode::<V>(&record)
                }
                Ok(Some(Entry::Lost(lost))) => {
                    on_lost(&lost);
                    self.projection.lost(lost.range);
                    self.uncommitted = true;
                    continue;
                }
                Ok(None) => {
                    step.at_head = true;
                    break;
                }
                Err(Error::Pruned { floor }) => {
                    self.reader = Some(self.view.reader(floor, ReaderOptions::default())?);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            step.records += 1;
            step.oldest_micros.get_or_insert(recorded.time.utc_micros);
            self.apply(&recorded)?;
        }
        if self.uncommitted {
            self.commit(CommitKind::Visible)?;
        }
        if step.at_head && !self.caught_up {
            self.projection.caught_up()?;
            self.caught_up = true;
        }
        Ok(step)
    }

    fn apply(&mut self, recorded: &Recorded<V::Event>) -> Result<(), FollowError> {
        if let Fact::Undecodable(reason) = &recorded.fact {
            self.park(recorded.seq, reason, true);
            return Ok(());
        }
        if self.projection.must_commit_before(recorded)
            && let Some(reader) = &mut self.reader
        {
            self.checkpoint.position = reader.position_before_last()?;
            self.projection.commit(&self.checkpoint, CommitKind::Durable)?;
        }
        self.uncommitted = true;
        match self.projection.apply(recorded) {
            Err(ProjectionError::Rejected { reason }) => {
                self.park(recorded.seq, &reason, false);
                Ok(())
            }
            result => Ok(result?),
        }
    }

    fn park(&mut self, seq: Seq, reason: &str, is_undecodable: bool) {
        tracing::error!(
            projection = self.spec.name, %seq, reason,
            "event cannot be applied; it is parked, the others go on"
        );
        self.checkpoint.park(seq, reason, is_undecodable);
        self.uncommitted = true;
    }

    /// Commits everything passed so far.
    pub(crate) fn commit(&mut self, kind: CommitKind) -> Result<(), FollowError> {
        if let Some(reader) = self.reader.as_mut().filter(|_| self.uncommitted) {
            self.checkpoint.position = reader.position()?;
        }
        self.projection.commit(&self.checkpoint, kind)?;
        self.dirty = kind == CommitKind::Visible && (self.dirty || self.uncommitted);
        self.uncommitted = false;
        Ok(())
    }

    /// Seq of the record that comes next.
    pub(crate) fn next_seq(&self) -> Seq {
        self.reader.as_ref().map_or(self.checkpoint.position.next, Reader::next_seq)
    }

    /// Waits for records, a nudge, or the end of the time.
    pub(crate) fn wait(&mut self, timeout: std::time::Duration) {
        match &mut self.reader {
            Some(reader) => reader.wait(timeout),
            None => std::thread::park_timeout(timeout),
        }
    }
}

/// The checkpoint of a projection that has seen nothing of this journal.
fn start_of<V: EventCodec>(view: &JournalView, spec: &Spec) -> Checkpoint {
    Checkpoint { codec: V::VERSION, ..Checkpoint::at_start(view.journal_id(), spec) }
}
