//! [`DayFiles`]: projections that append entries to one text file for each local day. `jsonl` and `plaintext` are two.
//!
//! # What it promises
//!
//! One write an event, no sync an event, and yet: after any crash the files hold what the journal tells, byte for
//! byte, and somebody who follows them with `tail -f` sees no line twice.
//!
//! The checkpoint lists the length of every file, of which that much is durable, and the next seq. After a crash the
//! records from there on come again and are rendered again. Rendering is pure, so the bytes are those that are there
//! already; only where they differ (a power cut tore them) the file is cut and written anew. Bytes that are the same
//! are written once more all the same: a sync that failed may have left them in the cache only.
//!
//! **No file is appended to before a durable checkpoint lists it** with its current length: what is behind the listed
//! length is then certainly made from records behind the checkpoint, and an unlisted file is certainly not ours.
//!
//! A file that is gone, shorter or another one is not appended to any more. Its expected length goes on being
//! listed; [`inspect`](lenslog_engine::Projection::inspect) reports its day, which is then rebuilt.
//!
//! # Where it is
//!
//! [`Fold`](fold::Fold) says which entry a record leads to, [`Format`] how it looks, [`FileSet`](file_set::FileSet)
//! brings it to its file, [`Tail`](tail::Tail) knows what a crash left behind, [`Listing`](listing::Listing) is the
//! checkpoint.

mod aside;
mod commit;
mod day_file;
mod file_set;
mod fold;
mod format;
mod handles;
mod inspect;
pub(crate) mod limits;
mod listing;
mod open;
mod plan;
mod projection;
mod rebuild;
mod tail;
mod verifier;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use lenslog_engine::{ProjectionError, Recorded};
use lenslog_events::{Event, kind};
use lenslog_journal::storage::Storage;
use lenslog_journal::{Kind, Seq};

use crate::data_dir::DataDir;
use day_file::FileId;
use file_set::{FileSet, Side};
use fold::{Fold, Outcome, Target};
pub use format::Format;
use rebuild::Rebuild;

/// The kinds of records that lead to an entry, or to none.
const KINDS: &[Kind] = &[
    Kind(kind::EVENT_DETECTED),
    Kind(kind::DESCRIPTION_ADDED),
    Kind(kind::DESCRIPTION_DEFERRED),
    Kind(kind::DESCRIPTION_FAILED),
];

/// A projection into one text file (or a few) for each local day.
#[derive(Debug)]
pub struct DayFiles<F> {
    format: F,
    data: DataDir,
    set: FileSet,
    fold: Fold,
    /// Pruned files that are to be removed once a checkpoint says so.
    doomed: BTreeSet<FileId>,
    /// The file that the next record needs in the checkpoint.
    announced: Cell<Option<FileId>>,
    /// Something happened that the checkpoint on disk does not tell.
    changed: bool,
    /// The checkpoint on disk.
    saved: Option<Saved>,
    /// Records from before the last crash are coming again.
    recovering: bool,
    /// The journal has lost records; what lies behind the ends of the files is to be kept.
    lossy: bool,
    rebuild: Option<Rebuild>,
    scratch: Vec<u8>,
}

/// The checkpoint as it was written last.
#[derive(Debug)]
struct Saved {
    text: String,
    identity: (u64, u64),
    next: Seq,
    parked_count: u64,
}

/// An entry that was rendered.
#[derive(Debug)]
struct Rendered {
    id: FileId,
    /// The event it tells of.
    event_seq: Seq,
}

impl<F: Format> DayFiles<F> {
    /// The files below a data directory, which must exist.
    pub(crate) fn with_format(storage: Arc<dyn Storage>, data: impl Into<PathBuf>, format: F) -> Self {
        let data = DataDir::new(storage, data.into());
        Self {
            format,
            set: FileSet::new(data.clone(), F::FILES, Side::Live),
            data,
            fold: Fold::default(),
            doomed: BTreeSet::new(),
            announced: Cell::new(None),
            changed: false,
            saved: None,
            recovering: false,
            lossy: false,
            rebuild: None,
            scratch: Vec::new(),
        }
    }

    /// Takes the next record of the files that others read.
    fn apply_live(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        self.keep_what_is_lost()?;
        let outcome = self.fold.apply(record);
        self.changed |= !matches!(outcome, Outcome::Nothing) || self.fold.holds(record.seq);
        if let Outcome::Pruned(day) = outcome {
            let pruned: Vec<_> =
                self.set.files.keys().copied().take_while(|id| id.day <= day).collect();
            for id in pruned {
                self.set.forget(id);
                self.doomed.insert(id);
            }
            return Ok(());
        }
        self.scratch.clear();
        match render(&mut self.format, &outcome, record, &mut self.scratch) {
            Some(rendered) => self.set.append::<F>(rendered.id, &self.scratch),
            None => Ok(()),
        }
    }

    /// Acts on a loss that was met since the last record.
    fn keep_what_is_lost(&mut self) -> Result<(), ProjectionError> {
        if !self.lossy {
            return Ok(());
        }
        self.set.keep_tails::<F>()?;
        self.lossy = false;
        self.changed = true;
        Ok(())
    }
}

/// The file that a target is in.
fn file_of<F: Format>(target: Target) -> FileId {
    match target {
        Target::Events(day) => FileId::new(day, 0),
        Target::Amendments(day) => FileId::new(day, F::AMENDMENTS),
    }
}

/// Appends the entry that a record led to, if it led to one.
fn render<F: Format>(
    format: &mut F,
    outcome: &Outcome<'_>,
    record: &Recorded<Event>,
    out: &mut Vec<u8>,
) -> Option<Rendered> {
    match outcome {
        Outcome::Nothing | Outcome::Pruned(_) => None,
        Outcome::Event(seq, event) => {
            format.event(out, event, *seq);
            let id = file_of::<F>(Target::Events(event.timestamp.day()));
            Some(Rendered { id, event_seq: *seq })
        }
        Outcome::Amendment(added) => {
            format.amendment(out, added, record);
            let id = file_of::<F>(Target::Amendments(added.event.event_day));
            Some(Rendered { id, event_seq: added.event.event_seq })
        }
    }
}
