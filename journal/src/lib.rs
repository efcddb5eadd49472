//! A checksummed, append-only journal: the only source of truth of a program that must not lose events.
//!
//! A journal is a sequence of records in segment files. Records are appended in atomic batches and read back in order. An
//! acknowledged record survives process crashes, power cuts, full disks and failed syncs. Disk corruption is distinguished
//! from a torn write, is reported by seq, and costs only the records that it hits. The journal never interprets a payload.
//!
//! ```
//! use lenslog_journal::{Entry, Journal, Kind, NewRecord, Options, Seq};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let journal = Journal::open(directory.path(), &Options::default())?;
//! let record = NewRecord::new(Kind(1), 1, b"21.5 degrees");
//! let seq = journal.append(&[record])?.seq(); // survives a power cut from here on
//!
//! let mut reader = journal.view().reader(Seq::FIRST, Default::default())?;
//! while let Some(entry) = reader.next()? {
//!     match entry {
//!         Entry::Record(record) => assert_eq!((record.seq, record.payload), (seq, &b"21.5 degrees"[..])),
//!         Entry::Lost(lost) => eprintln!("{lost}"),
//!     }
//! }
//! journal.close()?;
//! # Ok(())
//! # }
//! ```
//!
//! # Files
//!
//! ```text
//! DATA/IDENTITY                                       id of the journal, version of the layout
//! DATA/journal/00000000000000000042-2026-11-23.seg    a segment: first seq, day of creation
//! DATA/journal/00000000000000000042-2026-11-23.keys   the sorted keys of a sealed segment; derivable
//! DATA/journal/00000000000000000042-2026-11-23.tags   the kinds and tags of a sealed segment; derivable
//! DATA/journal/WITNESS                                the durability marker: how far the journal is durable
//! DATA/journal/spare                                  the next segment, preallocated
//!
//! segment   ┌ header ┬ header ┬───────┬───────┬───────────┬───────┬ ┈ zeros ┈ ┬ footer ┐
//!           │ block  │ copy   │ frame │ frame │ padding 0 │ frame │           │ sealed │
//!           └────────┴────────┴───────┴───────┴───────────┴───────┴ ┈┈┈┈┈┈┈┈┈ ┴────────┘
//!                                └ one sync ──┘ to 4 KiB   └ the next sync
//! frame     ┌ LFRM · header CRC · first seq · synced seq · length · records · body CRC · skipped ┬ record … ┐
//! record    ┌ length · kind · version · time · day · offset · flags ┬ key? ┬ tags? ┬ extensions? ┬ payload ┐
//! ```
//!
//! A frame is one batch. Both CRCs of a frame are seeded with the segment's random salt, the frame's offset and its first
//! seq. The header of each segment states where the previous one ends, for every reader and for good. That is how an
//! opening drops a torn tail without truncating it. `docs/FORMAT.md` defines every byte and the assumptions about media.
//!
//! # Properties
//!
//! * **P1** No acknowledged record is lost or altered by a process crash, power cut, full disk or failed sync.
//! * **P2** No record appears that was never appended. Records are ordered by seq. No batch appears in part.
//! * **P3** Any single damaged file, one bad sector, or a full disk still lets the journal open and report it.
//! * **P4** Opening reads the newest segment at most, whatever the length of the journal.
//! * **P5** Memory is bounded for every input; no bytes on disk cause a panic; [`limits`] lists every limit.
//! * **P6** One process writes, by a lock on the data directory; any number of processes read.
//!
//! # Modules
//!
//! An append: [`Journal`] → `writer/append.rs` (validate, assign seqs, encode) → `writer/commit.rs` (sync, acknowledge). An
//! opening: `open.rs` → `newest.rs` (which segment is the newest) → `recovery.rs` (where it ends) → `writer/rollover.rs`. A
//! reader: [`JournalView`] → `reader/` → `source.rs` (the readable end) → `chain.rs` (which files are segments).
//!
//! | module | task |
//! |---|---|
//! | `journal`, `options`, `error`, `limits` | the public handle, its options, errors and limits |
//! | `format/` | the bytes: headers, frames, records, footers, the durability marker |
//! | `writer/` | append, group commit, rollover, pruning |
//! | `open`, `recovery`, `plan`, `examine`, `salvage` | opening: examine the last segment, plan where writing continues |
//! | `newest`, `evidence`, `chain`, `link`, `segment_end`, `left_out` | which files are the journal, and where each segment ends |
//! | `view`, `source`, `reader/`, `watermark`, `entry` | reading, in this process, in another one or at rest |
//! | `walk`, `window`, `mapped`, `digest` | reading the frames of one file |
//! | `control`, `keys` | pruned ranges and gaps; idempotency keys |
//! | `query`, `index/`, `condition` | choosing records by kind and tags; indexes of them; appending under a condition |
//! | `directory`, `marker_file`, `storage/` | paths and files; the trait under everything; the simulated disk |
//! | `copy`, `repair` | backups; renaming misnamed segments, rewriting header copies |
//! | `seq`, `time`, `id_source`, `sync` | numbers, clocks, random ids, locks |

mod chain;
mod condition;
mod control;
mod copy;
mod digest;
mod directory;
mod entry;
mod error;
mod evidence;
mod examine;
mod format;
mod id_source;
mod index;
mod journal;
mod keys;
mod left_out;
pub mod limits;
mod link;
mod mapped;
mod marker_file;
mod newest;
mod open;
mod options;
mod plan;
mod query;
mod reader;
mod recovery;
mod repair;
mod salvage;
mod segment_end;
mod seq;
mod source;
pub mod storage;
mod sync;
mod time;
mod view;
mod walk;
mod watermark;
mod window;
mod writer;

pub use copy::{Copied, FileCopied, Unreadable, copy_file, finish_copy};
pub use entry::{Entry, FrameHint, LastRecord, LossCause, Lost, Notice, Position};
pub use error::Error;
pub use format::{
    ClockStepped, ControlRecord, Extensions, Gap, Key, Kind, NewRecord, OwnedRecord, PrunedDays,
    PrunedSegment, PrunedThrough, Record, Recovered, SegmentName, TagList, Tags,
};
pub use id_source::Random;
pub use journal::{Health, Journal};
pub use left_out::{LeftOut, Standing};
pub use mapped::Mapped;
pub use options::{OnSync, Options};
pub use plan::Opening;
pub use query::{AppendCondition, ExpectedRevision, Query, stream_tag};
pub use reader::{BackwardReader, Reader, ReaderOptions, Resume};
pub use repair::{Repair, repair};
pub use seq::{Seq, SeqRange};
#[cfg(any(test, feature = "simulation"))]
pub use time::SimulatedClock;
pub use time::{Clock, ClockReading, Day, ParseDayError, SystemClock, Timestamp};
pub use view::{JournalView, SealedInfo, SegmentInfo};
pub use writer::{Appended, JournalStats, Pruned, Unlinked};
