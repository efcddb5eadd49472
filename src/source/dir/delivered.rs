//! [`Delivered`], which files were handed over, and [`Identity`], by which they are known again.

use std::collections::{HashSet, VecDeque};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Most files that are remembered; the oldest of more are forgotten. A forgotten file is handed over again only
/// if it is written or renamed again.
pub const DELIVERED_MAX: usize = 16_384;

/// A file and its content, as far as that can be told without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    version: Version,
}

/// A state of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Version {
    bytes: u64,
    modified_s: i64,
    modified_ns: i64,
}

impl fmt::Display for Identity {
    /// Five numbers that [`Identity::from_words`] reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, inode, version: Version { bytes, modified_s, modified_ns } } = self;
        write!(formatter, "{device} {inode} {bytes} {modified_s} {modified_ns}")
    }
}

impl Identity {
    /// Reads the five numbers.
    pub(super) fn from_words(words: [&str; 5]) -> Option<Self> {
        let [device, inode, bytes, modified_s, modified_ns] = words;
        Some(Self {
            device: device.parse().ok()?,
            inode: inode.parse().ok()?,
            version: Version {
                bytes: bytes.parse().ok()?,
                modified_s: modified_s.parse().ok()?,
                modified_ns: modified_ns.parse().ok()?,
            },
        })
    }

    /// The identity of a file.
    pub(super) fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            version: Version {
                bytes: metadata.size(),
                modified_s: metadata.mtime(),
                modified_ns: metadata.mtime_nsec(),
            },
        }
    }
}

/// The files that were handed over, by their names and by themselves: neither a renamed file nor a copy that
/// keeps name and time is handed over twice.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    names: HashSet<(PathBuf, Version)>,
    files: HashSet<Identity>,
    order: VecDeque<(PathBuf, Identity)>,
}

impl Delivered {
    /// Whether the file was handed over.
    pub(super) fn contains(&self, path: &Path, identity: Identity) -> bool {
        self.files.contains(&identity) || self.names.contains(&(path.into(), identity.version))
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Path, Identity)> {
        self.order.iter().map(|(path, identity)| (path.as_path(), *identity))
    }

    /// Remembers that the file was handed over.
    pub(super) fn remember(&mut self, path: &Path, identity: Identity) {
        if self.contains(path, identity) {
            return;
        }
        if self.order.len() >= DELIVERED_MAX
            && let Some((path, identity)) = self.order.pop_front()
        {
            self.files.remove(&identity);
            self.names.remove(&(path, identity.version));
        }
        self.names.insert((path.into(), identity.version));
        self.files.insert(identity);
        self.order.push_back((path.into(), identity));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(inode: u64, modified_s: i64) -> Identity {
        let version = Version { bytes: 5, modified_s, modified_ns: 0 };
        Identity { device: 1, inode, version }
    }

    #[test]
    fn a_file_is_known_under_its_name_and_by_itself() {
        let mut delivered = Delivered::default();
        delivered.remember(Path::new("a"), identity(1, 10));
        assert!(delivered.contains(Path::new("a"), identity(1, 10)));
        assert!(delivered.contains(Path::new("renamed"), identity(1, 10)));
        assert!(delivered.contains(Path::new("a"), identity(2, 10)), "a copy with its time");
        assert!(!delivered.contains(Path::new("a"), identity(1, 11)), "written anew");
        assert!(!delivered.contains(Path::new("b"), identity(2, 10)));
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let mut delivered = Delivered::default();
        for index in 0..=DELIVERED_MAX as u64 {
            delivered.remember(Path::new(&index.to_string()), identity(index, 0));
            delivered.remember(Path::new(&index.to_string()), identity(index, 0));
        }
        let sizes = (delivered.names.len(), delivered.files.len(), delivered.order.len());
        assert_eq!(sizes, (DELIVERED_MAX, DELIVERED_MAX, DELIVERED_MAX));
        assert!(!delivered.contains(Path::new("0"), identity(0, 0)));
        assert!(delivered.contains(Path::new("1"), identity(1, 0)));
    }
}
