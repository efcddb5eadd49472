//! A checksummed, append-only journal: the only source of truth of a program that must not forget.
//!
//! Records are appended in atomic batches and read back in order. What was acknowledged survives process crashes,
//! power cuts, full disks and failed syncs; what the medium damages all the same is told apart from what a power cut
//! tore, is named by its seqs, and costs nothing but itself. Nothing here knows what the records mean.
//!
//! ```
//! use lenslog_journal::{Entry, Journal, Kind, NewRecord, Options, Seq};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let directory = tempfile::tempdir()?;
//! let journal = Journal::open(directory.path(), &Options::default())?;
//! let record = NewRecord { kind: Kind(1), version: 1, day: None, key: None, payload: b"21.5 degrees" };
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
//! # On disk
//!
//! ```text
//! segment   ┌ header ┬ header ┬───────┬───────┬───────────┬───────┬ ┈ zeros ┈ ┬ footer ┐
//!           │ block  │ again  │ frame │ frame │ padding 0 │ frame │           │ sealed │
//!           └────────┴────────┴───────┴───────┴───────────┴───────┴ ┈┈┈┈┈┈┈┈┈ ┴────────┘
//!                                └ one sync ──┘ to 4 KiB   └ the next sync
//! frame     ┌ LFRM · header CRC · first seq · synced seq · length · records · body CRC · skipped ┬ record … ┐
//! record    ┌ length · kind · version · time · day · offset · flags ┬ key? ┬ payload ┐
//! ```
//!
//! Both CRCs of a frame are seeded with the segment's random salt, the frame's offset and its first seq. The header of
//! each segment says where the one before it ends, for every reader and for ever: that is how an opening gives up a
//! torn tail without truncating it. `docs/FORMAT.md` gives every byte and the assumptions about media.
//!
//! # Properties
//!
//! * **P1** No acknowledged record is lost or altered by a process crash, power cut, full disk or failed sync.
//! * **P2** Nothing that was never appended appears. Order is by seq. No half batch.
//! * **P3** Any single damaged file, one bad sector, or a full disk still lets the journal open and say so.
//! * **P4** Opening reads the newest segment at most, however long the journal.
//! * **P5** Memory is bounded whatever the input; no bytes on disk make it panic; [`limits`] has every limit.
//! * **P6** One process writes, by a lock on the data directory; any number read.
//!
//! # Where things are
//!
//! | | |
//! |---|---|
//! | [`Journal`] | appends, prunes, tells its health |
//! | [`JournalView`], [`Reader`] | read, in this process or another one |
//! | [`storage`] | the trait under everything, the operating system's files, the simulated disk |
//! | [`Clock`] | the only source of time |

mod carried;
mod chain;
mod copy;
mod digest;
mod directory;
mod entropy;
mod entry;
mod error;
mod examine;
mod format;
mod journal;
mod keys;
mod ledger;
mod left_out;
pub mod limits;
mod lost;
mod mapped;
mod newest;
mod notable;
mod open;
mod options;
mod random;
mod ranges;
mod reader;
mod repair;
mod segment_end;
mod seq;
mod sizes;
mod stats;
pub mod storage;
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
    ClockStepped, Gap, Key, Kind, NewRecord, PrunedSegment, PrunedThrough, Record, Recovered,
    SegmentName, SystemRecord,
};
pub use journal::{Health, Journal};
pub use left_out::{LeftOut, Standing};
pub use mapped::Mapped;
pub use open::Opening;
pub use options::{OnSync, Options};
pub use random::Random;
pub use reader::{Reader, ReaderOptions, Resume};
pub use repair::{Repair, repair};
pub use seq::{Seq, SeqRange};
pub use stats::JournalStats;
pub use time::{Clock, ClockReading, Day, ParseDayError, SimulatedClock, SystemClock, Timestamp};
pub use view::{JournalView, SealedInfo, SegmentInfo};
pub use writer::{Appended, Pruned, Unlinked};
