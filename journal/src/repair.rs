//! [`repair`]: repairs what can be repaired without touching a record: names, header copies and padding.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::format::{FRAMES_OFFSET, SegmentHeader};
use crate::left_out::Surroundings;
use crate::limits::BLOCK_BYTES;
use crate::ranges::RangeSet;
use crate::segment_end::segment_end;
use crate::storage::{Access, LockError, Storage, read_file, replace_file};
use crate::walk::FrameWalk;
use crate::window::Window;
use crate::writer::move_aside;

/// Something that was mended, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// What is done to it.
    pub action: String,
}

/// Repairs the journal below `root`: a segment under another name gets its own, a damaged header copy is written again
/// from the other one, damaged padding is zeroed. Records are neither changed nor moved; lost ones stay lost. With `dry_run` it only tells. The newest segment's
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
    let links = rename_misnamed(&directory, dry_run, &mut repairs)?.links;
    for (index, link) in links.iter().enumerate() {
        let Some(segment) = directory.open_segment(link.name, Access::Read)? else { continue };
        // What stands behind the end of the newest segment is for an opening to judge.
        let end = match links.get(index + 1) {
            Some(successor) => Some(segment_end(&segment, successor, || Ok(RangeSet::default()))?),
            None => None,
        };
        let limit = end.filter(|end| end.certain).map(|end| end.offset);
        mend_blocks(&directory, &segment, limit, dry_run, &mut repairs)?;
    }
    Ok(repairs)
}

/// Gives every segment of the journal that bears another name its own.
///
/// Survives a crash anywhere: a file that is in the way is first moved aside, where the next run finds it.
fn rename_misnamed(
    directory: &Directory,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<Surroundings, Error> {
    loop {
        let surroundings = Surroundings::find(directory)?;
        let mut renamed = false;
        for (path, header) in misnamed(directory, &surroundings)? {
            let to = directory.segment(header.name);
            let action = format!("renamed to {}, as its header says", header.name.file_name());
            repairs.push(Repair { path: path.clone(), action });
            if dry_run {
                continue;
            }
            let journal = &directory.journal;
            if directory.storage.stat(&to).is_ok() {
                move_aside(directory, &to).context("rename", &to)?;
                directory.storage.sync_directory(journal).context("sync", journal)?;
            }
            directory.storage.rename_new(&path, &to).context("rename", &path)?;
            directory.storage.sync_directory(journal).context("sync", journal)?;
            renamed = true;
            break;
        }
        if !renamed {
            return Ok(surroundings);
        }
    }
}

/// The files that are segments of the journal and bear another name, or were moved aside.
fn misnamed(
    directory: &Directory,
    surroundings: &Surroundings,
) -> Result<Vec<(PathBuf, SegmentHeader)>, Error> {
    let mut found = Vec::new();
    let others = surroundings
        .names
        .iter()
        .filter(|name| surroundings.links.binary_search_by_key(*name, |link| link.name).is_err());
    let paths = others.map(|name| directory.segment(*name)).chain(directory.moved_aside()?);
    for path in paths {
        let Some(header) = directory.header_at(&path) else { continue };
        let own = directory.segment(header.name);
        // A copy of what is in its place already changes nothing there.
        let is_copy = directory.header_at(&own).is_some_and(|other| other.salt == header.salt);
        // Of two that contest a name, only one that a later header names takes it.
        let is_contested = directory.header_at(&own).is_some_and(|other| other.name == header.name)
            && !surroundings.is_named(&header);
        if own != path
            && !is_copy
            && !is_contested
            && surroundings.is_missing(directory, &header)?
        {
            found.push((path, header));
        }
    }
    Ok(found)
}

/// Writes damaged header copies and damaged padding again. A file that a copy made by hard links shares is replaced.
fn mend_blocks(
    directory: &Directory,
    segment: &OpenSegment,
    limit: Option<u64>,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<(), Error> {
    let mut writes: Vec<(u64, Vec<u8>)> = Vec::new();
    let first = repairs.len();
    mend_header(segment, &mut writes, repairs);
    if let Some(limit) = limit {
        mend_padding(segment, limit, &mut writes, repairs)?;
    }
    if dry_run || repairs.len() == first {
        return Ok(());
    }
    let path = &segment.path;
    if segment.links > 1 {
        let mut bytes = read_file(&*directory.storage, path, usize::MAX).context("read", path)?;
        for (offset, replacement) in &writes {
            let target = bytes.get_mut(*offset as usize..).unwrap_or_default();
            target.iter_mut().zip(replacement).for_each(|(to, from)| *to = *from);
        }
        return replace_file(&*directory.storage, path, &bytes).context("write", path);
    }
    let file = directory.storage.open(path, Access::Write).context("open", path)?;
    for (offset, bytes) in &writes {
        file.write_at(bytes, *offset).context("write", path)?;
    }
    file.sync().context("sync", path)
}

fn mend_header(segment: &OpenSegment, writes: &mut Vec<(u64, Vec<u8>)>, repairs: &mut Vec<Repair>) {
    let Ok(read) = &segment.header else { return };
    for copy in &read.damaged_copies {
        let offset = copy * BLOCK_BYTES;
        let copies = read.header.encode();
        let block = copies.get(..BLOCK_BYTES as usize).unwrap_or_default();
        writes.push((offset, block.to_vec()));
        let action = format!("the header copy at offset {offset} is written again from the other");
        repairs.push(Repair { path: segment.path.clone(), action });
    }
}

fn mend_padding(
    segment: &OpenSegment,
    end: u64,
    writes: &mut Vec<(u64, Vec<u8>)>,
    repairs: &mut Vec<Repair>,
) -> Result<(), Error> {
    let Ok(read) = &segment.header else { return Ok(()) };
    let mut window = Window::new(segment.path.clone(), Arc::clone(&segment.file), end);
    let mut walk = FrameWalk::new(read.header.salt, FRAMES_OFFSET, read.header.start_seq());
    while let Some(found) = walk.next(&mut window)? {
        let Some(hole) = found.hole.filter(|hole| hole.lost.is_empty()) else { continue };
        let len = found.offset - hole.offset;
        writes.push((hole.offset, vec![0; len as usize]));
        let action = format!("{len} bytes of padding at offset {} are zeroed", hole.offset);
        repairs.push(Repair { path: segment.path.clone(), action });
    }
    Ok(())
}
