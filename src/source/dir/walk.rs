//! [`Walk`], a folder and its subfolders read in small steps for pictures that were missed, in the order in which they
//! came. Its memory does not depend on how many there are.

use std::collections::BTreeSet;
use std::fs::{self, Metadata, ReadDir};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::refuse_name;

/// Most pictures that one walk finds; for those that came later it is walked again.
pub(super) const FOUND_MAX: usize = 8192;

/// Folders deeper than this are not read.
pub(super) const FOLDER_DEPTH_MAX: usize = 64;

/// How much earlier than the last time that nothing was missed a file may have changed, and is looked at: clocks
/// of file systems lag a little.
pub(super) const SLACK_MICROS: i64 = 2_000_000;

/// How many files are read before it is looked what time it is.
const FILES_A_LOOK: u32 = 32;

/// What is to be found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// Where to begin.
    pub(super) folder: PathBuf,
    /// Only files that changed since then, in microseconds since 1970; `None`: all of them.
    pub(super) since: Option<i64>,
    /// It is all that is watched.
    pub(super) is_full: bool,
    /// Nothing was read before.
    pub(super) is_first: bool,
}

/// What a walk comes to.
#[derive(Debug)]
pub(super) enum Visited<'a> {
    /// A folder below that where it began. It is read if that is answered with `true`.
    Folder(&'a Path),
    /// A file with the name of a picture. It is found if that is answered with `true`.
    Picture(&'a Path, &'a Metadata),
}

/// A walk on its way.
#[derive(Debug)]
pub(super) struct Walk {
    pub(super) scan: Scan,
    /// Only what changed after this one: what changed before was found by a walk before.
    after: Option<(i64, PathBuf)>,
    /// Folders that are being read, the innermost last.
    open: Vec<ReadDir>,
    /// With the time of their last change.
    found: BTreeSet<(i64, PathBuf)>,
    /// There was more than is found.
    pub(super) is_cut: bool,
    /// A folder could not be read.
    pub(super) has_failed: bool,
    /// When a picture changed last, of all that there are.
    pub(super) newest: i64,
    /// When the first walk of this scan began, in microseconds since 1970 and by the clock that is never set.
    pub(super) began: (i64, Instant),
    /// How long it has taken so far.
    pub(super) spent: Duration,
}

impl Walk {
    /// Begins a walk at the time `began`.
    pub(super) fn begin(scan: Scan, began: i64) -> Self {
        Self::new(scan, None, (began, Instant::now()), i64::MIN)
    }

    /// A walk for what came after the last one that this one found.
    pub(super) fn go_on(&self) -> Self {
        let after = self.found.last().cloned();
        Self::new(self.scan.clone(), after, self.began, self.newest)
    }

    fn new(scan: Scan, after: Option<(i64, PathBuf)>, began: (i64, Instant), newest: i64) -> Self {
        let (found, is_cut, spent) = (BTreeSet::new(), false, Duration::ZERO);
        let (open, has_failed) = (Vec::new(), false);
        let mut walk = Self { scan, after, open, found, is_cut, has_failed, newest, began, spent };
        walk.enter(&walk.scan.folder.clone());
        walk
    }

    fn enter(&mut self, folder: &Path) {
        match fs::read_dir(folder) {
            Ok(folder) => self.open.push(folder),
            // One that is gone holds nothing.
            Err(error) => {
                let is_known = [ErrorKind::NotFound, ErrorKind::PermissionDenied];
                self.has_failed |= !is_known.contains(&error.kind());
            }
        }
    }

