//! Comparing what is known of a folder with what is there: at the start, now and then, and where news was lost.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::arrivals::Arrivals;
use super::super::delivered::{Delivered, Identity, Keys};
use super::super::walk::{SLACK_MICROS, Scan, Visited, Walk, changed_utc_micros};
use super::{
    FolderWatch, POLL_INTERVAL, POLLED_FOLDERS_MAX, STEP, WATCHED_FOLDERS_MAX, changed_ns,
    utc_micros_now,
};
use crate::source::SourceError;

/// What is compared with what is there takes at most one part in so many of the time.
const COMPARE_SHARE: u32 = 20;
/// Polled folders are compared so many times as often.
const COMPARE_OFTENER: u32 = 10;

impl FolderWatch {
    /// Since when something may have been missed; right also where the clock was set meanwhile.
    pub(super) fn since(&self) -> i64 {
        let (at, instant) = self.caught_up_at;
        let elapsed = i64::try_from(instant.elapsed().as_micros()).unwrap_or(i64::MAX);
        at.min(utc_micros_now().saturating_sub(elapsed))
    }

    /// A little earlier, but never what was there before. A clock that was set back since the folder was opened had shown
    /// nothing that counts now.
    pub(super) fn scanned_since(&self, since: i64) -> i64 {
        let floor = Some(self.floor).filter(|_| self.opened_at <= utc_micros_now());
        since.saturating_sub(SLACK_MICROS).max(floor.unwrap_or(i64::MIN))
    }

    pub(super) fn scan_all(&mut self, is_first: bool) {
        self.scans.retain(|scan| !scan.is_full);
        let since = Some(self.scanned_since(self.since()));
        self.scans.push_back(Scan { folder: self.root.clone(), since, is_full: true, is_first });
    }

    /// Reads everything once: what is there, where something happened last, and what is new.
    pub(super) fn first_walk(&mut self) -> Result<(), SourceError> {
        let (root, since, was_polled) = (self.root.clone(), Some(self.floor), self.is_polled);
        let scan = Scan { folder: root, since, is_full: true, is_first: true };
        let mut walk = Walk::begin(scan, utc_micros_now());
        // By the time of their last change.
        let mut recent: BTreeSet<(i64, PathBuf)> = BTreeSet::new();
        let mut is_done = false;
        while !is_done && !self.cancel.is_cancelled() {
            is_done = walk.step(Instant::now() + STEP, &mut |scan, visited| match visited {
                Visited::Folder(path) => {
                    let Ok(metadata) = fs::metadata(path) else { return false };
                    if metadata.dev() != self.root_file.0 {
                        self.check_file_system(path);
                    }
                    let max = if self.is_polled { POLLED_FOLDERS_MAX } else { WATCHED_FOLDERS_MAX };
                    keep_last(&mut recent, (changed_ns(&metadata), path.to_owned()), max);
                    true
                }
                Visited::Picture(path, metadata) => self.wants_first(scan, path, metadata),
            });
        }
        for (_, path) in recent {
            self.attend(&path)?;
        }
        self.finish_walk(walk);
        // What a walk saw before it was known to be polled is not known.
        self.known.is_complete &= was_polled;
        // What came into a folder after it was read, and before it was watched.
        self.next_compare = Instant::now();
        Ok(())
    }

    /// At first only what has come since a time is new; the rest is known from then on.
    pub(super) fn wants_first(&mut self, scan: &Scan, path: &Path, metadata: &Metadata) -> bool {
        let is_new = scan.is_recent(metadata)
            || (!self.is_dated_here()
                && scan.since.is_some_and(|since| changed_ns(metadata) / 1000 >= since));
        if !is_new && self.is_polled {
            self.known.insert(path, metadata);
        }
        is_new
    }

    fn next_walk(&mut self) -> Option<Walk> {
        let scan = self.scans.pop_front()?;
        if scan.is_full {
            self.known.begin_walk();
        }
        Some(Walk::begin(scan, utc_micros_now()))
    }

