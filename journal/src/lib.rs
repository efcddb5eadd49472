//! The journal.

mod carried;
mod chain;
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
pub mod limits;
mod mapped;
mod notable;
mod open;
mod options;
mod random;
mod ranges;
mod reader;
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

pub use entry::{Entry, FrameHint, LastRecord, LossCause, Lost, Notice, Position};
pub use error::Error;
pub use format::{
    ClockStepped, Gap, Key, Kind, NewRecord, PrunedSegment, PrunedThrough, Record, Recovered,
    SegmentName, SystemRecord,
};
pub use journal::{Health, Journal};
pub use mapped::Mapped;
pub use open::Opening;
pub use options::Options;
pub use random::Random;
pub use reader::{Reader, ReaderOptions, Resume};
pub use seq::{Seq, SeqRange};
pub use stats::JournalStats;
pub use time::{Clock, ClockReading, Day, ParseDayError, SimulatedClock, SystemClock, Timestamp};
pub use view::{JournalView, SealedInfo, SegmentInfo};
pub use writer::{Appended, Pruned, Unlinked};
