//! [`Disk`]: what the page cache shows and what the medium holds, and which of it a power cut leaves.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::id_source::Random;

pub(super) const PAGE: u64 = 4096;
const SECTOR: u64 = 512;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(u64),
    Directory,
}

#[derive(Debug, Clone)]
pub(super) enum NameChange {
    Add(PathBuf, Node),
    Remove(PathBuf),
    Rename(PathBuf, PathBuf, Node),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Inode {
    /// What a read returns.
    pub(super) shown: Vec<u8>,
    /// What the medium holds.
    pub(super) stored: Vec<u8>,
    /// Pages written since the last sync.
    pub(super) dirty: BTreeSet<u64>,
    /// Pages that take space.
    pub(super) allocated: BTreeSet<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) names: BTreeMap<PathBuf, Node>,
    pub(super) stored_names: BTreeMap<PathBuf, Node>,
    pub(super) pending_names: Vec<NameChange>,
    pub(super) inodes: BTreeMap<u64, Inode>,
    pub(super) inode_next: u64,
    pub(super) locks: HashSet<PathBuf>,
    pub(super) operations: u64,
    pub(super) power_cut_after: Option<u64>,
    pub(super) syncs: u64,
    pub(super) syncs_failing: BTreeSet<u64>,
    pub(super) all_syncs_fail: bool,
    pub(super) writes: u64,
    pub(super) writes_failing: BTreeSet<u64>,
    pub(super) unreadable: Vec<(PathBuf, u64, u64)>,
    pub(super) capacity: Option<u64>,
    pub(super) allocations: u64,
    pub(super) allocations_fail_from: Option<u64>,
    pub(super) bytes_read: u64,
    pub(super) bytes_written: u64,
}

impl Disk {
    /// Counts one changing operation; fails where the power is gone.
    pub(super) fn change(&mut self) -> io::Result<()> {
        self.alive()?;
        self.operations += 1;
        Ok(())
    }

    pub(super) fn alive(&self) -> io::Result<()> {
        match self.power_cut_after {
            Some(limit) if self.operations >= limit => {
                Err(io::Error::other("the power is cut (simulated)"))
            }
            _ => Ok(()),
        }
    }

    /// Counts a sync; says whether it is one that fails.
    pub(super) fn next_sync_fails(&mut self) -> bool {
        let number = self.syncs;
        self.syncs += 1;
        self.all_syncs_fail || self.syncs_failing.remove(&number)
    }

    /// Counts a write; says whether it is one that fails.
    pub(super) fn next_write_fails(&mut self) -> bool {
        let number = self.writes;
        self.writes += 1;
        self.writes_failing.remove(&number)
    }

    pub(super) fn file(&mut self, path: &Path) -> Option<&mut Inode> {
        match self.names.get(path)? {
            Node::File(id) => self.inodes.get_mut(id),
            Node::Directory => None,
        }
    }

    pub(super) fn allocate(&mut self, id: u64, pages: std::ops::Range<u64>) -> io::Result<()> {
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

    /// Number of names that a file has.
    pub(super) fn links(&self, id: u64) -> u64 {
        self.names.values().filter(|node| **node == Node::File(id)).count() as u64
    }

    /// Gives the pages of a file back that has no name any more.
    pub(super) fn free(&mut self, id: u64) {
        if self.links(id) == 0
            && let Some(inode) = self.inodes.get_mut(&id)
        {
            inode.allocated.clear();
        }
    }

    pub(super) fn rename_node(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        if let Some(Node::File(replaced)) = self.names.insert(to.to_owned(), node) {
            self.free(replaced);
        }
        self.pending_names.push(NameChange::Rename(from.to_owned(), to.to_owned(), node));
        Ok(())
    }

    pub(super) fn sync_names(&mut self, directory: &Path) {
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

    pub(super) fn after_power_cut(&self, random: &mut Random) -> Self {
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
            // The entries of a directory go with it: a later directory of the same name is a different, empty one.
            Self::Remove(path) => names.retain(|name, _| !name.starts_with(path)),
            Self::Rename(from, to, node) => {
                names.remove(from);
                names.insert(to.clone(), *node);
            }
        }
    }
}

impl Inode {
    pub(super) fn synced(content: Vec<u8>) -> Self {
        let allocated = (0..(content.len() as u64).div_ceil(PAGE)).collect();
        Self { stored: content.clone(), shown: content, dirty: BTreeSet::new(), allocated }
    }

    /// Extends what is shown with zeros, which are as unsynced as any other bytes.
    pub(super) fn extend(&mut self, len: usize) {
        let pages = self.shown.len() as u64 / PAGE..(len as u64).div_ceil(PAGE);
        self.shown.resize(len, 0);
        self.dirty.extend(pages);
    }

    /// The content after a power cut: each sector of an unsynced page is the old one or the new one.
    fn after_power_cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.stored.clone();
        let len = if random.once_in(2) { self.shown.len() } else { self.stored.len() };
        content.resize(len, 0);
        let tear_mode = random.below(3);
        for &page in &self.dirty {
            let whole = random.once_in(2);
            for sector in (page * PAGE..(page + 1) * PAGE).step_by(SECTOR as usize) {
                let survives = match tear_mode {
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

/// Copies `len` bytes at `offset`, within the length of both sides.
pub(super) fn copy_range(from: &[u8], to: &mut [u8], offset: u64, len: u64) {
    let start = usize::try_from(offset).unwrap_or(usize::MAX);
    let end = start.saturating_add(len as usize).min(from.len()).min(to.len());
    if let (Some(source), Some(target)) = (from.get(start..end), to.get_mut(start..end)) {
        target.copy_from_slice(source);
    }
}