    /// Reads on until that time. Returns whether it is done.
    pub(super) fn step(
        &mut self,
        until: Instant,
        visit: &mut dyn FnMut(&Scan, Visited<'_>) -> bool,
    ) -> bool {
        let start = Instant::now();
        let mut looked = 0;
        while let Some(folder) = self.open.last_mut() {
            match folder.next() {
                None => {
                    self.open.pop();
                }
                Some(Err(_)) => self.has_failed = true,
                Some(Ok(entry)) => {
                    let path = entry.path();
                    // Links to folders are no folders.
                    if entry.file_type().is_ok_and(|found| found.is_dir()) {
                        let is_wanted = self.open.len() < FOLDER_DEPTH_MAX
                            && visit(&self.scan, Visited::Folder(&path));
                        if is_wanted {
                            self.enter(&path);
                        }
                    } else if refuse_name(&path).is_none() {
                        self.look(path, visit);
                    }
                }
            }
            looked += 1;
            if looked % FILES_A_LOOK == 0 && Instant::now() >= until {
                break;
            }
        }
        self.spent += start.elapsed();
        self.open.is_empty()
    }

    fn look(&mut self, path: PathBuf, visit: &mut dyn FnMut(&Scan, Visited<'_>) -> bool) {
        let Ok(metadata) = fs::symlink_metadata(&path) else { return };
        let changed = changed_utc_micros(&metadata);
        self.newest = self.newest.max(changed);
        if !visit(&self.scan, Visited::Picture(&path, &metadata)) {
            return;
        }
        let key = (changed, path);
        if self.after.as_ref().is_some_and(|after| key <= *after) {
            return;
        }
        self.found.insert(key);
        if self.found.len() > FOUND_MAX {
            self.found.pop_last();
            self.is_cut = true;
        }
    }

    /// When the last one that was found changed.
    pub(super) fn found_until(&self) -> Option<i64> {
        self.found.last().map(|(changed, _)| *changed)
    }

    /// Takes what was found, in the order in which it came.
    pub(super) fn take(self) -> impl Iterator<Item = PathBuf> {
        self.found.into_iter().map(|(_, path)| path)
    }
}

impl Scan {
    /// Whether a file has changed since what was there before.
    pub(super) fn is_recent(&self, metadata: &Metadata) -> bool {
        // The time of the last change of name or content, which no program can set.
        self.since.is_none_or(|since| changed_utc_micros(metadata) >= since)
    }
}

/// When name or content of a file changed last, in microseconds since 1970.
pub(super) fn changed_utc_micros(metadata: &Metadata) -> i64 {
    metadata.ctime().saturating_mul(1_000_000).saturating_add(metadata.ctime_nsec() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(folder: &Path) -> Scan {
        Scan { folder: folder.into(), since: None, is_full: true, is_first: false }
    }

    /// Every step reads as little as it can.
    fn walk(mut walk: Walk) -> Walk {
        while !walk.step(Instant::now(), &mut |scan, visited| match visited {
            Visited::Folder(path) => !path.ends_with("not"),
            Visited::Picture(_, metadata) => scan.is_recent(metadata),
        }) {}
        walk
    }

    #[test]
    fn pictures_are_found_in_all_folders_in_the_order_in_which_they_came() {
        let folder = tempfile::tempdir().unwrap();
        let names = ["b/d.png", "e.jpg", "f.txt", ".g.jpg", "not/h.jpg", "a.jpg", "b/c/c.jpg"];
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, b"").unwrap();
            // The next one is later by the file system's clock, however coarse that is.
            let changed = || changed_utc_micros(&fs::metadata(&path).unwrap());
            let first = changed();
            while changed() == first {
                fs::set_permissions(&path, fs::metadata(&path).unwrap().permissions()).unwrap();
            }
        }
        let all = walk(Walk::begin(scan(folder.path()), 0));
        assert!(!all.is_cut);
        let found: Vec<_> = all.take().collect();
        let expected = ["b/d.png", "e.jpg", "a.jpg", "b/c/c.jpg"];
        assert_eq!(found, expected.map(|name| folder.path().join(name)));
        let since = Some(changed_utc_micros(&fs::metadata(folder.path().join("a.jpg")).unwrap()));
        let found = walk(Walk::begin(Scan { since, ..scan(folder.path()) }, 0)).take().count();
        assert_eq!(found, 2);
    }

    #[test]
    fn more_than_one_walk_finds_are_found_by_the_next_ones() {
        let folder = tempfile::tempdir().unwrap();
        let count = 2 * FOUND_MAX + 10;
        for index in 0..count {
            fs::write(folder.path().join(format!("{index}.jpg")), b"").unwrap();
        }
        let mut all = BTreeSet::new();
        let mut next = Walk::begin(scan(folder.path()), 0);
        loop {
            let done = walk(next);
            assert!(done.found.len() <= FOUND_MAX);
            next = done.go_on();
            let is_cut = done.is_cut;
            let before = all.len();
            let found: Vec<_> = done.take().collect();
            all.extend(found.iter().cloned());
            assert_eq!(all.len(), before + found.len(), "each once");
            if !is_cut {
                break;
            }
        }
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_folder_that_is_gone_holds_nothing_and_another_failure_counts() {
        let gone = walk(Walk::begin(scan(Path::new("/no/such/folder")), 0));
        assert!(!gone.has_failed && gone.take().count() == 0);
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(walk(Walk::begin(scan(file.path()), 0)).has_failed);
    }

    #[test]
    fn links_are_looked_at_and_links_to_folders_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        fs::write(elsewhere.path().join("a.jpg"), b"").unwrap();
        let link = |from: &Path, name| {
            std::os::unix::fs::symlink(from, folder.path().join(name)).unwrap();
        };
        link(elsewhere.path(), "in");
        // Also one that leads nowhere yet: the picture may come.
        link(Path::new("/no/such/picture.jpg"), "b.jpg");
        let found: Vec<_> = walk(Walk::begin(scan(folder.path()), 0)).take().collect();
        assert_eq!(found, [folder.path().join("b.jpg")]);
    }

    #[test]
    fn a_walk_has_a_depth_and_steps_and_says_how_long_it_took() {
        let folder = tempfile::tempdir().unwrap();
        let mut path = folder.path().to_owned();
        for _ in 0..=FOLDER_DEPTH_MAX {
            fs::write(path.join("a.jpg"), b"").unwrap();
            path.push("d");
            fs::create_dir(&path).unwrap();
        }
        let mut all = Walk::begin(scan(folder.path()), 0);
        let is_done = all.step(Instant::now(), &mut |_, _| true);
        assert!(!is_done && !all.found.is_empty(), "a part of it");
        let all = walk(all);
        assert_eq!(all.found.len(), FOLDER_DEPTH_MAX);
        assert!(all.spent > Duration::ZERO);
        let newest = all.found.last().unwrap().0;
        assert_eq!((all.newest, all.go_on().newest), (newest, newest));
    }
}
