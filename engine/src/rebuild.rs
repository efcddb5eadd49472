//! [`rebuild`]: builds a projection from the journal beside the old one, and replaces that at the end.

use lenslog_journal::{
    Entry, Error, JournalView, LossCause, Lost, Position, ReaderOptions, Resume, Seq, SeqRange,
};

use crate::{
    Aside, Checkpoint, EventCodec, Fact, Opened, Projection, ProjectionError, Recorded, Scope,
};

/// Losses one rebuild names.
const LOST_MAX: usize = 1000;

/// How a projection is rebuilt.
#[derive(Debug, Clone)]
pub struct RebuildOptions {
    /// Which part.
    pub scope: Scope,
    /// Replace the projection even if the journal has lost records: the old one becomes `*.lost-N`.
    pub accept_loss: bool,
    /// Keep the old one as `*.old-N` in any case.
    pub keep_old: bool,
    /// The present content was rebuilt from this very journal and not changed since: nothing of it is kept.
    pub is_own: bool,
    /// How the journal is read.
    pub reader: ReaderOptions,
}

impl Default for RebuildOptions {
    fn default() -> Self {
        Self {
            scope: Scope::All,
            accept_loss: false,
            keep_old: false,
            is_own: false,
            reader: ReaderOptions::default(),
        }
    }
}

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rebuilt {
    /// Records the projection wanted.
    pub records: u64,
    /// How far it is now.
    pub checkpoint: Checkpoint,
    /// What the journal had lost; empty unless loss was accepted.
    pub lost: Vec<Lost>,
}

/// Why a projection was not rebuilt. The old one is unchanged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RebuildError {
    /// The journal has lost records that the old projection may still hold.
    #[error(
        "projection: not rebuilt, because the journal is damaged ({}) and the projection may hold the last copy; a rebuild \
         that accepts the loss replaces it and keeps the old one as .lost-N",
        named(lost)
    )]
    Damaged {
        /// What is lost.
        lost: Vec<Lost>,
    },
    /// The projection holds records that this journal lacks.
    #[error(
        "projection: not rebuilt, because it holds records that the journal lacks ({reason}), perhaps their last copy; put \
         the missing segments back; or a rebuild that accepts the loss replaces it and keeps the old one as .lost-N"
    )]
    Ahead {
        /// How the two differ.
        reason: String,
    },
    /// The projection could not be written.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] Error),
    /// The caller ended it.
    #[error("projection: the rebuild was interrupted; the projection is unchanged")]
    Interrupted,
}

fn named(lost: &[Lost]) -> String {
    let first = lost.first().map_or_else(String::new, ToString::to_string);
    match lost.len() {
        0 | 1 => first,
        count => format!("{first}, and {} more", count - 1),
    }
}

/// How far a rebuild or a verification is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Seq of the next record.
    pub next: Seq,
    /// First seq.
    pub from: Seq,
    /// Seq at which it ends.
    pub end: Seq,
}

