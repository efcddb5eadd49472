//! [`repair`]: mends what can be mended without touching a record: header copies and padding.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::chain::segment_end;
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::format::FRAMES_OFFSET;
use crate::limits::BLOCK_BYTES;
use crate::ranges::RangeSet;
use crate::storage::{Access, LockError, Storage};
use crate::walk::FrameWalk;
use crate::window::Window;

/// Something that was mended, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// What is done to it.
    pub action: String,
}

/// Mends the journal below `root`: a damaged header copy is written again from the other one, damaged padding is
/// zeroed. Records are neither changed nor moved; lost ones stay lost. With `dry_run` it only tells. The newest segment's
/// end, and what a crash left, are for [`Journal::open`](crate::Journal::open) to judge.
///
/// # Errors
///
/// [`Error::Locked`] where somebody writes; [`Error::Io`]; [`Error::Newer`].
pub fn repair(
    root: &Path,
    storage: &Arc<dyn Storage>,
    dry_run: bool,
) -> Result<Vec<Repair>, Error> {
    let directory = Directory::new(Arc::clone(storage), root);
    let _lock = match storage.lock(root) {
        Ok(lock) => lock,
        Err(LockError::Held { holder }) => {
            return Err(Error::Locked { path: root.to_owned(), holder });
        }
        Err(LockError::Io(error)) => return Err(error).context("lock", root),
    };
    directory.check_layout()?;
    let mut repairs = Vec::new();
    let names = directory.segments()?;
    let access = if dry_run { Access::Read } else { Access::Write };
    for (index, &name) in names.iter().enumerate() {
        let Some(segment) = directory.open_segment(name, access)? else { continue };
        mend_header(&segment, dry_run, &mut repairs)?;
        // What stands behind the end of the newest segment is for an opening to judge.
        if let Some(&successor) = names.get(index + 1) {
            let end = segment_end(&directory, &segment, successor, || Ok(RangeSet::default()))?;
            if end.certain {
                mend_padding(&segment, end.offset, dry_run, &mut repairs)?;
            }
        }
    }
    Ok(repairs)
}

fn mend_header(
    segment: &OpenSegment,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<(), Error> {
    let Some(read) = &segment.header else { return Ok(()) };
    for copy in &read.damaged_copies {
        let offset = copy * BLOCK_BYTES;
        if !dry_run {
            let copies = read.header.encode();
            let block = copies.get(..BLOCK_BYTES as usize).unwrap_or_default();
            segment.file.write_at(block, offset).context("write", &segment.path)?;
            segment.file.sync().context("sync", &segment.path)?;
        }
        let action = format!("the header copy at offset {offset} is written again from the other");
        repairs.push(Repair { path: segment.path.clone(), action });
    }
    Ok(())
}

fn mend_padding(
    segment: &OpenSegment,
    end: u64,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<(), Error> {
    let Some(read) = &segment.header else { return Ok(()) };
    let mut window = Window::new(segment.path.clone(), Arc::clone(&segment.file), end);
    let mut walk = FrameWalk::new(read.header.salt, FRAMES_OFFSET, read.header.start_seq());
    while let Some(found) = walk.next(&mut window)? {
        let Some(hole) = found.hole.filter(|hole| hole.lost.is_empty()) else { continue };
        let len = found.offset - hole.offset;
        if !dry_run {
            let zeros = vec![0; len as usize];
            segment.file.write_at(&zeros, hole.offset).context("write", &segment.path)?;
            segment.file.sync().context("sync", &segment.path)?;
        }
        let action = format!("{len} bytes of padding at offset {} are zeroed", hole.offset);
        repairs.push(Repair { path: segment.path.clone(), action });
    }
    Ok(())
}
