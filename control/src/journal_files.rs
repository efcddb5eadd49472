//! What is wrong with the files of a journal, one line each: for the status and the health check.

use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use lenslog_journal::storage::{Access, Storage};
use lenslog_journal::{Error, JournalView, LeftOut, SegmentInfo};

use crate::status::JournalStatus;

/// Files that are named; the rest are counted.
pub const FILES_NAMED_MAX: usize = 8;

/// A file that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstructed {
    /// The file.
    pub path: PathBuf,
    /// What the operating system said.
    pub reason: String,
}

impl fmt::Display for Obstructed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, reason } = self;
        write!(
            formatter,
            "{}: {reason}; move away what is there, or give it to the user who runs the recorder",
            path.display()
        )
    }
}

/// The files beside the segments that something else is in the place of, or that cannot be read.
#[must_use]
pub fn obstructed(data: &Path, storage: &dyn Storage) -> Vec<Obstructed> {
    let paths = [data.join("IDENTITY"), data.join("journal").join("WITNESS")];
    paths.into_iter().filter_map(|path| obstruction(storage, path)).collect()
}

/// What is wrong with the files of a journal that was opened.
#[must_use]
pub fn obstructed_lines(view: &JournalView, segments: &[SegmentInfo]) -> Vec<String> {
    let storage = &**view.storage();
    let mut found = obstructed(view.root(), storage);
    let journal = view.root().join("journal");
    // A segment that cannot be opened has no length.
    let unopened = segments.iter().filter(|segment| segment.bytes == 0);
    let unopened = unopened.map(|segment| journal.join(segment.name.file_name()));
    found.extend(unopened.filter_map(|path| obstruction(storage, path)));
    at_most(found.iter().map(ToString::to_string).collect())
}

fn obstruction(storage: &dyn Storage, path: PathBuf) -> Option<Obstructed> {
    let error = storage.open(&path, Access::Read).err()?;
    let reason = error.to_string();
    (error.kind() != ErrorKind::NotFound).then_some(Obstructed { path, reason })
}

/// The status of a journal that a reader can determine.
///
/// # Errors
///
/// The errors of reading the journal.
pub fn journal_status(view: &JournalView) -> Result<JournalStatus, Error> {
    let segments = view.segments()?;
    Ok(JournalStatus {
        floor: view.floor()?.0,
        next: view.head()?.0,
        segments: segments.len() as u64,
        bytes: segments.iter().map(|segment| segment.bytes).sum(),
        gaps: view.gaps()?.iter().map(ToString::to_string).collect(),
        suspended: None,
        waiting: 0,
        files: obstructed_lines(view, &segments),
        syncs: None,
    })
}

/// The files in `journal/` that are no part of the journal.
///
/// Cost: reads the header of each segment.
///
/// # Errors
///
/// Those of [`JournalView::left_out`].
pub fn left_out(view: &JournalView) -> Result<Vec<LeftOut>, Error> {
    let mut found = view.left_out()?;
    if !found.is_empty() {
        // A segment that is begun or deleted meanwhile is not found twice.
        let again = view.left_out()?;
        found.retain(|file| again.contains(file));
    }
    Ok(found)
}

/// Files that are no part of the journal and still there, with what to do about each.
#[must_use]
pub fn left_out_lines(files: &[LeftOut]) -> Vec<String> {
    let is_there = |path: &PathBuf| path.symlink_metadata().is_ok();
    let there = files.iter().filter(|file| is_there(&file.path));
    at_most(there.map(ToString::to_string).collect())
}

fn at_most(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(FILES_NAMED_MAX);
    if more > 0 {
        lines.truncate(FILES_NAMED_MAX);
        lines.push(format!("journal/: {more} more files like these; `replay verify` names each"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_past_the_limit_are_counted() {
        let lines = |count: usize| (0..count).map(|number| number.to_string()).collect::<Vec<_>>();
        assert_eq!(at_most(lines(FILES_NAMED_MAX)), lines(FILES_NAMED_MAX));
        let named = at_most(lines(FILES_NAMED_MAX + 2));
        assert_eq!(named[..FILES_NAMED_MAX], lines(FILES_NAMED_MAX));
        assert_eq!(
            named[FILES_NAMED_MAX..],
            ["journal/: 2 more files like these; `replay verify` names each"]
        );
    }
}
