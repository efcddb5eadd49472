//! [`Delivered`], which files were handed over, and [`Identity`] and [`Keys`], by which they are known again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::fs::Metadata;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Most files that are remembered; the oldest of more are forgotten. A forgotten file is handed over again only
/// if it is written or renamed again. Takes 6 MB at most.
pub const DELIVERED_MAX: usize = 65_536;

/// A file and its content, known without reading it.
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

impl Identity {
    /// Reads five numbers: device, inode, bytes, modified in seconds and nanoseconds.
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

/// What a file is known by: its name with its version, itself with its version, its name with its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keys {
    name: u64,
    file: u64,
    /// 0 where the bytes were not read.
    content: u64,
}

impl Keys {
    /// Those of a file that was not read.
    pub(super) fn of(path: &Path, identity: Identity) -> Self {
        let Identity { device, inode, version } = identity;
        let Version { bytes, modified_s, modified_ns } = version;
        let version =
            [bytes.to_le_bytes(), modified_s.to_le_bytes(), modified_ns.to_le_bytes()].concat();
        let file = [device.to_le_bytes(), inode.to_le_bytes()].concat();
        Self {
            name: key(b'n', &version, path.as_os_str().as_bytes()),
            file: key(b'f', &version, &file),
            content: 0,
        }
    }

    /// With the bytes that were read.
    pub(super) fn with_content(self, path: &Path, bytes: &[u8]) -> Self {
        let hash = blake3::hash(bytes);
        Self { content: key(b'c', hash.as_bytes(), path.as_os_str().as_bytes()), ..self }
    }

    /// The file's name in its version: what is compared where files are polled.
    pub(super) const fn name(self) -> u64 {
        self.name
    }

    /// Reads three numbers.
    pub(super) fn from_words(words: [&str; 3]) -> Option<Self> {
        let number = |word: &str| u64::from_str_radix(word, 16).ok();
        let [name, file, content] = words;
        Some(Self { name: number(name)?, file: number(file)?, content: number(content)? })
    }
}

impl fmt::Display for Keys {
    /// Three numbers that [`Keys::from_words`] reads.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x} {:016x} {:016x}", self.name, self.file, self.content)
    }
}

/// 64 bits: that two of those that are remembered are the same by chance is not to be expected in years.
fn key(kind: u8, one: &[u8], other: &[u8]) -> u64 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[kind]).update(one).update(other);
    let bytes = hasher.finalize();
    let first = bytes.as_bytes().first_chunk().copied().unwrap_or_default();
    u64::from_le_bytes(first)
}

/// The files that were handed over: neither a renamed file, nor a copy that keeps name and time, nor the same bytes
/// uploaded again under the same name are handed over twice.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The newest entry that has a key.
    keys: HashMap<u64, u64>,
    order: VecDeque<Keys>,
    /// Number of the oldest entry.
    first: u64,
}

impl Delivered {
    /// Whether the file was handed over, as far as that is known without its bytes.
    pub(super) fn contains(&self, keys: Keys) -> bool {
        self.keys.contains_key(&keys.file) || self.keys.contains_key(&keys.name)
    }

    /// Whether the same bytes were handed over under the same name.
    pub(super) fn contains_content(&self, keys: Keys) -> bool {
        self.keys.contains_key(&keys.content)
    }

    /// All of them, oldest first.
    pub(super) fn all(&self) -> impl Iterator<Item = Keys> {
        self.order.iter().copied()
    }

    /// Remembers that the file was handed over.
    pub(super) fn remember(&mut self, keys: Keys) {
        if self.order.len() >= DELIVERED_MAX
            && let Some(Keys { name, file, content }) = self.order.pop_front()
        {
            for key in [name, file, content] {
                // A newer entry may have it too.
                if self.keys.get(&key) == Some(&self.first) {
                    self.keys.remove(&key);
                }
            }
            self.first += 1;
        }
        let number = self.first + self.order.len() as u64;
        let Keys { name, file, content } = keys;
        for key in [name, file, content].into_iter().filter(|key| *key != 0) {
            self.keys.insert(key, number);
        }
        self.order.push_back(keys);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(name: &str, inode: u64, modified_s: i64, content: &[u8]) -> Keys {
        let version = Version { bytes: 5, modified_s, modified_ns: 0 };
        let path = Path::new(name);
        Keys::of(path, Identity { device: 1, inode, version }).with_content(path, content)
    }

    #[test]
    fn a_file_is_known_by_its_name_by_itself_and_by_its_bytes() {
        let mut delivered = Delivered::default();
        delivered.remember(keys("a", 1, 10, b"x"));
        assert!(delivered.contains(keys("a", 1, 10, b"x")));
        assert!(delivered.contains(keys("renamed", 1, 10, b"x")));
        assert!(delivered.contains(keys("a", 2, 10, b"x")), "a copy with its time");
        assert!(!delivered.contains(keys("a", 1, 11, b"x")), "written again");
        assert!(delivered.contains_content(keys("a", 1, 11, b"x")), "with the same bytes");
        assert!(!delivered.contains_content(keys("a", 1, 11, b"y")));
        assert!(!delivered.contains_content(keys("b", 1, 11, b"x")), "another name");
        assert!(!delivered.contains(keys("b", 2, 10, b"x")));
        let unread = |inode| Keys { content: 0, ..keys("large", inode, 10, b"") };
        delivered.remember(unread(3));
        assert!(!delivered.contains_content(unread(4)), "its bytes were not read");
    }

    #[test]
    fn memory_is_bounded_and_the_oldest_are_forgotten() {
        let mut delivered = Delivered::default();
        let nth = |index: u64| keys(&index.to_string(), index, 0, b"x");
        (0..=DELIVERED_MAX as u64).for_each(|index| delivered.remember(nth(index)));
        assert_eq!(delivered.keys.len(), 3 * DELIVERED_MAX);
        assert!(!delivered.contains(nth(0)) && !delivered.contains_content(nth(0)));
        // Remembered again, then its first entry goes.
        let more = DELIVERED_MAX as u64 + 1;
        [5].into_iter().chain(more..more + 4).for_each(|index| delivered.remember(nth(index)));
        assert_eq!(delivered.order.len(), DELIVERED_MAX);
        assert!(!delivered.contains(nth(4)) && delivered.contains(nth(5)));
        assert!(delivered.contains(nth(more)));
    }
}
