//! [`FaultyStorage`]: a disk in memory that does whatever a real one may do within the letter of POSIX.
//!
//! It keeps what the page cache shows apart from what is on the medium. A power cut keeps everything synced and,
//! drawn from a seed, any subset of the rest: single 512-byte sectors of unsynced pages, lengths, names. It can
//! fail the n-th sync (and then behaves as Linux does: the pages are clean, readable and lost), refuse space, make
//! sectors unreadable and flip bits. Every operation that changes something is counted, so that a test can cut
//! the power at each of them in turn.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    Access, DirectoryEntry, EntryKind, FileStat, LockError, LockGuard, Space, Storage, StorageFile,
};
use crate::random::Random;

const PAGE: u64 = 4096;
const SECTOR: u64 = 512;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    File(u64),
    Directory,
}

#[derive(Debug, Clone)]
enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Debug, Clone, Default)]
struct Inode {
    /// What a read returns.
    shown: Vec<u8>,
    /// What the medium holds.
    stored: Vec<u8>,
    /// Pages written since the last sync.
    dirty: BTreeSet<u64>,
    /// Pages that take space.
    allocated: BTreeSet<u64>,
}

#[derive(Debug, Default)]
struct Disk {
    names: BTreeMap<PathBuf, Node>,
    stored_names: BTreeMap<PathBuf, Node>,
    pending_names: Vec<NameChange>,
    inodes: BTreeMap<u64, Inode>,
    inode_next: u64,
    locks: HashSet<PathBuf>,
    operations: u64,
    power_cut_after: Option<u64>,
    syncs: u64,
    syncs_failing: BTreeSet<u64>,
    all_syncs_fail: bool,
    unreadable: Vec<(PathBuf, u64, u64)>,
    capacity: Option<u64>,
    allocations: u64,
    allocations_fail_from: Option<u64>,
    bytes_read: u64,
    bytes_written: u64,
}

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
            Fault::Unreadable { path, offset, len } => disk.unreadable.push((path, offset, len)),
            Fault::Capacity { bytes } => disk.capacity = Some(bytes),
            Fault::AllocationFails { nth } => {
                disk.allocations_fail_from = Some(disk.allocations + nth);
            }
        }
    }

    /// Takes all faults back. Power that was cut stays cut.
    pub fn heal(&self) {
        let mut disk = self.disk();
        disk.syncs_failing.clear();
        disk.all_syncs_fail = false;
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

    /// The names of all files, in order.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let disk = self.disk();
        let files = disk.names.iter().filter(|(_, node)| matches!(node, Node::File(_)));
        files.map(|(path, _)| path.clone()).collect()
    }

    /// Gives up what only the page cache holds of pages whose sync failed, as memory pressure does.
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
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk {
    /// Counts one changing operation; fails where the power is gone.
    fn change(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        match self.power_cut_after {
            Some(limit) if self.operations >= limit => {
                Err(io::Error::other("the power is cut (simulated)"))
            }
            _ => Ok(()),
        }
    }

    /// Counts a sync; says whether it is one that fails.
    fn next_sync_fails(&mut self) -> bool {
        let number = self.syncs;
        self.syncs += 1;
        self.all_syncs_fail || self.syncs_failing.remove(&number)
    }

    fn file(&mut self, path: &Path) -> Option<&mut Inode> {
        match self.names.get(path)? {
            Node::File(id) => self.inodes.get_mut(id),
            Node::Directory => None,
        }
    }

    fn allocate(&mut self, id: u64, pages: std::ops::Range<u64>) -> io::Result<()> {
        for page in pages {
            if self.inodes.get(&id).is_none_or(|inode| inode.allocated.contains(&page)) {
                continue;
            }
            let used: usize = self.inodes.values().map(|inode| inode.allocated.len()).sum();
            let full = self.capacity.is_some_and(|bytes| (used as u64 + 1) * PAGE > bytes)
                || self.allocations_fail_from.is_some_and(|from| self.allocations >= from);
            if full {
                return Err(rustix::io::Errno::NOSPC.into());
            }
            self.allocations += 1;
            if let Some(inode) = self.inodes.get_mut(&id) {
                inode.allocated.insert(page);
            }
        }
        Ok(())
    }

    fn rename_node(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.names.insert(to.to_owned(), node);
        self.pending_names.push(NameChange::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    fn sync_names(&mut self, directory: &Path) {
        let mut rest: Vec<NameChange> = Vec::new();
        for change in self.pending_names.drain(..) {
            if change.directory() != Some(directory) {
                rest.push(change);
                continue;
            }
            if let NameChange::Remove(path) = &change {
                // What was still to happen within it can happen no more.
                rest.retain(|earlier| earlier.directory().is_none_or(|of| !of.starts_with(path)));
            }
            change.apply(&mut self.stored_names);
        }
        self.pending_names = rest;
    }

    fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut names = self.stored_names.clone();
        let count = self.pending_names.len() as u64;
        // A journaling file system persists a prefix of the changes; others may persist any of them.
        let kept = random.below(count + 1);
        let in_order = random.once_in(2);
        for (index, change) in self.pending_names.iter().enumerate() {
            let survives = if in_order { (index as u64) < kept } else { random.once_in(2) };
            if survives {
                change.apply(&mut names);
            }
        }
        let directories: BTreeSet<PathBuf> = names
            .iter()
            .filter(|(_, node)| **node == Node::Directory)
            .map(|(path, _)| path.clone())
            .collect();
        names.retain(|path, _| path.ancestors().skip(1).all(|above| directories.contains(above)));
        let inodes = self
            .inodes
            .iter()
            .map(|(&id, inode)| (id, Inode::synced(inode.after_power_cut(random))))
            .collect();
        Self {
            stored_names: names.clone(),
            names,
            inodes,
            inode_next: self.inode_next,
            capacity: self.capacity,
            ..Self::default()
        }
    }
}

impl NameChange {
    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path, _) => path.parent(),
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => {
                names.insert(path.clone(), *node);
            }
            // What a directory held goes with it: one made later under its name is another one, and empty.
            Self::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Inode {
    fn synced(content: Vec<u8>) -> Self {
        let allocated = (0..(content.len() as u64).div_ceil(PAGE)).collect();
        Self { stored: content.clone(), shown: content, dirty: BTreeSet::new(), allocated }
    }

    /// Extends what is shown with zeros, which are as unsynced as any other bytes.
    fn extend(&mut self, len: usize) {
        let pages = self.shown.len() as u64 / PAGE..(len as u64).div_ceil(PAGE);
        self.shown.resize(len, 0);
        self.dirty.extend(pages);
    }

    /// The content after a power cut: each sector of an unsynced page is the old one or the new one.
    fn after_power_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.stored.clone();
        let len = if random.once_in(2) { self.shown.len() } else { self.stored.len() };
        content.resize(len, 0);
        let temper = random.below(3);
        for &page in &self.dirty {
            let whole = random.once_in(2);
            for sector in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR as usize) {
                let survives = match temper {
                    0 => whole,
                    1 => random.once_in(2),
                    _ => !random.once_in(8),
                };
                if survives {
                    copy_range(&self.shown, &mut content, sector, SECTOR);
                }
            }
        }
        content
    }
}

