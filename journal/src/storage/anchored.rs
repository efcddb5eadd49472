//! [`AnchoredStorage`]: writes only while the locked directory is still at its path.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::{
    Access, DirectoryEntry, FileStat, LockError, LockGuard, RealStorage, Space, Storage,
    StorageFile,
};
use crate::mapped::Mapped;

/// The operating system's files, as long as the locked directory and its `journal/` are still at their paths.
///
/// A data directory that was moved, or whose file system was unmounted or removed, can often still be written through open
/// files. Those bytes may never be read again, and a file opened by its path would be created somewhere else.
/// So every call fails then, with an error that is never [`io::ErrorKind::NotFound`]. Before a directory is locked, every
/// call is allowed.
///
/// The path is checked before each call, not during it: a running call completes.
#[derive(Debug, Clone, Default)]
pub struct AnchoredStorage {
    anchor: Arc<OnceLock<Anchor>>,
}

/// A directory as it was when it was locked.
#[derive(Debug)]
struct Anchor {
    root: PathBuf,
    identity: (u64, u64),
    /// `journal/` when it was first seen: it may be created or mounted after the directory is locked.
    journal: OnceLock<(u64, u64)>,
}

#[derive(Debug)]
struct AnchoredFile {
    file: Arc<dyn StorageFile>,
    storage: AnchoredStorage,
}

impl AnchoredStorage {
    /// Checks that the locked directory is still at its path.
    ///
    /// # Errors
    ///
    /// The problem, for an operator.
    pub fn check(&self) -> io::Result<()> {
        let Some(Anchor { root, identity, journal }) = self.anchor.get() else { return Ok(()) };
        check_identity(root, *identity)?;
        let path = root.join("journal");
        match journal.get() {
            Some(identity) => check_identity(&path, *identity),
            None => {
                if let Ok(found) = identity_of(&path) {
                    journal.get_or_init(|| found);
                }
                Ok(())
            }
        }
    }

    /// The real storage, if the locked directory is still at its path.
    fn real(&self) -> io::Result<RealStorage> {
        self.check().map(|()| RealStorage)
    }
}

fn check_identity(directory: &Path, identity: (u64, u64)) -> io::Result<()> {
    match identity_of(directory) {
        Ok(found) if found == identity => Ok(()),
        Ok(_) => Err(gone(directory, "another directory is in its place")),
        Err(error) => Err(gone(directory, &error.to_string())),
    }
}

fn identity_of(directory: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    // A link in its place leads to the directory that is locked.
    std::fs::metadata(directory).map(|found| (found.dev(), found.ino()))
}

fn gone(root: &Path, why: &str) -> io::Error {
    io::Error::other(format!("{} is gone: {why}", root.display()))
}

impl Storage for AnchoredStorage {
    fn open(&self, path: &Path, access: Access) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.real()?.open(path, access)?;
        Ok(Arc::new(AnchoredFile { file, storage: self.clone() }))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<DirectoryEntry>> {
        self.real()?.list(directory)
    }

    fn stat(&self, path: &Path) -> io::Result<FileStat> {
        self.real()?.stat(path)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        self.real()?.create_directory(directory)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real()?.rename(from, to)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real()?.rename_new(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real()?.remove(path)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.real()?.remove_directory(directory)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.real()?.sync_directory(directory)
    }

    fn lock(&self, directory: &Path) -> Result<Box<dyn LockGuard>, LockError> {
        let guard = RealStorage.lock(directory)?;
        let identity = identity_of(directory).map_err(LockError::Io)?;
        let anchor = self.anchor.get_or_init(|| {
            let journal = OnceLock::new();
            Anchor { root: directory.to_owned(), identity, journal }
        });
        if anchor.identity != identity {
            return Err(LockError::Io(gone(directory, "another directory is in its place")));
        }
        Ok(guard)
    }

    fn is_locked(&self, directory: &Path) -> io::Result<bool> {
        self.real()?.is_locked(directory)
    }

    fn lock_is_sound(&self, directory: &Path) -> bool {
        RealStorage.lock_is_sound(directory)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.real()?.space(path)
    }

    fn disable_copy_on_write(&self, directory: &Path) {
        RealStorage.disable_copy_on_write(directory);
    }
}

impl StorageFile for AnchoredFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.storage.check()?;
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.storage.check()?;
        self.file.write_at(bytes, offset)
    }

    fn sync(&self) -> io::Result<()> {
        self.storage.check()?;
        self.file.sync()?;
        // Readers find the data only at the old path.
        self.storage.check()
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.storage.check()?;
        self.file.set_len(len)
    }

    fn stat(&self) -> io::Result<FileStat> {
        self.file.stat()
    }

    fn map(&self, len: u64) -> io::Result<Option<Mapped>> {
        self.file.map(len)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_moved_directory_is_neither_written_nor_created_again() {
        let lab = tempfile::tempdir().unwrap();
        let (root, elsewhere) = (lab.path().join("data"), lab.path().join("elsewhere"));
        fs::create_dir(&root).unwrap();
        let storage = AnchoredStorage::default();
        let _guard = storage.lock(&root).unwrap();
        let file = storage.open(&root.join("file"), Access::Create).unwrap();
        file.write_at(b"1", 0).unwrap();
        fs::rename(&root, &elsewhere).unwrap();
        let errors = [
            file.write_at(b"2", 0).unwrap_err(),
            file.sync().unwrap_err(),
            storage.open(&root.join("file"), Access::Create).unwrap_err(),
            storage.create_directory(&root).unwrap_err(),
            storage.stat(&root).unwrap_err(),
        ];
        for error in errors {
            assert_ne!(error.kind(), io::ErrorKind::NotFound);
            assert!(error.to_string().contains("data is gone"), "{error}");
        }
        assert!(!root.exists());
        assert_eq!(fs::read(elsewhere.join("file")).unwrap(), b"1");
        // `journal/` is anchored when it is first seen.
        let journal = elsewhere.join("journal");
        fs::create_dir(&journal).unwrap();
        fs::rename(&elsewhere, &root).unwrap();
        storage.check().unwrap();
        fs::rename(root.join("journal"), root.join("journal.bak")).unwrap();
        let error = file.write_at(b"2", 0).unwrap_err();
        assert!(error.to_string().contains("journal is gone"), "{error}");
        fs::create_dir(root.join("journal")).unwrap();
        storage.check().unwrap_err();
        fs::remove_dir(root.join("journal")).unwrap();
        fs::rename(root.join("journal.bak"), root.join("journal")).unwrap();
        storage.check().unwrap();
        fs::rename(&root, &elsewhere).unwrap();
        // Another directory in its place does not count.
        fs::create_dir(&root).unwrap();
        storage.open(&root.join("file"), Access::Create).unwrap_err();
        fs::remove_dir(&root).unwrap();
        // Back, or a link to it.
        std::os::unix::fs::symlink(&elsewhere, &root).unwrap();
        file.write_at(b"3", 0).unwrap();
        fs::remove_file(&root).unwrap();
        fs::rename(&elsewhere, &root).unwrap();
        file.sync().unwrap();
        assert_eq!(fs::read(root.join("file")).unwrap(), b"3");
    }
}
