//! [`segment_end`]: where a segment that is no longer appended to ends, as the next one's header or its own footer
//! says.

use crate::directory::{Directory, OpenSegment};
use crate::format::SegmentName;
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

/// The end of `segment`, which has `successor` behind it.
pub(crate) fn segment_end(
    directory: &Directory,
    segment: &OpenSegment,
    successor: SegmentName,
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
    Ok(SegmentEnd { offset: segment.len, seq: successor.base, digest: None, certain: false })
}
