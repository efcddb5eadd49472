//! The operations of a [`FaultyStorage`]: each obeys the faults first and then does what POSIX says.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::FaultyStorage;
use super::disk::{Inode, NameChange, Node, PAGE, copy_range};
use crate::storage::{
    Access, DirectoryEntry, EntryKind, FileStat, LockError, LockGuard, Space, Storage, StorageFile,
};

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
            Some(Node::File(_)) if access == Access::CreateNew => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Some(Node::File(id)) => *id,
            None if matches!(access, Access::Create | Access::Truncate | Access::CreateNew) => {
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
        let (id, len, links) = match node {
            Node::File(id) => {
                let len = disk.inodes.get(&id).map_or(0, |inode| inode.shown.len() as u64);
                (id, len, disk.links(id))
            }
            Node::Directory => (u64::MAX, 0, 1),
        };
        Ok(FileStat { kind: kind_of(node), len, identity: (0, id), links, owner: (0, 0) })
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

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut disk = self.disk();
        disk.alive()?;
        if disk.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
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
        if let Some(Node::File(id)) = disk.names.remove(path) {
            disk.free(id);
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
        let fails = disk.next_write_fails();
        let bytes = if fails { bytes.get(..bytes.len() / 2).unwrap_or_default() } else { bytes };
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
        if fails { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
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
        let links = disk.links(self.id);
        Ok(FileStat { kind: EntryKind::File, len, identity: (0, self.id), links, owner: (0, 0) })
    }
}

const fn kind_of(node: Node) -> EntryKind {
    match node {
        Node::File(_) => EntryKind::File,
        Node::Directory => EntryKind::Directory,
    }
}