/// Rebuilds one projection, or the part of it that `options.scope` names.
///
/// A part is rebuilt up to the checkpoint of the projection; the whole, up to the journal's durable end. A projection of
/// records that this journal does not have (another journal's, or some after its end) may hold the last copy of them. It is
/// moved aside in any case. `progress` is called about every thousand records: if it returns `false`, the rebuild ends and
/// changes nothing.
///
/// # Errors
///
/// [`RebuildError`]; the projection is unchanged then.
pub fn rebuild<V: EventCodec>(
    projection: &mut dyn Projection<V>,
    view: &JournalView,
    options: &RebuildOptions,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Rebuilt, RebuildError> {
    let spec = projection.spec();
    let mut scope = options.scope.clone();
    let mut until = None;
    if scope != Scope::All {
        match projection.open()? {
            Opened::At { checkpoint, .. }
                if checkpoint.mismatch(view.journal_id(), &spec).is_none() =>
            {
                until = Some(checkpoint);
            }
            // A part of nothing, or of something else, is the whole.
            _ => scope = Scope::All,
        }
    }
    let foreign = foreign_to(projection, view).filter(|_| !options.is_own);
    if let Some(Foreign { reason, is_other_journal: false }) = &foreign
        && !options.accept_loss
    {
        return Err(RebuildError::Ahead { reason: reason.clone() });
    }
    projection.begin_rebuild(&scope)?;
    let result = fold(projection, view, options, until, progress);
    if result.is_err() {
        projection.abort_rebuild();
    }
    let mut rebuilt = result?;
    let keep_old = match foreign {
        _ if options.is_own => None,
        Some(foreign) => {
            tracing::error!(
                projection = spec.name,
                reason = foreign.reason,
                "projection holds records that this journal lacks; the old copy is moved aside"
            );
            if foreign.is_other_journal { Some(Aside::Old) } else { Some(Aside::Lost) }
        }
        None if !rebuilt.lost.is_empty() => Some(Aside::Lost),
        None if options.keep_old => Some(Aside::Old),
        None => None,
    };
    projection.finish_rebuild(&rebuilt.checkpoint, keep_old)?;
    if !options.accept_loss {
        rebuilt.lost.clear();
    }
    Ok(rebuilt)
}

/// Why a projection may hold records that the journal does not have.
struct Foreign {
    reason: String,
    /// It was made from another journal: this one has lost nothing by it.
    is_other_journal: bool,
}

/// `None` where the journal has everything that the projection holds, or says what it lost.
fn foreign_to<V: EventCodec>(
    projection: &dyn Projection<V>,
    view: &JournalView,
) -> Option<Foreign> {
    // What cannot be read has no records to lose, or is kept aside as broken.
    let verifier = projection.verifier().ok()??;
    let checkpoint = verifier.checkpoint();
    if checkpoint.journal != view.journal_id() {
        let reason = "it was made from another journal".to_owned();
        return Some(Foreign { reason, is_other_journal: true });
    }
    match view.resume(&checkpoint.position, ReaderOptions::default()) {
        Ok(Resume::Mismatch { reason }) => Some(Foreign { reason, is_other_journal: false }),
        _ => None,
    }
}

fn fold<V: EventCodec>(
    projection: &mut dyn Projection<V>,
    view: &JournalView,
    options: &RebuildOptions,
    until: Option<Checkpoint>,
    progress: &mut dyn FnMut(Progress) -> bool,
) -> Result<Rebuilt, RebuildError> {
    const PROGRESS_EVERY: u64 = 1024;
    let spec = projection.spec();
    let from = view.floor()?;
    let end = until.as_ref().map(|checkpoint| checkpoint.position.next);
    // Taken before the reading: where that ends earlier, records are missing.
    let head = view.head()?;
    let mut reader = view.reader(from, options.reader.clone())?;
    let mut checkpoint = Checkpoint::at_start(view.journal_id(), &spec);
    checkpoint.codec = V::VERSION;
    let (mut records, mut passed) = (0, 0_u64);
    let mut lost: Vec<Lost> = Vec::new();
    loop {
        if passed.is_multiple_of(PROGRESS_EVERY) {
            let end = match end {
                Some(end) => end,
                None => view.head()?,
            };
            if !progress(Progress { next: reader.next_seq(), from, end }) {
                return Err(RebuildError::Interrupted);
            }
        }
        passed += 1;
        let entry = match reader.next() {
            // As a follower does: the tombstone comes later, and takes away what was made of the pruned records.
            Err(Error::Pruned { floor }) => {
                reader = view.reader(floor, options.reader.clone())?;
                continue;
            }
            result => result?,
        };
        match entry {
            None => break,
            Some(Entry::Lost(loss)) => {
                if end.is_some_and(|end| loss.range.from >= end) {
                    break;
                }
                if lost.len() < LOST_MAX {
                    lost.push(loss);
                }
                projection.lost(loss.range);
            }
            Some(Entry::Record(record)) => {
                if end.is_some_and(|end| record.seq >= end) {
                    break;
                }
                // What is lost already stops the rebuild, but all of it is to be named.
                if spec.wants(record.kind) && (lost.is_empty() || options.accept_loss) {
                    records += 1;
                    apply(projection, &mut checkpoint, &Recorded::decode::<V>(&record))?;
                }
            }
        }
    }
    let reached = reader.next_seq();
    let wanted = end.map_or(head, |end| end.min(head));
    if reached < wanted && lost.len() < LOST_MAX {
        lost.push(missing_end(view, SeqRange::new(reached, wanted))?);
    }
    if !lost.is_empty() && !options.accept_loss {
        return Err(RebuildError::Damaged { lost });
    }
    match until {
        Some(until) => checkpoint.position = until.position,
        None => checkpoint.position = Position { next: reader.next_seq(), ..reader.position()? },
    }
    Ok(Rebuilt { records, checkpoint, lost })
}

/// The loss of what the journal should have and does not return at its end.
pub(crate) fn missing_end(view: &JournalView, range: SeqRange) -> Result<Lost, Error> {
    let last = view.segments()?.last().map(|segment| segment.name);
    let segment = last.ok_or_else(|| Error::NotFound { path: view.root().to_owned() })?;
    Ok(Lost { range, segment, offset: 0, cause: LossCause::SegmentMissing })
}

fn apply<V: EventCodec>(
    projection: &mut dyn Projection<V>,
    checkpoint: &mut Checkpoint,
    recorded: &Recorded<V::Event>,
) -> Result<(), RebuildError> {
    let (reason, is_undecodable) = match &recorded.fact {
        Fact::Undecodable(reason) => (reason.clone(), true),
        _ => match projection.apply(recorded) {
            Err(ProjectionError::Rejected { reason }) => (reason, false),
            result => return Ok(result?),
        },
    };
    checkpoint.park(recorded.seq, &reason, is_undecodable);
    Ok(())
}