/// Copies `len` bytes at `offset`, as far as both sides have them.
fn copy_range(from: &[u8], to: &mut [u8], offset: u64, len: u64) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(len as usize).min(from.len()).min(to.len());
    if let (Some(source), Some(target)) = (from.get(start..end), to.get_mut(start..end)) {
        target.copy_from_slice(source);
    }
}

#[derive(Debug)]
struct FaultyFile {
    storage: FaultyStorage,
    id: u64,
    path: PathBuf,
}

#[derive(Debug)]
struct FaultyLock {
    storage: FaultyStorage,
    directory: PathBuf,
}

impl LockGuard for FaultyLock {}

impl Drop for FaultyLock {
    fn drop(&mut self) {
        self.storage.disk().locks.remove(&self.directory);
    }
}

impl Storage for FaultyStorage {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let mut disk = self.disk();
        disk.alive()?;
        let id = match disk.names.get(path) {
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(id)) => *id,
            None if matches!(access, Access::Create | Access::Truncate) => {
                let parent = path.parent().and_then(|parent| disk.names.get(parent));
                if parent != Some(&Node::Directory) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                disk.change()?;
                let id = disk.inode_next;
                disk.inode_next += 1;
                disk.inodes.insert(id, Inode::default());
                disk.names.insert(path.to_owned(), Node::File(id));
                disk.pending_names.push(NameChange::Add(path.to_owned(), Node::File(id)));
                id
            }
            None => return Err(io::ErrorKind::NotFound.into()),
        };
        drop(disk);
        let file = FaultyFile { storage: self.clone(), id, path: path.to_owned() };
        if access == Access::Truncate && file.stat()?.len > 0 {
            file.set_len(0)?;
        }
        Ok(Arc::new(file))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let disk = self.disk();
        disk.alive()?;
        match disk.names.get(directory) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        let children = disk.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        Ok(children
            .map(|(path, node)| DirectoryEntry {
                name: path.file_name().map_or_else(OsString::new, ToOwned::to_owned),
                kind: kind_of(*node),
            })
            .collect())
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        let disk = self.disk();
        disk.alive()?;
        let node = *disk.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        let (id, len) = match node {
            Node::File(id) => {
                (id, disk.inodes.get(&id).map_or(0, |inode| inode.shown.len() as u64))
            }
            Node::Directory => (u64::MAX, 0),
        };
        Ok(FileStat { kind: kind_of(node), len, identity: (0, id) })
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        let mut missing: Vec<PathBuf> = Vec::new();
        for above in directory.ancestors() {
            match disk.names.get(above) {
                Some(Node::Directory) => break,
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                None => missing.push(above.to_owned()),
            }
        }
        for path in missing.into_iter().rev() {
            disk.change()?;
            disk.names.insert(path.clone(), Node::Directory);
            disk.pending_names.push(NameChange::Add(path, Node::Directory));
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        disk.rename_node(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        match disk.names.get(path) {
            Some(Node::File(_)) => {}
            Some(Node::Directory) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        disk.change()?;
        if let Some(Node::File(id)) = disk.names.remove(path)
            && let Some(inode) = disk.inodes.get_mut(&id)
        {
            inode.allocated.clear();
        }
        disk.pending_names.push(NameChange::Remove(path.to_owned()));
        Ok(())
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        match disk.names.get(directory) {
            Some(Node::Directory) => {}
            Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        if disk.names.keys().any(|path| path.parent() == Some(directory)) {
            return Err(io::ErrorKind::DirectoryNotEmpty.into());
        }
        disk.change()?;
        disk.names.remove(directory);
        disk.pending_names.push(NameChange::Remove(directory.to_owned()));
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.change()?;
        if disk.next_sync_fails() {
            return Err(rustix::io::Errno::IO.into());
        }
        disk.sync_names(directory);
        Ok(())
    }

    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let mut disk = self.disk();
        disk.alive().map_err(LockError::Io)?;
        if !disk.locks.insert(directory.to_owned()) {
            return Err(LockError::Held { holder: Some("this simulation".to_owned()) });
        }
        drop(disk);
        Ok(Box::new(FaultyLock { storage: self.clone(), directory: directory.to_owned() }))
    }

    fn is_locked(&self, directory: &Path) -> io::Result<bool> {
        let disk = self.disk();
        disk.alive()?;
        Ok(disk.locks.contains(directory))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let disk = self.disk();
        let total_bytes = disk.capacity.unwrap_or(1 << 40);
        let used: usize = disk.inodes.values().map(|inode| inode.allocated.len()).sum();
        Ok(Space { total_bytes, free_bytes: total_bytes.saturating_sub(used as u64 * PAGE) })
    }
}

impl StorageFile for FaultyFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut disk = self.storage.disk();
        disk.alive()?;
        let end = offset.saturating_add(buffer.len() as u64);
        let unreadable = disk.unreadable.iter().any(|(path, start, len)| {
            *path == self.path && *start < end && offset < start.saturating_add(*len)
        });
        if unreadable {
            return Err(rustix::io::Errno::IO.into());
        }
        let Some(inode) = disk.inodes.get(&self.id) else {
            return Ok(0);
        };
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(inode.shown.len());
        let rest = inode.shown.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..count), rest.get(..count)) {
            target.copy_from_slice(source);
        }
        disk.bytes_read += count as u64;
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut disk = self.storage.disk();
        disk.change()?;
        let end = offset.saturating_add(bytes.len() as u64);
        let pages = offset / PAGE..end.div_ceil(PAGE);
        disk.allocate(self.id, pages.clone())?;
        disk.bytes_written += bytes.len() as u64;
        let Some(inode) = disk.inodes.get_mut(&self.id) else {
            return Ok(());
        };
        let (start, end) = (offset as usize, end as usize);
        if inode.shown.len() < end {
            inode.extend(end);
        }
        if let Some(target) = inode.shown.get_mut(start..end) {
            target.copy_from_slice(bytes);
        }
        inode.dirty.extend(pages);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut disk = self.storage.disk();
        disk.change()?;
        let fails = disk.next_sync_fails();
        let Some(inode) = disk.inodes.get_mut(&self.id) else {
            return Ok(());
        };
        let dirty = std::mem::take(&mut inode.dirty);
        if fails {
            return Err(rustix::io::Errno::IO.into());
        }
        inode.stored.resize(inode.shown.len(), 0);
        for page in dirty {
            copy_range(&inode.shown, &mut inode.stored, page * PAGE, PAGE);
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut disk = self.storage.disk();
        disk.change()?;
        let Some(inode) = disk.inodes.get_mut(&self.id) else {
            return Ok(());
        };
        if inode.shown.len() < len as usize {
            inode.extend(len as usize);
        } else {
            inode.shown.truncate(len as usize);
            inode.allocated.retain(|page| page * PAGE < len);
            inode.dirty.retain(|page| page * PAGE < len);
        }
        Ok(())
    }

    fn stat(&self) -> io::Result<FileStat> {
        let disk = self.storage.disk();
        disk.alive()?;
        let len = disk.inodes.get(&self.id).map_or(0, |inode| inode.shown.len() as u64);
        Ok(FileStat { kind: EntryKind::File, len, identity: (0, self.id) })
    }
}

const fn kind_of(node: Node) -> EntryKind {
    match node {
        Node::File(_) => EntryKind::File,
        Node::Directory => EntryKind::Directory,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn unsynced_sectors_and_names_survive_in_some_power_cuts_and_not_in_others() {
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
    fn a_failed_sync_loses_its_pages_though_they_can_be_read_and_the_next_sync_succeeds() {
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
