//! [`KnownFiles`], which versions of which files were seen where folders are polled.

use std::collections::HashMap;
use std::fs::Metadata;
use std::path::Path;

use super::super::delivered::{Identity, Keys};

/// Versions of files that are known where folders are polled. Of more, only those are found that have changed since the
/// last time. Takes 24 MB at most.
const KNOWN_MAX: usize = 1 << 20;

/// Names of files in their versions, and the walk that saw each last.
#[derive(Debug, Default)]
pub(super) struct KnownFiles {
    versions: HashMap<u64, u32>,
    walk: u32,
    /// Whether everything that was there is known.
    pub(super) is_complete: bool,
}

impl KnownFiles {
    /// Whether a file that is not known is new.
    pub(super) fn lists_all(&self) -> bool {
        self.is_complete && self.versions.len() < KNOWN_MAX
    }

    /// Whether this version of a file is known.
    pub(super) fn contains(&self, path: &Path, metadata: &Metadata) -> bool {
        self.versions.contains_key(&key(path, metadata))
    }

    /// Adds a version of a file, where there is room.
    pub(super) fn insert(&mut self, path: &Path, metadata: &Metadata) {
        if self.versions.len() < KNOWN_MAX {
            self.versions.insert(key(path, metadata), self.walk);
        }
    }

    /// A walk through everything begins.
    pub(super) fn begin_walk(&mut self) {
        self.walk += 1;
    }

    /// The walk at hand has seen this version of a file. Returns whether it was known.
    pub(super) fn mark(&mut self, path: &Path, metadata: &Metadata) -> bool {
        let seen = self.versions.get_mut(&key(path, metadata));
        seen.map(|seen| *seen = self.walk).is_some()
    }

    /// Removes what the walk at hand has not seen: it is gone.
    pub(super) fn end_walk(&mut self) {
        self.versions.retain(|_, seen| *seen == self.walk);
    }
}

fn key(path: &Path, metadata: &Metadata) -> u64 {
    Keys::of(path, Identity::of(metadata)).name()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_until_a_walk_has_not_seen_it() {
        let metadata = std::fs::metadata("/").unwrap();
        let (one, other) = (Path::new("one"), Path::new("other"));
        let mut known = KnownFiles::default();
        known.insert(one, &metadata);
        known.insert(other, &metadata);
        known.begin_walk();
        assert!(known.mark(one, &metadata) && !known.mark(Path::new("new"), &metadata));
        known.end_walk();
        assert!(known.contains(one, &metadata) && !known.contains(other, &metadata));
        assert!(!known.lists_all());
        known.is_complete = true;
        assert!(known.lists_all());
        known.versions.extend((0..KNOWN_MAX as u64).map(|key| (key, 0)));
        let full = known.versions.len();
        known.insert(other, &metadata);
        assert!(!known.lists_all() && known.versions.len() == full);
    }
}
