//! What a reader comes upon ([`Entry`], [`Lost`], [`Notice`]) and where it stands ([`Position`]).

use crate::format::{Record, SegmentName};
use crate::{Seq, SeqRange};

/// What a reader comes upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A record.
    Record(Record<'a>),
    /// Records that are gone.
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
    /// What happened to them.
    pub cause: LossCause,
}

/// How records came to be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LossCause {
    /// Their bytes are not what was written.
    Damaged,
    /// The segment is not there, and no tombstone names it.
    SegmentMissing,
    /// Neither copy of the segment's header is right, so that nothing in it can be verified.
    HeaderDamaged,
    /// The file may not be opened, or something else is in its place. The records may still be in it.
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
    /// One copy of a header is damaged, the other one serves.
    HeaderCopyDamaged {
        /// The segment.
        segment: SegmentName,
        /// Where the damaged copy stands.
        offset: u64,
    },
    /// Every frame is valid, but together they are not what the digest says.
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

/// A place between two records, to be remembered and returned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// Seq of the record to be read next.
    pub next: Seq,
    /// The record before it, where one was read.
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
    /// Where its frame stood: a hint that spares searching.
    pub hint: FrameHint,
}

/// Where a frame stood when it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHint {
    /// Its segment.
    pub segment: SegmentName,
    /// Its offset.
    pub offset: u64,
}
