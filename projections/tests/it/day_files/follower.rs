//! [`Follower`]: follows a journal with one projection as the engine's runner does, but a step at a time and without
//! threads, so that a test can stop anywhere.

use lenslog_engine::{
    Checkpoint, CommitKind, Fact, Inspection, Opened, Projection, RebuildError, RebuildOptions,
    Recorded, Scope, rebuild,
};
use lenslog_events::RecorderCodec;
use lenslog_journal::{Entry, Error, JournalView, Reader, ReaderOptions, Resume, Seq};

pub type Boxed = Box<dyn Projection<RecorderCodec>>;

/// Times a projection may be rebuilt before it must have settled.
const ATTEMPTS_MAX: usize = 8;
/// Records between two visible commits.
const BATCH_RECORDS: usize = 3;

pub struct Follower {
    pub projection: Boxed,
    view: JournalView,
    reader: Option<Reader>,
    checkpoint: Checkpoint,
    /// What was found of files that others changed.
    pub alarms: Vec<String>,
}

/// Anything that may go wrong.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

impl Follower {
    pub fn new(projection: Boxed, view: &JournalView) -> Self {
        let checkpoint = Checkpoint::at_start(view.journal_id(), &projection.spec());
        Self { projection, view: view.clone(), reader: None, checkpoint, alarms: Vec::new() }
    }

    /// Opens the projection, makes it again where that is due, and finds its place.
    pub fn start(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            let (accept_loss, keep_old) = match self.projection.open()? {
                Opened::Absent => (true, false),
                Opened::Broken { .. } => (true, true),
                Opened::At { checkpoint, needs } => {
                    match self.view.resume(&checkpoint.position, ReaderOptions::default())? {
                        Resume::At(reader) | Resume::Pruned(reader) => {
                            let next = checkpoint.position.next;
                            needs.iter().try_for_each(|seq| self.restore(*seq, next))?;
                            (self.checkpoint, self.reader) = (checkpoint, Some(reader));
                            return Ok(());
                        }
                        _ => (false, false),
                    }
                }
            };
            self.rebuild(&RebuildOptions { accept_loss, keep_old, ..RebuildOptions::default() })?;
        }
        Err("it never settles".into())
    }

    fn restore(&mut self, seq: Seq, end: Seq) -> Result<()> {
        let from = seq.max(self.view.floor()?);
        let mut reader = self.view.reader(from, ReaderOptions::default())?;
        while let Some(entry) = reader.next()? {
            let Entry::Record(record) = entry else { continue };
            if record.seq > seq || record.seq >= end {
                break;
            }
            if record.seq == seq {
                let recorded = Recorded::decode::<RecorderCodec>(&record);
                self.projection.restore(&recorded)?;
            }
        }
        Ok(())
    }

    pub fn rebuild(&mut self, options: &RebuildOptions) -> std::result::Result<(), RebuildError> {
        self.reader = None;
        rebuild(&mut *self.projection, &self.view, options, &mut |_| true).map(|_| ())
    }

    /// Rebuilds and goes on.
    pub fn rebuild_and_start(&mut self, scope: Scope) -> Result<()> {
        self.commit(CommitKind::Durable)?;
        self.rebuild(&RebuildOptions { scope, accept_loss: true, ..RebuildOptions::default() })?;
        self.start()
    }

    /// Applies everything there is and makes it visible, a few records at a time.
    pub fn follow(&mut self) -> Result<()> {
        let spec = self.projection.spec();
        for applied in 1.. {
            if applied % BATCH_RECORDS == 0 {
                self.commit(CommitKind::Visible)?;
            }
            let Some(reader) = &mut self.reader else { return Err("it was not started".into()) };
            let recorded = match reader.next() {
                Ok(Some(Entry::Record(record))) if spec.wants(record.kind) => {
                    Recorded::decode::<RecorderCodec>(&record)
                }
                Ok(Some(Entry::Record(_))) => continue,
                Ok(Some(Entry::Lost(lost))) => {
                    self.projection.lost(lost.range);
                    continue;
                }
                Ok(None) => break,
                Err(Error::Pruned { floor }) => {
                    self.reader = Some(self.view.reader(floor, ReaderOptions::default())?);
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            if matches!(recorded.fact, Fact::Undecodable(_)) {
                continue;
            }
            if self.projection.must_commit_before(&recorded) {
                self.checkpoint.position = reader.position_before_last()?;
                self.projection.commit(&self.checkpoint, CommitKind::Durable)?;
            }
            self.projection.apply(&recorded)?;
        }
        self.commit(CommitKind::Visible)
    }

    /// Looks at the files, as a runner does every few seconds.
    pub fn inspect(&mut self) -> Result<Inspection> {
        Ok(self.projection.inspect()?)
    }

    pub fn commit(&mut self, kind: CommitKind) -> Result<()> {
        if let Some(reader) = &mut self.reader {
            self.checkpoint.position = reader.position()?;
            self.projection.commit(&self.checkpoint, kind)?;
        }
        Ok(())
    }

    /// Does what a runner does until everything is as it should be, and commits it.
    pub fn settle(&mut self) -> Result<()> {
        for _ in 0..ATTEMPTS_MAX {
            self.start()?;
            self.follow()?;
            self.projection.caught_up()?;
            self.commit(CommitKind::Durable)?;
            match self.projection.inspect()? {
                Inspection::Intact => return Ok(()),
                Inspection::Tampered { scope, reason } => {
                    self.alarms.push(reason);
                    let options =
                        RebuildOptions { scope, accept_loss: true, ..RebuildOptions::default() };
                    self.rebuild(&options)?;
                }
            }
        }
        Err("it never settles".into())
    }
}
