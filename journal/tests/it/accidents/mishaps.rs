//! Carries out what a person does to the files of our journal.

use std::path::{Path, PathBuf};

use lenslog_journal::storage::{Storage, read_file};
use lenslog_journal::{Day, SegmentName, Seq};

use super::format::{Found, bytes_of, file_name};
use super::script::{Mishap, NewName, Source};
use super::station::{files_of, identity_path, marker_path, put, segment_path, short, sync_parent};
use super::world::{Mark, World};
use crate::common::segments;

impl Mishap {
    /// Whether no person does it beside a running writer.
    pub const fn needs_rest(&self) -> bool {
        matches!(
            self,
            Self::Truncate { .. }
                | Self::Marker(_)
                | Self::Identity(_)
                | Self::Restore { .. }
                | Self::BringAll { .. }
        )
    }
}

impl World {
    pub fn suffer(&mut self, mishap: &Mishap) {
        match *mishap {
            Mishap::Copy { file, name } => {
                let Some(from) = self.pick(file) else { return };
                let to = renamed(&from, name);
                self.place(&to, &bytes_of(&self.ours.storage, &from), false, &short(&from));
            }
            Mishap::Rename { file, name } => {
                let Some(from) = self.pick(file) else { return };
                self.rename(&from, &renamed(&from, name));
            }
            Mishap::Delete { file } => {
                let Some(path) = self.pick(file) else { return };
                self.remove(&path);
            }
            Mishap::PutBack { file } => {
                let found = self.scanner.scan(&self.ours.storage);
                let misnamed: Vec<_> =
                    found.iter().filter(|file| file.right_named().is_none()).collect();
                let picked = misnamed.get(file as usize % misnamed.len().max(1));
                if let Some(file) = picked
                    && let Some(header) = &file.segment.header
                {
                    self.rename(&file.path, &segment_path(&header.name.file_name()));
                }
            }
            Mishap::Swap { one, two } => {
                let (Some(one), Some(two)) = (self.pick(one), self.pick(two)) else { return };
                if one != two {
                    let aside = segment_path("aside");
                    self.rename(&one, &aside);
                    self.rename(&two, &one);
                    self.rename(&aside, &two);
                }
            }
            Mishap::Bring { from, file, overwrite, name } => {
                let (words, files, _) = self.source(from);
                let files: Vec<_> =
                    files.into_iter().filter(|(path, _)| is_segment(path)).collect();
                if files.is_empty() {
                    return;
                }
                let (path, bytes) = &files[file as usize % files.len()];
                let to = name.map_or_else(|| path.clone(), |name| renamed(path, name));
                self.place(&to, bytes, overwrite, &format!("{} of {words}", short(path)));
            }
            Mishap::BringAll { from, overwrite } => {
                let (words, files, _) = self.source(from);
                for (path, bytes) in files.iter().filter(|(path, _)| is_segment(path)) {
                    self.place(path, bytes, overwrite, &format!("{} of {words}", short(path)));
                }
            }
            Mishap::Truncate { file, len } => {
                let Some(path) = self.pick(file) else { return };
                let bytes = bytes_of(&self.ours.storage, &path);
                self.say(format!("truncate {} to {len}", short(&path)));
                put(&self.ours.storage, &path, &bytes[..len.min(bytes.len())]);
            }
            Mishap::Empty { name } => {
                let to = renamed(&segment_path("00000000000000000007-2026-11-23.seg"), name);
                self.place(&to, &[], false, "an empty file");
            }
            Mishap::Marker(from) => self.marker = self.exchange(from, &marker_path(), self.marker),
            Mishap::Identity(from) => {
                self.identity = self.exchange(from, &identity_path(), self.identity)
            }
            Mishap::Restore { from, clear, marker, identity } => {
                self.restore(from, clear, marker, identity);
            }
        }
    }

    fn pick(&self, file: u64) -> Option<PathBuf> {
        let segments = segments(&self.ours.storage);
        segments.get(file as usize % segments.len().max(1)).cloned()
    }

