//! Gives preallocated space back that a segment was left with when it ended without being sealed.
//!
//! Only zeros at the end of a file go, and only of a segment that has two successors: an opening never cuts what it
//! has just examined, and whatever a crash or a failing medium left there stays as evidence.

use std::io;

use crate::directory::{Directory, OpenSegment};
use crate::format::{Footer, PreviousEnd};
use crate::limits::BLOCK_BYTES;
use crate::storage::{Access, StorageFile, read_full};

const CHUNK_BYTES: u64 = 64 << 10;

/// Trims the segment before the one that `previous` names.
pub(super) fn trim_before(directory: &Directory, previous: &PreviousEnd) {
    let Ok(Some(segment)) = directory.open_segment(previous.name, Access::Read) else { return };
    let Some(end) = segment.header.ok().and_then(|read| read.header.previous) else { return };
    if let Err(error) = trim(directory, &end) {
        let segment = end.name.file_name();
        tracing::debug!(segment, %error, "preallocated space is not given back");
    }
}

fn trim(directory: &Directory, end: &PreviousEnd) -> io::Result<()> {
    let segment = directory.open_segment(end.name, Access::Write).map_err(io::Error::other)?;
    // Another file may have its name, and what a copy shares is left as it is.
    let is_own = |segment: &OpenSegment| {
        let is_of = segment.header.as_ref().is_ok_and(|read| read.header.salt == end.salt);
        is_of && segment.links == 1
    };
    let Some(OpenSegment { file, len, .. }) = segment.filter(is_own) else { return Ok(()) };
    // Sealed ones have nothing behind their footer.
    let least = if end.unreadable { len } else { Footer::offset_for(end.offset) };
    if len <= least {
        return Ok(());
    }
    let written_to = written_to(&*file, least, len)?;
    let wanted = written_to.next_multiple_of(BLOCK_BYTES).max(least);
    if wanted < len {
        file.set_len(wanted)?;
        // Nobody comes back to this segment: what a power cut took back would stay for ever.
        file.sync()?;
    }
    Ok(())
}

/// The first offset from `from` on behind which everything up to `to` is zero.
fn written_to(file: &dyn StorageFile, from: u64, to: u64) -> io::Result<u64> {
    let mut buffer = vec![0; CHUNK_BYTES as usize];
    let mut end = to;
    while end > from {
        let start = end.saturating_sub(CHUNK_BYTES).max(from);
        let Some(chunk) = buffer.get_mut(..(end - start) as usize) else { break };
        let count = read_full(file, chunk, start)?;
        let written = chunk.iter().take(count).rposition(|byte| *byte != 0);
        if let Some(last) = written {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(from)
}
