//! [`segment_end`]: where a segment that is no longer appended to ends, as the next one's header, its own footer or
//! what was pruned behind it says.

use crate::chain::Link;
use crate::directory::OpenSegment;
use crate::ranges::RangeSet;
use crate::{Error, Seq};

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// First offset that does not belong to it; the length of the file where nothing says.
    pub(crate) offset: u64,
    /// The seq behind its last record; frames from there on do not belong to it.
    pub(crate) seq: Seq,
    /// Digest of its content, where a header or footer says.
    pub(crate) digest: Option<[u8; 32]>,
    /// A header, a footer or a pruned range says that `seq` is really reached: less is a loss.
    pub(crate) certain: bool,
}

/// The end of `segment`, which comes before `successor`. `pruned` is asked where no header and no footer says.
///
/// Where the successor names another segment before it, which is gone, that one's first seq is the last that this one
/// may reach.
pub(crate) fn segment_end(
    segment: &OpenSegment,
    successor: &Link,
    pruned: impl FnOnce() -> Result<RangeSet, Error>,
) -> Result<SegmentEnd, Error> {
    let end = uncut_end(segment, successor, pruned)?;
    let between = successor
        .previous
        .filter(|previous| previous.name != segment.name && previous.name.base > segment.name.base);
    match between.filter(|previous| previous.name.base < end.seq) {
        Some(previous) => Ok(SegmentEnd { seq: previous.name.base, digest: None, ..end }),
        None => Ok(end),
    }
}

fn uncut_end(
    segment: &OpenSegment,
    successor: &Link,
    pruned: impl FnOnce() -> Result<RangeSet, Error>,
) -> Result<SegmentEnd, Error> {
    if let Some(previous) = successor.previous_end_of(segment) {
        return Ok(SegmentEnd {
            offset: previous.offset,
            seq: previous.seq,
            digest: Some(previous.digest),
            certain: true,
        });
    }
    let salt = segment.header.as_ref().map(|read| read.header.salt);
    if let Ok(salt) = salt
        && let Some(footer) = segment.footer(salt)?
    {
        let (offset, seq) = (footer.end_offset, footer.end_seq);
        return Ok(SegmentEnd { offset, seq, digest: Some(footer.digest), certain: true });
    }
    // Its direct successor is gone. If that was pruned, it was from this segment's end on: what stands behind that end
    // was given up, or went to the successor and was pruned with it.
    let start = successor.start;
    let gone = pruned()?;
    let behind = gone.ranges().iter().find(|range| range.from <= start && start <= range.to);
    let (offset, digest) = (segment.len, None);
    Ok(match behind.filter(|range| range.from > segment.name.base) {
        Some(range) => SegmentEnd { offset, seq: range.from, digest, certain: true },
        None => SegmentEnd { offset, seq: successor.name.base, digest, certain: false },
    })
}
