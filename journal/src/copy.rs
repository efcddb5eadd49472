//! Copies a journal, beside the process that writes it, to a place where nothing is yet.

use std::path::Path;

use crate::directory::Directory;
use crate::error::Context;
use crate::format::SegmentName;
use crate::open::make_directories;
use crate::storage::{Access, EntryKind, read_full};
use crate::view::JournalView;
use crate::{Error, Journal, Options, Seq};

/// Bytes copied at once.
const CHUNK_BYTES: usize = 1 << 20;
/// Times a copy begins again because segments were pruned under it.
const ATTEMPTS_MAX: usize = 3;

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// Number of segments.
    pub segments: u64,
    /// Bytes of their content.
    pub bytes: u64,
    /// The seq behind the last record copied.
    pub end: Seq,
}

impl JournalView {
    /// Copies everything that is durable now into the data directory `target`, which must be empty or not exist, and
    /// closes the copy cleanly. The copy is a new incarnation of the same journal: what is appended to it is told
    /// apart from what the original goes on with.
    ///
    /// `progress` hears of bytes copied. Nothing of the original is locked or changed.
    ///
    /// # Errors
    ///
    /// [`Error::Unexpected`] where something is at `target` already; [`Error::Io`].
    pub fn copy_to(&self, target: &Path, progress: &mut dyn FnMut(u64)) -> Result<Copied, Error> {
        let copy = Directory::new(self.storage().clone(), target);
        ensure_empty(&copy)?;
        let mut attempt = 1;
        let copied = loop {
            match self.copy_segments(&copy, attempt < ATTEMPTS_MAX, progress) {
                Err(Error::Pruned { .. }) if attempt < ATTEMPTS_MAX => attempt += 1,
                result => break result?,
            }
        };
        let options = Options {
            storage: self.storage().clone(),
            new_incarnation: true,
            ..Options::default()
        };
        Journal::open(target, &options)?.close()?;
        Ok(copied)
    }

    fn copy_segments(
        &self,
        copy: &Directory,
        is_patient: bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Copied, Error> {
        // The end first: everything before it is in segments that exist now, but for those pruned just then.
        let head = self.readable_end()?.durable;
        let names: Vec<_> = self.links()?.iter().map(|link| link.name).collect();
        if let Some((active, _)) = head.segment
            && is_patient
            && !names.contains(&active)
        {
            return Err(Error::Pruned { floor: self.floor()? });
        }
        let storage = &*copy.storage;
        make_directories(copy)?;
        for old in copy.segments()? {
            let path = copy.segment(old);
            storage.remove(&path).context("remove", &path)?;
        }
        let mut copied = Copied { segments: 0, bytes: 0, end: head.seq };
        for &name in &names {
            let limit = match head.segment {
                Some((active, _)) if name == active => Some(head.offset),
                Some((active, _)) if name > active => break,
                _ => None,
            };
            copied.bytes += self.copy_segment(copy, name, limit, progress)?;
            copied.segments += 1;
        }
        storage.sync_directory(&copy.journal).context("sync", &copy.journal)?;
        Ok(copied)
    }

    fn copy_segment(
        &self,
        copy: &Directory,
        name: SegmentName,
        limit: Option<u64>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<u64, Error> {
        let (from_path, to_path) = (self.directory().segment(name), copy.segment(name));
        let Some(segment) = self.directory().open_segment(name, Access::Read)? else {
            return Err(Error::Pruned { floor: self.floor()? });
        };
        let target = copy.storage.open(&to_path, Access::Truncate).context("create", &to_path)?;
        let len = limit.unwrap_or(segment.len).min(segment.len);
        let mut buffer = vec![0; CHUNK_BYTES];
        let mut at = 0;
        while at < len {
            let wanted = (len - at).min(CHUNK_BYTES as u64) as usize;
            let Some(chunk) = buffer.get_mut(..wanted) else { break };
            let count = read_full(&*segment.file, chunk, at).context("read", &from_path)?;
            let Some(chunk) = buffer.get(..count).filter(|chunk| !chunk.is_empty()) else { break };
            target.write_at(chunk, at).context("write", &to_path)?;
            at += count as u64;
            progress(count as u64);
        }
        target.sync().context("sync", &to_path)?;
        Ok(at)
    }
}

fn ensure_empty(target: &Directory) -> Result<(), Error> {
    let storage = &*target.storage;
    let found = match storage.stat(&target.root) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error).context("use", &target.root),
        Ok(stat) if stat.kind == EntryKind::File => "a file".to_owned(),
        Ok(_) => match storage.list(&target.root).context("list", &target.root)?.len() {
            0 => return Ok(()),
            count => format!("a directory with {count} entries"),
        },
    };
    let expected = "a directory that is empty or does not exist yet";
    Err(Error::Unexpected { path: target.root.clone(), found, expected })
}
