//! The results of a reader ([`Entry`], [`Lost`], [`Notice`]) and its [`Position`].

use crate::format::{Record, SegmentName};
use crate::{Seq, SeqRange};

/// The next result of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record(Record<'a>),
    /// Records that are lost.
    Lost(Lost),
}

/// Acknowledged records that the medium lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Their seqs.
    pub range: SeqRange,
    /// The segment that held them.
    pub segment: SegmentName,
    /// Where in it the damage begins.
    pub offset: u64,
    /// The cause of the loss.
    pub cause: LossCause,
}

/// Why records are lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// Their bytes are damaged.
    Damaged,
    /// The segment is missing, and no tombstone names it.
    SegmentMissing,
    /// Both copies of the segment's header are damaged: nothing in it can be verified.
    HeaderDamaged,
    /// The file may not be opened, or another kind of file is in its place. The records may still be in it.
    Unopenable,
}

impl std::fmt::Display for Lost {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let what = match self.cause {
            LossCause::Damaged => "damaged",
            LossCause::SegmentMissing => "the segment is missing",
            LossCause::HeaderDamaged => "both copies of the header are damaged",
            LossCause::Unopenable => "the file cannot be opened",
        };
        let (segment, offset) = (self.segment.file_name(), self.offset);
        write!(formatter, "{segment} offset {offset}: {what}, seq {} lost", self.range)
    }
}

/// Damage that lost nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Bytes between frames are not zero.
    PaddingDamaged {
        /// The segment.
        segment: SegmentName,
        /// Where the padding begins.
        offset: u64,
    },
    /// One copy of a header is damaged; the other one is used.
    HeaderCopyDamaged {
        /// The segment.
        segment: SegmentName,
        /// Offset of the damaged copy.
        offset: u64,
    },
    /// Every frame is valid, but the digest of the content differs.
    DigestDiffers {
        /// The segment.
        segment: SegmentName,
    },
}

impl std::fmt::Display for Notice {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::PaddingDamaged { segment, offset } => {
                let segment = segment.file_name();
                write!(formatter, "{segment} offset {offset}: padding is damaged, nothing is lost")
            }
            Self::HeaderCopyDamaged { segment, offset } => write!(
                formatter,
                "{} offset {offset}: one copy of the header is damaged, nothing is lost",
                segment.file_name()
            ),
            Self::DigestDiffers { segment } => write!(
                formatter,
                "{}: the content's digest differs though every frame is valid",
                segment.file_name()
            ),
        }
    }
}

/// A place between two records, from which a reader can resume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Seq of the record to be read next.
    pub next: Seq,
    /// The record before it, if one was read.
    pub last: Option<LastRecord>,
}

impl Position {
    /// The beginning.
    pub const START: Self = Self { next: Seq::FIRST, last: None };
}

/// The last record before a [`Position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastRecord {
    /// Its seq.
    pub seq: Seq,
    /// Digest of everything in it; see [`Record::digest`].
    pub digest: [u8; 16],
    /// The place of its frame: a hint that saves a search.
    pub hint: FrameHint,
}

/// The place of a frame when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHint {
    /// Its segment.
    pub segment: SegmentName,
    /// Its offset.
    pub offset: u64,
}