    /// Goes on with a walk, or begins the next.
    pub(super) fn walk_on(
        &mut self,
        until: Instant,
        arrivals: &Arrivals,
        delivered: &Delivered,
    ) -> Result<(), SourceError> {
        let Some(mut walk) = self.walk.take().or_else(|| self.next_walk()) else { return Ok(()) };
        let mut outcome = Ok(());
        let mut is_unheard = false;
        let is_done = walk.step(until, &mut |scan, visited| match visited {
            Visited::Folder(path) => {
                if !scan.is_full {
                    // Watched before it is read.
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(self.attend(path));
                }
                true
            }
            Visited::Picture(path, metadata) if scan.is_first => {
                self.wants_first(scan, path, metadata)
            }
            Visited::Picture(path, metadata) => {
                let is_wanted = self.wants(scan, path, metadata, delivered);
                if is_wanted && scan.is_full {
                    let folder = path.parent().unwrap_or(path);
                    is_unheard |= self.is_unheard(folder, metadata) && !arrivals.contains(path);
                    outcome = std::mem::replace(&mut outcome, Ok(())).and(self.attend(folder));
                }
                is_wanted
            }
        });
        outcome?;
        if is_unheard {
            self.poll_from_now_on("files came into it of which the kernel reported nothing");
        }
        if is_done {
            self.finish_walk(walk);
        } else {
            self.walk = Some(walk);
        }
        Ok(())
    }

    fn wants(
        &mut self,
        scan: &Scan,
        path: &Path,
        metadata: &Metadata,
        delivered: &Delivered,
    ) -> bool {
        let is_listed = self.known.lists_all();
        if !is_listed && !scan.is_recent(metadata) {
            return false;
        }
        if is_listed && self.known.mark(path, metadata) {
            return false;
        }
        !delivered.contains(Keys::of(path, Identity::of(metadata)))
    }

    /// Whether the kernel should have reported a file long ago.
    fn is_unheard(&self, folder: &Path, metadata: &Metadata) -> bool {
        let changed = changed_utc_micros(metadata);
        metadata.is_file()
            && changed < utc_micros_now().saturating_sub(self.unheard)
            && self.attended.get(folder).is_some_and(|folder| folder.since < changed)
    }

    /// How long nothing is compared after a walk that took so long.
    pub(super) fn pause_after_walk(&self, spent: Duration) -> Duration {
        let often = if self.is_polled { COMPARE_OFTENER } else { 1 };
        (self.compare / often).max(spent * COMPARE_SHARE)
    }

    pub(super) fn finish_walk(&mut self, walk: Walk) {
        let Scan { is_full, is_first, .. } = walk.scan;
        if walk.is_cut {
            // Where the order is not that of changes, nothing is known of what is left.
            if is_full && (is_first || !self.is_polled) {
                self.mark = self.mark.max(walk.found_until());
            }
            self.walk = Some(walk.go_on());
        } else if is_full && (walk.has_failed || self.check_folder().is_err()) {
            // What was not seen may be there all the same. It is looked at again, and nothing is forgotten.
            self.next_compare =
                Instant::now() + (self.compare / COMPARE_OFTENER).max(POLL_INTERVAL);
        } else if is_full {
            let (began, _) = walk.began;
            self.known.is_complete = self.is_polled && (self.known.is_complete || is_first);
            self.known.end_walk();
            // The clock of a share may be behind.
            let mark = if self.is_dated_here() { began } else { began.min(walk.newest) };
            self.mark = self.mark.max(Some(mark));
            self.caught_up_at = walk.began;
            self.next_compare = Instant::now() + self.pause_after_walk(walk.spent);
        }
        self.found.extend(walk.take());
    }
}

/// Adds one, and keeps the last `max`.
pub(super) fn keep_last<T: Ord>(kept: &mut BTreeSet<T>, one: T, max: usize) {
    kept.insert(one);
    while kept.len() > max {
        kept.pop_first();
    }
}