    /// The files of another branch or an older state, and whose marks they carry.
    fn source(&self, from: Source) -> (String, Vec<(PathBuf, Vec<u8>)>, Mark) {
        match from {
            Source::State(pick) if !self.states.is_empty() => {
                let index = pick as usize % self.states.len();
                let state = &self.states[index];
                let mark = Mark::Older(state.branch.newest_salt());
                (format!("state {index}"), state.files.clone(), mark)
            }
            Source::Other(pick) | Source::State(pick) => {
                let index = pick as usize % self.others.len();
                let other = &self.others[index];
                (other.tag.clone(), files_of(&other.storage), Mark::Other(index))
            }
        }
    }

    /// Puts a file into `journal/`, as `cp` or `cp -n` does.
    fn place(&mut self, to: &Path, bytes: &[u8], overwrite: bool, what: &str) {
        let is_there = self.ours.storage.stat(to).is_ok();
        // No person writes over the very file that is being written.
        let newest = self.ours.branch.newest_salt().filter(|_| self.ours.journal.is_some());
        let found = self.scanner.scan(&self.ours.storage);
        let is_newest = |file: &Found| file.path == *to && file.segment.salt() == newest;
        let is_active = newest.is_some() && found.iter().any(is_newest);
        if is_there && (!overwrite || is_active) {
            return;
        }
        let how = if is_there { "over" } else { "as" };
        self.say(format!("cp {what} {how} {}", short(to)));
        put(&self.ours.storage, to, bytes);
    }

    fn rename(&mut self, from: &Path, to: &Path) {
        if self.ours.storage.stat(to).is_ok() {
            return;
        }
        self.say(format!("mv {} {}", short(from), short(to)));
        self.ours.storage.rename(from, to).unwrap();
        sync_parent(&self.ours.storage, to);
    }

    fn remove(&mut self, path: &Path) {
        self.say(format!("rm {}", short(path)));
        if self.ours.storage.remove(path).is_ok() {
            sync_parent(&self.ours.storage, path);
        }
    }

    /// Deletes a file, or puts that of another directory in its place; returns whose it is then.
    fn exchange(&mut self, from: Option<Source>, path: &Path, now: Mark) -> Mark {
        let Some(from) = from else {
            self.remove(path);
            return Mark::Absent;
        };
        let (words, files, mark) = self.source(from);
        match files.iter().find(|(other, _)| other == path) {
            Some((_, bytes))
                if read_file(&self.ours.storage, path, usize::MAX)
                    .is_ok_and(|old| old == *bytes) =>
            {
                now
            }
            Some((_, bytes)) => {
                self.say(format!("cp {} of {words}", file_name(path)));
                put(&self.ours.storage, path, bytes);
                mark
            }
            None => {
                self.remove(path);
                Mark::Absent
            }
        }
    }

    fn restore(&mut self, from: Source, clear: bool, marker: bool, identity: bool) {
        let (words, files, _) = self.source(from);
        if clear {
            let all = self.ours.storage.files();
            for path in all.into_iter().filter(|path| path.starts_with(segment_path(""))) {
                if marker || path != marker_path() {
                    let _ = self.ours.storage.remove(&path);
                }
            }
            sync_parent(&self.ours.storage, &marker_path());
        }
        let cleared = if clear { "rm journal/*, then " } else { "" };
        self.say(format!("{cleared}cp all segments of {words} over"));
        for (path, bytes) in &files {
            if path.starts_with(segment_path("")) && *path != marker_path() {
                put(&self.ours.storage, path, bytes);
            }
        }
        if marker {
            self.marker = self.exchange(Some(from), &marker_path(), self.marker);
        }
        if identity {
            self.identity = self.exchange(Some(from), &identity_path(), self.identity);
        }
    }
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "seg")
}

fn renamed(path: &Path, name: NewName) -> PathBuf {
    let known = SegmentName::parse(&file_name(path));
    let known = known.unwrap_or(SegmentName { base: Seq(7), day: Day(20_780) });
    let name = match name {
        NewName::OtherDay(days) => SegmentName { day: Day(known.day.0 + days), ..known },
        NewName::OtherBase(by) => {
            SegmentName { base: Seq(known.base.0.saturating_add_signed(by).max(1)), ..known }
        }
        NewName::AfterAll(kind) => {
            let base = [9999, 9_999_999_999, u64::MAX][kind as usize % 3];
            SegmentName { base: Seq(base), ..known }
        }
    };
    segment_path(&name.file_name())
}
