//! [`FaultyStorage`]: a disk in memory that does whatever a real one may do within the letter of POSIX.
//!
//! It keeps what the page cache shows apart from what is on the medium. A power cut keeps everything synced and,
//! drawn from a seed, any subset of the rest: single 512-byte sectors of unsynced pages, lengths, names. It can
//! fail the n-th sync (and then behaves as Linux does: the pages are clean, readable and lost), refuse space, make
//! sectors unreadable and flip bits. Every operation that changes something is counted, so that a test can cut
//! the power at each of them in turn.

use crate::sync::{Mutex, MutexGuard};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::id_source::Random;

mod calls;
mod disk;

use disk::{Disk, Inode, NameChange, Node, PAGE, copy_range};

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The power goes when this many changing operations have been done; all later ones fail.
    PowerCutAfter {
        /// Number of operations that still succeed, counted from the storage's beginning.
        operations: u64,
    },
    /// The n-th sync from now (the first is 0), of a file or a directory, fails with EIO and loses what it should
    /// have written.
    SyncFails {
        /// Which one.
        nth: u64,
    },
    /// Every sync, of files and directories, fails with EIO until [`FaultyStorage::heal`].
    AllSyncsFail,
    /// The n-th write from now (the first is 0) fails with EIO when half of its bytes are written.
    WriteFails {
        /// Which one.
        nth: u64,
    },
    /// Reads that touch these bytes fail with EIO.
    Unreadable {
        /// The file.
        path: PathBuf,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
    /// No more than this many bytes fit on the disk: further allocations fail with ENOSPC.
    Capacity {
        /// Size of the disk.
        bytes: u64,
    },
    /// The n-th allocation of a page from now (the first is 0), and every one after it, fails with ENOSPC until
    /// [`FaultyStorage::heal`].
    AllocationFails {
        /// Which one.
        nth: u64,
    },
}

/// A simulated disk. Clones are handles on the same disk.
#[derive(Debug, Clone)]
pub struct FaultyStorage(Arc<Mutex<Disk>>);

impl Default for FaultyStorage {
    fn default() -> Self {
        Self::new()
    }
}

impl FaultyStorage {
    /// An empty, faultless disk with a root directory.
    #[must_use]
    pub fn new() -> Self {
        let mut disk = Disk::default();
        for root in ["/", ""] {
            disk.names.insert(PathBuf::from(root), Node::Directory);
        }
        disk.stored_names.clone_from(&disk.names);
        Self(Arc::new(Mutex::new(disk)))
    }

    /// Adds a fault.
    pub fn inject(&self, fault: Fault) {
        let mut disk = self.disk();
        match fault {
            Fault::PowerCutAfter { operations } => disk.power_cut_after = Some(operations),
            Fault::SyncFails { nth } => {
                let at = disk.syncs + nth;
                disk.syncs_failing.insert(at);
            }
            Fault::AllSyncsFail => disk.all_syncs_fail = true,
            Fault::WriteFails { nth } => {
                let at = disk.writes + nth;
                disk.writes_failing.insert(at);
            }
            Fault::Unreadable { path, offset, len } => disk.unreadable.push((path, offset, len)),
            Fault::Capacity { bytes } => disk.capacity = Some(bytes),
            Fault::AllocationFails { nth } => {
                disk.allocations_fail_from = Some(disk.allocations + nth);
            }
        }
    }

