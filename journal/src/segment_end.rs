//! [`segment_end`]: the end of a segment that is no longer appended to.
//!
//! The header of the next segment decides; without it the footer; without it the pruned ranges.

use crate::chain::Link;
use crate::directory::OpenSegment;
use crate::seq::RangeSet;
use crate::{Error, Seq};

/// The end of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// First offset that does not belong to it; the length of the file if unknown.
    pub(crate) offset: u64,
    /// The seq after its last record; later frames do not belong to it.
    pub(crate) seq: Seq,
    /// Digest of its content, from a header or footer.
    pub(crate) digest: Option<[u8; 32]>,
    /// A header, a footer or a pruned range proves that it reached `seq`: fewer records are a loss.
    pub(crate) certain: bool,
}

/// The end of `segment`, which comes before `successor`. `pruned` is called if no header and no footer decides.
///
/// It never reaches past the first seq of its successor, nor of a missing segment that the successor names.
pub(crate) fn segment_end(
    segment: &OpenSegment,
    successor: &Link,
    pruned: impl FnOnce() -> Result<RangeSet, Error>,
) -> Result<SegmentEnd, Error> {
    let end = uncut_end(segment, successor, pruned)?;
    let between = successor
        .previous
        .filter(|previous| previous.name != segment.name && previous.name.base > segment.name.base);
    let next = between.map_or(successor.name.base, |previous| previous.name.base);
    Ok(if next < end.seq { SegmentEnd { seq: next, digest: None, ..end } } else { end })
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
    // Its direct successor is gone. If that was pruned, the pruned range begins at the end of this segment: later frames
    // were dropped, or were written to the successor and pruned with it.
    let start = successor.start;
    let gone = pruned()?;
    let after = gone.ranges().iter().find(|range| range.from <= start && start <= range.to);
    let (offset, digest) = (segment.len, None);
    Ok(match after.filter(|range| range.from > segment.name.base) {
        Some(range) => SegmentEnd { offset, seq: range.from, digest, certain: true },
        None => SegmentEnd { offset, seq: successor.name.base, digest, certain: false },
    })
}
