//! [`DayFiles`]: projections that append entries to one text file for each local day. `jsonl` and `plaintext` are two.
//!
//! # Guarantees
//!
//! One write an event, no sync an event, and yet: after any crash the files equal the journal, byte for byte, and a
//! reader who follows them with `tail -f` sees no line twice.
//!
//! The checkpoint lists the length of every file, of which that much is durable, and the next seq. After a crash the
//! records from there on come again and are rendered again. Rendering is pure, so the bytes are those that are there
//! already; only where they differ (a power cut tore them) the file is cut and rewritten. Bytes that are the same
//! are written once more all the same: a sync that failed may have left them in the cache only.
//!
//! **No file is appended to before a durable checkpoint lists it** with its current length: what is behind the listed
//! length is then certainly made from records behind the checkpoint, and an unlisted file is certainly not ours.
//!
//! A file that is gone, shorter or another one is not appended to any more. Its expected length goes on being
//! listed; [`inspect`](lenslog_engine::Projection::inspect) reports its day, which is then rebuilt.
//!
//! **No file with a second name is changed.** It may be part of a copy made by hard links (`cp -al`). A copy of it takes
//! its name first, with the same content; the next checkpoint lists the new inode.
//!
//! # Modules
//!
//! `Fold` says which entry a record leads to, [`Format`] how it looks, `FileSet` brings it to its file, `Tail` knows
//! what a crash left behind, `Listing` is the checkpoint, `replace` puts rebuilt files in place.

mod commit;
mod compare;
mod day_file;
mod file_set;
mod fold;
mod format;
mod handles;
mod inspect;
pub mod limits;
mod listing;
mod mark;
mod open;
mod paths;
mod projection;
mod rebuild;
mod replace;
mod tail;
mod unshare;
mod verifier;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use lenslog_engine::{Aside, Fact, ProjectionError, Recorded};
use lenslog_events::{Event, kind};
use lenslog_journal::storage::Storage;
use lenslog_journal::{ControlRecord, Kind, Seq};

use crate::data_dir::{DataDir, Stored};
use day_file::FileId;
use file_set::{FileSet, Side};
use fold::{Fold, Outcome, Target};
pub use format::Format;
use listing::Listing;
use rebuild::Rebuild;

/// Rises whenever the same records would lead to other entries.
const VERSION: u32 = 1;

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
    /// Events that waited at the checkpoint and did not come back: lost, or pruned as a later tombstone says.
    missing: BTreeSet<Seq>,
    /// Files to remove once a checkpoint says so, and those of them to move aside.
    to_remove: BTreeMap<FileId, Option<Aside>>,
    /// A tombstone was applied, and nothing was removed yet.
    prune_due: bool,
    /// The file that the next record needs in the checkpoint.
    announced: Cell<Option<FileId>>,
    /// The checkpoint on disk is outdated.
    changed: bool,
    /// The checkpoint on disk.
    saved: Option<Saved>,
    /// The journal has lost records; what lies behind the ends of the files is to be kept.
    lossy: bool,
    rebuild: Option<Rebuild>,
}

/// The checkpoint as it was written last.
#[derive(Debug)]
struct Saved {
    stored: Stored<Listing>,
    /// Its inode, to notice another file in its place.
    identity: Option<(u64, u64)>,
}

impl<F: Format> DayFiles<F> {
    /// The files below a data directory, which must exist. Nothing is opened yet.
    pub fn new(storage: Arc<dyn Storage>, data: impl Into<PathBuf>, format: F) -> Self {
        let data = DataDir::new(storage, data.into());
        Self {
            format,
            set: FileSet::new(data.clone(), F::FILES, Side::Live),
            data,
            fold: Fold::default(),
            missing: BTreeSet::new(),
            to_remove: BTreeMap::new(),
            prune_due: false,
            announced: Cell::new(None),
            changed: false,
            saved: None,
            lossy: false,
            rebuild: None,
        }
    }

    /// Forgets everything that is in memory only.
    fn forget(&mut self) {
        self.set = FileSet::new(self.data.clone(), F::FILES, Side::Live);
        self.fold = Fold::default();
        self.missing.clear();
        self.to_remove.clear();
        (self.prune_due, self.changed, self.lossy) = (false, false, false);
        self.announced.set(None);
        self.saved = None;
        self.rebuild = None;
    }

    /// Applies the next record to the live files.
    fn apply_live(&mut self, record: &Recorded<Event>) -> Result<(), ProjectionError> {
        self.keep_what_is_lost()?;
        let outcome = self.fold.apply(record);
        self.changed |= !matches!(outcome, Outcome::Nothing) || self.fold.holds(record.seq);
        if let Outcome::Pruned(days) = outcome {
            for id in self.set.of(days) {
                self.set.forget(id);
                self.to_remove.insert(id, None);
            }
            self.prune_due = true;
            self.missing.retain(|seq| !names(record, *seq));
            return Ok(());
        }
        match file_of::<F>(&outcome) {
            Some(id) => {
                let format = &mut self.format;
                self.set.append::<F>(id, |out| render(format, &outcome, record, out))
            }
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

/// Whether a tombstone names a segment that held this seq.
fn names(record: &Recorded<Event>, seq: Seq) -> bool {
    let Fact::Journal(ControlRecord::PrunedThrough(pruned)) = &record.fact else { return false };
    pruned.segments.iter().any(|segment| segment.range.contains(seq))
}

/// The file that a target is in.
fn file_of_target<F: Format>(target: Target) -> FileId {
    match target {
        Target::Events(day) => FileId::new(day, 0),
        Target::Amendments(day) => FileId::new(day, F::AMENDMENTS),
    }
}

/// The file that the entry of a record belongs to; `None` where the record leads to none.
fn file_of<F: Format>(outcome: &Outcome<'_>) -> Option<FileId> {
    let target = match outcome {
        Outcome::Nothing | Outcome::Pruned(_) => return None,
        Outcome::Event(event) => Target::Events(event.timestamp.day()),
        Outcome::Released(_, event) => Target::Events(event.timestamp.day()),
        Outcome::Amendment(added) => Target::Amendments(added.event.event_day),
    };
    Some(file_of_target::<F>(target))
}

/// Appends the entry that a record led to, if it led to one.
fn render<F: Format>(
    format: &mut F,
    outcome: &Outcome<'_>,
    record: &Recorded<Event>,
    out: &mut Vec<u8>,
) {
    match outcome {
        Outcome::Nothing | Outcome::Pruned(_) => {}
        Outcome::Event(event) => format.event(out, event, record.seq),
        Outcome::Released(seq, event) => format.event(out, event, *seq),
        Outcome::Amendment(added) => format.amendment(out, added, record),
    }
}
