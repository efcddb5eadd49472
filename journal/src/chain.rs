//! [`segment_end`]: where a segment that is no longer appended to ends, as the next one's header, its own footer or
//! what was pruned behind it says.

use crate::directory::{Directory, OpenSegment};
use crate::format::{SegmentHeader, SegmentName};
use crate::ranges::RangeSet;
use crate::storage::Access;
use crate::{Error, Seq};

/// Where a segment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentEnd {
    /// First offset that does not belong to it; the length of the file where nobody says.
    pub(crate) offset: u64,
    /// The seq behind its last record; frames from there on do not belong to it.
    pub(crate) seq: Seq,
    /// Digest of its content, where somebody says.
    pub(crate) digest: Option<[u8; 32]>,
    /// Somebody says that `seq` is really reached: less is a loss.
    pub(crate) certain: bool,
}

/// The end of `segment`, which has `successor` behind it. `pruned` is asked where no header and no footer tells.
pub(crate) fn segment_end(
    directory: &Directory,
    segment: &OpenSegment,
    successor: SegmentName,
    pruned: impl FnOnce() -> Result<RangeSet, Error>,
) -> Result<SegmentEnd, Error> {
    let next = directory.open_segment(successor, Access::Read)?.and_then(|next| next.header);
    let next = next.map(|read| read.header);
    let previous = next.as_ref().and_then(|header| header.previous);
    let told = previous.filter(|previous| previous.name == segment.name && !previous.unreadable);
    if let Some(previous) = told {
        return Ok(SegmentEnd {
            offset: previous.offset,
            seq: previous.seq,
            digest: Some(previous.digest),
            certain: true,
        });
    }
    let salt = segment.header.as_ref().map(|read| read.header.salt);
    if let Some(salt) = salt
        && let Some(footer) = segment.footer(salt)?
    {
        let (offset, seq) = (footer.end_offset, footer.end_seq);
        return Ok(SegmentEnd { offset, seq, digest: Some(footer.digest), certain: true });
    }
    // Its direct successor is gone. If that was pruned, it was from this segment's end on: what stands behind that end
    // was given up, or went to the successor and was pruned with it.
    let start = next.as_ref().map_or(successor.base, SegmentHeader::start_seq);
    let gone = pruned()?;
    let behind = gone.ranges().iter().find(|range| range.from <= start && start <= range.to);
    let (offset, digest) = (segment.len, None);
    Ok(match behind.filter(|range| range.from > segment.name.base) {
        Some(range) => SegmentEnd { offset, seq: range.from, digest, certain: true },
        None => SegmentEnd { offset, seq: successor.base, digest, certain: false },
    })
}
