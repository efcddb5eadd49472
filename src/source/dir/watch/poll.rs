//! Reading folders again and again, where the kernel does not report what others write.

use std::fs::{self, Metadata};
use std::path::Path;
use std::time::Instant;

use super::super::arrivals::Arrivals;
use super::super::refuse_name;
use super::super::walk::{SLACK_MICROS, changed_utc_micros};
use super::{FolderWatch, changed_ns};
use crate::source::SourceError;

/// A folder with fewer entries is read at every poll, also where it seems unchanged: files are written over.
const SMALL_FOLDER: usize = 256;
/// How often a folder that has changed is read once more: the clock of its file system may be coarse.
const POLL_AGAIN: u8 = 3;

impl FolderWatch {
    /// Reads the folders in which something happened last, and the files that are on their way.
    pub(super) fn poll(&mut self, arrivals: &mut Arrivals) -> Result<(), SourceError> {
        self.check_folder()?;
        if !self.known.is_complete {
            return Ok(());
        }
        for path in arrivals.paths() {
            self.poll_file(&path, arrivals);
        }
        for folder in self.attended.paths() {
            if self.cancel.is_cancelled() {
                break;
            }
            self.poll_folder(&folder, arrivals)?;
        }
        Ok(())
    }

    fn poll_folder(&mut self, path: &Path, arrivals: &mut Arrivals) -> Result<(), SourceError> {
        let Some(folder) = self.attended.get_mut(path) else { return Ok(()) };
        let Ok(metadata) = fs::metadata(path) else {
            self.attended.forget(path);
            return Ok(());
        };
        let (changed, before) = (changed_ns(&metadata), folder.changed);
        folder.again = match before {
            Some(before) if before == changed => folder.again.saturating_sub(1),
            _ => POLL_AGAIN,
        };
        folder.changed = Some(changed);
        if folder.again == 0 && folder.entries > SMALL_FOLDER {
            return Ok(());
        }
        let mut entries = 0;
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            entries += 1;
            let path = entry.path();
            if !entry.file_type().is_ok_and(|found| found.is_dir()) {
                self.poll_file(&path, arrivals);
            } else if self.attended.get(&path).is_none()
                && fs::metadata(&path).is_ok_and(|found| is_new_folder(&found, before))
            {
                self.add(&path)?;
            }
        }
        if let Some(folder) = self.attended.get_mut(path) {
            folder.entries = entries;
        }
        Ok(())
    }

    fn poll_file(&mut self, path: &Path, arrivals: &mut Arrivals) {
        if refuse_name(path).is_some() {
            return;
        }
        let Ok(metadata) = fs::symlink_metadata(path) else { return };
        if self.known.contains(path, &metadata) {
            return;
        }
        // What has no room is found at a later poll.
        if arrivals.room() > 0 || arrivals.contains(path) {
            self.known.insert(path, &metadata);
            arrivals.written(path.to_owned(), Instant::now());
        }
    }
}

/// Whether a folder may have appeared in another one since that was changed last `before`, by the same clock.
pub(super) fn is_new_folder(metadata: &Metadata, before: Option<i64>) -> bool {
    let changed = changed_ns(metadata).max(changed_utc_micros(metadata).saturating_mul(1000));
    before.is_some_and(|before| changed >= before.saturating_sub(SLACK_MICROS * 1000))
}
