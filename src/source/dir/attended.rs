//! [`Attended`], the folders in which something happened last: those that are watched, or read again and again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// The folders in which something happened last. Of more than it may hold, that goes in which nothing happened for the
/// longest time; a folder goes before those that it lies in.
#[derive(Debug)]
pub(super) struct Attended {
    folders: HashMap<PathBuf, Folder>,
    /// By the order in which something happened in them.
    order: BTreeMap<u64, PathBuf>,
    next: u64,
    max: usize,
}

/// What is known of a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Folder {
    order: u64,
    /// Since when it is attended, in microseconds since 1970.
    pub(super) since: i64,
    /// When it was changed last when it was read, in nanoseconds since 1970.
    pub(super) changed: Option<i64>,
    /// How often it is read once more, although it is not changed: its clock may be coarse.
    pub(super) again: u8,
    /// What lay in it.
    pub(super) entries: usize,
}

impl Attended {
    /// None, and at most so many.
    pub(super) fn new(max: usize) -> Self {
        Self { folders: HashMap::new(), order: BTreeMap::new(), next: 0, max }
    }

    /// How many there are.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.folders.len()
    }

    /// Holds at most so many from now on.
    pub(super) fn limit(&mut self, max: usize) {
        self.max = max;
    }

    pub(super) fn get(&self, folder: &Path) -> Option<&Folder> {
        self.folders.get(folder)
    }

    pub(super) fn get_mut(&mut self, folder: &Path) -> Option<&mut Folder> {
        self.folders.get_mut(folder)
    }

    /// All of them, in which something happened longest ago first.
    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.order.values().cloned().collect()
    }

    /// Something happened in `folder` below `root`: it and all that it lies in are attended. Returns those that were not.
    pub(super) fn touch(&mut self, folder: &Path, root: &Path, now: i64) -> Vec<PathBuf> {
        let mut new = Vec::new();
        for path in folder.ancestors().take_while(|path| path.starts_with(root)) {
            self.next += 1;
            let order = self.next;
            if let Some(known) = self.folders.get_mut(path) {
                self.order.remove(&std::mem::replace(&mut known.order, order));
            } else {
                let folder = Folder { order, since: now, changed: None, again: 0, entries: 0 };
                self.folders.insert(path.to_owned(), folder);
                new.push(path.to_owned());
            }
            self.order.insert(order, path.to_owned());
        }
        new
    }

    /// Takes out the one in which nothing happened for the longest time, if there are too many.
    pub(super) fn pop_surplus(&mut self) -> Option<PathBuf> {
        if self.folders.len() <= self.max {
            return None;
        }
        let (_, path) = self.order.pop_first()?;
        self.folders.remove(&path);
        Some(path)
    }

    /// Takes out a folder and all below it.
    pub(super) fn forget(&mut self, folder: &Path) {
        if self.folders.contains_key(folder) {
            self.folders.retain(|path, _| !path.starts_with(folder));
            self.order.retain(|_, path| !path.starts_with(folder));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_in_which_nothing_happened_for_longest_goes_and_those_it_lies_in_stay() {
        let (mut attended, root) = (Attended::new(4), Path::new("/in"));
        for minute in 0..1000_u32 {
            let path = root.join(format!("day/{minute}"));
            let new = attended.touch(&path, root, 0);
            assert_eq!(new.len(), if minute == 0 { 3 } else { 1 }, "{new:?}");
            let gone: Vec<_> = std::iter::from_fn(|| attended.pop_surplus()).collect();
            let expected = minute.checked_sub(2).map(|gone| root.join(format!("day/{gone}")));
            assert!(gone.into_iter().eq(expected), "{minute}");
        }
        assert_eq!((attended.len(), attended.order.len()), (4, 4));
        assert!(attended.get(root).is_some() && attended.get(&root.join("day")).is_some());
        attended.forget(&root.join("day"));
        assert_eq!(attended.paths(), [root]);
        assert!(attended.touch(Path::new("/elsewhere"), root, 0).is_empty());
    }
}
