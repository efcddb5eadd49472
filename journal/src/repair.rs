//! [`repair`]: gives misnamed segments their name and rewrites damaged header copies. It touches no record.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::Error;
use crate::directory::{Directory, OpenSegment};
use crate::error::Context;
use crate::format::SegmentHeader;
use crate::left_out::ChainContext;
use crate::limits::BLOCK_BYTES;
use crate::storage::{Access, LockError, Storage, read_file, replace_file};
use crate::writer::move_aside;

/// One repair that was done, or would be.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Repair {
    /// The file.
    pub path: PathBuf,
    /// The action, for an operator.
    pub action: String,
}

/// Repairs the journal below `root`, or lists the repairs if `dry_run` is set.
///
/// A segment under another name gets its own; a damaged header copy is written again from the other one. Records are
/// neither changed nor moved; lost records stay lost. [`Journal::open`](crate::Journal::open) repairs the end of the
/// newest segment after a crash.
///
/// # Errors
///
/// [`Error::Locked`] if a process writes the journal; [`Error::Io`]; [`Error::Newer`].
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
    for link in &links {
        let Some(segment) = directory.open_segment(link.name, Access::Read)? else { continue };
        repair_header(&directory, &segment, dry_run, &mut repairs)?;
    }
    Ok(repairs)
}

/// Gives every segment of the journal under another name its own.
///
/// Survives a crash at any point: a file in the way is first moved aside, where the next run finds it.
fn rename_misnamed(
    directory: &Directory,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<ChainContext, Error> {
    loop {
        let context = ChainContext::find(directory)?;
        let mut renamed = false;
        for (path, header) in misnamed(directory, &context)? {
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
            return Ok(context);
        }
    }
}

/// The segments of the journal under another name, or moved aside.
fn misnamed(
    directory: &Directory,
    context: &ChainContext,
) -> Result<Vec<(PathBuf, SegmentHeader)>, Error> {
    let mut found = Vec::new();
    let others = context
        .names
        .iter()
        .filter(|name| context.links.binary_search_by_key(*name, |link| link.name).is_err());
    let paths = others.map(|name| directory.segment(*name)).chain(directory.moved_aside()?);
    for path in paths {
        let Some(header) = directory.header_at(&path) else { continue };
        let own = directory.segment(header.name);
        // A copy of the segment that is in its place already.
        let is_copy = directory.header_at(&own).is_some_and(|other| other.salt == header.salt);
        // If two segments have the same name, the one that a later header names gets it.
        let is_contested = directory.header_at(&own).is_some_and(|other| other.name == header.name)
            && !context.is_named(&header);
        if own != path && !is_copy && !is_contested && context.is_missing(directory, &header)? {
            found.push((path, header));
        }
    }
    Ok(found)
}

/// Writes damaged header copies again. A file that a copy made by hard links shares is replaced.
fn repair_header(
    directory: &Directory,
    segment: &OpenSegment,
    dry_run: bool,
    repairs: &mut Vec<Repair>,
) -> Result<(), Error> {
    let Ok(read) = &segment.header else { return Ok(()) };
    let path = &segment.path;
    for copy in &read.damaged_copies {
        let offset = copy * BLOCK_BYTES;
        let action = format!("header copy at offset {offset} rewritten from the other one");
        repairs.push(Repair { path: path.clone(), action });
    }
    if dry_run || read.damaged_copies.is_empty() {
        return Ok(());
    }
    let copies = read.header.encode();
    if segment.links > 1 {
        let mut bytes = read_file(&*directory.storage, path, usize::MAX).context("read", path)?;
        bytes.iter_mut().zip(copies).for_each(|(to, from)| *to = from);
        return replace_file(&*directory.storage, path, &bytes).context("write", path);
    }
    let file = directory.storage.open(path, Access::Write).context("open", path)?;
    for copy in &read.damaged_copies {
        let offset = copy * BLOCK_BYTES;
        let block = copies.get(..BLOCK_BYTES as usize).unwrap_or_default();
        file.write_at(block, offset).context("write", path)?;
    }
    file.sync().context("sync", path)
}