    /// Removes all faults. Power that was cut stays cut.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.syncs_failing.clear();
        disk.all_syncs_fail = false;
        disk.writes_failing.clear();
        disk.unreadable.clear();
        disk.capacity = None;
        disk.allocations_fail_from = None;
    }

    /// Cuts the power now and returns the disk as the next boot finds it, drawn from `seed`. Every handle on this
    /// disk fails from here on.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let mut disk = self.disk();
        disk.power_cut_after = Some(0);
        Self(Arc::new(Mutex::new(disk.after_power_cut(&mut Random::new(seed)))))
    }

    /// An independent copy of what this disk shows now, everything in it synced: the page cache of a process that
    /// was killed.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        let disk = self.disk();
        let inodes =
            disk.inodes.iter().map(|(&id, inode)| (id, Inode::synced(inode.shown.clone())));
        Self(Arc::new(Mutex::new(Disk {
            names: disk.names.clone(),
            stored_names: disk.names.clone(),
            inodes: inodes.collect(),
            inode_next: disk.inode_next,
            ..Disk::default()
        })))
    }

    /// An independent disk in exactly this state, unsynced pages and names included, without its faults.
    #[must_use]
    pub fn fork(&self) -> Self {
        let disk = self.disk();
        Self(Arc::new(Mutex::new(Disk {
            names: disk.names.clone(),
            stored_names: disk.stored_names.clone(),
            pending_names: disk.pending_names.clone(),
            inodes: disk.inodes.clone(),
            inode_next: disk.inode_next,
            ..Disk::default()
        })))
    }

    /// Number of operations so far that changed something.
    #[must_use]
    pub fn operations(&self) -> u64 {
        self.disk().operations
    }

    /// Number of syncs so far, of files and directories, failed ones included.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.disk().syncs
    }

    /// Number of writes so far, failed ones included.
    #[must_use]
    pub fn writes(&self) -> u64 {
        self.disk().writes
    }

    /// Bytes read so far.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.disk().bytes_read
    }

    /// Bytes written so far.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.disk().bytes_written
    }

    /// Number of page allocations so far.
    #[must_use]
    pub fn allocations(&self) -> u64 {
        self.disk().allocations
    }

    /// Flips bits of one byte of a file, on the medium and in the page cache: bit rot.
    ///
    /// # Panics
    ///
    /// Where the file or the byte does not exist: a mistake in the test.
    pub fn rot(&self, path: &Path, offset: u64, flip: u8) {
        let mut disk = self.disk();
        let inode = disk.file(path).unwrap_or_else(|| panic!("{} does not exist", path.display()));
        let index = usize::try_from(offset).unwrap_or(usize::MAX);
        for content in [&mut inode.shown, &mut inode.stored] {
            if let Some(byte) = content.get_mut(index) {
                *byte ^= flip;
            }
        }
    }

    /// Gives a file a second name, as `cp -al` does.
    ///
    /// # Panics
    ///
    /// Where `from` is no file: a mistake in the test.
    pub fn hard_link(&self, from: &Path, to: &Path) {
        let mut disk = self.disk();
        let node = disk.names.get(from).copied();
        let Some(node @ Node::File(_)) = node else { panic!("{} does not exist", from.display()) };
        disk.names.insert(to.to_owned(), node);
        disk.pending_names.push(NameChange::Add(to.to_owned(), node));
    }

    /// The names of all files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let disk = self.disk();
        let files = disk.names.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Drops pages whose sync failed from the page cache, as memory pressure does.
    pub fn drop_caches(&self) {
        for inode in self.disk().inodes.values_mut() {
            let mut shown = inode.stored.clone();
            shown.resize(inode.shown.len(), 0);
            for &page in &inode.dirty {
                copy_range(&inode.shown, &mut shown, page * PAGE, PAGE);
            }
            inode.shown = shown;
        }
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock()
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;
    use crate::storage::{Access, Storage, StorageFile};

    fn file(storage: &FaultyStorage, name: &str) -> Arc<dyn StorageFile> {
        storage.open(Path::new(name), Access::Create).unwrap()
    }

    fn content(storage: &FaultyStorage, name: &str) -> Option<Vec<u8>> {
        super::super::read_file(storage, Path::new(name), usize::MAX).ok()
    }

    #[test]
    fn what_was_synced_survives_every_power_cut() {
        for seed in 0..200 {
            let storage = FaultyStorage::new();
            let one = file(&storage, "/one");
            one.write_at(b"synced", 0).unwrap();
            one.sync().unwrap();
            storage.sync_directory(Path::new("/")).unwrap();
            one.write_at(&[7; 10_000], 4096).unwrap();
            let after = storage.power_cut(seed);
            assert_eq!(&content(&after, "/one").unwrap()[..6], b"synced", "seed {seed}");
            one.write_at(b"x", 0).unwrap_err();
        }
    }

    #[test]
    fn unsynced_sectors_and_names_survive_only_some_power_cuts() {
        let (mut torn, mut whole, mut lost, mut nameless) = (false, false, false, false);
        for seed in 0..500 {
            let storage = FaultyStorage::new();
            file(&storage, "/one").write_at(&[7; 4096], 0).unwrap();
            match content(&storage.power_cut(seed), "/one") {
                None => nameless = true,
                Some(bytes) => {
                    let kept = bytes.iter().filter(|byte| **byte == 7).count();
                    whole |= kept == 4096;
                    lost |= kept == 0;
                    torn |= 0 < kept && kept < 4096;
                }
            }
        }
        assert!(torn && whole && lost && nameless);
    }

    #[test]
    fn a_failed_sync_loses_pages_that_can_still_be_read() {
        let storage = FaultyStorage::new();
        let one = file(&storage, "/one");
        one.sync().unwrap();
        storage.sync_directory(Path::new("/")).unwrap();
        storage.inject(Fault::SyncFails { nth: 0 });
        one.write_at(b"lost", 0).unwrap();
        one.sync().unwrap_err();
        assert_eq!(content(&storage, "/one").unwrap(), b"lost");
        one.sync().unwrap();
        storage.drop_caches();
        assert_eq!(content(&storage, "/one").unwrap(), [0; 4]);
    }

    #[test]
    fn a_directory_made_again_never_holds_what_the_removed_one_held() {
        for seed in 0..20 {
            let storage = FaultyStorage::new();
            let directory = Path::new("/day");
            storage.create_directory(directory).unwrap();
            file(&storage, "/day/one").sync().unwrap();
            storage.sync_directory(directory).unwrap();
            storage.sync_directory(Path::new("/")).unwrap();
            file(&storage, "/day/two").sync().unwrap();
            storage.rename(Path::new("/day/two"), Path::new("/day/one")).unwrap();
            storage.remove(Path::new("/day/one")).unwrap();
            storage.remove_directory(directory).unwrap();
            storage.create_directory(directory).unwrap();
            storage.sync_directory(Path::new("/")).unwrap();
            assert_eq!(storage.power_cut(seed).files(), Vec::<PathBuf>::new(), "seed {seed}");
        }
    }

    #[test]
    fn power_is_cut_at_the_operation_asked_for() {
        let storage = FaultyStorage::new();
        storage.inject(Fault::PowerCutAfter { operations: 2 });
        let one = file(&storage, "/one");
        one.write_at(b"a", 0).unwrap();
        one.sync().unwrap_err();
        assert_eq!(storage.operations(), 2);
    }

    #[test]
    fn a_write_that_fails_leaves_half_of_its_bytes() {
        let storage = FaultyStorage::new();
        let one = file(&storage, "/one");
        storage.inject(Fault::WriteFails { nth: 1 });
        one.write_at(b"first", 0).unwrap();
        one.write_at(b"second", 5).unwrap_err();
        assert_eq!(content(&storage, "/one").unwrap(), b"firstsec");
        one.write_at(b"second", 5).unwrap();
        assert_eq!(storage.writes(), 3);
    }

    #[test]
    fn a_full_disk_refuses_new_pages_and_accepts_overwrites() {
        let storage = FaultyStorage::new();
        let one = file(&storage, "/one");
        one.write_at(&[1; 8192], 0).unwrap();
        storage.inject(Fault::Capacity { bytes: 8192 });
        one.write_at(&[2; 8192], 0).unwrap();
        let error = one.write_at(&[3; 1], 8192).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        storage.heal();
        one.write_at(&[3; 1], 8192).unwrap();
    }
}
